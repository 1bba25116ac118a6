//! The catalog: which files there are, of which chunks, on which nodes.
//!
//! A deterministic state machine behind one door, [`Catalog::apply`]: it
//! reads no clock, draws no number, sees no network and no disk, and changes
//! either everything that a command says or nothing. Two catalogs that took
//! the same commands in the same order are equal.
//!
//! What a command changes is said as rows ([`Change`]); the same rows change
//! the catalog in memory and go to the ledger, so that the two cannot drift.
//! What nodes really hold is not here: that is presence, and is heard.

mod apply;
mod change;
mod check;
mod command;
mod few;
mod lineage;
mod list;
mod query;
mod record;
mod refusal;
mod request;
mod restore;
mod state;
mod undo;

pub use apply::{Outcome, RemovedFile};
pub use change::Change;
pub use command::{Command, Retention};
pub use few::{Copies, Firsts};
pub use lineage::{Kinship, Told};
pub use list::{Listed, Listing, Page};
pub use record::*;
pub use refusal::{Reaction, Refusal};
pub use request::Recalled;
pub use restore::{Misfit, Rows};
pub use state::{Catalog, Totals};
pub use undo::Undo;

/// The longest address of a member, in bytes.
pub const ADDRESS_LENGTH_MAX: usize = 256;
/// Numbers that a coordinator sets aside at once.
pub const NUMBERS_PER_BLOCK: u64 = 1 << 16;
/// The longest name of a zone, in bytes.
pub const ZONE_LENGTH_MAX: usize = 64;
/// For how many seconds of coordinators' running time an answer is kept.
pub const ANSWER_KEPT_S: u64 = 3600;
/// The most answers that are kept.
pub const ANSWERS_MAX: u32 = 1_000_000;
/// The longest reason of a refusal that is kept, in bytes.
pub const REFUSED_TEXT_BYTES_MAX: usize = 4096;
/// The most stripes of one file.
pub const STRIPES_PER_FILE_MAX: usize = 1 << 24;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
