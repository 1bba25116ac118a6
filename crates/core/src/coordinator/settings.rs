//! What an operator may set on a coordinator.

use crate::env::Durability;
use crate::id::NodeId;
use crate::policy::{PlacementStrategy, PolicySpec};

/// The settings of one coordinator, all decided.
#[derive(Debug, Clone)]
pub struct CoordinatorSettings {
    /// Where nodes reach it, `host:port`.
    pub address: String,
    /// Addresses of nodes to take into the cluster, `host:port`.
    pub nodes: Vec<String>,
    /// Members that are gone for good: they do not count for the majority.
    pub without: Vec<NodeId>,
    /// Lead although nodes know a newer catalog than this one.
    pub accepts_older: bool,
    /// The policy of files that ask for no other.
    pub policy: PolicySpec,
    /// How nodes are chosen.
    pub placement: PlacementStrategy,
    /// Take placements that cannot keep the policy's promise, and say so in
    /// `status`.
    pub allow_unsafe: bool,
    /// Whether acknowledgements wait for fsync.
    pub durability: Durability,
    /// How long after a node went offline its copies are rebuilt, in ms.
    pub repair_after_ms: u64,
    /// How long deleted chunks stay on nodes, for readers under way, in ms.
    pub delete_grace_ms: u64,
    /// How long an upload may be left alone before it lapses, in ms.
    pub upload_idle_max_ms: u64,
    /// The most bytes a second that one rebuild pulls, 0 for no limit.
    pub repair_bytes_per_second_max: u64,
    /// The program's version, for `status`.
    pub version: String,
}

/// Repair waits this long for an offline node unless told otherwise: a
/// reboot is not a rebuild.
pub const REPAIR_AFTER_MS_DEFAULT: u64 = 60_000;
/// Deleted chunks stay this long unless told otherwise.
pub const DELETE_GRACE_MS_DEFAULT: u64 = 300_000;
/// Uploads lapse after this long unless told otherwise.
pub const UPLOAD_IDLE_MAX_MS_DEFAULT: u64 = 600_000;
