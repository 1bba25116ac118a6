//! Everything of one process that its roles share, and an [`Env`] for each.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use dfs_core::env::{Access, Disk, Entry, Env, File, Peers, Place, Pool, Space};
use tokio::runtime::Handle;

use crate::disk::RealDisk;
use crate::grpc::GrpcPeers;
use crate::{OsRandom, SystemWallClock, TaskGroup, ThreadPool};

/// The real world of one process: its threads and its connections.
#[derive(Clone)]
pub struct RealWorld {
    runtime: Handle,
    pool: Arc<dyn Pool>,
    peers: Arc<dyn Peers>,
}

impl RealWorld {
    /// The world of a process whose tasks run on `runtime`.
    #[must_use]
    pub fn new(runtime: Handle) -> Self {
        let peers = Arc::new(GrpcPeers::new(runtime.clone()));
        Self { runtime, pool: Arc::new(ThreadPool::new()), peers }
    }

    /// The world of one role with the data folder `root`, and its tasks: they
    /// end with the process, or when the group is aborted.
    ///
    /// # Errors
    /// As [`RealDisk::open`].
    pub fn env(
        &self,
        root: impl Into<PathBuf>,
        quota_bytes: Option<u64>,
    ) -> io::Result<(Env, TaskGroup)> {
        let disk = RealDisk::open(root, quota_bytes)?;
        Ok(self.with_disk(Arc::new(disk)))
    }

    /// The world of a client, which keeps nothing on disk.
    #[must_use]
    pub fn client_env(&self) -> Env {
        self.with_disk(Arc::new(NoDisk)).0
    }

    fn with_disk(&self, disk: Arc<dyn Disk>) -> (Env, TaskGroup) {
        let tasks = TaskGroup::new(self.runtime.clone());
        let env = Env {
            hard: None,
            disk,
            pool: self.pool.clone(),
            random: Arc::new(OsRandom),
            wall: Arc::new(SystemWallClock),
            spawner: Arc::new(tasks.clone()),
            peers: self.peers.clone(),
        };
        (env, tasks)
    }
}

/// The disk of a process without a data folder: everything is refused.
struct NoDisk;

fn refused<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this process has no data folder"))
}

impl Disk for NoDisk {
    fn create(&self, _: &str, _: Access) -> io::Result<Box<dyn File>> {
        refused()
    }

    fn open(&self, _: &str, _: Access) -> io::Result<Box<dyn File>> {
        refused()
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        refused()
    }

    fn create_dir(&self, _: &str) -> io::Result<()> {
        refused()
    }

    fn list(&self, _: &str) -> io::Result<Vec<Entry>> {
        refused()
    }

    fn sync_dir(&self, _: &str) -> io::Result<()> {
        refused()
    }

    fn place(&self) -> io::Result<Place> {
        refused()
    }

    fn space(&self) -> io::Result<Space> {
        refused()
    }
}
