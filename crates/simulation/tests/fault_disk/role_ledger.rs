//! The coordinator's ledger on a bad disk (F6 to F11): it is whole, or it
//! says that it is not; and after a failed sync it takes nothing more.

use std::io::ErrorKind;

use dfs_core::catalog::{Catalog, Change, Command, RunRecord};
use dfs_core::id::{ClusterId, Run};
use dfs_core::ledger::{Ledger, LedgerError};
use dfs_core::policy::{ParitySpec, PlacementStrategy};
use dfs_simulation::cluster::ClusterSettings;
use dfs_simulation::disk::Call;

use super::*;

/// The ledger's file.
const FILE: &str = "catalog.redb";

fn open(disk: &MemoryDisk) -> std::result::Result<(Ledger, Catalog), LedgerError> {
    Ledger::open(&*disk.handle(), Durability::Strict)
}

/// A ledger that is open, and the catalogs before and after its last commit.
struct Life {
    ledger: Ledger,
    before: Catalog,
    after: Catalog,
}

impl Life {
    /// Opens the ledger, which must be good.
    fn open(disk: &MemoryDisk) -> Self {
        let (ledger, after) = open(disk).expect("it opens");
        Self { ledger, before: after.clone(), after }
    }

    /// A cluster that was founded and started once.
    fn founded(disk: &MemoryDisk) -> Self {
        let mut life = Self::open(disk);
        let found = Command::Found {
            cluster: ClusterId([1; 16]),
            created_ms: 0,
            policy: ClusterSettings::new(1, 2, ParitySpec::None).policy,
            placement: PlacementStrategy::RoundRobin,
        };
        life.commit(&found).expect("commit");
        life.step().expect("commit");
        life
    }

    /// Commits one more epoch.
    fn step(&mut self) -> std::result::Result<(), LedgerError> {
        let epoch = self.after.cluster().expect("founded").epoch.0 + 1;
        let run = RunRecord::new(Run::new(epoch, epoch), epoch);
        self.commit(&Command::OpenRun { run, skip_to: None })
    }

    fn commit(&mut self, command: &Command) -> std::result::Result<(), LedgerError> {
        let mut changes: Vec<Change> = Vec::new();
        self.before = self.after.clone();
        self.after.apply(command, &mut changes).expect("allowed");
        self.ledger.commit(&changes)
    }
}

#[test]
fn after_a_failed_sync_the_ledger_takes_no_commit_until_it_is_opened_anew() {
    for (kind, skipped) in [ErrorKind::Other, ErrorKind::StorageFull]
        .into_iter()
        .flat_map(|kind| (0..8).map(move |skipped| (kind, skipped)))
    {
        let disk = MemoryDisk::default();
        let mut life = Life::founded(&disk);
        disk.fail_after(skipped, Call::Sync, kind, 1);
        let failed = life.step();
        if count(&disk, "sync failed") == 0 {
            failed.expect("nothing failed");
            assert!(skipped >= 1, "a commit syncs");
            continue;
        }
        let error = failed.expect_err("a commit whose sync failed is none");
        assert!(matches!(error, LedgerError::Io { .. }), "{error}");
        assert!(error.to_string().contains("sync failed"), "{error}");
        let (before, after) = (life.before.clone(), life.after.clone());
        assert!(matches!(life.step(), Err(LedgerError::Poisoned)), "the syncs are good again");
        drop(life.ledger);
        for seed in 0..5 {
            let copy = MemoryDisk::default();
            copy.copy_from(&disk);
            copy.drop_lost_pages();
            copy.crash(&mut Rng::new(seed));
            let mut life = Life::open(&copy);
            assert!(life.after == before || life.after == after, "one of the two");
            life.step().expect("it takes commits again");
        }
    }
}

#[test]
fn a_commit_that_fails_at_any_call_leaves_the_catalog_before_it_or_after_it() {
    for call in [Call::Write, Call::SetLen, Call::Sync] {
        let mut struck = 0;
        for skipped in 0..60 {
            let disk = MemoryDisk::default();
            let mut life = Life::founded(&disk);
            for _ in 0..3 {
                life.step().expect("commit");
            }
            disk.fail_after(skipped, call, ErrorKind::StorageFull, 1);
            let result = life.step();
            disk.fail_next(call, ErrorKind::StorageFull, 0);
            let is_struck = !disk.faults_injected().is_empty();
            struck += u32::from(is_struck);
            assert_eq!(result.is_err(), is_struck, "{call:?} {skipped}");
            if let Err(error) = result {
                let error = dfs_core::api::Error::from(error);
                assert_eq!(error.kind, Kind::NoSpace, "{call:?} {skipped}: {error}");
            }
            let (before, after) = (life.before.clone(), life.after.clone());
            drop(life.ledger);
            disk.crash(&mut Rng::new(u64::from(skipped)));
            let found = Life::open(&disk).after;
            assert!(found == after || (is_struck && found == before), "{call:?} {skipped}");
        }
        assert!(struck > 0 || call == Call::SetLen, "{call:?}");
    }
}

