//! A sink that keeps nothing but the SHA-256.

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use dfs_core::client::Sink;
use dfs_core::data::digest::{Digest, Hasher};

/// Hashes what a get brings.
#[derive(Default)]
pub(super) struct HashSink(Hasher);

impl HashSink {
    /// Of all bytes that came.
    pub(super) fn digest(self) -> Digest {
        self.0.finish()
    }
}

#[async_trait]
impl Sink for HashSink {
    fn is_ordered(&self) -> bool {
        true
    }

    async fn write(&mut self, _offset: u64, bytes: Bytes) -> io::Result<()> {
        self.0.update(&bytes);
        Ok(())
    }
}
