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
//!
//! The order of the checks is fixed: length, then sum, then codec, then what
//! the payload claims. Nothing is allocated for a claim before its bound was
//! checked. No stored frame is all zeros: the sum over zeros is not zero.

use crate::data::{codec, digest};
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

/// Appends the stored frame of `raw` to `out`. Allocates nothing but the
/// growth of `out`.
///
/// # Panics
/// When `raw` is longer than [`FRAME_SIZE`].
pub fn seal(raw: &[u8], compression: Compression, out: &mut Vec<u8>) {
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
    write_header(codec, &mut out[start..]);
}

/// Appends the stored parity frame of the coded row `coded` to `out`.
///
/// # Panics
/// When `coded` is longer than [`CODED_MAX`].
pub fn seal_parity(coded: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_SIZE]);
    out.extend_from_slice(coded);
    seal_parity_in_place(&mut out[start..]);
}

/// Makes `stored`, whose bytes after the first [`HEADER_SIZE`] are a coded
/// row, a stored parity frame.
pub(super) fn seal_parity_in_place(stored: &mut [u8]) {
    let coded_len = stored.len() - HEADER_SIZE;
    assert!(coded_len <= CODED_MAX, "a coded row of {coded_len} bytes");
    write_header(Codec::Parity, stored);
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
/// [`FrameError`] when it is not as it was written.
pub fn check(stored: &[u8]) -> Result<Checked<'_>, FrameError> {
    let claimed = stored_len(stored)?;
    if claimed != stored.len() {
        return Err(FrameError::Length { found: stored.len(), claimed });
    }
    let (header, payload) =
        stored.split_first_chunk::<HEADER_SIZE>().expect("stored_len saw a whole header");
    let found = digest::crc32c(&[&header[..8], payload]);
    let claimed = u32_at(header, 8);
    if found != claimed {
        return Err(FrameError::Checksum { found, claimed });
    }
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
/// [`FrameError`] when it is not as it was written, or is a parity frame.
pub fn open(stored: &[u8], raw: &mut Vec<u8>) -> Result<(), FrameError> {
    let checked = check(stored)?;
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
fn write_header(codec: Codec, stored: &mut [u8]) {
    let payload_len =
        u32::try_from(stored.len() - HEADER_SIZE).expect("a payload is at most CODED_MAX");
    stored[..4].copy_from_slice(&payload_len.to_le_bytes());
    stored[4..8].copy_from_slice(&[codec as u8, 0, 0, 0]);
    let sum = digest::crc32c(&[&stored[..8], &stored[HEADER_SIZE..]]);
    stored[8..HEADER_SIZE].copy_from_slice(&sum.to_le_bytes());
}

fn u32_at(header: &[u8; HEADER_SIZE], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealed(raw: &[u8], compression: Compression) -> Vec<u8> {
        let mut out = Vec::new();
        seal(raw, compression, &mut out);
        out
    }

    fn opened(stored: &[u8]) -> Result<Vec<u8>, FrameError> {
        let mut raw = Vec::new();
        open(stored, &mut raw).map(|()| raw)
    }

    /// Bytes of every compressibility, from a short seed.
    fn bytes(len_max: usize) -> impl Strategy<Value = Vec<u8>> {
        (0..=len_max, 1_u32..=256, any::<u32>()).prop_map(|(len, alphabet, seed)| {
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((state >> 16) % alphabet) as u8
            };
            (0..len).map(|_| next()).collect()
        })
    }

    #[test]
    fn format_one_is_these_bytes() {
        let raw = [5, 0, 0, 0, 0, 0, 0, 0, 0x6c, 0xb1, 0xc2, 0x90, b'h', b'e', b'l', b'l', b'o'];
        assert_eq!(sealed(b"hello", Compression::Lz4), raw);
        assert_eq!(opened(&raw).expect("golden"), b"hello");

        // 64 times 'a': one literal, one match of 58 at distance 1, five literals.
        let lz4 = [
            15, 0, 0, 0, 1, 0, 0, 0, 0x25, 0xac, 0xf7, 0x5a, 64, 0, 0, 0, 0x1f, b'a', 1, 0, 39,
            0x50, b'a', b'a', b'a', b'a', b'a',
        ];
        assert_eq!(opened(&lz4).expect("golden"), [b'a'; 64]);

        let mut parity = Vec::new();
        seal_parity(&[1, 2, 3], &mut parity);
        assert_eq!(parity, [3, 0, 0, 0, 2, 0, 0, 0, 0xbe, 0xd0, 0xfd, 0x57, 1, 2, 3]);
    }

    #[test]
    fn frames_that_gain_less_than_three_percent_stay_raw() {
        let noise: Vec<u8> = (0_u8..128).flat_map(|seed| digest::Digest::of(&[seed]).0).collect();
        let mut some_gain = noise.clone();
        some_gain[..80].fill(0);
        assert_eq!(sealed(&some_gain, Compression::Lz4)[4], Codec::Raw as u8, "about 1 %");
        some_gain[..300].fill(0);
        assert_eq!(sealed(&some_gain, Compression::Lz4)[4], Codec::Lz4 as u8, "about 6 %");
        assert_eq!(sealed(&noise, Compression::Lz4)[4], Codec::Raw as u8);
        assert_eq!(sealed(&[7; 4096], Compression::Lz4)[4], Codec::Lz4 as u8);
        assert_eq!(sealed(&[7; 4096], Compression::None)[4], Codec::Raw as u8);
    }

    #[test]
    fn a_parity_frame_is_no_data_frame() {
        let mut parity = Vec::new();
        seal_parity(b"coded", &mut parity);
        assert_eq!(check(&parity).expect("sealed").codec, Codec::Parity);
        assert_eq!(opened(&parity), Err(FrameError::Codec(2)));
    }

    #[test]
    fn a_claimed_raw_length_is_bounded_before_anything_is_allocated() {
        for claim in [FRAME_SIZE as u32 + 1, u32::MAX] {
            let mut stored = vec![0; HEADER_SIZE];
            stored.extend_from_slice(&claim.to_le_bytes());
            stored.extend_from_slice(&[0x10, b'a']);
            write_header(Codec::Lz4, &mut stored);
            let mut raw = Vec::new();
            assert!(matches!(open(&stored, &mut raw), Err(FrameError::Decode(_))));
            assert_eq!(raw.capacity(), 0);
            assert!(raw_len(&check(&stored).expect("sum is right")).is_err());
        }
    }

    #[test]
    fn a_payload_that_decodes_to_another_length_is_refused() {
        let good = sealed(&[9; 1000], Compression::Lz4);
        for claim in [999_u32, 1001, 0] {
            let mut stored = good.clone();
            stored[HEADER_SIZE..HEADER_SIZE + 4].copy_from_slice(&claim.to_le_bytes());
            write_header(Codec::Lz4, &mut stored);
            let mut raw = vec![1, 2];
            assert!(matches!(open(&stored, &mut raw), Err(FrameError::Decode(_))), "{claim}");
            assert_eq!(raw, [1, 2], "a failure appends nothing");
        }
    }

    #[test]
    fn unknown_codecs_and_reserved_bytes_are_refused() {
        let mut stored = sealed(b"hello", Compression::None);
        for (at, value, refusal) in [(4, 3, FrameError::Codec(3)), (6, 1, FrameError::Reserved)] {
            let mut other = stored.clone();
            other[at] = value;
            let sum = digest::crc32c(&[&other[..8], &other[HEADER_SIZE..]]);
            other[8..12].copy_from_slice(&sum.to_le_bytes());
            assert_eq!(check(&other).expect_err("refused"), refusal);
        }
        stored.truncate(4);
        assert!(matches!(check(&stored), Err(FrameError::Length { found: 4, .. })));
    }

    #[test]
    fn the_longest_frames_fit_their_bounds() {
        let raw = vec![0xa5; FRAME_SIZE];
        let stored = sealed(&raw, Compression::None);
        assert_eq!(stored.len(), CODED_MAX);
        let mut parity = Vec::new();
        seal_parity(&stored, &mut parity);
        assert_eq!(parity.len(), STORED_MAX);
        assert_eq!(stored_len(&parity), Ok(STORED_MAX));
        assert!(check(&parity).is_ok());
        assert_eq!(opened(&stored).expect("sealed"), raw);
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens(raw in bytes(70_000), lz4: bool) {
            let compression = if lz4 { Compression::Lz4 } else { Compression::None };
            let mut stored = vec![0xee];
            seal(&raw, compression, &mut stored);
            let stored = &stored[1..];
            prop_assert!(stored.len() <= raw.len() + HEADER_SIZE);
            prop_assert_eq!(stored_len(stored), Ok(stored.len()));
            let checked = check(stored).expect("sealed");
            prop_assert_eq!(raw_len(&checked), Ok(raw.len()));
            let mut scratch = vec![1];
            prop_assert_eq!(content(&checked, &mut scratch).expect("sealed"), &raw[..]);
            prop_assert_eq!(opened(stored).expect("sealed"), raw);
        }

        #[test]
        fn every_flipped_bit_is_found(raw in bytes(3000), at: prop::sample::Index, bit in 0_u8..8) {
            let mut stored = sealed(&raw, Compression::Lz4);
            let at = at.index(stored.len());
            stored[at] ^= 1 << bit;
            prop_assert!(check(&stored).is_err());
        }

        #[test]
        fn a_cut_or_lengthened_frame_is_found(raw in bytes(3000), cut: prop::sample::Index) {
            let mut stored = sealed(&raw, Compression::Lz4);
            prop_assert!(check(&stored[..cut.index(stored.len())]).is_err());
            stored.push(0);
            prop_assert!(check(&stored).is_err());
        }

        #[test]
        fn no_payload_makes_it_panic(payload in prop::collection::vec(any::<u8>(), 0..200), codec in 0_u8..4) {
            let mut stored = vec![0; HEADER_SIZE];
            stored.extend_from_slice(&payload);
            write_header(Codec::Raw, &mut stored);
            stored[4] = codec;
            let sum = digest::crc32c(&[&stored[..8], &stored[HEADER_SIZE..]]);
            stored[8..12].copy_from_slice(&sum.to_le_bytes());
            if let Ok(raw) = opened(&stored) {
                prop_assert!(raw.len() <= FRAME_SIZE);
            }
        }
    }
}
