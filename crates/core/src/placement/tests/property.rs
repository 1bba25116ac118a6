//! Properties of every placement.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::spread::each_subset;
use super::*;

fn parities() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "none", "xor:1", "xor:2", "xor:4", "rs:1+2", "rs:2+2", "rs:4+2", "rs:3+3", "rs:6+3",
    ])
}

#[derive(Debug, Clone)]
struct Case {
    candidates: Vec<Candidate>,
    policy: Policy,
    data: u8,
    strategy: PlacementStrategy,
    key: u64,
    is_strict: bool,
    allow_unsafe: bool,
}

fn cases() -> impl Strategy<Value = Case> {
    let nodes = prop::collection::vec(
        (any::<[bool; 2]>(), 0_u8..8, 0_u64..6, prop::option::of(0_u8..3)),
        1..12,
    );
    let flags = (any::<u64>(), any::<bool>(), any::<bool>(), any::<bool>());
    (nodes, 1_u8..4, parities(), any::<u8>(), flags).prop_map(
        |(nodes, replication, parity, data, (key, is_ring, is_strict, allow_unsafe))| {
            let mut candidates = members(u16::try_from(nodes.len()).expect("few"));
            for (candidate, (_, luck, room, zone)) in candidates.iter_mut().zip(nodes) {
                candidate.is_writable = luck > 0;
                candidate.free = if luck > 1 { GIB } else { room << 20 };
                candidate.zone = zone.map(|zone| format!("z{zone}"));
            }
            let policy = policy(replication, parity, candidates.len());
            let strategy =
                if is_ring { PlacementStrategy::Ring } else { PlacementStrategy::RoundRobin };
            let data = 1 + data % policy.coding.data;
            Case { candidates, policy, data, strategy, key, is_strict, allow_unsafe }
        },
    )
}

impl Case {
    fn wish(&self) -> Wish<'_> {
        Wish {
            strategy: self.strategy,
            data: self.data,
            key: self.key,
            is_strict: self.is_strict,
            allow_unsafe: self.allow_unsafe,
            ..Wish::new(&self.candidates, self.policy)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_layout_keeps_what_it_must(case in cases()) {
        let wish = case.wish();
        let Ok(layout) = wish.choose() else { return Ok(()) };
        prop_assert_eq!(layout.copies.len(), wish.shape().chunks());
        let mut on_node: BTreeMap<NodeIndex, u64> = BTreeMap::new();
        let mut missing = 0;
        for (slot, nodes) in layout.copies.iter().enumerate() {
            let distinct: BTreeSet<_> = nodes.iter().collect();
            prop_assert_eq!(distinct.len(), nodes.len(), "a chunk is doubled on a node");
            let wanted = case.policy.copies_of(wish.shape(), slot);
            prop_assert!(nodes.len() <= wanted);
            missing += wanted - nodes.len();
            nodes.iter().for_each(|node| *on_node.entry(*node).or_default() += 1);
        }
        prop_assert_eq!(missing, layout.copies_missing as usize);
        for (node, copies) in on_node {
            let candidate = case.candidates.iter().find(|c| c.index == node).expect("a member");
            prop_assert!(candidate.is_writable);
            prop_assert!(candidate.free >= copies * wish.chunk_bytes, "more than there is room for");
        }
        let tolerated = tolerance(wish.shape(), &layout.copies);
        prop_assert_eq!(tolerated, Some(layout.tolerated));
        let promised = case.policy.promised_losses();
        let required = if layout.copies_missing == 0 { promised } else { promised.min(1) };
        prop_assert!(case.allow_unsafe || layout.tolerated >= required);
        prop_assert!(!case.is_strict || layout.copies_missing == 0);
    }

    #[test]
    fn what_strict_takes_everyone_gets(case in cases()) {
        let strict = Wish { is_strict: true, allow_unsafe: false, ..case.wish() }.choose();
        let lenient = Wish { is_strict: false, allow_unsafe: false, ..case.wish() }.choose();
        if let Ok(strict) = strict {
            prop_assert_eq!(lenient, Ok(strict));
        }
    }

    #[test]
    fn one_copy_for_a_stripe_never_doubles_a_chunk_or_lowers_its_tolerance(
        case in cases(), lost in any::<prop::sample::Index>(), may_crowd in any::<bool>(),
    ) {
        let wish = Wish { allow_unsafe: true, ..case.wish() };
        let Ok(mut layout) = wish.choose() else { return Ok(()) };
        let slot = lost.index(layout.copies.len());
        let failed = layout.copies[slot].pop();
        let before = tolerance(wish.shape(), &layout.copies);
        let chosen = choose_one(&OneRequest {
            candidates: &case.candidates,
            policy: &case.policy,
            shape: wish.shape(),
            copies: &layout.copies,
            slot,
            chunk_bytes: wish.chunk_bytes,
            excluded: &failed.into_iter().collect(),
            preferred: &BTreeSet::new(),
            busy: &BTreeMap::new(),
            may_crowd,
        });
        let Some(node) = chosen else { return Ok(()) };
        prop_assert!(Some(node) != failed);
        prop_assert!(!layout.copies[slot].contains(&node));
        layout.copies[slot].push(node);
        let after = tolerance(wish.shape(), &layout.copies);
        prop_assert!(after >= before);
    }
}

/// Every way to lay a stripe out on few nodes, tried: nothing is refused that
/// could be had.
#[test]
fn crowded_placements_are_refused_only_when_there_are_none() {
    for (parity, nodes) in [
        ("rs:1+2", 2),
        ("rs:1+2", 3),
        ("rs:2+2", 3),
        ("rs:2+2", 4),
        ("rs:3+2", 3),
        ("rs:3+2", 4),
        ("rs:4+2", 3),
        ("rs:4+2", 4),
        ("rs:1+3", 3),
        ("rs:2+3", 4),
        ("rs:1+3", 4),
        ("rs:3+2", 5),
    ] {
        let members = members(nodes);
        let policy = policy(2, parity, members.len());
        let is_had = Wish::new(&members, policy).choose().is_ok();
        assert_eq!(is_had, exists(&policy, nodes), "R=2 {parity} on {nodes} nodes");
    }
}

fn exists(policy: &Policy, nodes: u16) -> bool {
    let shape = policy.full_shape();
    let mut pairs = Vec::new();
    each_subset(usize::from(nodes), 2, &mut |set| pairs.push(set.to_vec()));
    let singles: Vec<Vec<usize>> = (0..usize::from(nodes)).map(|node| vec![node]).collect();
    let places = |slot: usize| if slot < usize::from(shape.data) { &pairs } else { &singles };
    let mut at = vec![0; shape.chunks()];
    loop {
        let copies: Vec<Vec<NodeIndex>> = (at.iter().enumerate())
            .map(|(slot, choice)| {
                places(slot)[*choice].iter().map(|node| NodeIndex(*node as u16)).collect()
            })
            .collect();
        if tolerance(shape, &copies) >= Some(policy.promised_losses()) {
            return true;
        }
        let Some(slot) = (0..at.len()).find(|slot| at[*slot] + 1 < places(*slot).len()) else {
            return false;
        };
        at[slot] += 1;
        at[..slot].fill(0);
    }
}
