//! The coordinator itself: how it starts, what it keeps, and its service.

use std::sync::{Arc, Mutex, MutexGuard, Weak};

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::door::Door;
use super::elder::{self, Elder};
use super::lead::Lead;
use super::member::Members;
use super::mending::Mending;
use super::numbers::Numbers;
use super::settings::CoordinatorSettings;
use super::status::Asked;
use super::survey::ThinFiles;
use super::trim::Trimming;
use super::upload::Uploads;
use crate::api::{
    BadCopy, BeginPut, ClusterStatus, Commit, Committed, Context, CoordinatorService, Error,
    FileMap, Heartbeat, HeartbeatReply, List, ListPage, ListUnknown, Lookup, NodeReport, Place,
    Promise, Remove, Removed, Rename, Rescued, Result, Retarget, StripePlacement, Target,
    UnknownPage, UploadGrant, Usage,
};
use crate::catalog::{Catalog, Command, RunRecord};
use crate::env::{self, Env, Work};
use crate::id::{ClientNumber, ClusterId, FileId, Handle, LockPlace, NodeId, Run, SessionId};
use crate::ledger::{Ledger, LedgerError};
use crate::repair::{Basis, Survey};

/// One leadership of the coordinator role. Nodes obey one run, and another one
/// on a copy of its folder leads nobody.
pub struct Coordinator {
    pub(super) env: Env,
    pub(super) settings: CoordinatorSettings,
    pub(super) context: Context,
    pub(super) started: Instant,
    pub(super) door: Door,
    pub(super) numbers: Numbers,
    pub(super) lead: Lead,
    /// The run before this one, where it is known to have ended: it held the
    /// lock of this very folder, on this boot of this machine.
    pub(super) ended_run: Option<Run>,
    /// True when the catalog was made by this start.
    pub(super) is_founded_here: bool,
    /// Seconds for which coordinators had run on this catalog before.
    pub(super) uptime_before_s: u64,
    /// Itself, for what it sets going on its own.
    pub(super) me: Weak<Self>,
    /// Wakes whoever plans rebuilds.
    pub(super) mend_again: Notify,
    /// Wakes whoever looks the stripes over.
    pub(super) look_again: Notify,
    state: Mutex<State>,
}

/// What is heard and decided, and not logged.
pub(super) struct State {
    pub(super) uploads: Uploads,
    pub(super) members: Members,
    pub(super) mending: Mending,
    /// Surplus copies that are to be deleted.
    pub(super) trimming: Trimming,
    pub(super) survey: Arc<Survey>,
    /// What it was made from; `None` before the first since the start.
    pub(super) surveyed_from: Option<Basis>,
    pub(super) thin_files: ThinFiles,
    /// Rebuilds that had ended well when it began.
    pub(super) done_before_survey: u64,
    /// Whether nothing that it kept can be mended now.
    pub(super) is_planned_out: bool,
    /// How many stripes were placed; turns round robin.
    pub(super) rotation: u64,
    /// The promise that was told last, and what it depends on.
    pub(super) promised: Option<(Asked, Promise)>,
}

/// Why a leadership ended.
pub(super) enum Ended {
    /// The process ends with it.
    Process(String),
    /// Its ledger has to be opened again.
    Ledger(String),
}

/// Why a coordinator does not start.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorStartError {
    /// Its ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Its first commands were refused.
    #[error("the catalog refuses to begin: {0}")]
    Refused(Error),
    /// Too few nodes answered to go on from an older catalog.
    #[error("{0}")]
    TooFewNodes(String),
}

