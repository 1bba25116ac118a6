//! Standard streams that were closed when the process began.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use rustix::fs::{OFlags, fcntl_getfl};

/// True when `stream` was closed when the process began: the standard library
/// then opens the null device there, for reading and writing. No shell does
/// so, but some programs that discard an output do: whoever asks cannot tell
/// these two apart.
pub(super) fn is_closed(stream: impl AsFd) -> bool {
    let found = stream.as_fd().try_clone_to_owned().map(File::from);
    let Ok(found) = found.and_then(|file| file.metadata()) else { return false };
    let is_null = found.file_type().is_char_device()
        && fs::metadata("/dev/null").is_ok_and(|null| null.rdev() == found.rdev());
    is_null && fcntl_getfl(stream).is_ok_and(|flags| flags.contains(OFlags::RDWR))
}
