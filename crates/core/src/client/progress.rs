//! How far a put or a get is, for whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes done and bytes to do. Shared with whoever draws it; decides nothing.
#[derive(Debug, Default)]
pub struct Progress {
    done_bytes: AtomicU64,
    total_bytes: AtomicU64,
}

impl Progress {
    /// Nothing done, nothing known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of the file that were sent (put) or handed to the sink (get).
    #[must_use]
    pub fn done_bytes(&self) -> u64 {
        self.done_bytes.load(Ordering::Relaxed)
    }

    /// Bytes to do; 0 while that is not known.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes.load(Ordering::Relaxed)
    }

    /// Counts bytes as done that need not be moved.
    pub fn pass_over(&self, bytes: u64) {
        self.add(bytes);
    }

    pub(super) fn begin(&self, total_bytes: u64) {
        self.done_bytes.store(0, Ordering::Relaxed);
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
    }

    pub(super) fn add(&self, bytes: u64) {
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn take_back(&self, bytes: u64) {
        self.done_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
