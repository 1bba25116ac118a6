//! What a put or a get tells when it is done.

use crate::api::{BadCopy, FileInfo};
use crate::id::{Handle, NodeId};

/// The most notes in one summary; what is beyond is counted only.
pub const NOTES_MAX: usize = 1000;

/// A put that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutSummary {
    /// The file as it is stored.
    pub file: FileInfo,
    /// Copies that the policy names and that are left to repair: above 0 the
    /// file is stored *degraded*.
    pub copies_missing: u64,
    /// Stripes written.
    pub stripes: u64,
    /// Copies that went to another node than planned; at most [`NOTES_MAX`].
    pub replaced: Vec<CopyReplaced>,
    /// Copies that no node took; at most [`NOTES_MAX`].
    pub left_to_repair: Vec<CopyLeft>,
    /// How often the whole put began anew because the coordinator restarted.
    pub restarts: u32,
}

/// A copy whose node failed, and which another node took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyReplaced {
    /// The chunk.
    pub handle: Handle,
    /// The node that failed.
    pub failed: NodeId,
    /// What it said.
    pub reason: String,
    /// The node that holds the copy.
    pub replacement: NodeId,
}

/// A copy whose node failed, and which no other node could take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyLeft {
    /// The chunk.
    pub handle: Handle,
    /// The node that failed.
    pub failed: NodeId,
    /// What it said.
    pub reason: String,
}

/// A get that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetSummary {
    /// True when the coordinator did not lead most of its nodes: a later
    /// version may exist elsewhere.
    pub may_be_old: bool,
    /// The file.
    pub info: FileInfo,
    /// Bytes handed to the sink.
    pub bytes: u64,
    /// Chunks read, wholly or in part.
    pub chunks: u64,
    /// Of these, chunks that were read whole and match their SHA-256. The
    /// others were asked for in part and matched their frames' CRC32C.
    pub chunks_verified: u64,
    /// Chunks of which bytes came from another copy than the first choice.
    pub from_other_copy: u64,
    /// Chunks of which bytes were rebuilt from parity.
    pub from_parity: u64,
    /// Which ones and why, by chunk; at most [`NOTES_MAX`].
    pub notes: Vec<ChunkNote>,
    /// Copies that were found bad, and were reported; at most [`NOTES_MAX`].
    pub bad: Vec<BadCopy>,
}

/// A chunk that did not come from its first choice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChunkNote {
    /// Its number in the file, from 0.
    pub chunk: u64,
    /// Its handle.
    pub handle: Handle,
    /// Where it came from.
    pub how: NoteHow,
}

/// Where a chunk came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoteHow {
    /// From another copy.
    OtherCopy {
        /// Who gave it.
        node: NodeId,
        /// The first choice.
        instead_of: NodeId,
        /// Why not the first choice.
        why: String,
    },
    /// Rebuilt from the other chunks of its stripe.
    Parity {
        /// The stripe's number in the file, from 0.
        stripe: u32,
        /// Frames that were rebuilt.
        rows: u32,
        /// Who gave the other chunks.
        nodes: Vec<NodeId>,
        /// Why none of its copies was read, by copy.
        why: String,
    },
}
