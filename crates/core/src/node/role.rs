//! The node itself: opened, run, asked, stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::heartbeat;
use super::identity::{IDENTITY_FILE, Identity, IdentityError};
use super::membership::Membership;
use super::store::{ScanError, Store};
use super::volume_watch::VolumeWatch;
use crate::api::{Error, Kind, NodeInfo, NodeSpace, Result};
use crate::env::{Disk, Durability, Env, Publisher, Work, run};
use crate::id::{FolderId, NodeId};
use crate::mark::{Mark, reached};
use crate::mutant::{Mutant, is_planted};

/// Chunks that are taken at once. Each holds up to two frames.
const WRITES_MAX: usize = 48;
/// Chunks that are handed out at once. Each holds up to two frames.
const READS_MAX: usize = 48;
/// Chunks that are read for rebuilding at once, over all rebuilds. Each holds
/// up to two frames.
const REBUILD_SOURCES_MAX: usize = 32;
/// How long a call waits for its turn before it is sent elsewhere.
const TURN_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a heartbeat waits for its disk to tell its space.
const SPACE_WAIT_MAX: Duration = Duration::from_secs(1);
/// How long a node waits for its coordinator when it stops.
const LEAVE_WAIT_MAX: Duration = Duration::from_secs(2);

/// The settings of one node, all decided.
#[derive(Debug, Clone)]
pub struct NodeSettings {
    /// Its name.
    pub id: NodeId,
    /// Where others reach it, `host:port`.
    pub address: String,
    /// Its failure domain.
    pub zone: Option<String>,
    /// The coordinator whose cluster it asks to join.
    pub join: Option<String>,
    /// True when an earlier folder under this id is gone for good.
    pub replace: bool,
    /// The most bytes that its chunks may take; the volume's size if `None`.
    pub capacity_bytes: Option<u64>,
    /// What its acknowledgements promise.
    pub durability: Durability,
    /// The program's version.
    pub version: String,
}

/// Why a node cannot start on its folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeStartError {
    /// The disk says no.
    #[error("the data folder cannot be used: {0}")]
    Disk(String),
    /// The folder is another node's.
    #[error(
        "this data folder belongs to node {found}, not to {asked}: \
         start it with --id {found}, or give {asked} a folder of its own"
    )]
    AnotherNode {
        /// Whose it is.
        found: NodeId,
        /// Who was started.
        asked: NodeId,
    },
    /// The identity file is not as it was written.
    #[error(
        "the file {IDENTITY_FILE} in the data folder is damaged: {0}; restore it from a backup, \
         or start with an empty folder and --replace, and the chunks are rebuilt from other nodes"
    )]
    DamagedIdentity(String),
    /// There are chunks and no identity file.
    #[error(
        "the data folder has chunks and no file {IDENTITY_FILE}: restore that file, or start with \
         an empty folder and --replace, and the chunks are rebuilt from other nodes"
    )]
    NoIdentity,
    /// A later build wrote here.
    #[error("the data folder was written by a later build: {0}; use that build, or a later one")]
    Newer(String),
}

/// What a node says when it has started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSummary {
    /// Who it is.
    pub info: NodeInfo,
    /// Chunks that it holds.
    pub chunks: u64,
    /// Of these, bad ones that are kept aside.
    pub quarantined: u64,
    /// Its space.
    pub space: NodeSpace,
    /// What is wrong with it, or why its coordinator refuses it.
    pub trouble: Option<String>,
}

/// A node of the store.
pub struct Node {
    pub(super) env: Env,
    pub(super) settings: NodeSettings,
    pub(super) membership: Arc<Membership>,
    pub(super) store: Arc<Store>,
    pub(super) volume: Arc<VolumeWatch>,
    pub(super) writes: Arc<Semaphore>,
    pub(super) reads: Arc<Semaphore>,
    pub(super) rebuild_sources: Arc<Semaphore>,
    /// How often its disk told its space, and the last answer; and whether
    /// that is asked now.
    known_space: Publisher<(u64, NodeSpace)>,
    is_space_asked: AtomicBool,
}

impl Node {
    /// Opens the node on its folder: knows itself again, sweeps what a crash
    /// left, finds its chunks.
    ///
    /// # Errors
    /// [`NodeStartError`] when the folder is not this node's, or cannot be
    /// used by this build.
    pub async fn open(
        env: Env,
        settings: NodeSettings,
    ) -> std::result::Result<Arc<Self>, NodeStartError> {
        let identity = {
            let (disk, id) = (Arc::clone(&env.disk), settings.id.clone());
            let mut folder = FolderId([0; 16]);
            env.random.fill(&mut folder.0);
            run(&*env.pool, Work::Disk, move || know_folder(&*disk, id, folder)).await?
        };
        let (durability, capacity) = (settings.durability, settings.capacity_bytes);
        let (id, cluster) = ((settings.id.clone(), identity.folder), identity.cluster);
        let store = Store::open(env.clone(), id, durability, capacity, cluster).await?;
        let space = {
            let store = Arc::clone(&store);
            run(&*env.pool, Work::Disk, move || store.space()).await.unwrap_or_default()
        };
        let volume = {
            let disk = Arc::clone(&env.disk);
            Arc::new(run(&*env.pool, Work::Disk, move || VolumeWatch::new(&*disk)).await)
        };
        let membership = Arc::new(Membership::new(env.clone(), settings.clone(), identity));
        Ok(Arc::new(Self {
            env,
            settings,
            membership,
            store,
            volume,
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
            reads: Arc::new(Semaphore::new(READS_MAX)),
            rebuild_sources: Arc::new(Semaphore::new(REBUILD_SOURCES_MAX)),
            known_space: Publisher::new((0, space)),
            is_space_asked: AtomicBool::new(false),
        }))
    }

