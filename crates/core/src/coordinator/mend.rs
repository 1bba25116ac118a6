//! Mending: rebuilding what is missing, a bounded number of copies at once.
//!
//! What to rebuild is planned in [`crate::repair`]; the target node does it
//! and proves it; the layout changes last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::role::Coordinator;
use crate::api::{BadCopy, Error, Kind, RebuildTask, Receipt, RepairStatus, Result, StripeMember};
use crate::catalog::{Catalog, Command, StripeRecord};
use crate::data::chunk::ChunkHeader;
use crate::id::{Handle, NodeIndex};
use crate::limit::limit;
use crate::mutant::{Mutant, is_planted};
use crate::policy::REPLICATION_MAX;
use crate::repair::RepairTask;

/// The most rebuilds at once.
pub(super) const REBUILDS_MAX: usize = 16;
/// The most rebuilds at once on one target.
pub(super) const REBUILDS_PER_NODE_MAX: u32 = 2;
/// The most copies of one chunk that a rebuild is told about; with the target's
/// own that is the most that a node takes.
const SOURCES_MAX: usize = REPLICATION_MAX as usize - 1;
/// How long one rebuild may take.
const REBUILD_TIMEOUT: Duration = Duration::from_secs(3600);
/// How long a chunk whose rebuild failed is left alone, doubled each time.
const BACKOFF_MS: u64 = 2_000;
/// The longest that it is left alone.
const BACKOFF_MAX_MS: u64 = 120_000;
/// How long a deletion that was not confirmed keeps a rebuild away.
const DELETING_MAX_MS: u64 = 600_000;
/// The most reports of bad copies that are looked into at once.
const REPORTS_MAX: usize = 64;
/// How long the verification of a reported copy may take.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(300);

/// What is being mended, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Mending {
    running: BTreeMap<Handle, NodeIndex>,
    /// Chunks whose rebuild failed: how often, and until when they rest.
    resting: BTreeMap<Handle, (u32, u64)>,
    /// Copies that nodes were told to delete, and when.
    deleting: BTreeMap<(NodeIndex, Handle), u64>,
    /// Copies that are being verified because a reader found them bad.
    reported: BTreeSet<(NodeIndex, Handle)>,
    done: u64,
    failed: u64,
    bytes_pulled: u64,
}

impl Mending {
    pub(super) fn is_running(&self, handle: Handle) -> bool {
        self.running.contains_key(&handle)
    }

    /// Chunks that are being rebuilt, and where.
    pub(super) fn running(&self) -> &BTreeMap<Handle, NodeIndex> {
        &self.running
    }

    /// Whether the rebuild of a chunk failed a short time ago.
    pub(super) fn is_resting(&self, handle: Handle, now_ms: u64) -> bool {
        self.resting.get(&handle).is_some_and(|(_, until_ms)| now_ms < *until_ms)
    }

    /// Whether a node was told to delete its copy: no rebuild may make it
    /// meanwhile.
    pub(super) fn is_deleting(&self, handle: Handle, node: NodeIndex) -> bool {
        self.deleting.contains_key(&(node, handle))
    }

    /// How many rebuilds ended well.
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// How many rebuilds ended, well or not.
    pub(super) fn ended(&self) -> u64 {
        self.done + self.failed
    }

    pub(super) fn room(&self) -> usize {
        limit(REBUILDS_MAX, 3).saturating_sub(self.running.len())
    }

    /// Forgets deletions that were not confirmed for long.
    pub(super) fn forget_deletions(&mut self, now_ms: u64) {
        self.deleting.retain(|_, since| now_ms.saturating_sub(*since) < DELETING_MAX_MS);
    }

    pub(super) fn note_deleting(&mut self, node: NodeIndex, handles: &[Handle], now_ms: u64) {
        self.deleting.extend(handles.iter().map(|handle| ((node, *handle), now_ms)));
    }

    pub(super) fn note_deleted(&mut self, node: NodeIndex, handles: &[Handle]) {
        for handle in handles {
            self.deleting.remove(&(node, *handle));
        }
    }

