//! Frame buffers that are used again.
//!
//! A stored frame is shared, as [`Bytes`], by the streams that send it, and
//! nobody tells when the last one has let go of it. So a clone is kept here,
//! and whoever needs a buffer takes one that nobody else holds any more:
//! memory that was touched before is several times faster than fresh memory.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// The most buffers kept. Most of them are frames in flight anyway.
const KEPT_MAX: usize = 64;
/// How many kept buffers one search looks at.
const LOOKED_AT_MAX: usize = 16;
/// A smaller buffer is not worth keeping.
const KEPT_BYTES_MIN: usize = 256 << 10;

/// Buffers on their way out and ready again.
#[derive(Default)]
pub(super) struct FrameBuffers {
    kept: Mutex<VecDeque<Bytes>>,
}

impl FrameBuffers {
    /// An empty buffer, a used one if one is free.
    pub(super) fn take(&self) -> Vec<u8> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..kept.len().min(LOOKED_AT_MAX) {
            let Some(bytes) = kept.pop_front() else { break };
            match bytes.try_into_mut() {
                Ok(mut buffer) => {
                    buffer.clear();
                    return buffer.into();
                }
                Err(bytes) => kept.push_back(bytes),
            }
        }
        Vec::new()
    }

    /// Makes a filled buffer shareable, and remembers it.
    pub(super) fn share(&self, buffer: Vec<u8>) -> Bytes {
        let is_worth_keeping = buffer.capacity() >= KEPT_BYTES_MIN;
        let bytes = Bytes::from(buffer);
        if is_worth_keeping {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == KEPT_MAX {
                kept.pop_front();
            }
            kept.push_back(bytes.clone());
        }
        bytes
    }

    /// Takes back a buffer that was not shared: the next to be taken, while
    /// it is still in the cache.
    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        if buffer.capacity() < KEPT_BYTES_MIN {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.push_front(Bytes::from(buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_only_when_nobody_holds_it() {
        let buffers = FrameBuffers::default();
        let mut first = buffers.take();
        first.resize(1 << 20, 7);
        let memory = first.as_ptr();
        let shared = buffers.share(first);
        let other = buffers.take();
        assert_eq!(other.capacity(), 0, "the only buffer is still held");
        drop(shared);
        let again = buffers.take();
        assert_eq!(again.as_ptr(), memory);
        assert!(again.is_empty());
        assert!(again.capacity() >= 1 << 20);
    }

    #[test]
    fn the_number_of_kept_buffers_is_bounded() {
        let buffers = FrameBuffers::default();
        let held: Vec<Bytes> =
            (0..KEPT_MAX + 5).map(|_| buffers.share(vec![1; KEPT_BYTES_MIN])).collect();
        drop(held);
        let kept = (0..KEPT_MAX + 5).filter(|_| buffers.take().capacity() > 0).count();
        assert_eq!(kept, KEPT_MAX);
    }
}
