//! Where the bytes of a `put` come from: local files and standard input.

use std::fs::{self, File as LocalFile};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dfs_core::client::{Source, StreamSource};
use dfs_core::env::File;
use tokio::sync::mpsc;

use crate::exit::{Code, Failure};

/// Bytes read from a stream at once.
const PIECE_BYTES: usize = 1 << 20;
/// Pieces that are read ahead of the put.
const PIECES_AHEAD_MAX: usize = 4;
/// How deep folders may lie in each other.
const DEPTH_MAX: usize = 256;

/// Opens a local file as a source; one that cannot be read anywhere (a pipe)
/// becomes a stream.
///
/// # Errors
/// When it is a folder or cannot be opened.
pub(super) fn open(path: &Path) -> Result<Source, Failure> {
    let refuse = |e: &io::Error| Failure::local("read", path, e);
    let kind = fs::metadata(path).map_err(|e| refuse(&e))?;
    if kind.is_dir() {
        return Err(Failure::usage(format!(
            "{} is a folder: add --recursive to store all that is in it",
            path.display()
        )));
    }
    let file = LocalFile::open(path).map_err(|e| refuse(&e))?;
    if !kind.is_file() {
        return Ok(Source::Stream(Box::new(Pieces::of(file))));
    }
    let len = file.metadata().map_err(|e| refuse(&e))?.len();
    Ok(Source::Seekable { file: Arc::new(ReadOnly(file)), len })
}

/// Standard input as a source.
pub(super) fn standard_input() -> Source {
    Source::Stream(Box::new(Pieces::of(io::stdin())))
}

/// A local file that is only read.
struct ReadOnly(LocalFile);

impl File for ReadOnly {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes of a stream, read ahead by a thread of its own: a read of a pipe
/// may wait for ever, and nothing else shall wait with it.
struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl Pieces {
    fn of(mut stream: impl Read + Send + 'static) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD_MAX);
        std::thread::spawn(move || {
            loop {
                let piece = read_piece(&mut stream);
                let is_last = !matches!(&piece, Ok(bytes) if !bytes.is_empty());
                // Nobody listens any more when the put is over.
                if sender.blocking_send(piece).is_err() || is_last {
                    return;
                }
            }
        });
        Self { pieces, rest: Bytes::new() }
    }
}

#[async_trait]
impl StreamSource for Pieces {
    async fn next(&mut self, max_bytes: usize) -> io::Result<Bytes> {
        if self.rest.is_empty() {
            // A channel that is closed has handed out the end before.
            self.rest = self.pieces.recv().await.unwrap_or_else(|| Ok(Bytes::new()))?;
        }
        Ok(self.rest.split_to(max_bytes.min(self.rest.len())))
    }
}

/// As much as one piece holds; less only at the end.
fn read_piece(stream: &mut impl Read) -> io::Result<Bytes> {
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    stream.take(PIECE_BYTES as u64).read_to_end(&mut piece)?;
    Ok(piece.into())
}

/// A local file and the name that it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its name in the store.
    pub(super) name: String,
    /// Its bytes, when it was looked at.
    pub(super) size: u64,
}

/// All regular files below `folder`, in order, named from `prefix` on.
/// Returns also what was passed over: links and special files.
///
/// # Errors
/// When a folder cannot be read, or a name is not UTF-8.
pub(super) fn walk(folder: &Path, prefix: &str) -> Result<(Vec<Found>, Vec<PathBuf>), Failure> {
    let mut found = Vec::new();
    let mut passed_over = Vec::new();
    // Folders still to read, the next one last.
    let mut folders = vec![(folder.to_owned(), prefix.to_owned(), 0)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        let refuse = |e: &io::Error| Failure::local("read the folder", &folder, e);
        if depth > DEPTH_MAX {
            let message = format!("{} lies deeper than {DEPTH_MAX} folders", folder.display());
            return Err(Failure::new(Code::Other, message));
        }
        let mut entries = fs::read_dir(&folder)
            .and_then(Iterator::collect::<io::Result<Vec<_>>>)
            .map_err(|e| refuse(&e))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        let mut below = Vec::new();
        for entry in entries {
            let path = entry.path();
            let Some(base) = entry.file_name().to_str().map(str::to_owned) else {
                return Err(Failure::usage(format!(
                    "the name of {} is not UTF-8: rename it",
                    path.display()
                )));
            };
            let name = format!("{prefix}/{base}");
            let kind = entry.file_type().map_err(|e| refuse(&e))?;
            if kind.is_dir() {
                below.push((path, name, depth + 1));
            } else if kind.is_file() {
                let size = entry.metadata().map_err(|e| refuse(&e))?.len();
                found.push(Found { path, name, size });
            } else {
                passed_over.push(path);
            }
        }
        folders.extend(below.into_iter().rev());
    }
    Ok((found, passed_over))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_is_handed_on_whole_and_in_pieces_as_asked_for() {
        let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        let mut pieces = Pieces::of(io::Cursor::new(bytes.clone()));
        let mut got = Vec::new();
        loop {
            let piece = pieces.next(70_000).await.expect("a piece");
            if piece.is_empty() {
                break;
            }
            assert!(piece.len() <= 70_000);
            got.extend_from_slice(&piece);
        }
        assert!(got == bytes);
        assert!(pieces.next(1).await.expect("still the end").is_empty());
    }

    #[test]
    fn a_folder_is_walked_in_order_without_following_links() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        fs::create_dir_all(root.join("b/deep")).expect("folders");
        for name in ["z", "a", "b/deep/x"] {
            fs::write(root.join(name), name).expect("a file");
        }
        std::os::unix::fs::symlink("/etc", root.join("link")).expect("a link");
        let (found, passed_over) = walk(root, "p").expect("a walk");
        let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["p/a", "p/z", "p/b/deep/x"]);
        assert_eq!(passed_over, [root.join("link")]);
    }
}
