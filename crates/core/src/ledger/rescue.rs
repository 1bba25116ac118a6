//! A new ledger from a whole catalog: the way out when the folder is lost and
//! the coordinator that has the catalog in memory still runs.

use super::RELAXED_COMMITS_MAX;
use super::error::LedgerError;
use super::store::{create, create_witness};
use crate::catalog::Catalog;
use crate::env::Disk;

/// The commits that a ledger may hold above the last one that is known to be
/// durable: those of relaxed durability, and one that failed half-way.
const COMMITS_AHEAD_MAX: u64 = RELAXED_COMMITS_MAX as u64 + 1;

/// Writes `catalog` into the empty folder of `disk` as a ledger, durably. The
/// lost ledger's last durable commit is `position`; the new one stands above
/// every commit that the lost one may hold. Returns its position.
///
/// # Errors
/// [`LedgerError::Io`] and others; the folder then holds no ledger.
pub fn rescue(disk: &dyn Disk, catalog: &Catalog, position: u64) -> Result<u64, LedgerError> {
    let position = position + COMMITS_AHEAD_MAX;
    create(disk, position - 1, catalog.rows())?;
    create_witness(disk)?;
    Ok(position)
}
