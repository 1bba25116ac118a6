//! Rows: frame `r` of each chunk of a stripe, coded together.
//!
//! A row is coded over whole stored frames, headers included and padded with
//! zeros to the longest, so a rebuilt frame knows its own length and sum. A
//! chunk that has no such row (it is shorter, or the stripe holds fewer data
//! chunks than its code is wide) counts as zeros; since no stored frame is
//! all zeros, a rebuilt row of zeros says that there was no frame.
//!
//! Codes believe what they are given. So each source's sum is checked before
//! decoding, and the result's after it.

use super::erasure::{self, ErasureError};
use super::frame::{self, CODED_MAX, Codec, FrameError, HEADER_SIZE, Place};
use crate::data::chunk::FRAMES_MAX;
use crate::id::Handle;
use crate::policy::{Coding, StripeShape};

/// A row: frame `index` of each chunk of a stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowAt {
    /// The handle of the stripe's first chunk; the others follow by position.
    pub first_handle: Handle,
    /// The row's number in the stripe.
    pub index: u32,
}

impl RowAt {
    /// The place of the frame that chunk `position` has in this row.
    #[must_use]
    pub fn place(self, position: u8) -> Place {
        let handle = Handle(self.first_handle.0.wrapping_add(u64::from(position)));
        Place { handle, index: self.index }
    }
}

/// A row cannot be rebuilt from what was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StripeError {
    /// A source is not as it was written: ask for another in its place.
    #[error("chunk {position} of the stripe: {error}")]
    Source {
        /// Its place in the code.
        position: u8,
        /// What is wrong with it.
        error: FrameError,
    },
    /// Too few sources, or no such code or place in it.
    #[error(transparent)]
    Erasure(#[from] ErasureError),
    /// The stripe has no chunk in this place.
    #[error("the stripe has no chunk {position}")]
    NoChunk {
        /// The place.
        position: u8,
    },
    /// Each source is well formed, but they are not of one row.
    #[error("chunk {position} of the stripe does not fit the others: {found} bytes, row of {len}")]
    Mismatch {
        /// Its place in the code.
        position: u8,
        /// Bytes that it brings into the row.
        found: usize,
        /// Bytes of the row.
        len: usize,
    },
    /// The sources gave something that is no frame: they are not of one row,
    /// or one of them was made wrong.
    #[error("rebuilt chunk {position} is no frame: {error}")]
    Rebuilt {
        /// The place of the wanted chunk.
        position: u8,
        /// What is wrong with it.
        error: FrameError,
    },
}

/// The rows of a stripe whose chunks have these numbers of frames.
#[must_use]
pub fn rows(frames: &[u32]) -> u32 {
    frames.iter().copied().max().unwrap_or(0)
}

/// How many of the other chunks of a stripe a rebuilt one needs. Data chunks
/// that the stripe does not hold are known without being read.
#[must_use]
pub fn sources_needed(shape: StripeShape) -> usize {
    usize::from(shape.data)
}

/// The stored parity frames of a row of stored data frames, by position; a
/// chunk without such a row is an empty slice, missing ones at the end may be
/// left out.
///
/// # Panics
/// When there are more frames than the code is wide, or a frame is longer
/// than any data frame.
#[must_use]
pub fn encode_row(at: RowAt, coding: Coding, frames: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut parity = Vec::new();
    encode_row_into(at, coding, frames, &mut parity);
    parity
}

/// As [`encode_row`], into the buffers of an earlier row, whatever they hold.
///
/// # Panics
/// As [`encode_row`].
pub fn encode_row_into(at: RowAt, coding: Coding, frames: &[&[u8]], parity: &mut Vec<Vec<u8>>) {
    let len = frames.iter().map(|frame| frame.len()).max().unwrap_or(0);
    parity.resize_with(usize::from(coding.parity), Vec::new);
    for stored in parity.iter_mut() {
        set_len(stored, HEADER_SIZE + len);
    }
    let mut coded: Vec<&mut [u8]> =
        parity.iter_mut().map(|stored| &mut stored[HEADER_SIZE..]).collect();
    erasure::encode_into(coding, frames, &mut coded);
    for (position, stored) in (coding.data..).zip(parity) {
        frame::seal_parity_in_place(at.place(position), stored);
    }
}

/// Parity of a stripe whose chunks come one after the other. Holds the
/// parity chunks in memory, and nothing else.
#[derive(Debug)]
pub struct ParityAccumulator {
    first_handle: Handle,
    coding: Coding,
    /// By row, then by parity: room for the header, then the coded bytes.
    rows: Vec<Vec<Vec<u8>>>,
}

impl ParityAccumulator {
    /// Begins the stripe whose first chunk has this handle.
    #[must_use]
    pub fn new(first_handle: Handle, coding: Coding) -> Self {
        Self { first_handle, coding, rows: Vec::new() }
    }

    /// Adds a stored data frame. Frames may come in any order, each once.
    ///
    /// # Panics
    /// When the code has no such data position, no chunk has such a row, or
    /// the frame is longer than any data frame.
    pub fn add(&mut self, position: u8, row: u32, stored: &[u8]) {
        assert!(row < FRAMES_MAX, "row {row}");
        assert!(stored.len() <= CODED_MAX, "a frame of {} bytes", stored.len());
        let row = row as usize;
        if self.rows.len() <= row {
            let empty = vec![vec![0; HEADER_SIZE]; usize::from(self.coding.parity)];
            self.rows.resize(row + 1, empty);
        }
        let parity = &mut self.rows[row];
        let end = HEADER_SIZE + stored.len();
        for coded in parity.iter_mut() {
            if coded.len() < end {
                set_len(coded, end);
            }
        }
        let mut outputs: Vec<&mut [u8]> =
            parity.iter_mut().map(|coded| &mut coded[HEADER_SIZE..end]).collect();
        erasure::update_into(self.coding, position, stored, &mut outputs);
    }

