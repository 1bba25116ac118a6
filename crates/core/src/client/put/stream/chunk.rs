//! One chunk from a stream: sent once, kept for sending again.

use bytes::Bytes;

use crate::api::{StripePlacement, Target, WritePart};
use crate::client::put::copy::{ChunkWriter, Doubts, Settled, settle};
use crate::client::put::stripe::PASSES_MAX;
use crate::client::put::upload::{PutError, Upload};
use crate::data::chunk::ChunkSeal;
use crate::data::stripe::RowAt;
use crate::id::NodeId;

/// Frames that wait in front of each copy's stream.
const QUEUE_FRAMES: usize = 2;

/// A chunk that is being sent.
pub(super) struct OpenChunk<'a> {
    upload: &'a Upload<'a>,
    placement: StripePlacement,
    /// Its place among the chunks of the placed stripe.
    pub(super) slot: usize,
    writer: ChunkWriter<'a>,
    /// All its stored frames so far; `None` when they were too many.
    kept: Option<Vec<Bytes>>,
    kept_bytes: u64,
    newly_kept_bytes: u64,
}

/// A chunk whose copies are durable, or as many as there will be.
pub(super) struct Finished {
    pub(super) stripe: u32,
    pub(super) slot: usize,
    pub(super) seal: ChunkSeal,
    pub(super) holders: Vec<NodeId>,
    /// Bytes that are no longer kept for it.
    pub(super) kept_bytes: u64,
}

impl<'a> OpenChunk<'a> {
    /// Opens the streams of chunk `slot` of a placed stripe.
    pub(super) fn open(upload: &'a Upload<'a>, placement: &StripePlacement, slot: usize) -> Self {
        let targets = placement.targets.get(slot).map_or(&[][..], Vec::as_slice);
        let writer = ChunkWriter::open(upload, placement, slot, targets, QUEUE_FRAMES);
        Self {
            upload,
            placement: placement.clone(),
            slot,
            writer,
            kept: Some(Vec::new()),
            kept_bytes: 0,
            newly_kept_bytes: 0,
        }
    }

    /// Row `index` of its stripe.
    pub(super) fn row(&self, index: u32) -> RowAt {
        RowAt { first_handle: self.placement.first_handle, index }
    }

    /// Sends the next stored frame, and keeps it.
    pub(super) async fn send(&mut self, stored: Bytes) {
        if let Some(kept) = &mut self.kept {
            self.kept_bytes += stored.len() as u64;
            self.newly_kept_bytes += stored.len() as u64;
            kept.push(stored.clone());
        }
        self.writer.send(&WritePart::Frame(stored)).await;
    }

    /// Bytes kept since this was last asked.
    pub(super) fn take_newly_kept(&mut self) -> u64 {
        std::mem::take(&mut self.newly_kept_bytes)
    }

    /// Keeps nothing any more, and says how many bytes that frees.
    pub(super) fn forget(&mut self) -> u64 {
        self.kept = None;
        std::mem::take(&mut self.kept_bytes)
    }

    /// Seals the chunk, and sends it to replacements of nodes that failed.
    pub(super) async fn finish(self, seal: ChunkSeal) -> Result<Finished, PutError> {
        let Self { upload, placement, slot, writer, kept, kept_bytes, .. } = self;
        let at = (upload, &placement);
        let planned = placement.targets.get(slot).map_or(0, Vec::len);
        let mut held: Vec<(usize, NodeId)> = Vec::new();
        let mut doubts = Doubts::none();
        let mut sent = settle(upload, writer.finish(seal)).await;
        for _ in 0..PASSES_MAX {
            held.append(&mut sent.holders);
            doubts.add(std::mem::take(&mut sent.late));
            let Some(kept) = kept.as_ref().filter(|_| !sent.failures.is_empty()) else { break };
            let failures = std::mem::take(&mut sent.failures);
            let open = upload.retarget(&placement, failures).await?;
            let targets: Vec<Target> = open.into_iter().flat_map(|(_, targets)| targets).collect();
            if targets.is_empty() {
                break;
            }
            let wanted = vec![slot; targets.len()];
            let again = send_again(at, slot, &targets, kept, seal);
            match doubts.race(at, again, wanted, &mut held).await {
                Some(done) => sent = done,
                None => break,
            }
        }
        if held.len() < planned {
            let targets = placement.targets.get(slot).map_or(&[][..], Vec::as_slice);
            // Of the other chunks of the stripe nothing is known here.
            let is_needed = |held: &[(usize, NodeId)]| {
                let is_held = |target: &Target| held.iter().any(|(_, node)| *node == target.node);
                let mut missing = targets.iter().filter(|target| !is_held(target));
                held.is_empty()
                    || missing.any(|target| !upload.can_do_without(&placement, &target.node))
            };
            doubts.wait(at, is_needed, &mut held).await;
        }
        let stripe = placement.index;
        let mut holders: Vec<NodeId> = Vec::new();
        for (_, node) in held {
            if !holders.contains(&node) {
                holders.push(node);
            }
        }
        Ok(Finished { stripe, slot, seal, holders, kept_bytes })
    }
}

async fn send_again<'a>(
    (upload, placement): (&'a Upload<'a>, &StripePlacement),
    slot: usize,
    targets: &[Target],
    kept: &[Bytes],
    seal: ChunkSeal,
) -> Settled<'a> {
    let mut writer = ChunkWriter::open(upload, placement, slot, targets, QUEUE_FRAMES);
    for stored in kept {
        writer.send(&WritePart::Frame(stored.clone())).await;
    }
    settle(upload, writer.finish(seal)).await
}
