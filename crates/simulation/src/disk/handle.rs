//! The disk as one process sees it: the `Disk` and `File` seams.

use std::io;

use dfs_core::env::{Access, Disk, Entry, File, Place, Space};
use dfs_core::id::LockPlace;

use super::device::State;
use super::tree::{Inode, Node};
use super::{Call, MemoryDisk};

/// One process's way to its disk.
pub(super) struct DiskHandle {
    disk: MemoryDisk,
    generation: u64,
}

struct FileHandle {
    disk: MemoryDisk,
    generation: u64,
    /// The mount that it belongs to.
    mount: u64,
    /// The name that it was opened under, for the trace.
    path: String,
    inode: Inode,
}

impl DiskHandle {
    pub(super) fn new(disk: MemoryDisk, generation: u64) -> Self {
        Self { disk, generation }
    }

    /// Runs a call that gives a file.
    fn file(
        &self,
        path: &str,
        act: impl FnOnce(&mut State) -> io::Result<Inode>,
    ) -> io::Result<Box<dyn File>> {
        check_path(path)?;
        let (inode, mount) =
            self.disk.call(self.generation, |state| Ok((act(state)?, state.faults.mount)))?;
        let (disk, generation, path) = (self.disk.clone(), self.generation, path.to_owned());
        Ok(Box::new(FileHandle { disk, generation, mount, path, inode }))
    }
}

impl Disk for DiskHandle {
    fn lock_place(&self) -> Option<LockPlace> {
        Some(self.disk.lock_place())
    }

    fn create(&self, path: &str, _access: Access) -> io::Result<Box<dyn File>> {
        self.file(path, |state| state.create(path))
    }

    fn open(&self, path: &str, _access: Access) -> io::Result<Box<dyn File>> {
        self.file(path, |state| state.open(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        check_path(from)?;
        check_path(to)?;
        self.disk.call(self.generation, |state| state.rename(from, to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        check_path(path)?;
        self.disk.call(self.generation, |state| state.remove(path))
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        check_path(path)?;
        self.disk.call(self.generation, |state| state.create_dir(path))
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        self.disk.call(self.generation, |state| {
            state.fail(Call::List)?;
            state.tree.check_dir(path)?;
            let entry = |(name, node): (&str, &Node)| {
                let (is_dir, len) = match node {
                    Node::Dir => (true, 0),
                    Node::File(inode) => (false, inode.lock().image.len() as u64),
                };
                Entry { name: name.to_owned(), is_dir, len }
            };
            Ok(state.tree.children(path).map(entry).collect())
        })
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.disk.call(self.generation, |state| state.sync_dir(path))
    }

    fn place(&self) -> io::Result<Place> {
        self.disk.call(self.generation, |state| {
            // Under the mount point lies a folder of another volume.
            Ok(Place { device: u64::from(state.faults.is_unmounted), inode: 1 })
        })
    }

    fn place_of(&self, path: &str) -> io::Result<Place> {
        self.disk.call(self.generation, |state| {
            let inode = state.tree.file(path).ok_or(io::ErrorKind::NotFound)?;
            let inode = inode.lock().number();
            Ok(Place { device: u64::from(state.faults.is_unmounted), inode })
        })
    }

    fn new_folder(&self, path: &str) -> io::Result<Box<dyn Disk>> {
        if !path.starts_with('/') {
            let text = format!("{path}: give the whole path, from / on");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let folder = self.disk.call(self.generation, |state| Ok(state.folder(path)))?;
        if !folder.files().is_empty() {
            let text = format!("{path}: the folder is not empty: name a new one");
            return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, text));
        }
        let generation = folder.state().generation;
        Ok(Box::new(DiskHandle::new(folder, generation)))
    }

    fn space(&self) -> io::Result<Space> {
        self.disk.call(self.generation, |state| {
            state.fail(Call::Space)?;
            Ok(Space { total: state.capacity, free: state.free() })
        })
    }
}

impl FileHandle {
    fn call<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        self.disk.call(self.generation, |state| {
            state.check_mount(self.mount)?;
            act(state)
        })
    }
}

impl File for FileHandle {
    fn len(&self) -> io::Result<u64> {
        self.call(|_| Ok(self.inode.lock().image.len() as u64))
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.call(|state| state.read(&self.inode, offset, bytes))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.call(|state| state.write(&self.path, &self.inode, offset, bytes))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.call(|state| state.set_len(&self.path, &self.inode, len))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.call(|state| state.allocate(&self.path, &self.inode, len))
    }

    fn sync(&self) -> io::Result<()> {
        self.call(|state| state.sync(&self.path, &self.inode))
    }
}

/// Refuses what no role may ask for: a path that leaves the folder.
fn check_path(path: &str) -> io::Result<()> {
    let is_bad = |part: &str| part.is_empty() || part == "." || part == "..";
    if path.split('/').any(is_bad) {
        let text = format!("path {path:?} is not inside of the folder");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(())
}
