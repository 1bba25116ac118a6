//! The node's service: what coordinator, clients and other nodes ask of it.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use super::{HeldChunk, Result, Told};
use crate::data::chunk::{ChunkHeader, ChunkSeal};
use crate::data::digest::Digest;
use crate::id::{ClusterId, FolderId, Handle, NodeId, Run, SessionId};

/// The most handles in one [`NodeService::delete_chunks`] or
/// [`NodeService::inventory`] page.
pub const HANDLES_PER_CALL_MAX: usize = 4096;

/// What a node does for others.
#[async_trait]
pub trait NodeService: Send + Sync {
    /// Tells who the node is and which run it obeys. Changes nothing.
    async fn hello(&self) -> Result<Hello>;

    /// A run takes the node over, or says hello anew. The node remembers
    /// cluster and run durably, is leased to the run, and begins its
    /// heartbeats.
    ///
    /// # Errors
    /// `StaleEpoch` when the request does not name the run that the node
    /// obeys as the one that it replaces, or its number does not rise;
    /// `Unavailable` while the node is leased to another run.
    async fn adopt(&self, request: Adopt) -> Result<NodeInfo>;

    /// Ends the lease of a run that stops politely, so that another one may
    /// adopt the node at once.
    async fn release(&self, context: Context) -> Result<()>;

    /// Takes one chunk: its frames in order, then its seal. Returns once the
    /// chunk is durable. A stream that ends without a seal leaves nothing.
    ///
    /// Writing a handle that is already sealed with the same digest succeeds
    /// without effect; with another digest it is `Exists`.
    async fn write_chunk(&self, header: WriteHeader, parts: WriteStream) -> Result<()>;

    /// Hands out stored frames of a sealed chunk. Each frame has passed its
    /// CRC32C on the node and is to be checked again by the reader.
    async fn read_chunk(&self, request: ReadRequest) -> Result<ChunkRead>;

    /// Forgets chunks for good. Unknown handles are passed over.
    async fn delete_chunks(&self, context: Context, handles: Vec<Handle>) -> Result<()>;

    /// Pulls a chunk from peers (or rebuilds it from its stripe), seals it,
    /// reads it back and verifies it. Idempotent.
    async fn rebuild_chunk(&self, context: Context, task: RebuildTask) -> Result<Receipt>;

    /// What the node holds, in order of handle, from after `after`.
    async fn inventory(&self, context: Context, after: Option<Handle>) -> Result<InventoryPage>;

    /// Reads a chunk whole and checks every sum. `Integrity` when it is bad,
    /// and then it has been quarantined.
    async fn verify_chunk(&self, context: Context, handle: Handle) -> Result<Receipt>;
}

/// Who speaks for which cluster, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The cluster.
    pub cluster: ClusterId,
    /// The run that the speaker belongs to. Readers, which change nothing,
    /// are served whatever it is.
    pub run: Run,
}

/// The order by which a run takes a node over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopt {
    /// Cluster and run.
    pub context: Context,
    /// Where the coordinator listens, for heartbeats.
    pub coordinator: String,
    /// The run that the node obeys now and that this one replaces.
    pub replaces: Run,
    /// True when the replaced run is known to have ended, so that its lease
    /// need not end first.
    pub has_ended: bool,
    /// The ledger's last durable commit.
    pub position: u64,
    /// Every number below this one may have been handed out.
    pub numbers_end: u64,
}

/// A node's answer to a hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The node.
    pub info: NodeInfo,
    /// The run that it obeys.
    pub allegiance: Allegiance,
}

/// Which run a node obeys, and what that run told it last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allegiance {
    /// The adopted run and the last commit that it announced; run
    /// 0 where it adopted none.
    pub told: Told,
    /// When it adopted that run, ms since 1970 by its own clock.
    pub since_ms: u64,
    /// The address of the coordinator of that run.
    pub coordinator: Option<String>,
    /// The first number above all numbers that the run announced.
    pub numbers_end: u64,
    /// Milliseconds for which it is still leased to that run.
    pub leased_ms: u64,
}

/// Who a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its name.
    pub id: NodeId,
    /// Its data folder.
    pub folder: FolderId,
    /// This run of its process.
    pub session: SessionId,
    /// Where others reach it, `host:port`.
    pub address: String,
    /// Its failure domain, where one was named.
    pub zone: Option<String>,
    /// The cluster that its folder belongs to, once it does.
    pub cluster: Option<ClusterId>,
    /// True when its operator says that an earlier folder under this id is
    /// gone for good (`--replace`).
    pub replaces: bool,
    /// Version of its program.
    pub version: String,
}

/// What begins a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteHeader {
    /// Cluster and run of the upload.
    pub context: Context,
    /// What the chunk is; stored with it.
    pub chunk: ChunkHeader,
}

/// How often a writer that waits for its source says that it is there.
pub const WRITE_RENEWAL_INTERVAL: Duration = Duration::from_secs(10);

/// One step of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WritePart {
    /// One stored frame, header included.
    Frame(Bytes),
    /// The source has nothing yet; the writer is there. Sent by a writer that
    /// has sent nothing for [`WRITE_RENEWAL_INTERVAL`].
    Waiting,
    /// The end. Nothing may follow.
    Seal(ChunkSeal),
}

/// The steps of a write. An error ends it and leaves nothing.
pub type WriteStream = BoxStream<'static, Result<WritePart>>;

/// Which frames of a chunk to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRequest {
    /// The cluster; a node serves no other.
    pub cluster: ClusterId,
    /// Which chunk.
    pub handle: Handle,
    /// Which of its frames. An end beyond the last frame is cut to it, so
    /// `0..u32::MAX` is the whole chunk; an empty range reads the seal only.
    pub frames: Range<u32>,
}

/// A chunk being read.
pub struct ChunkRead {
    /// What the chunk is.
    pub header: ChunkHeader,
    /// Its lengths and digest.
    pub seal: ChunkSeal,
    /// The frames asked for, in order, each whole with its header.
    pub frames: FrameStream,
}

/// Stored frames in order.
pub type FrameStream = BoxStream<'static, Result<Bytes>>;

/// A chunk that a node is told to come to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebuildTask {
    /// What the chunk is. Its seal is checked against [`Self::digest`].
    pub chunk: ChunkHeader,
    /// The SHA-256 that the catalog has for it.
    pub digest: Digest,
    /// Addresses of nodes that hold a copy: tried in order.
    pub copies: Vec<String>,
    /// The other chunks of the stripe, tried when no copy can be read.
    pub stripe: Vec<StripeMember>,
    /// The most bytes a second to pull, 0 for no limit.
    pub bytes_per_second_max: u64,
}

/// One other chunk of a stripe and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StripeMember {
    /// Its place in the code: data `0..k`, parity `k..k+m`.
    pub position: u8,
    /// Its handle.
    pub handle: Handle,
    /// The SHA-256 that the catalog has for it.
    pub digest: Digest,
    /// Addresses of nodes that hold a copy.
    pub copies: Vec<String>,
}

/// The proof that a chunk was read back and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Which chunk.
    pub handle: Handle,
    /// What was found in it.
    pub seal: ChunkSeal,
    /// Bytes that were pulled from peers for it.
    pub bytes_pulled: u64,
    /// Whether it came from the stripe rather than from another copy.
    pub from_parity: bool,
}

/// A part of what a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryPage {
    /// The inventory's version at the time of this page.
    pub version: u64,
    /// In order of handle, at most [`HANDLES_PER_CALL_MAX`].
    pub chunks: Vec<HeldChunk>,
    /// True when nothing follows.
    pub is_last: bool,
}
