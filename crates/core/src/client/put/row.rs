//! Rows of a stripe from a seekable source: frame *r* of each of its chunks,
//! read, hashed, compressed and summed in one visit of the pool each, while
//! it is in the cache; then their parity.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;

use super::upload::{PutError, Upload};
use crate::api::Kind;
use crate::client::buffer::FrameBuffers;
use crate::data::chunk::{ChunkSeal, SealBuilder};
use crate::data::frame::{self, FRAME_SIZE, Place, STORED_MAX};
use crate::data::stripe::{self, RowAt};
use crate::env::{self, File, Work};
use crate::policy::{Coding, Compression};

/// Where a stripe's data chunks lie in the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StripeCut {
    /// Its number in the file.
    pub(super) index: u32,
    /// Where its first chunk begins.
    pub(super) offset: u64,
    /// The lengths of its data chunks.
    pub(super) chunk_lens: Vec<u64>,
}

impl StripeCut {
    /// How many data chunks.
    pub(super) fn data(&self) -> u8 {
        u8::try_from(self.chunk_lens.len()).expect("a stripe is at most 32 chunks wide")
    }

    /// Rows in it.
    pub(super) fn rows(&self) -> u32 {
        let longest = self.chunk_lens.iter().copied().max().unwrap_or(0);
        u32::try_from(frame::count(longest)).unwrap_or(u32::MAX)
    }

    /// The lanes of all data chunks, or of those that `is_wanted` names.
    pub(super) fn lanes(&self, is_wanted: impl Fn(usize) -> bool) -> Vec<Lane> {
        let mut offset = self.offset;
        let mut lanes = Vec::new();
        for (slot, len) in self.chunk_lens.iter().copied().enumerate() {
            if is_wanted(slot) {
                lanes.push(Lane { slot, offset, len, seal: SealBuilder::default() });
            }
            offset += len;
        }
        lanes
    }
}

/// One data chunk being read, front to back.
pub(super) struct Lane {
    pub(super) slot: usize,
    offset: u64,
    len: u64,
    seal: SealBuilder,
}

/// One parity chunk being coded, front to back.
pub(super) struct ParityLane {
    pub(super) slot: usize,
    /// Which parity chunk of the stripe, from 0.
    pub(super) number: usize,
    pub(super) seal: SealBuilder,
}

/// A row: the lanes it came from, and the stored frames that it has.
pub(super) struct Row {
    pub(super) lanes: Vec<Lane>,
    /// By slot; a chunk that has no such row is not named.
    pub(super) frames: Vec<(usize, Bytes)>,
    /// Bytes of the file in it.
    pub(super) raw_bytes: u64,
}

impl Lane {
    pub(super) fn finish(self) -> (usize, ChunkSeal) {
        (self.slot, self.seal.finish())
    }

    fn read_frame(
        &mut self,
        file: &dyn File,
        at: RowAt,
        compression: Compression,
        buffers: &FrameBuffers,
    ) -> io::Result<Option<(Bytes, u64)>> {
        let start = u64::from(at.index) * FRAME_SIZE as u64;
        let left = self.len.saturating_sub(start);
        let size = usize::try_from(left.min(FRAME_SIZE as u64)).expect("at most a frame");
        if size == 0 {
            return Ok(None);
        }
        let mut raw = buffers.take();
        raw.resize(size, 0);
        file.read_at(self.offset + start, &mut raw)?;
        let position = u8::try_from(self.slot).expect("a stripe is at most 32 chunks wide");
        let stored = seal_frame(at.place(position), &raw, compression, &mut self.seal, buffers);
        buffers.give_back(raw);
        Ok(Some((stored, size as u64)))
    }
}

/// Hashes, compresses and sums one raw frame.
pub(super) fn seal_frame(
    place: Place,
    raw: &[u8],
    compression: Compression,
    seal: &mut SealBuilder,
    buffers: &FrameBuffers,
) -> Bytes {
    let mut stored = buffers.take();
    stored.reserve(STORED_MAX.min(raw.len() + 2 * frame::HEADER_SIZE));
    frame::seal(place, raw, compression, &mut stored);
    seal.add(raw, stored.len());
    buffers.share(stored)
}

/// Reads row `at` of `lanes`, and checks that the source is as long as it was.
pub(super) async fn read_row(
    upload: &Upload<'_>,
    file: &Arc<dyn File>,
    lanes: Vec<Lane>,
    at: RowAt,
) -> Result<Row, PutError> {
    let compression = upload.policy.compression;
    let file_size = upload.file_size;
    let jobs = lanes.into_iter().map(|mut lane| {
        let file = file.clone();
        let buffers = upload.client.buffers.clone();
        env::run(&*upload.client.env.pool, Work::Cpu, move || {
            let read = lane.read_frame(&*file, at, compression, &buffers);
            (lane, read, file.len())
        })
    });
    let mut lanes = Vec::new();
    let mut frames = Vec::new();
    let mut raw_bytes = 0;
    for (lane, read, len) in join_all(jobs).await {
        let read = read.map_err(|error| unreadable(&error))?;
        let len = len.map_err(|error| unreadable(&error))?;
        if file_size.is_some_and(|size| size != len) {
            return Err(changed("its length is another now"));
        }
        if let Some((stored, size)) = read {
            frames.push((lane.slot, stored));
            raw_bytes += size;
        }
        lanes.push(lane);
    }
    Ok(Row { lanes, frames, raw_bytes })
}

/// Codes the parity frames of row `at`, whose data frames are `frames`, all of
/// them, by slot.
pub(super) async fn code_row(
    upload: &Upload<'_>,
    at: RowAt,
    coding: Coding,
    frames: Vec<(usize, Bytes)>,
    mut lanes: Vec<ParityLane>,
) -> (Vec<ParityLane>, Vec<(usize, Bytes)>) {
    let buffers = upload.client.buffers.clone();
    env::run(&*upload.client.env.pool, Work::Cpu, move || {
        let width = frames.iter().map(|(slot, _)| slot + 1).max().unwrap_or(0);
        let mut data: Vec<&[u8]> = vec![&[]; width];
        for (slot, stored) in &frames {
            data[*slot] = stored;
        }
        let mut coded: Vec<Vec<u8>> = (0..coding.parity).map(|_| buffers.take()).collect();
        stripe::encode_row_into(at, coding, &data, &mut coded);
        let mut parity = Vec::new();
        for (number, stored) in coded.into_iter().enumerate() {
            let Some(lane) = lanes.iter_mut().find(|lane| lane.number == number) else {
                buffers.give_back(stored);
                continue;
            };
            lane.seal.add_parity(&stored);
            parity.push((lane.slot, buffers.share(stored)));
        }
        (lanes, parity)
    })
    .await
}

/// The source could not be read.
pub(super) fn unreadable(error: &io::Error) -> PutError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return changed("it became shorter");
    }
    PutError::failed(Kind::Internal, format!("the source could not be read: {error}"))
}

/// The source is not what it was.
pub(super) fn changed(how: &str) -> PutError {
    PutError::failed(
        Kind::Internal,
        format!("the source changed while it was read ({how}): put it again when it is at rest"),
    )
}
