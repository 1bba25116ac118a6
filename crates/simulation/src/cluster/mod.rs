//! A whole cluster of the real roles in a simulated world: one coordinator,
//! nodes `n1`, `n2`, …, one client, each on a host of its own.

mod bytes;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Duration;

use dfs_core::api::{ClusterStatus, CoordinatorService, NodeState, PolicyOverrides, PutMode};
use dfs_core::client::{
    Client, ClientError, ClientSettings, GetSummary, Progress, PutOptions, PutSummary, Source,
};
use dfs_core::coordinator::{Coordinator, CoordinatorProcess, CoordinatorSettings};
use dfs_core::env::Durability;
use dfs_core::id::NodeId;
use dfs_core::name::FileName;
use dfs_core::node::{Node, NodeSettings};
use dfs_core::policy::{CHUNK_SIZE_MIN, Compression, ParitySpec, PlacementStrategy, PolicySpec};

pub use bytes::{MemorySink, seekable, stream};

use crate::host::Host;
use crate::task::Running;
use crate::world::World;

/// The coordinator's host.
pub const COORDINATOR: &str = "coord";
/// The client's host.
pub const CLIENT: &str = "client";
/// How long [`Cluster::settle`] waits.
pub const SETTLE_TIME_MAX: Duration = Duration::from_secs(1800);
/// How long things must stay settled: until the latest heartbeats were heard
/// and looked at.
pub const STEADY_TIME: Duration = Duration::from_secs(10);
/// How long nodes may take to be heard after a start.
const START_TIME_MAX: Duration = Duration::from_secs(300);

/// How a cluster is made.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// Nodes at the start.
    pub nodes: usize,
    /// The policy. Chunks are 64 KiB unless set otherwise.
    pub policy: PolicySpec,
    /// How nodes are chosen.
    pub placement: PlacementStrategy,
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// How long after a node went offline its copies are rebuilt.
    pub repair_after: Duration,
    /// How long deleted chunks stay.
    pub delete_grace: Duration,
    /// How long an upload may be left alone.
    pub upload_idle_max: Duration,
    /// The client's patience.
    pub client: ClientSettings,
    /// Failure domains of the nodes, by number; the rest has none.
    pub zones: Vec<String>,
}

impl ClusterSettings {
    /// `nodes` nodes under `replication` and `parity`.
    #[must_use]
    pub fn new(nodes: usize, replication: u8, parity: ParitySpec) -> Self {
        Self {
            nodes,
            policy: PolicySpec {
                replication,
                parity,
                compression: Compression::Lz4,
                chunk_size: CHUNK_SIZE_MIN,
            },
            placement: PlacementStrategy::RoundRobin,
            durability: Durability::Strict,
            repair_after: Duration::from_secs(60),
            delete_grace: Duration::from_secs(60),
            upload_idle_max: Duration::from_secs(600),
            client: ClientSettings::default(),
            zones: Vec::new(),
        }
    }
}

/// A running cluster.
pub struct Cluster<'w> {
    world: &'w World,
    settings: ClusterSettings,
    nodes: RefCell<Vec<Arc<Host>>>,
    /// The roles that were started last, by host. Their processes own them.
    node_roles: RefCell<BTreeMap<String, Weak<Node>>>,
    coordinator_role: RefCell<Weak<CoordinatorProcess>>,
}

