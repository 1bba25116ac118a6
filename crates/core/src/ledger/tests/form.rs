//! The form of the file: what its bytes are, and that rows which redb itself
//! finds in order are refused all the same when they are not what was
//! written.

use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable};

use super::super::backend::Backend;
use super::super::row::{TABLES, Table};
use super::disk::TestDisk;
use super::*;
use crate::data::digest::crc32c;
use crate::env::{Access, Disk as _};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of version 1, for ever: a change of them needs another version.
#[test]
fn rows_are_written_as_they_always_were() {
    let (batches, _) = steps(&history());
    let mut rows: Vec<String> = Vec::new();
    let [opening, first, ..] = batches.as_slice() else { unreachable!("there are six") };
    let mut last_of = |changes: &[Change], table: Table| {
        let of_table = |change: &Change| row::target(change).expect("it can be written").0 == table;
        let change = changes.iter().rfind(|change| of_table(change)).expect("there is one");
        let (_, key, value) = row::target(change).expect("it can be written");
        rows.push(format!("{} {key} {}", table.name(), hex(&value.expect("it is put"))));
    };
    last_of(opening, Table::Cluster);
    last_of(opening, Table::Members);
    last_of(first, Table::Files);
    let short = first.iter().find(|change| matches!(change, Change::PutStripe(_)));
    last_of(&[short.expect("there is one").clone()], Table::Stripes);
    let tally = row::Tally { commit: 1, rows: 300, sum: u64::MAX };
    rows.push(format!("tally 0 {}", hex(&Table::Tally.seal(0, &tally).expect("it can be"))));
    assert_eq!(rows.join("\n"), include_str!("rows-v1.txt").trim_end());
}

#[test]
fn the_head_is_written_as_it_always_was() {
    let disk = TestDisk::default();
    let (mut ledger, _) = Ledger::open(&disk, Strict).expect("a new one");
    ledger.commit(&steps(&history()).0[0]).expect("a good disk");
    let bytes = disk.read(LEDGER_FILE);
    assert_eq!(hex(&bytes[..16]), "4446534341544c4702000000d5bcf848");
    assert_eq!(hex(&bytes[512..524]), "01000000000000008415d9f2");
    assert_eq!(hex(&bytes[1024..1036]), "0200000000000000a544a3dd");
    assert_eq!(&bytes[4096..4100], b"redb");
}

/// Changes the file through redb, so that all of redb's own sums are right.
fn through_redb(change: impl Fn(&redb::WriteTransaction)) -> TestDisk {
    let (batches, _) = steps(&history());
    let disk = TestDisk::default();
    assert_eq!(work(&disk, Strict, &batches[..3]), 3);
    let file = disk.open(LEDGER_FILE, Access::Random).expect("it is there");
    let database = Database::builder()
        .create_with_backend(Backend::direct(Arc::from(file)))
        .expect("redb opens it");
    let transaction = database.begin_write().expect("it can be written");
    change(&transaction);
    transaction.commit().expect("it can be committed");
    disk
}

#[track_caller]
fn refused(disk: &TestDisk, part: &str) {
    let refusal = Ledger::open(disk, Strict).map(|_| ()).expect_err(part);
    assert!(matches!(refusal, LedgerError::Damaged { .. }), "{refusal}");
    assert!(refusal.to_string().contains(part), "{refusal}");
}

