//! What a policy promises on given nodes, found by trying.

use std::collections::BTreeSet;

use super::spread::{each_subset, subsets};
use super::{Candidate, PlacementError, PlacementRequest, choose, domain_tolerance, domains};
use crate::id::NodeIndex;
use crate::policy::{PlacementStrategy, Policy, PolicySpec, StripeShape};

/// What a policy promises on given nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// The loss of any this many nodes loses nothing; `None` when a stripe
    /// cannot be placed at all.
    pub nodes_lost_max: Option<u8>,
    /// The loss of any this many zones loses nothing, where zones are named.
    pub zones_lost_max: Option<u8>,
    /// The same in a sentence, and what stands in the way of more.
    pub sentence: String,
}

/// Placements that are looked at: every start of round robin on so many
/// nodes, a sample of the ring.
const KEYS_MAX: u64 = 64;
/// Sets of nodes that are looked at for the share of stripes that one loss
/// too many would cost.
const SETS_MAX: u64 = 10_000;

/// Places stripes of every shape and many keys on `candidates` and looks at
/// what each of them tolerates. Members that cannot be written to count as
/// missing, space does not count.
#[must_use]
pub fn promise(
    spec: &PolicySpec,
    strategy: PlacementStrategy,
    candidates: &[Candidate],
    allow_unsafe: bool,
) -> Promise {
    let trials = spec
        .resolve(candidates.len())
        .map_err(PlacementError::from)
        .and_then(|policy| Trials::make(policy, strategy, candidates, allow_unsafe));
    match trials {
        Ok(trials) => trials.promise(),
        Err(refusal) => {
            let sentence = format!("nothing can be stored: {refusal}");
            Promise { nodes_lost_max: None, zones_lost_max: None, sentence }
        }
    }
}

/// Stripes placed, and what was found in them.
struct Trials<'a> {
    policy: Policy,
    candidates: &'a [Candidate],
    /// Layouts of full stripes.
    full: Vec<Vec<Vec<NodeIndex>>>,
    nodes_lost_max: u8,
    zones_lost_max: Option<u8>,
    copies_missing: u32,
}

impl<'a> Trials<'a> {
    fn make(
        policy: Policy,
        strategy: PlacementStrategy,
        candidates: &'a [Candidate],
        allow_unsafe: bool,
    ) -> Result<Self, PlacementError> {
        let mut trials = Self {
            policy,
            candidates,
            full: Vec::new(),
            nodes_lost_max: u8::MAX,
            zones_lost_max: Some(u8::MAX),
            copies_missing: 0,
        };
        let domain_of = domains(candidates);
        let domain = |node| domain_of.get(&node).copied().unwrap_or(node);
        let excluded = BTreeSet::new();
        for data in (1..=policy.coding.data).rev() {
            let shape = StripeShape { coding: policy.coding, data };
            for key in 0..KEYS_MAX {
                let layout = choose(&PlacementRequest {
                    strategy,
                    candidates,
                    policy: &policy,
                    shape,
                    key,
                    chunk_bytes: 0,
                    excluded: &excluded,
                    allow_unsafe,
                    is_strict: false,
                })?;
                let zones = domain_tolerance(shape, &layout.copies, domain);
                trials.zones_lost_max = trials.zones_lost_max.min(zones);
                trials.nodes_lost_max = trials.nodes_lost_max.min(layout.tolerated);
                trials.copies_missing = trials.copies_missing.max(layout.copies_missing);
                if data == policy.coding.data {
                    trials.full.push(layout.copies);
                }
            }
        }
        Ok(trials)
    }

    fn promise(&self) -> Promise {
        let has_zones = self.candidates.iter().any(|candidate| candidate.zone.is_some());
        let zones_lost_max = self.zones_lost_max.filter(|_| has_zones);
        let lost = self.nodes_lost_max;
        let present = self.candidates.iter().filter(|candidate| candidate.is_writable).count();
        let mut parts = vec![match lost {
            0 => format!("no node of {present} may be lost"),
            _ => format!("any {lost} of {present} nodes may be lost"),
        }];
        if let Some(zones) = zones_lost_max {
            parts.push(match zones {
                0 => "no whole zone".to_owned(),
                1 => "any 1 zone".to_owned(),
                _ => format!("any {zones} zones"),
            });
        }
        if let Some(share) = self.fatal_permille(lost + 1) {
            parts.push(format!(
                "one more would lose {} of the stripes on average",
                match share {
                    1000 => "all".to_owned(),
                    0 => "less than 0.1 %".to_owned(),
                    _ => format!("{}.{} %", share / 10, share % 10),
                }
            ));
        }
        if self.copies_missing > 0 {
            parts.push(match self.copies_missing {
                1 => "1 copy of a stripe waits for nodes that are away or full".to_owned(),
                copies => {
                    format!("{copies} copies of a stripe wait for nodes that are away or full")
                }
            });
        }
        let promised = self.policy.promised_losses();
        if lost < promised && self.copies_missing == 0 {
            parts.push(format!("UNSAFE: {} promises {promised}", self.policy));
        }
        Promise { nodes_lost_max: Some(lost), zones_lost_max, sentence: parts.join("; ") }
    }

    /// Of all pairs of a full stripe and a set of `size` nodes that are
    /// there, how many in a thousand are a stripe and its end.
    fn fatal_permille(&self, size: u8) -> Option<u64> {
        let nodes: Vec<NodeIndex> = self
            .candidates
            .iter()
            .filter(|candidate| candidate.is_writable)
            .map(|candidate| candidate.index)
            .collect();
        let sets = subsets(nodes.len(), size);
        if sets == 0 || sets > SETS_MAX {
            return None;
        }
        let parity = usize::from(self.policy.coding.parity);
        let (mut fatal, mut all) = (0_u64, 0_u64);
        each_subset(nodes.len(), usize::from(size), &mut |set| {
            let is_gone = |node: &NodeIndex| set.iter().any(|place| nodes[*place] == *node);
            for copies in &self.full {
                let lost = copies.iter().filter(|chunk| chunk.iter().all(is_gone)).count();
                fatal += u64::from(lost > parity);
                all += 1;
            }
        });
        Some(fatal * 1000 / all.max(1))
    }
}
