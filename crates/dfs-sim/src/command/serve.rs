//! What `node`, `coord` and `up` share: listening, starting the roles in the
//! real world, and ending politely.

mod port;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dfs_core::api::{ClusterStatus, CoordinatorService, NodeState};
use dfs_core::coordinator::{
    CoordinatorProcess, CoordinatorSettings, CoordinatorStartError, UPLOAD_IDLE_MAX_MS_DEFAULT,
};
use dfs_core::env::{Durability, Env};
use dfs_core::id::NodeId;
use dfs_core::ledger::{LEDGER_FILE, Ledger, LedgerError, WITNESS_FILE};
use dfs_core::node::{Node, NodeSettings, NodeStartError};
use dfs_runtime::{RealWorld, TaskGroup, grpc};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

pub(super) use self::port::{advertised, bound, listen};
use super::policy::ClusterPolicy;
use crate::exit::{Code, Failure};

/// This program's version, as nodes and coordinator tell it.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How long a start waits for the nodes that it knows, before it says what
/// the policy promises on those that are there.
const NODES_HEARD_WITHIN: Duration = Duration::from_secs(3);
/// How often it looks meanwhile.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What a node is started with.
pub(super) struct NodeStart {
    /// Its name.
    pub(super) id: NodeId,
    /// Its port.
    pub(super) listener: TcpListener,
    /// Where others reach it.
    pub(super) address: String,
    /// Its data folder.
    pub(super) data: PathBuf,
    /// The coordinator to join.
    pub(super) join: Option<String>,
    /// Its failure domain.
    pub(super) zone: Option<String>,
    /// The most it may store, in bytes.
    pub(super) capacity: Option<u64>,
    /// What an acknowledgement waits for.
    pub(super) durability: Durability,
    /// Whether it takes the place of a lost folder.
    pub(super) replace: bool,
}

/// A node that runs.
pub(super) struct RunningNode {
    node: Arc<Node>,
    /// Why the cluster refuses the node, once it is sure that it does.
    refused: oneshot::Receiver<String>,
    tasks: TaskGroup,
    server: Server,
}

impl RunningNode {
    /// Opens the folder, scans it and begins to serve.
    ///
    /// # Errors
    /// When the folder is another's, newer, locked or broken.
    pub(super) async fn start(world: &RealWorld, start: NodeStart) -> Result<Self, Failure> {
        let (env, tasks) = open_folder(world, &start.data, start.capacity)?;
        let settings = NodeSettings {
            id: start.id,
            address: start.address,
            zone: start.zone,
            join: start.join,
            replace: start.replace,
            capacity_bytes: start.capacity,
            durability: start.durability,
            version: VERSION.to_owned(),
        };
        let data = start.data;
        let node = Node::open(env, settings).await.map_err(|e| node_failure(&data, &e))?;
        let (stop, stopped) = oneshot::channel();
        let service = node.clone();
        let serving = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            grpc::serve_node(start.listener, service, stopped).await.map_err(|e| e.to_string())
        });
        let (tell, refused) = oneshot::channel();
        let running = node.clone().run();
        tasks.run(async move {
            if let Some(reason) = running.await {
                // Who would listen is stopping.
                drop(tell.send(reason));
            }
        });
        Ok(Self { node, refused, tasks, server: Server { stop: Some(stop), serving } })
    }

    /// Chunks that it holds.
    pub(super) async fn chunks(&self) -> u64 {
        self.node.summary().await.chunks
    }

    /// Waits until it cannot serve any more.
    pub(super) async fn failed(&mut self) -> Failure {
        self.server.failed().await
    }

    /// Waits until it cannot serve any more, or until it is sure that its
    /// cluster refuses it.
    pub(super) async fn failed_or_refused(&mut self) -> Failure {
        let (refused, server) = (&mut self.refused, &mut self.server);
        let refused = async {
            match refused.await {
                Ok(reason) => Failure::new(Code::Other, reason),
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            failure = server.failed() => failure,
            failure = refused => failure,
        }
    }

    /// Says goodbye and stops.
    pub(super) async fn stop(mut self) {
        self.node.leave().await;
        self.server.stop();
        self.tasks.abort_all();
    }
}

/// Which nodes a coordinator leads, and from which catalog on.
#[derive(Default)]
pub(super) struct Leading {
    /// Members that are gone for good.
    pub(super) without: Vec<NodeId>,
    /// Whether to lead although nodes know a newer catalog.
    pub(super) accepts_older: bool,
}

/// A coordinator that runs.
pub(super) struct RunningCoordinator {
    coordinator: Arc<CoordinatorProcess>,
    background: JoinHandle<String>,
    tasks: TaskGroup,
    server: Server,
}