impl Coordinator {
    /// Loads the catalog (or founds a cluster in an empty folder) and takes
    /// the next epoch. Serves nothing before both are durable.
    ///
    /// # Errors
    /// [`CoordinatorStartError`] when the ledger is damaged or cannot be
    /// written.
    pub async fn open(
        env: Env,
        settings: CoordinatorSettings,
    ) -> std::result::Result<Arc<Self>, CoordinatorStartError> {
        let (disk, durability) = (env.disk.clone(), settings.durability);
        let open = move || {
            let (mut ledger, catalog) = Ledger::open(&*disk, durability)?;
            let looked = ledger.look(&*disk);
            Ok::<_, LedgerError>((ledger, looked, catalog, disk.lock_place()))
        };
        let (ledger, looked, catalog, place) = env::run(&*env.pool, Work::Disk, open).await?;
        if let Some(version) = ledger.upgraded_from() {
            tracing::info!("upgraded the catalog's file from format {version}");
        }
        let is_founded_here = catalog.cluster().is_none();
        let last = catalog.runs().next_back().cloned();
        let ended_run = last.filter(|last| place.is_some() && last.place == place);
        let elder = match settings.accepts_older && !is_founded_here {
            true => elder::ask(&env, &settings, &catalog, ledger.durable_position()).await?,
            false => None,
        };
        let mut position = ledger.position();
        let first = first_commands(&env, &settings, &catalog);
        let door = Door::open(&env, ledger, looked, catalog);
        let submit = async |command| {
            door.submit(command).await.map(|_| ()).map_err(CoordinatorStartError::Refused)
        };
        for command in first {
            submit(command).await?;
            position += 1;
        }
        submit(open_run(&env, &door, place, elder.as_ref(), position + 1)).await?;
        let (context, next_number) = door.peek(|catalog| {
            let cluster = catalog.cluster().expect("its first command founded it");
            let last = catalog.runs().next_back().expect("its last command opened it");
            (Context { cluster: cluster.cluster, run: last.run }, cluster.next_number)
        });
        let uptime_before_s = door.peek(Catalog::uptime_s);
        let members = door.peek(|catalog| Members::new(catalog.members()));
        let state = State {
            uploads: Uploads::default(),
            members,
            mending: Mending::default(),
            trimming: Trimming::default(),
            survey: Arc::default(),
            surveyed_from: None,
            thin_files: ThinFiles::default(),
            done_before_survey: 0,
            is_planned_out: false,
            rotation: 0,
            promised: None,
        };
        let coordinator = Arc::new_cyclic(|me| Self {
            env,
            settings,
            context,
            started: Instant::now(),
            door,
            numbers: Numbers::starting_at(next_number),
            lead: Lead::new(),
            ended_run: ended_run.map(|last| last.run),
            is_founded_here,
            uptime_before_s,
            me: me.clone(),
            mend_again: Notify::new(),
            look_again: Notify::new(),
            state: Mutex::new(state),
        });
        coordinator.count_leases();
        Ok(coordinator)
    }

    /// Does all that goes on in the background, until this leadership ends.
    pub(super) async fn lead(self: Arc<Self>) -> Ended {
        let background = futures_util::future::join4(
            self.clone().watch_for_stalls(),
            futures_util::future::join(self.clone().pull_inventories(), self.clone().call_back()),
            futures_util::future::join(self.clone().look_over(), self.clone().mend()),
            futures_util::future::join4(
                self.clone().sweep(),
                self.clone().chronicle(),
                self.clone().trim(),
                self.clone().keep_time(),
            ),
        );
        tokio::select! {
            biased;
            reason = self.door.ended() => Ended::Ledger(reason),
            reason = self.clone().adopt_nodes() => Ended::Process(reason),
            _ = background => Ended::Process("its background work ended".to_owned()),
        }
    }

    /// Goes on knowing how the cluster is, for readers and for `status`, after
    /// this leadership ended and before the next one begins.
    pub(super) async fn look_on(self: Arc<Self>) {
        futures_util::future::join5(
            self.clone().watch_for_stalls(),
            self.clone().pull_inventories(),
            self.clone().call_back(),
            self.clone().look_over(),
            self.clone().chronicle(),
        )
        .await;
    }

    /// Leads, without a process that would open the ledger again. Returns when
    /// the leadership ends, with the reason.
    pub async fn run(self: Arc<Self>) -> String {
        match self.lead().await {
            Ended::Process(reason) | Ended::Ledger(reason) => reason,
        }
    }

    /// The cluster and the run of this start.
    #[must_use]
    pub fn context(&self) -> Context {
        self.context
    }

