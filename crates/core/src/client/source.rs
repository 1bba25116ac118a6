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
        /// Compares the file with its state at the beginning, before the
        /// commit; `None` for a source that nobody else can write to.
        check: Option<Arc<dyn SourceCheck>>,
    },
    /// Bytes that come once, and whose number is not known.
    Stream(Box<dyn StreamSource>),
}

/// Notices a change of a source while it was read.
pub trait SourceCheck: Send + Sync {
    /// Returns how the source differs from what it was when it was opened;
    /// `None` when it does not.
    ///
    /// # Errors
    /// When the source cannot be looked at.
    fn change(&self) -> io::Result<Option<String>>;
}

/// Bytes that come once, in order.
#[async_trait]
pub trait StreamSource: Send {
    /// The next bytes, at most `max_bytes` of them; none at the end.
    ///
    /// # Errors
    /// Whatever the source says; the put then fails.
    async fn next(&mut self, max_bytes: usize) -> io::Result<Bytes>;

    /// As [`SourceCheck::change`]; called once, after the end.
    ///
    /// # Errors
    /// When the source cannot be looked at.
    async fn change(&mut self) -> io::Result<Option<String>> {
        Ok(None)
    }
}