impl RunningCoordinator {
    /// Opens the catalog and begins to serve.
    ///
    /// # Errors
    /// When the folder is locked, or the catalog damaged or newer.
    pub(super) async fn start(
        world: &RealWorld,
        listener: TcpListener,
        address: String,
        data: &Path,
        nodes: Vec<String>,
        policy: &ClusterPolicy,
        leading: Leading,
    ) -> Result<Self, Failure> {
        let (env, tasks) = open_folder(world, data, None)?;
        let settings = CoordinatorSettings {
            address,
            nodes,
            without: leading.without,
            accepts_older: leading.accepts_older,
            policy: policy.spec,
            placement: policy.placement,
            durability: policy.durability,
            repair_after_ms: millis(policy.repair_after),
            delete_grace_ms: millis(policy.delete_grace),
            upload_idle_max_ms: UPLOAD_IDLE_MAX_MS_DEFAULT,
            repair_bytes_per_second_max: 0,
            allow_unsafe: policy.allow_unsafe,
            version: VERSION.to_owned(),
        };
        let opened = CoordinatorProcess::open(env, settings).await;
        let coordinator = opened.map_err(|e| coordinator_failure(data, &e))?;
        let (stop, stopped) = oneshot::channel();
        let service = coordinator.clone();
        let serving = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            grpc::serve_coordinator(listener, service, stopped).await.map_err(|e| e.to_string())
        });
        let background = tokio::spawn(coordinator.clone().run());
        Ok(Self { coordinator, background, tasks, server: Server { stop: Some(stop), serving } })
    }

    /// The cluster on one page.
    ///
    /// # Errors
    /// As the coordinator says.
    pub(super) async fn status(&self) -> Result<ClusterStatus, Failure> {
        Ok(self.coordinator.status().await?)
    }

    /// The status once all known nodes, and at least `nodes` of them, were
    /// heard, or when that takes too long.
    ///
    /// # Errors
    /// As the coordinator says.
    pub(super) async fn settled_status(&self, nodes: usize) -> Result<ClusterStatus, Failure> {
        let start = Instant::now();
        loop {
            let status = self.status().await?;
            // A node that was only spoken to has not told its space yet.
            let is_heard = status
                .nodes
                .iter()
                .all(|node| node.state == NodeState::Online && node.space.total > 0);
            if (is_heard && status.nodes.len() >= nodes) || start.elapsed() > NODES_HEARD_WITHIN {
                return Ok(status);
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Waits until it cannot serve any more.
    pub(super) async fn failed(&mut self) -> Failure {
        tokio::select! {
            biased;
            failure = self.server.failed() => failure,
            reason = &mut self.background => {
                let reason = reason.unwrap_or_else(|e| e.to_string());
                Failure::new(Code::Other, format!("the coordinator cannot go on: {reason}"))
            }
        }
    }

    /// Stops. What was acknowledged is on the disk already; the nodes are free
    /// for the next start.
    pub(super) async fn stop(mut self) {
        self.coordinator.retire().await;
        self.background.abort();
        self.server.stop();
        self.tasks.abort_all();
    }
}

/// A port being served.
struct Server {
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<(), String>>,
}

impl Server {
    async fn failed(&mut self) -> Failure {
        let reason = match (&mut self.serving).await {
            Ok(Ok(())) => "it was stopped".to_owned(),
            Ok(Err(reason)) => reason,
            Err(e) => e.to_string(),
        };
        Failure::new(Code::Other, format!("the port is not served any more: {reason}"))
    }

    fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // A server that is gone has stopped.
            let _ = stop.send(());
        }
        self.serving.abort();
    }
}

fn open_folder(
    world: &RealWorld,
    data: &Path,
    capacity: Option<u64>,
) -> Result<(Env, TaskGroup), Failure> {
    world.env(data, capacity).map_err(|e| {
        let message = format!("cannot use the data folder {}: {e}", data.display());
        Failure::new(Code::Other, message)
    })
}

/// Raises the catalog in `data` to this build's format. Returns the earlier
/// format that it had.
///
/// # Errors
/// When the folder is in use, has no catalog, or a damaged or later one.
pub(super) fn upgrade(
    world: &RealWorld,
    data: &Path,
    durability: Durability,
) -> Result<Option<u32>, Failure> {
    // Where there was a ledger once, opening it says what is missing.
    if !data.join(LEDGER_FILE).exists() && !data.join(WITNESS_FILE).exists() {
        let text = format!("{}: there is no {LEDGER_FILE} to upgrade", data.display());
        return Err(Failure::new(Code::NotFound, text));
    }
    let (env, _tasks) = open_folder(world, data, None)?;
    let opened = Ledger::open(&*env.disk, durability);
    let (ledger, _) = opened.map_err(|error| coordinator_failure(data, &error.into()))?;
    Ok(ledger.upgraded_from())
}

fn node_failure(data: &Path, error: &NodeStartError) -> Failure {
    let code = match error {
        NodeStartError::Newer(_) => Code::NotSupported,
        NodeStartError::DamagedIdentity(_) | NodeStartError::NoIdentity => Code::Integrity,
        _ => Code::Other,
    };
    Failure::new(code, format!("{}: {error}", data.display()))
}

fn coordinator_failure(data: &Path, error: &CoordinatorStartError) -> Failure {
    let code = match error {
        CoordinatorStartError::Ledger(LedgerError::NewerFormat { .. }) => Code::NotSupported,
        CoordinatorStartError::Ledger(LedgerError::Damaged { .. } | LedgerError::Missing) => {
            Code::Integrity
        }
        CoordinatorStartError::Ledger(LedgerError::Io { source, .. })
            if source.kind() == std::io::ErrorKind::StorageFull =>
        {
            Code::Insufficient
        }
        CoordinatorStartError::Ledger(_) => Code::Other,
        CoordinatorStartError::Refused(error) => error.kind.into(),
        CoordinatorStartError::TooFewNodes(_) => Code::Unavailable,
    };
    Failure::new(code, format!("{}: {error}", data.display()))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
