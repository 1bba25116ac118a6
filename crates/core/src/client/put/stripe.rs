//! One stripe from a seekable source: sent row by row to all its nodes, and
//! once more to replacements of those that failed. A copy that is set aside in
//! mid-chunk goes to its replacement at once, while the others go on; one that
//! failed otherwise goes in a pass of its own.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use tokio::sync::mpsc;

use super::copy::{ChunkWriter, Doubts, Settled, send_whole, settle};
use super::row::{self, ParityLane, Row, StripeCut};
use super::upload::{CopyFailure, PutError, Upload};
use crate::api::{Kind, SealedChunk, SealedStripe, StripePlacement, Target, WritePart};
use crate::client::Progress;
use crate::client::window::PutWindow;
use crate::data::chunk::{ChunkSeal, SealBuilder};
use crate::data::stripe::RowAt;
use crate::env::File;
use crate::id::NodeId;
use crate::mark::{Mark, reached};
use crate::mutant::{Mutant, is_planted};

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

/// The queue of copies that were set aside and must be sent again. It has room
/// for every copy of the pass, and each copy is set aside at most once.
type SetAside = mpsc::Sender<(usize, CopyFailure)>;

/// The outcome of one pass over a stripe.
struct Pass<'a> {
    /// By slot, for those that were read or coded to their end.
    seals: Vec<(usize, ChunkSeal)>,
    copies: Settled<'a>,
}

impl<'a> StripeWrite<'a> {
    /// Writes all chunks of the stripe.
    pub(super) async fn run(self) -> Result<SealedStripe, PutError> {
        let chunks = self.placement.shape.chunks();
        let mut seals: Vec<Option<ChunkSeal>> = vec![None; chunks];
        let at = (self.upload, &self.placement);
        let mut held: Vec<(usize, NodeId)> = Vec::new();
        let mut doubts = Doubts::none();
        let mut open = self.upload.avoid(&self.placement).await?;
        for _ in 0..PASSES_MAX {
            let is_whole = seals.iter().any(Option::is_none);
            let wanted = slots(&open);
            let done = doubts.race(at, self.pass(is_whole, open), wanted, &mut held).await;
            // Late copies were faster than those that were sent anew.
            let Some(done) = done else { break };
            let done = done?;
            for (slot, seal) in done.seals {
                if seals[slot].is_some_and(|before| before != seal) {
                    return Err(row::changed("it reads otherwise the second time"));
                }
                seals[slot] = Some(seal);
            }
            held.extend(done.copies.holders);
            doubts.add(done.copies.late);
            if done.copies.failures.is_empty() {
                break;
            }
            open = self.upload.retarget(&self.placement, done.copies.failures).await?;
            if open.is_empty() {
                break;
            }
        }
        let is_needed = |held: &[(usize, NodeId)]| {
            !self.upload.is_enough(self.placement.shape, &by_slot(chunks, held))
        };
        if !self.is_complete(&by_slot(chunks, &held)) {
            doubts.wait(at, is_needed, &mut held).await;
        }
        let holders = by_slot(chunks, &held);
        self.upload.accept(&self.placement, self.placement.shape, &holders)?;
        self.sealed(seals, holders)
    }

    fn is_complete(&self, holders: &[Vec<NodeId>]) -> bool {
        let planned = self.placement.targets.iter();
        planned.zip(holders).all(|(targets, nodes)| nodes.len() >= targets.len())
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

    /// Sends the chunks named in `open` to the targets named there, and what
    /// is set aside on the way to its replacement. A whole pass also seals
    /// chunks that have no target at all.
    async fn pass(
        &self,
        is_whole: bool,
        open: Vec<(usize, Vec<Target>)>,
    ) -> Result<Pass<'a>, PutError> {
        let (set_aside, queue) = mpsc::channel(slots(&open).len().max(1));
        let rows = self.pass_once(is_whole, open, Some(set_aside));
        let (pass, anew) = join(rows, self.send_anew(queue)).await;
        let mut pass = pass?;
        for other in anew? {
            pass.seals.extend(other.seals);
            pass.copies.holders.extend(other.copies.holders);
            pass.copies.failures.extend(other.copies.failures);
            pass.copies.late.extend(other.copies.late);
        }
        Ok(pass)
    }

