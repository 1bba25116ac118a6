//! How many nodes a stripe may lose, exactly.
//!
//! A stripe with M parity chunks is lost when more than M of its chunks are.
//! So its tolerance is one less than the smallest number of nodes that
//! together hold every copy of some M + 1 chunks: a minimum k-union, found
//! by branch and bound. Data chunks that a short stripe does not have are
//! zeros that everybody knows; they can neither be lost nor help.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::NodeIndex;
use crate::policy::{STRIPE_WIDTH_MAX, StripeShape};

const WIDTH: usize = STRIPE_WIDTH_MAX as usize;

/// After this many branches the bound that is proven by then is the answer.
/// Layouts that [`super::choose`] makes take a few, seldom some hundred.
const BRANCHES_MAX: u32 = 100_000;

/// The largest number of nodes any of which may be lost without losing data,
/// where `copies` names the nodes that hold each chunk (data, then parity).
///
/// `None` when too many chunks have no copy: the stripe cannot be read now.
/// For monstrous layouts that would take too long the answer may be lower
/// than the truth, never higher.
#[must_use]
pub fn tolerance<C: AsRef<[NodeIndex]>>(shape: StripeShape, copies: &[C]) -> Option<u8> {
    if copies.len() != shape.chunks() || copies.len() > WIDTH {
        return None;
    }
    let mut search = Search::new(copies);
    let unheld = search.open_chunks().filter(|chunk| search.left[*chunk] == 0).count();
    let parity = usize::from(shape.coding.parity);
    let needed = (parity + 1).checked_sub(unheld).filter(|needed| *needed > 0)?;
    search.close_unheld();
    let fewest = search.fewest_nodes(needed);
    Some(u8::try_from(fewest.saturating_sub(1)).unwrap_or(u8::MAX))
}

/// As [`tolerance`], counting failure domains instead of nodes: `domain_of`
/// names for each node one that stands for its domain.
#[must_use]
pub fn domain_tolerance<C: AsRef<[NodeIndex]>>(
    shape: StripeShape,
    copies: &[C],
    domain_of: impl Fn(NodeIndex) -> NodeIndex,
) -> Option<u8> {
    let copies: Vec<Vec<NodeIndex>> = copies
        .iter()
        .map(|nodes| {
            let domains: BTreeSet<_> = nodes.as_ref().iter().map(|node| domain_of(*node)).collect();
            domains.into_iter().collect()
        })
        .collect();
    tolerance(shape, &copies)
}

/// Chunks are bits of a `u32`; `nodes` says which chunks each node holds.
#[derive(Clone)]
struct Search {
    nodes: Vec<Node>,
    /// For each chunk, how many nodes that are not taken yet hold it.
    left: [u16; WIDTH],
    /// Chunks that may still be chosen to be lost.
    open: u32,
    /// Nodes taken.
    taken: usize,
}

#[derive(Clone, Copy)]
struct Node {
    chunks: u32,
    is_taken: bool,
}

struct Best {
    fewest: usize,
    branches: u32,
}

impl Search {
    fn new<C: AsRef<[NodeIndex]>>(copies: &[C]) -> Self {
        let mut chunks_of: BTreeMap<NodeIndex, u32> = BTreeMap::new();
        for (chunk, nodes) in copies.iter().enumerate() {
            for node in nodes.as_ref() {
                *chunks_of.entry(*node).or_default() |= 1 << chunk;
            }
        }
        let mut left = [0; WIDTH];
        for chunks in chunks_of.values() {
            each_bit(*chunks, |chunk| left[chunk] += 1);
        }
        let open = u32::try_from((1_u64 << copies.len()) - 1).unwrap_or(u32::MAX);
        let nodes =
            chunks_of.into_values().map(|chunks| Node { chunks, is_taken: false }).collect();
        Self { nodes, left, open, taken: 0 }
    }

