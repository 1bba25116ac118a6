//! Fetching inventories: the coordinator asks a node for all that it holds when
//! its digest differs from what was heard of it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::member::Live;
use super::role::Coordinator;
use super::survey::SLICE_PAUSE;
use crate::api::{Error, Kind, NodeState, Result};
use crate::id::{NodeIndex, SessionId};
use crate::mark::{Mark, reached};
use crate::mutant::{Mutant, is_planted};
use crate::presence::Pulled;

/// How often inventories that differ are fetched.
const PULL_INTERVAL: Duration = Duration::from_millis(250);
/// How long one page of an inventory may take.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);

impl Coordinator {
    /// Fetches the inventories of nodes whose digests differ from what was
    /// heard of them.
    pub(super) async fn pull_inventories(self: Arc<Self>) {
        loop {
            let wanted: Vec<(NodeIndex, SessionId, String)> = {
                let now_ms = self.now_ms();
                let state = self.state();
                let wants = |live: &Live| {
                    live.wants_inventory && live.health.state(now_ms) == NodeState::Online
                };
                (state.members.iter())
                    .filter(|(_, live)| wants(live))
                    .filter_map(|(i, live)| Some((i, live.session?, live.address.clone())))
                    .collect()
            };
            let pulls = wanted.into_iter().map(|(index, session, address)| {
                let coordinator = self.clone();
                async move {
                    if let Err(error) = coordinator.pull_inventory(index, session, &address).await {
                        tracing::debug!(%address, %error, "an inventory could not be fetched");
                    }
                }
            });
            join_all(pulls).await;
            tokio::time::sleep(PULL_INTERVAL).await;
        }
    }

    async fn pull_inventory(
        &self,
        index: NodeIndex,
        session: SessionId,
        address: &str,
    ) -> Result<()> {
        let node = self.env.peers.node(address);
        let mut pulled = Pulled::default();
        let (mut version, mut after) = (None, None);
        loop {
            let page = tokio::time::timeout(PAGE_TIMEOUT, node.inventory(self.context, after));
            let page = page.await.map_err(|_| {
                Error::new(Kind::Unavailable, format!("no inventory from {address} in time"))
            })??;
            let rises = page.chunks.is_sorted_by(|one, next| one.handle < next.handle)
                && page.chunks.first().is_none_or(|first| Some(first.handle) > after);
            if !rises || (page.chunks.is_empty() && !page.is_last) {
                return Err(Error::new(
                    Kind::Invalid,
                    format!("the inventory of {address} is not in order"),
                ));
            }
            let is_first = version.is_none();
            version = version.or(Some(page.version));
            after = page.chunks.last().map(|chunk| chunk.handle);
            if is_first || !is_planted(Mutant::InventoryLosesPage) {
                pulled.add(page.chunks);
            }
            if page.is_last {
                break;
            }
            reached(Mark::InventorySecondPage);
        }
        while self.state().members.presence.carry_notes(index, &mut pulled) {
            reached(Mark::NotesSecondSlice);
            tokio::time::sleep(SLICE_PAUSE).await;
        }
        let now_ms = self.now_ms();
        let known_before = {
            let mut state = self.state();
            let members = &mut state.members;
            let Some(live) = members.live.get_mut(&index) else { return Ok(()) };
            if live.session != Some(session) {
                return Ok(());
            }
            live.wants_inventory = false;
            members.presence.replace(index, session, version.unwrap_or(0), pulled, now_ms)
        };
        self.look_again_if_changed();
        // Here, where nobody waits for it.
        drop(known_before);
        Ok(())
    }
}
