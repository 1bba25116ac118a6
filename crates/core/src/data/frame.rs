//! Frames: 1 MiB of raw bytes, compressed, summed and stored by themselves.
//!
//! A stored frame is a header of [`HEADER_SIZE`] bytes and a payload:
//!
//! ```text
//! 0  payload length  u32 LE
//! 4  codec           u8      0 raw, 1 LZ4, 2 parity
//! 5  zero            3 bytes
//! 8  CRC32C          u32 LE  over bytes 0..8 and the payload
//! 12 payload
//! ```
//!
//! Under LZ4 the payload is `[raw length u32 LE][LZ4 block]`. A parity frame's
//! payload is a coded row of whole stored frames (see [`super::stripe`]).

use crate::policy::Compression;

/// Raw bytes of a full frame.
pub const FRAME_SIZE: usize = 1 << 20;
/// Bytes of a stored frame before its payload.
pub const HEADER_SIZE: usize = 12;
/// The longest stored frame: a parity frame around a raw one.
pub const STORED_MAX: usize = FRAME_SIZE + 2 * HEADER_SIZE;

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
    #[error("frame CRC32C is {found:08x}, its header says {claimed:08x}")]
    Checksum {
        /// Computed.
        found: u32,
        /// In the header.
        claimed: u32,
    },
    /// A codec that this build does not know, or not in this place.
    #[error("frame codec {0} is not known here")]
    Codec(u8),
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

/// Appends the stored frame of `raw` (at most [`FRAME_SIZE`] bytes) to `out`.
pub fn seal(raw: &[u8], compression: Compression, out: &mut Vec<u8>) {
    let _ = (raw, compression, out);
    todo!()
}

/// Appends the stored parity frame of the coded row `coded` to `out`.
pub fn seal_parity(coded: &[u8], out: &mut Vec<u8>) {
    let _ = (coded, out);
    todo!()
}

/// The length of the whole stored frame that begins with `header` (at least
/// [`HEADER_SIZE`] bytes), never above [`STORED_MAX`].
///
/// # Errors
/// [`FrameError::Length`] when the claim is above the bound.
pub fn stored_len(header: &[u8]) -> Result<usize, FrameError> {
    let _ = header;
    todo!()
}

/// Checks length and sum of one whole stored frame.
///
/// # Errors
/// [`FrameError`] when it is not as it was written.
pub fn check(stored: &[u8]) -> Result<Checked<'_>, FrameError> {
    let _ = stored;
    todo!()
}

/// Checks one whole stored data frame and appends its raw bytes to `raw`;
/// at most [`FRAME_SIZE`]. Appends nothing when it fails.
///
/// # Errors
/// [`FrameError`] when it is not as it was written, or is a parity frame.
pub fn open(stored: &[u8], raw: &mut Vec<u8>) -> Result<(), FrameError> {
    let _ = (stored, raw);
    todo!()
}
