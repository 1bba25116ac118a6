//! Deleting what nothing refers to, and ending uploads that were left alone.
//!
//! A chunk is destroyed only if the catalog does not name that copy, no live
//! upload may need it, its handle is one that this catalog handed out, and
//! its node told of it in two complete inventories with the grace period
//! between them. A copy of a chunk that a file needs goes to [`super::trim`],
//! which also has the named copies verified first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::role::Coordinator;
use super::survey::SLICE_PAUSE;
use crate::api::{Error, HANDLES_PER_CALL_MAX, Kind, NodeState, Result};
use crate::catalog::Catalog;
use crate::id::{Handle, NodeIndex};
use crate::limit::limit;
use crate::mark::{Mark, reached};
use crate::mutant::{Mutant, is_planted};

/// How often it is looked for what can go.
const SWEEP_INTERVAL: Duration = Duration::from_secs(2);
/// How long a node may take to delete one call's chunks.
const DELETE_TIMEOUT: Duration = Duration::from_secs(30);
/// Slices of one sweep: it looks at so many times as many copies as one call
/// of [`crate::presence::Presence::destroyable`], and clients come in between.
const SLICES_PER_SWEEP_MAX: usize = 16;
/// The most copies that one sweep finds: no node is told of more at once.
const DESTROYED_PER_SWEEP_MAX: usize = HANDLES_PER_CALL_MAX;

impl Coordinator {
    /// Sweeps for as long as the coordinator runs.
    pub(super) async fn sweep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            let now_ms = self.now_ms();
            {
                let mut state = self.state();
                state.members.forget_promises();
                state.mending.forget_deletions(now_ms);
                for upload in state.uploads.lapse(now_ms, self.settings.upload_idle_max_ms) {
                    tracing::info!(%upload, "an upload was left alone and has lapsed");
                    reached(Mark::UploadLapsed);
                }
            }
            if !self.leads() {
                continue;
            }
            let Ok(destroyable) = self.destroyable().await else { return };
            let deletions = destroyable.into_iter().map(|(node, handles)| {
                let coordinator = self.clone();
                async move {
                    let count = handles.len();
                    let name = coordinator.node_name(node);
                    match coordinator.delete_on(node, handles).await {
                        Ok(()) => tracing::info!(node = name, count, "deleted chunks"),
                        Err(error) => tracing::debug!(%error, "chunks could not be deleted"),
                    }
                }
            });
            join_all(deletions).await;
        }
    }

    /// Copies that may be destroyed now, by node, one call's worth each. What
    /// the decision rests on is durable: no power cut brings back a file whose
    /// chunks were destroyed.
    async fn destroyable(&self) -> Result<BTreeMap<NodeIndex, Vec<Handle>>> {
        let mut by_node: BTreeMap<NodeIndex, Vec<Handle>> = BTreeMap::new();
        let mut room = limit(DESTROYED_PER_SWEEP_MAX, 16);
        for _ in 0..SLICES_PER_SWEEP_MAX {
            for (node, handles) in self.destroyable_in_slice(room).await? {
                room -= handles.len();
                by_node.entry(node).or_default().extend(handles);
            }
            if room == 0 || !self.state().members.presence.is_mid_sweep() {
                break;
            }
            reached(Mark::SweepSecondSlice);
            tokio::time::sleep(SLICE_PAUSE).await;
        }
        Ok(by_node)
    }

    /// The same among the copies that come next, at most `destroyed_max`.
    async fn destroyable_in_slice(
        &self,
        destroyed_max: usize,
    ) -> Result<BTreeMap<NodeIndex, Vec<Handle>>> {
        let now_ms = self.now_ms();
        let is_hasty = is_planted(Mutant::ForgetGrace);
        let grace_ms = if is_hasty { 0 } else { self.settings.delete_grace_ms };
        let decide = |catalog: &Catalog| {
            let mut by_node: BTreeMap<NodeIndex, Vec<Handle>> = BTreeMap::new();
            let handed_out = catalog.cluster().map_or(0, |cluster| cluster.next_number);
            let mut state = self.state();
            let state = &mut *state;
            let (uploads, mending) = (&state.uploads, &state.mending);
            let is_wanted = |node: NodeIndex, handle: Handle| {
                let is_named = catalog.chunk(handle).is_some_and(|(stripe, slot)| {
                    stripe.chunks.get(slot).is_some_and(|chunk| chunk.copies.contains(&node))
                });
                // A handle that was never handed out is another catalog's:
                // an older copy of this one, most likely. Hands off.
                let is_foreign = handle.0 >= handed_out || catalog.is_foreign(handle.0);
                let is_guarded = uploads.guards(handle) && !is_planted(Mutant::ForgetGrace);
                let is_rebuilt =
                    mending.is_running(handle) && !is_planted(Mutant::SweepsUnderRebuild);
                is_named || is_foreign || is_guarded || is_rebuilt
            };
            let presence = &mut state.members.presence;
            let found = presence.destroyable(now_ms, grace_ms, destroyed_max, is_wanted);
            for (node, handle) in found {
                let chunk = catalog.chunk(handle);
                match chunk.and_then(|(stripe, slot)| stripe.chunks.get(slot)) {
                    // A file needs this chunk. The copy may be the only one
                    // left, so it goes after the named ones are verified, and
                    // stays while one of them is not there.
                    Some(chunk) if !is_planted(Mutant::TrimEarly) => {
                        if state.members.are_all_there(handle, &chunk.copies, now_ms) {
                            state.trimming.add(node, handle);
                        } else {
                            state.members.presence.keep(node, handle);
                        }
                    }
                    _ => by_node.entry(node).or_default().push(handle),
                }
            }
            by_node.retain(|node, _| state.members.state(*node, now_ms) == NodeState::Online);
            for (node, handles) in &by_node {
                state.mending.note_deleting(*node, handles, now_ms);
            }
            by_node
        };
        self.door.read(decide).await
    }

    pub(super) async fn delete_on(&self, node: NodeIndex, handles: Vec<Handle>) -> Result<()> {
        let Some(target) = self.targets(&[node]).pop() else { return Ok(()) };
        let peer = self.env.peers.node(&target.address);
        let call = peer.delete_chunks(self.context, handles.clone());
        let answer = tokio::time::timeout(DELETE_TIMEOUT, call).await;
        answer.map_err(|_| {
            Error::new(Kind::Unavailable, format!("{} did not delete in time", target.node))
        })??;
        reached(Mark::UnwantedDeleted);
        self.state().mending.note_deleted(node, &handles);
        Ok(())
    }
}
