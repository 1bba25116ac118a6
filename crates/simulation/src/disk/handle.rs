//! The disk as one process sees it: the `Disk` and `File` seams.

use std::io;

use dfs_core::env::{Access, Disk, Entry, File, Space};

use super::MemoryDisk;
use super::tree::{Inode, Node};

/// One process's way to its disk.
pub(super) struct DiskHandle {
    disk: MemoryDisk,
    generation: u64,
}

struct FileHandle {
    disk: MemoryDisk,
    generation: u64,
    /// The name that it was opened under, for the trace.
    path: String,
    inode: Inode,
}

impl DiskHandle {
    pub(super) fn new(disk: MemoryDisk, generation: u64) -> Self {
        Self { disk, generation }
    }

    fn file(&self, path: &str, inode: Inode) -> Box<dyn File> {
        let (disk, generation) = (self.disk.clone(), self.generation);
        Box::new(FileHandle { disk, generation, path: path.to_owned(), inode })
    }
}

impl Disk for DiskHandle {
    fn create(&self, path: &str, _access: Access) -> io::Result<Box<dyn File>> {
        check_path(path)?;
        let inode = self.disk.call(self.generation, |state| state.create(path))?;
        Ok(self.file(path, inode))
    }

    fn open(&self, path: &str, _access: Access) -> io::Result<Box<dyn File>> {
        check_path(path)?;
        let inode = self.disk.call(self.generation, |state| match state.tree.live().get(path) {
            Some(Node::File(inode)) => Ok(inode.clone()),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        })?;
        Ok(self.file(path, inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        check_path(from)?;
        check_path(to)?;
        self.disk.call(self.generation, |state| {
            state.effect(format_args!("rename {from} to {to}"))?;
            state.tree.rename(from, to)
        })
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        check_path(path)?;
        self.disk.call(self.generation, |state| {
            state.effect(format_args!("remove {path}"))?;
            state.tree.remove(path)
        })
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        check_path(path)?;
        self.disk.call(self.generation, |state| {
            state.effect(format_args!("create folder {path}"))?;
            state.tree.create_dir(path)
        })
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        self.disk.call(self.generation, |state| {
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
        self.disk.call(self.generation, |state| {
            state.tree.check_dir(path)?;
            state.effect(format_args!("sync folder {path:?}"))?;
            state.tree.sync_dir(path);
            Ok(())
        })
    }

    fn space(&self) -> io::Result<Space> {
        self.disk.call(self.generation, |state| {
            let (total, used) = (state.capacity, state.tree.used());
            Ok(Space { total, free: total.saturating_sub(used) })
        })
    }
}

impl File for FileHandle {
    fn len(&self) -> io::Result<u64> {
        self.disk.call(self.generation, |_| Ok(self.inode.lock().image.len() as u64))
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.disk.call(self.generation, |_| self.inode.lock().image.read(offset, bytes))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let write = |state: &mut super::State| state.write(&self.path, &self.inode, offset, bytes);
        self.disk.call(self.generation, write)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.call(self.generation, |state| state.set_len(&self.path, &self.inode, len))
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.call(self.generation, |state| state.sync(&self.path, &self.inode))
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
