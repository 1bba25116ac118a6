//! Which nodes shall hold which copies.
//!
//! [`choose`] places one stripe, [`choose_one`] finds a node for one copy.
//! Both are pure: the same candidates and key give the same answer.
//!
//! # What a placement must keep
//!
//! - Copies of one chunk are on distinct nodes, always.
//! - A **complete** placement (every copy that the policy names has a node)
//!   survives the loss of any [`Policy::promised_losses`] nodes, counted by
//!   [`tolerance`], not by rule of thumb. With a node for every copy it
//!   survives R + M - 1.
//! - When nodes are **missing** (members that cannot be written to now, or
//!   have no room for one copy) and no complete placement can be had without
//!   them, it may be **degraded**: it is a complete placement on all members,
//!   less what would be on the missing ones; so repair completes it by adding
//!   copies. What is left must survive the loss of any one more node, or of
//!   none where the policy promises none. A strict request does not take that.
//!   A full node counts as a dead one here: otherwise puts would fail until
//!   somebody stopped it.
//! - `allow_unsafe` takes the best that can be had.
//!
//! # What it prefers
//!
//! Distinct zones first, then distinct nodes over the whole stripe, then the
//! order of the strategy: [`round_robin`] or [`ring`].

mod one;
mod promise;
mod refusal;
pub mod ring;
pub mod round_robin;
mod spread;
#[cfg(test)]
mod tests;
mod tolerance;

use std::collections::{BTreeMap, BTreeSet};

pub use one::{OneRequest, choose_one};
pub use promise::{Promise, promise};
pub use refusal::PlacementError;
pub use tolerance::{domain_tolerance, tolerance};

use crate::id::{NodeId, NodeIndex};
use crate::mutant::{Mutant, is_planted};
use crate::policy::{PlacementStrategy, Policy, PolicyOverrides, PolicySpec, StripeShape};
use spread::{Spot, Spread};

/// A member, as placement sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its number.
    pub index: NodeIndex,
    /// Its name, for messages.
    pub id: NodeId,
    /// Its failure domain; a node without one is its own.
    pub zone: Option<String>,
    /// All that it may use, in bytes: its weight on the ring.
    pub capacity: u64,
    /// What it can still take, in bytes, less what is promised to uploads.
    pub free: u64,
    /// Whether it can be written to now. A member that cannot is *missing*.
    pub is_writable: bool,
    /// Why it cannot, for messages: `offline for 3m`.
    pub note: Option<String>,
}

/// The wish for places for one stripe.
#[derive(Debug, Clone, Copy)]
pub struct PlacementRequest<'a> {
    /// In which order nodes are tried.
    pub strategy: PlacementStrategy,
    /// Every member, missing ones too, in any order.
    pub candidates: &'a [Candidate],
    /// The policy; of it replication and coding count here.
    pub policy: &'a Policy,
    /// The stripe's shape.
    pub shape: StripeShape,
    /// Where the strategy starts. For round robin a number that rises by one
    /// with each stripe placed; for the ring one that stays the stripe's own,
    /// such as its first handle.
    pub key: u64,
    /// Room that each copy needs, in bytes.
    pub chunk_bytes: u64,
    /// Members that count as missing besides those that are.
    pub excluded: &'a BTreeSet<NodeIndex>,
    /// Take a placement that does not keep the promise.
    pub allow_unsafe: bool,
    /// Take no placement that is not complete.
    pub is_strict: bool,
}

/// Where the copies of one stripe shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// For each chunk, data then parity, the nodes that shall hold a copy.
    /// Empty for a chunk that is left to repair.
    pub copies: Vec<Vec<NodeIndex>>,
    /// Any so many nodes may be lost.
    pub tolerated: u8,
    /// Copies that the policy names and that have no place.
    pub copies_missing: u32,
}

/// The policy of a file: the cluster's, with what the `put` wants otherwise,
/// made concrete for `nodes` members.
///
/// # Errors
/// [`PlacementError::Policy`] when it breaks a bound.
pub fn resolve(
    spec: &PolicySpec,
    overrides: &PolicyOverrides,
    nodes: usize,
) -> Result<Policy, PlacementError> {
    Ok(spec.with(overrides).resolve(nodes)?)
}

