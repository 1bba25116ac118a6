//! Noticing that a local file changed while it was read.
//!
//! A file that is rewritten in place keeps its length, so lengths alone prove
//! nothing. The kernel changes a file's times with each change, but only as
//! finely as its clock ticks: a file that changed a moment ago is read only
//! when the clock has moved on.

use std::fs::{self, File as LocalFile, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dfs_core::client::SourceCheck;

/// The coarsest step of a kernel clock that sets file times, with a margin
/// (a tick is 1 to 10 ms).
const TICK: Duration = Duration::from_millis(20);

/// What a file was when it was opened.
pub(super) struct Guard {
    file: Arc<LocalFile>,
    /// Where it was found; `None` for standard input.
    path: Option<PathBuf>,
    stamp: Stamp,
    /// Whether all bytes lie before the length that the file says.
    ends_at_len: bool,
}

/// What changes when a file changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Guard {
    /// Notes what `file` is. Waits at most one [`TICK`], so that no later
    /// change can bear the same time.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn on(file: Arc<LocalFile>, path: Option<&Path>) -> io::Result<(Self, Metadata)> {
        if changed_just_now(&file.metadata()?) {
            std::thread::park_timeout(TICK);
        }
        let found = file.metadata()?;
        let path = path.map(Path::to_owned);
        Ok((Self { file, path, stamp: Stamp::of(&found), ends_at_len: false }, found))
    }

    /// The same, and bytes beyond the length count as a change.
    pub(super) fn ending_at_len(self) -> Self {
        Self { ends_at_len: true, ..self }
    }
}

impl SourceCheck for Guard {
    fn change(&self) -> io::Result<Option<String>> {
        let now = Stamp::of(&self.file.metadata()?);
        if let Some(change) = self.stamp.change(&now) {
            return Ok(Some(change));
        }
        if self.ends_at_len && self.file.read_at(&mut [0], self.stamp.len)? > 0 {
            return Ok(Some("it has more bytes than its length says".into()));
        }
        let Some(path) = &self.path else { return Ok(None) };
        let there = fs::metadata(path).map(|found| Stamp::of(&found));
        let is_same = there.is_ok_and(|there| there.is_same_file(&self.stamp));
        Ok((!is_same).then(|| "another file took its place".into()))
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    fn change(&self, now: &Self) -> Option<String> {
        if self.len != now.len {
            return Some(format!("it had {} bytes and has {} now", self.len, now.len));
        }
        if self.modified != now.modified {
            return Some("its bytes were written to".into());
        }
        // The time of a write can be set back, this one cannot.
        (self.changed != now.changed)
            .then(|| "it was written to, renamed, or its attributes were changed".into())
    }
}

/// Whether a change right now could bear the same time as the last one.
fn changed_just_now(metadata: &Metadata) -> bool {
    #[expect(clippy::disallowed_methods, reason = "the times of local files are compared with it")]
    let now = SystemTime::now();
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let times =
        [(metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec())];
    times.into_iter().any(|(seconds, nanos)| {
        let (Ok(seconds), Ok(nanos)) = (u64::try_from(seconds), u32::try_from(nanos)) else {
            return false;
        };
        now.abs_diff(Duration::new(seconds, nanos)) < TICK
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn change_by(action: impl FnOnce(&Path)) -> Option<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        fs::write(&path, "0123456789").expect("a file");
        let file = Arc::new(LocalFile::open(&path).expect("the file"));
        // The file was written a moment ago: the guard waits for a tick.
        let (guard, _) = Guard::on(file, Some(&path)).expect("a guard");
        action(&path);
        guard.ending_at_len().change().expect("it can be looked at")
    }

    #[test]
    fn every_way_of_changing_a_file_is_noticed() {
        assert_eq!(change_by(|_| {}), None);
        let open = |path: &Path| LocalFile::options().write(true).open(path).expect("the file");
        let rewritten = change_by(|path| open(path).write_all(b"x").expect("a write"));
        assert_eq!(rewritten.as_deref(), Some("its bytes were written to"));
        let cut = change_by(|path| open(path).set_len(3).expect("shorter"));
        assert_eq!(cut.as_deref(), Some("it had 10 bytes and has 3 now"));
        let hidden = change_by(|path| {
            let file = open(path);
            let before = file.metadata().expect("metadata").modified().expect("a time");
            (&file).write_all(b"x").expect("a write");
            file.set_modified(before).expect("the time is set back");
        });
        assert!(hidden.is_some_and(|how| how.contains("written to")));
        let replaced = change_by(|path| {
            let new = path.with_file_name("b");
            fs::write(&new, "abcdefghij").expect("a file");
            fs::rename(&new, path).expect("it takes the place");
        });
        assert!(replaced.is_some());
        assert!(change_by(|path| fs::remove_file(path).expect("removed")).is_some());
    }
}
