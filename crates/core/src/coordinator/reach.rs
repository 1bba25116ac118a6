//! Whether nodes can be connected to.
//!
//! A heartbeat shows that a node reaches the coordinator, not that anybody
//! reaches the node: its address may be wrong, or behind a firewall. So the
//! coordinator calls each node back: soon after it joins or changes its
//! address, from time to time, and when a client could not connect to it. A
//! node that does not answer is *cut off* until it does.

use std::sync::Arc;

use futures_util::future::join_all;

use super::adopt::in_time;
use super::member::Live;
use super::role::Coordinator;
use crate::api::{Error, Kind, Met, NODES_PER_REPORT_MAX, NodeReport, NodeState, Result};
use crate::health::{HEARTBEAT_INTERVAL, SUSPECT_AFTER_MS};
use crate::id::{NodeId, NodeIndex, SessionId};
use crate::mark::{Mark, reached};
use crate::mutant::{Mutant, is_planted};

/// How often a node is called that answered the last time.
const CALL_INTERVAL_MS: u64 = 30_000;
/// Calls in a row that fail before a node is cut off: one may be lost.
const FAILURES_MAX: u32 = 2;

/// What calls to one node came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Reach {
    /// When the last call ended.
    called_ms: Option<u64>,
    /// Calls that failed since one succeeded, and why the last one did.
    failures: u32,
    reason: Option<String>,
    /// A client could not reach it.
    is_asked: bool,
    /// When which run of it spoke last while it was not adopted.
    spoke: Option<(u64, SessionId)>,
}

impl Reach {
    /// Why the node is cut off, while it is.
    pub(super) fn cut_off(&self) -> Option<String> {
        let is_cut_off = self.failures >= FAILURES_MAX && !is_planted(Mutant::NeverCallsBack);
        self.reason.clone().filter(|_| is_cut_off)
    }

    /// Notes that the node speaks, though it was not adopted yet.
    pub(super) fn note_spoken(&mut self, now_ms: u64, session: SessionId) {
        self.spoke = Some((now_ms, session));
    }

    /// The run of the node that speaks and was not adopted.
    fn speaks(&self, now_ms: u64) -> Option<SessionId> {
        let is_now = |spoke_ms| now_ms.saturating_sub(spoke_ms) <= SUSPECT_AFTER_MS;
        self.spoke.filter(|(spoke_ms, _)| is_now(*spoke_ms)).map(|(_, session)| session)
    }

    fn is_due(&self, now_ms: u64) -> bool {
        let is_old = |called_ms| now_ms.saturating_sub(called_ms) >= CALL_INTERVAL_MS;
        self.is_asked || self.failures > 0 || self.called_ms.is_none_or(is_old)
    }
}

impl Coordinator {
    /// Calls nodes that are heard, one after the other as they are due.
    pub(super) async fn call_back(self: Arc<Self>) {
        loop {
            tokio::time::sleep(HEARTBEAT_INTERVAL).await;
            let calls = self.due_for_a_call().into_iter().map(|(index, address)| {
                let coordinator = self.clone();
                async move {
                    let answer = coordinator.call_node(index, &address).await;
                    coordinator.note_called(index, &address, answer.as_ref().err());
                }
            });
            join_all(calls).await;
        }
    }

    fn due_for_a_call(&self) -> Vec<(NodeIndex, String)> {
        let now_ms = self.now_ms();
        let state = self.state();
        let is_due = |index: NodeIndex, reach: &Reach| {
            let is_heard = matches!(
                state.members.state(index, now_ms),
                NodeState::Online | NodeState::CutOff | NodeState::NoVolume
            );
            is_heard && reach.is_due(now_ms)
        };
        (state.members.iter())
            .filter(|(index, live)| is_due(*index, &live.reach))
            .map(|(index, live)| (index, live.address.clone()))
            .collect()
    }

