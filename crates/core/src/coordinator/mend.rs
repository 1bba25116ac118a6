//! Mending: rebuilding what is missing, a bounded number of copies at once.
//!
//! What to rebuild is planned in [`crate::repair`]; the target node does it
//! and proves it; the layout changes last.

use std::sync::Arc;
use std::time::Duration;

use super::mending::Blame;
use super::role::Coordinator;
use crate::api::{BadCopy, Error, Kind, RebuildTask, Receipt, Result, StripeMember};
use crate::catalog::{Catalog, Command, StripeRecord};
use crate::data::chunk::ChunkHeader;
use crate::id::NodeIndex;
use crate::mutant::{Mutant, is_planted};
use crate::policy::REPLICATION_MAX;
use crate::repair::RepairTask;

/// The most rebuilds at once on one target.
pub(super) const REBUILDS_PER_NODE_MAX: u32 = 2;
/// The most copies of one chunk that a rebuild is told about; with the target's
/// own that is the most that a node takes.
const SOURCES_MAX: usize = REPLICATION_MAX as usize - 1;
/// How long one rebuild may take.
const REBUILD_TIMEOUT: Duration = Duration::from_secs(3600);
/// The most reports of bad copies that are looked into at once.
const REPORTS_MAX: usize = 64;
/// How long the verification of a reported copy may take.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(300);

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
                state.mending.begin(&task);
            }
            let coordinator = self.clone();
            self.env.spawn(async move {
                let outcome = coordinator.rebuild(&task).await;
                let node = coordinator.node_name(task.target);
                match &outcome {
                    Ok(receipt) => tracing::debug!(
                        chunk = %handle, node, from_parity = receipt.from_parity,
                        bytes_pulled = receipt.bytes_pulled, "rebuilt a copy and verified it"
                    ),
                    Err((_, error)) => tracing::warn!(
                        chunk = %handle, node, reason = %error.message,
                        "a copy could not be rebuilt"
                    ),
                }
                let now_ms = coordinator.now_ms();
                let outcome = outcome.map_err(|(blame, _)| blame);
                coordinator.state().mending.finish(&task, outcome, now_ms);
                coordinator.mend_again.notify_one();
            });
        }
    }

    async fn rebuild(&self, task: &RepairTask) -> std::result::Result<Receipt, (Blame, Error)> {
        let nobody = |error| (Blame::Nobody, error);
        let prepared = self.door.read(|catalog| self.prepare(catalog, task)).await;
        let Some((address, order)) = prepared.map_err(nobody)? else {
            return Err(nobody(Error::new(Kind::NotFound, "its file is gone".to_owned())));
        };
        if is_planted(Mutant::LayoutBeforeProof) {
            self.change_layout(task).await.map_err(nobody)?;
        }
        let receipt = self.order(&address, order).await.map_err(|error| match error.kind {
            // It found too few sources.
            Kind::Insufficient => nobody(error),
            _ => (Blame::Target, error),
        })?;
        {
            let now_ms = self.now_ms();
            let members = &mut self.state().members;
            members.note_proved(task.target, task.handle, now_ms);
            // A layout names the copy from now on. No sweep may come by before
            // that file goes, and the grace of a copy that was once unwanted
            // begins when it is unwanted again.
            members.presence.keep(task.target, task.handle);
        }
        if !is_planted(Mutant::LayoutBeforeProof) {
            self.change_layout(task).await.map_err(nobody)?;
        }
        Ok(receipt)
    }

    async fn change_layout(&self, task: &RepairTask) -> Result<()> {
        let expected = task.expected.clone().into_boxed_slice();
        let copies = task.copies_after.clone().into_boxed_slice();
        self.door.submit(Command::SetCopies { handle: task.handle, expected, copies }).await?;
        Ok(())
    }

    /// Has the node at `address` make one copy; returns its receipt.
    async fn order(&self, address: &str, order: RebuildTask) -> Result<Receipt> {
        let (handle, digest) = (order.chunk.handle, order.digest);
        let node = self.env.peers.node(address);
        let call = node.rebuild_chunk(self.context, order);
        let answer = tokio::time::timeout(REBUILD_TIMEOUT, call).await;
        let receipt = answer.map_err(|_| {
            Error::new(Kind::Unavailable, format!("the node at {address} took too long"))
        })??;
        if receipt.handle != handle || receipt.seal.digest != digest {
            let text = format!("the node at {address} gave a receipt for something else");
            return Err(Error::new(Kind::Integrity, text));
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
            let is_source =
                |node: &NodeIndex| *node != task.target || is_planted(Mutant::RebuildFromTarget);
            let nodes = nodes.filter(|node| is_source(node)).take(SOURCES_MAX);
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
        let name = self.node_name(node);
        tracing::warn!(node = name, chunk = %receipt.handle, %found, catalog = %digest,
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
