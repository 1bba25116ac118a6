//! Packs: many small chunk images in one file, one record after the other.
//!
//! A pack begins with a header of [`PACK_HEADER_BYTES`]; each record begins
//! at a multiple of [`RECORD_ALIGNMENT`] with a header of
//! [`RECORD_HEADER_BYTES`]. After damage, [`find`] goes on at the next record.
//!
//! A record's sum also covers its pack's *salt*, random bits that no client
//! learns: a record of another pack, or one that somebody put inside a file,
//! is not taken for one of this pack. Whoever names packs does well to keep
//! the salt in the name too, so that a lost first block loses no record.

use super::header::{u32_at, u64_at};
use super::{ChunkError, FOOTER_BYTES_MAX, FORMAT_VERSION, FRAMES_MAX, HEADER_BYTES_MAX};
use crate::data::digest::crc32c;
use crate::data::frame::STORED_MAX;
use crate::id::Handle;

/// Bytes of a pack before its first record.
pub const PACK_HEADER_BYTES: usize = 64;
/// Bytes of a record before its body.
pub const RECORD_HEADER_BYTES: usize = 32;
/// Records begin at multiples of this.
pub const RECORD_ALIGNMENT: u64 = 64;
/// The longest body: the image of the largest chunk.
pub const BODY_BYTES_MAX: u64 =
    HEADER_BYTES_MAX as u64 + FRAMES_MAX as u64 * STORED_MAX as u64 + FOOTER_BYTES_MAX as u64;

/// A pack's first bytes.
const PACK_MAGIC: [u8; 8] = *b"DFSPACK\0";
/// A record's first bytes.
const RECORD_MAGIC: [u8; 4] = *b"DREC";

/// What stands at the start of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackHeader {
    /// Its number on its node; later packs have higher ones.
    pub number: u64,
    /// Random bits that its records' sums cover.
    pub salt: u64,
}

/// What a record is. The numbers stand in the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// A chunk image.
    Chunk = 1,
    /// The word that a chunk was deleted. No body.
    Tombstone = 2,
}

/// What stands before a record's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// What it is.
    pub kind: RecordKind,
    /// Of which chunk.
    pub handle: Handle,
    /// A number that rises with each record that a node writes, and that a
    /// record keeps when it is moved: of several records of one handle the
    /// highest counts.
    pub sequence: u64,
    /// Bytes of the body, at most [`BODY_BYTES_MAX`].
    pub body_len: u32,
}

impl RecordHeader {
    /// Bytes from the start of this record to that of the next.
    #[must_use]
    pub fn record_len(&self) -> u64 {
        (RECORD_HEADER_BYTES as u64 + u64::from(self.body_len)).next_multiple_of(RECORD_ALIGNMENT)
    }
}

