//! The coordinator's report on the cluster: its health, the stored data, repair,
//! and the chunks that the catalog does not know.

use super::{NodeSpace, NodeState, Promise, Stored, StripeHealth, Verdict};
use crate::id::{ClusterId, Handle, NodeId, Run};
use crate::policy::{PlacementStrategy, PolicySpec};

/// The most copies on one [`UnknownPage`].
pub const UNKNOWN_PER_PAGE_MAX: usize = 1000;
/// Up to so many unknown copies are counted for the status.
pub const UNKNOWN_COUNTED_MAX: u64 = 100_000;

/// The space that files take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Files.
    pub files: u64,
    /// Data chunks.
    pub chunks: u64,
    /// Their bytes.
    pub logical_bytes: u64,
    /// Data chunks once, compressed.
    pub stored_bytes: u64,
    /// All copies and parity.
    pub raw_bytes: u64,
}

/// The cluster on one page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    /// The cluster.
    pub cluster: ClusterId,
    /// The coordinator's run.
    pub run: Run,
    /// Members that are leased to this run, and all that are counted.
    pub leased: u32,
    /// Members that are counted: all but those that the operator excluded.
    pub counted: u32,
    /// Why this coordinator makes no changes, while it makes none.
    pub makes_no_changes: Option<String>,
    /// Ranges of handles that a later copy of this catalog may have handed
    /// out: first handle, and the first behind it. Their chunks are kept.
    pub kept_handles: Vec<(Handle, Handle)>,
    /// Copies on the nodes that the catalog does not know and that are kept.
    pub unknown: Unknown,
    /// The coordinator's program.
    pub version: String,
    /// Now, by the coordinator's wall clock, ms since 1970.
    pub now_ms: u64,
    /// Seconds since the coordinator started.
    pub uptime_s: u64,
    /// The cluster's policy.
    pub policy: PolicySpec,
    /// The cluster's placement.
    pub placement: PlacementStrategy,
    /// True when acknowledgements do not wait for fsync.
    pub is_relaxed: bool,
    /// How the cluster is, and why.
    pub verdict: Verdict,
    /// The promise of the policy for new files, on the present members.
    pub promise: Promise,
    /// The state of the stored files.
    pub stored: Stored,
    /// Nodes that are expected: the members, and addresses of `--nodes` from
    /// which none ever answered.
    pub nodes_expected: u32,
    /// The members, by name.
    pub nodes: Vec<NodeStatus>,
    /// The space that all files take.
    pub usage: Usage,
    /// How the stripes are.
    pub health: StripeHealth,
    /// What repair is doing.
    pub repair: RepairStatus,
    /// Bytes of deleted chunks that are still on disks, as far as heard.
    pub garbage_bytes: u64,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its name.
    pub id: NodeId,
    /// Where it listens.
    pub address: String,
    /// Its failure domain.
    pub zone: Option<String>,
    /// What is known of it.
    pub state: NodeState,
    /// Milliseconds since it was last heard.
    pub heard_ms_ago: Option<u64>,
    /// Its space.
    pub space: NodeSpace,
    /// Chunks that it holds.
    pub chunks: u64,
    /// Of these, bad ones that are kept aside.
    pub quarantined: u64,
    /// Its program.
    pub version: String,
    /// What is wrong with it, or why it is refused.
    pub trouble: Option<String>,
    /// True when clients found it much slower than others.
    pub is_slow: bool,
}

/// What repair is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RepairStatus {
    /// Copies waiting to be rebuilt.
    pub waiting: u64,
    /// Copies being rebuilt now.
    pub running: u64,
    /// Copies that were missing and are there again, since the coordinator
    /// started.
    pub done: u64,
    /// Copies that were moved to another node so that their stripe survives
    /// what its policy promises; nothing was missing.
    pub moved: u64,
    /// Bytes pulled for both.
    pub bytes_pulled: u64,
    /// Attempts that failed, of either kind.
    pub failed: u64,
    /// Seconds until repair of the earliest offline node begins, if any waits.
    pub begins_in_s: Option<u64>,
}

/// Copies that the catalog does not know and that are never swept: their
/// handles are kept, or were never handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unknown {
    /// Copies, counted up to [`UNKNOWN_COUNTED_MAX`].
    pub copies: u64,
    /// What these take on disks, in bytes.
    pub bytes: u64,
}

/// Asks for unknown copies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListUnknown {
    /// The last copy of the page before.
    pub after: Option<(NodeId, Handle)>,
}

/// Unknown copies by node and handle, at most [`UNKNOWN_PER_PAGE_MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnknownPage {
    /// The copies.
    pub copies: Vec<UnknownCopy>,
    /// Whether there are more.
    pub has_more: bool,
}

/// One copy that the catalog does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownCopy {
    /// The node that holds it.
    pub node: NodeId,
    /// Where that node listens.
    pub address: String,
    /// The chunk.
    pub handle: Handle,
    /// What the copy takes on disk, in bytes.
    pub stored_bytes: u64,
    /// False when it was found bad.
    pub is_good: bool,
}
