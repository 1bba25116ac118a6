//! Frames: 1 MiB of raw bytes, compressed, summed and stored by themselves.
//!
//! A stored frame is a header of [`HEADER_SIZE`] bytes and a payload:
//!
//! ```text
//! 0  payload length  u32 LE
//! 4  codec           u8      0 raw, 1 LZ4, 2 parity
//! 5  zero            3 bytes
//! 8  CRC32C          u32 LE  over the place, bytes 0..8 and the payload
//! 12 payload
//! ```
//!
//! Under LZ4 the payload is `[raw length u32 LE][LZ4 block]`. A parity frame's
//! payload is a coded row of whole stored frames (see [`super::stripe`]).
//!
//! The place is not stored: handle and index of the frame, `u64 LE, u32 LE`, are
//! known to whoever asks for it. So a good frame that a disk or a bug has put
//! in another's place fails its sum there.
//!
//! The order of the checks is fixed: length, then sum, then codec, then what
//! the payload claims. Nothing is allocated for a claim before its bound was
//! checked. No stored frame is all zeros: none has an
//! empty payload.

use crate::data::{codec, digest};
use crate::id::Handle;
use crate::mutant::{Mutant, is_planted};
use crate::policy::Compression;

/// Raw bytes of a full frame.
pub const FRAME_SIZE: usize = 1 << 20;
/// Bytes of a stored frame before its payload.
pub const HEADER_SIZE: usize = 12;
/// The longest stored frame: a parity frame around a raw one.
pub const STORED_MAX: usize = FRAME_SIZE + 2 * HEADER_SIZE;

/// Where a frame belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its chunk.
    pub handle: Handle,
    /// Its number in the chunk, from 0.
    pub index: u32,
}

/// How a payload is to be read. The numbers stand in file formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// The raw bytes.
    Raw = 0,
    /// Length and LZ4 block.
    Lz4 = 1,
    /// A coded row.
    Parity = 2,
}

/// The longest payload of a parity frame: a raw stored frame.
pub const CODED_MAX: usize = FRAME_SIZE + HEADER_SIZE;

/// A stored frame that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Fewer or more bytes than the header says, or than any frame has.
    #[error("frame has {found} bytes, its header says {claimed}")]
    Length {
        /// Bytes there.
        found: usize,
        /// Bytes claimed.
        claimed: usize,
    },
    /// The sum differs.
    #[error(
        "frame CRC32C is {found:08x}, its header says {claimed:08x}: \
         its bytes are not as they were written, or it belongs elsewhere"
    )]
    Checksum {
        /// Computed.
        found: u32,
        /// In the header.
        claimed: u32,
    },
    /// A codec that this build does not know, or not in this place.
    #[error("frame codec {0} is not known here")]
    Codec(u8),
    /// Bytes that are zero in this format version are not.
    #[error("frame header uses bytes that are reserved in this format version")]
    Reserved,
    /// The payload does not decode to what it claims.
    #[error("frame does not decompress: {0}")]
    Decode(String),
}

/// A stored frame whose sum was checked.
#[derive(Debug, Clone, Copy)]
pub struct Checked<'a> {
    /// How to read the payload.
    pub codec: Codec,
    /// The payload.
    pub payload: &'a [u8],
}

/// Appends the stored frame of `raw` at `place` to `out`. Allocates nothing but the
/// growth of `out`.
///
/// # Panics
/// When `raw` is longer than [`FRAME_SIZE`].
pub fn seal(place: Place, raw: &[u8], compression: Compression, out: &mut Vec<u8>) {
    assert!(raw.len() <= FRAME_SIZE, "a frame of {} raw bytes", raw.len());
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_SIZE]);
    let codec = match compression {
        Compression::Lz4 if codec::compress(raw, out) => Codec::Lz4,
        Compression::Lz4 | Compression::None => {
            out.extend_from_slice(raw);
            Codec::Raw
        }
    };
    write_header(place, codec, &mut out[start..]);
}

/// Appends the stored parity frame of the coded row `coded` to `out`.
///
/// # Panics
/// When `coded` is longer than [`CODED_MAX`].
pub fn seal_parity(place: Place, coded: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_SIZE]);
    out.extend_from_slice(coded);
    seal_parity_in_place(place, &mut out[start..]);
}

/// Makes `stored`, whose bytes after the first [`HEADER_SIZE`] are a coded
/// row, a stored parity frame.
pub(super) fn seal_parity_in_place(place: Place, stored: &mut [u8]) {
    let coded_len = stored.len() - HEADER_SIZE;
    assert!(coded_len <= CODED_MAX, "a coded row of {coded_len} bytes");
    write_header(place, Codec::Parity, stored);
}

/// The length of the whole stored frame that begins with `header` (at least
/// [`HEADER_SIZE`] bytes), never above [`STORED_MAX`].
///
/// # Errors
/// [`FrameError::Length`] when the claim is above the bound, or when there
/// are fewer than [`HEADER_SIZE`] bytes.
pub fn stored_len(header: &[u8]) -> Result<usize, FrameError> {
    let Some(header) = header.first_chunk::<HEADER_SIZE>() else {
        return Err(FrameError::Length { found: header.len(), claimed: HEADER_SIZE });
    };
    let payload_len = u32_at(header, 0) as usize;
    let claimed = payload_len.saturating_add(HEADER_SIZE);
    if claimed > STORED_MAX {
        return Err(FrameError::Length { found: STORED_MAX, claimed });
    }
    Ok(claimed)
}

