//! Changes of this client: each under a request id, asked for again until it
//! has an answer.
//!
//! A change ends in one of three ways: done, not done, or not known. Asking
//! again under the same id is always safe, since the coordinator makes a
//! change at most once and repeats its first answer. A client number carries
//! one change at a time; changes side by side use several numbers.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Client;
use super::call::{Backoff, tried_for};
use crate::api::{CoordinatorService, Error, Kind, Result};
use crate::id::{ClientNumber, RequestId};

/// A number that was not used for this long is given up: the coordinator may
/// have forgotten it. It remembers for twice as long.
const NUMBER_IDLE_MAX: Duration = Duration::from_secs(1800);
/// The most numbers that are kept for later changes.
const NUMBERS_KEPT_MAX: usize = 256;

/// The client numbers that carry no change now.
#[derive(Debug, Default)]
pub(super) struct Numbers(Mutex<Vec<Number>>);

/// A client number of this client.
#[derive(Debug)]
struct Number {
    client: ClientNumber,
    last_sequence: u64,
    last_used: Instant,
}

/// How a person finds out about a change whose outcome is not known.
#[derive(Debug, Clone, Copy)]
pub struct Doubt<'a> {
    /// What may have happened: `iso/a was removed`.
    pub what: &'a str,
    /// How to look: `dfs-sim stat iso/a`.
    pub look: &'a str,
}

impl Client {
    /// Makes a change through the coordinator, and asks again under the same
    /// request id, with growing pauses, until it has an answer or `retry_for`
    /// is over. The last call is cut short then, but has a second.
    ///
    /// # Errors
    /// As the coordinator gives them: the change was not made and never will
    /// be. `Unavailable` when it was not even asked for. `NotKnown` when no
    /// answer came: the change may have been made, or may be made later.
    pub async fn change<T, Made>(
        &self,
        doubt: Doubt<'_>,
        make: impl Fn(Arc<dyn CoordinatorService>, RequestId) -> Made,
    ) -> Result<T>
    where
        Made: Future<Output = Result<T>> + Send,
    {
        let started = Instant::now();
        let mut backoff = Backoff::new();
        let mut number = self.number().await?;
        let mut request = number.next();
        let mut is_first = true;
        let answer = loop {
            let limit = self.limit(started.elapsed());
            let called = self.call_within(limit, |coordinator| make(coordinator, request));
            let error = match called.await {
                Err(error) => error,
                answer => break answer,
            };
            match error.kind {
                // Nothing was sent under this id before, so nothing was done.
                Kind::Forgotten if is_first => {
                    number = self.new_number().await?;
                    request = number.next();
                    is_first = false;
                    continue;
                }
                Kind::Unavailable | Kind::NotKnown => {}
                // These say nothing of what happened to the change.
                Kind::Forgotten | Kind::Internal => return Err(not_known(&error, doubt)),
                _ => break Err(error),
            }
            is_first = false;
            let pause = backoff.next(&*self.env.random);
            if started.elapsed() + pause >= self.settings.retry_for {
                return Err(not_known(&tried_for(error, started.elapsed()), doubt));
            }
            tracing::debug!(%error, ?pause, %request, "a change has no answer yet, asking again");
            sleep(pause).await;
        };
        // Without an answer the number is not used again: the coordinator
        // could drop the answer that nobody has yet.
        self.numbers.give_back(number);
        answer
    }

    async fn number(&self) -> Result<Number> {
        match self.numbers.take() {
            Some(number) => Ok(number),
            None => self.new_number().await,
        }
    }

    async fn new_number(&self) -> Result<Number> {
        let client =
            self.call(|coordinator| async move { coordinator.client_number().await }).await?;
        Ok(Number { client, last_sequence: 0, last_used: Instant::now() })
    }
}

impl Numbers {
    fn take(&self) -> Option<Number> {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.retain(|number| number.last_used.elapsed() < NUMBER_IDLE_MAX);
        numbers.pop()
    }

    fn give_back(&self, number: Number) {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if numbers.len() < NUMBERS_KEPT_MAX {
            numbers.push(number);
        }
    }
}

impl Number {
    fn next(&mut self) -> RequestId {
        self.last_sequence += 1;
        self.last_used = Instant::now();
        RequestId { client: self.client, sequence: self.last_sequence }
    }
}

fn not_known(error: &Error, doubt: Doubt<'_>) -> Error {
    let Doubt { what, look } = doubt;
    let message = format!("{error}; it is not known whether {what}: `{look}` shows it");
    Error::new(Kind::NotKnown, message)
}
