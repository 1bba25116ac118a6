//! What shall be rebuilt, onto which node: a pure plan.
//!
//! A [`Survey`] looks at one stripe after the other and keeps two things: how
//! many stripes are how well, and the most urgent chunks that lack a copy,
//! fewest spares first. A [`Plan`] then finds them targets. Both go in steps
//! of bounded work, between which others get at the catalog.
//!
//! What counts as lost, and what does not:
//!
//! - A copy is **lost** when its node told that it has none or a bad one, when
//!   its node is given up ([`Standing::Gone`]), or when it never had a place.
//! - A copy on a node that is merely away, suspect or not heard yet **waits**:
//!   it is rebuilt nowhere, since most nodes come back.
//! - Nothing is taken out of a layout before its replacement is verified: a
//!   task names the layout that it starts from and the one that it ends with,
//!   and every good or waiting copy of the first is in the second.
//!
//! A copy that its own node lost is rebuilt there; a node that still holds a
//! good copy which the layout forgot gets it back for nothing. When too few
//! nodes are left to keep the promise, copies crowd together rather than stay
//! lost, but only once nobody is expected back; when nodes come, crowded
//! stripes are spread again, last of all.

mod assess;
mod plan;
mod recount;
mod survey;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use assess::{Assessment, Condition, assess};
pub use plan::Plan;
pub use recount::{Basis, Change, NodeBasis};
pub use survey::{FILES_COUNTED_MAX, Survey};

use crate::catalog::StripeRecord;
use crate::health::{Health, NodeState};
use crate::id::{Handle, NodeIndex};
use crate::placement::Candidate;
use crate::policy::Policy;
use crate::presence::CopyState;

/// How many stripes are how well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StripeHealth {
    /// Every copy is there.
    pub full: u64,
    /// Copies are missing, and any one more node may go.
    pub degraded: u64,
    /// Readable, and one more loss may lose data.
    pub at_risk: u64,
    /// Not readable now; enough copies are on nodes that are away.
    pub unreachable: u64,
    /// Not known yet: nodes have not told what they hold.
    pub unknown: u64,
    /// Not to be rebuilt from any copy that exists.
    pub lost: u64,
}

/// What may be counted on of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Online.
    Here,
    /// Suspect: readers still try it, repair leaves it alone.
    Suspect,
    /// Not heard yet.
    Unknown,
    /// Offline, absent, without its volume or cut off, and expected back.
    Away,
    /// Given up: its copies count as lost. So do those on a node that is no
    /// member.
    Gone,
}

impl Standing {
    /// What a node's health makes of it at `now_ms`.
    #[must_use]
    pub fn of(health: &Health, now_ms: u64, repair_after_ms: u64) -> Self {
        let is_due = health.is_due_for_repair(now_ms, repair_after_ms);
        match health.state(now_ms) {
            NodeState::Online => Self::Here,
            NodeState::Suspect => Self::Suspect,
            _ if is_due => Self::Gone,
            NodeState::Unknown if health.is_overdue(now_ms) => Self::Away,
            NodeState::Unknown => Self::Unknown,
            NodeState::Offline | NodeState::Absent | NodeState::NoVolume | NodeState::CutOff => {
                Self::Away
            }
        }
    }

    /// Whether readers may get a copy from it.
    #[must_use]
    pub fn is_readable(self) -> bool {
        matches!(self, Self::Here | Self::Suspect)
    }
}

/// The cluster as repair sees it at one moment.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Every member's standing.
    pub standings: &'a BTreeMap<NodeIndex, Standing>,
    /// What is known of a copy, as from [`crate::presence::Presence::state`].
    pub copy_state: &'a dyn Fn(NodeIndex, Handle) -> CopyState,
}