    /// Calls the node at `address`, which must be the member `index`.
    async fn call_node(&self, index: NodeIndex, address: &str) -> Result<()> {
        let hello = in_time(address, self.env.peers.node(address).hello()).await?;
        let folder = self.door.peek(|catalog| catalog.member(index).map(|member| member.folder));
        if folder.is_none_or(|folder| folder == hello.info.folder) {
            return Ok(());
        }
        let text =
            format!("at {address} another node answers, which calls itself {}", hello.info.id);
        Err(Error::new(Kind::WrongIdentity, text))
    }

    /// Notes how an adoption ended. Only a node that speaks shows by its
    /// silence that it cannot be connected to.
    pub(super) fn note_adoption(&self, address: &str, failure: Option<&Error>) {
        let now_ms = self.now_ms();
        let index = {
            let state = self.state();
            let is_it = |live: &Live| {
                live.address == *address
                    && (failure.is_none() || live.reach.speaks(now_ms).is_some())
            };
            state.members.iter().find(|(_, live)| is_it(live)).map(|(index, _)| index)
        };
        if let Some(index) = index {
            self.note_called(index, address, failure);
        }
    }

    /// Notes how a call to a node ended.
    pub(super) fn note_called(&self, index: NodeIndex, address: &str, failure: Option<&Error>) {
        let now_ms = self.now_ms();
        let mut state = self.state();
        let Some(live) = state.members.live.get_mut(&index) else { return };
        if live.address != address {
            return;
        }
        let was_cut_off = live.reach.cut_off().is_some();
        let reach = &mut live.reach;
        reach.called_ms = Some(now_ms);
        reach.is_asked = false;
        match failure {
            None => {
                if reach.failures > 0 {
                    live.slow_until_ms = 0;
                }
                (reach.failures, reach.reason) = (0, None);
            }
            Some(error) => {
                reach.failures = reach.failures.saturating_add(1);
                reach.reason =
                    Some(format!("the coordinator cannot connect to {address}: {}", error.message));
            }
        }
        let is_cut_off = live.reach.cut_off().is_some();
        if let Some(session) = live.reach.speaks(now_ms).filter(|_| is_cut_off) {
            live.health.heard(now_ms, session);
        }
        live.health.is_cut_off(is_cut_off, now_ms);
        if is_cut_off && !was_cut_off {
            reached(Mark::NodeCutOff);
        }
        if is_cut_off != was_cut_off {
            drop(state);
            let node = self.name_of(index);
            match failure {
                Some(error) => tracing::warn!(
                    %node, %address, reason = %error.message,
                    "a node is heard, and nobody can connect to it: it is cut off"
                ),
                None => tracing::info!(%node, %address, "a node can be connected to again"),
            }
        }
    }

    fn name_of(&self, index: NodeIndex) -> String {
        let name = |id: &NodeId| id.to_string();
        self.door
            .peek(|catalog| catalog.member(index).map(|member| name(&member.id)))
            .unwrap_or_default()
    }

    /// See [`crate::api::CoordinatorService::report_nodes`]. Of a node that a
    /// client could not reach nothing is believed: it is called.
    pub(super) fn note_reports(&self, reports: Vec<NodeReport>) -> Result<()> {
        if reports.len() > NODES_PER_REPORT_MAX {
            let text = format!(
                "{} nodes are reported on at once, at most {NODES_PER_REPORT_MAX} are allowed",
                reports.len()
            );
            return Err(Error::new(Kind::Invalid, text));
        }
        let members = self.member_indexes();
        let now_ms = self.now_ms();
        let mut state = self.state();
        for NodeReport { node, met } in reports {
            let Some(index) = members.get(&node) else { continue };
            match met {
                Met::Speed { is_slow } => state.members.note_speed(*index, is_slow, now_ms),
                Met::Unreachable(reason) => {
                    tracing::debug!(%node, %reason, "a client could not reach a node");
                    if let Some(live) = state.members.live.get_mut(index) {
                        live.reach.is_asked = true;
                    }
                }
            }
        }
        Ok(())
    }
}