impl<'w> Cluster<'w> {
    /// Starts everything, and waits until every node was heard.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn start(world: &'w World, settings: ClusterSettings) -> Self {
        let cluster = Self {
            world,
            settings,
            nodes: RefCell::default(),
            node_roles: RefCell::default(),
            coordinator_role: RefCell::default(),
        };
        world.add_host(COORDINATOR, 4000);
        world.add_host(CLIENT, 1);
        for number in 1..=cluster.settings.nodes {
            cluster.add_host(number);
            cluster.start_node(&name_of(number)).await;
        }
        cluster.start_coordinator().await;
        cluster.client_host().start();
        cluster.wait_until_heard().await;
        cluster
    }

    /// The world around it.
    #[must_use]
    pub fn world(&self) -> &'w World {
        self.world
    }

    /// Names of the nodes, also of those that are down.
    #[must_use]
    pub fn node_names(&self) -> Vec<String> {
        self.nodes.borrow().iter().map(|host| host.name().to_owned()).collect()
    }

    /// The machine of a node, of [`COORDINATOR`] or of [`CLIENT`].
    #[must_use]
    pub fn host(&self, name: &str) -> Arc<Host> {
        self.world.host(name)
    }

    /// Starts a node's process (again), as it was started first.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_node(&self, name: &str) {
        self.try_start_node(name, self.node_settings(name)).await.expect("the node starts");
    }

    /// What [`Cluster::start_node`] starts a node with.
    #[must_use]
    pub fn node_settings(&self, name: &str) -> NodeSettings {
        let host = self.host(name);
        let number = self.nodes.borrow().iter().position(|other| other.name() == name);
        let zone = number.and_then(|number| self.settings.zones.get(number)).cloned();
        let joins = number.is_some_and(|number| number >= self.settings.nodes);
        let join = joins.then(|| self.host(COORDINATOR).address().to_owned());
        NodeSettings {
            id: NodeId::new(name).expect("host names are node ids"),
            address: host.address().to_owned(),
            zone,
            join,
            replace: false,
            capacity_bytes: None,
            durability: self.settings.durability,
            version: "0.0.0-simulated".to_owned(),
        }
    }

    /// Starts a node's process with settings of its own.
    ///
    /// # Errors
    /// What the node says when it does not start.
    pub async fn try_start_node(&self, name: &str, settings: NodeSettings) -> Result<(), String> {
        let node = start_node_on(&self.host(name), settings).await?;
        self.node_roles.borrow_mut().insert(name.to_owned(), Arc::downgrade(&node));
        Ok(())
    }

    /// The node that runs on a host, if one does.
    #[must_use]
    pub fn node_role(&self, name: &str) -> Option<Arc<Node>> {
        self.node_roles.borrow().get(name).and_then(Weak::upgrade)
    }

    /// The leadership of the coordinator that runs, if it does.
    #[must_use]
    pub fn coordinator_role(&self) -> Option<Arc<Coordinator>> {
        self.coordinator_role.borrow().upgrade().map(|process| process.leadership())
    }

    /// Adds a node with an empty disk that joins the running cluster.
    pub async fn join_node(&self) -> String {
        let name = self.add_joining_node();
        self.start_node(&name).await;
        name
    }

    /// Adds the machine of such a node. Its process is not started.
    pub fn add_joining_node(&self) -> String {
        let number = self.nodes.borrow().len() + 1;
        self.add_host(number);
        name_of(number)
    }

    /// Starts the coordinator (again), as it was started first.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_coordinator(&self) {
        self.try_start_coordinator().await.expect("the coordinator starts");
    }

    /// Starts the coordinator (again).
    ///
    /// # Errors
    /// What it says when it does not start.
    pub async fn try_start_coordinator(&self) -> Result<(), String> {
        self.try_start_coordinator_with(self.coordinator_settings()).await
    }

    /// Starts the coordinator (again) with settings of its own.
    ///
    /// # Errors
    /// What it says when it does not start.
    pub async fn try_start_coordinator_with(
        &self,
        settings: CoordinatorSettings,
    ) -> Result<(), String> {
        let coordinator = start_coordinator_on(&self.host(COORDINATOR), settings).await?;
        *self.coordinator_role.borrow_mut() = Arc::downgrade(&coordinator);
        Ok(())
    }

    /// What [`Cluster::start_coordinator`] starts it with.
    #[must_use]
    pub fn coordinator_settings(&self) -> CoordinatorSettings {
        let ms = |time: Duration| u64::try_from(time.as_millis()).expect("short");
        CoordinatorSettings {
            address: self.host(COORDINATOR).address().to_owned(),
            nodes: self.nodes.borrow().iter().map(|host| host.address().to_owned()).collect(),
            without: Vec::new(),
            accepts_older: false,
            policy: self.settings.policy,
            placement: self.settings.placement,
            durability: self.settings.durability,
            repair_after_ms: ms(self.settings.repair_after),
            delete_grace_ms: ms(self.settings.delete_grace),
            upload_idle_max_ms: ms(self.settings.upload_idle_max),
            repair_bytes_per_second_max: 0,
            allow_unsafe: false,
            version: "0.0.0-simulated".to_owned(),
        }
    }

    /// The coordinator as the client reaches it, over the network.
    #[must_use]
    pub fn coordinator(&self) -> Arc<dyn CoordinatorService> {
        self.client_host().env().peers.coordinator(self.host(COORDINATOR).address())
    }

    /// A client in the client's present process.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.client_host().env(), self.coordinator(), self.settings.client.clone())
    }

    /// The client's machine.
    #[must_use]
    pub fn client_host(&self) -> Arc<Host> {
        self.host(CLIENT)
    }

    /// Puts `bytes` under a name that is free, with the cluster's policy.
    ///
    /// # Errors
    /// What the client says.
    pub async fn put(&self, name: &str, bytes: &[u8]) -> Result<PutSummary, ClientError> {
        self.put_with(seekable(bytes), options(name)).await
    }

    /// Puts a source as told.
    ///
    /// # Errors
    /// What the client says.
    ///
    /// # Panics
    /// When the client is killed meanwhile; see [`Cluster::begin_put`].
    pub async fn put_with(
        &self,
        source: Source,
        options: PutOptions,
    ) -> Result<PutSummary, ClientError> {
        self.begin_put(source, options).await.expect("the client lives on")
    }

    /// The same, going on by itself in the client's process.
    #[must_use]
    pub fn begin_put(
        &self,
        source: Source,
        options: PutOptions,
    ) -> Running<Result<PutSummary, ClientError>> {
        let client = self.client();
        self.client_host().spawn(async move { client.put(source, options, &Progress::new()).await })
    }

    /// Gets a whole file.
    ///
    /// # Errors
    /// What the client says.
    pub async fn get(&self, name: &str) -> Result<Vec<u8>, ClientError> {
        self.get_with(name, None, true).await.map(|(bytes, _)| bytes)
    }

    /// Why a file cannot be got.
    ///
    /// # Panics
    /// When it can.
    pub async fn get_error(&self, name: &str) -> ClientError {
        match self.get(name).await {
            Ok(bytes) => panic!("{name} was read: {} bytes", bytes.len()),
            Err(error) => error,
        }
    }

    /// Gets a file, or a part of it, into a sink of either kind.
    ///
    /// # Errors
    /// What the client says.
    ///
    /// # Panics
    /// When the client is killed meanwhile.
    pub async fn get_with(
        &self,
        name: &str,
        range: Option<Range<u64>>,
        is_ordered: bool,
    ) -> Result<(Vec<u8>, GetSummary), ClientError> {
        self.begin_get(name, range, is_ordered).await.expect("the client lives on")
    }

    /// The same, going on by itself in the client's process.
    #[must_use]
    pub fn begin_get(
        &self,
        name: &str,
        range: Option<Range<u64>>,
        is_ordered: bool,
    ) -> Running<Result<(Vec<u8>, GetSummary), ClientError>> {
        let (client, name) = (self.client(), file_name(name));
        self.client_host().spawn(async move {
            let mut sink = MemorySink { is_ordered, ..MemorySink::default() };
            let summary = client.get(&name, range, &mut sink, &Progress::new()).await?;
            Ok((sink.bytes, summary))
        })
    }

    /// The cluster on one page.
    ///
    /// # Panics
    /// When the coordinator does not answer.
    pub async fn status(&self) -> ClusterStatus {
        self.coordinator().status().await.expect("the coordinator answers")
    }

    /// Lets time pass.
    pub async fn pass(&self, time: Duration) {
        self.world.pass(time).await;
    }

    /// Waits until every stripe has all its copies and nothing is repaired,
    /// and that has stayed so for [`STEADY_TIME`].
    ///
    /// # Panics
    /// When that takes longer than [`SETTLE_TIME_MAX`].
    pub async fn settle(&self) -> ClusterStatus {
        let is_settled = |status: &ClusterStatus| {
            let health = status.health;
            health.lacking() + status.repair.waiting + status.repair.running == 0
        };
        let mut steady_since = tokio::time::Instant::now();
        self.wait_for("full redundancy", SETTLE_TIME_MAX, move |status| {
            if !is_settled(status) {
                steady_since = tokio::time::Instant::now();
            }
            steady_since.elapsed() >= STEADY_TIME
        })
        .await
    }

    /// Waits until every node whose process runs is online.
    ///
    /// # Panics
    /// When that takes longer than a minute.
    pub async fn wait_until_heard(&self) {
        let mut up = self.node_names();
        up.retain(|name| self.host(name).is_up());
        self.wait_for("all nodes online", START_TIME_MAX, |status| {
            let is_online = |name: &String| {
                let mut nodes = status.nodes.iter();
                nodes.any(|node| node.id.as_str() == name && node.state == NodeState::Online)
            };
            up.iter().all(is_online) && status.health.unknown == 0
        })
        .await;
    }

    /// Waits until the status is as wanted.
    ///
    /// # Panics
    /// When that takes longer than `time_max`.
    pub async fn wait_for(
        &self,
        what: &str,
        time_max: Duration,
        mut is_wanted: impl FnMut(&ClusterStatus) -> bool,
    ) -> ClusterStatus {
        let started = tokio::time::Instant::now();
        let mut last = None;
        while started.elapsed() < time_max {
            match self.coordinator().status().await {
                Ok(status) if is_wanted(&status) => return status,
                answer => last = Some(answer),
            }
            self.pass(Duration::from_millis(500)).await;
        }
        panic!("no {what} within {time_max:?}; the last status: {last:#?}")
    }

    /// Cuts a node off from everything, both ways.
    pub fn isolate(&self, name: &str) {
        let mut others = self.node_names();
        others.extend([COORDINATOR.to_owned(), CLIENT.to_owned()]);
        let others: Vec<&str> = others.iter().map(String::as_str).filter(|o| *o != name).collect();
        self.world.net().partition(&[name], &others);
    }

    fn add_host(&self, number: usize) {
        let port = u16::try_from(4000 + number).expect("few nodes");
        self.nodes.borrow_mut().push(self.world.add_host(&name_of(number), port));
    }
}

