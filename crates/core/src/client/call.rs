//! Calls to the coordinator that try again while it is not there.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::Client;
use crate::api::{CoordinatorService, Error, Kind, Result};
use crate::env::Random;

const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

impl Client {
    /// Makes a call to the coordinator, and makes it again while it answers
    /// `Unavailable` or not at all, with growing pauses, for at most
    /// `retry_for`. For calls that change nothing, or that may be made twice;
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
        loop {
            let error = match self.call_once(&make).await {
                Err(error) if error.kind == Kind::Unavailable => error,
                answer => return answer,
            };
            let pause = backoff.next(&*self.env.random);
            if started.elapsed() + pause >= self.settings.retry_for {
                let waited_s = started.elapsed().as_secs();
                let message = format!("{} (tried again for {waited_s} s)", error.message);
                return Err(Error::new(Kind::Unavailable, message));
            }
            tracing::debug!(%error, ?pause, "the coordinator is not available, trying again");
            sleep(pause).await;
        }
    }

    /// Makes a call to the coordinator once, within `call_within`.
    pub(super) async fn call_once<T, Made>(
        &self,
        make: impl Fn(Arc<dyn CoordinatorService>) -> Made,
    ) -> Result<T>
    where
        Made: Future<Output = Result<T>> + Send,
    {
        let limit = self.settings.call_within;
        match timeout(limit, make(self.coordinator.clone())).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(Error::new(
                Kind::Unavailable,
                format!("the coordinator did not answer within {} s", limit.as_secs()),
            )),
        }
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
