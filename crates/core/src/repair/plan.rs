//! The plan: targets for the most urgent chunks of a survey.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::survey::{Found, Survey};
use super::{Limits, RepairTask, Standing, View};
use crate::catalog::StripeRecord;
use crate::id::{Handle, NodeIndex};
use crate::limit::limit;
use crate::mark::{Mark, reached};
use crate::placement::{Candidate, OneRequest, choose_one, tolerance};
use crate::policy::Policy;
use crate::presence::CopyState;

/// The most crowded stripes that one plan tries to spread.
const SPREADS_TRIED_MAX: usize = 256;

/// Layouts that are judged in one step of a plan: others wait meanwhile.
const JUDGED_PER_STEP_MAX: usize = 1024;

/// A plan in the making.
pub struct Plan {
    /// With the room that the tasks so far leave.
    candidates: Vec<Candidate>,
    /// Members that are not there.
    not_here: BTreeSet<NodeIndex>,
    busy: BTreeMap<NodeIndex, u32>,
    /// Where copies are on their way to, running ones too.
    coming: BTreeMap<Handle, NodeIndex>,
    may_crowd: bool,
    tasks: Vec<RepairTask>,
    spreads_tried: usize,
    /// What was looked at last.
    after: Option<super::survey::Urgent>,
    /// Layouts that were judged in this step.
    judged: usize,
}

impl Plan {
    /// An empty plan for the cluster as it is now.
    #[must_use]
    pub fn new(view: &View<'_>, limits: &Limits<'_>) -> Self {
        let candidates = limits.candidates.to_vec();
        let away = |candidate: &&Candidate| view.standing(candidate.index) != Standing::Here;
        let mut busy = BTreeMap::new();
        for node in limits.running.values() {
            *busy.entry(*node).or_default() += 1;
        }
        Self {
            not_here: candidates.iter().filter(away).map(|candidate| candidate.index).collect(),
            candidates,
            busy,
            coming: limits.running.clone(),
            may_crowd: !view.expects_somebody(),
            tasks: Vec::new(),
            spreads_tried: 0,
            after: None,
            judged: 0,
        }
    }

    /// Finds targets for the chunks of `survey` that come next, as many as
    /// shall be looked at in one go; whether there is more to do. `lookup`
    /// gives a stripe and its policy by its first handle, as they are now; one
    /// that is gone is passed over.
    pub fn go_on<'c>(
        &mut self,
        survey: &Survey,
        view: &View<'_>,
        limits: &Limits<'_>,
        lookup: impl Fn(Handle) -> Option<(&'c StripeRecord, &'c Policy)>,
    ) -> bool {
        self.judged = 0;
        for urgent in survey.urgent_after(self.after) {
            if self.tasks.len() >= limits.tasks_max || self.is_busy_everywhere(limits) {
                return false;
            }
            if self.judged >= limit(JUDGED_PER_STEP_MAX, 2) {
                return true;
            }
            self.judged += 1;
            self.after = Some(urgent);
            let Some((stripe, policy)) = lookup(urgent.stripe) else { continue };
            let found = Found::of(stripe, view);
            let mut planning = Planning { view, limits, plan: self };
            if urgent.is_move {
                if planning.plan.spreads_tried >= SPREADS_TRIED_MAX {
                    return false;
                }
                planning.plan.spreads_tried += 1;
                reached(Mark::MovePlanned);
                planning.spread(stripe, policy, &found);
            } else {
                planning.rebuild(stripe, policy, &found, urgent.slot);
            }
        }
        false
    }

    /// What is to be done.
    #[must_use]
    pub fn into_tasks(self) -> Vec<RepairTask> {
        self.tasks
    }

    fn is_busy_everywhere(&self, limits: &Limits<'_>) -> bool {
        self.candidates.iter().all(|candidate| {
            let tasks = self.busy.get(&candidate.index).copied().unwrap_or(0);
            tasks >= limits.tasks_per_target_max || self.not_here.contains(&candidate.index)
        })
    }
}

/// One step of a plan.
struct Planning<'a> {
    view: &'a View<'a>,
    limits: &'a Limits<'a>,
    plan: &'a mut Plan,
}

