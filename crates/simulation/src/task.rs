//! The tasks of one process, which end together when it is killed.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use dfs_core::env::{Spawner, Task};
use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// Finished tasks are forgotten when this many are known.
const SWEEP_AT: usize = 64;

/// The tasks of one run of one process. Clones are the same group.
#[derive(Clone, Default)]
pub struct TaskGroup(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    handles: Vec<AbortHandle>,
    has_ended: bool,
    sweep_at: usize,
    panics: Panics,
}

/// Panics of all tasks of a world: none is ever right.
#[derive(Clone, Default)]
pub(crate) struct Panics(Arc<Mutex<Vec<String>>>);

/// The process ended before the task did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the simulated process has ended")]
pub struct Ended;

/// What a task will return, unless its process ends first.
pub struct Running<T> {
    result: oneshot::Receiver<T>,
    task: Option<AbortHandle>,
}

impl TaskGroup {
    pub(crate) fn new(panics: Panics) -> Self {
        let state = State { panics, sweep_at: SWEEP_AT, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Sets `work` going; it goes on when the answer is not waited for.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Running<T> {
        let (sender, result) = oneshot::channel();
        let mut state = self.state();
        if state.has_ended {
            return Running { result, task: None };
        }
        let panics = state.panics.clone();
        let task = tokio::spawn(async move {
            match AssertUnwindSafe(work).catch_unwind().await {
                // Whoever set it going may have lost interest.
                Ok(value) => drop(sender.send(value)),
                Err(panic) => panics.note(panic.as_ref()),
            }
        });
        let handle = task.abort_handle();
        if state.handles.len() >= state.sweep_at {
            state.handles.retain(|handle| !handle.is_finished());
            state.sweep_at = SWEEP_AT.max(2 * state.handles.len());
        }
        state.handles.push(handle.clone());
        Running { result, task: Some(handle) }
    }

    /// Ends all tasks where they stand, and whatever is set going later.
    pub fn end(&self) {
        let mut state = self.state();
        state.has_ended = true;
        let handles = std::mem::take(&mut state.handles);
        drop(state);
        for handle in handles {
            handle.abort();
        }
    }

    /// True once the process has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.state().has_ended
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spawner for TaskGroup {
    fn spawn(&self, task: Task) {
        drop(TaskGroup::spawn(self, task));
    }
}

impl<T> Running<T> {
    /// The same, and the task ends when nobody waits for it any more: as a
    /// server drops the work of a caller that went away.
    pub(crate) fn ends_with_caller(self) -> EndsWithCaller<T> {
        EndsWithCaller(self)
    }
}

impl<T> Future for Running<T> {
    type Output = Result<T, Ended>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.result).poll(context).map_err(|_| Ended)
    }
}

/// See [`Running::ends_with_caller`].
pub(crate) struct EndsWithCaller<T>(Running<T>);

impl<T> EndsWithCaller<T> {
    /// Lets the task go on by itself.
    pub(crate) fn let_go(mut self) {
        self.0.task = None;
    }
}

impl<T> Future for EndsWithCaller<T> {
    type Output = Result<T, Ended>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for EndsWithCaller<T> {
    fn drop(&mut self) {
        if let Some(task) = self.0.task.take() {
            task.abort();
        }
    }
}

impl Panics {
    /// The panics so far.
    pub(crate) fn list(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, panic: &(dyn std::any::Any + Send)) {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "a panic without text".to_owned());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}
