//! Which placements are taken and which are refused.

use super::*;

#[test]
fn the_founding_example_is_accepted() {
    let members = members(3);
    for key in 0..6 {
        let policy = policy(2, "xor", members.len());
        assert_eq!(policy.coding.to_string(), "xor:2");
        let layout = Wish { key, ..Wish::new(&members, policy) }.choose().expect("accepted");
        assert_eq!((layout.tolerated, layout.copies_missing), (1, 0));
    }
}

#[test]
fn with_a_node_for_every_copy_a_stripe_tolerates_all_that_it_can() {
    for (replication, parity, nodes) in
        [(1, "none", 1), (3, "none", 3), (1, "xor:4", 5), (2, "xor:4", 9), (3, "rs:4+2", 14)]
    {
        let members = members(nodes);
        let policy = policy(replication, parity, members.len());
        let layout = Wish::new(&members, policy).choose().expect("accepted");
        assert_eq!(layout.tolerated, replication - 1 + policy.coding.parity, "{policy}");
        let used: BTreeSet<_> = layout.copies.iter().flatten().collect();
        assert_eq!(used.len(), usize::from(nodes), "{policy}");
    }
}

#[test]
fn one_copy_of_each_chunk_needs_a_node_for_each_chunk() {
    let five = members(5);
    let wish = Wish::new(&five, policy(1, "rs:4+2", 5));
    assert_eq!(wish.refusal(), "rs:4+2 needs 6 nodes, not 5: start one more, or choose rs:3+2");
    let short = Wish { data: 3, ..wish };
    assert_eq!(short.choose().expect("five chunks on five nodes").tolerated, 2);
}

#[test]
fn a_refusal_names_what_is_needed_what_is_there_and_the_nearest_fixes() {
    for (replication, parity, nodes, text) in [
        (3, "none", 2, "R=3 needs 3 nodes, not 2: start one more, or choose R=2"),
        (3, "none", 1, "R=3 needs 3 nodes, not 1: start 2 more, or choose R=1"),
        (1, "none", 0, "R=1 needs 1 node, not 0: start one more"),
        (1, "xor:4", 3, "xor:4 needs 5 nodes, not 3: start 2 more, or choose xor:2"),
        (1, "xor:1", 1, "xor:1 needs 2 nodes, not 1: start one more, or choose R=1"),
        (2, "rs:4+2", 3, "R=2 rs:4+2 needs 4 nodes, not 3: start one more, or choose R=2 rs:2+2"),
    ] {
        let members = members(nodes);
        let policy = policy(replication, parity, members.len());
        assert_eq!(Wish::new(&members, policy).refusal(), text);
    }
}

#[test]
fn a_missing_member_is_named_with_its_reason() {
    let mut members = members(6);
    lose(&mut members, &[4]);
    let wish = Wish { is_strict: true, ..Wish::new(&members, policy(1, "rs:4+2", 6)) };
    assert_eq!(
        wish.refusal(),
        "rs:4+2 needs 6 nodes, not 5 (n4 offline for 3m): start one more, or choose \
         rs:3+2, or store it degraded, without --strict"
    );
}

#[test]
fn what_is_missing_thins_a_placement_that_still_tolerates_one_more_loss() {
    let mut members = members(6);
    lose(&mut members, &[4]);
    for key in 0..6 {
        let wish = Wish { key, ..Wish::new(&members, policy(1, "rs:4+2", 6)) };
        let layout = wish.choose().expect("degraded");
        assert_eq!((layout.tolerated, layout.copies_missing), (1, 1));
        assert!(layout.copies[..4].iter().all(|nodes| nodes.len() == 1), "data is kept first");
    }
    lose(&mut members, &[5]);
    let text = Wish::new(&members, policy(1, "rs:4+2", 6)).refusal();
    assert!(text.contains("not 4 (n4 offline for 3m, n5 offline for 3m): start 2 more"), "{text}");
}

#[test]
fn missing_members_do_not_thin_what_fits_on_the_others() {
    let mut members = members(5);
    lose(&mut members, &[2, 3]);
    let layout = Wish::new(&members, policy(3, "none", 5)).choose().expect("complete");
    assert_eq!((layout.tolerated, layout.copies_missing), (2, 0));
}

#[test]
fn fewer_copies_than_named_are_taken_only_while_one_more_node_may_go() {
    let mut members = members(3);
    lose(&mut members, &[1]);
    let three = Wish::new(&members, policy(3, "none", 3));
    let layout = three.choose().expect("degraded");
    assert_eq!((layout.tolerated, layout.copies_missing), (1, 1));
    lose(&mut members, &[2]);
    let three = Wish::new(&members, policy(3, "none", 3));
    assert_eq!(
        three.refusal(),
        "R=3 needs 3 nodes, not 1 (n1 offline for 3m, n2 offline for 3m): start 2 more, \
         or choose R=1"
    );
    let one = Wish::new(&members, policy(1, "none", 3));
    assert_eq!(one.choose().expect("R=1 promises nothing").copies_missing, 0);
}

#[test]
fn nodes_that_were_never_members_are_not_missing() {
    let two = members(2);
    assert!(Wish::new(&two, policy(3, "none", 2)).choose().is_err());
}