#[test]
fn rows_that_only_redb_finds_in_order_are_refused_by_name() {
    let edit = |table: Table, key: u64, to: u64, spoil: fn(&mut Vec<u8>)| {
        through_redb(move |transaction| {
            let mut rows = transaction.open_table(table.definition()).expect("it is there");
            let mut value = rows.remove(key).expect("no error").expect("a row").value().to_vec();
            spoil(&mut value);
            rows.insert(to, value.as_slice()).expect("no error");
        })
    };
    let last = |value: &mut Vec<u8>| *value.last_mut().expect("it has some") ^= 4;
    refused(&edit(Table::Files, 200, 200, last), "table files, row 200: it fails its checksum");
    refused(&edit(Table::Stripes, 101, 101, last), "table stripes, row 101: it fails");
    refused(&edit(Table::Members, 3, 4, |_| {}), "table members, row 4: it fails its checksum");
    refused(&edit(Table::Cluster, 0, 0, Vec::clear), "table cluster, row 0: it is too short");
    refused(&edit(Table::Tally, 0, 0, last), "table tally, row 0: it fails its checksum");
    refused(&edit(Table::Files, 300, 300, |value| value[0] = 2), "fails its checksum");

    // Nothing refers to an empty file: only the tally can miss it.
    let lost = |table: Table, key: u64| {
        through_redb(move |transaction| {
            let mut rows = transaction.open_table(table.definition()).expect("it is there");
            rows.remove(key).expect("no error").expect("a row");
        })
    };
    refused(&lost(Table::Files, 300), "are not the");
    refused(&lost(Table::Members, 5), "are not the");
    refused(&lost(Table::Tally, 0), "its tally is not there");

    // A row of the past: right in itself.
    let past = through_redb(|transaction| {
        let mut rows = transaction.open_table(Table::Cluster.definition()).expect("it is there");
        let (batches, _) = steps(&history());
        let old = row::target(&batches[0][0]).expect("it can be written").2.expect("it is put");
        rows.insert(0, old.as_slice()).expect("no error");
    });
    refused(&past, "are not the");

    for table in TABLES {
        let gone = through_redb(move |transaction| {
            assert!(transaction.delete_table(table.definition()).expect("no error"));
        });
        refused(&gone, table.name());
    }
    let foreign = through_redb(|transaction| {
        let table = redb::TableDefinition::<u64, u64>::new("other");
        transaction.open_table(table).expect("a new table");
    });
    refused(&foreign, "a table other of nobody's");
}

#[test]
fn a_row_of_a_newer_form_is_refused_as_such() {
    let newer = through_redb(|transaction| {
        let mut rows = transaction.open_table(Table::Files.definition()).expect("it is there");
        let mut value = rows.remove(300).expect("no error").expect("a row").value().to_vec();
        let sum = crc32c(&[&[Table::Files as u8], &300_u64.to_le_bytes(), &[2], &value[5..]]);
        value[0] = 2;
        value[1..5].copy_from_slice(&sum.to_le_bytes());
        rows.insert(300, value.as_slice()).expect("no error");
    });
    let refusal = Ledger::open(&newer, Strict).map(|_| ()).expect_err("it cannot be read");
    assert!(matches!(refusal, LedgerError::NewerFormat { found: 2 }), "{refusal}");
}

#[test]
fn a_row_that_was_altered_is_not_overwritten_unnoticed() {
    let (batches, _) = steps(&history());
    let disk = through_redb(|_| {});
    let (mut ledger, _) = Ledger::open(&disk, Strict).expect("nothing is wrong with it");
    let transaction = ledger.database.begin_write().expect("it can be written");
    {
        let mut files = transaction.open_table(Table::Files.definition()).expect("it is there");
        let mut value = files.get(100).expect("no error").expect("a row").value().to_vec();
        value.push(0);
        files.insert(100, value.as_slice()).expect("no error");
    }
    transaction.commit().expect("it can be committed");
    let refusal = ledger.commit(&batches[3]).expect_err("the row to be replaced is bad");
    assert!(refusal.to_string().contains("files, row 100: it fails"), "{refusal}");
    assert!(matches!(ledger.commit(&batches[4]), Err(LedgerError::Poisoned)));
    drop(ledger);
    let count = |database: &Database| {
        let transaction = database.begin_read().expect("it can be read");
        let files = transaction.open_table(Table::Files.definition()).expect("it is there");
        files.iter().expect("no error").count()
    };
    let file = disk.open(LEDGER_FILE, Access::Random).expect("it is there");
    let database = Database::builder()
        .create_with_backend(Backend::direct(Arc::from(file)))
        .expect("redb opens it");
    assert_eq!(count(&database), 3, "the failed commit changed nothing");
}
