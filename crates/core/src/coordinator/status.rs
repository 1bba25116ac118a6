//! The cluster on one page.

use std::collections::BTreeSet;

use super::member::Live;
use super::role::{Coordinator, State};
use crate::api::{
    ClusterStatus, NodeState, NodeStatus, Promise, RepairStatus, Result, Stored, Usage, Verdict,
};
use crate::catalog::{ForeignRange, MemberRecord};
use crate::env::Durability;
use crate::id::{Handle, NodeIndex};
use crate::placement::{self, Candidate, PlacementRequest};
use crate::policy::{PlacementStrategy, PolicySpec, StripeShape};
use crate::presence::Summary;
use crate::verdict::{FilesAffected, Known, LedgerKnown, NodeKnown};

/// How long a refused announcement under a node's id is shown.
const REFUSED_SHOWN_MS: u64 = 30_000;

/// What a promise depends on.
#[derive(PartialEq, Eq)]
pub(super) struct Asked {
    policy: PolicySpec,
    strategy: PlacementStrategy,
    candidates: Vec<Candidate>,
}

impl Coordinator {
    /// See [`crate::api::CoordinatorService::status`].
    pub(super) async fn cluster_status(&self) -> Result<ClusterStatus> {
        let (members, totals, policy, placement) = self
            .door
            .read(|catalog| {
                let members: Vec<MemberRecord> = catalog.members().cloned().collect();
                let cluster = catalog.cluster().expect("it was founded at the start");
                (members, catalog.totals(), cluster.policy, cluster.placement)
            })
            .await?;
        let candidates = self.candidates();
        let cannot_store = self.why_nothing_can_be_stored(&policy, placement, &candidates);
        let promise = self.promise(&policy, placement, candidates);
        let (leased, counted) = self.leased_members();
        let trouble = self.ledger_trouble();
        let is_stuck = trouble.is_some() || self.may_be_old().await;
        let makes_no_changes = is_stuck.then(|| self.does_not_lead().message);
        let kept_handles = self.door.peek(|catalog| {
            let range = |range: &ForeignRange| (Handle(range.start), Handle(range.end));
            catalog.foreign().map(range).collect()
        });
        let unknown = self.unknown();
        // A coordinator that makes no changes stores nothing, whatever room there is.
        let cannot_store = match &trouble {
            Some(_) => None,
            None => makes_no_changes.clone().or(cannot_store),
        };
        let (lost, full) = (self.door.why_lost(), self.door.why_full());
        let ledger = LedgerKnown {
            lost: trouble.as_deref().filter(|_| lost.is_some()),
            broken: trouble.as_deref().filter(|_| lost.is_none()),
            full: full.as_deref(),
        };
        let now_ms = self.now_ms();
        let state = self.state();
        let never_heard = self.never_heard(&state);
        let known: Vec<NodeKnown> = (members.iter())
            .map(|member| node_known(member, state.members.get(member.index), now_ms))
            .collect();
        let mut nodes: Vec<NodeStatus> = (members.into_iter())
            .map(|member| {
                let index = member.index;
                let live = state.members.get(index);
                let held = state.members.presence.summary(index);
                node_status(member, live, held, now_ms)
            })
            .collect();
        nodes.sort_by(|one, other| one.id.cmp(&other.id));
        let health = state.survey.health();
        let verdict = Verdict::of(&Known {
            uptime_ms: now_ms,
            is_surveyed: state.is_surveyed,
            stripes: health,
            files: FilesAffected::of(&state.survey),
            nodes: &known,
            never_heard: &never_heard,
            cannot_store: cannot_store.as_deref(),
            ledger,
        });
        let expected = nodes.len().saturating_add(never_heard.len());
        Ok(ClusterStatus {
            cluster: self.context.cluster,
            run: self.context.run,
            leased: u32::try_from(leased.len()).unwrap_or(u32::MAX),
            counted: u32::try_from(counted.len()).unwrap_or(u32::MAX),
            makes_no_changes,
            kept_handles,
            unknown,
            version: self.settings.version.clone(),
            now_ms: self.env.wall.now_ms(),
            uptime_s: now_ms / 1000,
            policy,
            placement,
            is_relaxed: self.settings.durability == Durability::Relaxed,
            verdict,
            promise,
            stored: Stored::of(&state.survey),
            nodes_expected: u32::try_from(expected).unwrap_or(u32::MAX),
            nodes,
            usage: Usage {
                files: totals.files,
                chunks: totals.chunks,
                logical_bytes: totals.logical_bytes,
                stored_bytes: totals.stored_bytes,
                raw_bytes: totals.raw_bytes,
            },
            health,
            repair: self.repair_status(&state),
            garbage_bytes: state.members.presence.unwanted_bytes(),
        })
    }

