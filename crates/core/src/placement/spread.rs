//! Lays the copies of one stripe out over spots that are given in order.
//!
//! Few orders of filling are tried and the best is kept; where all of them
//! miss the promise on crowded nodes, copies are moved one by one as long as
//! that leaves fewer fatal sets of nodes.

use std::collections::{BTreeMap, BTreeSet};

use super::{Layout, domain_tolerance, tolerance};
use crate::id::NodeIndex;
use crate::policy::{Policy, StripeShape};

/// A node that may take copies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    pub(super) index: NodeIndex,
    /// The node that stands for its failure domain.
    pub(super) domain: NodeIndex,
    /// Copies that fit on it.
    pub(super) room: u32,
}

/// Copies laid out.
#[derive(Debug, Clone)]
pub(super) struct Spread {
    pub(super) copies: Vec<Vec<NodeIndex>>,
    pub(super) tolerated: Option<u8>,
    shape: StripeShape,
    domains_tolerated: Option<u8>,
    wanted: usize,
}

/// In which order copies are laid out, and what counts first.
#[derive(Debug, Clone, Copy)]
struct Style {
    /// Parity has nodes of its own, if it can.
    sets_parity_apart: bool,
    /// A fresh zone counts more than a fresh node.
    prefers_zones: bool,
}

const STYLES: [Style; 4] = [
    Style { sets_parity_apart: false, prefers_zones: true },
    Style { sets_parity_apart: false, prefers_zones: false },
    Style { sets_parity_apart: true, prefers_zones: true },
    Style { sets_parity_apart: true, prefers_zones: false },
];

/// The most sets of nodes that a search by moves looks at each time.
const FATAL_SETS_MAX: u64 = 5_000;
/// The most moves that a search tries.
const MOVES_MAX: usize = 2_000;

impl Spread {
    /// The best layout that is found: one that tolerates `promised` losses
    /// before one that does not, then the one that tolerates more zones, and
    /// more nodes.
    pub(super) fn best(spots: &[Spot], shape: StripeShape, policy: &Policy, promised: u8) -> Self {
        let has_zones = spots.iter().any(|spot| spot.domain != spot.index);
        let ideal = policy.replication.saturating_sub(1).saturating_add(shape.coding.parity);
        let mut best: Option<Self> = None;
        for style in STYLES.iter().filter(|style| has_zones || !style.prefers_zones) {
            let spread = Self::fill(spots, shape, policy, *style);
            if best.as_ref().is_none_or(|best| spread.rank(promised) > best.rank(promised)) {
                best = Some(spread);
            }
            if !has_zones && best.as_ref().is_some_and(|best| best.tolerated == Some(ideal)) {
                break;
            }
        }
        let mut best = best.expect("a style without zones is always tried");
        // With one copy of each, an even filling is as good as any.
        if best.is_complete() && best.tolerated < Some(promised) && policy.replication > 1 {
            best.improve(spots, promised);
        }
        best
    }

    pub(super) fn is_complete(&self) -> bool {
        self.placed() == self.wanted
    }

    /// Takes every copy off `nodes`.
    pub(super) fn drop_nodes(&mut self, nodes: &BTreeSet<NodeIndex>) {
        for chunk in &mut self.copies {
            chunk.retain(|node| !nodes.contains(node));
        }
        self.tolerated = tolerance(self.shape, &self.copies);
    }

    pub(super) fn into_layout(self) -> Layout {
        let copies_missing = u32::try_from(self.wanted - self.placed()).unwrap_or(u32::MAX);
        Layout { copies: self.copies, tolerated: self.tolerated.unwrap_or(0), copies_missing }
    }

    fn placed(&self) -> usize {
        self.copies.iter().map(Vec::len).sum()
    }

    fn rank(&self, promised: u8) -> impl Ord + use<> {
        let kept = self.tolerated.map(|tolerated| tolerated.min(promised));
        (self.placed(), kept, self.domains_tolerated, self.tolerated)
    }

    fn fill(spots: &[Spot], shape: StripeShape, policy: &Policy, style: Style) -> Self {
        let chunks = shape.chunks();
        let mut filling = Filling::new(spots, chunks);
        let data = 0..usize::from(shape.data);
        let parity = data.end..chunks;
        if style.sets_parity_apart {
            for chunk in parity.clone() {
                filling.add(chunk, style, true);
            }
        }
        for chunk in data.clone() {
            filling.add(chunk, style, false);
        }
        if !style.sets_parity_apart {
            for chunk in parity {
                filling.add(chunk, style, true);
            }
        }
        for _ in 1..policy.replication {
            for chunk in data.clone() {
                filling.add(chunk, style, false);
            }
        }
        let nodes = |places: &Vec<usize>| places.iter().map(|place| spots[*place].index).collect();
        let copies: Vec<Vec<NodeIndex>> = filling.copies.iter().map(nodes).collect();
        let domain_of: BTreeMap<_, _> = spots.iter().map(|s| (s.index, s.domain)).collect();
        let domain = |node| domain_of.get(&node).copied().unwrap_or(node);
        Self {
            tolerated: tolerance(shape, &copies),
            domains_tolerated: domain_tolerance(shape, &copies, domain),
            wanted: (0..chunks).map(|chunk| policy.copies_of(shape, chunk)).sum(),
            shape,
            copies,
        }
    }

