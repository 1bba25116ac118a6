//! I14, word by word: one answer of `status` does not contradict itself, nor
//! what is on the disks.
//!
//! A count of the stripes is older than what the same answer says of the
//! nodes. An alarm must end with its cause: no stripe is said to be at risk
//! when every node is online and holds its copies. And no stripe is said to
//! be full whose node the same answer says is away.

use std::collections::{BTreeMap, BTreeSet};

use dfs_core::api::{ClusterStatus, NodeState, ReasonKind};
use dfs_core::id::{Handle, NodeIndex};

use super::state::Run;
use super::truth::Truth;
use crate::scenario::FaultKind;

/// How long a count may still speak of a copy that was made, or not yet speak
/// of one that was named.
const COUNT_TIME_MAX_MS: u64 = 5_000;

impl Run<'_> {
    /// Compares what `status` says of stripes with what it says of nodes, and
    /// with what they hold. `factor` stretches the times.
    pub(super) async fn compare_words(
        &self,
        truth: &mut Truth,
        status: &ClusterStatus,
        now_ms: u64,
        factor: u64,
    ) {
        truth.lacking_ms.get_or_insert(now_ms);
        let is_alarm = |kind: ReasonKind| {
            let alarms = [
                ReasonKind::StripesLost,
                ReasonKind::StripesUnreachable,
                ReasonKind::StripesAtRisk,
            ];
            alarms.contains(&kind)
        };
        let sentence = status.verdict.sentence();
        let is_online = status.nodes.iter().all(|node| node.state == NodeState::Online);
        // Forged copies are missing, and look as if they were there.
        let is_forged = self.scenario.faults.iter().any(|fault| fault.what == FaultKind::ForgeCopy);
        let alarms = status.verdict.reasons.iter().any(|reason| is_alarm(reason.kind));
        // The time is counted from the last look that an alarm was right at, or
        // that found none.
        if !alarms || !is_online || is_forged || !self.is_whole().await {
            truth.lacking_ms = Some(now_ms);
        }
        let made_ms = self.world.net().last_made_ms();
        let since_ms = made_ms.max(truth.lacking_ms.unwrap_or(now_ms));
        if now_ms - since_ms.min(now_ms) > COUNT_TIME_MAX_MS * factor {
            let text = format!(
                "the verdict is {sentence:?}, every node is online, and every copy is there"
            );
            self.violates("I14", text);
            return;
        }
        if status.health.full == 0 || status.health.lacking() > 0 {
            return;
        }
        let Some(coordinator) = self.cluster.coordinator_role() else { return };
        let catalog = coordinator.catalog();
        let is_away = |node: &NodeIndex| {
            let name = catalog.member(*node).map(|member| &member.id);
            let of = status.nodes.iter().find(|of| Some(&of.id) == name);
            of.is_some_and(|node| {
                matches!(
                    node.state,
                    NodeState::Offline
                        | NodeState::Absent
                        | NodeState::NoVolume
                        | NodeState::CutOff
                )
            })
        };
        let is_old = |since_ms: u64| now_ms - since_ms > COUNT_TIME_MAX_MS * factor;
        let mut missing: BTreeMap<Handle, BTreeSet<NodeIndex>> = BTreeMap::new();
        for ((node, handle), since_ms) in &truth.missing {
            if is_old(*since_ms) && is_away(node) {
                missing.entry(*handle).or_default().insert(*node);
            }
        }
        for (stripe, _) in catalog.stripes_after(None) {
            for (slot, chunk) in stripe.chunks.iter().enumerate() {
                let handle = stripe.handle(slot);
                let away = missing.get(&handle);
                let named = away.and_then(|away| chunk.copies.iter().find(|of| away.contains(of)));
                if let Some(node) = named {
                    let text = format!(
                        "the verdict is {sentence:?}, every stripe is said to be full, and \
                         {handle} has a copy on {node:?}, which is away"
                    );
                    self.violates("I14", text);
                    return;
                }
            }
        }
    }

    /// True when every layout has all copies that its policy names, on nodes
    /// of their own, and every copy is good.
    async fn is_whole(&self) -> bool {
        let Some(coordinator) = self.cluster.coordinator_role() else { return false };
        let catalog = coordinator.catalog();
        let mut held: BTreeMap<NodeIndex, BTreeSet<Handle>> = BTreeMap::new();
        for member in catalog.members() {
            let host = self.world.host(member.id.as_str());
            if !host.is_up() || host.is_paused() || host.disk().is_unmounted() {
                return false;
            }
            let Some(good) = self.good_on(member.id.as_str()).await else { return false };
            held.insert(member.index, good);
        }
        catalog.stripes_after(None).all(|(stripe, policy)| {
            let mut nodes = BTreeSet::new();
            stripe.chunks.iter().enumerate().all(|(slot, chunk)| {
                let handle = stripe.handle(slot);
                let is_there =
                    |node: &NodeIndex| held.get(node).is_some_and(|of| of.contains(&handle));
                chunk.copies.len() >= policy.copies_of(stripe.shape, slot)
                    && chunk.copies.iter().all(|node| nodes.insert(*node) && is_there(node))
            })
        })
    }
}
