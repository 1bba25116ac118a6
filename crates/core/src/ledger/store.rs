//! Making, opening and writing the ledger.

use std::borrow::Borrow;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redb::Builder;

use super::backend::Backend;
use super::database::Closing;
use super::error::LedgerError;
use super::head::Head;
use super::load::load;
use super::row::{self, TABLES, Table, Tally};
use super::watch::Reserve;
use super::{
    CACHE_BYTES_MAX, FORMAT_VERSION, LEDGER_FILE, LEDGER_FILE_NEW, RELAXED_COMMITS_MAX,
    WITNESS_FILE,
};
use crate::catalog::{Catalog, Change};
use crate::env::{Access, Disk, Durability, File, Place};
use crate::mark::{Mark, reached};
use crate::mutant::{Mutant, is_planted};

/// The catalog's durable side. See the module's text.
pub struct Ledger {
    pub(super) database: Closing,
    pub(super) file: Arc<dyn File>,
    pub(super) backend: Backend,
    pub(super) head: Head,
    tally: Tally,
    durability: Durability,
    /// Commits since the last durable one; always 0 under strict durability.
    unsynced: u32,
    /// The format that the file had when it was opened, where that was an
    /// earlier one.
    upgraded_from: Option<u32>,
    is_poisoned: bool,
    /// The place of the open file; `None` where the disk cannot tell.
    pub(super) place: Option<Place>,
    pub(super) reserve: Reserve,
}

impl Ledger {
    /// Opens the ledger in the root of `disk`, or makes an empty one, and
    /// loads the catalog from it.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`], [`LedgerError::Missing`] and
    /// [`LedgerError::NewerFormat`], and then the folder is as it was;
    /// [`LedgerError::Io`].
    pub fn open(disk: &dyn Disk, durability: Durability) -> Result<(Self, Catalog), LedgerError> {
        let has_witness = find(disk, WITNESS_FILE)?.is_some();
        let file = match find(disk, LEDGER_FILE)? {
            Some(file) => file,
            None if has_witness && !is_planted(Mutant::LedgerMadeAnew) => {
                reached(Mark::LedgerMissing);
                return Err(LedgerError::Missing);
            }
            None => {
                create(disk, 0, std::iter::empty())?;
                find(disk, LEDGER_FILE)?.ok_or(LedgerError::Missing)?
            }
        };
        let file: Arc<dyn File> = file.into();
        let place = disk.place_of(LEDGER_FILE).ok();
        let (mut ledger, catalog) = guarded(|| Self::open_file(file, durability))?;
        if !has_witness {
            create_witness(disk)?;
        }
        ledger.place = place;
        Ok((ledger, catalog))
    }

    fn open_file(
        file: Arc<dyn File>,
        durability: Durability,
    ) -> Result<(Self, Catalog), LedgerError> {
        let head = Head::read(&*file)?;
        let backend = Backend::held(file.clone());
        let database = (builder().set_check_integrity_on_open(true))
            .create_with_backend(backend.clone())
            .map(Closing::from)
            .map_err(|error| LedgerError::redb("opening it")(error.into()))?;
        let (mut tally, catalog) = load(&database, head.version())?;
        let last = head.last_commit();
        if tally.commit < last {
            let present = tally.commit;
            return Err(LedgerError::damaged(format!(
                "it is at commit {present}, but commit {last} was acknowledged: later changes are \
                 missing"
            )));
        }
        backend.release().map_err(LedgerError::io("writing after it was opened"))?;
        if head.version() < FORMAT_VERSION {
            // The tables that this format adds come before its number, so that
            // a file with the number has them all.
            tally = write(&database, tally, std::iter::empty::<Change>(), true)?;
        }
        let mut ledger = Self {
            database,
            file,
            backend,
            head,
            tally,
            durability,
            unsynced: 0,
            upgraded_from: None,
            is_poisoned: false,
            place: None,
            reserve: Reserve::default(),
        };
        ledger.upgraded_from = ledger.head.upgrade(&*ledger.file)?;
        ledger.head.mark(&*ledger.file, ledger.tally.commit)?;
        Ok((ledger, catalog))
    }

