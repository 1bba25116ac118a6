//! Tasks that end together: those of one role, where several live in one
//! process.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dfs_core::env::{Spawner, Task};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// A group of tasks. They are aborted by [`TaskGroup::abort_all`], or when
/// the last clone of the group is dropped.
#[derive(Clone)]
pub struct TaskGroup {
    runtime: Handle,
    tasks: Arc<Mutex<Option<JoinSet<()>>>>,
}

impl TaskGroup {
    /// An empty group on `runtime`.
    #[must_use]
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, tasks: Arc::new(Mutex::new(Some(JoinSet::new()))) }
    }

    /// Sets `task` going; in a group that was aborted it never runs.
    pub fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(tasks) = &mut *self.lock() {
            while let Some(ended) = tasks.try_join_next() {
                if ended.is_err_and(|error| error.is_panic()) {
                    tracing::error!("a background task panicked; this is a bug");
                }
            }
            tasks.spawn_on(task, &self.runtime);
        }
    }

    /// Ends all tasks at their next await, and refuses further ones.
    pub fn abort_all(&self) {
        // Dropped outside the lock: a task's end may run anything.
        let tasks = self.lock().take();
        drop(tasks);
    }

    fn lock(&self) -> MutexGuard<'_, Option<JoinSet<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spawner for TaskGroup {
    fn spawn(&self, task: Task) {
        self.run(task);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn an_aborted_group_ends_its_tasks_and_takes_no_more() {
        let group = TaskGroup::new(Handle::current());
        let (held, ended) = oneshot::channel::<()>();
        group.run(async move {
            let _held = held;
            pending::<()>().await;
        });
        group.abort_all();
        assert!(ended.await.is_err(), "the task was dropped");

        let (late, never) = oneshot::channel::<()>();
        group.run(async move { late.send(()).expect("somebody listens") });
        assert!(never.await.is_err(), "a late task does not run");
    }
}