/// Chooses the nodes for one stripe; see the module for the rules.
///
/// # Errors
/// [`PlacementError::TooFewNodes`] or [`PlacementError::NoSpace`].
pub fn choose(request: &PlacementRequest<'_>) -> Result<Layout, PlacementError> {
    attempt(request).ok_or_else(|| refusal::of(request))
}

fn attempt(request: &PlacementRequest<'_>) -> Option<Layout> {
    let promised = request.policy.promised_losses();
    let rooms = Rooms::of(request);
    let present = Spread::best(&rooms.present, request.shape, request.policy, promised);
    if present.is_complete() && present.tolerated >= Some(promised) {
        return Some(present.into_layout());
    }
    if !request.is_strict
        && !rooms.missing.is_empty()
        && let Some(layout) = degraded(request, &rooms, promised)
    {
        return Some(layout);
    }
    let is_taken = request.allow_unsafe && (present.is_complete() || !request.is_strict);
    (is_taken && present.tolerated.is_some()).then(|| present.into_layout())
}

/// A complete placement on all members, less the copies on missing ones.
fn degraded(request: &PlacementRequest<'_>, rooms: &Rooms, promised: u8) -> Option<Layout> {
    let all: Vec<Spot> = rooms.present.iter().chain(&rooms.missing).copied().collect();
    let mut whole = Spread::best(&all, request.shape, request.policy, promised);
    if !whole.is_complete() || whole.tolerated < Some(promised) {
        return None;
    }
    let missing: BTreeSet<_> = rooms.missing.iter().map(|spot| spot.index).collect();
    whole.drop_nodes(&missing);
    (whole.tolerated >= Some(promised.min(1))).then(|| whole.into_layout())
}

/// The candidates in the order in which they are tried.
struct Rooms {
    /// Those that can take copies now.
    present: Vec<Spot>,
    /// Those that are missing, full ones too; they count as roomy.
    missing: Vec<Spot>,
}

impl Rooms {
    fn of(request: &PlacementRequest<'_>) -> Self {
        let is_present = |candidate: &Candidate| {
            candidate.is_writable && !request.excluded.contains(&candidate.index)
        };
        let domain_of = domains(request.candidates);
        let spot = |candidate: &Candidate, room: u64| Spot {
            index: candidate.index,
            domain: match domain_of.get(&candidate.index) {
                Some(domain) if !is_planted(Mutant::IgnoreZones) => *domain,
                _ => candidate.index,
            },
            room: u32::try_from(room).unwrap_or(u32::MAX),
        };
        let room = |candidate: &Candidate| match request.chunk_bytes {
            0 => u64::MAX,
            _ if is_planted(Mutant::PlacesOnFull) => u64::MAX,
            bytes => candidate.free / bytes,
        };
        let is_roomy = |candidate: &&Candidate| is_present(candidate) && room(candidate) > 0;
        let (present, missing): (Vec<_>, Vec<_>) = request.candidates.iter().partition(is_roomy);
        let in_order = |list| walk(request.strategy, request.key, list);
        Self {
            present: in_order(present).into_iter().map(|c| spot(c, room(c))).collect(),
            missing: in_order(missing).into_iter().map(|c| spot(c, u64::MAX)).collect(),
        }
    }
}

/// `candidates` in the order of the strategy, from `key` on.
fn walk(strategy: PlacementStrategy, key: u64, candidates: Vec<&Candidate>) -> Vec<&Candidate> {
    match strategy {
        PlacementStrategy::RoundRobin => round_robin::walk(key, candidates),
        PlacementStrategy::Ring => ring::walk(key, candidates),
    }
}

/// For each candidate the one that stands for its failure domain: the lowest
/// of its zone, or itself where it has none.
#[must_use]
pub fn domains(candidates: &[Candidate]) -> BTreeMap<NodeIndex, NodeIndex> {
    let mut first_of: BTreeMap<&str, NodeIndex> = BTreeMap::new();
    for candidate in candidates {
        if let Some(zone) = &candidate.zone {
            let first = first_of.entry(zone).or_insert(candidate.index);
            *first = candidate.index.min(*first);
        }
    }
    let domain = |candidate: &Candidate| {
        let zone = candidate.zone.as_deref();
        zone.and_then(|zone| first_of.get(zone)).copied().unwrap_or(candidate.index)
    };
    candidates.iter().map(|candidate| (candidate.index, domain(candidate))).collect()
}
