//! A folder of a real file system as the store's disk.
//!
//! Files for [`Access::Sequential`] are written and read past the page cache
//! (`O_DIRECT`) where the file system can, from aligned buffers of 1 MiB;
//! elsewhere through the page cache with early write-behind. Handles of one
//! file share one state, so they always agree, also on what is still staged.
//!
//! A folder is locked against a second process for as long as its
//! [`RealDisk`] lives.

mod aligned;
mod file;
mod folder;
mod nameless;
mod quota;
mod staged;

use std::io;
use std::path::Path;

pub use folder::RealDisk;
pub use nameless::{Nameless, create_nameless};

use dfs_core::env::{Access, File};

use file::RealFile;
use quota::Quota;

/// Opens a file outside any data folder for reading: the source of a `put`.
///
/// # Errors
/// Whatever the system says, with the path.
pub fn open_source(path: &Path, access: Access) -> io::Result<Box<dyn File>> {
    let named = |error| name_error(error, &path.display());
    let file = std::fs::File::open(path).map_err(named)?;
    Ok(Box::new(RealFile::new(file, access, Quota::none()).map_err(named)?))
}

/// Makes a new file outside any data folder: the target of a `get`.
///
/// # Errors
/// `AlreadyExists`, `NotFound` (no such folder), others, with the path.
pub fn create_target(path: &Path, access: Access) -> io::Result<Box<dyn File>> {
    let named = |error| name_error(error, &path.display());
    let options = std::fs::OpenOptions::new().read(true).write(true).create_new(true).clone();
    let file = options.open(path).map_err(named)?;
    Ok(Box::new(RealFile::new(file, access, Quota::none()).map_err(named)?))
}

/// `error` with what it is about; its kind is kept, and a quota of the
/// operating system is no other reason than a full disk.
fn name_error(error: io::Error, about: &dyn std::fmt::Display) -> io::Error {
    let kind = match error.kind() {
        io::ErrorKind::QuotaExceeded => io::ErrorKind::StorageFull,
        kind => kind,
    };
    io::Error::new(kind, format!("{about}: {error}"))
}
