//! Calls under way: each runs to its end in a task of its own, whether its
//! caller waits or has gone, as a role's calls do in the simulated world.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use dfs_core::api::{Error, Kind, Result};
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tonic::{Response, Status};

use crate::TaskGroup;
use crate::grpc::convert::Checked;
use crate::grpc::error::to_status;
use crate::grpc::limit::CALLS_MAX;

/// The calls of one server.
#[derive(Clone)]
pub(super) struct Calls {
    tasks: TaskGroup,
    slots: Arc<Semaphore>,
}

impl Calls {
    /// Each takes one of `slots` while it runs.
    pub(super) fn new(slots: Arc<Semaphore>) -> Self {
        Self { tasks: TaskGroup::new(Handle::current()), slots }
    }

    /// Runs `call` to its end.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T>> + Send + 'static,
    ) -> std::result::Result<T, Status> {
        self.try_run(call).await.map_err(|error| to_status(&error))
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

    pub(super) fn abort_all(&self) {
        self.tasks.abort_all();
    }

    async fn try_run<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let slot = self.slots.clone().try_acquire_owned().map_err(|_| {
            let text = format!("{CALLS_MAX} calls are under way here already: try again");
            Error::new(Kind::Unavailable, text)
        })?;
        let (sender, receiver) = oneshot::channel();
        self.tasks.run(async move {
            let result = AssertUnwindSafe(call).catch_unwind().await;
            drop(slot);
            // The caller may have gone.
            let _ = sender.send(result);
        });
        match receiver.await {
            Ok(Ok(result)) => result,
            Ok(Err(_panic)) => Err(Error::new(
                Kind::Internal,
                "the call met a bug and was given up; the log of the process that was called says more",
            )),
            Err(_) => Err(Error::new(Kind::Unavailable, "the process that was called is stopping")),
        }
    }
}

/// A request, checked for form.
pub(super) fn checked<T>(checked: Checked<T>) -> std::result::Result<T, Status> {
    checked.map_err(|bad| {
        let text = format!("the request is not well-formed: {bad}");
        to_status(&Error::new(Kind::Invalid, text))
    })
}
