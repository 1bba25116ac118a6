//! Whole frames from a source that gives what it has.

use crate::client::StreamSource;
use crate::client::put::row;
use crate::client::put::upload::{PutError, Upload};

/// Fills frames from a stream.
pub(super) struct Reader<'a> {
    upload: &'a Upload<'a>,
    source: &'a mut dyn StreamSource,
    is_at_end: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(upload: &'a Upload<'a>, source: &'a mut dyn StreamSource) -> Self {
        Self { upload, source, is_at_end: false }
    }

    /// The next `size` bytes; fewer only at the end, none after it.
    pub(super) async fn frame(&mut self, size: usize) -> Result<Vec<u8>, PutError> {
        let mut frame = self.upload.client.buffers.take();
        frame.reserve(if self.is_at_end { 0 } else { size });
        while frame.len() < size && !self.is_at_end {
            let wanted = size - frame.len();
            let bytes = self.source.next(wanted).await.map_err(|error| row::unreadable(&error))?;
            self.is_at_end = bytes.is_empty();
            // A source that gives more than was asked for breaks its promise,
            // but no byte may be lost over it.
            frame.extend_from_slice(&bytes);
        }
        Ok(frame)
    }
}
