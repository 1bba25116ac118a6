//! A look at what the ledger stands on: is the open file still the one at its
//! path, and is there room for it to grow?
//!
//! A folder that was removed, moved away or hidden under another mount leaves
//! the open file as it was: commits go on to succeed, into a file that no
//! start finds. Only a look at the path shows it. A backup that was copied over
//! the open file leaves the file at its path. Only a look at its head shows
//! that the marks of the last commits have changed.
//!
//! The reserve is space that the ledger's file has taken behind its end. No
//! other file can use it, so what must go on when the disk is full (removals,
//! the next run, repair) finds room there. What makes the catalog grow leaves
//! it alone.

use std::io::ErrorKind;

use super::LEDGER_FILE;
use super::store::Ledger;
use crate::env::{Disk, File, Place, Space};
use crate::mutant::{Mutant, is_planted};

/// The largest and the smallest reserve. Between them it is a share of the
/// volume.
const RESERVE_BYTES_MAX: u64 = 16 << 20;
const RESERVE_BYTES_MIN: u64 = 1 << 20;
/// The reserve is one part of so many of the volume.
const RESERVE_PARTS: u64 = 64;

/// What a look found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looked {
    /// Why the open file is not the one at its path any more.
    pub lost: Option<String>,
    /// Why nothing may be added to the ledger.
    pub full: Option<String>,
}

/// The space that the file has taken ahead.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    /// The length of the file, and the space taken for it, at the last time
    /// that it had all that it wants.
    whole_at: Option<(u64, u64)>,
}

/// The reserve of a ledger on a volume of `total` bytes.
fn reserve_bytes(total: u64) -> u64 {
    (total / RESERVE_PARTS).clamp(RESERVE_BYTES_MIN, RESERVE_BYTES_MAX)
}

impl Ledger {
    /// Looks at the file's path and at the room on its disk, and takes the
    /// reserve where a part of it is missing. Blocks.
    pub fn look(&mut self, disk: &dyn Disk) -> Looked {
        let lost = if is_planted(Mutant::NeverLooksAtLedger) { None } else { self.why_lost(disk) };
        // Where the folder is gone, the space is that of another volume.
        let full = if lost.is_some() { None } else { self.why_full(disk) };
        Looked { lost, full }
    }

    /// The place of the open file; `None` where the disk cannot tell.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.place
    }

    fn why_lost(&self, disk: &dyn Disk) -> Option<String> {
        why_not_there(disk, self.place).or_else(|| {
            // A head that cannot be read is the disk's trouble; a commit tells.
            let stands = is_planted(Mutant::NeverLooksIntoLedger)
                || self.head.stands_in(&*self.file).unwrap_or(true);
            (!stands).then(|| {
                // What stands there now may be a good backup.
                self.backend.hold();
                format!("its {LEDGER_FILE} was written over, or is damaged")
            })
        })
    }

    fn why_full(&mut self, disk: &dyn Disk) -> Option<String> {
        // A disk that does not tell its space is not full for that.
        let Space { total, free } = disk.space().ok()?;
        let wanted = reserve_bytes(total);
        let is_reserved = self.reserve.take(&*self.file, wanted);
        if is_reserved && free >= wanted || is_planted(Mutant::UsesLedgerReserve) {
            return None;
        }
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        Some(format!(
            "the coordinator's disk is full: {} are free, and {} are kept for removals: make room \
             on it, or remove files",
            mib(free),
            mib(wanted)
        ))
    }
}

impl Reserve {
    /// Takes `wanted` bytes behind the file's end, unless it has them. False
    /// when there is no room for them.
    fn take(&mut self, file: &dyn File, wanted: u64) -> bool {
        let Ok(len) = file.len() else { return true };
        let whole = (len, len.saturating_add(wanted));
        if self.whole_at == Some(whole) {
            return true;
        }
        match file.allocate(whole.1) {
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                self.whole_at = None;
                return false;
            }
            // Where space cannot be taken ahead, the free space is the bound.
            Err(error) => tracing::debug!(%error, "the ledger has no reserve of its own"),
            Ok(()) => {}
        }
        self.whole_at = Some(whole);
        true
    }
}

/// Why the file at the ledger's path is not the one that has this place.
pub(crate) fn why_not_there(disk: &dyn Disk, place: Option<Place>) -> Option<String> {
    let place = place?;
    match disk.place_of(LEDGER_FILE) {
        Ok(now) if now == place => None,
        Ok(_) => Some(format!("another file stands in place of its {LEDGER_FILE}")),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::StaleNetworkFileHandle => {
                Some(format!("its {LEDGER_FILE} is gone from its path"))
            }
            // What cannot be looked at is the disk's trouble; a commit tells.
            _ => None,
        },
    }
}
