//! Whole frames from a source that gives what it has.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::client::StreamSource;
use crate::client::put::row;
use crate::client::put::upload::{PutError, Upload};

/// How far a reader looks for the end of its source: with the frames that
/// are kept for sending again, less than what a put may hold.
const LOOK_AHEAD_BYTES_MAX: usize = 32 << 20;

/// Fills frames from a stream.
pub(super) struct Reader<'a> {
    upload: &'a Upload<'a>,
    source: &'a mut dyn StreamSource,
    /// What was read and not handed out.
    ahead: VecDeque<Bytes>,
    ahead_bytes: usize,
    is_at_end: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(upload: &'a Upload<'a>, source: &'a mut dyn StreamSource) -> Self {
        Self { upload, source, ahead: VecDeque::new(), ahead_bytes: 0, is_at_end: false }
    }

    /// The next `size` bytes; fewer only at the end, none after it.
    pub(super) async fn frame(&mut self, size: usize) -> Result<Vec<u8>, PutError> {
        let mut frame = self.upload.client.buffers.take();
        let is_over = self.is_at_end && self.ahead.is_empty();
        frame.reserve(if is_over { 0 } else { size });
        while frame.len() < size {
            let wanted = size - frame.len();
            let bytes = match self.take_ahead(wanted) {
                Some(bytes) => bytes,
                None if self.is_at_end => break,
                None => self.read(wanted).await?,
            };
            // A source that gives more than was asked for breaks its promise,
            // but no byte may be lost over it.
            frame.extend_from_slice(&bytes);
        }
        Ok(frame)
    }

    /// Bytes that are left, once the end was seen.
    pub(super) fn left(&self) -> Option<u64> {
        self.is_at_end.then_some(self.ahead_bytes as u64)
    }

    /// Reads on until the end or [`LOOK_AHEAD_BYTES_MAX`].
    pub(super) async fn look_ahead(&mut self) -> Result<(), PutError> {
        while !self.is_at_end && self.ahead_bytes < LOOK_AHEAD_BYTES_MAX {
            let bytes = self.read(LOOK_AHEAD_BYTES_MAX - self.ahead_bytes).await?;
            self.ahead_bytes += bytes.len();
            self.ahead.push_back(bytes);
        }
        Ok(())
    }

    /// At most `wanted` bytes of what was read ahead.
    fn take_ahead(&mut self, wanted: usize) -> Option<Bytes> {
        let mut first = self.ahead.pop_front()?;
        let taken = first.split_to(wanted.min(first.len()));
        if !first.is_empty() {
            self.ahead.push_front(first);
        }
        self.ahead_bytes -= taken.len();
        Some(taken)
    }

    async fn read(&mut self, wanted: usize) -> Result<Bytes, PutError> {
        let bytes = self.source.next(wanted).await.map_err(|error| row::unreadable(&error))?;
        self.is_at_end = bytes.is_empty();
        Ok(bytes)
    }
}