    fn open_chunks(&self) -> impl Iterator<Item = usize> + use<> {
        let open = self.open;
        (0..WIDTH).filter(move |chunk| open & (1 << chunk) != 0)
    }

    fn close_unheld(&mut self) {
        for chunk in self.open_chunks() {
            if self.left[chunk] == 0 {
                self.open &= !(1 << chunk);
            }
        }
    }

    /// The smallest number of nodes that hold all copies of `needed` of the
    /// open chunks; beyond the branches allowed, the bound from below.
    fn fewest_nodes(&self, needed: usize) -> usize {
        let mut best = Best { fewest: usize::MAX, branches: 0 };
        self.branch(needed, &mut best);
        if best.branches > BRANCHES_MAX { self.at_least(needed) } else { best.fewest }
    }

    fn branch(&self, mut needed: usize, best: &mut Best) {
        best.branches += 1;
        if best.branches > BRANCHES_MAX {
            return;
        }
        let mut here = self.clone();
        for chunk in self.open_chunks() {
            if here.left[chunk] == 0 {
                // All its nodes are taken already: it is lost for nothing.
                here.open &= !(1 << chunk);
                needed = needed.saturating_sub(1);
            }
        }
        if needed == 0 {
            best.fewest = best.fewest.min(here.taken);
            return;
        }
        if (here.open.count_ones() as usize) < needed || here.at_least(needed) >= best.fewest {
            return;
        }
        let Some(chunk) = here.open_chunks().min_by_key(|chunk| here.left[*chunk]) else {
            return;
        };
        let mut with = here.clone();
        with.take(chunk);
        with.branch(needed, best);
        here.open &= !(1 << chunk);
        here.branch(needed, best);
    }

    /// Takes every node that holds `chunk`.
    fn take(&mut self, chunk: usize) {
        for node in &mut self.nodes {
            if !node.is_taken && node.chunks & (1 << chunk) != 0 {
                node.is_taken = true;
                self.taken += 1;
                each_bit(node.chunks, |held| self.left[held] -= 1);
            }
        }
    }

    /// A bound from below: the cheapest `needed` chunks have some number of
    /// copies left, and each further node takes away at most one of each
    /// chunk that it holds.
    fn at_least(&self, needed: usize) -> usize {
        let mut left: Vec<u16> = self.open_chunks().map(|chunk| self.left[chunk]).collect();
        left.sort_unstable();
        let copies: u32 = left.iter().take(needed).map(|left| u32::from(*left)).sum();
        let mut of_size = [0_u32; WIDTH + 1];
        for node in self.nodes.iter().filter(|node| !node.is_taken) {
            of_size[(node.chunks & self.open).count_ones() as usize] += 1;
        }
        let (mut covered, mut nodes) = (0, 0);
        for size in (1..=WIDTH as u32).rev() {
            for _ in 0..of_size[size as usize] {
                if covered >= copies {
                    return self.taken + nodes;
                }
                covered += size;
                nodes += 1;
            }
        }
        self.taken + nodes
    }
}

