//! Every fault of a disk and of a wall clock really happens when it is asked
//! for, at the seam; and what the roles do under it.

mod call;
mod clock;
mod medium;
mod power;
mod role_cluster;
mod role_ledger;
mod role_node;
mod role_range;
mod role_space;
mod role_start;
mod volume;

use std::io;
use std::sync::Arc;

use dfs_core::api::{Adopt, Context, HeldChunk, Kind, NodeService, Result};
use dfs_core::env::{Access, Disk, Durability, File};
use dfs_core::id::{Handle, NodeId};
use dfs_core::node::{Node, NodeSettings, NodeStartError};
use dfs_simulation::sample::{self, SampleChunk, WholeChunk};
use dfs_simulation::{Host, MemoryDisk, Rng};

/// Seeds that a claim about power cuts is tried with.
const SEEDS: u64 = 200;
/// More calls of a kind than one write of a chunk makes.
const CALLS_MAX: u32 = 50;
/// What is lost, kept and torn as one.
const BLOCK: usize = 4096;

fn create(disk: &MemoryDisk, path: &str, bytes: &[u8]) -> Box<dyn File> {
    let file = disk.handle().create(path, Access::Random).expect("create");
    file.write_at(0, bytes).expect("write");
    file
}

/// Makes a file that no power cut takes.
fn create_durable(disk: &MemoryDisk, path: &str, bytes: &[u8]) -> Box<dyn File> {
    let file = create(disk, path, bytes);
    file.sync().expect("sync");
    disk.handle().sync_dir("").expect("sync");
    file
}

fn read(file: &dyn File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.read_at(offset, &mut bytes)?;
    Ok(bytes)
}

/// Runs `before` on a new disk and cuts the power, for many seeds.
fn crashed(before: impl Fn(&MemoryDisk)) -> Vec<MemoryDisk> {
    let crash = |seed| {
        let disk = MemoryDisk::default();
        before(&disk);
        disk.crash(&mut Rng::new(seed));
        disk
    };
    (0..SEEDS).map(crash).collect()
}

/// How often this kind of fault took effect.
fn count(disk: &MemoryDisk, kind: &str) -> u64 {
    disk.faults_injected().get(kind).copied().unwrap_or(0)
}

/// A node's context; nobody is its coordinator.
fn context() -> Context {
    sample::context(1, 5)
}

async fn try_start(host: &Arc<Host>) -> std::result::Result<Arc<Node>, NodeStartError> {
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
    Node::open(host.start(), settings).await
}

/// Starts a node and takes it into the cluster.
async fn start(host: &Arc<Host>) -> Arc<Node> {
    let node = try_start(host).await.expect("the node starts");
    let adopt = Adopt {
        context: context(),
        coordinator: "nowhere:9".to_owned(),
        replaces: dfs_core::id::Run::default(),
        has_ended: false,
        position: 1,
        numbers_end: 1 << 40,
    };
    node.adopt(adopt).await.expect("it is adopted");
    node
}

/// A chunk of `len` bytes that compress to almost nothing: one large enough
/// has a file of its own, a small one lies in a pack.
fn chunk(handle: u64, len: usize) -> SampleChunk {
    let byte = u8::try_from(handle % 251).expect("below 256");
    sample::chunk(context().cluster, handle, vec![byte; len])
}

async fn write_chunk(node: &Node, handle: u64, len: usize) -> Result<()> {
    chunk(handle, len).write_to(node, context()).await
}

async fn read_chunk(node: &Node, handle: u64) -> Result<WholeChunk> {
    sample::read_whole(node, context().cluster, Handle(handle)).await
}

/// Whether the node says that it holds the chunk, and that it is good.
async fn held(node: &Node, handle: u64) -> Option<bool> {
    let page = node.inventory(context(), None).await.expect("an inventory");
    let found: Option<&HeldChunk> = page.chunks.iter().find(|chunk| chunk.handle.0 == handle);
    found.map(|chunk| chunk.is_good)
}

fn assert_kind<T>(result: Result<T>, kind: Kind, what: &str) -> String {
    let Err(error) = result else { panic!("{what}: {kind:?} is due, and it succeeded") };
    assert_eq!(error.kind, kind, "{what}: {error}");
    error.message
}

fn paths(disk: &MemoryDisk, folder: &str) -> Vec<String> {
    let files = disk.files().into_iter().map(|(path, _)| path);
    files.filter(|path| path.starts_with(folder)).collect()
}
