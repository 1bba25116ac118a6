//! A file that appears whole or not at all.
//!
//! Its bytes gather in a file without a name where the file system has such,
//! so that nothing is left of a process that is killed; elsewhere under
//! another name beside the place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use dfs_core::client::Sink;
use dfs_core::env::{Access, File};
use dfs_runtime::disk::{Nameless, create_nameless, create_target};
use tokio::task::{JoinSet, spawn_blocking};

use super::flatten;
use crate::exit::{Code, Failure};

/// Frames that are being written to the file at once.
const WRITES_IN_FLIGHT_MAX: usize = 4;
/// Names tried for the temporary file.
const NAMES_TRIED_MAX: u32 = 100;

/// A file under way. What there is of it goes when this is dropped.
pub(in crate::command) struct FileSink {
    file: Arc<dyn File>,
    gathers: Gathers,
    target: PathBuf,
    is_forced: bool,
    /// Whether the target has other names, which must stay names of it.
    has_other_names: bool,
    writes: JoinSet<()>,
    /// The error that came first: those that follow are its echo.
    first_error: Arc<Mutex<Option<io::Error>>>,
}

/// Where the bytes gather.
enum Gathers {
    /// In a file without a name.
    Nameless(Nameless),
    /// Under this name, which goes when this is dropped.
    Named(Temporary),
}

/// A name that goes when this is dropped.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // It is a hidden file of no use, if it is still there: nothing is
        // worse for its staying.
        drop(fs::remove_file(&self.0));
    }
}

impl FileSink {
    /// Makes a file in the folder of `target`.
    ///
    /// # Errors
    /// When `target` exists and `is_forced` is not set (exit code 6), or
    /// nothing can be made there.
    pub(super) fn create(
        target: &Path,
        is_forced: bool,
        has_other_names: bool,
    ) -> Result<Self, Failure> {
        if !is_forced && target.symlink_metadata().is_ok() {
            return Err(taken(target));
        }
        if has_other_names {
            // It is written in place at the end: whether that may be shows now.
            let opened = fs::OpenOptions::new().write(true).open(target);
            opened.map_err(|e| Failure::local("write", target, &e))?;
        }
        let (file, gathers) = gather(target)?;
        Ok(Self {
            file: Arc::from(file),
            gathers,
            target: target.to_owned(),
            is_forced,
            has_other_names,
            writes: JoinSet::new(),
            first_error: Arc::default(),
        })
    }

    /// Gives the file its place, all bytes on the disk.
    ///
    /// # Errors
    /// When a write failed, or the place was taken meanwhile. Nothing is left.
    pub(in crate::command) async fn finish(mut self) -> Result<(), Failure> {
        while let Some(written) = self.writes.join_next().await {
            flatten(written.map(Ok)).map_err(|e| Failure::local("write", &self.target, &e))?;
        }
        if let Some(failure) = self.failure() {
            return Err(failure);
        }
        let target = self.target.clone();
        let failed = |e: &io::Error| Failure::local("write", &target, e);
        let file = self.file.clone();
        flatten(spawn_blocking(move || file.sync()).await).map_err(|e| failed(&e))?;
        if self.has_other_names {
            let (mut from, to) = (self.whole()?, self.target);
            return flatten(spawn_blocking(move || write_in_place(&mut from, &to)).await)
                .map_err(|e| failed(&e));
        }
        match self.gathers {
            Gathers::Nameless(nameless) => link(&nameless, &target, self.is_forced),
            Gathers::Named(temporary) => name(&temporary.0, &target, self.is_forced),
        }
    }

    /// The error that came first, if any did.
    pub(in crate::command) fn failure(&self) -> Option<Failure> {
        let first = self.first_error.lock().unwrap_or_else(PoisonError::into_inner);
        first.as_ref().map(|error| Failure::local("write", &self.target, error))
    }

    fn whole(&self) -> Result<fs::File, Failure> {
        let opened = match &self.gathers {
            Gathers::Nameless(nameless) => nameless.reopen(),
            Gathers::Named(temporary) => fs::File::open(&temporary.0),
        };
        opened.map_err(|e| Failure::local("read back", &self.target, &e))
    }
}

/// A file in which the bytes for `target` gather.
fn gather(target: &Path) -> Result<(Box<dyn File>, Gathers), Failure> {
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match create_nameless(folder, Access::Sequential) {
        Ok(Some((file, nameless))) => return Ok((file, Gathers::Nameless(nameless))),
        Ok(None) => {}
        Err(e) => return Err(Failure::local("write", target, &e)),
    }
    let base = target.file_name().and_then(|name| name.to_str()).unwrap_or("file");
    for attempt in 0..NAMES_TRIED_MAX {
        let temporary = beside(target, base, attempt);
        match create_target(&temporary, Access::Sequential) {
            Ok(file) => return Ok((file, Gathers::Named(Temporary(temporary)))),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Failure::local("write", target, &e)),
        }
    }
    Err(no_name(target))
}

/// A hidden name beside `target`.
fn beside(target: &Path, base: &str, attempt: u32) -> PathBuf {
    // The name in front may be as long as names can be.
    let base: String = base.chars().take(50).collect();
    target.with_file_name(format!(".{base}.{}-{attempt}.part", std::process::id()))
}

