//! Counts of the faults that took effect: what a run was really put through.
//!
//! A fault that was asked for and met nothing is not counted. Counting writes
//! nothing to the trace and draws no number.

use std::collections::BTreeMap;

/// A bit of the medium was turned.
pub(super) const FLIPPED_BIT: &str = "flipped bit";
/// A read returned a turned bit that the medium does not have.
pub(super) const FLIPPED_READ: &str = "flipped read";
/// A read met an unreadable range.
pub(super) const UNREADABLE_READ: &str = "unreadable read";
/// A write said that it worked and changed nothing.
pub(super) const LOST_WRITE: &str = "lost write";
/// A write landed elsewhere.
pub(super) const MISDIRECTED_WRITE: &str = "misdirected write";
/// A read came from elsewhere.
pub(super) const MISDIRECTED_READ: &str = "misdirected read";
/// Two files changed places.
pub(super) const SWAPPED_FILES: &str = "swapped files";
/// A call did not fit into the capacity.
pub(super) const NO_SPACE: &str = "no space";
/// A change was refused by a read-only volume.
pub(super) const READ_ONLY: &str = "read-only refusal";
/// A file was to be opened that cannot be.
pub(super) const CLOSED_FILE: &str = "closed file";
/// A handle of a volume that is not mounted any more was used.
pub(super) const STALE_HANDLE: &str = "stale handle";
/// A dead disk was called.
pub(super) const DEAD_DISK: &str = "dead disk";
/// The power was cut before an effect.
pub(super) const POWER_CUT: &str = "power cut";
/// A power cut, or a lost page, took a whole block back.
pub(super) const LOST_BLOCK: &str = "lost block";
/// A power cut took some sectors of a block back.
pub(super) const TORN_BLOCK: &str = "torn block";
/// A power cut took back a length.
pub(super) const LOST_LENGTH: &str = "lost length";
/// A power cut took back a creation, a renaming or a removal.
pub(super) const LOST_NAME: &str = "lost name";

/// How often each kind took effect.
#[derive(Debug, Default, Clone)]
pub(super) struct Injected(BTreeMap<&'static str, u64>);

impl Injected {
    pub(super) fn count(&mut self, kind: &'static str) {
        *self.0.entry(kind).or_default() += 1;
    }

    pub(super) fn by_kind(&self) -> BTreeMap<&'static str, u64> {
        self.0.clone()
    }
}