    /// Moves copies while that leaves fewer sets of `promised` nodes whose
    /// loss would be fatal.
    fn improve(&mut self, spots: &[Spot], promised: u8) {
        if subsets(spots.len(), promised) > FATAL_SETS_MAX {
            return;
        }
        let mut used: BTreeMap<NodeIndex, u32> = BTreeMap::new();
        for node in self.copies.iter().flatten() {
            *used.entry(*node).or_default() += 1;
        }
        let mut fatal = self.fatal_sets(spots, promised);
        let mut moves = 0;
        let mut is_better = true;
        while is_better && fatal > 0 {
            is_better = false;
            for chunk in 0..self.copies.len() {
                for place in 0..self.copies[chunk].len() {
                    for spot in spots {
                        let from = self.copies[chunk][place];
                        let taken = used.get(&spot.index).copied().unwrap_or(0);
                        if self.copies[chunk].contains(&spot.index) || taken >= spot.room {
                            continue;
                        }
                        moves += 1;
                        if moves > MOVES_MAX {
                            return;
                        }
                        self.copies[chunk][place] = spot.index;
                        let then = self.fatal_sets(spots, promised);
                        if then < fatal {
                            fatal = then;
                            is_better = true;
                            *used.entry(from).or_default() -= 1;
                            *used.entry(spot.index).or_default() += 1;
                        } else {
                            self.copies[chunk][place] = from;
                        }
                    }
                }
            }
        }
        self.tolerated = tolerance(self.shape, &self.copies);
    }

    /// How many sets of `size` of the spots hold every copy of more chunks
    /// than there is parity for.
    fn fatal_sets(&self, spots: &[Spot], size: u8) -> usize {
        let mut fatal = 0;
        each_subset(spots.len(), usize::from(size), &mut |set| {
            let is_gone = |node: &NodeIndex| set.iter().any(|spot| spots[*spot].index == *node);
            let lost = self.copies.iter().filter(|nodes| nodes.iter().all(is_gone)).count();
            fatal += usize::from(lost > usize::from(self.shape.coding.parity));
        });
        fatal
    }
}

/// A layout in the making.
struct Filling<'a> {
    spots: &'a [Spot],
    /// For each spot its copies, and of these its parity chunks.
    loads: Vec<(u32, u32)>,
    /// Copies of the stripe in each failure domain.
    domain_loads: BTreeMap<NodeIndex, u32>,
    /// For each chunk the spots of its copies.
    copies: Vec<Vec<usize>>,
}

impl<'a> Filling<'a> {
    fn new(spots: &'a [Spot], chunks: usize) -> Self {
        Self {
            spots,
            loads: vec![(0, 0); spots.len()],
            domain_loads: BTreeMap::new(),
            copies: vec![Vec::new(); chunks],
        }
    }

    /// Gives `chunk` one more copy, on the spot that costs least; on none
    /// where none is left.
    fn add(&mut self, chunk: usize, style: Style, is_parity: bool) {
        let here = &self.copies[chunk];
        let cost = |place: &usize| {
            let spot = &self.spots[*place];
            let (load, parity) = self.loads[*place];
            let in_zone =
                here.iter().filter(|other| self.spots[**other].domain == spot.domain).count();
            let zone_load = self.domain_loads.get(&spot.domain).copied().unwrap_or(0);
            let beside_parity = u32::from(style.sets_parity_apart && !is_parity && parity > 0);
            let first = if style.prefers_zones { in_zone } else { 0 };
            (first, beside_parity, load, in_zone, zone_load, *place)
        };
        let fits = |place: &usize| {
            let spot = &self.spots[*place];
            self.loads[*place].0 < spot.room && !here.contains(place)
        };
        let Some(place) = (0..self.spots.len()).filter(fits).min_by_key(cost) else {
            return;
        };
        let spot = self.spots[place];
        self.copies[chunk].push(place);
        self.loads[place].0 += 1;
        self.loads[place].1 += u32::from(is_parity);
        *self.domain_loads.entry(spot.domain).or_default() += 1;
    }
}

/// Sets of `size` out of `count`, up to a number beyond all bounds here.
pub(super) fn subsets(count: usize, size: u8) -> u64 {
    let mut sets: u64 = 1;
    for step in 0..u64::from(size) {
        let Some(left) = (count as u64).checked_sub(step) else { return 0 };
        sets = sets.saturating_mul(left) / (step + 1);
    }
    sets
}

/// Visits every set of `size` of the numbers below `count`.
pub(super) fn each_subset(count: usize, size: usize, visit: &mut impl FnMut(&[usize])) {
    if size > count {
        return;
    }
    let mut set: Vec<usize> = (0..size).collect();
    loop {
        visit(&set);
        // The last place that can still go up; those behind it follow it.
        let Some(place) = (0..size).rev().find(|place| set[*place] < count - size + place) else {
            return;
        };
        set[place] += 1;
        for behind in place + 1..size {
            set[behind] = set[behind - 1] + 1;
        }
    }
}
