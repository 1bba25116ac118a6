//! A node for one copy: of a chunk whose target failed during a `put`, or of
//! one that repair rebuilds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Candidate, domains, tolerance};
use crate::id::NodeIndex;
use crate::mutant::{Mutant, is_planted};
use crate::policy::{Policy, StripeShape};

/// The wish for a node for one copy.
#[derive(Debug, Clone, Copy)]
pub struct OneRequest<'a> {
    /// Every member.
    pub candidates: &'a [Candidate],
    /// The stripe's policy.
    pub policy: &'a Policy,
    /// The stripe's shape.
    pub shape: StripeShape,
    /// Where the stripe's copies are, or are on their way to, for each chunk;
    /// without the copy that is to be replaced.
    pub copies: &'a [Vec<NodeIndex>],
    /// The chunk that gets one more copy.
    pub slot: usize,
    /// Room that it needs, in bytes.
    pub chunk_bytes: u64,
    /// Nodes that are not to be taken.
    pub excluded: &'a BTreeSet<NodeIndex>,
    /// Nodes that are to be taken first among equals.
    pub preferred: &'a BTreeSet<NodeIndex>,
    /// Copies that each node is about to take for other reasons.
    pub busy: &'a BTreeMap<NodeIndex, u32>,
    /// Take a node even where the stripe, crowded on it, tolerates less than
    /// its policy promises and less than it would with the copy elsewhere.
    pub may_crowd: bool,
}

/// Stands for a node that is not there and holds nothing.
const NOBODY: NodeIndex = NodeIndex(u16::MAX);

/// Chooses a writable node that does not hold the chunk. The stripe's
/// tolerance never falls by it; without `may_crowd` it becomes what the
/// policy promises, or as good as a node of its own for the copy would make
/// it. `None` when there is no such node.
#[must_use]
pub fn choose_one(request: &OneRequest<'_>) -> Option<NodeIndex> {
    let here = request.copies.get(request.slot)?;
    let fits = |candidate: &&Candidate| {
        candidate.is_writable
            && (candidate.free >= request.chunk_bytes || is_planted(Mutant::PlacesOnFull))
            && !request.excluded.contains(&candidate.index)
            && !here.contains(&candidate.index)
    };
    let fitting: Vec<&Candidate> = request.candidates.iter().filter(fits).collect();
    if fitting.is_empty() {
        return None;
    }
    let promised = Some(request.policy.promised_losses());
    let with = |node: NodeIndex| {
        let mut copies: Vec<Vec<NodeIndex>> = request.copies.to_vec();
        if let Some(chunk) = copies.get_mut(request.slot) {
            chunk.push(node);
        }
        tolerance(request.shape, &copies)
    };
    let enough = if request.may_crowd { None } else { promised.min(with(NOBODY)) };
    let domain_of = domains(request.candidates);
    let domain = |node: NodeIndex| domain_of.get(&node).copied().unwrap_or(node);
    let in_domain = |nodes: &mut dyn Iterator<Item = &NodeIndex>, candidate: &Candidate| {
        nodes.filter(|node| domain(**node) == domain(candidate.index)).count()
    };

    let rank = |candidate: &Candidate, tolerated: Option<u8>| {
        let index = candidate.index;
        let load = request.copies.iter().flatten().filter(|node| **node == index).count();
        let free_permille =
            u128::from(candidate.free) * 1000 / u128::from(candidate.capacity.max(1));
        (
            tolerated.min(promised),
            request.preferred.contains(&index),
            Reverse(in_domain(&mut here.iter(), candidate)),
            tolerated,
            Reverse(load),
            Reverse(in_domain(&mut request.copies.iter().flatten(), candidate)),
            Reverse(request.busy.get(&index).copied().unwrap_or(0)),
            free_permille,
            Reverse(index),
        )
    };
    fitting
        .into_iter()
        .map(|candidate| (candidate, with(candidate.index)))
        .filter(|(_, tolerated)| *tolerated >= enough)
        .max_by_key(|(candidate, tolerated)| rank(candidate, *tolerated))
        .map(|(candidate, _)| candidate.index)
}
