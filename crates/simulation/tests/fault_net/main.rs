//! The network and the processes on it, broken on purpose: each fault is
//! shown really to happen, with real roles behind the seam.

mod link;
mod pause;
mod spy;
mod step;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use dfs_core::api::{Adopt, Context, HeldChunk, NodeService, Result};
use dfs_core::env::Durability;
use dfs_core::id::NodeId;
use dfs_core::node::{Node, NodeSettings};
use dfs_simulation::net::{Link, PING_INTERVAL, SILENCE_MAX};
use dfs_simulation::sample::{self, SampleChunk};
use dfs_simulation::{Host, World};

use spy::Spy;

const NODE: &str = "n1";
const CLIENT: &str = "client";
const SECOND: Duration = Duration::from_secs(1);

/// One node, spied on, and one client that reaches it over the network.
struct Pair {
    host: Arc<Host>,
    client: Arc<Host>,
    spy: Arc<Spy>,
    /// The node as the client has it.
    link: Arc<dyn NodeService>,
}

impl Pair {
    async fn start(world: &World) -> Self {
        let host = world.add_host(NODE, 4001);
        let client = world.add_host(CLIENT, 1);
        let spy = serve(&host).await;
        let link = client.start().peers.node(host.address());
        Self { host, client, spy, link }
    }

    /// Ends what runs on the node's host, if anything, and starts it anew.
    async fn restart_node(&mut self) {
        self.spy = serve(&self.host).await;
    }

    /// What the node says that it holds.
    async fn held(&self) -> Vec<HeldChunk> {
        self.spy.node.inventory(context(), None).await.expect("an inventory").chunks
    }

    /// What is on the node's disk of chunks that were begun.
    fn begun(&self) -> Vec<String> {
        let files = self.host.disk().files().into_iter().map(|(path, _)| path);
        files.filter(|path| path.starts_with("tmp")).collect()
    }
}

async fn serve(host: &Arc<Host>) -> Arc<Spy> {
    let settings = NodeSettings {
        id: NodeId::new(host.name()).expect("a good id"),
        address: host.address().to_owned(),
        zone: None,
        join: None,
        replace: false,
        capacity_bytes: None,
        durability: Durability::Strict,
        version: "0.0.0-simulated".to_owned(),
    };
    let env = host.start();
    let opened = host.spawn(async move { Node::open(env, settings).await }).await;
    let node = opened.expect("it lives").expect("the node starts");
    greet(&node).await;
    let spy = Arc::new(Spy::new(node));
    host.serve_node(spy.clone());
    spy
}

/// Says hello as the coordinator does. A node that hears nothing for long
/// takes no chunks.
async fn greet(node: &Node) {
    let adopt = Adopt {
        context: context(),
        coordinator: "nowhere:9".to_owned(),
        replaces: dfs_core::id::Run::default(),
        has_ended: false,
        position: 1,
        numbers_end: 1 << 40,
    };
    node.adopt(adopt).await.expect("it is adopted");
}

fn context() -> Context {
    sample::context(1, 5)
}

/// A chunk of `len` bytes that compress to almost nothing.
fn thin(handle: u64, len: usize) -> SampleChunk {
    let byte = u8::try_from(handle % 251).expect("below 256");
    sample::chunk(context().cluster, handle, vec![byte; len])
}

/// Time for the pings of an open stream to find out that nobody answers.
fn assert_found_by_silence(elapsed: Duration) {
    let found = SILENCE_MAX..SILENCE_MAX + PING_INTERVAL + SECOND;
    assert!(found.contains(&elapsed), "found after {elapsed:?}");
}

fn assert_unavailable<T>(result: Result<T>, why: &str) {
    let Err(error) = result else { panic!("it succeeded, and {why} was due") };
    assert_eq!(error.kind, dfs_core::api::Kind::Unavailable, "{error}");
    assert!(error.message.contains(why), "{error}, and {why} was due");
}

fn cut() -> Link {
    Link { is_cut: true, ..Link::default() }
}