    /// A copy of the catalog as it is now, for whoever compares it with what
    /// the ledger holds.
    #[must_use]
    pub fn catalog(&self) -> Catalog {
        self.door.peek(Catalog::clone)
    }

    /// Milliseconds since the start, which all that is heard is dated by.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the coordinator's state panics")
    }
}

/// What a start has to put through the door before anything else.
fn first_commands(env: &Env, settings: &CoordinatorSettings, catalog: &Catalog) -> Vec<Command> {
    let (policy, placement) = (settings.policy, settings.placement);
    let Some(cluster) = catalog.cluster() else {
        let mut id = [0; 16];
        env.random.fill(&mut id);
        let created_ms = env.wall.now_ms();
        return vec![Command::Found { cluster: ClusterId(id), created_ms, policy, placement }];
    };
    let mut commands = Vec::new();
    if cluster.policy != policy || cluster.placement != placement {
        commands.push(Command::SetPolicy { policy, placement });
    }
    commands
}

/// The command by which this run begins, at ledger commit `first_position`.
fn open_run(
    env: &Env,
    door: &Door,
    place: Option<LockPlace>,
    elder: Option<&Elder>,
    first_position: u64,
) -> Command {
    let epoch = door.peek(|catalog| catalog.cluster().map_or(0, |cluster| cluster.epoch.0));
    let epoch = epoch.max(elder.map_or(0, |elder| elder.epoch)).saturating_add(1);
    // Tag 0 is that of builds without tags.
    let run = Run::new(epoch, env.random.next_u64().max(1));
    let (started_ms, accepts_older) = (env.wall.now_ms(), elder.is_some());
    let run = RunRecord { run, first_position, started_ms, place, accepts_older };
    Command::OpenRun { run, skip_to: elder.map(|elder| elder.skip_to) }
}

#[async_trait]
impl CoordinatorService for Coordinator {
    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<HeartbeatReply> {
        self.hear(heartbeat).await
    }

    async fn leave(&self, cluster: ClusterId, node: NodeId, session: SessionId) -> Result<()> {
        self.see_off(cluster, &node, session)
    }

    async fn begin_put(&self, request: BeginPut) -> Result<UploadGrant> {
        self.begin_upload(request).await
    }

    async fn place(&self, request: Place) -> Result<Vec<StripePlacement>> {
        self.place_stripes(request).await
    }

    async fn retarget(&self, request: Retarget) -> Result<Option<Target>> {
        self.retarget_copy(request)
    }

    async fn client_number(&self) -> Result<ClientNumber> {
        self.number_client().await
    }

    async fn commit(&self, request: Commit) -> Result<Committed> {
        self.commit_upload(request).await
    }

    async fn abort(&self, upload: FileId) -> Result<()> {
        self.state().uploads.abandon(upload);
        Ok(())
    }

    async fn lookup(&self, request: Lookup) -> Result<FileMap> {
        self.look_up(request).await
    }

    async fn list(&self, request: List) -> Result<ListPage> {
        self.list_names(request).await
    }

    async fn remove(&self, request: Remove) -> Result<Removed> {
        self.remove_files(request).await
    }

    async fn rename(&self, request: Rename) -> Result<()> {
        self.rename_file(request).await
    }

    async fn usage(&self, prefix: String) -> Result<Usage> {
        self.usage_under(prefix).await
    }

    async fn status(&self) -> Result<ClusterStatus> {
        self.cluster_status().await
    }

    async fn report_bad(&self, report: BadCopy) -> Result<()> {
        self.note_bad_copy(report)
    }

    async fn list_unknown(&self, request: ListUnknown) -> Result<UnknownPage> {
        self.unknown_page(request).await
    }

    async fn release_kept(&self, first: Handle, end: Handle) -> Result<()> {
        self.release_kept_handles(first, end).await
    }

    async fn rescue(&self, folder: String) -> Result<Rescued> {
        self.rescue_catalog(folder).await
    }

    async fn report_nodes(&self, reports: Vec<NodeReport>) -> Result<()> {
        self.note_reports(reports)
    }
}
