//! Which run may adopt a node, and which may give it orders: pure rules.
//!
//! A node obeys exactly the run that it adopted. Another run adopts it only
//! by naming the run that it replaces, with a higher number, and only when the
//! lease of that run has ended or that run is known to have ended.

use std::time::Duration;

use tokio::time::Instant;

use super::identity::Identity;
use crate::api::{Adopt, Error, Kind, Result};
use crate::id::{Epoch, Run};
use crate::lease::{DRIFT_MS_MAX, EPOCH_RISE_MAX, LEASE_MS};
use crate::mutant::{Mutant, is_planted};

/// A node's own count of its lease, which is longer than the coordinator's.
const LEASE: Duration = Duration::from_millis(LEASE_MS + DRIFT_MS_MAX);

/// The time until which a node is leased to the run that it adopted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lease(Option<Instant>);

impl Lease {
    /// A lease that begins with an answer that was received at `now`.
    pub(super) fn granted(now: Instant) -> Self {
        Self(Some(now + LEASE))
    }

    /// The lease of a node that has just started and may have granted one to
    /// `run` before.
    pub(super) fn after_start(run: Run, now: Instant) -> Self {
        if run == Run::default() { Self(None) } else { Self::granted(now) }
    }

    /// Returns how long it still lasts, in ms, rounded up.
    pub(super) fn left_ms(&self, now: Instant) -> u64 {
        let left = self.0.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        u64::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

/// Checks whether a run may adopt the node now.
///
/// # Errors
/// `StaleEpoch`, `Invalid`, and `Unavailable` while another run has the lease.
pub(super) fn check_adoption(
    identity: &Identity,
    request: &Adopt,
    lease: &Lease,
    now: Instant,
) -> Result<()> {
    let (id, run, present) = (&identity.id, request.context.run, identity.told.run);
    if run == present {
        return Ok(());
    }
    if is_planted(Mutant::EqualEpochs) && run.epoch == present.epoch {
        return Ok(());
    }
    if run.epoch <= present.epoch && !is_planted(Mutant::StaleEpoch) {
        let text = format!("node {id} obeys run {present}: run {run} is over, or led another copy");
        return Err(Error::new(Kind::StaleEpoch, text));
    }
    let highest = Epoch(present.epoch.0.saturating_add(EPOCH_RISE_MAX));
    if present != Run::default() && run.epoch > highest {
        let text = format!(
            "node {id} obeys run {present}: one adoption raises the number by at most \
             {EPOCH_RISE_MAX}, to {highest}; run {run} was asked for"
        );
        return Err(Error::new(Kind::Invalid, text));
    }
    if request.replaces != present {
        let text = format!(
            "node {id} obeys run {present}: run {run} names {} as the one that it replaces",
            request.replaces
        );
        return Err(Error::new(Kind::StaleEpoch, text));
    }
    let left_ms = lease.left_ms(now);
    if left_ms > 0 && !request.has_ended {
        let text = format!(
            "node {id} is leased to run {present} at {} for another {left_ms} ms",
            identity.coordinator.as_deref().unwrap_or("an unknown address")
        );
        return Err(Error::new(Kind::Unavailable, text));
    }
    Ok(())
}

/// Checks that an order comes from the run that the node adopted.
///
/// # Errors
/// `StaleEpoch`: the caller asks its coordinator anew.
pub(super) fn check_order(identity: &Identity, run: Run) -> Result<()> {
    let (id, present) = (&identity.id, identity.told.run);
    let is_equal =
        run == present || (is_planted(Mutant::EqualEpochs) && run.epoch == present.epoch);
    if is_equal || is_planted(Mutant::StaleEpoch) {
        return Ok(());
    }
    let text = if run.epoch > present.epoch {
        format!("node {id} obeys run {present} and is not adopted by run {run} yet: ask again")
    } else {
        format!(
            "node {id} obeys run {present}, this order is of run {run}: another coordinator has \
             taken over"
        )
    };
    Err(Error::new(Kind::StaleEpoch, text))
}

/// Returns true when an answer to a heartbeat comes from the adopted run, and
/// false when it comes from a later one, which has yet to adopt the node.
///
/// # Errors
/// `StaleEpoch` when it comes from a run that is over, or from a copy.
pub(super) fn check_renewal(identity: &Identity, run: Run) -> Result<bool> {
    let (id, present) = (&identity.id, identity.told.run);
    if run == present {
        return Ok(true);
    }
    if run.epoch > present.epoch {
        return Ok(false);
    }
    let text = format!(
        "node {id} obeys run {present}, and the coordinator that answers is run {run}: it leads an \
         older copy of the catalog, or was replaced"
    );
    Err(Error::new(Kind::StaleEpoch, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Context, Told};
    use crate::id::{ClusterId, FolderId, NodeId};

    const CLUSTER: ClusterId = ClusterId([1; 16]);

    fn identity(run: Run) -> Identity {
        let id = NodeId::new("n1").expect("allowed");
        let mut identity = Identity::new(id, FolderId([2; 16]));
        identity.cluster = Some(CLUSTER);
        identity.told = Told { run, position: 5 };
        identity
    }

    fn adopt(run: Run, replaces: Run, has_ended: bool) -> Adopt {
        let context = Context { cluster: CLUSTER, run };
        let coordinator = "127.0.0.1:4000".to_owned();
        Adopt { context, coordinator, replaces, has_ended, position: 9, numbers_end: 100 }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_changes_its_run_by_the_rules_only() {
        let now = Instant::now();
        let (free, leased) = (Lease::default(), Lease::granted(now));
        let present = Run::new(5, 55);
        let next = Run::new(6, 66);
        type Case = (Run, Run, bool, Lease, Option<Kind>, &'static str);
        let cases: [Case; 11] = [
            (present, Run::default(), false, leased, None, "its own run, anew"),
            (next, present, false, free, None, "the next run, after the lease"),
            (next, present, false, leased, Some(Kind::Unavailable), "within the lease"),
            (next, present, true, leased, None, "the run before has ended"),
            (next, Run::new(4, 44), true, leased, Some(Kind::StaleEpoch), "names another run"),
            (next, Run::new(5, 99), false, free, Some(Kind::StaleEpoch), "names another tag"),
            (Run::new(5, 99), present, true, free, Some(Kind::StaleEpoch), "an equal number"),
            (Run::new(4, 44), present, true, free, Some(Kind::StaleEpoch), "a lower number"),
            (Run::new(1_005, 1), present, false, free, None, "as far as one call may rise"),
            (Run::new(1_006, 1), present, false, free, Some(Kind::Invalid), "one too far"),
            (Run::new(u64::MAX, 1), present, true, free, Some(Kind::Invalid), "an absurd number"),
        ];
        for (run, replaces, has_ended, lease, expected, why) in cases {
            let request = adopt(run, replaces, has_ended);
            let outcome = check_adoption(&identity(present), &request, &lease, now);
            assert_eq!(outcome.err().map(|error| error.kind), expected, "{why}");
        }
    }

    #[test]
    fn orders_of_every_other_run_are_refused() {
        let identity = identity(Run::new(5, 55));
        check_order(&identity, Run::new(5, 55)).expect("its own");
        for other in [Run::new(5, 56), Run::new(4, 55), Run::new(6, 55), Run::new(u64::MAX, 0)] {
            let error = check_order(&identity, other).expect_err("another run");
            assert_eq!(error.kind, Kind::StaleEpoch, "{other}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_restarts_waits_one_lease_and_a_new_one_does_not() {
        let now = Instant::now();
        assert_eq!(Lease::after_start(Run::default(), now).left_ms(now), 0);
        let lease = Lease::after_start(Run::new(3, 1), now);
        assert!(lease.left_ms(now) > LEASE_MS, "its count outlasts the coordinator's");
        assert_eq!(lease.left_ms(now + LEASE), 0);
    }
}
