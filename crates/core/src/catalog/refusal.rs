//! Why a command is refused.

use serde::{Deserialize, Serialize};

use super::{ADDRESS_LENGTH_MAX, STRIPES_PER_FILE_MAX, ZONE_LENGTH_MAX};
use crate::id::{ClusterId, Epoch, FileId, FolderId, Handle, NodeId, NodeIndex, RequestId};
use crate::name::FileName;
use crate::policy::REPLICATION_MAX;

/// Why a command is refused. The catalog is then as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It belongs to no cluster yet.
    #[error("the catalog belongs to no cluster yet: found one first")]
    NotFounded,
    /// It belongs to a cluster already.
    #[error("the catalog belongs to cluster {0} already")]
    AlreadyFounded(ClusterId),
    /// Another coordinator started since, or at the same time.
    #[error("epoch {epoch} is not above {current}: another coordinator uses this catalog")]
    StaleEpoch {
        /// The one proposed.
        epoch: Epoch,
        /// The latest.
        current: Epoch,
    },
    /// Numbers only rise.
    #[error("numbers up to {current} are set aside already, {proposed} is below that")]
    NumbersFall {
        /// The one proposed.
        proposed: u64,
        /// The first free number.
        current: u64,
    },
    /// A range of foreign numbers that is not there.
    #[error("no range of kept chunks begins at handle {0}")]
    NotForeign(u64),
    /// A number that was never set aside.
    #[error("number {number} was not set aside: the first free number is {next_number}")]
    NotReserved {
        /// The number.
        number: u64,
        /// The first free number.
        next_number: u64,
    },
    /// A policy that no file can have.
    #[error("this policy is not possible: {0}")]
    BadPolicy(&'static str),
    /// Another folder under a known node id.
    #[error(
        "node {id} is known with data folder {known}, but came with {found}: start it on its old \
         folder, or with --replace if that folder is gone for good"
    )]
    OtherFolder {
        /// The node.
        id: NodeId,
        /// Its folder in the catalog.
        known: FolderId,
        /// The folder that it came with.
        found: FolderId,
    },
    /// One folder under two node ids.
    #[error(
        "data folder {folder} belongs to node {owner}, but came under the id {id}: start it with \
         --id {owner}, or give {id} an empty folder"
    )]
    FolderTaken {
        /// The folder.
        folder: FolderId,
        /// The node that has it.
        owner: NodeId,
        /// The node that came with it.
        id: NodeId,
    },
    /// An address of no length, or too long.
    #[error("the address of node {id} has {length} bytes, 1 to {ADDRESS_LENGTH_MAX} are allowed")]
    BadAddress {
        /// The node.
        id: NodeId,
        /// Bytes of its address.
        length: usize,
    },
    /// A zone of no length, or too long.
    #[error("the zone of node {id} has {length} bytes, 1 to {ZONE_LENGTH_MAX} are allowed")]
    BadZone {
        /// The node.
        id: NodeId,
        /// Bytes of its zone.
        length: usize,
    },
    /// No index is left for another member.
    #[error("node {id} cannot join: the cluster has had {} members, as many as it can", u16::MAX)]
    TooManyMembers {
        /// The node.
        id: NodeId,
    },
    /// No member of that index.
    #[error("node index {} is no member", .0.0)]
    NoMember(NodeIndex),
    /// No file of that name.
    #[error("{0} is not there")]
    NotFound(FileName),
    /// The name is taken.
    #[error("{0} exists already: choose another name, or replace it with --force")]
    Exists(FileName),
    /// A file stands where a folder would have to be.
    #[error("{file} is a file, so {name} cannot be: remove {file}, or choose another name")]
    FileInTheWay {
        /// The name wanted.
        name: FileName,
        /// The file.
        file: FileName,
    },
    /// A folder stands where a file would have to be.
    #[error("{name} is a folder ({inside} lies in it), so it cannot be a file")]
    IsFolder {
        /// The name wanted.
        name: FileName,
        /// A file in it.
        inside: FileName,
    },
    /// A newer version was stored while this one was under way.
    #[error(
        "another upload ({newer}) that began later replaced {name} while this one ({id}) was under \
         way: this one is not stored; put it again if it must be the newest"
    )]
    Superseded {
        /// The name.
        name: FileName,
        /// The version that came late.
        id: FileId,
        /// The version that is there.
        newer: FileId,
    },
    /// A number is a file already, or a chunk.
    #[error("number {0} is in use already")]
    NumberTaken(u64),
    /// More stripes than a file may have.
    #[error("{name} has {count} stripes, at most {STRIPES_PER_FILE_MAX} are allowed")]
    TooManyStripes {
        /// The file.
        name: FileName,
        /// Its stripes.
        count: usize,
    },
    /// The stripes are not those that the file names.
    #[error("{name} names {named} stripes, but {given} were given")]
    StripeCount {
        /// The file.
        name: FileName,
        /// Stripes in the file's row.
        named: usize,
        /// Stripes given.
        given: usize,
    },
    /// The chunks do not add up to the file.
    #[error("{name} has {size} bytes, but its chunks have {sum}")]
    SizeMismatch {
        /// The file.
        name: FileName,
        /// Bytes of the file.
        size: u64,
        /// Bytes of its data chunks.
        sum: u64,
    },
    /// A stripe that cannot be.
    #[error("stripe {index} of {name} (handle {handle}) is not possible: {rule}")]
    BadStripe {
        /// The file.
        name: FileName,
        /// The stripe's place in the file.
        index: usize,
        /// Its first handle.
        handle: Handle,
        /// What it breaks.
        rule: &'static str,
    },
    /// No chunk of that handle.
    #[error("chunk {0} is not there")]
    NoChunk(Handle),
    /// The layout is another by now.
    #[error("the layout of chunk {0} has changed since it was planned: plan anew")]
    LayoutChanged(Handle),
    /// A chunk would be nowhere.
    #[error("chunk {0} would be left without any copy")]
    NoCopies(Handle),
    /// More copies than a chunk may have.
    #[error("chunk {handle} has {count} copies, at most {REPLICATION_MAX} are allowed")]
    TooManyCopies {
        /// The chunk.
        handle: Handle,
        /// Its copies.
        count: usize,
    },
    /// A request whose answer is no longer kept.
    #[error(
        "request {0} is older than what is remembered: it is not executed now, and whether it was \
         before is not known"
    )]
    Forgotten(RequestId),
    /// A request that no client can have made.
    #[error("request {0} is not possible: its client number was never handed out, or it is 0")]
    BadRequest(RequestId),
    /// One node named twice.
    #[error("chunk {handle} names node index {} twice", .node.0)]
    DoubleCopy {
        /// The chunk.
        handle: Handle,
        /// The node.
        node: NodeIndex,
    },
}

