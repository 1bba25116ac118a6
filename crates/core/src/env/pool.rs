//! The pool seam: where CPU work and blocking disk calls run.

use tokio::sync::oneshot;

/// What kind of work a job is; a world may bound each by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Hashing, compressing, coding: never blocks.
    Cpu,
    /// Disk calls: may block.
    Disk,
}

/// A place for jobs: threads on real machines, inline in the simulator.
pub trait Pool: Send + Sync {
    /// Runs `job` soon. Jobs that were given in some order may run in another.
    fn execute(&self, work: Work, job: Box<dyn FnOnce() + Send>);
}

/// Bytes from which on handing work over costs less than doing it at once.
const IN_PLACE_BYTES_MAX: usize = 64 << 10;

/// [`run`] for CPU work over `bytes` bytes: little work is done in place.
///
/// # Panics
/// As [`run`].
pub async fn run_over<T: Send + 'static>(
    pool: &dyn Pool,
    bytes: usize,
    job: impl FnOnce() -> T + Send + 'static,
) -> T {
    if bytes <= IN_PLACE_BYTES_MAX { job() } else { run(pool, Work::Cpu, job).await }
}

/// Runs `job` on `pool` and waits for what it returns.
///
/// # Panics
/// When the job panicked or the pool threw it away: the process is ending.
pub async fn run<T: Send + 'static>(
    pool: &dyn Pool,
    work: Work,
    job: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (sender, receiver) = oneshot::channel();
    pool.execute(
        work,
        Box::new(move || {
            // The caller may have given up waiting.
            let _ = sender.send(job());
        }),
    );
    receiver.await.expect("a pool runs every job that it took to its end")
}
