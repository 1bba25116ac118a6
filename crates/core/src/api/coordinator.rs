//! The coordinator's service: what nodes and clients ask of it.

use async_trait::async_trait;

use super::{
    Allegiance, ClusterStatus, Condition, Context, CopyState, InventoryChanges, InventoryDigest,
    ListUnknown, NodeInfo, NodeState, PolicyOverrides, Result, UnknownPage, Usage,
};
use crate::data::digest::Digest;
use crate::id::{ClientNumber, ClusterId, FileId, Handle, NodeId, RequestId, SessionId};
use crate::name::FileName;
use crate::policy::{Policy, StripeShape};

/// The most stripes in one [`CoordinatorService::lookup`] page, one
/// [`CoordinatorService::place`] answer, or waiting unsealed in one upload.
pub const STRIPES_PER_CALL_MAX: usize = 64;
/// The most entries in one [`CoordinatorService::list`] page.
pub const ENTRIES_PER_PAGE_MAX: usize = 1000;
/// The most inventory changes in one heartbeat; beyond it, the coordinator
/// asks for the whole inventory.
pub const CHANGES_PER_HEARTBEAT_MAX: usize = 4096;
/// The most nodes in one [`CoordinatorService::report_nodes`].
pub const NODES_PER_REPORT_MAX: usize = 256;

/// What the coordinator does for others.
#[async_trait]
pub trait CoordinatorService: Send + Sync {
    /// A node says that it lives and what changed on it. A node that is not
    /// yet a member and says so (`joins`) becomes one.
    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<HeartbeatReply>;

    /// A node is being stopped politely.
    async fn leave(&self, cluster: ClusterId, node: NodeId, session: SessionId) -> Result<()>;

    /// Opens an upload. Nothing is durable yet; an upload that is left alone
    /// lapses.
    async fn begin_put(&self, request: BeginPut) -> Result<UploadGrant>;

    /// Takes note of sealed stripes and places further ones.
    async fn place(&self, request: Place) -> Result<Vec<StripePlacement>>;

    /// Names another node for one copy whose target failed; `None` when no
    /// other may hold it, and the copy is left to repair.
    async fn retarget(&self, request: Retarget) -> Result<Option<Target>>;

    /// Hands out a client number, never twice. A client needs one for each
    /// change that it has under way at the same time.
    async fn client_number(&self) -> Result<ClientNumber>;

    /// Makes the file visible, durably. A repeat under the same request id
    /// gets the first answer, also when the file was replaced or removed
    /// since; `UnknownUpload` says that the file was not stored by this
    /// request and never will be.
    async fn commit(&self, request: Commit) -> Result<Committed>;

    /// Gives an upload up.
    async fn abort(&self, upload: FileId) -> Result<()>;

    /// Where a file's chunks are, from stripe `first_stripe` on.
    async fn lookup(&self, request: Lookup) -> Result<FileMap>;

    /// Names in order.
    async fn list(&self, request: List) -> Result<ListPage>;

    /// Removes files. A repeat under the same request id gets the first
    /// answer.
    async fn remove(&self, request: Remove) -> Result<Removed>;

    /// Gives a file another name. A repeat under the same request id gets
    /// the first answer.
    async fn rename(&self, request: Rename) -> Result<()>;

    /// What the files under a prefix take. `""` is all of them.
    async fn usage(&self, prefix: String) -> Result<Usage>;

    /// The cluster on one page.
    async fn status(&self) -> Result<ClusterStatus>;

    /// A reader found a copy bad.
    async fn report_bad(&self, report: BadCopy) -> Result<()>;

    /// The copies on nodes that the catalog does not know and that are kept,
    /// a page of them.
    async fn list_unknown(&self, request: ListUnknown) -> Result<UnknownPage>;

    /// Ends the keeping of a range of handles that [`ClusterStatus`] names
    /// under `kept_handles`: chunks in it that no file needs are garbage then.
    ///
    /// # Errors
    /// `NotFound` when no such range is kept.
    async fn release_kept(&self, first: Handle, end: Handle) -> Result<()>;

    /// Writes the catalog that is in memory to another folder of the
    /// coordinator's machine, by its absolute path. The folder must be new or
    /// empty.
    async fn rescue(&self, folder: String) -> Result<Rescued>;

    /// A client tells what it met at the nodes that it used, at most
    /// [`NODES_PER_REPORT_MAX`] of them.
    async fn report_nodes(&self, reports: Vec<NodeReport>) -> Result<()>;
}

/// A catalog that was written to another folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rescued {
    /// How many files it names.
    pub files: u64,
    /// The commit at which the new ledger stands.
    pub position: u64,
}

/// A client's report about one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeReport {
    /// The node.
    pub node: NodeId,
    /// How the node behaved towards the client.
    pub met: Met,
}

/// The behaviour of a node towards a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Met {
    /// The node sent or took bytes, and so did other nodes: their speeds can be
    /// compared.
    Speed {
        /// True when the others are much faster.
        is_slow: bool,
    },
    /// It could not be reached or did not answer, for this reason.
    Unreachable(String),
}

