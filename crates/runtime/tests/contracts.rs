//! The contract suites on real roles, real disks and real sockets.

use std::future::Future;
use std::sync::Arc;

use dfs_core::api::{CoordinatorService, NodeService};
use dfs_core::coordinator::{Coordinator, CoordinatorSettings};
use dfs_core::env::{Durability, Peers};
use dfs_core::id::NodeId;
use dfs_core::node::{Node, NodeSettings};
use dfs_runtime::grpc::{GrpcPeers, serve_coordinator, serve_node};
use dfs_runtime::{RealWorld, TaskGroup};
use dfs_simulation::contract::coordinator::{PLACEMENT, POLICY, coordinator_contract};
use dfs_simulation::contract::node::{NodeUnderTest, node_contract};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

/// Roles that live as long as their test.
struct Cluster {
    world: RealWorld,
    peers: GrpcPeers,
    servers: TaskGroup,
    held: Vec<(TempDir, TaskGroup)>,
}

impl Cluster {
    fn new() -> Self {
        let runtime = Handle::current();
        Self {
            world: RealWorld::new(runtime.clone()),
            peers: GrpcPeers::new(runtime.clone()),
            servers: TaskGroup::new(runtime),
            held: Vec::new(),
        }
    }

    async fn listen() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port").to_string();
        (listener, address)
    }

    fn serve(&self, serving: impl Future<Output = std::io::Result<()>> + Send + 'static) {
        self.servers.run(async { serving.await.expect("the server runs to its end") });
    }

    async fn node(&mut self) -> NodeUnderTest {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (env, tasks) = self.world.env(folder.path(), None).expect("an empty folder opens");
        let (listener, address) = Self::listen().await;
        let settings = NodeSettings {
            id: NodeId::new(format!("n{}", self.held.len())).expect("a good id"),
            address: address.clone(),
            zone: None,
            join: None,
            replace: false,
            capacity_bytes: None,
            durability: Durability::Strict,
            version: "0.0.0-tested".to_owned(),
        };
        let node = Node::open(env, settings).await.expect("the node starts");
        let running = node.clone().run();
        tasks.run(async { drop(running.await) });
        self.serve(serve_node(listener, node, std::future::pending()));
        self.held.push((folder, tasks));
        NodeUnderTest { service: self.peers.node(&address) as Arc<dyn NodeService>, address }
    }

    async fn coordinator(&mut self) -> Arc<dyn CoordinatorService> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (env, tasks) = self.world.env(folder.path(), None).expect("an empty folder opens");
        let (listener, address) = Self::listen().await;
        let settings = CoordinatorSettings {
            without: Vec::new(),
            accepts_older: false,
            address: address.clone(),
            nodes: Vec::new(),
            policy: POLICY,
            placement: PLACEMENT,
            durability: Durability::Strict,
            repair_after_ms: 60_000,
            delete_grace_ms: 60_000,
            upload_idle_max_ms: 600_000,
            repair_bytes_per_second_max: 0,
            allow_unsafe: false,
            version: "0.0.0-tested".to_owned(),
        };
        let coordinator = Coordinator::open(env, settings).await.expect("it starts");
        let running = coordinator.clone();
        tasks.run(async { drop(running.run().await) });
        self.serve(serve_coordinator(listener, coordinator, std::future::pending()));
        self.held.push((folder, tasks));
        self.peers.coordinator(&address)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_behind_grpc_keeps_the_contract() {
    let mut cluster = Cluster::new();
    node_contract(async || cluster.node().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_behind_grpc_keeps_the_contract() {
    let mut cluster = Cluster::new();
    coordinator_contract(async || cluster.coordinator().await).await;
}
