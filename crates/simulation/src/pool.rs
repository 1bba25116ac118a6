//! The CPU pool of a simulated host: jobs run at once, on the one thread
//! there is. Disk jobs may be made slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dfs_core::env::{Pool, Work};

use crate::task::TaskGroup;

/// Runs jobs inline. CPU work takes no virtual time; disk work takes the
/// latency that was set.
pub struct InlinePool {
    disk_latency_us: Arc<AtomicU64>,
    tasks: TaskGroup,
}

impl InlinePool {
    pub(crate) fn new(disk_latency_us: Arc<AtomicU64>, tasks: TaskGroup) -> Self {
        Self { disk_latency_us, tasks }
    }
}

impl Pool for InlinePool {
    fn execute(&self, work: Work, job: Box<dyn FnOnce() + Send>) {
        let latency_us = self.disk_latency_us.load(Ordering::Relaxed);
        if work == Work::Cpu || latency_us == 0 {
            return job();
        }
        self.tasks.spawn(async move {
            tokio::time::sleep(Duration::from_micros(latency_us)).await;
            job();
        });
    }
}
