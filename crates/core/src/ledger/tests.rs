//! The ledger against crashes, flips, full disks and its own past.

mod damage;
mod disk;
mod form;

use disk::TestDisk;
use proptest::prelude::*;

use super::*;
use crate::catalog::fixture::{self, PLAIN, RS, XOR, commit, name, opening};
use crate::catalog::{Catalog, Change, Command};
use crate::env::Disk as _;
use crate::env::Durability::{self, Relaxed, Strict};
use crate::id::{Handle, NodeIndex};

/// Commands that use every kind of row and change, one batch each.
fn history() -> Vec<Vec<Command>> {
    let set_copies = |handle, expected: &[u16], copies: &[u16]| Command::SetCopies {
        handle: Handle(handle),
        expected: expected.iter().copied().map(NodeIndex).collect(),
        copies: copies.iter().copied().map(NodeIndex).collect(),
    };
    let remove = |text| Command::RemoveFiles { names: vec![name(text)] };
    vec![
        opening(),
        vec![commit(100, "iso/one", XOR, 7, 2, false), commit(200, "two", RS, 9, 1, false)],
        vec![commit(300, "empty", PLAIN, 0, 1, false)],
        vec![commit(400, "iso/one", PLAIN, 20, 3, true), set_copies(201, &[3], &[4, 5])],
        vec![Command::Rename { from: name("two"), to: name("iso/two"), replace: false }],
        vec![Command::RemoveFiles { names: vec![name("iso/two"), name("empty")] }],
        (1..5).map(|client| fixture::requested(client, 1, remove("a"), 100 * client)).collect(),
    ]
}

/// What a history changes batch by batch, and the catalog before and after
/// each.
fn steps(history: &[Vec<Command>]) -> (Vec<Vec<Change>>, Vec<Catalog>) {
    let (mut batches, mut states) = (Vec::new(), vec![Catalog::default()]);
    let mut catalog = Catalog::default();
    for commands in history {
        let mut changes = Vec::new();
        for command in commands {
            catalog.apply(command, &mut changes).expect("the history is a good one");
        }
        batches.push(changes);
        states.push(catalog.clone());
    }
    (batches, states)
}

/// Opens the ledger and commits batches until the disk refuses; how many
/// were acknowledged.
fn work(disk: &TestDisk, durability: Durability, batches: &[Vec<Change>]) -> usize {
    let Ok((mut ledger, _)) = Ledger::open(disk, durability) else { return 0 };
    batches.iter().take_while(|changes| ledger.commit(changes).is_ok()).count()
}

fn reopened(disk: &TestDisk) -> Catalog {
    Ledger::open(disk, Strict).map(|(_, catalog)| catalog).expect("a good ledger")
}

/// The catalogs that may be found, after `acknowledged` of the batches.
#[track_caller]
fn check_found(found: &Catalog, states: &[Catalog], acknowledged: usize, what: &str) {
    let allowed = &states[acknowledged..(acknowledged + 2).min(states.len())];
    assert!(allowed.contains(found), "{what}: not the state after {acknowledged} commits");
}

#[test]
fn power_may_go_at_any_step() {
    let (batches, states) = steps(&history());
    let whole = TestDisk::default();
    assert_eq!(work(&whole, Strict, &batches), batches.len());
    for effect in 1..=whole.effects() {
        let disk = TestDisk::default();
        disk.cut_at(effect);
        let acknowledged = work(&disk, Strict, &batches);
        for seed in 0..2 {
            let what = format!("effect {effect}, seed {seed}");
            let rest = disk.after_power_cut(seed);
            let effects = rest.effects();
            check_found(&reopened(&rest), &states, acknowledged, &what);
            let needed = rest.effects() - effects;

            // Power goes again while it is being opened.
            let rest = disk.after_power_cut(seed);
            rest.cut_at(1 + effect % needed);
            let _ = Ledger::open(&rest, Strict);
            let rest = rest.after_power_cut(seed + 1);
            let (mut ledger, found) = Ledger::open(&rest, Strict).expect(&what);
            check_found(&found, &states, acknowledged, &what);

            // And it goes on from there.
            let at = states.iter().position(|state| *state == found).expect("one of them");
            for changes in &batches[at..] {
                ledger.commit(changes).expect("it goes on");
            }
            drop(ledger);
            assert_eq!(Some(&reopened(&rest)), states.last());
        }
        check_found(&reopened(&disk.after_kill()), &states, acknowledged, "killed");

        // Killed first, and power goes while the next process opens it.
        let rest = disk.after_kill();
        rest.cut_at(1 + effect % 11);
        let _ = Ledger::open(&rest, Strict);
        let found = reopened(&rest.after_power_cut(effect));
        check_found(&found, &states, acknowledged, &format!("effect {effect}, killed, then cut"));
    }
}

