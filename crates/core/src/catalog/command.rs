//! The commands: all that ever changes a catalog.
//!
//! Whoever proposes a command has drawn its numbers and read its clocks.

use serde::{Deserialize, Serialize};

use super::record::{Answer, FileRecord, RunRecord, StripeRecord};
use crate::id::{ClusterId, FolderId, Handle, NodeId, NodeIndex, RequestId};
use crate::name::FileName;
use crate::policy::{PlacementStrategy, PolicySpec};

/// One change of the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes an empty catalog that of a cluster. The first command of all.
    Found {
        /// The cluster.
        cluster: ClusterId,
        /// Now, ms since 1970.
        created_ms: u64,
        /// Its policy.
        policy: PolicySpec,
        /// Its placement.
        placement: PlacementStrategy,
    },
    /// A coordinator starts; its run's number is higher than all before.
    OpenRun {
        /// The new run.
        run: RunRecord,
        /// On an older copy of the catalog: the number to continue with. All
        /// numbers that the later copy may have handed out lie below, and
        /// become foreign.
        skip_to: Option<u64>,
    },
    /// Ends the protection of foreign numbers.
    ReleaseForeign {
        /// The first number of the range.
        start: u64,
    },
    /// Sets what files get that ask for nothing else.
    SetPolicy {
        /// The policy.
        policy: PolicySpec,
        /// The placement.
        placement: PlacementStrategy,
    },
    /// Sets numbers aside: all below `next_number` may be in use from now on.
    ReserveNumbers {
        /// The first number that is still free.
        next_number: u64,
    },
    /// Takes a node into the cluster, or changes what is known of a member.
    /// Another folder under a known id needs `replaces`.
    SetMember {
        /// Its name.
        id: NodeId,
        /// Its data folder.
        folder: FolderId,
        /// Where it listens.
        address: String,
        /// Its failure domain.
        zone: Option<String>,
        /// Its capacity in bytes.
        capacity: u64,
        /// Whether this folder takes the place of an earlier one.
        replaces: bool,
    },
    /// Makes a file visible.
    CommitFile {
        /// The file. Its stripes are `stripes`, in order.
        file: FileRecord,
        /// Its stripes.
        stripes: Vec<StripeRecord>,
        /// Whether a file of that name is replaced.
        replace: bool,
    },
    /// Removes files; those that are not there are passed over.
    RemoveFiles {
        /// Their names.
        names: Vec<FileName>,
    },
    /// Gives a file another name.
    Rename {
        /// The present name.
        from: FileName,
        /// The new name.
        to: FileName,
        /// Whether a file of the new name is replaced.
        replace: bool,
    },
    /// Changes which nodes shall hold copies of a chunk: repair's result.
    SetCopies {
        /// The chunk.
        handle: Handle,
        /// Its copies, as they must be now for the change to be made.
        expected: Box<[NodeIndex]>,
        /// Its copies from now on.
        copies: Box<[NodeIndex]>,
    },
    /// Makes a change under its client's request id, at most once, and keeps
    /// the answer for a repeat.
    Requested {
        /// Its name.
        request: RequestId,
        /// The answer when the change is granted. The catalog adds what a
        /// removal took away. [`Answer::Removing`] leaves the request open
        /// for further commands.
        answer: Answer,
        /// The change.
        command: Box<Command>,
        /// How long answers are kept.
        retention: Retention,
    },
    /// Notes how long coordinators have run, and drops answers that are old.
    KeepTime {
        /// How long answers are kept.
        retention: Retention,
    },
}

impl Command {
    /// True for a command that adds to the catalog. The others take away, or
    /// change rows in their place: those go on while the ledger's disk is
    /// full.
    #[must_use]
    pub fn grows(&self) -> bool {
        match self {
            Self::CommitFile { .. } => true,
            Self::Requested { command, .. } => command.grows(),
            _ => false,
        }
    }
}

/// How long answers to requests are kept: [`ANSWER_KEPT_S`] of running time,
/// and never more than `answers_max` of them.
///
/// [`ANSWER_KEPT_S`]: super::ANSWER_KEPT_S
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Seconds for which coordinators have run on this catalog.
    pub uptime_s: u64,
    /// The most answers.
    pub answers_max: u32,
}
