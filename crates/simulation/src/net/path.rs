//! The way from one host to one address: what a call and a message go through.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use dfs_core::api::{Error, Kind, Result};

use super::{CALL_TIMEOUT, Net};
use crate::host::Host;
use crate::task::EndsWithCaller;

/// From whom to where.
#[derive(Clone)]
pub(super) struct Path {
    net: Net,
    from: String,
    address: String,
    /// The host's name, which stands before the port.
    to: String,
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Out,
    Back,
}

/// The message does not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost;

impl Path {
    pub(super) fn new(net: Net, from: &str, address: &str) -> Self {
        let to = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let to = to.to_owned();
        Self { net, from: from.to_owned(), address: address.to_owned(), to }
    }

    /// One call and its answer.
    pub(super) async fn call<S, T, F>(
        &self,
        what: &'static str,
        deadline: Duration,
        service: fn(&Host) -> Option<Arc<S>>,
        ask: impl FnOnce(Arc<S>) -> F + Send,
    ) -> Result<T>
    where
        S: ?Sized + Send + Sync + 'static,
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let task = self.begin(what, service, ask).await?;
        let answer = self.wait(what, deadline, task).await;
        self.answer(what, answer).await
    }

    /// Delivers a call; its work runs in the peer's process.
    pub(super) async fn begin<S, T, F>(
        &self,
        what: &'static str,
        service: fn(&Host) -> Option<Arc<S>>,
        ask: impl FnOnce(Arc<S>) -> F + Send,
    ) -> Result<EndsWithCaller<Result<T>>>
    where
        S: ?Sized + Send + Sync + 'static,
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        if self.travel(Way::Out, what).await == Err(Lost) {
            return Err(self.timed_out(what).await);
        }
        let host = self.net.host_at(&self.address);
        let reached = host.and_then(|host| service(&host).map(|service| (host, service)));
        let Some((host, service)) = reached else {
            // The refusal travels as well.
            return Err(match self.travel(Way::Back, &format!("{what}: refused")).await {
                Ok(()) => self.unavailable("connection refused"),
                Err(Lost) => self.timed_out(what).await,
            });
        };
        Ok(host.tasks().spawn(ask(service)).ends_with_caller())
    }

    /// Waits for the peer's work.
    pub(super) async fn wait<T>(
        &self,
        what: &'static str,
        deadline: Duration,
        task: EndsWithCaller<Result<T>>,
    ) -> Result<T> {
        match tokio::time::timeout(deadline, task).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(self.reset()),
            Err(_) => Err(self.unavailable(&format!("no answer to {what} in {deadline:?}"))),
        }
    }

    /// Brings an answer home.
    pub(super) async fn answer<T>(&self, what: &'static str, answer: Result<T>) -> Result<T> {
        let text = match &answer {
            Ok(_) => format!("{what}: ok"),
            Err(error) => format!("{what}: {:?}: {error}", error.kind),
        };
        match self.travel(Way::Back, &text).await {
            Ok(()) => answer,
            Err(Lost) => Err(self.timed_out(what).await),
        }
    }

    /// Lets one message go its way.
    pub(super) async fn travel(&self, way: Way, what: &str) -> std::result::Result<(), Lost> {
        let (from, to) = match way {
            Way::Out => (&self.from, &self.to),
            Way::Back => (&self.to, &self.from),
        };
        let (latency, is_lost) = self.net.draw(from, to);
        tokio::time::sleep(latency).await;
        let is_lost = is_lost || self.net.link(from, to).is_cut;
        let fate = if is_lost { "lost" } else { "arrived" };
        self.net.note(format_args!("{from} to {to} {fate}: {what}"));
        if is_lost { Err(Lost) } else { Ok(()) }
    }

    pub(super) fn reset(&self) -> Error {
        self.unavailable("the connection was reset")
    }

    pub(super) fn unavailable(&self, why: &str) -> Error {
        Error::new(Kind::Unavailable, format!("cannot reach {}: {why}", self.address))
    }

    /// What a caller hears, and when, of a message that was lost.
    async fn timed_out(&self, what: &'static str) -> Error {
        tokio::time::sleep(CALL_TIMEOUT).await;
        self.unavailable(&format!("no answer to {what} in {CALL_TIMEOUT:?}"))
    }
}