    /// What the policy promises on `candidates`. It is found by many trials,
    /// so the latest answer is kept for as long as it is asked the same.
    fn promise(
        &self,
        policy: &PolicySpec,
        strategy: PlacementStrategy,
        mut candidates: Vec<Candidate>,
    ) -> Promise {
        for candidate in &mut candidates {
            // What the answer does not depend on.
            (candidate.free, candidate.note) = (0, None);
        }
        let asked = Asked { policy: *policy, strategy, candidates };
        if let Some((known, promise)) = &self.state().promised
            && *known == asked
        {
            return promise.clone();
        }
        let (candidates, allow_unsafe) = (&asked.candidates, self.settings.allow_unsafe);
        let promise = placement::promise(policy, strategy, candidates, allow_unsafe);
        self.state().promised = Some((asked, promise.clone()));
        promise
    }

    /// Addresses of `--nodes` from which no node ever answered.
    fn never_heard(&self, state: &State) -> Vec<String> {
        let is_member =
            |address: &str| state.members.iter().any(|(_, live)| live.address == *address);
        let is_missing =
            |address: &&String| !state.members.answered.contains(*address) && !is_member(address);
        self.settings.nodes.iter().filter(is_missing).cloned().collect()
    }

    /// Why a full stripe of the cluster's policy cannot be stored now, space
    /// included; `None` while it can.
    fn why_nothing_can_be_stored(
        &self,
        policy: &PolicySpec,
        strategy: PlacementStrategy,
        candidates: &[Candidate],
    ) -> Option<String> {
        if candidates.is_empty() {
            return Some("the cluster has no node".to_owned());
        }
        let policy = match policy.resolve(candidates.len()) {
            Ok(policy) => policy,
            Err(refusal) => return Some(refusal.to_string()),
        };
        let request = PlacementRequest {
            strategy,
            candidates,
            policy: &policy,
            shape: StripeShape { coding: policy.coding, data: policy.coding.data },
            key: 0,
            chunk_bytes: u64::from(policy.chunk_size),
            excluded: &BTreeSet::new(),
            allow_unsafe: self.settings.allow_unsafe,
            is_strict: false,
        };
        placement::choose(&request).err().map(|refusal| refusal.to_string())
    }

    /// What repair is doing.
    pub(super) fn repair_status(&self, state: &State) -> RepairStatus {
        state.mending.status(still_waiting(state), self.repair_begins_in_s(state))
    }

    /// Seconds until the earliest of the nodes that are gone is given up for
    /// lost, if one that is not yet holds copies.
    fn repair_begins_in_s(&self, state: &State) -> Option<u64> {
        let now_ms = self.now_ms();
        let repair_after_ms = self.settings.repair_after_ms;
        let waits = |(index, live): (NodeIndex, &Live)| {
            live.health.gone_since_ms(now_ms)?;
            let due_ms = live.health.repair_due_ms(repair_after_ms);
            let holds = state.survey.copies_on(index) > 0;
            (holds && due_ms > now_ms).then(|| (due_ms - now_ms).div_ceil(1000))
        };
        state.members.iter().filter_map(waits).min()
    }
}

/// Copies that are to be made: those that the last survey found, without those
/// that were made since it began.
fn still_waiting(state: &State) -> u64 {
    let done = state.mending.done().saturating_sub(state.done_before_survey);
    state.survey.waiting().saturating_sub(done)
}

fn node_known(member: &MemberRecord, live: Option<&Live>, now_ms: u64) -> NodeKnown {
    let gone_since_ms = live.and_then(|live| live.health.gone_since_ms(now_ms));
    NodeKnown {
        id: member.id.clone(),
        state: live.map_or(NodeState::Unknown, |live| live.health.state(now_ms)),
        gone_for_ms: gone_since_ms.map(|since_ms| now_ms.saturating_sub(since_ms)),
        trouble: live.and_then(|live| live.trouble.clone()),
        refuses: live.and_then(|live| live.refuses.clone()),
        cut_off: live.and_then(|live| live.reach.cut_off()),
        refused: live.and_then(|live| shown_refusal(live, now_ms)),
    }
}

/// The refusal of another process under this node's name, while it is shown.
fn shown_refusal(live: &Live, now_ms: u64) -> Option<String> {
    let (at_ms, reason) = live.refused.as_ref()?;
    (now_ms.saturating_sub(*at_ms) < REFUSED_SHOWN_MS).then(|| reason.clone())
}

fn node_status(
    member: MemberRecord,
    live: Option<&Live>,
    held: Summary,
    now_ms: u64,
) -> NodeStatus {
    let heard_ms = live.and_then(|live| live.health.heard_ms());
    let refused = live.and_then(|live| shown_refusal(live, now_ms));
    NodeStatus {
        id: member.id,
        address: member.address,
        zone: member.zone,
        state: live.map_or(NodeState::Unknown, |live| live.health.state(now_ms)),
        heard_ms_ago: heard_ms.map(|heard_ms| now_ms.saturating_sub(heard_ms)),
        space: live.map(|live| live.space).unwrap_or_default(),
        chunks: held.chunks,
        quarantined: held.quarantined,
        version: live.map(|live| live.version.clone()).unwrap_or_default(),
        trouble: live
            .and_then(|live| live.trouble.clone().or_else(|| live.refuses.clone()))
            .or_else(|| live.and_then(|live| live.reach.cut_off()))
            .or(refused),
        is_slow: live.is_some_and(|live| live.is_slow(now_ms)),
    }
}
