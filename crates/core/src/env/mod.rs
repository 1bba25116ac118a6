//! What a role asks of the world it runs in: disk, peers, CPU pool, chance,
//! wall clock, tasks. Real machines and the simulator each bring their own.
//!
//! Monotonic time is tokio's, which can be paused. The wall clock decides
//! nothing but what is displayed. Nothing here decides anything.

mod disk;
mod hard;
mod pool;
mod publish;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use disk::{Access, Disk, Durability, Entry, File, Place, Space};
pub use hard::{Hard, HardPlace};
pub use pool::{Pool, Work, run, run_over};
pub use publish::{Gone, Published, Publisher};

use crate::api::{CoordinatorService, NodeService};

/// A task that a role sets going.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// The world of one process.
#[derive(Clone)]
pub struct Env {
    /// The role's own data folder.
    pub disk: Arc<dyn Disk>,
    /// Where hashing, coding and disk calls run.
    pub pool: Arc<dyn Pool>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// The time that people read.
    pub wall: Arc<dyn WallClock>,
    /// Where background tasks run. They end with the process.
    pub spawner: Arc<dyn Spawner>,
    /// The way to other processes.
    pub peers: Arc<dyn Peers>,
    /// Where a simulated world makes life hard; a real one does nowhere.
    pub hard: Option<Hard>,
}

impl Env {
    /// Sets a background task going.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawner.spawn(Box::pin(task));
    }
}

/// Chance, from the operating system or from a seed.
pub trait Random: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);

    /// 64 random bits.
    fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// The time of day, for display only. It may jump.
pub trait WallClock: Send + Sync {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    fn now_ms(&self) -> u64;
}

/// Where tasks run; they are gone when their process is.
pub trait Spawner: Send + Sync {
    /// Sets `task` going.
    fn spawn(&self, task: Task);
}

/// The way to other processes. Nothing is sent before a call is made, so
/// neither can fail; a handle stays good while its peer comes and goes.
pub trait Peers: Send + Sync {
    /// The node that listens at `address` (`host:port`).
    fn node(&self, address: &str) -> Arc<dyn NodeService>;
    /// The coordinator that listens at `address` (`host:port`).
    fn coordinator(&self, address: &str) -> Arc<dyn CoordinatorService>;
}
