//! Bytes that come once: pipes, devices, files without a length.

use std::fs::File as LocalFile;
use std::io::{self, Read};
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use dfs_core::client::{SourceCheck, StreamSource};
use tokio::sync::mpsc;

use super::guard::Guard;

/// Bytes read from a stream at once.
pub(super) const PIECE_BYTES: usize = 1 << 20;
/// Pieces that are read ahead of the put.
const PIECES_AHEAD_MAX: usize = 4;

/// Bytes of a stream, read ahead by a thread of its own: opening or reading a
/// pipe may wait for ever, and nothing else must wait with it.
pub(super) struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
    /// Notices changes of a regular file; `None` for anything else.
    guard: Option<Guard>,
}

impl Pieces {
    /// The bytes of `stream`.
    pub(super) fn of(stream: impl Read + Send + 'static) -> Self {
        Self::from(move || Ok(stream))
    }

    /// The bytes of what lies at `path`, which is opened in the background.
    pub(super) fn at(path: PathBuf) -> Self {
        Self::from(move || LocalFile::open(path))
    }

    /// The same bytes, and a change of the file that they come from fails
    /// the put.
    pub(super) fn guarded_by(self, guard: Option<Guard>) -> Self {
        Self { guard, ..self }
    }

    fn from<R: Read>(open: impl FnOnce() -> io::Result<R> + Send + 'static) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD_MAX);
        std::thread::spawn(move || {
            let mut stream = match open() {
                Ok(stream) => stream,
                Err(error) => {
                    // Nobody listens any more when the put is over.
                    drop(sender.blocking_send(Err(error)));
                    return;
                }
            };
            loop {
                let piece = read_piece(&mut stream);
                let is_last = !matches!(&piece, Ok(bytes) if !bytes.is_empty());
                // Nobody listens any more when the put is over.
                if sender.blocking_send(piece).is_err() || is_last {
                    return;
                }
            }
        });
        Self { pieces, rest: Bytes::new(), guard: None }
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

    async fn change(&mut self) -> io::Result<Option<String>> {
        self.guard.as_ref().map_or(Ok(None), SourceCheck::change)
    }
}

/// Reads as much as one piece holds; less only at the end.
pub(super) fn read_piece(stream: &mut impl Read) -> io::Result<Bytes> {
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    stream.take(PIECE_BYTES as u64).read_to_end(&mut piece)?;
    Ok(piece.into())
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
}