/// What a node says every three seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Who speaks.
    pub info: NodeInfo,
    /// True when it asks to become a member (`--join`).
    pub joins: bool,
    /// The run that it obeys.
    pub allegiance: Allegiance,
    /// The number of the last answer of that run that it received in this
    /// session.
    pub confirms: Option<u64>,
    /// Its space.
    pub space: NodeSpace,
    /// What it holds, in short.
    pub digest: InventoryDigest,
    /// What changed since the version that the coordinator last acknowledged.
    /// `None` when it cannot say (restarted, or too much).
    pub changes: Option<InventoryChanges>,
    /// What is wrong with it, where something is (a failing disk).
    pub trouble: Option<String>,
    /// True when its volume is gone: none of its copies can be read.
    pub is_volume_gone: bool,
    /// Why it obeys another run of a coordinator, where it does.
    pub refuses: Option<String>,
}

/// Space on a node, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeSpace {
    /// All that it may use.
    pub total: u64,
    /// What it can still take.
    pub free: u64,
    /// What its chunks take.
    pub used: u64,
}

/// The coordinator's answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatReply {
    /// Cluster and run. A node that obeys another run takes nothing else
    /// from this answer.
    pub context: Context,
    /// The inventory version that the coordinator now knows, if any.
    pub known_version: Option<u64>,
    /// The number of this answer, for [`Heartbeat::confirms`].
    pub answer: u64,
    /// The ledger's last durable commit.
    pub position: u64,
    /// Every number below this one may have been handed out.
    pub numbers_end: u64,
}

/// The wish to store a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeginPut {
    /// Under which name.
    pub name: FileName,
    /// How many bytes, where that is known.
    pub size: Option<u64>,
    /// What differs from the cluster's policy.
    pub policy: PolicyOverrides,
    /// What to do when the name is taken.
    pub mode: PutMode,
    /// Refuse to store with fewer copies than the policy names.
    pub is_strict: bool,
    /// Take a placement that cannot keep the policy's promise.
    pub allow_unsafe: bool,
    /// Whose upload it is: the address that the server saw, where it saw one.
    /// What a client says of itself does not count.
    pub from: Option<String>,
}

/// What to do when the name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutMode {
    /// Fail with [`super::Kind::Exists`].
    IfAbsent,
    /// Swap the file, atomically, at the end.
    Replace,
}

/// An upload that may begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadGrant {
    /// Cluster and run for its writes.
    pub context: Context,
    /// Its id, which becomes the file's.
    pub upload: FileId,
    /// The policy, with nothing left open.
    pub policy: Policy,
    /// The first stripe where the size was given and is not 0, so that a
    /// small file needs no further call before its commit.
    pub first: Option<StripePlacement>,
}

/// Where the chunks of one stripe shall go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StripePlacement {
    /// Its number in the file, from 0.
    pub index: u32,
    /// The handle of its first data chunk; the others follow (see [`Handle`]).
    pub first_handle: Handle,
    /// Its shape.
    pub shape: StripeShape,
    /// For each chunk, data then parity, the nodes that shall hold a copy.
    /// Fewer than the policy names when nodes are missing.
    pub targets: Vec<Vec<Target>>,
}

/// A node to send a copy to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub node: NodeId,
    /// Where it listens, `host:port`.
    pub address: String,
}

/// The wish for room for more stripes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The upload.
    pub upload: FileId,
    /// The number of the first stripe wanted: as many as were placed before.
    /// A call that is repeated because its answer was lost is answered with
    /// the same placements.
    pub first_stripe: u32,
    /// Data chunks in each stripe wanted, in file order. May be empty.
    pub stripes: Vec<u8>,
    /// Stripes that are done. May be empty.
    pub sealed: Vec<SealedStripe>,
    /// Nodes that the client could not write to.
    pub failed: Vec<NodeId>,
    /// The longest chunk of the stripes wanted, in bytes, where the client
    /// knows it; else each may be as long as the policy lets it be.
    pub chunk_bytes_max: Option<u64>,
}

/// The wish for another node for one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retarget {
    /// The upload.
    pub upload: FileId,
    /// The chunk.
    pub handle: Handle,
    /// The target that failed.
    pub failed: NodeId,
    /// What it said.
    pub reason: String,
    /// True when it is slow and works: it is passed over only where that
    /// costs no copy.
    pub is_slow: bool,
}

/// A stripe whose copies are durable on their nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedStripe {
    /// Its number in the file.
    pub index: u32,
    /// Its first handle, as it was placed.
    pub first_handle: Handle,
    /// Its shape; it may hold fewer data chunks than were placed.
    pub shape: StripeShape,
    /// Its chunks, data then parity.
    pub chunks: Vec<SealedChunk>,
}

/// A chunk that nodes hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedChunk {
    /// SHA-256 of its raw bytes.
    pub digest: Digest,
    /// Raw bytes.
    pub raw_len: u64,
    /// Bytes of its stored frames.
    pub stored_len: u64,
    /// The nodes that said that it is durable.
    pub holders: Vec<NodeId>,
}

