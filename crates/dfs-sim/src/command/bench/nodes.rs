//! Nodes that only say what they hold: what a coordinator hears and asks of
//! them, without disks and without a transport.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use dfs_core::api::{
    Adopt, Allegiance, ChunkRead, Context, CoordinatorService, Error, HANDLES_PER_CALL_MAX,
    Heartbeat, HeldChunk, Hello, InventoryChanges, InventoryDigest, InventoryPage, Kind, NodeInfo,
    NodeService, NodeSpace, ReadRequest, RebuildTask, Receipt, Result, Told, WriteHeader,
    WriteStream,
};
use dfs_core::data::chunk::ChunkSeal;
use dfs_core::env::Peers;
use dfs_core::id::{FolderId, Handle, NodeId, SessionId};
use dfs_core::presence::fingerprint;

/// What every copy takes.
pub(super) const COPY_BYTES: u64 = (1 << 20) + 12;
/// Space of each node: enough for anything.
const SPACE_BYTES: u64 = 1 << 50;

/// A node that holds whatever it is told to, at once.
pub(super) struct PaperNode {
    number: u8,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    chunks: BTreeSet<Handle>,
    version: u64,
    fingerprint: u64,
    /// The version of each change, and its chunk.
    log: Vec<(u64, Handle)>,
    /// The version that the coordinator said it knows.
    known: Option<u64>,
    /// The coordinator's last answer.
    answer: Option<u64>,
}

/// All of them, by their addresses.
pub(super) struct PaperNodes(Vec<Arc<PaperNode>>);

pub(super) fn address(number: u64) -> String {
    format!("127.0.0.1:{}", 2 + number)
}

pub(super) fn id(number: u64) -> NodeId {
    NodeId::new(format!("n{number}")).expect("a good id")
}

pub(super) fn folder(number: u8) -> FolderId {
    FolderId([number; 16])
}

impl PaperNodes {
    /// A node for each of these sets of copies.
    pub(super) fn holding(copies: impl IntoIterator<Item = BTreeSet<Handle>>) -> Self {
        let node = |(number, chunks): (u8, BTreeSet<Handle>)| {
            let sum = chunks.iter().fold(0, |sum, handle| sum ^ fingerprint(&held(*handle)));
            let held = Held { chunks, version: 1, fingerprint: sum, ..Held::default() };
            Arc::new(PaperNode { number, held: Mutex::new(held) })
        };
        Self((0..).zip(copies).map(node).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<PaperNode>> {
        self.0.iter()
    }
}

impl PaperNode {
    pub(super) fn session(&self) -> SessionId {
        SessionId(u64::from(self.number) + 1)
    }

    pub(super) fn id(&self) -> NodeId {
        id(u64::from(self.number))
    }

    /// Says what it holds; true once the coordinator knows all of it.
    pub(super) async fn beat(
        &self,
        coordinator: &dyn CoordinatorService,
        context: Context,
    ) -> Result<bool> {
        let (digest, changes) = {
            let held = self.held();
            let changes = held.known.map(|since| held.since(since));
            let digest = InventoryDigest {
                version: held.version,
                chunks: held.chunks.len() as u64,
                quarantined: 0,
                fingerprint: held.fingerprint,
            };
            (digest, changes)
        };
        let heartbeat = Heartbeat {
            info: self.info(context),
            joins: false,
            allegiance: Allegiance {
                told: Told { run: context.run, position: 0 },
                ..Allegiance::default()
            },
            confirms: self.held().answer,
            space: NodeSpace { total: SPACE_BYTES, free: SPACE_BYTES, used: 0 },
            digest,
            changes,
            trouble: None,
            is_volume_gone: false,
            refuses: None,
        };
        let reply = coordinator.heartbeat(heartbeat).await?;
        let known = reply.known_version;
        let mut held = self.held();
        (held.known, held.answer) = (known, Some(reply.answer));
        drop(held);
        Ok(known.is_some_and(|known| known >= digest.version))
    }

    fn info(&self, context: Context) -> NodeInfo {
        NodeInfo {
            id: self.id(),
            folder: folder(self.number),
            session: self.session(),
            address: address(u64::from(self.number)),
            zone: None,
            cluster: Some(context.cluster),
            replaces: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn since(&self, since: u64) -> InventoryChanges {
        let first = self.log.partition_point(|(version, _)| *version <= since);
        let touched: BTreeSet<Handle> =
            self.log.iter().skip(first).map(|(_, handle)| *handle).collect();
        let (there, gone) = touched.into_iter().partition(|handle| self.chunks.contains(handle));
        let there: Vec<Handle> = there;
        InventoryChanges { since, held: there.into_iter().map(held).collect(), gone }
    }

    fn note(&mut self, handle: Handle) {
        self.version += 1;
        self.fingerprint ^= fingerprint(&held(handle));
        self.log.push((self.version, handle));
    }
}

fn held(handle: Handle) -> HeldChunk {
    HeldChunk { handle, stored_bytes: COPY_BYTES, is_good: true }
}

fn not_here<T>() -> Result<T> {
    Err(Error::new(Kind::Unavailable, "a node on paper has no bytes".to_owned()))
}

#[async_trait]
impl NodeService for PaperNode {
    async fn hello(&self) -> Result<Hello> {
        not_here()
    }

    async fn release(&self, _: Context) -> Result<()> {
        Ok(())
    }

    async fn adopt(&self, request: Adopt) -> Result<NodeInfo> {
        Ok(self.info(request.context))
    }

    async fn write_chunk(&self, _: WriteHeader, _: WriteStream) -> Result<()> {
        not_here()
    }

    async fn read_chunk(&self, _: ReadRequest) -> Result<ChunkRead> {
        not_here()
    }

    async fn delete_chunks(&self, _: Context, handles: Vec<Handle>) -> Result<()> {
        let mut held = self.held();
        for handle in handles {
            if held.chunks.remove(&handle) {
                held.note(handle);
            }
        }
        Ok(())
    }

    async fn rebuild_chunk(&self, _: Context, task: RebuildTask) -> Result<Receipt> {
        let handle = task.chunk.handle;
        let mut held = self.held();
        if held.chunks.insert(handle) {
            held.note(handle);
        }
        let (raw_len, stored_len) = (1 << 20, COPY_BYTES);
        let seal = ChunkSeal { raw_len, stored_len, frames: 1, digest: task.digest };
        Ok(Receipt { handle, seal, bytes_pulled: COPY_BYTES, from_parity: false })
    }

    async fn inventory(&self, _: Context, after: Option<Handle>) -> Result<InventoryPage> {
        // An answer over a network lets others go on too.
        tokio::task::yield_now().await;
        let held_now = self.held();
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = held_now.chunks.range((first, Bound::Unbounded));
        let chunks = rest.by_ref().take(HANDLES_PER_CALL_MAX).copied().map(held).collect();
        Ok(InventoryPage { version: held_now.version, chunks, is_last: rest.next().is_none() })
    }

    async fn verify_chunk(&self, _: Context, _: Handle) -> Result<Receipt> {
        not_here()
    }
}

impl Peers for PaperNodes {
    fn node(&self, address: &str) -> Arc<dyn NodeService> {
        let port = address.rsplit(':').next().and_then(|port| port.parse::<usize>().ok());
        let number = port.and_then(|port| port.checked_sub(2)).unwrap_or(0);
        let node = self.0.get(number).or_else(|| self.0.first());
        node.expect("there are nodes on paper").clone()
    }

    fn coordinator(&self, _: &str) -> Arc<dyn CoordinatorService> {
        unreachable!("no node on paper calls by itself")
    }
}