    /// Sends heartbeats until the node leaves. The node answers calls whether
    /// or not this runs; it takes chunks only while heartbeats are answered.
    ///
    /// Returns the reason when the coordinator refuses this process and has
    /// never accepted it: another cluster's node, a doubled name, a folder
    /// that was replaced. The process must then end.
    pub async fn run(self: Arc<Self>) -> Option<String> {
        heartbeat::run(self).await
    }

    /// Stops politely: takes no more chunks, and tells the coordinator, which
    /// then does not have to find out.
    pub async fn leave(&self) {
        self.membership.set_left();
        let info = self.membership.info();
        let (Some(cluster), Some(address)) = (info.cluster, self.membership.coordinator()) else {
            return;
        };
        let coordinator = self.env.peers.coordinator(&address);
        let told = timeout(LEAVE_WAIT_MAX, coordinator.leave(cluster, info.id, info.session));
        if !matches!(told.await, Ok(Ok(()))) {
            tracing::debug!(node = %self.settings.id, "left without the coordinator's knowledge");
        }
    }

    /// Who the node is and what it holds.
    pub async fn summary(&self) -> NodeSummary {
        let digest = self.store.inventory_since(None).0;
        NodeSummary {
            info: self.membership.info(),
            chunks: digest.chunks,
            quarantined: digest.quarantined,
            space: self.space().await,
            trouble: (self.volume.trouble().or(self.store.trouble())).or(self.membership.refused()),
        }
    }

    /// The node's space; nothing where the disk cannot tell.
    pub(super) async fn space(&self) -> NodeSpace {
        let store = Arc::clone(&self.store);
        self.on_disk(move || store.space()).await.unwrap_or_default()
    }

    /// The node's space now, or where its disk takes long to tell, what it
    /// told before: a slow disk makes no heartbeat late.
    pub(super) async fn space_lately(self: &Arc<Self>) -> NodeSpace {
        let told = self.known_space.published();
        let before = told.look(|(answers, _)| *answers);
        if !self.is_space_asked.swap(true, Ordering::Relaxed) {
            let node = Arc::clone(self);
            self.env.spawn(async move {
                let space = node.space().await;
                node.is_space_asked.store(false, Ordering::Relaxed);
                let answers = node.known_space.published().look(|(answers, _)| *answers);
                node.known_space.set((answers + 1, space));
            });
        }
        let answer = told.until(|(answers, space)| (*answers != before).then_some(*space));
        match timeout(SPACE_WAIT_MAX, answer).await {
            Ok(Ok(space)) => space,
            Ok(Err(_)) | Err(_) => told.look(|(_, space)| *space),
        }
    }

    /// Runs a job that may block.
    pub(super) async fn on_disk<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        run(&*self.env.pool, Work::Disk, job).await
    }

    /// Waits for the turn of a call that needs `count` of `places`.
    pub(super) async fn turn(
        &self,
        places: &Arc<Semaphore>,
        count: usize,
    ) -> Result<OwnedSemaphorePermit> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        match timeout(TURN_WAIT_MAX, Arc::clone(places).acquire_many_owned(count)).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => {
                let text = format!("node {} is busy: try again, or elsewhere", self.settings.id);
                Err(Error::new(Kind::Unavailable, text))
            }
        }
    }
}

/// Reads the folder's identity, or makes a folder that has nothing its own.
fn know_folder(
    disk: &dyn Disk,
    id: NodeId,
    folder: FolderId,
) -> std::result::Result<Identity, NodeStartError> {
    let failed = |error: std::io::Error| NodeStartError::Disk(error.to_string());
    let found = match Identity::read(disk) {
        // What only one read got wrong is no reason to refuse the folder.
        Err(_) => Identity::read(disk),
        found => found,
    };
    match found {
        Ok(Some(identity)) if identity.id == id => Ok(identity),
        Ok(Some(identity)) if is_planted(Mutant::AnyFolder) => Ok(Identity { id, ..identity }),
        Ok(Some(Identity { id: found, .. })) => {
            reached(Mark::FolderRefused);
            Err(NodeStartError::AnotherNode { found, asked: id })
        }
        Ok(None) if Store::has_chunks(disk).map_err(failed)? => Err(NodeStartError::NoIdentity),
        Ok(None) => {
            let identity = Identity::new(id, folder);
            identity.write(disk).map_err(failed)?;
            Ok(identity)
        }
        Err(IdentityError::Disk(error)) => Err(failed(error)),
        Err(error @ IdentityError::Newer(_)) => Err(NodeStartError::Newer(error.to_string())),
        Err(error @ IdentityError::Damaged(_)) => {
            Err(NodeStartError::DamagedIdentity(error.to_string()))
        }
    }
}

impl From<ScanError> for NodeStartError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Disk { .. } => Self::Disk(error.to_string()),
            ScanError::Newer { .. } => Self::Newer(error.to_string()),
        }
    }
}
