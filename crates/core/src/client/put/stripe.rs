//! One stripe from a seekable source: sent row by row to all its nodes, and
//! once more to replacements of those that failed.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{join, join_all};

use super::copy::{ChunkWriter, send_whole};
use super::row::{self, ParityLane, Row, StripeCut};
use super::upload::{CopyFailure, PutError, Upload};
use crate::api::{Kind, SealedChunk, SealedStripe, StripePlacement, Target, WritePart};
use crate::client::Progress;
use crate::client::window::PutWindow;
use crate::data::chunk::{ChunkSeal, SealBuilder};
use crate::data::stripe::RowAt;
use crate::env::File;
use crate::id::NodeId;

/// How often copies of one stripe go to replacements before what is still
/// missing counts as left to repair.
pub(super) const PASSES_MAX: usize = 6;

/// A stripe to be written.
pub(super) struct StripeWrite<'a> {
    pub(super) upload: &'a Upload<'a>,
    pub(super) file: Arc<dyn File>,
    pub(super) placement: StripePlacement,
    pub(super) cut: StripeCut,
    pub(super) window: PutWindow,
    pub(super) progress: &'a Progress,
}

/// What one pass over a stripe came to.
struct Pass {
    /// By slot, for those that were read or coded to their end.
    seals: Vec<(usize, ChunkSeal)>,
    holders: Vec<(usize, NodeId)>,
    failures: Vec<(usize, CopyFailure)>,
}

impl StripeWrite<'_> {
    /// Writes all chunks of the stripe.
    pub(super) async fn run(self) -> Result<SealedStripe, PutError> {
        let chunks = self.placement.shape.chunks();
        let mut seals: Vec<Option<ChunkSeal>> = vec![None; chunks];
        let mut holders: Vec<Vec<NodeId>> = vec![Vec::new(); chunks];
        let mut open: Vec<(usize, Vec<Target>)> =
            self.placement.targets.iter().cloned().enumerate().collect();
        for _ in 0..PASSES_MAX {
            let is_whole = seals.iter().any(Option::is_none);
            let done = self.pass(is_whole, open).await?;
            for (slot, seal) in done.seals {
                if seals[slot].is_some_and(|before| before != seal) {
                    return Err(row::changed("it reads otherwise the second time"));
                }
                seals[slot] = Some(seal);
            }
            for (slot, node) in done.holders {
                holders[slot].push(node);
            }
            if done.failures.is_empty() {
                break;
            }
            open = self.upload.retarget(&self.placement, done.failures).await?;
            if open.is_empty() {
                break;
            }
        }
        self.upload.accept(&self.placement, self.placement.shape, &holders)?;
        self.sealed(seals, holders)
    }

    fn sealed(
        &self,
        seals: Vec<Option<ChunkSeal>>,
        holders: Vec<Vec<NodeId>>,
    ) -> Result<SealedStripe, PutError> {
        let mut chunks = Vec::new();
        for (seal, holders) in seals.into_iter().zip(holders) {
            let seal = seal.ok_or_else(|| {
                PutError::failed(
                    Kind::Insufficient,
                    format!("no node took stripe {}", self.placement.index),
                )
            })?;
            chunks.push(sealed_chunk(seal, holders));
        }
        Ok(SealedStripe {
            index: self.placement.index,
            first_handle: self.placement.first_handle,
            shape: self.placement.shape,
            chunks,
        })
    }

    /// Sends the chunks named in `open` to the targets named there. A whole
    /// pass also seals chunks that have no target at all.
    async fn pass(
        &self,
        is_whole: bool,
        open: Vec<(usize, Vec<Target>)>,
    ) -> Result<Pass, PutError> {
        let shape = self.placement.shape;
        let data = usize::from(shape.data);
        let parity_lanes: Vec<ParityLane> = (data..shape.chunks())
            .filter(|slot| is_whole || open.iter().any(|(wanted, _)| wanted == slot))
            .map(|slot| ParityLane { slot, number: slot - data, seal: SealBuilder::default() })
            .collect();
        let lanes = self.cut.lanes(|slot| {
            is_whole || !parity_lanes.is_empty() || open.iter().any(|(wanted, _)| *wanted == slot)
        });
        if self.cut.rows() == 1 {
            return self.send_row(is_whole, lanes, parity_lanes, open).await;
        }
        let mut writers: Vec<Option<ChunkWriter>> = Vec::new();
        writers.resize_with(shape.chunks(), || None);
        for (slot, targets) in open.into_iter().filter(|(_, targets)| !targets.is_empty()) {
            let header = self.upload.header(&self.placement, slot);
            let queue_frames = self.window.queue_frames;
            writers[slot] = Some(ChunkWriter::open(self.upload, &header, &targets, queue_frames));
        }
        self.stream_rows(is_whole, lanes, parity_lanes, writers).await
    }

    /// A stripe of one row: its chunks go once they are sealed, each at once.
    async fn send_row(
        &self,
        is_whole: bool,
        lanes: Vec<row::Lane>,
        parity_lanes: Vec<ParityLane>,
        open: Vec<(usize, Vec<Target>)>,
    ) -> Result<Pass, PutError> {
        let Row { lanes, mut frames, raw_bytes } =
            row::read_row(self.upload, &self.file, lanes, self.row(0)).await?;
        let parity_lanes = self.code(self.row(0), &mut frames, parity_lanes).await;
        let seals = seals(lanes, parity_lanes);
        let chunk = |slot| {
            let frame = frames.iter().find(|(of, _)| *of == slot).map(|(_, frame)| frame)?;
            Some((frame, seals.iter().find(|(of, _)| *of == slot).map(|(_, seal)| *seal)?))
        };
        let sends = open.iter().filter_map(|(slot, targets)| {
            let (frame, seal) = chunk(*slot)?;
            let header = self.upload.header(&self.placement, *slot);
            Some(targets.iter().map(move |target| {
                let sending = send_whole(self.upload, header.clone(), target, frame.clone(), seal);
                async move { (*slot, target.node.clone(), sending.await) }
            }))
        });
        let sent = join_all(sends.flatten()).await;
        if is_whole {
            self.progress.add(raw_bytes);
        }
        let mut pass = Pass { seals, holders: Vec::new(), failures: Vec::new() };
        for (slot, node, sent) in sent {
            match sent {
                Ok(()) => pass.holders.push((slot, node)),
                Err(error) => pass.failures.push((slot, CopyFailure { node, error })),
            }
        }
        Ok(pass)
    }

    async fn stream_rows(
        &self,
        is_whole: bool,
        lanes: Vec<row::Lane>,
        mut parity_lanes: Vec<ParityLane>,
        mut writers: Vec<Option<ChunkWriter>>,
    ) -> Result<Pass, PutError> {
        let rows = self.cut.rows();
        let mut counted_bytes = 0;
        let mut present = row::read_row(self.upload, &self.file, lanes, self.row(0)).await?;
        for number in 0..rows {
            if !writers.iter().flatten().any(ChunkWriter::is_alive) {
                // Nobody takes this pass any more; the seals stay open.
                self.progress.take_back(counted_bytes);
                return Ok(close(writers, Vec::new()).await);
            }
            let Row { lanes, frames, raw_bytes } = present;
            let send = self.code_and_send(self.row(number), frames, parity_lanes, &mut writers);
            let (sent, next) = if number + 1 == rows {
                (send.await, Row { lanes, frames: Vec::new(), raw_bytes: 0 })
            } else if self.window.is_pipelined {
                let read = row::read_row(self.upload, &self.file, lanes, self.row(number + 1));
                let (sent, next) = join(send, read).await;
                (sent, next?)
            } else {
                let sent = send.await;
                (sent, row::read_row(self.upload, &self.file, lanes, self.row(number + 1)).await?)
            };
            parity_lanes = sent;
            present = next;
            if is_whole {
                self.progress.add(raw_bytes);
                counted_bytes += raw_bytes;
            }
        }
        Ok(close(writers, seals(present.lanes, parity_lanes)).await)
    }

    fn row(&self, index: u32) -> RowAt {
        RowAt { first_handle: self.placement.first_handle, index }
    }

    /// Codes a row's parity and hands all its frames to their streams.
    async fn code_and_send(
        &self,
        at: RowAt,
        mut frames: Vec<(usize, Bytes)>,
        parity_lanes: Vec<ParityLane>,
        writers: &mut [Option<ChunkWriter>],
    ) -> Vec<ParityLane> {
        let parity_lanes = self.code(at, &mut frames, parity_lanes).await;
        let sends = writers.iter_mut().enumerate().filter_map(|(slot, writer)| {
            let writer = writer.as_mut()?;
            let (_, stored) = frames.iter().find(|(of, _)| *of == slot)?;
            let part = WritePart::Frame(stored.clone());
            Some(async move { writer.send(&part).await })
        });
        join_all(sends).await;
        parity_lanes
    }

    /// Adds a row's parity to its frames.
    async fn code(
        &self,
        at: RowAt,
        frames: &mut Vec<(usize, Bytes)>,
        parity_lanes: Vec<ParityLane>,
    ) -> Vec<ParityLane> {
        if parity_lanes.is_empty() {
            return parity_lanes;
        }
        let coding = self.placement.shape.coding;
        let (parity_lanes, parity) =
            row::code_row(self.upload, at, coding, frames.clone(), parity_lanes).await;
        frames.extend(parity);
        parity_lanes
    }
}