    /// The number of the last commit. Under relaxed durability, the last ones
    /// may not be durable yet.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.tally.commit
    }

    /// The number of the last commit that is durable.
    #[must_use]
    pub fn durable_position(&self) -> u64 {
        self.tally.commit - u64::from(self.unsynced)
    }

    /// The earlier format that the file had when it was opened, if any.
    #[must_use]
    pub fn upgraded_from(&self) -> Option<u32> {
        self.upgraded_from
    }

    /// Makes changes durable, all or none. Under relaxed durability, a crash
    /// may take back the last ones, at most 63 calls, but never damages what
    /// was before them.
    ///
    /// # Errors
    /// Whatever happened. What is on the disk is then unknown, and further
    /// commits are refused until the ledger was opened anew.
    pub fn commit(&mut self, changes: &[Change]) -> Result<(), LedgerError> {
        if self.is_poisoned {
            return Err(LedgerError::Poisoned);
        }
        if changes.is_empty() {
            return Ok(());
        }
        let is_durable = match self.durability {
            Durability::Strict => true,
            Durability::Relaxed => self.unsynced + 1 >= RELAXED_COMMITS_MAX,
        };
        self.guarded_write(changes, is_durable)
    }

    /// Makes durable what relaxed durability has left behind.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn sync(&mut self) -> Result<(), LedgerError> {
        if self.is_poisoned {
            return Err(LedgerError::Poisoned);
        }
        if self.unsynced == 0 {
            return Ok(());
        }
        self.guarded_write(&[], true)
    }

    /// Finds out whether the disk still takes what is written, when no commit
    /// has asked it for a while. Blocks.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn try_disk(&mut self) -> Result<(), LedgerError> {
        if self.is_poisoned {
            return Err(LedgerError::Poisoned);
        }
        let tried = self.head.try_disk(&*self.file);
        self.is_poisoned = tried.is_err();
        tried
    }

    fn guarded_write(&mut self, changes: &[Change], is_durable: bool) -> Result<(), LedgerError> {
        // Until it is known that all went well, it has not.
        self.is_poisoned = true;
        guarded(|| self.write(changes, is_durable))?;
        self.is_poisoned = false;
        Ok(())
    }

    fn write(&mut self, changes: &[Change], is_durable: bool) -> Result<(), LedgerError> {
        let tally = write(&self.database, self.tally, changes.iter(), is_durable)?;
        self.tally = tally;
        if is_durable {
            self.unsynced = 0;
            self.head.mark(&*self.file, tally.commit)
        } else {
            self.unsynced += 1;
            Ok(())
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // A polite stop leaves everything on the device. Nobody is left to
        // be told when that fails, and nothing strict depends on it.
        let _ = self.sync();
        let _ = self.file.sync();
    }
}

/// Opens a file, if it is there.
fn find(disk: &dyn Disk, path: &str) -> Result<Option<Box<dyn File>>, LedgerError> {
    match disk.open(path, Access::Random) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some).map_err(LedgerError::io("opening it")),
    }
}

/// Makes a ledger of these rows beside its place and moves it there when it is
/// whole, so that a crash leaves none or one. Its commit follows on `commit`.
pub(super) fn create(
    disk: &dyn Disk,
    commit: u64,
    rows: impl Iterator<Item = Change>,
) -> Result<(), LedgerError> {
    let making = LedgerError::io("making it");
    match disk.remove(LEDGER_FILE_NEW) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(making(error)),
        _ => {}
    }
    let file: Arc<dyn File> = disk.create(LEDGER_FILE_NEW, Access::Random).map_err(&making)?.into();
    Head::create(&*file)?;
    guarded(|| {
        let database = (builder().create_with_backend(Backend::direct(file.clone())))
            .map(Closing::from)
            .map_err(|error| LedgerError::redb("making it")(error.into()))?;
        write(&database, Tally { commit, ..Tally::default() }, rows, true).map(|_| ())
    })?;
    file.sync().map_err(&making)?;
    // Its name becomes durable with its witness.
    disk.rename(LEDGER_FILE_NEW, LEDGER_FILE).map_err(&making)
}

/// Makes the witness, and not before the ledger's own name is durable.
pub(super) fn create_witness(disk: &dyn Disk) -> Result<(), LedgerError> {
    let making = LedgerError::io("making its witness");
    disk.sync_dir("").map_err(&making)?;
    disk.create(WITNESS_FILE, Access::Random).map_err(&making)?;
    disk.sync_dir("").map_err(&making)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES_MAX);
    builder
}

/// One transaction: the changes and the tally after them.
fn write(
    database: &redb::Database,
    mut tally: Tally,
    changes: impl Iterator<Item = impl Borrow<Change>>,
    is_durable: bool,
) -> Result<Tally, LedgerError> {
    let refused = LedgerError::redb("committing to it");
    let mut transaction = database.begin_write().map_err(|error| refused(error.into()))?;
    // Quick-repair implies a commit in two phases: a crash leaves the old
    // state or the new one, whatever the order in which pages got there.
    transaction.set_quick_repair(is_durable);
    let durability = if is_durable { redb::Durability::Immediate } else { redb::Durability::None };
    transaction.set_durability(durability).map_err(|error| refused(error.into()))?;
    {
        let open = |table: Table| {
            transaction.open_table(table.definition()).map_err(|error| refused(error.into()))
        };
        let mut tables = TABLES.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
        for change in changes {
            let (table, key, value) = row::target(change.borrow())?;
            let rows = (tables.get_mut(table as usize)).expect("every table is open");
            let old = match &value {
                Some(value) => {
                    tally.add(table.check(key, value)?);
                    rows.insert(key, value.as_slice())
                }
                None => rows.remove(key),
            };
            match old.map_err(|error| refused(error.into()))? {
                Some(old) => tally.take_away(table.check(key, old.value())?),
                None if value.is_some() => {}
                None => {
                    let name = table.name();
                    return Err(LedgerError::damaged(format!(
                        "table {name}: row {key} was to be removed and is not there"
                    )));
                }
            }
        }
        tally.commit += 1;
        let value = Table::Tally.seal(0, &tally)?;
        let tallies = tables.get_mut(Table::Tally as usize).expect("every table is open");
        tallies.insert(0, value.as_slice()).map_err(|error| refused(error.into()))?;
    }
    transaction.commit().map_err(|error| refused(error.into()))?;
    Ok(tally)
}

/// Runs `step`; where redb gives up on a file with a panic, that is damage.
fn guarded<T>(step: impl FnOnce() -> Result<T, LedgerError>) -> Result<T, LedgerError> {
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|panic| {
        let said = (panic.downcast_ref::<String>().map(String::as_str))
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("without a word");
        Err(LedgerError::damaged(format!("its pages make no sense to redb: {said}")))
    })
}