#[test]
fn making_a_ledger_may_fail_at_any_call_and_the_next_start_makes_it() {
    let calls = [Call::Open, Call::Create, Call::Write, Call::SetLen, Call::Sync, Call::Rename];
    for call in calls.into_iter().chain([Call::SyncDir, Call::Read]) {
        let mut struck = 0;
        for skipped in 0..40 {
            let disk = MemoryDisk::default();
            disk.fail_after(skipped, call, ErrorKind::StorageFull, 1);
            let opened = open(&disk);
            disk.fail_next(call, ErrorKind::StorageFull, 0);
            if disk.faults_injected().is_empty() {
                break;
            }
            struck += 1;
            // What fails while the new file is closed costs nothing.
            if let Err(error) = opened.map(drop) {
                let error = dfs_core::api::Error::from(error);
                assert_eq!(error.kind, Kind::NoSpace, "{call:?} {skipped}: {error}");
            }
            disk.drop_lost_pages();
            disk.crash(&mut Rng::new(u64::from(skipped)));
            drop(Life::founded(&disk));
        }
        assert!(struck > 0, "{call:?}");
    }
}

#[test]
fn a_lost_write_of_a_commit_is_found_or_harms_nothing() {
    let (mut refused, mut struck) = (0, 0);
    for skipped in 0..60 {
        let disk = MemoryDisk::default();
        let mut life = Life::founded(&disk);
        disk.lose_writes_after(skipped, 1);
        let result = life.step();
        if count(&disk, "lost write") == 0 {
            break;
        }
        struck += 1;
        let (before, after) = (life.before.clone(), life.after.clone());
        // A clean stop would write once more and might mend it by chance.
        disk.detach();
        drop(life.ledger);
        match open(&disk) {
            Ok((_, found)) if result.is_ok() => assert_eq!(found, after, "write {skipped}"),
            Ok((_, found)) => assert!(found == before || found == after, "write {skipped}"),
            Err(error) => {
                refused += 1;
                assert!(matches!(error, LedgerError::Damaged { .. }), "write {skipped}: {error}");
            }
        }
    }
    assert!(struck > 3 && refused > 0, "{refused} of {struck} were refused");
}

#[test]
fn a_misdirected_write_of_a_commit_is_found_or_harms_nothing() {
    let mut refused = 0;
    for seed in 0..60 {
        let disk = MemoryDisk::default();
        let mut life = Life::founded(&disk);
        disk.reseed_faults(seed);
        disk.misdirect_next_writes(1);
        let result = life.step();
        assert_eq!(count(&disk, "misdirected write"), 1);
        let (before, after) = (life.before.clone(), life.after.clone());
        disk.detach();
        drop(life.ledger);
        match open(&disk) {
            Ok((_, found)) if result.is_ok() => assert_eq!(found, after, "seed {seed}"),
            Ok((_, found)) => assert!(found == before || found == after, "seed {seed}"),
            Err(error) => {
                refused += 1;
                let is_honest =
                    matches!(error, LedgerError::Damaged { .. } | LedgerError::NewerFormat { .. });
                assert!(is_honest, "seed {seed}: {error}");
            }
        }
    }
    assert!(refused > 0);
}

#[test]
fn one_bad_read_at_the_start_costs_nothing_and_many_refuse_and_change_no_byte() {
    let mut refused = 0;
    for seed in 0..60 {
        let disk = MemoryDisk::default();
        let life = Life::founded(&disk);
        let expected = life.after.clone();
        drop(life.ledger);
        let file = disk.read_file(FILE);
        disk.reseed_faults(seed);
        let bad_reads = if seed % 4 < 2 { 1 } else { 1000 };
        if seed % 2 == 0 {
            disk.flip_reads_after(u32::try_from(seed).expect("small") / 2, bad_reads);
        } else {
            disk.misdirect_next_reads(bad_reads);
        }
        let opened = open(&disk);
        disk.flip_next_reads(0);
        disk.misdirect_next_reads(0);
        match opened {
            Ok((ledger, found)) => {
                assert_eq!(found, expected, "seed {seed}");
                // The process is killed here: nothing is written at its end.
                std::mem::forget(ledger);
            }
            Err(error) => {
                refused += 1;
                assert!(bad_reads > 1, "seed {seed}: {error}");
                assert!(!matches!(error, LedgerError::Missing), "seed {seed}: {error}");
                assert_eq!(disk.read_file(FILE), file, "seed {seed}: {error}");
            }
        }
        assert_eq!(Life::open(&disk).after, expected, "seed {seed}: the medium was good");
    }
    assert!(refused > 5, "{refused}");
}

#[test]
fn a_read_only_volume_takes_no_commit_and_loses_none() {
    let disk = MemoryDisk::default();
    let mut life = Life::founded(&disk);
    disk.set_read_only(true);
    let error = life.step().expect_err("it cannot be written");
    assert!(error.to_string().contains("read-only"), "{error}");
    let before = life.before.clone();
    assert!(matches!(life.step(), Err(LedgerError::Poisoned)));
    drop(life.ledger);
    let error = open(&disk).err().expect("it cannot be marked");
    assert!(matches!(error, LedgerError::Io { .. }), "{error}");
    disk.set_read_only(false);
    disk.crash(&mut Rng::new(1));
    assert_eq!(Life::open(&disk).after, before);
}

#[test]
fn one_wrong_read_while_the_ledger_is_opened_is_never_written_back() {
    for skipped in 0..30 {
        for seed in (0..20).chain([212, 559, 565, 586]) {
            let disk = MemoryDisk::default();
            drop(Life::founded(&disk).ledger);
            disk.reseed_faults(seed);
            disk.flip_reads_after(skipped, 1);
            let mut life = Life::open(&disk);
            life.step().expect("commit");
            assert_eq!(count(&disk, "flipped read"), 1, "it happened");
            let expected = life.after.clone();
            drop(life.ledger);
            assert_eq!(Life::open(&disk).after, expected, "seed {seed} after {skipped}");
        }
    }
}