    fn finish(&mut self, handle: Handle, outcome: &Result<Receipt>, now_ms: u64) {
        self.running.remove(&handle);
        match outcome {
            Ok(receipt) => {
                self.resting.remove(&handle);
                self.done += 1;
                self.bytes_pulled += receipt.bytes_pulled;
            }
            Err(_) => {
                self.failed += 1;
                let (times, until_ms) = self.resting.entry(handle).or_default();
                let rest_ms = BACKOFF_MS.saturating_mul(1 << (*times).min(10)).min(BACKOFF_MAX_MS);
                *times = times.saturating_add(1);
                *until_ms = now_ms + rest_ms;
            }
        }
    }

    pub(super) fn status(&self, waiting: u64, begins_in_s: Option<u64>) -> RepairStatus {
        let running = self.running.len() as u64;
        RepairStatus {
            waiting: waiting.saturating_sub(running),
            running,
            done: self.done,
            bytes_pulled: self.bytes_pulled,
            failed: self.failed,
            begins_in_s,
        }
    }
}

impl Coordinator {
    /// Sets rebuilds going, as many as there is room for.
    pub(super) fn begin_rebuilds(self: &Arc<Self>, tasks: Vec<RepairTask>) {
        for task in tasks {
            let handle = task.handle;
            {
                let mut state = self.state();
                // The sweep may have condemned the copy since the plan.
                if state.mending.is_deleting(handle, task.target) {
                    continue;
                }
                state.mending.running.insert(handle, task.target);
            }
            let coordinator = self.clone();
            self.env.spawn(async move {
                let outcome = coordinator.rebuild(&task).await;
                match &outcome {
                    Ok(receipt) => tracing::info!(
                        chunk = %handle, node = task.target.0, from_parity = receipt.from_parity,
                        bytes_pulled = receipt.bytes_pulled, "rebuilt a copy and verified it"
                    ),
                    Err(error) => tracing::warn!(
                        chunk = %handle, node = task.target.0, reason = %error.message,
                        "a copy could not be rebuilt"
                    ),
                }
                let now_ms = coordinator.now_ms();
                coordinator.state().mending.finish(handle, &outcome, now_ms);
                coordinator.mend_again.notify_one();
            });
        }
    }

    async fn rebuild(&self, task: &RepairTask) -> Result<Receipt> {
        let prepared = self.door.read(|catalog| self.prepare(catalog, task)).await?;
        let Some((address, order)) = prepared else {
            return Err(Error::new(Kind::NotFound, "its file is gone".to_owned()));
        };
        let digest = order.digest;
        let node = self.env.peers.node(&address);
        if is_planted(Mutant::LayoutBeforeProof) {
            let expected = task.expected.clone().into_boxed_slice();
            let copies = task.copies_after.clone().into_boxed_slice();
            let change = Command::SetCopies { handle: task.handle, expected, copies };
            self.door.submit(change).await?;
        }
        let call = node.rebuild_chunk(self.context, order);
        let answer = tokio::time::timeout(REBUILD_TIMEOUT, call).await;
        let receipt = answer.map_err(|_| {
            Error::new(Kind::Unavailable, format!("the node at {address} took too long"))
        })??;
        if receipt.handle != task.handle || receipt.seal.digest != digest {
            return Err(Error::new(
                Kind::Integrity,
                format!("the node at {address} gave a receipt for something else"),
            ));
        }
        {
            let now_ms = self.now_ms();
            let members = &mut self.state().members;
            members.note_proved(task.target, task.handle, now_ms);
            // A layout names the copy from now on. No sweep may come by before
            // that file goes, and the grace of a copy that was once unwanted
            // begins when it is unwanted again.
            members.presence.keep(task.target, task.handle);
        }
        let expected = task.expected.clone().into_boxed_slice();
        let copies = task.copies_after.clone().into_boxed_slice();
        let change = Command::SetCopies { handle: task.handle, expected, copies };
        if !is_planted(Mutant::LayoutBeforeProof) {
            self.door.submit(change).await?;
        }
        Ok(receipt)
    }

