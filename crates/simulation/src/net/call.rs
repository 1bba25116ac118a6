//! A call over a path: delivered, worked on in the peer's process, answered.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use dfs_core::api::{Kind, Result};
use dfs_core::mark::{Mark, reached};

use super::CALL_DEADLINE;
use super::message::Message;
use super::path::{Path, Way};
use crate::host::Host;
use crate::task::{Ended, Running, TaskGroup};

/// The work of a call in the peer's process. It ends when nobody waits for it
/// any more, as a server drops the work of a caller that went away; over a
/// link that is cut the server does not hear of that.
pub(super) struct Work<T> {
    running: Running<T>,
    process: TaskGroup,
    path: Path,
    is_let_go: bool,
}

impl Path {
    /// One call and its answer.
    pub(super) async fn call<S, T, F>(
        &self,
        what: &'static str,
        deadline: Duration,
        service: fn(&Host) -> Option<Arc<S>>,
        ask: impl FnOnce(Arc<S>) -> F + Clone + Send + 'static,
    ) -> Result<T>
    where
        S: ?Sized + Send + Sync + 'static,
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let result = self.call_once(what, deadline, service, ask).await;
        // Whoever got another answer has no reason to ask again.
        if matches!(&result, Err(error) if error.kind == Kind::Unavailable) {
            self.failed(what);
        }
        result
    }

    async fn call_once<S, T, F>(
        &self,
        what: &'static str,
        deadline: Duration,
        service: fn(&Host) -> Option<Arc<S>>,
        ask: impl FnOnce(Arc<S>) -> F + Clone + Send + 'static,
    ) -> Result<T>
    where
        S: ?Sized + Send + Sync + 'static,
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let again = self.doubles().then(|| ask.clone());
        let work = self.begin(what, service, ask).await?;
        if let Some(again) = again {
            self.deliver_again(what, service, again);
        }
        let answer = self.wait(what, deadline, work).await;
        self.answer(what, answer).await
    }

    /// Delivers a call; its work runs in the peer's process.
    pub(super) async fn begin<S, T, F>(
        &self,
        what: &'static str,
        service: fn(&Host) -> Option<Arc<S>>,
        ask: impl FnOnce(Arc<S>) -> F + Send,
    ) -> Result<Work<Result<T>>>
    where
        S: ?Sized + Send + Sync + 'static,
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        if let Err(broken) = self.travel(Way::Out, Message::Call(what)).await {
            return Err(self.error_of(broken, what).await);
        }
        let host = self.host();
        let reached = host.and_then(|host| service(&host).map(|service| (host, service)));
        let Some((host, service)) = reached else {
            return Err(match self.refuse(what).await {
                Ok(()) => self.unavailable("connection refused"),
                Err(broken) => self.error_of(broken, what).await,
            });
        };
        let process = host.tasks();
        let running = process.spawn(ask(service));
        Ok(Work { running, process, path: self.clone(), is_let_go: false })
    }

    /// Delivers a call that has arrived a second time, some time later. Its
    /// answer is thrown away.
    fn deliver_again<S, T, F>(
        &self,
        what: &'static str,
        service: fn(&Host) -> Option<Arc<S>>,
        ask: impl FnOnce(Arc<S>) -> F + Send + 'static,
    ) where
        S: ?Sized + Send + Sync + 'static,
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let Some(host) = self.host() else { return };
        let path = self.clone();
        // It goes on without its caller, and not without the process that the
        // connection led to.
        drop(host.tasks().spawn(async move {
            path.travel_again(what).await;
            let service = path.host().and_then(|host| service(&host));
            if let Some(service) = service {
                drop(ask(service).await);
            }
        }));
    }

    /// Waits for the peer's work: up to the deadline, and where that is far
    /// away, no longer than the peer answers pings.
    pub(super) async fn wait<T>(
        &self,
        what: &'static str,
        deadline: Duration,
        mut work: Work<Result<T>>,
    ) -> Result<T> {
        let process = work.process.clone();
        tokio::select! {
            biased;
            answer = &mut work => answer.unwrap_or_else(|_| Err(self.reset())),
            () = tokio::time::sleep(deadline) => {
                Err(self.unavailable(&format!("no answer to {what} in {deadline:?}")))
            }
            () = self.silence(&process), if deadline > CALL_DEADLINE => {
                Err(self.unavailable(&format!("no sign of life during {what}")))
            }
        }
    }

    /// Brings an answer home.
    pub(super) async fn answer<T>(&self, what: &'static str, answer: Result<T>) -> Result<T> {
        let travelled = self.travel(Way::Back, Message::Answer(what, answer.as_ref().err())).await;
        match travelled {
            Ok(()) => answer,
            Err(broken) => {
                if answer.is_ok() {
                    reached(Mark::AnswerLost);
                }
                Err(self.error_of(broken, what).await)
            }
        }
    }
}

impl<T> Work<T> {
    /// The process that works.
    pub(super) fn process(&self) -> &TaskGroup {
        &self.process
    }

    /// Lets the work go on by itself.
    pub(super) fn let_go(mut self) {
        self.is_let_go = true;
    }
}

impl<T> Future for Work<T> {
    type Output = std::result::Result<T, Ended>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.running).poll(context);
        // What a process returned as it died was never sent.
        polled.map(|result| if self.process.has_ended() { Err(Ended) } else { result })
    }
}

impl<T> Drop for Work<T> {
    fn drop(&mut self) {
        if !self.is_let_go && !self.path.is_cut() {
            self.process.abort(&mut self.running);
        }
    }
}
