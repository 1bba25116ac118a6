//! The catalog's durable side: redb over the disk seam.
//!
//! One file, `catalog.redb`. What [`Ledger::commit`] has returned for is on
//! the device; what a power cut leaves is one whole commit, no older than the
//! last acknowledged one. A damaged file is refused with what is wrong, and
//! stays as it is: nothing is written to it before every row has been read,
//! summed and found to fit the others. It is never repaired by leaving
//! something out.
//!
//! redb sums its pages, but checks the sums only when it is asked to, and
//! one byte of its file (which of its two commits is the present one) has no
//! sum at all. So each row has a sum of its own (`row`), all rows together
//! have a tally, and the file has a head that notes the last commit
//! (`head`): a file that went back in time is found out.
//!
//! All calls block: run them in the pool. There are no reads after the
//! start, they go to the catalog in memory.

mod backend;
mod database;
mod error;
mod head;
mod load;
mod rescue;
mod row;
mod store;
#[cfg(test)]
mod tests;
mod watch;

pub use error::LedgerError;
pub use rescue::rescue;
pub use store::Ledger;
pub use watch::Looked;
pub(crate) use watch::why_not_there;

/// The ledger's file, in the root of the coordinator's folder.
pub const LEDGER_FILE: &str = "catalog.redb";
/// The ledger's file while it is being made.
const LEDGER_FILE_NEW: &str = "catalog.redb.new";
/// An empty file that says that the ledger was made: without its ledger, the
/// folder is one that lost it, not a new one.
pub const WITNESS_FILE: &str = "catalog.made";
/// The format of the file that this build writes.
const FORMAT_VERSION: u32 = 2;
/// What redb may keep of the file in memory, in bytes.
const CACHE_BYTES_MAX: usize = 64 << 20;
/// Under relaxed durability, every so many commits are made durable together.
const RELAXED_COMMITS_MAX: u32 = 64;
