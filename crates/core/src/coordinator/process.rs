//! The process of a coordinator, and its leaderships, one after the other.
//!
//! A leadership ([`Coordinator`]) ends when a commit failed: what its ledger
//! holds is then not known. The process opens the ledger again, from the same
//! file, and begins a new leadership, which is a new run. Until then the old
//! one answers readers from what was durable, and refuses changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;

use super::role::{Coordinator, CoordinatorStartError, Ended};
use super::settings::CoordinatorSettings;
use crate::api::{
    BadCopy, BeginPut, ClusterStatus, Commit, Committed, Context, CoordinatorService, FileMap,
    Heartbeat, HeartbeatReply, List, ListPage, ListUnknown, Lookup, NodeReport, Place, Remove,
    Removed, Rename, Rescued, Result, Retarget, StripePlacement, Target, UnknownPage, UploadGrant,
    Usage,
};
use crate::catalog::Catalog;
use crate::env::{self, Env, Work};
use crate::id::{ClientNumber, ClusterId, FileId, Handle, NodeId, SessionId};
use crate::ledger::{LedgerError, why_not_there};

/// The pause before the ledger is opened again; it doubles each time that this
/// fails.
const REOPEN_PAUSE_FIRST: Duration = Duration::from_millis(500);
const REOPEN_PAUSE_MAX: Duration = Duration::from_secs(10);

/// A coordinator that goes on after its ledger failed. One of it serves a
/// cluster at a time.
pub struct CoordinatorProcess {
    env: Env,
    settings: CoordinatorSettings,
    leadership: Mutex<Arc<Coordinator>>,
}

impl CoordinatorProcess {
    /// Opens the ledger and begins the first leadership.
    ///
    /// # Errors
    /// As [`Coordinator::open`].
    pub async fn open(
        env: Env,
        settings: CoordinatorSettings,
    ) -> std::result::Result<Arc<Self>, CoordinatorStartError> {
        let first = Coordinator::open(env.clone(), settings.clone()).await?;
        // What an operator decided for one start is not decided for the next.
        let settings = CoordinatorSettings { accepts_older: false, ..settings };
        Ok(Arc::new(Self { env, settings, leadership: Mutex::new(first) }))
    }

    /// Does all that goes on in the background. Returns only when the process
    /// cannot go on, with the reason.
    pub async fn run(self: Arc<Self>) -> String {
        loop {
            match self.leadership().lead().await {
                Ended::Process(reason) => return reason,
                Ended::Ledger(reason) => {
                    tracing::error!(
                        "the leadership ends: {reason}. The ledger is opened again; reads go on"
                    );
                }
            }
            let last = self.leadership();
            tokio::select! {
                biased;
                () = self.begin_again() => {}
                () = last.look_on() => return "its background work ended".to_owned(),
            }
        }
    }

    /// The present leadership, or the last one while there is none.
    #[must_use]
    pub fn leadership(&self) -> Arc<Coordinator> {
        Arc::clone(&self.lock())
    }

    /// The cluster and the present run.
    #[must_use]
    pub fn context(&self) -> Context {
        self.leadership().context()
    }

    /// See [`Coordinator::catalog`].
    #[must_use]
    pub fn catalog(&self) -> Catalog {
        self.leadership().catalog()
    }

    /// See [`Coordinator::retire`].
    pub async fn retire(&self) {
        self.leadership().retire().await;
    }

    /// Opens the ledger again, as often as it takes, and begins the next
    /// leadership.
    async fn begin_again(&self) {
        let mut pause = REOPEN_PAUSE_FIRST;
        let mut said = None;
        loop {
            sleep(pause).await;
            pause = (pause * 2).min(REOPEN_PAUSE_MAX);
            match self.open_again().await {
                Ok(next) => {
                    tracing::info!(run = %next.context().run, "the ledger is open again");
                    *self.lock() = next;
                    return;
                }
                Err(error) => {
                    let reason = error.to_string();
                    if said.as_ref() != Some(&reason) {
                        tracing::error!("the ledger cannot be opened again yet: {reason}");
                        said = Some(reason);
                    }
                }
            }
        }
    }

    async fn open_again(&self) -> std::result::Result<Arc<Coordinator>, CoordinatorStartError> {
        let (disk, place) = (self.env.disk.clone(), self.leadership().door.place());
        let look = move || why_not_there(&*disk, place);
        let lost = env::run(&*self.env.pool, Work::Disk, look).await;
        self.leadership().door.note_lost(lost.clone());
        // In an empty folder, a start would found another cluster.
        if lost.is_some() {
            return Err(LedgerError::Missing.into());
        }
        Coordinator::open(self.env.clone(), self.settings.clone()).await
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Coordinator>> {
        self.leadership.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl CoordinatorService for CoordinatorProcess {
    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<HeartbeatReply> {
        self.leadership().heartbeat(heartbeat).await
    }

    async fn leave(&self, cluster: ClusterId, node: NodeId, session: SessionId) -> Result<()> {
        self.leadership().leave(cluster, node, session).await
    }

    async fn begin_put(&self, request: BeginPut) -> Result<UploadGrant> {
        self.leadership().begin_put(request).await
    }

    async fn place(&self, request: Place) -> Result<Vec<StripePlacement>> {
        self.leadership().place(request).await
    }

    async fn retarget(&self, request: Retarget) -> Result<Option<Target>> {
        self.leadership().retarget(request).await
    }

    async fn client_number(&self) -> Result<ClientNumber> {
        self.leadership().client_number().await
    }

    async fn commit(&self, request: Commit) -> Result<Committed> {
        self.leadership().commit(request).await
    }

    async fn abort(&self, upload: FileId) -> Result<()> {
        self.leadership().abort(upload).await
    }

    async fn lookup(&self, request: Lookup) -> Result<FileMap> {
        self.leadership().lookup(request).await
    }

    async fn list(&self, request: List) -> Result<ListPage> {
        self.leadership().list(request).await
    }

    async fn remove(&self, request: Remove) -> Result<Removed> {
        self.leadership().remove(request).await
    }

    async fn rename(&self, request: Rename) -> Result<()> {
        self.leadership().rename(request).await
    }

    async fn usage(&self, prefix: String) -> Result<Usage> {
        self.leadership().usage(prefix).await
    }

    async fn status(&self) -> Result<ClusterStatus> {
        self.leadership().status().await
    }

    async fn report_bad(&self, report: BadCopy) -> Result<()> {
        self.leadership().report_bad(report).await
    }

    async fn report_nodes(&self, reports: Vec<NodeReport>) -> Result<()> {
        self.leadership().report_nodes(reports).await
    }

    async fn list_unknown(&self, request: ListUnknown) -> Result<UnknownPage> {
        self.leadership().list_unknown(request).await
    }

    async fn release_kept(&self, first: Handle, end: Handle) -> Result<()> {
        self.leadership().release_kept(first, end).await
    }

    async fn rescue(&self, folder: String) -> Result<Rescued> {
        self.leadership().rescue(folder).await
    }
}