/// The wish to make an upload a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The upload.
    pub upload: FileId,
    /// Bytes of the file.
    pub size: u64,
    /// Stripes that [`Place`] has not yet told of.
    pub sealed: Vec<SealedStripe>,
    /// Names this change for its repeats; `None` where it is never repeated.
    pub request: Option<RequestId>,
}

/// A file that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The file.
    pub info: FileInfo,
    /// Copies that the policy names and that are left to repair.
    pub copies_missing: u64,
}

/// Which part of which file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// Its name.
    pub name: FileName,
    /// The version whose further stripes are wanted; `NotFound` when the
    /// name has another one by now.
    pub version: Option<FileId>,
    /// The first stripe wanted.
    pub first_stripe: u32,
}

/// A file and where its chunks are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMap {
    /// Cluster and run.
    pub context: Context,
    /// True when the coordinator does not lead most of its nodes: a later
    /// version may exist elsewhere.
    pub may_be_old: bool,
    /// The file. Where the first stripe was not asked for, what it takes and
    /// how it is (from [`FileInfo::chunks`] on) is of these stripes only.
    pub info: FileInfo,
    /// Stripes from the one asked for, at most [`STRIPES_PER_CALL_MAX`].
    pub stripes: Vec<StripeMap>,
}

/// A stripe and where its chunks are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StripeMap {
    /// The handle of its first data chunk.
    pub first_handle: Handle,
    /// Its shape.
    pub shape: StripeShape,
    /// Its chunks, data then parity.
    pub chunks: Vec<ChunkMap>,
}

/// A chunk and where its copies are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkMap {
    /// SHA-256 of its raw bytes.
    pub digest: Digest,
    /// Raw bytes.
    pub raw_len: u64,
    /// Bytes of its stored frames.
    pub stored_len: u64,
    /// Its copies, the best to read from first.
    pub copies: Vec<CopyAt>,
}

/// One copy of a chunk, as the coordinator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyAt {
    /// The node that shall hold it.
    pub node: NodeId,
    /// Where that listens.
    pub address: String,
    /// What the coordinator knows of the node.
    pub state: NodeState,
    /// What the node says of the copy.
    pub presence: CopyState,
    /// True when clients found the node much slower than others.
    pub is_slow: bool,
}

/// A file, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// Its name.
    pub name: FileName,
    /// Its version.
    pub id: FileId,
    /// Logical size: its bytes.
    pub size: u64,
    /// Its policy.
    pub policy: Policy,
    /// When it was stored, ms since 1970.
    pub created_ms: u64,
    /// Stripes.
    pub stripes: u32,
    /// Data chunks.
    pub chunks: u32,
    /// Stored size: its data chunks once, compressed.
    pub stored_bytes: u64,
    /// Raw size: all copies and parity that the layout names.
    pub raw_bytes: u64,
    /// How many more node losses its worst stripe survives now; -1 when it
    /// cannot be read.
    pub spares: i32,
    /// Copies that the policy names and that are not there now.
    pub copies_missing: u64,
    /// How its worst stripe is; an empty file is full.
    pub condition: Condition,
}

/// Which names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// They start with this.
    pub prefix: String,
    /// They come after this one.
    pub after: Option<String>,
    /// At most this many, 1 to [`ENTRIES_PER_PAGE_MAX`].
    pub limit: u32,
    /// Show what follows the next `/` after the prefix as one folder.
    pub by_folder: bool,
}

/// Names in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    /// The entries.
    pub entries: Vec<ListEntry>,
    /// Give this as `after` to go on; `None` at the end.
    pub next: Option<String>,
    /// True when the coordinator does not lead most of its nodes: later names
    /// may exist elsewhere.
    pub may_be_old: bool,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListEntry {
    /// A file.
    File(FileInfo),
    /// All that lies under `prefix`, which ends with `/`.
    Folder {
        /// The folder.
        prefix: String,
        /// Files in it.
        files: u64,
        /// Their logical bytes.
        bytes: u64,
    },
}

/// What to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remove {
    /// A name, or with `is_recursive` a folder (no `/` at its end needed).
    pub path: String,
    /// Remove all that lies under `path`.
    pub is_recursive: bool,
    /// Only say what would be removed.
    pub is_dry_run: bool,
    /// Names this change for its repeats; `None` where it is never repeated.
    pub request: Option<RequestId>,
}

/// What was (or would be) removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// Files.
    pub files: u64,
    /// Their logical bytes.
    pub bytes: u64,
}

/// Which name becomes which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// The file.
    pub from: FileName,
    /// Its new name.
    pub to: FileName,
    /// Whether a file of that name may be replaced.
    pub mode: PutMode,
    /// Names this change for its repeats; `None` where it is never repeated.
    pub request: Option<RequestId>,
}

/// A copy that a reader found bad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadCopy {
    /// The chunk.
    pub handle: Handle,
    /// Where it was read.
    pub node: NodeId,
    /// What was wrong.
    pub reason: String,
}
