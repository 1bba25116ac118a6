//! The disk seam: one folder, synchronous calls, to be run through the pool.
//!
//! A name is durable after `sync_dir` of its folder, a file's bytes after
//! its own `sync`; neither implies the other. After a failed `sync` the
//! bytes since the last good one must be taken as lost.

use std::io;

use crate::id::LockPlace;

/// The folder of one process. Paths are relative to it, parted by `/`, made
/// of names that the store chose (never a user's).
pub trait Disk: Send + Sync {
    /// Makes a new file.
    ///
    /// # Errors
    /// `AlreadyExists`, `NotFound` (no such folder), `StorageFull`, others.
    fn create(&self, path: &str, access: Access) -> io::Result<Box<dyn File>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// `NotFound`, others.
    fn open(&self, path: &str, access: Access) -> io::Result<Box<dyn File>>;

    /// Moves a file to another name, over whatever has that name.
    ///
    /// # Errors
    /// `NotFound`, others.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound`, others.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Makes a folder and those above it; one that exists is left as it is.
    ///
    /// # Errors
    /// `StorageFull`, others.
    fn create_dir(&self, path: &str) -> io::Result<()>;

    /// What is in a folder (`""` is the root), sorted by name.
    ///
    /// # Errors
    /// `NotFound`, others.
    fn list(&self, path: &str) -> io::Result<Vec<Entry>>;

    /// Makes the names in a folder (`""` is the root) durable.
    ///
    /// # Errors
    /// Whatever the device says.
    fn sync_dir(&self, path: &str) -> io::Result<()>;

    /// The place of the locked folder; `None` where there is no lock.
    fn lock_place(&self) -> Option<LockPlace> {
        None
    }

    /// The place of the folder itself, which tells a mount point from the
    /// volume that is mounted there, and a folder from one put in its place.
    ///
    /// # Errors
    /// `NotFound` when the folder is gone; whatever the device says.
    fn place(&self) -> io::Result<Place>;

    /// The place of what stands at `path` now, which tells a file from one
    /// that was put in its place.
    ///
    /// # Errors
    /// `NotFound` when nothing stands there; `Unsupported` where the disk
    /// cannot tell.
    fn place_of(&self, path: &str) -> io::Result<Place> {
        let text = format!("the place of {path} cannot be told here");
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }

    /// Takes another folder of this machine into use, by its absolute path.
    /// It must be new or empty.
    ///
    /// # Errors
    /// `InvalidInput` for a path that is not absolute; `DirectoryNotEmpty`;
    /// whatever the device says.
    fn new_folder(&self, path: &str) -> io::Result<Box<dyn Disk>> {
        let text = format!("{path} cannot be made here");
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }

    /// The space of the volume, or of the quota that was set for it.
    ///
    /// # Errors
    /// Whatever the device says.
    fn space(&self) -> io::Result<Space>;
}

/// An open file. Calls may come from several threads at once.
pub trait File: Send + Sync {
    /// Its length in bytes, including what was written but not synced.
    ///
    /// # Errors
    /// Whatever the device says.
    fn len(&self) -> io::Result<u64>;

    /// True when it has no bytes.
    ///
    /// # Errors
    /// As [`File::len`].
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `bytes` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends first; others.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, making the file longer if needed.
    ///
    /// # Errors
    /// `StorageFull`, others. What was written is then unknown.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts or lengthens (with zeros) the file.
    ///
    /// # Errors
    /// `StorageFull`, others.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Takes the space for the file's first `len` bytes, so that writing them
    /// never finds the disk full. The length stays as it is. Making the file
    /// shorter gives back the space behind its new end.
    ///
    /// # Errors
    /// `StorageFull`; `Unsupported` where space cannot be taken ahead.
    fn allocate(&self, len: u64) -> io::Result<()> {
        let text = format!("{len} bytes cannot be taken ahead here");
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }

    /// Makes the bytes and the length durable.
    ///
    /// # Errors
    /// Whatever the device says; see the module's text.
    fn sync(&self) -> io::Result<()>;
}

/// How a file is going to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anywhere, small pieces, through the page cache.
    Random,
    /// From start to end in large pieces, once: the page cache is not wanted.
    Sequential,
}

/// What an acknowledgement promises. Same choice on coordinator and nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// What was acknowledged is on the device: file and folder were synced.
    #[default]
    Strict,
    /// What was acknowledged may be lost in a power cut: nothing waits for
    /// the device.
    Relaxed,
}

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The last part of its path.
    pub name: String,
    /// True for a folder.
    pub is_dir: bool,
    /// The length of a file in bytes, 0 for a folder.
    pub len: u64,
}

/// Which folder or file on which volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The volume.
    pub device: u64,
    /// The folder or file on it.
    pub inode: u64,
}

/// Space in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What can still be written.
    pub free: u64,
}
