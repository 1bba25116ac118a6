//! The header of an image: what a chunk is, written before its frames.
//!
//! The first 16 bytes mean the same in every format version, so that a build
//! tells a header of a later one from a damaged one.

use super::{ChunkError, ChunkHeader, FORMAT_VERSION};
use crate::data::digest::crc32c;
use crate::id::{ClusterId, FileId, Handle};
use crate::name::FileName;
use crate::policy::{Code, Coding, Compression, StripeShape};

/// A header's first bytes.
const MAGIC: [u8; 8] = *b"DFSCHUNK";
/// What errors call it.
const PART: &str = "chunk header";
/// Bytes before the file name.
const FIXED_BYTES: usize = 90;
/// Headers, and so the places of the first frames, are multiples of this.
const ALIGNMENT: usize = 64;
/// Flag: the file's size is known.
const FLAG_FILE_SIZE: u8 = 1;

/// The shortest header: enough to ask [`decode_header`] how long it is.
pub const HEADER_BYTES_MIN: usize = 2 * ALIGNMENT;
/// The longest header: that of the longest name.
pub const HEADER_BYTES_MAX: usize =
    (FIXED_BYTES + FileName::LENGTH_MAX).next_multiple_of(ALIGNMENT);

/// The bytes of `header`: a multiple of 64, at most [`HEADER_BYTES_MAX`].
#[must_use]
pub fn encode_header(header: &ChunkHeader) -> Vec<u8> {
    let name = header.name.as_str().as_bytes();
    let len = (FIXED_BYTES + name.len()).next_multiple_of(ALIGNMENT);
    let StripeShape { coding, data } = header.shape;
    let flags = if header.file_size.is_some() { FLAG_FILE_SIZE } else { 0 };
    let compression = match header.compression {
        Compression::None => 0,
        Compression::Lz4 => 1,
    };

    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    out.extend_from_slice(&u16::try_from(len).expect("at most HEADER_BYTES_MAX").to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&header.cluster.0);
    out.extend_from_slice(&header.handle.0.to_le_bytes());
    out.extend_from_slice(&header.file.0.to_le_bytes());
    out.extend_from_slice(&header.file_size.unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&header.created_ms.to_le_bytes());
    out.extend_from_slice(&header.chunk_index.to_le_bytes());
    out.extend_from_slice(&header.stripe.to_le_bytes());
    out.extend_from_slice(&header.chunk_size.to_le_bytes());
    out.extend_from_slice(&[coding.code as u8, coding.data, coding.parity, data]);
    out.extend_from_slice(&[header.position, header.replication, compression, flags]);
    let name_len = u16::try_from(name.len()).expect("a name is at most 1,024 bytes");
    out.extend_from_slice(&name_len.to_le_bytes());
    out.extend_from_slice(name);
    out.resize(len, 0);
    let sum = crc32c(&[&out[..12], &out[16..]]);
    out[12..16].copy_from_slice(&sum.to_le_bytes());
    out
}

/// Reads the header at the start of `bytes`, and says how long it is: there
/// the frames begin. [`HEADER_BYTES_MAX`] bytes are always enough.
///
/// # Errors
/// [`ChunkError`] when it is not as it was written; `Truncated` says how many
/// bytes it needs.
pub fn decode_header(bytes: &[u8]) -> Result<(ChunkHeader, usize), ChunkError> {
    let truncated = |needed| ChunkError::Truncated { part: PART, needed, found: bytes.len() };
    let Some(start) = bytes.first_chunk::<16>() else {
        return Err(truncated(HEADER_BYTES_MIN));
    };
    if start[..8] != MAGIC {
        return Err(ChunkError::Magic { part: PART });
    }
    let version = u16::from_le_bytes([start[8], start[9]]);
    let len = usize::from(u16::from_le_bytes([start[10], start[11]]));
    let claimed = u32::from_le_bytes([start[12], start[13], start[14], start[15]]);
    if version > FORMAT_VERSION && bytes.len() < len {
        return Err(ChunkError::Version { part: PART, found: version });
    }
    let is_sound = (HEADER_BYTES_MIN..=HEADER_BYTES_MAX).contains(&len) && len % ALIGNMENT == 0;
    if !is_sound && version <= FORMAT_VERSION || len < 16 {
        return Err(ChunkError::Length { part: PART, claimed: len });
    }
    let whole = bytes.get(..len).ok_or_else(|| truncated(len))?;
    let found = crc32c(&[&whole[..12], &whole[16..]]);
    if found != claimed {
        return Err(ChunkError::Checksum { part: PART, found, claimed });
    }
    if version != FORMAT_VERSION {
        return Err(ChunkError::Version { part: PART, found: version });
    }
    let header = decode_fields(whole)?;
    header.validate()?;
    Ok((header, len))
}

/// Reads the fields of a whole header whose sum was checked. Fields that
/// depend on each other are left to [`ChunkHeader::validate`].
fn decode_fields(whole: &[u8]) -> Result<ChunkHeader, ChunkError> {
    let refuse = |field, found: u8| ChunkError::Field { field, found: u64::from(found) };
    let mut cluster = [0; 16];
    cluster.copy_from_slice(&whole[16..32]);
    let code = match whole[80] {
        0 => Code::None,
        1 => Code::Xor,
        2 => Code::ReedSolomon,
        unknown => return Err(refuse("code", unknown)),
    };
    let compression = match whole[86] {
        0 => Compression::None,
        1 => Compression::Lz4,
        unknown => return Err(refuse("compression", unknown)),
    };
    let flags = whole[87];
    if flags & !FLAG_FILE_SIZE != 0 {
        return Err(refuse("flags", flags));
    }
    let name_len = usize::from(u16::from_le_bytes([whole[88], whole[89]]));
    let name = whole
        .get(FIXED_BYTES..FIXED_BYTES + name_len)
        .ok_or(ChunkError::Field { field: "name length", found: name_len as u64 })?;
    let name = std::str::from_utf8(name).map_err(|error| ChunkError::Name(error.to_string()))?;
    let name = FileName::new(name).map_err(|error| ChunkError::Name(error.to_string()))?;
    Ok(ChunkHeader {
        cluster: ClusterId(cluster),
        handle: Handle(u64_at(whole, 32)),
        file: FileId(u64_at(whole, 40)),
        name,
        file_size: (flags & FLAG_FILE_SIZE != 0).then(|| u64_at(whole, 48)),
        created_ms: u64_at(whole, 56),
        stripe: u32_at(whole, 72),
        shape: StripeShape {
            coding: Coding { code, data: whole[81], parity: whole[82] },
            data: whole[83],
        },
        position: whole[84],
        replication: whole[85],
        compression,
        chunk_size: u32_at(whole, 76),
        chunk_index: u64_at(whole, 64),
    })
}

/// The number at `at`, which the caller knows to be inside `bytes`.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

/// As [`u64_at`].
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}