    /// Bytes held.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.rows.iter().flatten().map(Vec::capacity).sum()
    }

    /// The parity chunks: for each, its stored frames by row.
    #[must_use]
    pub fn finish(self) -> Vec<Vec<Vec<u8>>> {
        let mut chunks = vec![Vec::with_capacity(self.rows.len()); usize::from(self.coding.parity)];
        for (index, row) in (0..).zip(self.rows) {
            let at = RowAt { first_handle: self.first_handle, index };
            let positions = self.coding.data..;
            for ((chunk, mut stored), position) in chunks.iter_mut().zip(row).zip(positions) {
                frame::seal_parity_in_place(at.place(position), &mut stored);
                chunk.push(stored);
            }
        }
        chunks
    }
}

/// The stored frame of chunk `wanted` in a row, from the whole stored frames
/// of [`sources_needed`] other chunks (more do no harm); an empty slice is a
/// chunk that has no such row. `None` when the wanted chunk has none.
///
/// # Errors
/// [`StripeError`]; `Source` names a chunk to leave out, `Mismatch` one that
/// does not fit the others, whichever of them is wrong.
pub fn rebuild_row(
    at: RowAt,
    shape: StripeShape,
    available: &[(u8, &[u8])],
    wanted: u8,
) -> Result<Option<Vec<u8>>, StripeError> {
    let coding = shape.coding;
    let is_chunk = |position: u8| {
        let is_gap = (shape.data..coding.data).contains(&position);
        !is_gap && u16::from(position) < u16::from(coding.data) + u16::from(coding.parity)
    };
    let sources = available.iter().filter(|&&(position, _)| position != wanted);
    let mut shards: Vec<(u8, &[u8])> =
        (shape.data..coding.data).map(|position| (position, &[][..])).collect();
    if !is_chunk(wanted) {
        return Err(StripeError::NoChunk { position: wanted });
    }
    for &(position, stored) in sources {
        if !is_chunk(position) {
            return Err(StripeError::NoChunk { position });
        }
        shards.push((position, coded_part(at, coding, position, stored)?));
    }
    let len = row_len(coding, &shards)?;
    let rebuilt = erasure::reconstruct(coding, &shards, &[wanted], len)?;
    let coded = rebuilt.into_iter().next().expect("one was wanted");
    if len == 0 {
        return Ok(None);
    }
    if wanted >= coding.data {
        let mut stored = Vec::with_capacity(HEADER_SIZE + len);
        frame::seal_parity(at.place(wanted), &coded, &mut stored);
        return Ok(Some(stored));
    }
    data_frame(at.place(wanted), coded)
        .map_err(|error| StripeError::Rebuilt { position: wanted, error })
}

/// Cuts or lengthens a buffer (with zeros), to no more room than that: what
/// doubles when it grows would double the memory of a stream's parity.
fn set_len(buffer: &mut Vec<u8>, len: usize) {
    buffer.reserve_exact(len.saturating_sub(buffer.len()));
    buffer.resize(len, 0);
}

/// What a stored frame brings into its row, once its sum was checked: a data
/// frame itself, a parity frame its payload.
fn coded_part(
    at: RowAt,
    coding: Coding,
    position: u8,
    stored: &[u8],
) -> Result<&[u8], StripeError> {
    if stored.is_empty() {
        return Ok(stored);
    }
    let bad = |error| StripeError::Source { position, error };
    let checked = frame::check(at.place(position), stored).map_err(bad)?;
    let is_parity = position >= coding.data;
    if (checked.codec == Codec::Parity) != is_parity {
        return Err(bad(FrameError::Codec(checked.codec as u8)));
    }
    Ok(if is_parity { checked.payload } else { stored })
}

/// The length of a row: that of any parity, else of the longest data frame.
fn row_len(coding: Coding, shards: &[(u8, &[u8])]) -> Result<usize, StripeError> {
    let parity_len = shards
        .iter()
        .find_map(|&(position, shard)| (position >= coding.data).then_some(shard.len()));
    let longest = || shards.iter().map(|(_, shard)| shard.len()).max().unwrap_or(0);
    let len = parity_len.unwrap_or_else(longest);
    for &(position, shard) in shards {
        let is_parity = position >= coding.data;
        if shard.len() > len || is_parity && shard.len() != len {
            return Err(StripeError::Mismatch { position, found: shard.len(), len });
        }
    }
    Ok(len)
}

/// The stored data frame that the rebuilt bytes of a row begin with; `None`
/// when they are all zeros.
fn data_frame(place: Place, mut coded: Vec<u8>) -> Result<Option<Vec<u8>>, FrameError> {
    if coded.iter().all(|&byte| byte == 0) {
        return Ok(None);
    }
    let claimed = frame::stored_len(&coded)?;
    let padding = coded.get(claimed..);
    if padding.is_none_or(|padding| padding.iter().any(|&byte| byte != 0)) {
        return Err(FrameError::Length { found: coded.len(), claimed });
    }
    coded.truncate(claimed);
    match frame::check(place, &coded)?.codec {
        Codec::Raw | Codec::Lz4 => Ok(Some(coded)),
        Codec::Parity => Err(FrameError::Codec(Codec::Parity as u8)),
    }
}

#[cfg(test)]
mod tests;
