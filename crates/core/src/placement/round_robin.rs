//! Round robin: one node after the other, in the order in which they became
//! members, each stripe starting one further than the last.
//!
//! Every node gets the same share, whatever its size. A node that comes or
//! goes changes the order of nearly all keys; nothing moves by that, since a
//! stripe stays where its layout says.

use super::Candidate;

/// `candidates` from number `key` on, around.
#[must_use]
pub fn walk(key: u64, mut candidates: Vec<&Candidate>) -> Vec<&Candidate> {
    candidates.sort_unstable_by_key(|candidate| candidate.index);
    if let Some(start) = key.checked_rem(candidates.len() as u64) {
        candidates.rotate_left(usize::try_from(start).expect("less than a length"));
    }
    candidates
}
