//! One node on a bad disk: crashes, damage, a full disk, wrong folders.

mod crash;
mod damage;
mod folder;
mod meanwhile;
mod pack;
mod rebuild;
mod space;
mod stream;

use std::sync::Arc;

use dfs_core::api::{Adopt, Context, HeldChunk, Kind, NodeService, Result};
use dfs_core::env::Durability;
use dfs_core::id::{Handle, NodeId};
use dfs_core::node::{Node, NodeSettings, NodeStartError};
use dfs_simulation::Host;
use dfs_simulation::sample::{self, SampleChunk, WholeChunk};

/// Nobody listens there.
const NOWHERE: &str = "nowhere:9";

fn context() -> Context {
    sample::context(1, 5)
}

fn settings(host: &Host) -> NodeSettings {
    NodeSettings {
        id: NodeId::new(host.name()).expect("a good id"),
        address: host.address().to_owned(),
        zone: None,
        join: None,
        replace: false,
        capacity_bytes: None,
        durability: Durability::Strict,
        version: "0.0.0-simulated".to_owned(),
    }
}

async fn try_start(host: &Arc<Host>) -> std::result::Result<Arc<Node>, NodeStartError> {
    let node = Node::open(host.start(), settings(host)).await?;
    host.serve_node(node.clone());
    Ok(node)
}

/// Starts the node and takes it into the cluster.
async fn start(host: &Arc<Host>) -> Arc<Node> {
    let node = try_start(host).await.expect("the node starts");
    adopt(&node).await.expect("it is adopted");
    node
}

async fn adopt(node: &Node) -> Result<()> {
    let adopt = Adopt {
        context: context(),
        coordinator: NOWHERE.to_owned(),
        replaces: dfs_core::id::Run::default(),
        has_ended: false,
        position: 1,
        numbers_end: 1 << 40,
    };
    node.adopt(adopt).await.map(drop)
}

/// A chunk of `len` bytes that compress to almost nothing.
fn thin(handle: u64, len: usize) -> SampleChunk {
    let byte = u8::try_from(handle % 251).expect("below 256");
    sample::chunk(context().cluster, handle, vec![byte; len])
}

async fn read(node: &Node, handle: u64) -> Result<WholeChunk> {
    sample::read_whole(node, context().cluster, Handle(handle)).await
}

/// What the node says that it holds.
async fn held(node: &Node) -> Vec<HeldChunk> {
    let page = node.inventory(context(), None).await.expect("an inventory");
    assert!(page.is_last);
    page.chunks
}

async fn is_held_good(node: &Node, handle: u64) -> Option<bool> {
    let chunks = held(node).await;
    chunks.iter().find(|chunk| chunk.handle.0 == handle).map(|chunk| chunk.is_good)
}

fn assert_kind<T>(result: Result<T>, kind: Kind) -> String {
    let Err(error) = result else { panic!("{kind:?} is due, and it succeeded") };
    assert_eq!(error.kind, kind, "{error}");
    error.message
}

fn paths(host: &Host, folder: &str) -> Vec<String> {
    let files = host.disk().files().into_iter().map(|(path, _)| path);
    files.filter(|path| path.starts_with(folder)).collect()
}
