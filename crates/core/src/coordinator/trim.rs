//! Trimming: deleting good copies that a layout does not name, of chunks that
//! a file still needs.
//!
//! Such a copy may be the last one: an older catalog that was put back names
//! nodes that gave their copies up since. So each one is a source for readers
//! and for repair, and it is deleted only while every copy that the layout
//! names is there, and after the nodes of all these copies have read and
//! verified them. That costs a read of each named copy; see
//! `docs/decisions/0013-a-surplus-copy-goes-last.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::role::Coordinator;
use crate::api::{Error, Kind, NodeState, Result};
use crate::catalog::Catalog;
use crate::data::digest::Digest;
use crate::id::{Handle, NodeIndex};
use crate::mutant::{Mutant, is_planted};

/// The pause between two rounds.
const TRIM_INTERVAL: Duration = Duration::from_secs(1);
/// The most surplus copies that wait for their turn; the sweep finds the rest
/// again.
const WAITING_MAX: usize = 4096;
/// The most chunks whose named copies are verified at once.
const VERIFIED_AT_ONCE_MAX: usize = 8;
/// How long the verification of one copy may take.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(300);

/// Surplus copies that wait for the verification of the named ones.
#[derive(Debug, Default)]
pub(super) struct Trimming {
    waiting: BTreeSet<(Handle, NodeIndex)>,
}

impl Trimming {
    /// Takes a surplus copy, unless too many wait already.
    pub(super) fn add(&mut self, node: NodeIndex, handle: Handle) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.insert((handle, node));
        }
    }

    /// Takes the next few chunks out, each with its surplus copies.
    fn take(&mut self, chunks_max: usize) -> BTreeMap<Handle, Vec<NodeIndex>> {
        let mut taken: BTreeMap<Handle, Vec<NodeIndex>> = BTreeMap::new();
        while let Some((handle, node)) = self.waiting.first().copied() {
            if taken.len() >= chunks_max && !taken.contains_key(&handle) {
                break;
            }
            self.waiting.remove(&(handle, node));
            taken.entry(handle).or_default().push(node);
        }
        taken
    }
}

/// The copies of one chunk that its layout names, and their digest.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    digest: Digest,
    copies: Vec<NodeIndex>,
}

impl Coordinator {
    /// Deletes surplus copies for as long as the coordinator runs.
    pub(super) async fn trim(self: Arc<Self>) {
        loop {
            tokio::time::sleep(TRIM_INTERVAL).await;
            while self.leads() {
                let chunks = self.state().trimming.take(VERIFIED_AT_ONCE_MAX);
                if chunks.is_empty() {
                    break;
                }
                let trims = chunks.into_iter().map(|(handle, nodes)| {
                    let coordinator = self.clone();
                    async move { coordinator.trim_chunk(handle, &nodes).await }
                });
                join_all(trims).await;
            }
        }
    }

    /// Deletes the copies of a chunk on `surplus` if the named ones verify.
    async fn trim_chunk(&self, handle: Handle, surplus: &[NodeIndex]) {
        let Some(named) = self.door.peek(|catalog| named(catalog, handle)) else { return };
        if let Err(error) = self.verify_named(handle, &named).await {
            tracing::debug!(chunk = %handle, reason = %error.message,
                "a surplus copy stays: a copy that the layout names is not verified");
            // The copies begin their grace period anew: that is the pause
            // before the next try.
            let mut state = self.state();
            for node in surplus {
                state.members.presence.keep(*node, handle);
            }
            return;
        }
        let now_ms = self.now_ms();
        let decide = |catalog: &Catalog| {
            let mut state = self.state();
            let state = &mut *state;
            let is_still = self::named(catalog, handle).as_ref() == Some(&named)
                && state.members.are_all_there(handle, &named.copies, now_ms)
                && (!state.mending.is_running(handle) || is_planted(Mutant::SweepsUnderRebuild));
            let nodes = surplus.iter().copied().filter(|node| {
                is_still
                    && !named.copies.contains(node)
                    && state.members.state(*node, now_ms) == NodeState::Online
            });
            let nodes: Vec<NodeIndex> = nodes.collect();
            for node in &nodes {
                state.mending.note_deleting(*node, &[handle], now_ms);
            }
            nodes
        };
        let Ok(nodes) = self.door.read(decide).await else { return };
        for node in nodes {
            let name = self.node_name(node);
            match self.delete_on(node, vec![handle]).await {
                Ok(()) => tracing::debug!(node = name, chunk = %handle, "trimmed a copy"),
                Err(error) => tracing::debug!(%error, "a surplus copy could not be deleted"),
            }
        }
    }

    /// Asks the node of every named copy to read and verify it.
    async fn verify_named(&self, handle: Handle, named: &Named) -> Result<()> {
        let targets = self.targets(&named.copies);
        if targets.len() != named.copies.len() {
            return Err(Error::new(Kind::NotFound, "a node that holds it is no member".to_owned()));
        }
        let checks = targets.into_iter().zip(&named.copies).map(|(target, index)| async move {
            let peer = self.env.peers.node(&target.address);
            let call = peer.verify_chunk(self.context, handle);
            let answer = tokio::time::timeout(VERIFY_TIMEOUT, call).await;
            let receipt = answer.map_err(|_| {
                let text = format!("node {} did not verify it in time", target.node);
                Error::new(Kind::Unavailable, text)
            })??;
            if receipt.handle == handle && receipt.seal.digest == named.digest {
                return Ok(());
            }
            self.compare_receipt(*index, &receipt);
            let text = format!(
                "the copy on node {} has SHA-256 {}, the catalog has {}",
                target.node, receipt.seal.digest, named.digest
            );
            Err(Error::new(Kind::Integrity, text))
        });
        join_all(checks).await.into_iter().collect()
    }
}

/// Returns the named copies of a chunk that has as many as its policy wants.
fn named(catalog: &Catalog, handle: Handle) -> Option<Named> {
    let (stripe, slot) = catalog.chunk(handle)?;
    let chunk = stripe.chunks.get(slot)?;
    let policy = &catalog.file_by_id(stripe.file)?.policy;
    let is_full = chunk.copies.len() >= policy.copies_of(stripe.shape, slot);
    is_full.then(|| Named { digest: chunk.digest, copies: chunk.copies.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_surplus_copies_of_a_chunk_are_taken_together_and_few_chunks_at_once() {
        let mut trimming = Trimming::default();
        for (node, handle) in [(3, 7), (1, 7), (2, 9), (1, 8)] {
            trimming.add(NodeIndex(node), Handle(handle));
        }
        let taken = trimming.take(2);
        let nodes = |handle| taken.get(&Handle(handle)).cloned();
        assert_eq!(nodes(7), Some(vec![NodeIndex(1), NodeIndex(3)]));
        assert_eq!((nodes(8), nodes(9)), (Some(vec![NodeIndex(1)]), None));
        assert_eq!(trimming.take(2).len(), 1);
    }
}
