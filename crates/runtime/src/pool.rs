//! Threads for hashing and coding, and others for disk calls, so that a slow
//! disk never keeps the processor waiting nor the other way round.
//!
//! Threads are made when there is work for them. The queues have no bound of
//! their own: each caller waits for its job and bounds how many it has.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use dfs_core::env::{Pool, Work};

/// Disk calls at once. Enough to keep a fast disk busy, few enough for their
/// buffers.
const DISK_THREADS_MAX: usize = 16;

type Job = Box<dyn FnOnce() + Send>;

/// The pool of one process. Its threads end once it is dropped and its jobs
/// are done.
pub struct ThreadPool {
    cpu: Crew,
    disk: Crew,
}

struct Crew {
    name: &'static str,
    threads_max: usize,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    is_closed: bool,
}

impl ThreadPool {
    /// A pool with as many CPU threads as there are cores.
    #[must_use]
    pub fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { cpu: Crew::new("cpu", cores), disk: Crew::new("disk", DISK_THREADS_MAX) }
    }
}

impl Default for ThreadPool {
    fn default() -> Self {
        Self::new()
    }
}

impl Pool for ThreadPool {
    fn execute(&self, work: Work, job: Job) {
        match work {
            Work::Cpu => self.cpu.execute(job),
            Work::Disk => self.disk.execute(job),
        }
    }
}

impl Crew {
    fn new(name: &'static str, threads_max: usize) -> Self {
        Self { name, threads_max, shared: Arc::default() }
    }

    fn execute(&self, job: Job) {
        let mut state = self.shared.lock();
        state.jobs.push_back(job);
        let needs_thread = state.jobs.len() > state.idle && state.threads < self.threads_max;
        if needs_thread {
            state.threads += 1;
            let number = state.threads;
            drop(state);
            self.start(number);
        } else {
            drop(state);
            self.shared.wake.notify_one();
        }
    }

    fn start(&self, number: usize) {
        let shared = self.shared.clone();
        let name = format!("dfs-{}-{number}", self.name);
        let started = thread::Builder::new().name(name).spawn(move || shared.work());
        if let Err(error) = started {
            let mut state = self.shared.lock();
            state.threads -= 1;
            assert!(state.threads > 0, "cannot start the first {} thread: {error}", self.name);
            tracing::warn!(crew = self.name, %error, "cannot start another thread");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Jobs run outside the lock, so a panic leaves the queue whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                // The caller hears of a panic by the answer that never comes;
                // the thread goes on for the others.
                let _ = catch_unwind(AssertUnwindSafe(job));
                state = self.lock();
            } else if state.is_closed {
                return;
            } else {
                state.idle += 1;
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.wake.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use dfs_core::env::run;

    use super::*;

    #[tokio::test]
    async fn jobs_return_what_they_computed() {
        let pool = ThreadPool::new();
        let jobs = (0..200u64).map(|i| run(&pool, Work::Cpu, move || i * i));
        let squares = futures_util::future::join_all(jobs).await;
        assert_eq!(squares, (0..200).map(|i| i * i).collect::<Vec<u64>>());
    }

    #[tokio::test]
    async fn blocked_disk_jobs_do_not_stop_cpu_jobs_or_each_other() {
        let pool = ThreadPool::new();
        let barrier = Arc::new(Barrier::new(DISK_THREADS_MAX));
        for _ in 1..DISK_THREADS_MAX {
            let barrier = barrier.clone();
            pool.execute(
                Work::Disk,
                Box::new(move || {
                    barrier.wait();
                }),
            );
        }
        assert_eq!(run(&pool, Work::Cpu, || 7).await, 7);
        // Only when all others run at once does the barrier open.
        run(&pool, Work::Disk, move || barrier.wait()).await;
    }

    #[tokio::test]
    async fn a_thread_survives_the_panic_of_a_job() {
        let pool = ThreadPool { cpu: Crew::new("cpu", 1), disk: Crew::new("disk", 1) };
        let count = Arc::new(AtomicUsize::new(0));
        pool.execute(Work::Cpu, Box::new(|| panic!("a bug in a job")));
        let counted = count.clone();
        run(&pool, Work::Cpu, move || counted.fetch_add(1, Ordering::SeqCst)).await;
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}