impl View<'_> {
    /// The standing of a node.
    #[must_use]
    pub fn standing(&self, node: NodeIndex) -> Standing {
        self.standings.get(&node).copied().unwrap_or(Standing::Gone)
    }

    /// Returns the nodes that are here and hold a good copy of a chunk that its
    /// layout does not name.
    fn unnamed<'v>(
        &'v self,
        handle: Handle,
        named: &'v [NodeIndex],
    ) -> impl Iterator<Item = NodeIndex> + 'v {
        let here = self.standings.iter().filter(|(_, standing)| **standing == Standing::Here);
        here.map(|(node, _)| *node).filter(move |node| {
            !named.contains(node) && (self.copy_state)(*node, handle) == CopyState::Held
        })
    }

    /// True when a stripe can be read from its copies `there` together with
    /// good ones that its layout does not name. The latter are looked for only
    /// where they are needed, since that takes a look at every node.
    fn is_readable_anyhow(&self, stripe: &StripeRecord, there: &[Vec<NodeIndex>]) -> bool {
        let chunks = stripe.chunks.iter().zip(there).enumerate();
        let sources: Vec<Vec<NodeIndex>> = chunks
            .map(|(slot, (chunk, nodes))| match nodes.is_empty() {
                true => self.unnamed(stripe.handle(slot), &chunk.copies).take(1).collect(),
                false => nodes.clone(),
            })
            .collect();
        crate::placement::tolerance(stripe.shape, &sources).is_some()
    }

    /// True when a copy of chunk `slot` can be made: from its stripe, from a
    /// copy in the layout, or from one that the layout does not name.
    fn can_be_made(
        &self,
        stripe: &StripeRecord,
        slot: usize,
        spares: Option<u8>,
        good: &[Vec<NodeIndex>],
    ) -> bool {
        let Some(chunk) = stripe.chunks.get(slot) else { return false };
        spares.is_some()
            || good.get(slot).is_some_and(|nodes| !nodes.is_empty())
            || self.unnamed(stripe.handle(slot), &chunk.copies).next().is_some()
            || self.is_readable_anyhow(stripe, good)
    }

    /// True when a copy is not known to be missing: its node is a member, and
    /// reported it or is still to report. A node that is away may come back.
    fn may_exist(&self, node: NodeIndex, handle: Handle) -> bool {
        let held = (self.copy_state)(node, handle);
        self.standings.contains_key(&node) && matches!(held, CopyState::Held | CopyState::Unknown)
    }

    /// Returns a node that reported a copy which the layout does not name, here
    /// or away.
    fn unnamed_anywhere(&self, handle: Handle) -> Option<NodeIndex> {
        let mut nodes = self.standings.keys().copied();
        nodes.find(|node| (self.copy_state)(*node, handle) == CopyState::Held)
    }

    /// Whether a member may come back that is not there.
    fn expects_somebody(&self) -> bool {
        self.standings.values().any(|standing| {
            matches!(standing, Standing::Suspect | Standing::Unknown | Standing::Away)
        })
    }

    fn fate(&self, node: NodeIndex, handle: Handle) -> Fate {
        let standing = self.standing(node);
        match (self.copy_state)(node, handle) {
            _ if standing == Standing::Gone => Fate::Lost,
            CopyState::Missing | CopyState::Bad => Fate::Lost,
            CopyState::Held if standing == Standing::Here => Fate::Good,
            CopyState::Held | CopyState::Unknown => Fate::Waiting,
        }
    }
}

/// What becomes of one copy that a layout names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is there and can be read.
    Good,
    /// It is not there now, or not known; it is not given up.
    Waiting,
    /// It must be replaced.
    Lost,
}

/// What a plan has to respect.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// Every member, for targets; of these only writable ones that are
    /// [`Standing::Here`] are taken.
    pub candidates: &'a [Candidate],
    /// The most tasks to name.
    pub tasks_max: usize,
    /// The most tasks for one target, with those that run already.
    pub tasks_per_target_max: u32,
    /// Chunks that are being rebuilt now, and where.
    pub running: &'a BTreeMap<Handle, NodeIndex>,
    /// Whether a chunk is to be left alone for now.
    pub is_resting: &'a dyn Fn(Handle) -> bool,
    /// Whether a copy must not be made: of a chunk on a node that failed at
    /// it, or that is being told to delete it.
    pub is_avoided: &'a dyn Fn(Handle, NodeIndex) -> bool,
}

/// One copy to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairTask {
    /// The chunk.
    pub handle: Handle,
    /// The first handle of its stripe.
    pub stripe: Handle,
    /// Its place among the stripe's chunks.
    pub slot: usize,
    /// The node that is to hold the copy.
    pub target: NodeIndex,
    /// Its copies in the layout, as the plan found them.
    pub expected: Vec<NodeIndex>,
    /// Its copies once this one is verified.
    pub copies_after: Vec<NodeIndex>,
    /// Bytes that the copy takes.
    pub stored_bytes: u64,
    /// Losses that the stripe tolerates now; `None` when it cannot be read.
    pub spares: Option<u8>,
    /// Whether nothing is lost and the stripe is only to be spread.
    pub is_move: bool,
}

/// Looks at all of `stripes` at once and plans for them; see [`Survey`].
pub fn plan<'c>(
    stripes: impl IntoIterator<Item = (&'c StripeRecord, &'c Policy)>,
    view: &View<'_>,
    limits: &Limits<'_>,
) -> Vec<RepairTask> {
    let mut survey = Survey::default();
    let mut by_handle = BTreeMap::new();
    for (stripe, policy) in stripes {
        survey.look(stripe, policy, view);
        by_handle.insert(stripe.first_handle, (stripe, policy));
    }
    let mut plan = Plan::new(view, limits);
    while plan.go_on(&survey, view, limits, |first| by_handle.get(&first).copied()) {}
    plan.into_tasks()
}
