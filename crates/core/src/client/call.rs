//! Calls to the coordinator that try again while it is not there.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::Client;
use crate::api::{CoordinatorService, Error, Kind, Met, NODES_PER_REPORT_MAX, NodeReport, Result};
use crate::env::Random;
use crate::id::NodeId;
use crate::mutant::{Mutant, is_planted};

const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// The least time that a call has to be answered, however short the patience.
const CALL_WITHIN_MIN: Duration = Duration::from_secs(1);

impl Client {
    /// Makes a call to the coordinator, and makes it again while it answers
    /// `Unavailable` or not at all, with growing pauses, for at most
    /// `retry_for`: the last call is cut short. What other calls of this
    /// client waited for just before counts: many files in a row are given up
    /// together. For calls that change nothing, or that may be made twice;
    /// see [`Client::change`] for the others.
    ///
    /// # Errors
    /// As the coordinator gives them.
    pub async fn call<T, Made>(
        &self,
        make: impl Fn(Arc<dyn CoordinatorService>) -> Made,
    ) -> Result<T>
    where
        Made: Future<Output = Result<T>> + Send,
    {
        let started = Instant::now();
        let mut backoff = Backoff::new();
        let gap_max = self.settings.call_within + 2 * BACKOFF_MAX;
        loop {
            let waited = started.elapsed().max(self.outage.lasted(gap_max));
            let error = match self.call_within(self.limit(waited), &make).await {
                Err(error) if error.kind == Kind::Unavailable => error,
                answer => {
                    self.outage.is_over();
                    return answer;
                }
            };
            let pause = backoff.next(&*self.env.random);
            let waited = started.elapsed().max(self.outage.lasts(gap_max));
            if waited + pause >= self.settings.retry_for {
                return Err(tried_for(error, waited));
            }
            tracing::debug!(%error, ?pause, "the coordinator is not available, trying again");
            sleep(pause).await;
        }
    }

    /// Tells the coordinator which nodes were slow or could not be reached, if
    /// any. Best effort: the next client finds the same.
    pub(super) async fn tell_of_nodes(
        &self,
        taken_for_slow: &BTreeSet<NodeId>,
        unreachable: Vec<(NodeId, String)>,
    ) {
        let mut reports = self.paces.news(taken_for_slow);
        let unreachable = unreachable.into_iter();
        reports
            .extend(unreachable.map(|(node, why)| NodeReport { node, met: Met::Unreachable(why) }));
        reports.truncate(NODES_PER_REPORT_MAX);
        if reports.is_empty() {
            return;
        }
        let told = self.call_once(|coordinator| {
            let reports = reports.clone();
            async move { coordinator.report_nodes(reports).await }
        });
        if let Err(error) = told.await {
            tracing::debug!(%error, "the coordinator could not be told of nodes");
        }
    }

    /// Makes a call to the coordinator once, within `call_within` and the
    /// patience.
    pub(super) async fn call_once<T, Made>(
        &self,
        make: impl Fn(Arc<dyn CoordinatorService>) -> Made,
    ) -> Result<T>
    where
        Made: Future<Output = Result<T>> + Send,
    {
        self.call_within(self.limit(Duration::ZERO), make).await
    }

    /// Makes a call to the coordinator once, within `limit`.
    pub(super) async fn call_within<T, Made>(
        &self,
        limit: Duration,
        make: impl Fn(Arc<dyn CoordinatorService>) -> Made,
    ) -> Result<T>
    where
        Made: Future<Output = Result<T>> + Send,
    {
        match timeout(limit, make(self.coordinator.clone())).await {
            Ok(answer) => answer,
            Err(_elapsed) => {
                let at = self.address.as_deref().map_or_else(String::new, |at| format!(" at {at}"));
                let text = format!("the coordinator{at} does not answer");
                Err(Error::new(Kind::Unavailable, text))
            }
        }
    }

    /// Returns how long the next call may take, when `waited` of the patience
    /// is over.
    pub(super) fn limit(&self, waited: Duration) -> Duration {
        let left = self.settings.retry_for.saturating_sub(waited);
        left.max(CALL_WITHIN_MIN).min(self.settings.call_within)
    }
}

/// Adds to an error how long an answer was waited for.
pub(super) fn tried_for(error: Error, waited: Duration) -> Error {
    let message = format!("{} (tried for {} s)", error.message, waited.as_secs());
    Error::new(error.kind, message)
}

/// The time in which the coordinator was not there for any call of a client.
#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<Option<Seen>>);

#[derive(Debug, Clone, Copy)]
struct Seen {
    since: Instant,
    last: Instant,
}

impl Outage {
    /// Notes that a call failed; returns for how long calls have done so. One
    /// more than `gap_max` after the last begins anew.
    fn lasts(&self, gap_max: Duration) -> Duration {
        let now = Instant::now();
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.filter(|seen| now.duration_since(seen.last) <= gap_max);
        let since = before.map_or(now, |seen| seen.since);
        *seen = Some(Seen { since, last: now });
        now.duration_since(since)
    }

    /// Returns for how long calls have failed, when the last did so at most
    /// `gap_max` ago.
    fn lasted(&self, gap_max: Duration) -> Duration {
        let now = Instant::now();
        let seen = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.filter(|seen| now.duration_since(seen.last) <= gap_max);
        before.map_or(Duration::ZERO, |seen| now.duration_since(seen.since))
    }

    fn is_over(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Growing pauses between attempts, each drawn from the upper half of its
/// range so that many clients do not come back at the same moment.
pub(super) struct Backoff {
    range: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { range: BACKOFF_FIRST }
    }

    pub(super) fn next(&mut self, random: &dyn Random) -> Duration {
        if is_planted(Mutant::RetriesAtOnce) {
            return Duration::from_millis(1);
        }
        let half = self.range / 2;
        let half_us = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
        let drawn = Duration::from_micros(random.next_u64() % (half_us + 1));
        self.range = (self.range * 2).min(BACKOFF_MAX);
        half + drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u8);

    impl Random for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_one_for_all_calls_until_one_is_answered_or_time_passes() {
        let outage = Outage::default();
        let gap = Duration::from_secs(14);
        assert_eq!(outage.lasts(gap), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(outage.lasted(gap), Duration::from_secs(10), "without another call");
        assert_eq!(outage.lasts(gap), Duration::from_secs(10), "of another file");
        outage.is_over();
        assert_eq!(outage.lasts(gap), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(15)).await;
        assert_eq!(outage.lasted(gap), Duration::ZERO);
        assert_eq!(outage.lasts(gap), Duration::ZERO, "nobody asked meanwhile");
    }

    #[test]
    fn pauses_grow_to_their_bound_and_never_vanish() {
        for byte in [0, 1, 0x7f, 0xff] {
            let mut backoff = Backoff::new();
            let pauses: Vec<Duration> = (0..12).map(|_| backoff.next(&Fixed(byte))).collect();
            assert!(pauses.iter().all(|pause| *pause >= BACKOFF_FIRST / 2));
            assert!(pauses.iter().all(|pause| *pause <= BACKOFF_MAX));
            assert!(pauses[11] >= BACKOFF_MAX / 2);
        }
    }
}
