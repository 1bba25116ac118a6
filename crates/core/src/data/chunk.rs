//! A chunk as it lies on a node: header, frames, footer. The same image is a
//! file of its own or a record in a [`pack`].
//!
//! The image describes itself: from the images alone a catalog can be built
//! anew. Every part has its own CRC32C; an image without a good footer was
//! never finished. All numbers are little-endian; `docs/formats.md` draws
//! every byte.

mod footer;
mod header;
mod image;
pub mod pack;
mod writing;

pub use footer::{
    FOOTER_BYTES_MAX, Footer, TRAILER_BYTES, decode_footer, decode_trailer, encode_footer,
};
pub use header::{HEADER_BYTES_MAX, HEADER_BYTES_MIN, decode_header, encode_header};
pub use image::{Image, encode_image};
pub use writing::{ImageBuilder, SealBuilder};

use crate::data::digest::Digest;
use crate::data::erasure;
use crate::data::frame::{self, FrameError};
use crate::id::{ClusterId, FileId, Handle};
use crate::name::FileName;
use crate::policy::{CHUNK_SIZE_MAX, CHUNK_SIZE_MIN, Compression, REPLICATION_MAX, StripeShape};

/// The format version of chunk images and packs that this build writes.
pub const FORMAT_VERSION: u16 = 2;
/// The most frames of a chunk.
pub const FRAMES_MAX: u32 = CHUNK_SIZE_MAX / (frame::FRAME_SIZE as u32);

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

/// Part of a chunk image is not as it was written, or was never whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// These bytes are something else.
    #[error("{part} does not begin as one: no such bytes were ever written here, or they are lost")]
    Magic {
        /// Which part of the image.
        part: &'static str,
    },
    /// Written by a build with another format.
    #[error(
        "{part} has format version {found}, this build reads {FORMAT_VERSION}: \
         use the build that wrote it"
    )]
    Version {
        /// Which part of the image.
        part: &'static str,
        /// The version there.
        found: u16,
    },
    /// Fewer bytes than the part has.
    #[error("{part} needs {needed} bytes, {found} are there")]
    Truncated {
        /// Which part of the image.
        part: &'static str,
        /// Bytes that the part has.
        needed: usize,
        /// Bytes there.
        found: usize,
    },
    /// A length that no such part has.
    #[error("{part} claims {claimed} bytes, which none has")]
    Length {
        /// Which part of the image.
        part: &'static str,
        /// Bytes claimed.
        claimed: usize,
    },
    /// The sum differs.
    #[error("{part} has CRC32C {found:08x}, it says {claimed:08x}")]
    Checksum {
        /// Which part of the image.
        part: &'static str,
        /// Computed.
        found: u32,
        /// Written there.
        claimed: u32,
    },
    /// A field with a value that it never has.
    #[error("chunk {field} may not be {found}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What it is.
        found: u64,
    },
    /// The file name in a header breaks a rule.
    #[error("chunk's file name: {0}")]
    Name(String),
    /// A frame is bad.
    #[error("frame {index}: {error}")]
    Frame {
        /// Which frame.
        index: u32,
        /// What is wrong with it.
        error: FrameError,
    },
    /// A frame follows a data frame of less than [`frame::FRAME_SIZE`].
    #[error("frame {index} follows one that is not full")]
    AfterShort {
        /// Which frame.
        index: u32,
    },
    /// More frames than a chunk of this size has.
    #[error("more than {frames_max} frames")]
    TooManyFrames {
        /// The most frames.
        frames_max: u32,
    },
    /// The seal does not describe the frames that came before it.
    #[error("seal says {claimed} {what}, {found} came")]
    Seal {
        /// What was counted.
        what: &'static str,
        /// As the seal has it.
        claimed: u64,
        /// As it was counted.
        found: u64,
    },
}

impl ChunkHeader {
    /// True for a parity chunk.
    #[must_use]
    pub fn is_parity(&self) -> bool {
        self.position >= self.shape.coding.data
    }

    /// The most frames that a chunk under this policy has.
    #[must_use]
    pub fn frames_max(&self) -> u32 {
        u32::try_from(frame::count(u64::from(self.chunk_size))).expect("2^32 bytes / 1 MiB")
    }

    /// Checks what must hold between the fields of every header.
    ///
    /// # Errors
    /// [`ChunkError::Field`] names the first that breaks a rule.
    pub fn validate(&self) -> Result<(), ChunkError> {
        let refuse = |field, found: u64| Err(ChunkError::Field { field, found });
        let StripeShape { coding, data } = self.shape;
        if !erasure::is_sound(coding) {
            return refuse("code (K, M)", u64::from(coding.data) << 8 | u64::from(coding.parity));
        }
        if !(1..=coding.data).contains(&data) {
            return refuse("stripe's data count", u64::from(data));
        }
        let is_gap = (data..coding.data).contains(&self.position);
        if is_gap || self.position >= coding.data + coding.parity {
            return refuse("position", u64::from(self.position));
        }
        if !(1..=REPLICATION_MAX).contains(&self.replication) {
            return refuse("replication", u64::from(self.replication));
        }
        if !(CHUNK_SIZE_MIN..=CHUNK_SIZE_MAX).contains(&self.chunk_size) {
            return refuse("size", u64::from(self.chunk_size));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
