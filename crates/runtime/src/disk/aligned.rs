//! Buffers whose address and length suit `O_DIRECT`, without `unsafe`: more
//! is allocated than needed, and the aligned part of it is used.

use std::cell::RefCell;

/// What addresses, offsets and lengths must be multiples of: at least the
/// block size of every disk in use.
pub(super) const ALIGNMENT: usize = 4096;
/// Bytes of one direct read or write.
pub(super) const DIRECT_SIZE: usize = 1 << 20;
/// Bytes that one direct read may be asked for: a whole stored frame, so that
/// its last bytes do not cost a read of their own.
pub(super) const READ_SIZE: usize = DIRECT_SIZE + 2 * ALIGNMENT;
/// A read of [`READ_SIZE`] bytes at any offset touches this much.
pub(super) const BUFFER_SIZE: usize = READ_SIZE + 2 * ALIGNMENT;

/// [`BUFFER_SIZE`] bytes at an aligned address.
pub(super) struct Aligned {
    // Never grows, so its bytes never move.
    bytes: Box<[u8]>,
    start: usize,
}

impl Aligned {
    pub(super) fn new() -> Self {
        let bytes = vec![0; BUFFER_SIZE + ALIGNMENT].into_boxed_slice();
        let start = bytes.as_ptr().align_offset(ALIGNMENT);
        assert!(start < ALIGNMENT, "an aligned byte comes within one alignment");
        Self { bytes, start }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..self.start + BUFFER_SIZE]
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + BUFFER_SIZE]
    }
}

/// Lends this thread's own buffer to `work`.
pub(super) fn with_buffer<T>(work: impl FnOnce(&mut Aligned) -> T) -> T {
    thread_local! {
        static BUFFER: RefCell<Option<Aligned>> = const { RefCell::new(None) };
    }
    BUFFER.with_borrow_mut(|slot| work(slot.get_or_insert_with(Aligned::new)))
}

/// The multiple of [`ALIGNMENT`] at or below `offset`.
pub(super) fn align_down(offset: u64) -> u64 {
    offset - offset % ALIGNMENT as u64
}

/// The multiple of [`ALIGNMENT`] at or above `offset`.
pub(super) fn align_up(offset: u64) -> u64 {
    offset.next_multiple_of(ALIGNMENT as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_whole() {
        for _ in 0..20 {
            let mut buffer = Aligned::new();
            assert_eq!(buffer.as_slice().as_ptr().align_offset(ALIGNMENT), 0);
            assert_eq!(buffer.as_mut_slice().len(), BUFFER_SIZE);
        }
    }
}
