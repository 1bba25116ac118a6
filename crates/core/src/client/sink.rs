//! Where the bytes of a get go.

use std::io;

use async_trait::async_trait;
use bytes::Bytes;

/// Takes the bytes of a get.
#[async_trait]
pub trait Sink: Send {
    /// True when bytes must come in order and once (a pipe). Otherwise they
    /// come in any order, and a range may come a second time, to be overwritten.
    fn is_ordered(&self) -> bool;

    /// Takes `bytes`, at most a frame of them, that belong at `offset`,
    /// counted from the first byte that was asked for.
    ///
    /// # Errors
    /// Whatever the sink says; the get then fails.
    async fn write(&mut self, offset: u64, bytes: Bytes) -> io::Result<()>;
}
