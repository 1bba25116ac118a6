//! The rows of the catalog.

use serde::{Deserialize, Serialize};

use super::few::{Copies, Firsts};
use super::refusal::Reaction;
use crate::data::digest::Digest;
use crate::id::{
    ClientNumber, ClusterId, Epoch, FileId, FolderId, Handle, LockPlace, NodeId, NodeIndex, Run,
};
use crate::name::FileName;
use crate::policy::{PlacementStrategy, Policy, PolicySpec, StripeShape};

/// What the catalog knows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRecord {
    /// The cluster.
    pub cluster: ClusterId,
    /// When it was made, ms since 1970.
    pub created_ms: u64,
    /// The coordinator's latest start.
    pub epoch: Epoch,
    /// Every number below this one may have been handed out as a handle or
    /// file id.
    pub next_number: u64,
    /// The policy for files that ask for no other.
    pub policy: PolicySpec,
    /// How nodes are chosen.
    pub placement: PlacementStrategy,
    /// The index that the next new member gets.
    pub next_index: NodeIndex,
}

/// One run of one coordinator that led this catalog. All of them, in order,
/// are the catalog's lineage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The run.
    pub run: Run,
    /// The ledger's first commit of the run. The run before ended below it.
    pub first_position: u64,
    /// When it started, ms since 1970.
    pub started_ms: u64,
    /// The place of its locked folder, where that is known.
    pub place: Option<LockPlace>,
    /// True when an operator started it on an older copy of the catalog: runs
    /// of lower numbers that are not in the lineage are passed over.
    pub accepts_older: bool,
}

impl RunRecord {
    /// A run that goes on from the run before, at ledger commit
    /// `first_position`. The time and the place are not known.
    #[must_use]
    pub fn new(run: Run, first_position: u64) -> Self {
        Self { run, first_position, started_ms: 0, place: None, accepts_older: false }
    }
}

/// Numbers that another copy of this catalog may have handed out. Chunks with
/// such handles that no file names are kept until an operator releases them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignRange {
    /// The first number.
    pub start: u64,
    /// The first number behind it.
    pub end: u64,
    /// When it was recorded, ms since 1970.
    pub since_ms: u64,
}

/// A node that belongs to the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// Its short number; never another member's.
    pub index: NodeIndex,
    /// Its name.
    pub id: NodeId,
    /// Its data folder.
    pub folder: FolderId,
    /// Where it was last reached.
    pub address: String,
    /// Its failure domain.
    pub zone: Option<String>,
    /// Its capacity in bytes, for weights.
    pub capacity: u64,
}

/// One version of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its id; its upload's.
    pub id: FileId,
    /// Its name.
    pub name: FileName,
    /// Its bytes.
    pub size: u64,
    /// Its policy.
    pub policy: Policy,
    /// When it was stored, ms since 1970.
    pub created_ms: u64,
    /// First handles of its stripes, in order.
    pub stripes: Firsts,
}

/// One stripe of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StripeRecord {
    /// The handle of its first data chunk (see [`Handle`] for the others).
    pub first_handle: Handle,
    /// The file.
    pub file: FileId,
    /// Its number in the file.
    pub index: u32,
    /// Its shape.
    pub shape: StripeShape,
    /// Its chunks: data, then parity.
    pub chunks: Box<[ChunkRecord]>,
}

/// One chunk and its layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRecord {
    /// SHA-256 of its raw bytes.
    pub digest: Digest,
    /// Raw bytes.
    pub raw_len: u32,
    /// Bytes of its stored frames.
    pub stored_len: u32,
    /// The nodes that shall hold a copy; no order, no doubles.
    pub copies: Copies,
}

/// How long coordinators have run on this catalog, and what it has forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UptimeRecord {
    /// Seconds; up to a minute behind, and never ahead.
    pub uptime_s: u64,
    /// The answers of clients up to this one may have been dropped. A request
    /// of such a client that has no row is not executed: it may be a repeat.
    pub forgotten: ClientNumber,
}

/// The last request of one client, and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRecord {
    /// The client.
    pub client: ClientNumber,
    /// Its last request. All before it are confirmed.
    pub sequence: u64,
    /// The coordinators' running time at that request, in seconds.
    pub used_s: u64,
    /// The answer.
    pub answer: Answer,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// A removal in several commands has taken so much so far.
    Removing(Gone),
    /// A removal took so much.
    Removed(Gone),
    /// A file has its new name.
    Renamed,
    /// A file is stored.
    Stored(Box<StoredFile>),
    /// The change was refused, for good.
    Refused {
        /// What its proposer should do about it.
        reaction: Reaction,
        /// Why, for people.
        message: Box<str>,
    },
}

/// Files that a removal took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Gone {
    /// Files.
    pub files: u64,
    /// Their logical bytes.
    pub bytes: u64,
}

/// A file at the moment at which it was stored. It is a row of the ledger, so
/// it is a type of its own beside the wire's `FileInfo`: a new field there
/// must not change what is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    /// Its id.
    pub id: FileId,
    /// Its name.
    pub name: FileName,
    /// Its bytes.
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
    /// Raw size: all copies and parity.
    pub raw_bytes: u64,
    /// How many more node losses its worst stripe survived.
    pub spares: i32,
    /// Copies that the policy names and that were left to repair.
    pub copies_missing: u64,
}

impl StripeRecord {
    /// The handle of chunk `slot` (data, then parity) of this stripe.
    #[must_use]
    pub fn handle(&self, slot: usize) -> Handle {
        Handle(self.first_handle.0 + u64::from(self.position(slot)))
    }

    /// The place in the code of chunk `slot` of this stripe.
    ///
    /// Data chunks that are not there leave a gap before the parity.
    #[must_use]
    pub fn position(&self, slot: usize) -> u8 {
        let data = usize::from(self.shape.data);
        let position =
            if slot < data { slot } else { usize::from(self.shape.coding.data) + slot - data };
        u8::try_from(position).expect("a stripe is at most 32 chunks wide")
    }
}
