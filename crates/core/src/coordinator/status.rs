//! The cluster on one page.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::member::Live;
use super::role::{Coordinator, State};
use crate::api::{
    ClusterStatus, NodeState, NodeStatus, Promise, RepairStatus, Result, Stored, Usage, Verdict,
};
use crate::catalog::{ForeignRange, MemberRecord};
use crate::env::Durability;
use crate::id::{Handle, NodeIndex};
use crate::mutant::{Mutant, is_planted};
use crate::placement::{self, Candidate, PlacementError, PlacementRequest};
use crate::policy::{PlacementStrategy, PolicySpec, StripeShape};
use crate::presence::Summary;
use crate::repair::{Change, StripeHealth, Survey};
use crate::verdict::{FilesAffected, Known, LedgerKnown, NodeKnown, OtherCatalog};

/// How long a refused announcement under a node's id is shown.
const REFUSED_SHOWN_MS: u64 = 30_000;

/// The most nodes that a sentence names.
const NAMED_MAX: usize = 3;

/// What a promise depends on.
#[derive(PartialEq, Eq)]
pub(super) struct Asked {
    policy: PolicySpec,
    strategy: PlacementStrategy,
    candidates: Vec<Candidate>,
}

/// What the state of the coordinator says of the cluster at one moment.
struct Seen {
    candidates: Vec<Candidate>,
    known: Vec<NodeKnown>,
    nodes: Vec<NodeStatus>,
    never_heard: Vec<String>,
    survey: Arc<Survey>,
    is_surveyed: bool,
    /// The stripes by condition, as far as the last survey still holds.
    health: StripeHealth,
    recount: Option<String>,
    thin_files: (u64, i32),
    repair: RepairStatus,
    garbage_bytes: u64,
}

