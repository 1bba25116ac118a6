//! Leases: for how long a run of a coordinator may acknowledge changes.
//!
//! Each exchange of heartbeats leases a node to one run. The node counts the
//! lease from the moment it received an answer, the coordinator from the
//! earlier moment at which it sent that answer, and only once the node has
//! confirmed it. So the coordinator's lease ends first. A node adopts no other
//! run before its lease has ended, and any two majorities share a node: of
//! two runs, at most one may acknowledge at a time.
//!
//! After Gray and Cheriton, "Leases", SOSP 1989. Clocks of two machines may
//! drift apart by [`DRIFT_MS_MAX`] in one lease.

use crate::id::NodeId;

/// The time for which the coordinator counts a node as leased, from the
/// moment at which it sent the answer.
pub const LEASE_MS: u64 = 6_000;
/// The time that a node adds to its own count, for clocks that drift.
pub const DRIFT_MS_MAX: u64 = 300;

/// The most by which one adoption raises the number of a node's run. It stops
/// a mistaken call from using up all numbers.
pub const EPOCH_RISE_MAX: u64 = 1_000;

/// Returns the time until which a run leads more than half of the members, in
/// the unit of `leases`. Exactly half is enough with the first member by id.
///
/// `leases` holds each counted member with the end of its lease. Without any
/// member there is nobody to lead, and no end.
#[must_use]
pub fn leads_until(leases: &[(&NodeId, u64)]) -> u64 {
    let Some((_, first_until)) = leases.iter().min_by_key(|(id, _)| *id) else { return u64::MAX };
    let mut ends: Vec<u64> = leases.iter().map(|(_, until)| *until).collect();
    ends.sort_unstable_by(|one, other| other.cmp(one));
    let half = ends.len() / 2;
    // The majority holds until its shortest lease ends.
    let majority = ends.get(half).copied().unwrap_or(0);
    let is_even = ends.len().is_multiple_of(2);
    match half.checked_sub(1).and_then(|last| ends.get(last)) {
        Some(half_until) if is_even => majority.max((*half_until).min(*first_until)),
        _ => majority,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(count: usize) -> Vec<NodeId> {
        (0..count).map(|n| NodeId::new(format!("n{n:02}")).expect("allowed")).collect()
    }

    fn leads(leases: &[(&NodeId, u64)], now: u64) -> bool {
        let leased = leases.iter().filter(|(_, until)| now < *until).count();
        let first = leases.iter().min_by_key(|(id, _)| *id).expect("some");
        2 * leased > leases.len() || (2 * leased == leases.len() && now < first.1)
    }

    #[test]
    fn a_cluster_without_members_is_always_led() {
        assert_eq!(leads_until(&[]), u64::MAX);
    }

    proptest! {
        #[test]
        fn the_end_is_the_first_moment_without_a_majority(
            ends in proptest::collection::vec(0_u64..20, 1..8)
        ) {
            let ids = ids(ends.len());
            let leases: Vec<_> = ids.iter().zip(ends.iter().copied()).collect();
            let expected = (0..=20).find(|now| !leads(&leases, *now)).expect("all leases end");
            prop_assert_eq!(leads_until(&leases), expected);
        }

        #[test]
        fn no_two_runs_lead_at_once(mask in 0_u8..128, count in 1_usize..8) {
            let ids = ids(count);
            let until = |ours: bool| -> Vec<(&NodeId, u64)> {
                let is_ours = |n: usize| (mask >> n & 1 == 1) == ours;
                ids.iter().enumerate().map(|(n, id)| (id, u64::from(is_ours(n)))).collect()
            };
            prop_assert!(!(leads_until(&until(true)) > 0 && leads_until(&until(false)) > 0));
        }
    }
}
