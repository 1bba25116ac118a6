//! Bytes in memory as what a client puts, and gets.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dfs_core::client::{Sink, Source, StreamSource};
use dfs_core::env::File;

/// `bytes` as a file that can be read anywhere.
#[must_use]
pub fn seekable(bytes: &[u8]) -> Source {
    let len = bytes.len() as u64;
    Source::Seekable { file: Arc::new(BytesFile(Bytes::copy_from_slice(bytes))), len, check: None }
}

/// `bytes` as a stream of unknown length that gives at most `piece_bytes_max`
/// at once.
#[must_use]
pub fn stream(bytes: &[u8], piece_bytes_max: usize) -> Source {
    let bytes = Bytes::copy_from_slice(bytes);
    Source::Stream(Box::new(BytesStream { bytes, piece_bytes_max }))
}

/// What a get handed over.
#[derive(Debug, Default)]
pub struct MemorySink {
    /// The bytes so far.
    pub bytes: Vec<u8>,
    /// Whether it takes bytes in order only.
    pub is_ordered: bool,
}

struct BytesFile(Bytes);

impl File for BytesFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let found = start.checked_add(bytes.len()).and_then(|end| self.0.get(start..end));
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
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

struct BytesStream {
    bytes: Bytes,
    piece_bytes_max: usize,
}

#[async_trait]
impl StreamSource for BytesStream {
    async fn next(&mut self, max_bytes: usize) -> io::Result<Bytes> {
        let len = self.bytes.len().min(max_bytes).min(self.piece_bytes_max);
        Ok(self.bytes.split_to(len))
    }
}

#[async_trait]
impl Sink for MemorySink {
    fn is_ordered(&self) -> bool {
        self.is_ordered
    }

    async fn write(&mut self, offset: u64, bytes: Bytes) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        if self.is_ordered && start != self.bytes.len() {
            let text = format!("bytes at {start} after {} bytes", self.bytes.len());
            return Err(io::Error::other(text));
        }
        let end = start + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[start..end].copy_from_slice(&bytes);
        Ok(())
    }
}
