//! What `--out` names, found out before anything is fetched: links are
//! followed, and a device is written to, never replaced.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;

use super::{FileSink, PipeSink};
use crate::exit::{Code, Failure};

/// How many links may lead to each other.
const LINKS_MAX: usize = 40;

/// Where the bytes of a file go.
pub(in crate::command) enum Target {
    /// A file of its own.
    File(FileSink),
    /// A pipe, a device, or what a descriptor of this process leads to.
    Pipe(PipeSink),
}

impl Target {
    /// Opens what `path` names.
    ///
    /// # Errors
    /// When it exists and `is_forced` is not set (exit code 6), or cannot be
    /// written.
    pub(in crate::command) async fn open(path: &Path, is_forced: bool) -> Result<Self, Failure> {
        let (path, is_descriptor) = follow(path)?;
        if is_descriptor && path.ends_with("1") {
            return Ok(Self::Pipe(PipeSink::standard_output()));
        }
        let there = fs::metadata(&path).ok();
        if there.as_ref().is_some_and(fs::Metadata::is_dir) {
            let text = format!("{} is a folder", path.display());
            return Err(Failure::new(Code::Exists, text));
        }
        if is_descriptor || there.as_ref().is_some_and(|there| !there.is_file()) {
            return open_device(path).await.map(|file| Self::Pipe(PipeSink::of(Box::new(file))));
        }
        let has_other_names = there.is_some_and(|there| there.nlink() > 1);
        FileSink::create(&path, is_forced, has_other_names).map(Self::File)
    }
}

/// Opens a pipe or a device. A pipe without a reader waits for one, and
/// nothing else must wait with it.
async fn open_device(path: PathBuf) -> Result<File, Failure> {
    let opened = path.clone();
    let open = move || OpenOptions::new().write(true).open(opened);
    super::flatten(spawn_blocking(open).await).map_err(|e| Failure::local("write", &path, &e))
}

/// Follows symbolic links, also one that leads to nothing yet. The second is
/// true where they lead to a descriptor of this process (`/dev/stdout`):
/// what that leads to is not a file of ours.
fn follow(path: &Path) -> Result<(PathBuf, bool), Failure> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        if is_descriptor(&path) {
            return Ok((path, true));
        }
        let Ok(leads_to) = fs::read_link(&path) else { return Ok((path, false)) };
        // A relative link begins where it lies.
        path = path.parent().unwrap_or(Path::new("")).join(leads_to);
    }
    let error = io::Error::from(io::ErrorKind::InvalidInput);
    let text =
        format!("cannot write {}: more than {LINKS_MAX} links lead on: {error}", path.display());
    Err(Failure::new(Code::Other, text))
}

/// Whether `path` is a descriptor of this process: `/proc/self/fd/1`.
fn is_descriptor(path: &Path) -> bool {
    let folder = path.parent().and_then(|folder| fs::canonicalize(folder).ok());
    let own = fs::canonicalize("/proc/self/fd").ok();
    let is_number = path
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()));
    is_number && folder.is_some() && folder == own
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_to_what_is_there_or_will_be() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("d")).expect("a folder");
        fs::write(at("d/file"), "x").expect("a file");
        symlink("d/file", at("one")).expect("a link");
        symlink(at("one"), at("two")).expect("a link");
        symlink("d/new", at("new")).expect("a link that leads to nothing yet");
        symlink("ring", at("ring")).expect("a link to itself");
        for (name, leads_to) in
            [("one", "d/file"), ("two", "d/file"), ("new", "d/new"), ("none", "none")]
        {
            assert_eq!(follow(&at(name)).expect("it ends"), (at(leads_to), false));
        }
        follow(&at("ring")).expect_err("it has no end");
        let (_, is_descriptor) = follow(Path::new("/dev/stdout")).expect("it ends");
        assert!(is_descriptor);
        assert!(!follow(Path::new("/dev/null")).expect("it ends").1);
    }
}
