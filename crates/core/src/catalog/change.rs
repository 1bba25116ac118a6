//! What a command changed, row by row.

use super::record::{ClusterRecord, FileRecord, MemberRecord, StripeRecord};
use crate::id::{FileId, Handle};

/// One row that came, changed or went. Those of one command are in an order
/// in which they can be enacted one after the other: what goes, goes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// What the catalog knows of itself.
    PutCluster(ClusterRecord),
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
}