impl Coordinator {
    /// See [`crate::api::CoordinatorService::status`].
    pub(super) async fn cluster_status(&self) -> Result<ClusterStatus> {
        let slow = self.door.why_slow().await;
        let (members, totals, policy, placement) = self.door.peek(|catalog| {
            let members: Vec<MemberRecord> = catalog.members().cloned().collect();
            let cluster = catalog.cluster().expect("it was founded at the start");
            (members, catalog.totals(), cluster.policy, cluster.placement)
        });
        let (leased, counted) = self.leased_members();
        let trouble = self.ledger_trouble();
        let is_stuck = trouble.is_some() || self.may_be_old().await;
        let makes_no_changes = is_stuck.then(|| self.does_not_lead().message);
        let kept_handles = self.door.peek(|catalog| {
            let range = |range: &ForeignRange| (Handle(range.start), Handle(range.end));
            catalog.foreign().map(range).collect()
        });
        let unknown = self.unknown();
        let now_ms = self.now_ms();
        let seen = self.seen_of(&members, now_ms);
        let (cannot_store, stores_thinly) =
            self.why_not_stored_whole(&policy, placement, &seen.candidates);
        // What full nodes keep from new files, these are not promised.
        let takes_chunks = |mut candidate: Candidate| {
            candidate.is_writable &=
                stores_thinly.is_none() || candidate.free >= u64::from(policy.chunk_size);
            candidate
        };
        let candidates = seen.candidates.into_iter().map(takes_chunks).collect();
        let hindrance = self.lead.hindrance();
        let other_catalog = hindrance.as_ref().map(|hindrance| OtherCatalog {
            reason: &hindrance.reason,
            is_empty: hindrance.is_empty,
        });
        let promise = match hindrance {
            Some(_) => Promise {
                nodes_lost_max: None,
                zones_lost_max: None,
                sentence: "nothing can be stored through this coordinator".to_owned(),
            },
            None => self.promise(&policy, placement, candidates),
        };
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
            slow: slow.as_deref(),
        };
        let verdict = Verdict::of(&Known {
            uptime_ms: now_ms,
            is_surveyed: seen.is_surveyed,
            stripes: seen.health,
            recount: seen.recount.as_deref(),
            thin_files: seen.thin_files,
            files: FilesAffected::of(&seen.survey),
            nodes: &seen.known,
            never_heard: &seen.never_heard,
            cannot_store: cannot_store.as_deref(),
            stores_thinly: stores_thinly.as_deref(),
            ledger,
            other_catalog,
        });
        let stored = match other_catalog {
            Some(_) => Stored::of_other_catalog(),
            None => Stored::of(&seen.survey, seen.health, seen.thin_files),
        };
        let expected = seen.nodes.len().saturating_add(seen.never_heard.len());
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
            stored,
            nodes_expected: u32::try_from(expected).unwrap_or(u32::MAX),
            nodes: seen.nodes,
            usage: Usage {
                files: totals.files,
                chunks: totals.chunks,
                logical_bytes: totals.logical_bytes,
                stored_bytes: totals.stored_bytes,
                raw_bytes: totals.raw_bytes,
            },
            health: seen.health,
            repair: seen.repair,
            garbage_bytes: seen.garbage_bytes,
        })
    }

    /// What is known of `members`, all of it at one moment: what is said of
    /// one thing fits what is said of another.
    fn seen_of(&self, members: &[MemberRecord], now_ms: u64) -> Seen {
        let state = self.state();
        let known = |member| node_known(member, state.members.get(member.index), now_ms);
        let status = |member: &MemberRecord| {
            let held = state.members.presence.summary(member.index);
            node_status(member.clone(), state.members.get(member.index), held, now_ms)
        };
        let mut nodes: Vec<NodeStatus> = members.iter().map(status).collect();
        nodes.sort_by(|one, other| one.id.cmp(&other.id));
        let candidate = |member| state.members.candidate(member, now_ms);
        let counted = state.survey.health();
        let (change, thin_files) = match is_planted(Mutant::RepeatsOldCount) {
            true => (Change::default(), (0, 0)),
            false => (self.changed_since_survey(&state), state.thin_files.unseen()),
        };
        Seen {
            candidates: members.iter().map(candidate).collect(),
            known: members.iter().map(known).collect(),
            nodes,
            never_heard: self.never_heard(&state),
            survey: state.survey.clone(),
            is_surveyed: state.surveyed_from.is_some(),
            health: counted.after(&change),
            recount: recount(&change, counted, members),
            thin_files,
            repair: self.repair_status(&state),
            garbage_bytes: state.members.presence.unwanted_bytes(),
        }
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
    /// included; and where it can, why it lacks copies for want of room.
    fn why_not_stored_whole(
        &self,
        policy: &PolicySpec,
        strategy: PlacementStrategy,
        candidates: &[Candidate],
    ) -> (Option<String>, Option<String>) {
        if candidates.is_empty() {
            return (Some("the cluster has no node".to_owned()), None);
        }
        let policy = match policy.resolve(candidates.len()) {
            Ok(policy) => policy,
            Err(refusal) => return (Some(refusal.to_string()), None),
        };
        let request = PlacementRequest {
            strategy,
            candidates,
            policy: &policy,
            shape: StripeShape { coding: policy.coding, data: policy.coding.data },
            key: 0,
            chunk_bytes: if is_planted(Mutant::NeverLooksAtRoom) {
                0
            } else {
                u64::from(policy.chunk_size)
            },
            excluded: &BTreeSet::new(),
            allow_unsafe: self.settings.allow_unsafe,
            is_strict: false,
        };
        if let Err(refusal) = placement::choose(&request) {
            return (Some(refusal.to_string()), None);
        }
        // Nodes that are away are told of by themselves; full ones are not.
        match placement::choose(&PlacementRequest { is_strict: true, ..request }) {
            Err(PlacementError::NoSpace(why)) => (None, Some(why)),
            Ok(_) | Err(_) => (None, None),
        }
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

/// Why the stripes are counted again, with the bad news of the last count.
fn recount(change: &Change, counted: StripeHealth, members: &[MemberRecord]) -> Option<String> {
    if change.is_none() {
        return None;
    }
    let changed = members.iter().filter(|member| change.nodes.contains(&member.index));
    let names: Vec<&str> = changed.map(|member| member.id.as_str()).take(NAMED_MAX).collect();
    let more = if change.nodes.len() > names.len() { " and others" } else { "" };
    let why = match names.is_empty() {
        true => "copies changed".to_owned(),
        false => format!("{}{more} came or went", names.join(", ")),
    };
    let bad: Vec<String> = [
        (counted.lost, "lost"),
        (counted.unreachable, "unreachable"),
        (counted.at_risk, "at risk"),
    ]
    .into_iter()
    .filter(|(count, _)| change.is_better && *count > 0)
    .map(|(count, word)| format!("{count} {word}"))
    .collect();
    let before = match bad.is_empty() {
        true => String::new(),
        false => format!(" (the last count: {})", bad.join(", ")),
    };
    Some(format!("{why}{before}"))
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
        silent_for_ms: live
            .and_then(|live| live.health.heard_ms())
            .map(|heard_ms| now_ms.saturating_sub(heard_ms)),
        trouble: live.and_then(|live| live.trouble.clone().or_else(|| live.unadoptable.clone())),
        refuses: live.and_then(|live| live.refuses.clone()),
        cut_off: live.and_then(|live| live.reach.cut_off()),
        refused: live.and_then(|live| shown_refusal(live, now_ms)),
    }
}

/// The refusal of another process under this node's name, while it is shown:
/// as long as nothing was heard of the node since, and a little while.
fn shown_refusal(live: &Live, now_ms: u64) -> Option<String> {
    let (at_ms, reason) = live.refused.as_ref()?;
    let is_last_word = live.health.heard_ms().is_none_or(|heard_ms| heard_ms < *at_ms);
    let is_recent = now_ms.saturating_sub(*at_ms) < REFUSED_SHOWN_MS;
    (is_last_word || is_recent).then(|| reason.clone())
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
            .and_then(|live| live.why_not_well().cloned())
            .or_else(|| live.and_then(|live| live.reach.cut_off()))
            .or(refused),
        is_slow: live.is_some_and(|live| live.is_slow(now_ms)),
    }
}
