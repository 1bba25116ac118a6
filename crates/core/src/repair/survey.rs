//! The survey: every stripe looked at once, the most urgent chunks kept.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Condition, Fate, Limits, RepairTask, Standing, StripeHealth, View, assess};
use crate::catalog::StripeRecord;
use crate::id::{Handle, NodeIndex};
use crate::placement::{Candidate, OneRequest, choose_one, tolerance};
use crate::policy::Policy;
use crate::presence::CopyState;

/// The most chunks that a survey keeps for its plan.
const URGENT_MAX: usize = 4096;

/// The most crowded stripes that one plan tries to spread.
const SPREADS_TRIED_MAX: usize = 256;

/// Copies up to which a stripe is looked at in the short way.
const SPREAD_COPIES_MAX: usize = 64;

/// What was found when all stripes were looked at, in any number of steps.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    health: StripeHealth,
    waiting: u64,
    unrecoverable: u64,
    named: BTreeMap<NodeIndex, u64>,
    urgent: BTreeSet<Urgent>,
}

/// A chunk that lacks a copy, or a stripe that should be spread; the most
/// urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Urgent {
    is_move: bool,
    spares: Option<u8>,
    stripe: Handle,
    slot: usize,
}

impl Survey {
    /// Looks at one stripe.
    pub fn look(&mut self, stripe: &StripeRecord, policy: &Policy, view: &View<'_>) {
        for node in stripe.chunks.iter().flat_map(|chunk| chunk.copies.iter()) {
            *self.named.entry(*node).or_default() += 1;
        }
        if is_whole_and_spread(stripe, policy, view) {
            self.health.count(Condition::Full);
            return;
        }
        self.health.count(assess(stripe, policy, view).condition);
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
            if spares.is_some() || !found.good[slot].is_empty() {
                self.keep(Urgent { is_move: false, spares, stripe: stripe.first_handle, slot });
            } else {
                self.unrecoverable += lacking as u64;
            }
        }
        if is_whole && spares < Some(policy.promised_losses()) {
            self.keep(Urgent { is_move: true, spares, stripe: stripe.first_handle, slot: 0 });
        }
    }

    /// How many stripes are how well.
    #[must_use]
    pub fn health(&self) -> StripeHealth {
        self.health
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

    /// Copies that the layouts name on `node`.
    #[must_use]
    pub fn copies_on(&self, node: NodeIndex) -> u64 {
        self.named.get(&node).copied().unwrap_or(0)
    }

    /// Finds targets for the most urgent chunks. `lookup` gives a stripe and
    /// its policy by its first handle, as they are now; one that is gone is
    /// passed over.
    #[must_use]
    pub fn plan<'c>(
        &self,
        view: &View<'_>,
        limits: &Limits<'_>,
        lookup: impl Fn(Handle) -> Option<(&'c StripeRecord, &'c Policy)>,
    ) -> Vec<RepairTask> {
        let mut planning = Planning::new(view, limits);
        let mut spreads_tried = 0;
        for urgent in &self.urgent {
            if planning.tasks.len() >= limits.tasks_max || planning.is_busy_everywhere() {
                break;
            }
            let Some((stripe, policy)) = lookup(urgent.stripe) else { continue };
            let found = Found::of(stripe, view);
            if urgent.is_move {
                spreads_tried += 1;
                if spreads_tried > SPREADS_TRIED_MAX {
                    break;
                }
                planning.spread(stripe, policy, &found);
            } else {
                planning.rebuild(stripe, policy, &found, urgent.slot);
            }
        }
        planning.tasks
    }

    fn keep(&mut self, urgent: Urgent) {
        self.urgent.insert(urgent);
        if self.urgent.len() > URGENT_MAX {
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
struct Found {
    /// There and readable.
    good: Vec<Vec<NodeIndex>>,
    /// These, and those that wait.
    kept: Vec<Vec<NodeIndex>>,
}

impl Found {
    fn of(stripe: &StripeRecord, view: &View<'_>) -> Self {
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

/// A plan in the making.
struct Planning<'a> {
    view: &'a View<'a>,
    limits: &'a Limits<'a>,
    /// With the room that the tasks so far leave.
    candidates: Vec<Candidate>,
    /// Members that are not there.
    not_here: BTreeSet<NodeIndex>,
    busy: BTreeMap<NodeIndex, u32>,
    /// Where copies are on their way to, running ones too.
    coming: BTreeMap<Handle, NodeIndex>,
    may_crowd: bool,
    tasks: Vec<RepairTask>,
}

impl<'a> Planning<'a> {
    fn new(view: &'a View<'a>, limits: &'a Limits<'a>) -> Self {
        let candidates = limits.candidates.to_vec();
        let away = |candidate: &&Candidate| view.standing(candidate.index) != Standing::Here;
        let mut busy = BTreeMap::new();
        for node in limits.running.values() {
            *busy.entry(*node).or_default() += 1;
        }
        Self {
            view,
            limits,
            not_here: candidates.iter().filter(away).map(|candidate| candidate.index).collect(),
            candidates,
            busy,
            coming: limits.running.clone(),
            may_crowd: !view.expects_somebody(),
            tasks: Vec::new(),
        }
    }

    /// Plans one more copy of chunk `slot`.
    fn rebuild(&mut self, stripe: &StripeRecord, policy: &Policy, found: &Found, slot: usize) {
        let (Some(chunk), Some(kept)) = (stripe.chunks.get(slot), found.kept.get(slot)) else {
            return;
        };
        let handle = stripe.handle(slot);
        let spares = tolerance(stripe.shape, &found.good);
        let is_readable = spares.is_some() || !found.good[slot].is_empty();
        let is_lacking = kept.len() < policy.copies_of(stripe.shape, slot);
        if self.is_left_alone(handle) || !is_readable || !is_lacking {
            return;
        }
        let copies = self.with_coming(stripe, &found.kept);
        let preferred = self.preferred(handle, &chunk.copies);
        let excluded = self.excluded(handle);
        let target = choose_one(&OneRequest {
            candidates: &self.candidates,
            policy,
            shape: stripe.shape,
            copies: &copies,
            slot,
            chunk_bytes: u64::from(chunk.stored_len),
            excluded: &excluded,
            preferred: &preferred,
            busy: &self.busy,
            may_crowd: self.may_crowd,
        });
        if let Some(target) = target {
            let mut copies_after = kept.clone();
            copies_after.push(target);
            self.add(stripe, slot, target, copies_after, spares, false);
        }
    }

    /// Plans the move of one copy of a stripe that lacks none and tolerates
    /// less than its policy promises: the one that helps most.
    fn spread(&mut self, stripe: &StripeRecord, policy: &Policy, found: &Found) {
        let is_going = |slot| self.is_left_alone(stripe.handle(slot));
        let is_whole = |slot: usize| {
            found.good[slot].len() >= policy.copies_of(stripe.shape, slot)
                && found.good[slot].len() == stripe.chunks[slot].copies.len()
        };
        let slots = 0..stripe.chunks.len();
        let spares = tolerance(stripe.shape, &found.good);
        let is_due = spares < Some(policy.promised_losses());
        if !is_due || slots.clone().any(is_going) || !slots.clone().all(is_whole) {
            return;
        }
        let worth = |copies: &[Vec<NodeIndex>]| {
            (tolerance(stripe.shape, copies), Reverse(crowding(copies)))
        };
        let mut best = (worth(&found.good), None);
        for slot in slots {
            let handle = stripe.handle(slot);
            let excluded = self.excluded(handle);
            let stored_bytes = u64::from(stripe.chunks[slot].stored_len);
            let fits = |candidate: &&Candidate| {
                candidate.is_writable
                    && candidate.free >= stored_bytes
                    && !excluded.contains(&candidate.index)
                    && !found.good[slot].contains(&candidate.index)
            };
            for candidate in self.candidates.iter().filter(fits) {
                for place in 0..found.good[slot].len() {
                    let mut copies = found.good.clone();
                    copies[slot][place] = candidate.index;
                    let worth = worth(&copies);
                    if worth > best.0 {
                        let copies_after = copies.swap_remove(slot);
                        best = (worth, Some((slot, candidate.index, copies_after)));
                    }
                }
            }
        }
        if let (_, Some((slot, target, copies_after))) = best {
            self.add(stripe, slot, target, copies_after, spares, true);
        }
    }

    fn add(
        &mut self,
        stripe: &StripeRecord,
        slot: usize,
        target: NodeIndex,
        copies_after: Vec<NodeIndex>,
        spares: Option<u8>,
        is_move: bool,
    ) {
        let chunk = &stripe.chunks[slot];
        let handle = stripe.handle(slot);
        let stored_bytes = u64::from(chunk.stored_len);
        self.coming.insert(handle, target);
        *self.busy.entry(target).or_default() += 1;
        for candidate in self.candidates.iter_mut().filter(|c| c.index == target) {
            candidate.free = candidate.free.saturating_sub(stored_bytes);
        }
        self.tasks.push(RepairTask {
            handle,
            stripe: stripe.first_handle,
            slot,
            target,
            expected: chunk.copies.to_vec(),
            copies_after,
            stored_bytes,
            spares,
            is_move,
        });
    }

    /// `copies` with those that are on their way to other nodes.
    fn with_coming(&self, stripe: &StripeRecord, copies: &[Vec<NodeIndex>]) -> Vec<Vec<NodeIndex>> {
        let mut copies = copies.to_vec();
        for (slot, nodes) in copies.iter_mut().enumerate() {
            if let Some(node) = self.coming.get(&stripe.handle(slot))
                && !nodes.contains(node)
            {
                nodes.push(*node);
            }
        }
        copies
    }

    /// Nodes on which the copy costs least: whose own copy it is, or that
    /// hold a good one which the layout does not name.
    fn preferred(&self, handle: Handle, named: &[NodeIndex]) -> BTreeSet<NodeIndex> {
        let holds = |node: NodeIndex| (self.view.copy_state)(node, handle) == CopyState::Held;
        let indexes = self.candidates.iter().map(|candidate| candidate.index);
        indexes.filter(|node| named.contains(node) || holds(*node)).collect()
    }

    fn excluded(&self, handle: Handle) -> BTreeSet<NodeIndex> {
        let is_avoided = |node: &NodeIndex| {
            let tasks = self.busy.get(node).copied().unwrap_or(0);
            tasks >= self.limits.tasks_per_target_max
                || self.limits.avoided.contains(&(handle, *node))
        };
        let indexes = self.candidates.iter().map(|candidate| candidate.index);
        indexes.filter(|node| self.not_here.contains(node) || is_avoided(node)).collect()
    }

    fn is_busy_everywhere(&self) -> bool {
        self.candidates.iter().all(|candidate| {
            let tasks = self.busy.get(&candidate.index).copied().unwrap_or(0);
            tasks >= self.limits.tasks_per_target_max || self.not_here.contains(&candidate.index)
        })
    }

    fn is_left_alone(&self, handle: Handle) -> bool {
        self.coming.contains_key(&handle) || self.limits.resting.contains(&handle)
    }
}

/// How unevenly a stripe lies: falls with each copy that moves from a node
/// with more of its copies to one with fewer.
fn crowding(copies: &[Vec<NodeIndex>]) -> u32 {
    let mut loads: BTreeMap<NodeIndex, u32> = BTreeMap::new();
    for node in copies.iter().flatten() {
        *loads.entry(*node).or_default() += 1;
    }
    loads.values().map(|load| load * load).sum()
}
