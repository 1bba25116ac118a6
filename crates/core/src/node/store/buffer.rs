//! Frame buffers that come back: memory touched once is used again, since
//! fresh pages cost more than reading a frame into them.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// How many idle buffers are kept.
const IDLE_MAX: usize = 32;

/// Where buffers wait for their next use.
#[derive(Clone, Default)]
pub(super) struct BufferPool {
    idle: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A buffer that returns to its pool when dropped.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    pool: BufferPool,
}

impl BufferPool {
    /// A buffer of `len` bytes; what is in it is not defined.
    pub(super) fn take(&self, len: usize) -> Buffer {
        let mut bytes = self.lock().pop().unwrap_or_default();
        if bytes.len() < len {
            bytes.resize(len, 0);
        }
        Buffer { bytes, len, pool: self.clone() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffer {
    /// The bytes, to be filled.
    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// The bytes, to be handed on. The buffer returns once all are done.
    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut idle = self.pool.lock();
        if idle.len() < IDLE_MAX {
            idle.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_returns_when_its_last_user_is_done() {
        let pool = BufferPool::default();
        let mut buffer = pool.take(4);
        buffer.as_mut_slice().copy_from_slice(b"abcd");
        let all = buffer.freeze();
        let part = all.slice(1..3);
        drop(all);
        assert!(pool.lock().is_empty());
        assert_eq!(&part[..], b"bc");
        drop(part);
        assert_eq!(pool.lock().len(), 1);
        assert_eq!(pool.take(2).as_ref().len(), 2);
    }
}