fn no_name(target: &Path) -> Failure {
    Failure::new(Code::Other, format!("cannot find a name beside {}", target.display()))
}

/// Gives a file without a name its own.
fn link(nameless: &Nameless, target: &Path, is_forced: bool) -> Result<(), Failure> {
    let failed = |e: &io::Error| Failure::local("write", target, e);
    match nameless.link(target) {
        Ok(()) => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && is_forced => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(taken(target)),
        Err(e) => return Err(failed(&e)),
    }
    // A link never takes the place of another: a name beside it does.
    let base = target.file_name().and_then(|name| name.to_str()).unwrap_or("file");
    for attempt in 0..NAMES_TRIED_MAX {
        let temporary = Temporary(beside(target, base, attempt));
        match nameless.link(&temporary.0) {
            Ok(()) => return fs::rename(&temporary.0, target).map_err(|e| failed(&e)),
            // That name is another's, and stays.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => std::mem::forget(temporary),
            Err(e) => return Err(failed(&e)),
        }
    }
    Err(no_name(target))
}

/// Gives a file under another name its own.
fn name(temporary: &Path, target: &Path, is_forced: bool) -> Result<(), Failure> {
    if !is_forced {
        // A link never takes the place of a file that came meanwhile.
        match fs::hard_link(temporary, target) {
            // The temporary name goes with its guard.
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(taken(target)),
            // A file system without links: looking first is the best there is.
            Err(_) if target.symlink_metadata().is_ok() => return Err(taken(target)),
            Err(_) => {}
        }
    }
    fs::rename(temporary, target).map_err(|e| Failure::local("write", target, &e))
}

/// Copies a whole file over one that has other names: it must stay the same
/// file under all of them, so it cannot be replaced.
fn write_in_place(from: &mut fs::File, target: &Path) -> io::Result<()> {
    let mut to = fs::OpenOptions::new().write(true).truncate(true).open(target)?;
    io::copy(from, &mut to)?;
    to.sync_all()
}

fn taken(target: &Path) -> Failure {
    let message = format!("{} exists: add --force to replace it", target.display());
    Failure::new(Code::Exists, message)
}

#[async_trait]
impl Sink for FileSink {
    fn is_ordered(&self) -> bool {
        false
    }

    async fn write(&mut self, offset: u64, bytes: Bytes) -> io::Result<()> {
        if self.writes.len() >= WRITES_IN_FLIGHT_MAX
            && let Some(written) = self.writes.join_next().await
        {
            flatten(written.map(Ok))?;
        }
        let first = self.first_error.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = first.as_ref() {
            return Err(io::Error::new(error.kind(), error.to_string()));
        }
        drop(first);
        let (file, first) = (self.file.clone(), self.first_error.clone());
        self.writes.spawn_blocking(move || {
            // Locked for as long as it takes to note: the write itself is
            // over, and whoever comes second finds the first.
            if let Err(error) = file.write_at(offset, &bytes) {
                let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
                if first.as_ref().is_none_or(|first| is_cause(&error) && !is_cause(first)) {
                    *first = Some(error);
                }
            }
        });
        Ok(())
    }
}

/// Whether an error says what is wrong with the disk, rather than that
/// something went wrong before.
fn is_cause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    ) || error.raw_os_error().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.expect("an entry").file_name().into_string().expect("UTF-8")
        };
        entries.map(name).collect()
    }

    #[tokio::test]
    async fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("out");
        let mut sink = FileSink::create(&target, false, false).expect("a sink");
        sink.write(3, Bytes::from_static(b"def")).await.expect("a write");
        sink.write(0, Bytes::from_static(b"abc")).await.expect("a write");
        assert!(!target.exists());
        drop(sink);
        assert!(names(folder.path()).is_empty(), "a dropped sink leaves nothing");

        let mut sink = FileSink::create(&target, false, false).expect("a sink");
        for (offset, bytes) in [(3, "def"), (0, "abc")] {
            sink.write(offset, Bytes::from_static(bytes.as_bytes())).await.expect("a write");
        }
        sink.finish().await.expect("a place");
        assert_eq!(fs::read(&target).expect("the file"), b"abcdef");
        assert_eq!(names(folder.path()), ["out"]);
    }

    #[tokio::test]
    async fn a_file_that_exists_is_replaced_only_when_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("out");
        let sink = FileSink::create(&target, false, false).expect("nothing is there yet");
        fs::write(&target, "theirs").expect("a file that comes meanwhile");
        assert_eq!(sink.finish().await.expect_err("taken").code, Code::Exists);
        let refused = FileSink::create(&target, false, false).err().expect("taken");
        assert_eq!(refused.code, Code::Exists);
        assert_eq!(fs::read(&target).expect("the file"), b"theirs");

        let mut sink = FileSink::create(&target, true, false).expect("told");
        sink.write(0, Bytes::from_static(b"ours")).await.expect("a write");
        sink.finish().await.expect("a place");
        assert_eq!(fs::read(&target).expect("the file"), b"ours");
        assert_eq!(names(folder.path()), ["out"]);
    }
}
