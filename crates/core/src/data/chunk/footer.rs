//! The footer of an image: what was found when a chunk was complete.
//!
//! It ends in a trailer of fixed size, so that it is found from the end of
//! the image. It names the handle too: a header and a footer of two different
//! chunks do not pass for one.

use super::header::{u32_at, u64_at};
use super::{ChunkError, ChunkHeader, ChunkSeal, FRAMES_MAX};
use crate::data::digest::{Digest, crc32c};
use crate::data::frame::{self, CODED_MAX, STORED_MAX};
use crate::id::Handle;

/// A trailer's first bytes. The last is the format version.
const MAGIC: [u8; 8] = *b"DFSSEAL\x01";
/// What errors call it.
const PART: &str = "chunk footer";
/// Bytes before the frame index.
const FIXED_BYTES: usize = 60;

/// Bytes of the trailer that ends every footer, and so every image.
pub const TRAILER_BYTES: usize = 16;
/// The longest footer, its trailer included.
pub const FOOTER_BYTES_MAX: usize = FIXED_BYTES + 4 * FRAMES_MAX as usize + TRAILER_BYTES;

/// What stands in a footer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// The chunk's handle, as its header has it.
    pub handle: Handle,
    /// What was found when the chunk was complete.
    pub seal: ChunkSeal,
    /// Length of each stored frame, in bytes.
    pub frame_lens: Vec<u32>,
}

impl Footer {
    /// Where stored frame `index` begins, counted from the end of the header;
    /// of the index behind the last frame, where the frames end.
    #[must_use]
    pub fn frame_offset(&self, index: usize) -> u64 {
        self.frame_lens.iter().take(index).map(|&len| u64::from(len)).sum()
    }

    /// Bytes of the footer, its trailer included.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        FIXED_BYTES + 4 * self.frame_lens.len() + TRAILER_BYTES
    }

    /// Bytes of the whole image behind a header of `header_len` bytes.
    #[must_use]
    pub fn image_len(&self, header_len: usize) -> u64 {
        header_len as u64 + self.seal.stored_len + self.encoded_len() as u64
    }

    /// Checks that this footer ends the image that begins with `header`, of
    /// `header_len` bytes, and that `image_len` is the length of that image.
    ///
    /// # Errors
    /// [`ChunkError::Field`] or [`ChunkError::Length`] when it does not.
    pub fn belongs_to(
        &self,
        header: &ChunkHeader,
        header_len: usize,
        image_len: u64,
    ) -> Result<(), ChunkError> {
        if self.handle != header.handle {
            return Err(ChunkError::Field { field: "footer's handle", found: self.handle.0 });
        }
        if self.seal.frames > header.frames_max() {
            return Err(ChunkError::TooManyFrames { frames_max: header.frames_max() });
        }
        if self.image_len(header_len) != image_len {
            let claimed = usize::try_from(self.image_len(header_len)).unwrap_or(usize::MAX);
            return Err(ChunkError::Length { part: "chunk image", claimed });
        }
        Ok(())
    }
}

/// The bytes of a footer, its trailer included.
///
/// # Panics
/// When there are more than [`FRAMES_MAX`] frames.
#[must_use]
pub fn encode_footer(seal: &ChunkSeal, frame_lens: &[u32], handle: Handle) -> Vec<u8> {
    assert!(frame_lens.len() <= FRAMES_MAX as usize, "a chunk of {} frames", frame_lens.len());
    let len = FIXED_BYTES + 4 * frame_lens.len() + TRAILER_BYTES;
    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(&handle.0.to_le_bytes());
    out.extend_from_slice(&seal.raw_len.to_le_bytes());
    out.extend_from_slice(&seal.stored_len.to_le_bytes());
    out.extend_from_slice(&seal.digest.0);
    out.extend_from_slice(&seal.frames.to_le_bytes());
    for frame_len in frame_lens {
        out.extend_from_slice(&frame_len.to_le_bytes());
    }
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&u32::try_from(len).expect("at most FOOTER_BYTES_MAX").to_le_bytes());
    let sum = crc32c(&[&out]);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

/// The length of the footer that ends in `trailer`, the trailer included;
/// at most [`FOOTER_BYTES_MAX`].
///
/// # Errors
/// [`ChunkError`] when this is no trailer, or one of a later format.
pub fn decode_trailer(trailer: &[u8; TRAILER_BYTES]) -> Result<usize, ChunkError> {
    if trailer[..7] != MAGIC[..7] {
        return Err(ChunkError::Magic { part: PART });
    }
    if trailer[7] > MAGIC[7] {
        return Err(ChunkError::Version { part: PART, found: u16::from(trailer[7]) });
    }
    if trailer[7] != MAGIC[7] {
        return Err(ChunkError::Magic { part: PART });
    }
    let claimed = u32_at(trailer, 8) as usize;
    let is_whole = claimed >= FIXED_BYTES + TRAILER_BYTES && claimed.is_multiple_of(4);
    if !is_whole || claimed > FOOTER_BYTES_MAX {
        return Err(ChunkError::Length { part: PART, claimed });
    }
    Ok(claimed)
}

/// Reads the footer that `bytes` ends in; more bytes before it are passed
/// over. [`FOOTER_BYTES_MAX`] bytes are always enough.
///
/// # Errors
/// [`ChunkError`] when it is not as it was written.
pub fn decode_footer(bytes: &[u8]) -> Result<Footer, ChunkError> {
    let truncated = |needed| ChunkError::Truncated { part: PART, needed, found: bytes.len() };
    let trailer = bytes.last_chunk::<TRAILER_BYTES>().ok_or_else(|| truncated(TRAILER_BYTES))?;
    let len = decode_trailer(trailer)?;
    let start = bytes.len().checked_sub(len).ok_or_else(|| truncated(len))?;
    let (summed, sum) = bytes[start..].split_at(len - 4);
    let found = crc32c(&[summed]);
    let claimed = u32_at(sum, 0);
    if found != claimed {
        return Err(ChunkError::Checksum { part: PART, found, claimed });
    }

    let mut digest = [0; 32];
    digest.copy_from_slice(&summed[24..56]);
    let index = &summed[FIXED_BYTES..summed.len() - (TRAILER_BYTES - 4)];
    let footer = Footer {
        handle: Handle(u64_at(summed, 0)),
        seal: ChunkSeal {
            raw_len: u64_at(summed, 8),
            stored_len: u64_at(summed, 16),
            frames: u32_at(summed, 56),
            digest: Digest(digest),
        },
        frame_lens: index.chunks_exact(4).map(|len| u32_at(len, 0)).collect(),
    };
    validate(&footer)?;
    Ok(footer)
}

/// Checks that seal and frame index of a footer agree, so that no reader
/// goes beyond a bound by them.
fn validate(footer: &Footer) -> Result<(), ChunkError> {
    let Footer { seal, frame_lens, .. } = footer;
    let refuse = |field, found| Err(ChunkError::Field { field, found });
    if seal.frames as usize != frame_lens.len() {
        return refuse("frame count", u64::from(seal.frames));
    }
    let is_sound = |len: &&u32| (frame::HEADER_SIZE..=STORED_MAX).contains(&(**len as usize));
    if let Some(&len) = frame_lens.iter().find(|len| !is_sound(len)) {
        return refuse("frame length", u64::from(len));
    }
    if seal.stored_len != footer.frame_offset(frame_lens.len()) {
        return refuse("stored length", seal.stored_len);
    }
    if seal.raw_len > u64::from(seal.frames) * CODED_MAX as u64 {
        return refuse("raw length", seal.raw_len);
    }
    Ok(())
}