/// The first bytes of a pack.
#[must_use]
pub fn encode_pack_header(header: &PackHeader) -> [u8; PACK_HEADER_BYTES] {
    let mut out = [0; PACK_HEADER_BYTES];
    out[..8].copy_from_slice(&PACK_MAGIC);
    out[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    out[16..24].copy_from_slice(&header.number.to_le_bytes());
    out[24..32].copy_from_slice(&header.salt.to_le_bytes());
    let sum = crc32c(&[&out[..60]]);
    out[60..].copy_from_slice(&sum.to_le_bytes());
    out
}

/// Reads the first bytes of a pack.
///
/// # Errors
/// [`ChunkError`] when they are not as they were written.
pub fn decode_pack_header(bytes: &[u8]) -> Result<PackHeader, ChunkError> {
    const PART: &str = "pack header";
    let Some(bytes) = bytes.first_chunk::<PACK_HEADER_BYTES>() else {
        let found = bytes.len();
        return Err(ChunkError::Truncated { part: PART, needed: PACK_HEADER_BYTES, found });
    };
    if bytes[..8] != PACK_MAGIC {
        return Err(ChunkError::Magic { part: PART });
    }
    let (found, claimed) = (crc32c(&[&bytes[..60]]), u32_at(bytes, 60));
    if found != claimed {
        return Err(ChunkError::Checksum { part: PART, found, claimed });
    }
    let version = u16::from_le_bytes([bytes[8], bytes[9]]);
    if version != FORMAT_VERSION {
        return Err(ChunkError::Version { part: PART, found: version });
    }
    Ok(PackHeader { number: u64_at(bytes, 16), salt: u64_at(bytes, 24) })
}

/// Appends a whole record to `out`: header, body, padding. The record is to
/// be written at a multiple of [`RECORD_ALIGNMENT`].
///
/// # Panics
/// When the body is longer than [`BODY_BYTES_MAX`].
pub fn encode_record(
    kind: RecordKind,
    handle: Handle,
    sequence: u64,
    salt: u64,
    body: &[&[u8]],
    out: &mut Vec<u8>,
) {
    let body_len: usize = body.iter().map(|part| part.len()).sum();
    assert!(body_len as u64 <= BODY_BYTES_MAX, "a record of {body_len} bytes");
    let body_len = u32::try_from(body_len).expect("BODY_BYTES_MAX is below 2^32");
    let header = RecordHeader { kind, handle, sequence, body_len };
    let start = out.len();
    out.extend_from_slice(&encode_record_header(&header, salt));
    body.iter().for_each(|part| out.extend_from_slice(part));
    let record_len = usize::try_from(header.record_len()).expect("its body is in memory");
    out.resize(start + record_len, 0);
}

/// The bytes of a record before its body.
#[must_use]
pub fn encode_record_header(header: &RecordHeader, salt: u64) -> [u8; RECORD_HEADER_BYTES] {
    let mut out = [0; RECORD_HEADER_BYTES];
    out[..4].copy_from_slice(&RECORD_MAGIC);
    out[4] = header.kind as u8;
    out[8..16].copy_from_slice(&header.handle.0.to_le_bytes());
    out[16..24].copy_from_slice(&header.sequence.to_le_bytes());
    out[24..28].copy_from_slice(&header.body_len.to_le_bytes());
    let sum = crc32c(&[&salt.to_le_bytes(), &out[..28]]);
    out[28..].copy_from_slice(&sum.to_le_bytes());
    out
}

/// Reads the record header at the start of `bytes`.
///
/// # Errors
/// [`ChunkError`] when it is not as it was written, or is another pack's.
pub fn decode_record_header(bytes: &[u8], salt: u64) -> Result<RecordHeader, ChunkError> {
    const PART: &str = "pack record";
    let Some(bytes) = bytes.first_chunk::<RECORD_HEADER_BYTES>() else {
        let found = bytes.len();
        return Err(ChunkError::Truncated { part: PART, needed: RECORD_HEADER_BYTES, found });
    };
    if bytes[..4] != RECORD_MAGIC {
        return Err(ChunkError::Magic { part: PART });
    }
    let (found, claimed) = (crc32c(&[&salt.to_le_bytes(), &bytes[..28]]), u32_at(bytes, 28));
    if found != claimed {
        return Err(ChunkError::Checksum { part: PART, found, claimed });
    }
    let kind = match bytes[4] {
        1 => RecordKind::Chunk,
        2 => RecordKind::Tombstone,
        unknown => {
            return Err(ChunkError::Field { field: "record kind", found: u64::from(unknown) });
        }
    };
    let body_len = u32_at(bytes, 24);
    if u64::from(body_len) > BODY_BYTES_MAX {
        return Err(ChunkError::Length { part: PART, claimed: body_len as usize });
    }
    let (handle, sequence) = (Handle(u64_at(bytes, 8)), u64_at(bytes, 16));
    Ok(RecordHeader { kind, handle, sequence, body_len })
}

/// The first good record header in `window`, and where it begins. `window`
/// itself begins at a multiple of [`RECORD_ALIGNMENT`] in the pack. Finds a
/// record after damage too; its body may be cut off or bad all the same.
#[must_use]
pub fn find(window: &[u8], salt: u64) -> Option<(usize, RecordHeader)> {
    let step = RECORD_ALIGNMENT as usize;
    (0..window.len()).step_by(step).find_map(|at| {
        let header = decode_record_header(&window[at..], salt).ok()?;
        Some((at, header))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SALT: u64 = 0xa1a2_a3a4_a5a6_a7a8;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn record(handle: u64, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_record(RecordKind::Chunk, Handle(handle), handle, SALT, &[body], &mut out);
        out
    }

    /// The handles of all records of a pack's body, as a start-up scan sees them.
    fn scan(bytes: &[u8], salt: u64) -> Vec<u64> {
        let (mut at, mut handles) = (0, Vec::new());
        while let Some((skipped, header)) = bytes.get(at..).and_then(|rest| find(rest, salt)) {
            handles.push(header.handle.0);
            at += skipped + header.record_len() as usize;
        }
        handles
    }

    #[test]
    fn format_two_is_these_bytes() {
        let header = PackHeader { number: 7, salt: SALT };
        let bytes = encode_pack_header(&header);
        assert_eq!(
            hex(&bytes),
            concat!(
                "4446535041434b0002000000000000000700000000000000a8a7a6a5a4a3a2a1",
                "00000000000000000000000000000000000000000000000000000000e81055d7",
            )
        );
        assert_eq!(decode_pack_header(&bytes), Ok(header));

        let mut records = Vec::new();
        let handle = Handle(0x0102_0304_0506_0708);
        encode_record(RecordKind::Chunk, handle, 3, SALT, &[b"bo", b"dy"], &mut records);
        encode_record(RecordKind::Tombstone, Handle(9), 4, SALT, &[], &mut records);
        assert_eq!(
            hex(&records),
            concat!(
                "445245430100000008070605040302010300000000000000040000007f5b0d12",
                "626f647900000000000000000000000000000000000000000000000000000000",
                "445245430200000009000000000000000400000000000000000000004d1337d2",
                "0000000000000000000000000000000000000000000000000000000000000000",
            )
        );
        let tombstone = decode_record_header(&records[64..], SALT).expect("good");
        assert_eq!((tombstone.kind, tombstone.record_len()), (RecordKind::Tombstone, 64));
    }

    #[test]
    fn a_scan_goes_on_behind_damage() {
        let mut bytes = [record(1, &[1; 100]), record(2, &[2; 500]), record(3, &[3; 10])].concat();
        assert_eq!(scan(&bytes, SALT), [1, 2, 3]);
        let second = record(1, &[1; 100]).len();
        bytes[second + 10] ^= 4;
        assert_eq!(scan(&bytes, SALT), [1, 3]);
    }

    #[test]
    fn a_record_inside_a_file_is_not_taken_for_one() {
        // Somebody stored a pack of another node in a file, and the record
        // around it was damaged.
        let mut foreign = vec![0; 32];
        encode_record(RecordKind::Chunk, Handle(66), 1, !SALT, &[b"x"], &mut foreign);
        let mut bytes = [record(1, &foreign), record(2, b"y")].concat();
        bytes[9] ^= 1;
        assert_eq!(scan(&bytes, SALT), [2]);
        assert_eq!(scan(&bytes, !SALT), [66], "with its own salt it would be one");
    }

    #[test]
    fn lengths_above_the_bound_are_refused() {
        let claims = |body_len| {
            let header =
                RecordHeader { kind: RecordKind::Chunk, handle: Handle(1), sequence: 1, body_len };
            decode_record_header(&encode_record_header(&header, SALT), SALT)
        };
        let most = u32::try_from(BODY_BYTES_MAX).expect("fits");
        assert!(claims(most).is_ok());
        assert!(matches!(claims(most + 1), Err(ChunkError::Length { .. })));
        assert!(matches!(claims(u32::MAX), Err(ChunkError::Length { .. })));
    }

    #[test]
    fn a_pack_of_a_later_format_says_so() {
        let mut bytes = encode_pack_header(&PackHeader { number: 7, salt: SALT });
        bytes[8] = 3;
        assert!(matches!(decode_pack_header(&bytes), Err(ChunkError::Checksum { .. })));
        let sum = crc32c(&[&bytes[..60]]);
        bytes[60..].copy_from_slice(&sum.to_le_bytes());
        assert!(matches!(decode_pack_header(&bytes), Err(ChunkError::Version { found: 3, .. })));
    }

    proptest! {
        #[test]
        fn every_flipped_bit_of_a_record_header_is_found(at in 0_usize..32, bit in 0_u8..8) {
            let mut bytes = record(5, b"body");
            bytes[at] ^= 1 << bit;
            prop_assert!(decode_record_header(&bytes, SALT).is_err());
        }

        #[test]
        fn every_flipped_bit_of_a_pack_header_is_found(at in 0_usize..64, bit in 0_u8..8) {
            let mut bytes = encode_pack_header(&PackHeader { number: 7, salt: SALT });
            bytes[at] ^= 1 << bit;
            prop_assert!(decode_pack_header(&bytes).is_err());
        }

        #[test]
        fn a_torn_tail_hides_no_record_before_it(
            lens in prop::collection::vec(0_usize..300, 1..8), cut: prop::sample::Index
        ) {
            let records: Vec<Vec<u8>> =
                lens.iter().enumerate().map(|(at, &len)| record(at as u64, &vec![9; len])).collect();
            let bytes = records.concat();
            let cut = cut.index(bytes.len());
            let whole = records.iter().scan(0, |end, record| {
                *end += record.len();
                Some(*end)
            }).filter(|&end| end <= cut).count();
            let found = scan(&bytes[..cut], SALT);
            prop_assert!(found.len() == whole || found.len() == whole + 1);
            prop_assert!(found.iter().enumerate().all(|(at, &handle)| handle == at as u64));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode_pack_header(&bytes);
            let _ = find(&bytes, SALT);
        }
    }
}
