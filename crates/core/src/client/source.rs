//! Where the bytes of a put come from.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::env::File;

/// The bytes to store.
pub enum Source {
    /// A file that can be read anywhere, more than once.
    Seekable {
        /// The file; only [`File::len`] and [`File::read_at`] are called.
        file: Arc<dyn File>,
        /// Its length in bytes when the put began. A put fails when the file
        /// turns out shorter or longer, or reads otherwise a second time.
        len: u64,
    },
    /// Bytes that come once, and whose number is not known.
    Stream(Box<dyn StreamSource>),
}

/// Bytes that come once, in order.
#[async_trait]
pub trait StreamSource: Send {
    /// The next bytes, at most `max_bytes` of them; none at the end.
    ///
    /// # Errors
    /// Whatever the source says; the put then fails.
    async fn next(&mut self, max_bytes: usize) -> io::Result<Bytes>;
}