/// Starts a node's process on any machine.
///
/// # Errors
/// What the node says when it does not start.
pub async fn start_node_on(host: &Arc<Host>, settings: NodeSettings) -> Result<Arc<Node>, String> {
    let env = host.start();
    let opened = host.spawn(async move { Node::open(env, settings).await }).await;
    let node = opened.map_err(|ended| ended.to_string())?.map_err(|error| error.to_string())?;
    host.serve_node(node.clone());
    let (running, machine) = (node.clone().run(), Arc::downgrade(host));
    drop(host.spawn(async move {
        let refused = running.await;
        // As the real program does: it says why, and ends.
        if let (Some(reason), Some(host)) = (refused, machine.upgrade()) {
            host.end(&reason);
        }
    }));
    Ok(node)
}

/// Starts a coordinator's process on any machine.
///
/// # Errors
/// What the coordinator says when it does not start.
pub async fn start_coordinator_on(
    host: &Arc<Host>,
    settings: CoordinatorSettings,
) -> Result<Arc<CoordinatorProcess>, String> {
    let env = host.start();
    let opened = host.spawn(async move { CoordinatorProcess::open(env, settings).await }).await;
    let coordinator =
        opened.map_err(|ended| ended.to_string())?.map_err(|error| error.to_string())?;
    host.serve_coordinator(coordinator.clone());
    let (running, machine) = (coordinator.clone().run(), Arc::downgrade(host));
    drop(host.spawn(async move {
        let reason = running.await;
        // As the real program does: it says why, and ends.
        if let Some(host) = machine.upgrade() {
            host.end(&reason);
        }
    }));
    Ok(coordinator)
}

/// The name of node number `number`, from 1.
#[must_use]
pub fn name_of(number: usize) -> String {
    format!("n{number}")
}

/// How a put is asked for that asks for nothing special.
#[must_use]
pub fn options(name: &str) -> PutOptions {
    PutOptions {
        name: file_name(name),
        policy: PolicyOverrides::default(),
        mode: PutMode::IfAbsent,
        is_strict: false,
        allow_unsafe: false,
        allow_empty: false,
    }
}

/// A name that keeps the rules.
///
/// # Panics
/// When it does not.
#[must_use]
pub fn file_name(name: &str) -> FileName {
    FileName::new(name).expect("a name of a test keeps the rules")
}
