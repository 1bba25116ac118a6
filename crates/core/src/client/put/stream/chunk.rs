//! One chunk from a stream: sent once, kept for sending again.

use bytes::Bytes;

use crate::api::{StripePlacement, Target, WriteHeader, WritePart};
use crate::client::put::copy::{ChunkWriter, Holders};
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
    writer: ChunkWriter,
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
        let header = upload.header(placement, slot);
        let writer = ChunkWriter::open(upload, &header, targets, QUEUE_FRAMES);
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
        let header = upload.header(&placement, slot);
        let mut sent = writer.finish(seal).await;
        let mut holders = Vec::new();
        for _ in 0..PASSES_MAX {
            holders.append(&mut sent.nodes);
            let Some(kept) = kept.as_ref().filter(|_| !sent.failures.is_empty()) else { break };
            let failures = sent.failures.drain(..).map(|failure| (slot, failure)).collect();
            let open = upload.retarget(&placement, failures).await?;
            let targets: Vec<Target> = open.into_iter().flat_map(|(_, targets)| targets).collect();
            if targets.is_empty() {
                break;
            }
            sent = send_again(upload, &header, &targets, kept, seal).await;
        }
        let stripe = placement.index;
        Ok(Finished { stripe, slot, seal, holders, kept_bytes })
    }
}

async fn send_again(
    upload: &Upload<'_>,
    header: &WriteHeader,
    targets: &[Target],
    kept: &[Bytes],
    seal: ChunkSeal,
) -> Holders {
    let mut writer = ChunkWriter::open(upload, header, targets, QUEUE_FRAMES);
    for stored in kept {
        writer.send(&WritePart::Frame(stored.clone())).await;
    }
    writer.finish(seal).await
}
