//! What is wrong with the cluster at the moment, and so what may go wrong
//! beside it: a run that is not marked *beyond tolerance* leaves everything
//! that was acknowledged recoverable.
//!
//! What only takes a node away may strike any number of nodes; reads then may
//! fail, and nothing is lost. What destroys strikes one node, when no other is
//! away and every stripe has all its copies, and while no put is under way.
//! Until that node was looked through and all was rebuilt, no more nodes are
//! taken away than the policy allows.

use std::collections::{BTreeMap, BTreeSet};

/// All that is wrong, where that must not hold a client up for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Only {
    /// One node is slow.
    OneIsSlow,
    /// The coordinator does not hear some nodes, and clients reach them.
    SomeAreUnheard,
}

/// The state of the cluster as its faults make it.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// How many nodes may be lost.
    pub(super) tolerance: usize,
    /// Faults that go on now, by the nodes that they take away.
    away: BTreeMap<String, u32>,
    /// Nodes that may hold damage that nobody has looked for yet.
    pub(super) tainted: BTreeSet<String>,
    /// Nodes that ever held damage.
    pub(super) ever_tainted: BTreeSet<String>,
    /// Nodes that were away or damaged since all was well last.
    touched: BTreeSet<String>,
    /// Whether any node ever was away or damaged.
    pub(super) was_anyone_away: bool,
    /// Whether a fault goes on that has to be alone: others wait.
    pub(super) is_reserved: bool,
    /// Faults that go on now and that are on no node's account.
    others: u32,
    /// Nodes whose links are slow now, and nothing else.
    slow: BTreeMap<String, u32>,
    /// Nodes whose links ever were.
    pub(super) ever_slow: BTreeSet<String>,
    /// While the coordinator does not hear some nodes, which was the only
    /// trouble when it began: the number of that trouble.
    unheard: Option<u64>,
    /// Whether there were such since all was well last.
    is_disturbed: bool,
    /// Whether damage was done, or shown to a reader, since all was well last.
    pub(super) is_hurt: bool,
    /// How often anything went wrong.
    troubles: u64,
}

impl Guard {
    /// Nothing is wrong yet.
    pub(super) fn new(tolerance: usize) -> Self {
        Self { tolerance, ..Self::default() }
    }

    /// Whether these nodes may go away now.
    pub(super) fn may_go(&self, nodes: &[String]) -> bool {
        if self.tainted.is_empty() {
            return true;
        }
        let away = self.away.keys().chain(&self.tainted).chain(nodes);
        away.collect::<BTreeSet<_>>().len() <= self.tolerance
    }

    /// Whether a node may be damaged now, if all its stripes are complete.
    pub(super) fn may_be_hurt(&self) -> bool {
        self.tolerance > 0 && self.is_calm() && self.tainted.is_empty()
    }

    /// True while no fault goes on.
    pub(super) fn is_calm(&self) -> bool {
        self.away.is_empty() && self.others == 0 && self.slow.is_empty()
    }

    /// Whether every file that was stored with all its copies can be read, by
    /// the policy's promise.
    pub(super) fn promises_reads(&self) -> bool {
        let all_answer = self.unheard == Some(self.troubles);
        all_answer || !self.is_disturbed && self.touched.len() <= self.tolerance
    }

    /// How often anything went wrong.
    pub(super) fn troubles(&self) -> u64 {
        self.troubles
    }

    /// While nothing is wrong and nothing has yet to heal: how often anything
    /// went wrong before, so that two looks tell whether it stayed so.
    pub(super) fn all_well_since(&self) -> Option<u64> {
        let is_well = self.is_calm() && self.touched.is_empty() && !self.is_disturbed;
        is_well.then_some(self.troubles)
    }

    /// Returns the only trouble, where there is one that must not hold a
    /// client up for long, and how often anything went wrong before. Two looks
    /// that return the same saw the same trouble.
    pub(super) fn only_trouble(&self) -> Option<(Only, u64)> {
        if self.unheard == Some(self.troubles) {
            return Some((Only::SomeAreUnheard, self.troubles));
        }
        let is_else_well = self.away.is_empty() && self.others == 0 && !self.is_disturbed;
        let is_slow = is_else_well && self.touched.is_empty() && self.slow.len() == 1;
        is_slow.then_some((Only::OneIsSlow, self.troubles))
    }

    /// A node becomes slow.
    pub(super) fn slow_down(&mut self, node: &str) {
        self.troubles += 1;
        *self.slow.entry(node.to_owned()).or_default() += 1;
        self.ever_slow.insert(node.to_owned());
        // Placement passes a slow node over, and its zone with it.
        self.was_anyone_away = true;
    }

    /// It is as fast as the others again.
    pub(super) fn speed_up(&mut self, node: &str) {
        let faults = self.slow.entry(node.to_owned()).or_default();
        *faults = faults.saturating_sub(1);
        self.slow.retain(|_, faults| *faults > 0);
    }

    /// These nodes go away.
    pub(super) fn leave(&mut self, nodes: &[String]) {
        self.troubles += 1;
        for node in nodes {
            *self.away.entry(node.clone()).or_default() += 1;
            self.touched.insert(node.clone());
            self.was_anyone_away = true;
        }
    }

    /// The coordinator does not hear these nodes any more. Clients reach them.
    pub(super) fn fall_silent(&mut self, nodes: &[String]) {
        let was_well = self.all_well_since().is_some();
        self.leave(nodes);
        self.unheard = was_well.then_some(self.troubles);
    }

    /// They come back.
    pub(super) fn come_back(&mut self, nodes: &[String]) {
        self.unheard = None;
        for node in nodes {
            let faults = self.away.entry(node.clone()).or_default();
            *faults = faults.saturating_sub(1);
        }
        self.away.retain(|_, faults| *faults > 0);
    }

    /// A node is damaged.
    pub(super) fn taint(&mut self, node: &str) {
        self.troubles += 1;
        self.tainted.insert(node.to_owned());
        self.ever_tainted.insert(node.to_owned());
        self.touched.insert(node.to_owned());
        (self.is_hurt, self.was_anyone_away) = (true, true);
    }

    /// It was looked through, and what was lost is rebuilt.
    pub(super) fn clear(&mut self, node: &str) {
        self.tainted.remove(node);
    }

    /// A fault begins that is on no node's account.
    pub(super) fn disturb(&mut self) {
        self.troubles += 1;
        self.others += 1;
        (self.is_disturbed, self.was_anyone_away) = (true, true);
    }

    /// It ends.
    pub(super) fn calm_down(&mut self) {
        self.others = self.others.saturating_sub(1);
    }

    /// Every stripe has all its copies on nodes that are there.
    pub(super) fn all_is_well(&mut self) {
        if self.is_calm() && self.tainted.is_empty() {
            self.touched.clear();
            self.is_disturbed = false;
            self.is_hurt = false;
        }
    }

    /// No fault goes on any more.
    pub(super) fn end_all(&mut self) {
        self.away.clear();
        self.slow.clear();
        self.unheard = None;
        self.others = 0;
    }
}