fn each_bit(mut bits: u32, mut visit: impl FnMut(usize)) {
    while bits != 0 {
        visit(bits.trailing_zeros() as usize);
        bits &= bits - 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::{Code, Coding};

    fn shape(data: u8, parity: u8) -> StripeShape {
        let code = if parity == 0 { Code::None } else { Code::ReedSolomon };
        StripeShape { coding: Coding { code, data, parity }, data }
    }

    fn nodes(lists: &[&[u16]]) -> Vec<Vec<NodeIndex>> {
        lists.iter().map(|list| list.iter().copied().map(NodeIndex).collect()).collect()
    }

    /// Tries every set of nodes.
    fn oracle(shape: StripeShape, copies: &[Vec<NodeIndex>]) -> Option<u8> {
        let all: Vec<_> = copies.iter().flatten().collect::<BTreeSet<_>>().into_iter().collect();
        let is_lost = |gone: u32| {
            let is_gone =
                |node| all.iter().position(|n| *n == node).is_some_and(|i| gone >> i & 1 == 1);
            let lost = copies.iter().filter(|nodes| nodes.iter().all(is_gone)).count();
            lost > usize::from(shape.coding.parity)
        };
        let fatal = (0..1_u32 << all.len()).filter(|gone| is_lost(*gone));
        let fewest = fatal.map(u32::count_ones).min().expect("losing all nodes loses all");
        u8::try_from(fewest).expect("small").checked_sub(1)
    }

    #[test]
    fn the_usual_layouts_tolerate_what_everybody_knows() {
        for (shape, lists, expected) in [
            (shape(1, 0), &[&[1, 2, 3][..]][..], Some(2)),
            (shape(1, 0), &[&[]], None),
            (shape(2, 1), &[&[1], &[2], &[3]], Some(1)),
            (shape(2, 1), &[&[1], &[2], &[]], Some(0)),
            (shape(2, 1), &[&[1], &[], &[]], None),
            (shape(2, 1), &[&[1, 2], &[3, 4], &[5]], Some(2)),
            (shape(2, 1), &[&[1, 2], &[2, 3], &[1]], Some(1)),
            (shape(4, 2), &[&[1], &[2], &[3], &[4], &[5], &[5]], Some(1)),
        ] {
            assert_eq!(tolerance(shape, &nodes(lists)), expected, "{lists:?}");
        }
    }

    #[test]
    fn a_short_stripe_loses_no_more_than_a_full_one() {
        let short = StripeShape { data: 1, ..shape(4, 2) };
        assert_eq!(tolerance(short, &nodes(&[&[1], &[2], &[3]])), Some(2));
        assert_eq!(tolerance(short, &nodes(&[&[1], &[], &[]])), Some(0));
    }

    #[test]
    fn what_is_no_stripe_tolerates_nothing() {
        assert_eq!(tolerance(shape(4, 2), &nodes(&[&[1]])), None);
    }

    #[test]
    fn the_widest_stripes_are_answered_within_the_bound() {
        // 32 chunks of which the data have three copies, on 24 nodes: the
        // most crowded that placement makes of the widest code.
        let lists: Vec<Vec<NodeIndex>> = (0..32_u16)
            .map(|c| {
                let copies = if c < 20 { 3 } else { 1 };
                (0..copies).map(|r| NodeIndex((c * copies + r) % 24)).collect()
            })
            .collect();
        let search = Search::new(&lists);
        let mut best = Best { fewest: usize::MAX, branches: 0 };
        search.branch(13, &mut best);
        assert!(best.branches < BRANCHES_MAX, "{} branches", best.branches);
    }

    proptest! {
        #[test]
        fn the_answer_is_that_of_trying_every_set_of_nodes(
            data in 1_u8..6,
            parity in 0_u8..4,
            spread in prop::collection::vec(prop::collection::btree_set(0_u16..9, 0..4), 9),
        ) {
            let shape = if parity == 0 { shape(1, 0) } else { shape(data, parity) };
            let copies: Vec<Vec<NodeIndex>> = spread[..shape.chunks()]
                .iter().map(|set| set.iter().copied().map(NodeIndex).collect()).collect();
            prop_assert_eq!(tolerance(shape, &copies), oracle(shape, &copies));
        }

        #[test]
        fn one_more_copy_never_lowers_the_tolerance(
            spread in prop::collection::vec(prop::collection::btree_set(0_u16..9, 0..4), 6),
            slot in 0_usize..6,
            node in 0_u16..9,
        ) {
            let mut copies: Vec<Vec<NodeIndex>> = spread
                .iter().map(|set| set.iter().copied().map(NodeIndex).collect()).collect();
            let before = tolerance(shape(4, 2), &copies);
            if !copies[slot].contains(&NodeIndex(node)) {
                copies[slot].push(NodeIndex(node));
            }
            prop_assert!(tolerance(shape(4, 2), &copies) >= before);
        }
    }
}
