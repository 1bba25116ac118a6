//! Where the bytes of a `get` go: a file that appears whole or not at all,
//! or a pipe.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use dfs_core::client::Sink;
use dfs_core::env::{Access, File};
use dfs_runtime::disk::create_target;
use tokio::task::{JoinSet, spawn_blocking};

use crate::exit::{Code, Failure};

/// Frames that are being written to the file at once.
const WRITES_IN_FLIGHT_MAX: usize = 4;
/// Names tried for the temporary file.
const NAMES_TRIED_MAX: u32 = 100;

/// A file under way: written beside its place under another name, which goes
/// when this is dropped.
pub(super) struct FileSink {
    file: Arc<dyn File>,
    temporary: Option<PathBuf>,
    target: PathBuf,
    writes: JoinSet<io::Result<()>>,
}

impl FileSink {
    /// Makes the temporary file beside `target`.
    ///
    /// # Errors
    /// When `target` exists and `is_forced` is not set (exit code 6), or
    /// nothing can be made there.
    pub(super) fn create(target: &Path, is_forced: bool) -> Result<Self, Failure> {
        if !is_forced && target.symlink_metadata().is_ok() {
            return Err(taken(target));
        }
        let base = target.file_name().and_then(|name| name.to_str()).unwrap_or("file");
        for attempt in 0..NAMES_TRIED_MAX {
            // The name in front may be as long as names can be.
            let base: String = base.chars().take(50).collect();
            let name = format!(".{base}.{}-{attempt}.part", std::process::id());
            let temporary = target.with_file_name(name);
            match create_target(&temporary, Access::Sequential) {
                Ok(file) => {
                    return Ok(Self {
                        file: Arc::from(file),
                        temporary: Some(temporary),
                        target: target.to_owned(),
                        writes: JoinSet::new(),
                    });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Failure::local("write", target, &e)),
            }
        }
        Err(Failure::new(Code::Other, format!("cannot find a name beside {}", target.display())))
    }

    /// Gives the file its place, all bytes on the disk.
    ///
    /// # Errors
    /// When a write failed, or the place was taken meanwhile. Nothing is left.
    pub(super) async fn finish(mut self, is_forced: bool) -> Result<(), Failure> {
        let target = self.target.clone();
        let failed = |e: &io::Error| Failure::local("write", &target, e);
        while let Some(written) = self.writes.join_next().await {
            flatten(written).map_err(|e| failed(&e))?;
        }
        let file = self.file.clone();
        flatten(spawn_blocking(move || file.sync()).await).map_err(|e| failed(&e))?;
        let Some(temporary) = &self.temporary else { return Ok(()) };
        if !is_forced {
            // A link never takes the place of a file that came meanwhile.
            match fs::hard_link(temporary, &target) {
                // The temporary name goes with `self`.
                Ok(()) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(taken(&target)),
                // A file system without links: looking first is the best there is.
                Err(_) if target.symlink_metadata().is_ok() => return Err(taken(&target)),
                Err(_) => {}
            }
        }
        fs::rename(temporary, &target).map_err(|e| failed(&e))?;
        self.temporary = None;
        Ok(())
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // It is a hidden file of no use: nothing is worse for its staying.
            drop(fs::remove_file(temporary));
        }
    }
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
            flatten(written)?;
        }
        let file = self.file.clone();
        self.writes.spawn_blocking(move || file.write_at(offset, &bytes));
        Ok(())
    }
}

fn taken(target: &Path) -> Failure {
    let message = format!("{} exists: add --force to replace it", target.display());
    Failure::new(Code::Exists, message)
}

fn flatten<T>(joined: Result<io::Result<T>, tokio::task::JoinError>) -> io::Result<T> {
    joined.unwrap_or_else(|e| Err(io::Error::other(e)))
}

/// Standard output, or another thing that only takes bytes in order.
pub(super) struct PipeSink {
    pipe: Arc<Mutex<Box<dyn Write + Send>>>,
    is_closed: bool,
}

impl PipeSink {
    /// Standard output.
    pub(super) fn standard_output() -> Self {
        Self::of(Box::new(io::stdout()))
    }

    /// Any pipe or device.
    pub(super) fn of(pipe: Box<dyn Write + Send>) -> Self {
        Self { pipe: Arc::new(Mutex::new(pipe)), is_closed: false }
    }

    /// Whether the reader has closed its end: it has seen enough.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }
}

#[async_trait]
impl Sink for PipeSink {
    fn is_ordered(&self) -> bool {
        true
    }

    async fn write(&mut self, _offset: u64, bytes: Bytes) -> io::Result<()> {
        let pipe = self.pipe.clone();
        let written = spawn_blocking(move || {
            let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
            pipe.write_all(&bytes)?;
            pipe.flush()
        });
        let written = flatten(written.await);
        self.is_closed |= written.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
        written
    }
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
        let mut sink = FileSink::create(&target, false).expect("a sink");
        sink.write(3, Bytes::from_static(b"def")).await.expect("a write");
        sink.write(0, Bytes::from_static(b"abc")).await.expect("a write");
        assert!(!target.exists());
        drop(sink);
        assert!(names(folder.path()).is_empty(), "a dropped sink leaves nothing");

        let mut sink = FileSink::create(&target, false).expect("a sink");
        for (offset, bytes) in [(3, "def"), (0, "abc")] {
            sink.write(offset, Bytes::from_static(bytes.as_bytes())).await.expect("a write");
        }
        sink.finish(false).await.expect("a place");
        assert_eq!(fs::read(&target).expect("the file"), b"abcdef");
        assert_eq!(names(folder.path()), ["out"]);
    }

    #[tokio::test]
    async fn a_file_that_exists_is_replaced_only_when_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("out");
        let sink = FileSink::create(&target, false).expect("nothing is there yet");
        fs::write(&target, "theirs").expect("a file that comes meanwhile");
        assert_eq!(sink.finish(false).await.expect_err("taken").code, Code::Exists);
        let refused = FileSink::create(&target, false).err().expect("taken");
        assert_eq!(refused.code, Code::Exists);
        assert_eq!(fs::read(&target).expect("the file"), b"theirs");

        let mut sink = FileSink::create(&target, true).expect("told");
        sink.write(0, Bytes::from_static(b"ours")).await.expect("a write");
        sink.finish(true).await.expect("a place");
        assert_eq!(fs::read(&target).expect("the file"), b"ours");
        assert_eq!(names(folder.path()), ["out"]);
    }
}