/// What the proposer of a refused command should do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reaction {
    /// It can never be granted as it stands.
    Invalid,
    /// What it speaks of is not there.
    NotFound,
    /// The name is taken.
    Exists,
    /// The state moved on: look again, then propose anew.
    Retry,
    /// Another node or folder than it says.
    WrongIdentity,
    /// Another coordinator took over: stop.
    StaleEpoch,
    /// It may be a repeat whose answer is no longer kept: it was not executed
    /// now, and may have been before.
    Forgotten,
    /// A newer version is there: begin anew to replace that one.
    Superseded,
}

impl Refusal {
    /// What the proposer should do about it.
    #[must_use]
    pub fn reaction(&self) -> Reaction {
        match self {
            Self::NotFound(_) | Self::NoChunk(_) | Self::NotForeign(_) => Reaction::NotFound,
            Self::Exists(_) | Self::FileInTheWay { .. } | Self::IsFolder { .. } => Reaction::Exists,
            Self::Superseded { .. } => Reaction::Superseded,
            Self::LayoutChanged(_) => Reaction::Retry,
            Self::OtherFolder { .. } | Self::FolderTaken { .. } => Reaction::WrongIdentity,
            Self::StaleEpoch { .. } => Reaction::StaleEpoch,
            Self::Forgotten(_) => Reaction::Forgotten,
            Self::NotFounded
            | Self::AlreadyFounded(_)
            | Self::NumbersFall { .. }
            | Self::NotReserved { .. }
            | Self::BadPolicy(_)
            | Self::BadAddress { .. }
            | Self::BadZone { .. }
            | Self::TooManyMembers { .. }
            | Self::NoMember(_)
            | Self::NumberTaken(_)
            | Self::TooManyStripes { .. }
            | Self::StripeCount { .. }
            | Self::SizeMismatch { .. }
            | Self::BadStripe { .. }
            | Self::NoCopies(_)
            | Self::BadRequest(_)
            | Self::TooManyCopies { .. }
            | Self::DoubleCopy { .. } => Reaction::Invalid,
        }
    }
}
