//! What a command changed, row by row.

use super::record::{
    ClientRecord, ClusterRecord, FileRecord, ForeignRange, MemberRecord, RunRecord, StripeRecord,
    UptimeRecord,
};
use crate::id::{ClientNumber, FileId, Handle};

/// One row that came, changed or went. Those of one command are in an order
/// in which they can be enacted one after the other: what goes, goes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// What the catalog knows of itself.
    PutCluster(ClusterRecord),
    /// A run, by its number.
    PutRun(RunRecord),
    /// Numbers of another copy of the catalog, by the first of them.
    PutForeign(ForeignRange),
    /// Numbers that an operator released, by the first of them.
    DeleteForeign(u64),
    /// A member, by its index.
    PutMember(MemberRecord),
    /// A file, by its id. Its name is part of the row.
    PutFile(FileRecord),
    /// A file that went.
    DeleteFile(FileId),
    /// A stripe, by its first handle.
    PutStripe(StripeRecord),
    /// A stripe that went.
    DeleteStripe(Handle),
    /// How long coordinators have run, and what was forgotten.
    PutUptime(UptimeRecord),
    /// A client's last request, by its number.
    PutClient(ClientRecord),
    /// A client whose last answer was dropped.
    DeleteClient(ClientNumber),
}