#[test]
fn an_excluded_node_counts_as_missing() {
    let members = members(3);
    let excluded = BTreeSet::from([NodeIndex(2)]);
    let layout = Wish { excluded, ..Wish::new(&members, policy(3, "none", 3)) }.choose();
    let layout = layout.expect("degraded");
    assert_eq!(layout.copies_missing, 1);
    assert!(!layout.copies[0].contains(&NodeIndex(2)));
}

#[test]
fn the_unsafe_is_taken_only_on_request_and_says_what_it_tolerates() {
    let members = members(3);
    let wish = Wish::new(&members, policy(1, "rs:4+2", 3));
    assert!(wish.choose().is_err());
    let layout = Wish { allow_unsafe: true, ..wish }.choose().expect("on request");
    assert_eq!((layout.tolerated, layout.copies_missing), (1, 0));
}

#[test]
fn a_full_node_is_passed_over_and_too_many_of_them_are_no_space() {
    let mut members = members(4);
    members[0].free = 1000;
    let layout = Wish::new(&members, policy(3, "none", 4)).choose().expect("three have room");
    assert!(!layout.copies[0].contains(&NodeIndex(1)));
    members[1].free = 12 << 10;
    let strict = Wish { is_strict: true, ..Wish::new(&members, policy(3, "none", 4)) };
    let refusal = strict.choose().expect_err("no space");
    assert_eq!(
        refusal,
        PlacementError::NoSpace(
            "R=3 needs 3 nodes with 1 MiB free (n1 has 1000 B, n2 has 12 KiB): free some \
             space, or add a node"
                .to_owned()
        )
    );
}

#[test]
fn a_full_node_thins_a_placement_as_a_dead_one_does() {
    let mut members = members(6);
    members[3].free = 0;
    let full = Wish::new(&members, policy(1, "rs:4+2", 6)).choose().expect("degraded");
    assert_eq!((full.tolerated, full.copies_missing), (1, 1));
    members[3].free = 100 * GIB;
    lose(&mut members, &[4]);
    assert_eq!(Wish::new(&members, policy(1, "rs:4+2", 6)).choose(), Ok(full));
    members[5].free = 0;
    let refusal = Wish::new(&members, policy(1, "rs:4+2", 6)).choose().expect_err("no space");
    assert_eq!(
        refusal.to_string(),
        "rs:4+2 needs 6 nodes with 1 MiB free (n6 has 0 B, n4 offline for 3m): free some space, \
         bring back what is away, or add a node"
    );
    // Nothing is taken that could not lose one more node.
    let mut members = self::members(2);
    members[0].free = 0;
    let refusal = Wish::new(&members, policy(2, "none", 2)).choose();
    assert!(matches!(refusal, Err(PlacementError::NoSpace(_))), "{refusal:?}");
}

#[test]
fn a_node_takes_no_more_copies_than_it_has_room_for() {
    let mut members = members(3);
    members[0].free = 1 << 20;
    for key in 0..3 {
        let wish = Wish { key, ..Wish::new(&members, policy(2, "xor:2", 3)) };
        let layout = wish.choose().expect("five copies on one, two and two");
        let on_first = layout.copies.iter().flatten().filter(|node| node.0 == 1).count();
        assert!(on_first <= 1, "{layout:?}");
    }
}

#[test]
fn copies_of_a_chunk_go_to_distinct_zones_first() {
    let mut members = members(6);
    for candidate in &mut members {
        candidate.zone = Some(if candidate.index.0 <= 4 { "a" } else { "b" }.to_owned());
    }
    let domain_of = domains(&members);
    for strategy in [PlacementStrategy::RoundRobin, PlacementStrategy::Ring] {
        for key in 0..20 {
            let wish = Wish { key, strategy, ..Wish::new(&members, policy(2, "xor:2", 6)) };
            let layout = wish.choose().expect("accepted");
            let zones = domain_tolerance(wish.shape(), &layout.copies, |node| domain_of[&node]);
            assert_eq!(zones, Some(1), "{strategy} {key}: {layout:?}");
        }
    }
}

#[test]
fn one_copy_for_a_running_upload_goes_where_the_promise_holds() {
    let six = members(6);
    let policy = policy(1, "rs:3+2", 6);
    let copies: Vec<Vec<NodeIndex>> = [&[1][..], &[2], &[], &[4], &[5]]
        .iter()
        .map(|l| l.iter().copied().map(NodeIndex).collect())
        .collect();
    let one = |candidates: &[Candidate], may_crowd| {
        choose_one(&OneRequest {
            candidates,
            policy: &policy,
            shape: policy.full_shape(),
            copies: &copies,
            slot: 2,
            chunk_bytes: 1 << 20,
            excluded: &BTreeSet::from([NodeIndex(3)]),
            preferred: &BTreeSet::new(),
            busy: &BTreeMap::new(),
            may_crowd,
        })
    };
    assert_eq!(one(&six, false), Some(NodeIndex(6)));
    assert_eq!(one(&six[..5], false), None, "every other node has a chunk of the stripe");
    assert_eq!(one(&six[..5], true), Some(NodeIndex(1)));
}
