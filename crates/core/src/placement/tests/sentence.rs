//! What is promised in words.

use super::*;

fn said(replication: u8, parity: &str, members: &[Candidate]) -> Promise {
    promise(&spec(replication, parity), PlacementStrategy::RoundRobin, members, false)
}

#[test]
fn the_promise_of_the_founding_example_is_counted() {
    let promise = said(2, "xor", &members(3));
    assert_eq!((promise.nodes_lost_max, promise.zones_lost_max), (Some(1), None));
    assert_eq!(
        promise.sentence,
        "any 1 of 3 nodes may be lost; one more would lose 33.3 % of the stripes on average"
    );
}

#[test]
fn a_promise_says_what_stands_in_its_way() {
    let promise = said(1, "rs:4+2", &members(5));
    assert_eq!(promise.nodes_lost_max, None);
    assert_eq!(
        promise.sentence,
        "nothing can be stored: rs:4+2 needs 6 nodes, not 5: start one more, or choose \
         rs:3+2"
    );
    let bad = PolicySpec { replication: 0, ..spec(1, "none") };
    let promise = super::super::promise(&bad, PlacementStrategy::Ring, &members(3), false);
    assert_eq!(promise.nodes_lost_max, None);
    assert!(promise.sentence.contains("replication must be 1 to 32, not 0"));
}

#[test]
fn a_degraded_promise_says_how_many_copies_wait() {
    let mut members = members(6);
    lose(&mut members, &[4]);
    let promise = said(1, "rs:4+2", &members);
    assert_eq!(promise.nodes_lost_max, Some(1));
    assert!(promise.sentence.contains("any 1 of 5 nodes"), "{}", promise.sentence);
    assert!(
        promise.sentence.ends_with("1 copy of a stripe waits for nodes that are away or full"),
        "{}",
        promise.sentence
    );
}

#[test]
fn an_unsafe_promise_says_so() {
    let promise = promise(&spec(1, "rs:4+2"), PlacementStrategy::Ring, &members(3), true);
    assert_eq!(promise.nodes_lost_max, Some(1));
    assert!(
        promise.sentence.ends_with("UNSAFE: R=1 rs:4+2 lz4 promises 2"),
        "{}",
        promise.sentence
    );
}

#[test]
fn zones_are_promised_where_they_are_named() {
    let mut members = members(4);
    for candidate in &mut members {
        candidate.zone = Some(format!("z{}", candidate.index.0 % 2));
    }
    let promise = said(2, "none", &members);
    assert_eq!((promise.nodes_lost_max, promise.zones_lost_max), (Some(1), Some(1)));
    assert!(
        promise.sentence.starts_with("any 1 of 4 nodes may be lost; any 1 zone;"),
        "{}",
        promise.sentence
    );
}

#[test]
fn one_copy_promises_nothing() {
    let promise = said(1, "none", &members(4));
    assert_eq!(promise.nodes_lost_max, Some(0));
    assert_eq!(
        promise.sentence,
        "no node of 4 may be lost; one more would lose 25.0 % of the stripes on average"
    );
}
