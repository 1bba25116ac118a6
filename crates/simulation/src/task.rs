//! The tasks of one process: they end together when it is killed, and stand
//! still together while it is paused.
//!
//! Whoever stops a process may be one of its own tasks. What such a task does
//! until it next waits has no effect: its disk handle is dead, it sends
//! nothing, and what it returns is thrown away.

use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use dfs_core::env::{Spawner, Task};
use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// Finished tasks are forgotten when this many are known.
const SWEEP_AT: usize = 64;

/// The tasks of one run of one process. Clones are the same group.
#[derive(Clone, Default)]
pub struct TaskGroup(Arc<Group>);

#[derive(Default)]
struct Group {
    has_ended: AtomicBool,
    is_paused: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    handles: Vec<AbortHandle>,
    sweep_at: usize,
    panics: Panics,
    /// Tasks that were due while the process was paused, in that order.
    parked: Vec<Waker>,
    /// Tasks that shall end once the process goes on.
    to_abort: Vec<AbortHandle>,
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
        Self(Arc::new(Group { state: Mutex::new(state), ..Group::default() }))
    }

    /// Sets `work` going; it goes on when the answer is not waited for.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Running<T> {
        let (sender, result) = oneshot::channel();
        if self.has_ended() {
            return Running { result, task: None };
        }
        let group = self.clone();
        let task = tokio::spawn(async move {
            let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
            let outcome = poll_fn(|context| group.poll(work.as_mut(), context)).await;
            match outcome {
                // Whoever set it going may have lost interest.
                Some(Ok(value)) => drop(sender.send(value)),
                Some(Err(panic)) => group.state().panics.note(panic.as_ref()),
                None => {}
            }
        });
        let handle = task.abort_handle();
        let mut state = self.state();
        if state.handles.len() >= state.sweep_at {
            state.handles.retain(|handle| !handle.is_finished());
            state.sweep_at = SWEEP_AT.max(2 * state.handles.len());
        }
        state.handles.push(handle.clone());
        Running { result, task: Some(handle) }
    }

    /// Ends all tasks where they stand, and whatever is set going later.
    pub fn end(&self) {
        self.0.has_ended.store(true, Ordering::Relaxed);
        self.0.is_paused.store(false, Ordering::Relaxed);
        let mut state = self.state();
        let handles = std::mem::take(&mut state.handles);
        let parked = std::mem::take(&mut state.parked);
        drop(state);
        for handle in handles {
            handle.abort();
        }
        // Of what waits outside of any task, such as a test's own call.
        parked.into_iter().for_each(Waker::wake);
    }

    /// Whether both are the same group.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// True once the process has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.0.has_ended.load(Ordering::Relaxed)
    }

    /// Lets no task run on until [`TaskGroup::resume`].
    pub(crate) fn pause(&self) {
        if !self.has_ended() {
            self.0.is_paused.store(true, Ordering::Relaxed);
        }
    }

    /// Lets all tasks run on, those first that were due first.
    pub(crate) fn resume(&self) {
        self.0.is_paused.store(false, Ordering::Relaxed);
        let mut state = self.state();
        let to_abort = std::mem::take(&mut state.to_abort);
        let parked = std::mem::take(&mut state.parked);
        drop(state);
        to_abort.iter().for_each(AbortHandle::abort);
        parked.into_iter().for_each(Waker::wake);
    }

    /// True while no task may run.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.0.is_paused.load(Ordering::Relaxed)
    }

    /// Ends at once, unless the process is paused: then when it goes on.
    pub(crate) async fn unpaused(&self) {
        poll_fn(|context| if self.parks(context) { Poll::Pending } else { Poll::Ready(()) }).await;
    }

    /// Ends one task, as a server drops the work of a caller that went away:
    /// a paused one when it comes to hear of it.
    pub(crate) fn abort<T>(&self, running: &mut Running<T>) {
        let Some(task) = running.task.take() else { return };
        if self.is_paused() {
            self.state().to_abort.push(task);
        } else {
            task.abort();
        }
    }

    /// One step of a task; `None` when the process ended in the midst of it.
    fn poll<T>(
        &self,
        work: Pin<&mut impl Future<Output = T>>,
        context: &mut Context<'_>,
    ) -> Poll<Option<T>> {
        if self.parks(context) {
            return Poll::Pending;
        }
        let polled = work.poll(context);
        polled.map(|value| if self.has_ended() { None } else { Some(value) })
    }

    fn parks(&self, context: &Context<'_>) -> bool {
        let is_paused = self.is_paused();
        if is_paused {
            self.state().parked.push(context.waker().clone());
        }
        is_paused
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spawner for TaskGroup {
    fn spawn(&self, task: Task) {
        drop(TaskGroup::spawn(self, task));
    }
}

impl<T> Future for Running<T> {
    type Output = Result<T, Ended>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.result).poll(context).map_err(|_| Ended)
    }
}

impl Panics {
    /// The panics so far.
    pub(crate) fn list(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, panic: &(dyn std::any::Any + Send)) {
        let text = text_of(panic);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}

/// What a panic says.
pub(crate) fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without text".to_owned())
}