/// Checks length and sum of one whole stored frame.
///
/// # Errors
/// [`FrameError`] when it is not as it was written, or not of this place.
pub fn check(place: Place, stored: &[u8]) -> Result<Checked<'_>, FrameError> {
    let claimed = stored_len(stored)?;
    if claimed != stored.len() {
        return Err(FrameError::Length { found: stored.len(), claimed });
    }
    let (header, payload) =
        stored.split_first_chunk::<HEADER_SIZE>().expect("stored_len saw a whole header");
    let found = sum(place, header, payload);
    let claimed = u32_at(header, 8);
    if found != claimed && !is_planted(Mutant::SkipFrameChecksum) {
        return Err(FrameError::Checksum { found, claimed });
    }
    form(header, payload)
}

/// What a frame says it is, whatever its sum.
fn form<'a>(header: &[u8; HEADER_SIZE], payload: &'a [u8]) -> Result<Checked<'a>, FrameError> {
    let (codec, payload_max) = match header[4] {
        0 => (Codec::Raw, FRAME_SIZE),
        1 => (Codec::Lz4, FRAME_SIZE),
        2 => (Codec::Parity, CODED_MAX),
        unknown => return Err(FrameError::Codec(unknown)),
    };
    if header[5..8] != [0; 3] {
        return Err(FrameError::Reserved);
    }
    if payload.len() > payload_max {
        return Err(FrameError::Length { found: payload.len(), claimed: payload_max });
    }
    Ok(Checked { codec, payload })
}

/// [`check`] without the sum, for the bug that takes a frame unverified.
pub(crate) fn check_form_only(_: Place, stored: &[u8]) -> Result<Checked<'_>, FrameError> {
    match stored.split_first_chunk::<HEADER_SIZE>() {
        Some((header, payload)) => form(header, payload),
        None => Err(FrameError::Length { found: stored.len(), claimed: HEADER_SIZE }),
    }
}

/// The bytes that the frame adds to its chunk's raw length: raw bytes of a
/// data frame, at most [`FRAME_SIZE`]; payload bytes of a parity frame.
///
/// # Errors
/// [`FrameError::Decode`] when an LZ4 payload claims more than a frame holds.
pub fn raw_len(checked: &Checked<'_>) -> Result<usize, FrameError> {
    match checked.codec {
        Codec::Raw | Codec::Parity => Ok(checked.payload.len()),
        Codec::Lz4 => Ok(codec::split(checked.payload)?.0),
    }
}

/// Checks one whole stored data frame and appends its raw bytes to `raw`;
/// at most [`FRAME_SIZE`]. Appends nothing when it fails.
///
/// # Errors
/// [`FrameError`] when it is not as it was written, not of this place, or is
/// a parity frame.
pub fn open(place: Place, stored: &[u8], raw: &mut Vec<u8>) -> Result<(), FrameError> {
    let checked = check(place, stored)?;
    match checked.codec {
        Codec::Raw => raw.extend_from_slice(checked.payload),
        Codec::Lz4 => codec::decompress(checked.payload, raw)?,
        Codec::Parity => return Err(FrameError::Codec(Codec::Parity as u8)),
    }
    Ok(())
}

/// The bytes that a chunk's SHA-256 covers: the raw bytes of a data frame,
/// the payload of a parity frame. Copies nothing unless it has to decompress,
/// for which it takes `scratch`, whatever was in it.
///
/// # Errors
/// [`FrameError::Decode`] when the payload does not decode to what it claims.
pub fn content<'a>(
    checked: &Checked<'a>,
    scratch: &'a mut Vec<u8>,
) -> Result<&'a [u8], FrameError> {
    match checked.codec {
        Codec::Raw | Codec::Parity => Ok(checked.payload),
        Codec::Lz4 => {
            scratch.clear();
            codec::decompress(checked.payload, scratch)?;
            Ok(scratch)
        }
    }
}

/// The frames of a data chunk of `raw_len` bytes.
#[must_use]
pub fn count(raw_len: u64) -> u64 {
    raw_len.div_ceil(FRAME_SIZE as u64)
}

/// Fills in the header of the stored frame `stored`, whose payload is there.
fn write_header(place: Place, codec: Codec, stored: &mut [u8]) {
    let payload_len =
        u32::try_from(stored.len() - HEADER_SIZE).expect("a payload is at most CODED_MAX");
    stored[..4].copy_from_slice(&payload_len.to_le_bytes());
    stored[4..8].copy_from_slice(&[codec as u8, 0, 0, 0]);
    let (header, payload) = stored.split_at_mut(HEADER_SIZE);
    let sum = sum(place, header, payload);
    header[8..].copy_from_slice(&sum.to_le_bytes());
}

/// CRC32C over the place, the header before its sum, and the payload.
fn sum(place: Place, header: &[u8], payload: &[u8]) -> u32 {
    let mut prefix = [0; 20];
    prefix[..8].copy_from_slice(&place.handle.0.to_le_bytes());
    prefix[8..12].copy_from_slice(&place.index.to_le_bytes());
    prefix[12..].copy_from_slice(&header[..8]);
    digest::crc32c(&[&prefix, payload])
}

fn u32_at(header: &[u8; HEADER_SIZE], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

#[cfg(test)]
mod tests;
