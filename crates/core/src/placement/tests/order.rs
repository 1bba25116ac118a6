//! The strategies: balance, weight, and what moves when nodes come and go.

use std::collections::BTreeMap;

use super::*;

const KEYS: u64 = 2_000;

fn sets(members: &[Candidate], strategy: PlacementStrategy, copies: u8) -> Vec<BTreeSet<u16>> {
    let policy = policy(copies, "none", members.len());
    (0..KEYS)
        .map(|key| {
            let layout = Wish { key, strategy, ..Wish::new(members, policy) }.choose();
            layout.expect("accepted").copies[0].iter().map(|node| node.0).collect()
        })
        .collect()
}

fn shares(sets: &[BTreeSet<u16>]) -> BTreeMap<u16, u64> {
    let mut shares = BTreeMap::new();
    for node in sets.iter().flatten() {
        *shares.entry(*node).or_default() += 1;
    }
    shares
}

/// Stripes of which a copy is elsewhere, and copies that are.
fn moved(before: &[BTreeSet<u16>], after: &[BTreeSet<u16>]) -> (u64, u64) {
    let pairs = before.iter().zip(after);
    let gone = pairs.map(|(before, after)| before.difference(after).count() as u64);
    gone.fold((0, 0), |(stripes, copies), gone| (stripes + u64::from(gone > 0), copies + gone))
}

#[test]
fn round_robin_takes_one_node_after_the_other() {
    let members = members(4);
    let policy = policy(2, "none", 4);
    let chunk = |key| {
        let layout = Wish { key, ..Wish::new(&members, policy) }.choose().expect("accepted");
        numbers(&layout.copies).concat()
    };
    assert_eq!([chunk(0), chunk(1), chunk(2), chunk(3)], [[1, 2], [2, 3], [3, 4], [4, 1]]);
    assert_eq!(chunk(4), chunk(0));
}

#[test]
fn round_robin_gives_every_node_the_same_share() {
    let shares = shares(&sets(&members(5), PlacementStrategy::RoundRobin, 3));
    assert!(shares.values().all(|share| *share == KEYS * 3 / 5), "{shares:?}");
}

#[test]
fn the_order_of_the_candidates_does_not_matter() {
    let members = members(5);
    let mut reversed = members.clone();
    reversed.reverse();
    for strategy in [PlacementStrategy::RoundRobin, PlacementStrategy::Ring] {
        assert_eq!(sets(&members, strategy, 2), sets(&reversed, strategy, 2));
    }
}

#[test]
fn a_node_that_joins_the_ring_takes_its_share_and_moves_nothing_else() {
    let (ten, eleven) = (members(10), members(11));
    let before = sets(&ten, PlacementStrategy::Ring, 2);
    let after = sets(&eleven, PlacementStrategy::Ring, 2);
    let (stripes, copies) = moved(&before, &after);
    // One copy in eleven: 364 of 4,000, give or take the ring's unevenness.
    assert!((270..=460).contains(&copies), "{copies} copies moved");
    assert_eq!(stripes, copies, "no stripe loses more than one copy to the new node");
    for (before, after) in before.iter().zip(&after) {
        assert!(after.difference(before).all(|node| *node == 11), "only towards the new node");
    }
}

#[test]
fn a_node_that_leaves_the_ring_moves_only_what_it_held() {
    let eleven = members(11);
    let before = sets(&eleven, PlacementStrategy::Ring, 2);
    let after = sets(&eleven[..10], PlacementStrategy::Ring, 2);
    for (before, after) in before.iter().zip(&after) {
        let gone: Vec<_> = before.difference(after).collect();
        assert!(gone.is_empty() || gone == [&11], "{before:?} became {after:?}");
    }
}

#[test]
fn round_robin_starts_elsewhere_when_nodes_come_so_layouts_are_kept() {
    let before = sets(&members(10), PlacementStrategy::RoundRobin, 2);
    let after = sets(&members(11), PlacementStrategy::RoundRobin, 2);
    let (stripes, _) = moved(&before, &after);
    assert!(stripes > KEYS * 3 / 4, "{stripes} of {KEYS} would move");
}

#[test]
fn the_ring_gives_a_node_twice_as_large_twice_the_share() {
    let mut members = members(8);
    for candidate in members.iter_mut().take(4) {
        candidate.capacity *= 2;
    }
    let shares = shares(&sets(&members, PlacementStrategy::Ring, 1));
    let large: u64 = (1..=4).map(|node| shares[&node]).sum();
    let small: u64 = (5..=8).map(|node| shares[&node]).sum();
    let ratio = large as f64 / small as f64;
    assert!((1.7..=2.3).contains(&ratio), "{ratio:.2}: {shares:?}");
}

#[test]
fn equal_nodes_have_about_equal_shares_of_the_ring() {
    let shares = shares(&sets(&members(10), PlacementStrategy::Ring, 2));
    let mean = KEYS * 2 / 10;
    for (node, share) in &shares {
        assert!((mean * 3 / 4..=mean * 5 / 4).contains(share), "n{node}: {share} of {mean}");
    }
}

#[test]
fn a_small_node_that_joins_leaves_the_shares_of_large_ones_nearly_alone() {
    let mut members = members(5);
    members[4].capacity /= 100;
    let before = sets(&members[..4], PlacementStrategy::Ring, 1);
    let (stripes, _) = moved(&before, &sets(&members, PlacementStrategy::Ring, 1));
    assert!(stripes < KEYS / 50, "{stripes} moved");
}