    /// The order for the target, and its address. `None` when the chunk is
    /// gone.
    fn prepare(&self, catalog: &Catalog, task: &RepairTask) -> Option<(String, RebuildTask)> {
        let (stripe, slot) = catalog.chunk(task.handle)?;
        let chunk = stripe.chunks.get(slot)?;
        let address = catalog.member(task.target)?.address.clone();
        let now_ms = self.now_ms();
        let there = self.state().members.sources_there(stripe, now_ms);
        let addresses = |slot: usize| {
            let nodes = there.get(slot).into_iter().flatten();
            let nodes = nodes.filter(|node| **node != task.target).take(SOURCES_MAX);
            nodes.filter_map(|node| Some(catalog.member(*node)?.address.clone())).collect()
        };
        let member = |other: usize| StripeMember {
            position: stripe.position(other),
            handle: stripe.handle(other),
            digest: stripe.chunks[other].digest,
            copies: addresses(other),
        };
        // A member that the target holds itself is read there too, over its
        // own service; its own address is among the copies.
        let with_self = |mut member: StripeMember, other: usize| {
            if there.get(other).is_some_and(|nodes| nodes.contains(&task.target)) {
                member.copies.push(address.clone());
            }
            member
        };
        let others = (0..stripe.chunks.len()).filter(|other| *other != slot);
        let order = RebuildTask {
            chunk: header(catalog, stripe, slot, self.context.cluster)?,
            digest: chunk.digest,
            copies: addresses(slot),
            stripe: others.map(|other| with_self(member(other), other)).collect(),
            bytes_per_second_max: self.settings.repair_bytes_per_second_max,
        };
        Some((address, order))
    }

    /// See [`crate::api::CoordinatorService::report_bad`]: the node itself is
    /// asked, so that a reader with a bad link condemns nothing.
    pub(super) fn note_bad_copy(&self, report: BadCopy) -> Result<()> {
        let found = self.door.peek(|catalog| {
            let member = catalog.member_by_id(&report.node)?;
            // A copy that the layout does not name is served too.
            catalog.chunk(report.handle)?;
            Some((member.index, member.address.clone()))
        });
        let Some((index, address)) = found else { return Ok(()) };
        let key = (index, report.handle);
        {
            let mut state = self.state();
            let reported = &mut state.mending.reported;
            if reported.len() >= REPORTS_MAX || !reported.insert(key) {
                return Ok(());
            }
        }
        tracing::warn!(
            node = %report.node, chunk = %report.handle, reason = %report.reason,
            "a reader found a copy bad: its node verifies it"
        );
        let Some(coordinator) = self.me.upgrade() else { return Ok(()) };
        self.env.spawn(async move {
            let node = coordinator.env.peers.node(&address);
            let call = node.verify_chunk(coordinator.context, report.handle);
            // A bad copy is heard of with the node's next heartbeat. A whole one
            // that is another than the catalog's is known only here.
            if let Ok(Ok(receipt)) = tokio::time::timeout(VERIFY_TIMEOUT, call).await {
                coordinator.compare_receipt(index, &receipt);
            }
            coordinator.state().mending.reported.remove(&key);
        });
        Ok(())
    }
}

impl Coordinator {
    /// Takes a verified copy whose digest is not the catalog's out of the
    /// maps: it is no source, and is replaced. Returns true when it differs.
    pub(super) fn compare_receipt(&self, node: NodeIndex, receipt: &Receipt) -> bool {
        let digest = self.door.peek(|catalog| {
            let (stripe, slot) = catalog.chunk(receipt.handle)?;
            stripe.chunks.get(slot).map(|chunk| chunk.digest)
        });
        let found = receipt.seal.digest;
        let Some(digest) = digest.filter(|digest| *digest != found) else { return false };
        tracing::warn!(node = node.0, chunk = %receipt.handle, %found, catalog = %digest,
            "a copy is whole and has another SHA-256 than the catalog: it is replaced");
        self.state().members.note_differing(node, receipt.handle);
        self.mend_again.notify_one();
        true
    }
}

/// What a chunk is, for the file that is to hold it.
fn header(
    catalog: &Catalog,
    stripe: &StripeRecord,
    slot: usize,
    cluster: crate::id::ClusterId,
) -> Option<ChunkHeader> {
    let file = catalog.file_by_id(stripe.file)?;
    let is_data = slot < usize::from(stripe.shape.data);
    let before = u64::from(stripe.index) * u64::from(stripe.shape.coding.data);
    Some(ChunkHeader {
        cluster,
        handle: stripe.handle(slot),
        file: file.id,
        name: file.name.clone(),
        file_size: Some(file.size),
        created_ms: file.created_ms,
        stripe: stripe.index,
        shape: stripe.shape,
        position: stripe.position(slot),
        replication: file.policy.replication,
        compression: file.policy.compression,
        chunk_size: file.policy.chunk_size,
        chunk_index: if is_data { before + slot as u64 } else { 0 },
    })
}
