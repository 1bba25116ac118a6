//! A consistent-hash ring with virtual nodes by capacity (Karger et al. 1997;
//! virtual nodes as in Dynamo, 2007).
//!
//! Each node has points on a ring of 2^64; a walk starts at the key's hash
//! and meets nodes in the order of their nearest points clockwise. A node
//! that joins or leaves changes only the walks that met its points, about
//! its share of them, and no other node's place in them.
//!
//! The ring is not kept: the order of a walk is that of each node's distance
//! to its nearest point, so hashing the points of every node anew (about a
//! nanosecond each) gives it without state that could go stale.

use super::Candidate;
use crate::id::NodeIndex;

/// Points of the largest nodes: from half of this to all of it.
///
/// Shares deviate by about one over the square root of the points.
pub const POINTS_MAX: u64 = 256;

/// `candidates` in the order in which a walk from the hash of `key` meets
/// them.
#[must_use]
pub fn walk(key: u64, candidates: Vec<&Candidate>) -> Vec<&Candidate> {
    let unit = unit_bytes(&candidates);
    let start = mix(key ^ KEY_SALT);
    let mut met: Vec<(u64, NodeIndex, &Candidate)> = candidates
        .into_iter()
        .map(|candidate| (distance(start, candidate, unit), candidate.index, candidate))
        .collect();
    met.sort_unstable_by_key(|(distance, index, _)| (*distance, *index));
    met.into_iter().map(|(_, _, candidate)| candidate).collect()
}

/// Keys and points are drawn from different streams.
const KEY_SALT: u64 = 0x6b65_7973_6b65_7973;

/// Capacity that one point stands for. By powers of two, so that a node that
/// joins seldom changes the points of the others.
fn unit_bytes(candidates: &[&Candidate]) -> u64 {
    let largest = candidates.iter().map(|candidate| candidate.capacity).max().unwrap_or(0);
    (largest.checked_next_power_of_two().unwrap_or(1 << 63) / POINTS_MAX).max(1)
}

/// From `start` clockwise to the nearest point of `candidate`.
fn distance(start: u64, candidate: &Candidate, unit: u64) -> u64 {
    let points = (candidate.capacity / unit).clamp(1, POINTS_MAX);
    let node = u64::from(candidate.index.0) << 32;
    let nearest = (0..points).map(|point| mix(node | point).wrapping_sub(start)).min();
    nearest.expect("every node has a point")
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