#[test]
fn a_ledger_that_went_is_not_taken_for_a_new_folder() {
    let (batches, _) = steps(&history());
    let disk = TestDisk::default();
    assert_eq!(work(&disk, Strict, &batches), batches.len());
    disk.remove(LEDGER_FILE).expect("it is there");
    for _ in 0..2 {
        let refusal = Ledger::open(&disk, Strict).map(|_| ()).expect_err("it had one");
        assert!(matches!(refusal, LedgerError::Missing), "{refusal}");
        assert!(refusal.to_string().contains("put it or a good backup of it back"));
    }
}

#[test]
fn relaxed_commits_may_be_lost_but_only_the_last() {
    let commands: Vec<_> = (0..150)
        .map(|at| vec![commit(100 + 3 * at, &format!("f{at}"), PLAIN, 1, 2, false)])
        .collect();
    let (batches, states) = steps(&[vec![opening()], commands].concat());
    let whole = TestDisk::default();
    assert_eq!(work(&whole, Relaxed, &batches), batches.len());
    assert_eq!(Some(&reopened(&whole)), states.last(), "a polite stop loses nothing");
    for effect in (1..whole.effects()).step_by(7) {
        let disk = TestDisk::default();
        disk.cut_at(effect);
        let acknowledged = work(&disk, Relaxed, &batches);
        let found = reopened(&disk.after_power_cut(effect));
        let at = states.iter().position(|state| *state == found).expect("a whole prefix");
        assert!(at <= acknowledged + 1 && at + 64 > acknowledged, "{at} of {acknowledged}");
    }
}

#[test]
fn what_was_synced_by_hand_is_not_lost() {
    let (batches, states) = steps(&history());
    let disk = TestDisk::default();
    let (mut ledger, _) = Ledger::open(&disk, Relaxed).expect("a new one");
    for changes in &batches {
        ledger.commit(changes).expect("a good disk");
    }
    ledger.sync().expect("a good disk");
    assert_eq!(Some(&reopened(&disk.after_power_cut(1))), states.last());
}

#[test]
fn after_a_failed_sync_nothing_is_taken_any_more() {
    let (batches, states) = steps(&history());
    for failing in 0..2 {
        let disk = TestDisk::default();
        let (mut ledger, _) = Ledger::open(&disk, Strict).expect("a new one");
        ledger.commit(&batches[0]).expect("a good disk");
        disk.fail_sync(failing);
        let failed = ledger.commit(&batches[1]).expect_err("its sync fails");
        assert!(matches!(failed, LedgerError::Io { .. }), "{failed}");
        for changes in &batches[1..] {
            assert!(matches!(ledger.commit(changes), Err(LedgerError::Poisoned)));
        }
        drop(ledger);
        check_found(&reopened(&disk.after_kill()), &states, 1, "opened anew");
        check_found(&reopened(&disk.after_power_cut(3)), &states, 1, "after a power cut");
    }
}

#[test]
fn a_full_disk_is_an_error_and_no_damage() {
    let (batches, states) = steps(&history());
    let disk = TestDisk::default();
    let (mut ledger, _) = Ledger::open(&disk, Strict).expect("a new one");
    ledger.commit(&batches[0]).expect("there is space");
    disk.set_capacity(Some(disk.read(LEDGER_FILE).len()));
    let mut many = Vec::new();
    let mut catalog = states[1].clone();
    for at in 0..3000 {
        let command = commit(100 + 20 * at, &format!("f{at}"), PLAIN, 9, 2, false);
        catalog.apply(&command, &mut many).expect("free");
    }
    let failed = ledger.commit(&many).expect_err("it does not fit");
    let error = crate::api::Error::from(failed);
    assert_eq!(error.kind, crate::api::Kind::NoSpace, "{error}");
    drop(ledger);
    assert_eq!(reopened(&disk), states[1]);
    disk.set_capacity(None);
    let (mut ledger, _) = Ledger::open(&disk, Strict).expect("it can be opened again");
    ledger.commit(&many).expect("there is space again");
    drop(ledger);
    assert_eq!(reopened(&disk), catalog);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_loaded_is_what_was_there(wishes in fixture::wishes(40), seed in any::<u64>()) {
        let disk = TestDisk::default();
        let (mut ledger, mut catalog) = Ledger::open(&disk, Strict).expect("a new one");
        let mut changes = Vec::new();
        for command in opening() {
            catalog.apply(&command, &mut changes).expect("opening works");
        }
        ledger.commit(&changes).expect("a good disk");
        for batch in fixture::run(&mut catalog, &wishes).chunks(3) {
            ledger.commit(&batch.concat()).expect("a good disk");
        }
        prop_assert_eq!(&reopened(&disk.after_power_cut(seed)), &catalog);
        drop(ledger);
        prop_assert_eq!(&reopened(&disk), &catalog);
    }
}