    /// Sends copies that were set aside to their replacements, one after the
    /// other: what a stripe holds in memory stays bounded.
    async fn send_anew(
        &self,
        mut queue: mpsc::Receiver<(usize, CopyFailure)>,
    ) -> Result<Vec<Pass<'a>>, PutError> {
        let mut passes = Vec::new();
        while let Some(failure) = queue.recv().await {
            let open = self.upload.retarget(&self.placement, vec![failure]).await?;
            if !open.is_empty() {
                reached(Mark::WriteSentAnew);
                passes.push(self.pass_once(false, open, None).await?);
            }
        }
        Ok(passes)
    }

    /// One pass over the source. Copies that are set aside go to `set_aside`;
    /// without it they count as failures.
    async fn pass_once(
        &self,
        is_whole: bool,
        open: Vec<(usize, Vec<Target>)>,
        set_aside: Option<SetAside>,
    ) -> Result<Pass<'a>, PutError> {
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
        let mut writers: Vec<Option<ChunkWriter<'a>>> = Vec::new();
        writers.resize_with(shape.chunks(), || None);
        for (slot, targets) in open.into_iter().filter(|(_, targets)| !targets.is_empty()) {
            let (upload, queue_frames) = (self.upload, self.window.queue_frames);
            let writer = ChunkWriter::open(upload, &self.placement, slot, &targets, queue_frames);
            writers[slot] = Some(writer);
        }
        self.stream_rows(is_whole, lanes, parity_lanes, (writers, set_aside)).await
    }

    /// A stripe of one row: its chunks go once they are sealed, each at once.
    async fn send_row(
        &self,
        is_whole: bool,
        lanes: Vec<row::Lane>,
        parity_lanes: Vec<ParityLane>,
        open: Vec<(usize, Vec<Target>)>,
    ) -> Result<Pass<'a>, PutError> {
        let Row { lanes, mut frames, raw_bytes } =
            row::read_row(self.upload, &self.file, lanes, self.row(0)).await?;
        let parity_lanes = self.code(self.row(0), &mut frames, parity_lanes).await;
        let seals = seals(lanes, parity_lanes);
        let chunk = |slot| {
            let frame = frames.iter().find(|(of, _)| *of == slot).map(|(_, frame)| frame)?;
            Some((frame, seals.iter().find(|(of, _)| *of == slot).map(|(_, seal)| *seal)?))
        };
        let upload = self.upload;
        let mut sends = Vec::new();
        for (slot, targets) in open {
            let Some((frame, seal)) = chunk(slot) else { continue };
            let header = upload.header(&self.placement, slot);
            for target in targets {
                let (header, frame, node) = (header.clone(), frame.clone(), target.node.clone());
                let sending = async move { send_whole(upload, header, &target, frame, seal).await };
                sends.push((slot, node, sending.boxed()));
            }
        }
        let copies = settle(upload, sends).await;
        if is_whole {
            self.progress.add(raw_bytes);
        }
        Ok(Pass { seals, copies })
    }

    async fn stream_rows(
        &self,
        is_whole: bool,
        lanes: Vec<row::Lane>,
        mut parity_lanes: Vec<ParityLane>,
        (mut writers, set_aside): (Vec<Option<ChunkWriter<'a>>>, Option<SetAside>),
    ) -> Result<Pass<'a>, PutError> {
        let rows = self.cut.rows();
        let mut counted_bytes = 0;
        let mut is_sent_anew = false;
        let mut present = row::read_row(self.upload, &self.file, lanes, self.row(0)).await?;
        for number in 0..rows {
            // Of chunks that are sent anew, only this pass seals the others.
            if !is_sent_anew && !writers.iter().flatten().any(ChunkWriter::is_alive) {
                // Nobody takes this pass any more; the seals stay open.
                self.progress.take_back(counted_bytes);
                return Ok(close(self.upload, writers, Vec::new()).await);
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
            if let Some(set_aside) = &set_aside {
                is_sent_anew |= hand_over(&mut writers, set_aside);
            }
            if is_whole {
                self.progress.add(raw_bytes);
                counted_bytes += raw_bytes;
            }
        }
        Ok(close(self.upload, writers, seals(present.lanes, parity_lanes)).await)
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
        writers: &mut [Option<ChunkWriter<'a>>],
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

/// Hands over the copies that were set aside; returns whether there were any.
fn hand_over(writers: &mut [Option<ChunkWriter<'_>>], set_aside: &SetAside) -> bool {
    if is_planted(Mutant::SendsAnewInTheEnd) {
        return false;
    }
    let mut is_any = false;
    for failure in writers.iter_mut().flatten().flat_map(ChunkWriter::take_replaced) {
        is_any |= set_aside.try_send(failure).is_ok();
    }
    is_any
}

/// Ends every stream: with its seal where there is one.
async fn close<'a>(
    upload: &'a Upload<'a>,
    writers: Vec<Option<ChunkWriter<'a>>>,
    seals: Vec<(usize, ChunkSeal)>,
) -> Pass<'a> {
    let seal_of = |slot| seals.iter().find(|(of, _)| *of == slot).map(|(_, seal)| *seal);
    let ends = writers.into_iter().enumerate().filter_map(|(slot, writer)| {
        let writer = writer?;
        Some(match seal_of(slot) {
            Some(seal) => writer.finish(seal),
            None => writer.close(),
        })
    });
    let copies = settle(upload, ends.flatten().collect()).await;
    Pass { seals, copies }
}

/// The slot of each copy that is to be sent.
fn slots(open: &[(usize, Vec<Target>)]) -> Vec<usize> {
    open.iter().flat_map(|(slot, targets)| targets.iter().map(|_| *slot)).collect()
}

/// Who holds each of so many chunks. A node counts once.
fn by_slot(chunks: usize, held: &[(usize, NodeId)]) -> Vec<Vec<NodeId>> {
    let mut holders: Vec<Vec<NodeId>> = vec![Vec::new(); chunks];
    for (slot, node) in held {
        if let Some(nodes) = holders.get_mut(*slot).filter(|nodes| !nodes.contains(node)) {
            nodes.push(node.clone());
        }
    }
    holders
}

/// A chunk as the coordinator hears of it.
pub(super) fn sealed_chunk(seal: ChunkSeal, holders: Vec<NodeId>) -> SealedChunk {
    let ChunkSeal { raw_len, stored_len, digest, .. } = seal;
    SealedChunk { digest, raw_len, stored_len, holders }
}