/// By slot, of lanes that came to their end.
fn seals(lanes: Vec<row::Lane>, parity_lanes: Vec<ParityLane>) -> Vec<(usize, ChunkSeal)> {
    let parity = parity_lanes.into_iter().map(|lane| (lane.slot, lane.seal.finish()));
    lanes.into_iter().map(row::Lane::finish).chain(parity).collect()
}

/// Ends every stream: with its seal where there is one.
async fn close(writers: Vec<Option<ChunkWriter>>, seals: Vec<(usize, ChunkSeal)>) -> Pass {
    let seal_of = |slot| seals.iter().find(|(of, _)| *of == slot).map(|(_, seal)| *seal);
    let ends = writers.into_iter().enumerate().filter_map(|(slot, writer)| {
        let writer = writer?;
        let seal = seal_of(slot);
        Some(async move {
            let holders = match seal {
                Some(seal) => writer.finish(seal).await,
                None => writer.close().await,
            };
            (slot, holders)
        })
    });
    let ended = join_all(ends).await;
    let mut pass = Pass { seals, holders: Vec::new(), failures: Vec::new() };
    for (slot, ended) in ended {
        pass.holders.extend(ended.nodes.into_iter().map(|node| (slot, node)));
        pass.failures.extend(ended.failures.into_iter().map(|failure| (slot, failure)));
    }
    pass
}

/// A chunk as the coordinator hears of it.
pub(super) fn sealed_chunk(seal: ChunkSeal, holders: Vec<NodeId>) -> SealedChunk {
    let ChunkSeal { raw_len, stored_len, digest, .. } = seal;
    SealedChunk { digest, raw_len, stored_len, holders }
}
