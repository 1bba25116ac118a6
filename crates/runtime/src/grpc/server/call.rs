//! Calls under way: each runs to its end in a task of its own, whether its
//! caller waits or has gone, as a role's calls do in the simulated world.

use std::future::Future;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use dfs_core::api::{Error, Kind, Result};
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot, watch};
use tonic::{Response, Status};

use super::share::{self, NoPlace, Shares};
use crate::TaskGroup;
use crate::grpc::convert::Checked;
use crate::grpc::error::to_status;
use crate::grpc::limit::CALLS_MAX;

/// The calls of one server.
#[derive(Clone)]
pub(super) struct Calls {
    tasks: TaskGroup,
    slots: Shares,
    stopping: Arc<watch::Sender<bool>>,
}

impl Calls {
    /// Each takes one of `slots` while it runs.
    pub(super) fn new(slots: Arc<Semaphore>) -> Self {
        let stopping = Arc::new(watch::Sender::new(false));
        Self { tasks: TaskGroup::new(Handle::current()), slots: Shares::of(slots), stopping }
    }

    /// Runs `call` to its end.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T>> + Send + 'static,
    ) -> std::result::Result<T, Status> {
        let (sender, receiver) = oneshot::channel();
        self.start(call, |result| async {
            // The caller may have gone.
            let _ = sender.send(result);
        });
        let stopping = || Error::new(Kind::Unavailable, "the process that was called is stopping");
        let result = receiver.await.unwrap_or_else(|_dropped| Err(stopping()));
        result.map_err(|error| to_status(&error))
    }

    /// Sets `call` going; `then` is told how it ended.
    pub(super) fn start<T: Send + 'static, Then: Future<Output = ()> + Send>(
        &self,
        call: impl Future<Output = Result<T>> + Send + 'static,
        then: impl FnOnce(Result<T>) -> Then + Send + 'static,
    ) {
        let peer = share::peer();
        let slot = self.slots.take(peer);
        self.tasks.run(async move {
            let slot = match slot {
                Ok(slot) => slot,
                Err(why) => return then(Err(no_place(why, peer))).await,
            };
            let result = AssertUnwindSafe(share::for_peer(peer, call)).catch_unwind().await.unwrap_or_else(|_panic| {
                Err(Error::new(
                    Kind::Internal,
                    "the call met a bug and was given up; the log of the process that was called \
                     says more",
                ))
            });
            drop(slot);
            then(result).await;
        });
    }

    /// Runs `call` to its end and answers with what `reply` makes of it.
    pub(super) async fn answer<T: Send + 'static, W>(
        &self,
        call: impl Future<Output = Result<T>> + Send + 'static,
        reply: impl FnOnce(T) -> W,
    ) -> std::result::Result<Response<W>, Status> {
        self.run(call).await.map(|answer| Response::new(reply(answer)))
    }

    /// Sets a task of a call going that outlives its answer.
    pub(super) fn continue_with(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.run(task);
    }

    /// No stream of calls takes any more.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Returns when the server stops.
    pub(super) async fn stopping(&self) {
        // The sender lives as long as `self`.
        let _ = self.stopping.subscribe().wait_for(|is_stopping| *is_stopping).await;
    }

    pub(super) fn abort_all(&self) {
        self.tasks.abort_all();
    }
}

/// The refusal of a call for which there is no place.
fn no_place(why: NoPlace, peer: Option<IpAddr>) -> Error {
    let text = match (why, peer) {
        (NoPlace::Share(held), Some(peer)) => format!(
            "{held} calls from {peer} are under way here, its share of {CALLS_MAX}: end some of \
             them, or try again"
        ),
        _ => format!("{CALLS_MAX} calls are under way here already: try again"),
    };
    Error::new(Kind::Unavailable, text)
}

/// A request, checked for form.
pub(super) fn well_formed<T>(checked: Checked<T>) -> Result<T> {
    checked
        .map_err(|bad| Error::new(Kind::Invalid, format!("the request is not well-formed: {bad}")))
}

/// [`well_formed`], or the status that refuses it.
pub(super) fn checked<T>(checked: Checked<T>) -> std::result::Result<T, Status> {
    well_formed(checked).map_err(|error| to_status(&error))
}

/// The refusal of a call that is another role's.
pub(super) fn not_taken(role: &str) -> Error {
    let text = format!("a {role} does not know this call: check the address");
    Error::new(Kind::NotSupported, text)
}
