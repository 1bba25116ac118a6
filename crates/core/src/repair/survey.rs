//! The survey: every stripe looked at once, the most urgent chunks kept.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::{Assessment, Condition, Fate, StripeHealth, View, assess};
use crate::catalog::StripeRecord;
use crate::id::{FileId, Handle, NodeIndex};
use crate::limit::limit;
use crate::mark::{Mark, reached};
use crate::placement::tolerance;
use crate::policy::Policy;

/// The most chunks that a survey keeps for its plan.
const URGENT_MAX: usize = 4096;

/// The most files that are counted for one condition of their stripes.
pub const FILES_COUNTED_MAX: usize = 10_000;

/// Copies after which [`Survey::look_on`] stops: others wait meanwhile.
const COPIES_PER_STEP_MAX: usize = 1024;

/// Copies up to which a stripe is looked at in the short way.
const SPREAD_COPIES_MAX: usize = 64;

/// What was found when all stripes were looked at, in any number of steps.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    health: StripeHealth,
    spares_min: Option<u8>,
    affected: BTreeMap<Condition, BTreeSet<FileId>>,
    waiting: u64,
    unrecoverable: u64,
    named: BTreeMap<NodeIndex, u64>,
    urgent: BTreeSet<Urgent>,
}

/// A chunk that lacks a copy, or a stripe that should be spread; the most
/// urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Urgent {
    pub(super) is_move: bool,
    pub(super) spares: Option<u8>,
    pub(super) stripe: Handle,
    pub(super) slot: usize,
}

impl Survey {
    /// Looks at the next of the stripes that are still to be looked at, as
    /// many as shall be in one go. Returns the last of them, to go on behind
    /// it, or `None` when there are no more.
    pub fn look_on<'c>(
        &mut self,
        stripes: impl IntoIterator<Item = (&'c StripeRecord, &'c Policy)>,
        view: &View<'_>,
    ) -> Option<Handle> {
        let mut copies = 0;
        for (stripe, policy) in stripes {
            copies += stripe.chunks.iter().map(|chunk| chunk.copies.len().max(1)).sum::<usize>();
            if !self.look(stripe, policy, view) {
                // Every node was asked for copies that no layout names.
                copies += stripe.chunks.len() * view.standings.len();
            }
            if copies >= limit(COPIES_PER_STEP_MAX, 4) {
                return Some(stripe.first_handle);
            }
        }
        None
    }

    /// Looks at one stripe. Returns true when it can be read from the copies
    /// that its layout names.
    pub fn look(&mut self, stripe: &StripeRecord, policy: &Policy, view: &View<'_>) -> bool {
        for node in stripe.chunks.iter().flat_map(|chunk| chunk.copies.iter()) {
            *self.named.entry(*node).or_default() += 1;
        }
        if is_whole_and_spread(stripe, policy, view) {
            self.health.count(Condition::Full);
            return true;
        }
        let Assessment { condition, spares: spares_now, .. } = assess(stripe, policy, view);
        self.health.count(condition);
        if condition != Condition::Full {
            let files = self.affected.entry(condition).or_default();
            if files.len() < FILES_COUNTED_MAX {
                files.insert(stripe.file);
            }
            self.spares_min = [self.spares_min, spares_now].into_iter().flatten().min();
        }
        let found = Found::of(stripe, view);
        let spares = tolerance(stripe.shape, &found.good);
        let mut is_whole = true;
        for slot in 0..stripe.chunks.len() {
            let kept = found.kept[slot].len();
            let lacking = policy.copies_of(stripe.shape, slot).saturating_sub(kept);
            is_whole &= lacking == 0 && found.good[slot].len() == kept;
            if lacking == 0 {
                continue;
            }
            self.waiting += lacking as u64;
            if view.can_be_made(stripe, slot, spares, &found.good) {
                self.keep(Urgent { is_move: false, spares, stripe: stripe.first_handle, slot });
            } else {
                self.unrecoverable += lacking as u64;
            }
        }
        if is_whole && spares < Some(policy.promised_losses()) {
            self.keep(Urgent { is_move: true, spares, stripe: stripe.first_handle, slot: 0 });
        }
        spares.is_some()
    }

    /// How many stripes are how well.
    #[must_use]
    pub fn health(&self) -> StripeHealth {
        self.health
    }

    /// Files that have a stripe in `condition`, counted up to
    /// [`FILES_COUNTED_MAX`]; full stripes are not counted.
    #[must_use]
    pub fn files_affected(&self, condition: Condition) -> u64 {
        self.affected.get(&condition).map_or(0, |files| files.len() as u64)
    }

    /// The fewest losses that a stripe tolerates, of those that can be read
    /// and are not full; `None` when there is none.
    #[must_use]
    pub fn spares_min(&self) -> Option<u8> {
        self.spares_min
    }

    /// Copies that are to be made.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Of these, copies of chunks that nothing readable is left of now.
    #[must_use]
    pub fn unrecoverable(&self) -> u64 {
        self.unrecoverable
    }

    /// Whether more chunks lack a copy than were kept for a plan.
    #[must_use]
    pub fn left_out(&self) -> bool {
        self.urgent.len() >= limit(URGENT_MAX, 4)
    }

    /// Copies that the layouts name on `node`.
    #[must_use]
    pub fn copies_on(&self, node: NodeIndex) -> u64 {
        self.named.get(&node).copied().unwrap_or(0)
    }

    /// What is kept behind `after`, the most urgent first.
    pub(super) fn urgent_after(&self, after: Option<Urgent>) -> impl Iterator<Item = Urgent> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.urgent.range((from, Bound::Unbounded)).copied()
    }

    fn keep(&mut self, urgent: Urgent) {
        self.urgent.insert(urgent);
        if self.urgent.len() > limit(URGENT_MAX, 4) {
            reached(Mark::SurveyLeftOut);
            self.urgent.pop_last();
        }
    }
}

