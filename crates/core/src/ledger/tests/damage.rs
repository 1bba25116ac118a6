//! Damage: the same catalog, or a refusal that leaves the file as it is.

use super::super::head::HEAD_BYTES;
use super::disk::{Chance, TestDisk};
use super::*;
use crate::data::digest::crc32c;

/// A ledger's file after all of the history: as a kill leaves it, and as a
/// polite stop does.
fn files() -> ([Vec<u8>; 2], Catalog) {
    let (batches, mut states) = steps(&history());
    let disk = TestDisk::default();
    let (mut ledger, _) = Ledger::open(&disk, Strict).expect("a new one");
    for changes in &batches {
        ledger.commit(changes).expect("a good disk");
    }
    let killed = disk.read(LEDGER_FILE);
    drop(ledger);
    ([killed, disk.read(LEDGER_FILE)], states.pop().expect("there are some"))
}

/// Whether the damaged file is refused; anything but the whole catalog or an
/// honest refusal fails.
#[track_caller]
fn is_refused(bytes: &[u8], expected: &Catalog, what: &str) -> bool {
    let disk = TestDisk::with(LEDGER_FILE, bytes.to_vec());
    match Ledger::open(&disk, Strict) {
        Ok((_, found)) => {
            assert_eq!(found, *expected, "{what}: silently another catalog");
            false
        }
        Err(error @ (LedgerError::Damaged { .. } | LedgerError::NewerFormat { .. })) => {
            assert!(disk.read(LEDGER_FILE) == bytes, "{what}: the refused file was changed");
            assert!(error.to_string().contains(LEDGER_FILE));
            true
        }
        Err(error) => panic!("{what}: not an honest refusal: {error}"),
    }
}

fn flip(bytes: &[u8], at: usize, bit: u32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1 << bit;
    bytes
}

#[test]
fn no_flipped_bit_changes_the_catalog() {
    let (files, expected) = files();
    let redb_head = usize::try_from(HEAD_BYTES).expect("4096");
    for (file, bytes) in files.iter().enumerate() {
        assert!(!is_refused(bytes, &expected, "nothing flipped"));
        let heads = (0..16).chain(512..524).chain(1024..1036);
        let redb_heads = redb_head..redb_head + 320;
        for at in heads.chain(redb_heads) {
            for bit in (0..8).filter(|bit| file == 0 || at % 8 == *bit as usize) {
                is_refused(&flip(bytes, at, bit), &expected, &format!("byte {at}, bit {bit}"));
            }
        }
        // Of the rest, what is not zero: pages in use, and their pasts.
        let used: Vec<usize> =
            (redb_head + 320..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        let mut chance = Chance(7);
        let mut refused = 0;
        for _ in 0..500 {
            let (at, bit) = (used[chance.below(used.len())], chance.below(8) as u32);
            let what = format!("byte {at}, bit {bit}");
            refused += usize::from(is_refused(&flip(bytes, at, bit), &expected, &what));
        }
        assert!(refused > 10, "only {refused} of 500 flips were found at all");
    }
}

#[test]
fn no_page_of_zeros_or_of_the_past_changes_the_catalog() {
    let (batches, states) = steps(&history());
    let disk = TestDisk::default();
    let (mut ledger, _) = Ledger::open(&disk, Strict).expect("a new one");
    let mut past = Vec::new();
    for changes in &batches {
        ledger.commit(changes).expect("a good disk");
        past.push(disk.read(LEDGER_FILE));
    }
    let now = past.pop().expect("there are some");
    let expected = states.last().expect("there are some");
    past.push(vec![0; now.len()]);
    for (commit, old) in past.iter().enumerate() {
        for page in (0..now.len().min(old.len())).step_by(4096) {
            let end = (page + 4096).min(now.len()).min(old.len());
            if now[page..end] == old[page..end] {
                continue;
            }
            let mut bytes = now.clone();
            bytes[page..end].copy_from_slice(&old[page..end]);
            is_refused(&bytes, expected, &format!("page {page} as of commit {commit}"));
        }
    }
}

#[test]
fn a_file_cut_short_is_refused() {
    let (files, expected) = files();
    for bytes in &files {
        let steps = (0..HEAD_BYTES as usize + 400)
            .step_by(97)
            .chain((0..bytes.len()).step_by(bytes.len() / 60));
        for len in steps.chain([HEAD_BYTES as usize, bytes.len() - 1]) {
            assert!(is_refused(&bytes[..len], &expected, &format!("cut to {len}")));
        }
    }
}

#[test]
fn a_file_that_forgot_its_last_commit_is_refused() {
    let (batches, states) = steps(&history());
    let disk = TestDisk::default();
    let (mut ledger, _) = Ledger::open(&disk, Strict).expect("a new one");
    for changes in &batches {
        ledger.commit(changes).expect("a good disk");
    }
    let now = disk.read(LEDGER_FILE);
    // Byte 9 of redb's file says which of its two commits is the present one,
    // and has no sum.
    let god_byte = HEAD_BYTES as usize + 9;
    let expected = states.last().expect("there are some");
    assert!(is_refused(&flip(&now, god_byte, 0), expected, "the other commit"));
    let disk = TestDisk::with(LEDGER_FILE, flip(&now, god_byte, 0));
    let refusal = Ledger::open(&disk, Strict).map(|_| ()).expect_err("refused").to_string();
    assert!(refusal.contains("later changes are missing"), "{refusal}");
}

#[test]
fn a_newer_format_is_refused_as_such() {
    let (files, _) = files();
    let mut bytes = files[1].clone();
    bytes[8] = 3;
    let sum = crc32c(&[&bytes[..12]]);
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    let disk = TestDisk::with(LEDGER_FILE, bytes.clone());
    let refusal = Ledger::open(&disk, Strict).map(|_| ()).expect_err("refused");
    assert!(matches!(refusal, LedgerError::NewerFormat { found: 3 }), "{refusal}");
    assert_eq!(crate::api::Error::from(refusal).kind, crate::api::Kind::NotSupported);
    assert!(disk.read(LEDGER_FILE) == bytes);
}

#[test]
fn any_other_file_is_refused() {
    let expected = Catalog::default();
    for bytes in [Vec::new(), vec![0; 100_000], b"#!/bin/sh\n".repeat(1000), vec![0xff; 9000]] {
        assert!(is_refused(&bytes, &expected, "not a ledger"));
    }
}
