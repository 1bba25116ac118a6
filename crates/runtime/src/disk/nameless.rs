//! Files without a name, for what must leave nothing behind when its process
//! is killed.

use std::fs::{File as OsFile, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use dfs_core::env::{Access, File};

use super::file::RealFile;
use super::name_error;
use super::quota::Quota;

/// The hold on a file without a name. When the last hold goes, so do its
/// bytes.
pub struct Nameless(OsFile);

impl Nameless {
    /// Gives the file a name.
    ///
    /// # Errors
    /// `AlreadyExists`, others.
    pub fn link(&self, path: &Path) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{AtFlags, CWD, linkat};
            Ok(linkat(CWD, self.path(), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = path;
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// Opens the file once more, to be read from its start.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn reopen(&self) -> io::Result<OsFile> {
        OsFile::open(self.path())
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// Makes a file without a name in `folder`; `None` where the system or the
/// file system has none.
///
/// # Errors
/// `NotFound` (no such folder), `PermissionDenied`, others, with the folder.
pub fn create_nameless(
    folder: &Path,
    access: Access,
) -> io::Result<Option<(Box<dyn File>, Nameless)>> {
    let named = |error| name_error(error, &folder.display());
    let Some(plain) = open_nameless(folder).map_err(named)? else { return Ok(None) };
    let held = Nameless(plain.try_clone().map_err(named)?);
    // Without its path under `/proc` it could never get a name.
    if held.reopen().is_err() {
        return Ok(None);
    }
    let file = RealFile::new(plain, access, Quota::none()).map_err(named)?;
    Ok(Some((Box::new(file), held)))
}

#[cfg(target_os = "linux")]
fn open_nameless(folder: &Path) -> io::Result<Option<OsFile>> {
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::fs::OFlags;
    use rustix::io::Errno;

    let flags = i32::try_from(OFlags::TMPFILE.bits()).unwrap_or_default();
    let opened = OpenOptions::new().read(true).write(true).custom_flags(flags).open(folder);
    // What systems and file systems say that do not know such files.
    let unknown = [Errno::OPNOTSUPP, Errno::ISDIR, Errno::INVAL].map(Errno::raw_os_error);
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.raw_os_error().is_some_and(|code| unknown.contains(&code)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(not(target_os = "linux"))]
fn open_nameless(_folder: &Path) -> io::Result<Option<OsFile>> {
    Ok(None)
}