/// Whether every copy of a stripe is there, each on a node of its own. Such a
/// stripe with M parity chunks and R copies of each data chunk survives the
/// loss of M + R - 1 nodes, which is never less than its policy promises. Most
/// stripes are so, and this costs far less than finding out how they are.
fn is_whole_and_spread(stripe: &StripeRecord, policy: &Policy, view: &View<'_>) -> bool {
    let mut nodes = [NodeIndex(0); SPREAD_COPIES_MAX];
    let mut count = 0;
    for (slot, chunk) in stripe.chunks.iter().enumerate() {
        let handle = stripe.handle(slot);
        if chunk.copies.len() < policy.copies_of(stripe.shape, slot) {
            return false;
        }
        for node in &chunk.copies {
            let is_new = count < nodes.len() && !nodes[..count].contains(node);
            if !is_new || view.fate(*node, handle) != Fate::Good {
                return false;
            }
            nodes[count] = *node;
            count += 1;
        }
    }
    true
}

/// A stripe's copies by what becomes of them.
pub(super) struct Found {
    /// There and readable.
    pub(super) good: Vec<Vec<NodeIndex>>,
    /// These, and those that wait.
    pub(super) kept: Vec<Vec<NodeIndex>>,
}

impl Found {
    pub(super) fn of(stripe: &StripeRecord, view: &View<'_>) -> Self {
        let chunks = stripe.chunks.len();
        let mut found = Self { good: Vec::with_capacity(chunks), kept: Vec::with_capacity(chunks) };
        for (slot, chunk) in stripe.chunks.iter().enumerate() {
            let handle = stripe.handle(slot);
            let fates = chunk.copies.iter().map(|node| (*node, view.fate(*node, handle)));
            let kept: Vec<_> = fates.filter(|(_, fate)| *fate != Fate::Lost).collect();
            let good = kept.iter().filter(|(_, fate)| *fate == Fate::Good);
            found.good.push(good.map(|(node, _)| *node).collect());
            found.kept.push(kept.into_iter().map(|(node, _)| node).collect());
        }
        found
    }
}
