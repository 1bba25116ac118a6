//! How much of the last count of the stripes still holds after nodes came or
//! went.
//!
//! A count takes time, and status must not repeat what is no longer true: that
//! data is at risk when the node that was missing is back, or that every
//! stripe is full when a node has just gone. So what may have changed counts
//! as not known until the next count.

use std::collections::{BTreeMap, BTreeSet};

use super::{Standing, StripeHealth};
use crate::id::{NodeIndex, SessionId};

/// What a count depends on, for one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeBasis {
    /// Whether it can be counted on.
    pub standing: Standing,
    /// Its process.
    pub session: Option<SessionId>,
    /// True when it reported all that it holds.
    pub is_complete: bool,
    /// The bad copies that it reported.
    pub bad: u64,
}

/// What a count depends on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Basis {
    /// Every member.
    pub nodes: BTreeMap<NodeIndex, NodeBasis>,
    /// Copies with another digest than the catalog.
    pub differing: usize,
}

/// What changed since a count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// True when copies may be there that were not.
    pub is_better: bool,
    /// True when copies may be missing that were there.
    pub is_worse: bool,
    /// The nodes that changed.
    pub nodes: BTreeSet<NodeIndex>,
}

impl NodeBasis {
    /// How much is known to be there: nothing, something, or all.
    fn grade(&self) -> u8 {
        match self.standing {
            Standing::Away | Standing::Gone => 0,
            Standing::Unknown => 1,
            Standing::Here | Standing::Suspect => 1 + u8::from(self.is_complete),
        }
    }
}

impl Change {
    /// Compares what a count was made from with what is known now.
    ///
    /// Another process of a node that was here and is here may hold other
    /// copies. It counts as worse only: what it may have got since is new, and
    /// no earlier count can have missed it.
    #[must_use]
    pub fn between(before: &Basis, now: &Basis) -> Self {
        let mut change = Self {
            is_better: now.differing < before.differing,
            is_worse: now.differing > before.differing,
            nodes: BTreeSet::new(),
        };
        for (index, was) in &before.nodes {
            let (is_better, is_worse) = match now.nodes.get(index) {
                Some(is) => {
                    let (grade_was, grade) = (was.grade(), is.grade());
                    let is_another = is.session != was.session && grade == grade_was && grade > 0;
                    let is_better = grade > grade_was || is.bad < was.bad;
                    (is_better, grade < grade_was || is.bad > was.bad || is_another)
                }
                None => (false, true),
            };
            change.is_better |= is_better;
            change.is_worse |= is_worse;
            if is_better || is_worse {
                change.nodes.insert(*index);
            }
        }
        change
    }

    /// True when the count holds as it is.
    #[must_use]
    pub fn is_none(&self) -> bool {
        !self.is_better && !self.is_worse
    }
}

impl StripeHealth {
    /// Returns what still holds of a count after `change`. A stripe that was
    /// full may lack a copy when something went, and one that lacked a copy
    /// may be better off when something came: these are not known.
    #[must_use]
    pub fn after(self, change: &Change) -> Self {
        let mut health = self;
        if change.is_worse {
            health.unknown += std::mem::take(&mut health.full);
        }
        if change.is_better {
            for count in [
                &mut health.degraded,
                &mut health.at_risk,
                &mut health.unreachable,
                &mut health.lost,
            ] {
                health.unknown += std::mem::take(count);
            }
        }
        health
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTED: StripeHealth =
        StripeHealth { full: 1, degraded: 2, at_risk: 3, unreachable: 4, unknown: 5, lost: 6 };

    fn basis(standing: Standing, session: u64, is_complete: bool, bad: u64) -> Basis {
        let node = NodeBasis { standing, session: Some(SessionId(session)), is_complete, bad };
        Basis { nodes: BTreeMap::from([(NodeIndex(1), node)]), differing: 0 }
    }

    /// What is left of the count when its basis changes, and whether the node
    /// is named.
    fn left(before: &Basis, now: &Basis) -> (StripeHealth, bool) {
        let change = Change::between(before, now);
        (COUNTED.after(&change), !change.nodes.is_empty())
    }

    #[test]
    fn a_count_holds_as_far_as_no_node_came_or_went() {
        let here = basis(Standing::Here, 1, true, 0);
        let away = basis(Standing::Away, 1, true, 0);
        let only_full = StripeHealth { full: 1, unknown: 20, ..StripeHealth::default() };
        let only_bad = StripeHealth { full: 0, unknown: 6, ..COUNTED };
        let nothing = StripeHealth { unknown: 21, ..StripeHealth::default() };
        for (before, now, expected) in [
            (&here, here.clone(), (COUNTED, false)),
            // Readers still try a suspect node.
            (&here, basis(Standing::Suspect, 1, true, 0), (COUNTED, false)),
            (&away, basis(Standing::Gone, 1, true, 0), (COUNTED, false)),
            (&here, away.clone(), (only_bad, true)),
            (&here, basis(Standing::Here, 1, false, 0), (only_bad, true)),
            (&here, basis(Standing::Here, 1, true, 1), (only_bad, true)),
            (&here, basis(Standing::Here, 2, true, 0), (only_bad, true)),
            (&here, Basis::default(), (only_bad, true)),
            (&away, here.clone(), (only_full, true)),
            (&away, basis(Standing::Here, 2, true, 0), (only_full, true)),
            (&away, basis(Standing::Here, 2, false, 0), (only_full, true)),
            (&basis(Standing::Here, 1, true, 1), here.clone(), (only_full, true)),
            (&basis(Standing::Here, 1, true, 1), away.clone(), (nothing, true)),
            (&here, Basis { differing: 1, ..here.clone() }, (only_bad, false)),
        ] {
            assert_eq!(left(before, &now), expected, "{before:?} to {now:?}");
        }
    }
}
