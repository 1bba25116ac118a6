//! A chunk as it lies on a node: header, frames, footer. The same image is a
//! file of its own or a record in a pack.

use crate::data::digest::Digest;
use crate::id::{ClusterId, FileId, Handle};
use crate::name::FileName;
use crate::policy::{Compression, StripeShape};

/// What a chunk is. Written before its frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkHeader {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its handle.
    pub handle: Handle,
    /// The file version that it belongs to.
    pub file: FileId,
    /// The file's name when it was written; a later rename is not seen here.
    pub name: FileName,
    /// The file's size, where that was known when it was written.
    pub file_size: Option<u64>,
    /// When the upload began, ms since 1970.
    pub created_ms: u64,
    /// The number of its stripe in the file, from 0.
    pub stripe: u32,
    /// The shape of that stripe. Of a source of unknown length, `data` is
    /// the width of the code: how many came is not known yet.
    pub shape: StripeShape,
    /// Its place in the code: data `0..k`, parity `k..k+m`, where `k` is the
    /// width of the code.
    pub position: u8,
    /// Copies that the policy names for a data chunk.
    pub replication: u8,
    /// How its frames are compressed.
    pub compression: Compression,
    /// The policy's chunk size, in bytes.
    pub chunk_size: u32,
    /// Of a data chunk, its number in the file, from 0; of a parity chunk, 0.
    pub chunk_index: u64,
}

/// What was found when a chunk was complete. Written after its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSeal {
    /// Raw bytes. Of a parity chunk, bytes of its frames' payloads.
    pub raw_len: u64,
    /// Bytes of its stored frames, their headers included.
    pub stored_len: u64,
    /// Frames.
    pub frames: u32,
    /// SHA-256 of the raw bytes. Of a parity chunk, of its payloads.
    pub digest: Digest,
}

impl ChunkHeader {
    /// True for a parity chunk.
    #[must_use]
    pub fn is_parity(&self) -> bool {
        self.position >= self.shape.coding.data
    }
}