impl Planning<'_> {
    /// Plans one more copy of chunk `slot`.
    fn rebuild(&mut self, stripe: &StripeRecord, policy: &Policy, found: &Found, slot: usize) {
        let (Some(chunk), Some(kept)) = (stripe.chunks.get(slot), found.kept.get(slot)) else {
            return;
        };
        let handle = stripe.handle(slot);
        let spares = tolerance(stripe.shape, &found.good);
        let is_readable = self.view.can_be_made(stripe, slot, spares, &found.good);
        let is_lacking = kept.len() < policy.copies_of(stripe.shape, slot);
        if self.is_left_alone(handle) || !is_readable || !is_lacking {
            return;
        }
        self.plan.judged += self.plan.candidates.len();
        let copies = self.with_coming(stripe, &found.kept);
        let preferred = self.preferred(handle, &chunk.copies);
        let excluded = self.excluded(handle);
        let target = choose_one(&OneRequest {
            candidates: &self.plan.candidates,
            policy,
            shape: stripe.shape,
            copies: &copies,
            slot,
            chunk_bytes: u64::from(chunk.stored_len),
            excluded: &excluded,
            preferred: &preferred,
            busy: &self.plan.busy,
            may_crowd: self.plan.may_crowd,
        });
        // A target that has its hands full is waited for: on the next best one
        // the copy may stand crowded, and would have to move once more.
        if let Some(target) = target.filter(|target| !self.is_full(*target)) {
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
        let mut loads: BTreeMap<NodeIndex, u32> = BTreeMap::new();
        for node in found.good.iter().flatten() {
            *loads.entry(*node).or_default() += 1;
        }
        let mut judged = 0;
        let mut best = (worth(&found.good), None);
        for slot in slots {
            let handle = stripe.handle(slot);
            let stored_bytes = u64::from(stripe.chunks[slot].stored_len);
            // What has a node to itself gains nothing by going elsewhere.
            let is_crowded = |place: &usize| {
                let node = found.good[slot].get(*place);
                node.and_then(|node| loads.get(node)).is_some_and(|load| *load > 1)
            };
            let crowded: Vec<usize> = (0..found.good[slot].len()).filter(is_crowded).collect();
            judged += crowded.len();
            if crowded.is_empty() {
                continue;
            }
            let fits = |candidate: &&Candidate| {
                candidate.is_writable
                    && candidate.free >= stored_bytes
                    && !self.is_excluded(candidate.index, handle)
                    && !found.good[slot].contains(&candidate.index)
            };
            // Of nodes without a copy of the stripe, one is as good as another.
            let mut has_empty = false;
            for candidate in self.plan.candidates.iter().filter(fits) {
                let is_empty = !loads.contains_key(&candidate.index);
                if is_empty && has_empty {
                    continue;
                }
                has_empty |= is_empty;
                judged += crowded.len();
                for place in &crowded {
                    let mut copies = found.good.clone();
                    copies[slot][*place] = candidate.index;
                    let worth = worth(&copies);
                    if worth > best.0 {
                        let copies_after = copies.swap_remove(slot);
                        best = (worth, Some((slot, candidate.index, copies_after)));
                    }
                }
            }
        }
        self.plan.judged += judged;
        if let (_, Some((slot, target, copies_after))) = best
            && !self.is_full(target)
        {
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
        self.plan.coming.insert(handle, target);
        *self.plan.busy.entry(target).or_default() += 1;
        for candidate in self.plan.candidates.iter_mut().filter(|c| c.index == target) {
            candidate.free = candidate.free.saturating_sub(stored_bytes);
        }
        self.plan.tasks.push(RepairTask {
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
            if let Some(node) = self.plan.coming.get(&stripe.handle(slot))
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
        let indexes = self.plan.candidates.iter().map(|candidate| candidate.index);
        indexes.filter(|node| named.contains(node) || holds(*node)).collect()
    }

    fn excluded(&self, handle: Handle) -> BTreeSet<NodeIndex> {
        let indexes = self.plan.candidates.iter().map(|candidate| candidate.index);
        indexes.filter(|node| self.is_excluded(*node, handle)).collect()
    }

    fn is_excluded(&self, node: NodeIndex, handle: Handle) -> bool {
        self.plan.not_here.contains(&node) || (self.limits.is_avoided)(handle, node)
    }

    /// True when the node makes as many copies as it may at once.
    fn is_full(&self, node: NodeIndex) -> bool {
        let tasks = self.plan.busy.get(&node).copied().unwrap_or(0);
        tasks >= self.limits.tasks_per_target_max
    }

    fn is_left_alone(&self, handle: Handle) -> bool {
        self.plan.coming.contains_key(&handle) || (self.limits.is_resting)(handle)
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
