//! Calls that fail with an error of any kind (F10, F11).

use std::io::ErrorKind;

use dfs_simulation::disk::Call;

use super::*;

const CALLS: [Call; 12] = [
    Call::Create,
    Call::Open,
    Call::Rename,
    Call::Remove,
    Call::CreateDir,
    Call::List,
    Call::SyncDir,
    Call::Space,
    Call::Read,
    Call::Write,
    Call::SetLen,
    Call::Sync,
];

/// Makes one call of this kind.
fn make(disk: &dyn Disk, call: Call, turn: u32) -> io::Result<()> {
    let file = || disk.open("file", Access::Random);
    match call {
        Call::Create => disk.create(&format!("new{turn}"), Access::Random).map(drop),
        Call::Open => file().map(drop),
        Call::Rename => {
            disk.rename("file", "renamed").and_then(|()| disk.rename("renamed", "file"))
        }
        Call::Remove => disk.remove("gone"),
        Call::CreateDir => disk.create_dir(&format!("folder{turn}")),
        Call::List => disk.list("").map(drop),
        Call::SyncDir => disk.sync_dir(""),
        Call::Space => disk.space().map(drop),
        Call::Read => file()?.read_at(0, &mut [0; 4]),
        Call::Write => file()?.write_at(0, b""),
        Call::SetLen => file()?.set_len(5),
        Call::Sync => file()?.sync(),
    }
}

#[test]
fn every_kind_of_call_fails_as_often_and_as_it_was_told_and_changes_nothing() {
    for call in CALLS {
        for kind in [ErrorKind::Other, ErrorKind::StorageFull, ErrorKind::PermissionDenied] {
            let disk = MemoryDisk::default();
            drop(create_durable(&disk, "file", b"bytes"));
            drop(create_durable(&disk, "gone", b"bytes"));
            let before = disk.files();
            disk.fail_next(call, kind, 2);
            for turn in 0..2 {
                let error = make(&*disk.handle(), call, turn).expect_err("it was planned");
                assert_eq!(error.kind(), kind, "{call:?}");
            }
            assert_eq!(disk.files(), before, "{call:?}");
            make(&*disk.handle(), call, 2).expect("the plan is used up");
            assert_eq!(disk.faults_injected().values().sum::<u64>(), 2, "{call:?}");
        }
    }
}

#[test]
fn a_failure_strikes_its_own_kind_of_call_alone_and_a_new_plan_replaces_the_old() {
    for call in CALLS {
        let disk = MemoryDisk::default();
        drop(create_durable(&disk, "file", b"bytes"));
        drop(create_durable(&disk, "gone", b"bytes"));
        disk.fail_next(call, ErrorKind::Other, 100);
        // A file is opened before it is read.
        for other in CALLS.into_iter().filter(|other| *other != call && call != Call::Open) {
            make(&*disk.handle(), other, 0).unwrap_or_else(|e| panic!("{other:?}: {e}"));
        }
        disk.fail_next(call, ErrorKind::Other, 0);
        disk.plant_file("gone", b"again");
        make(&*disk.handle(), call, 1).expect("there is no plan any more");
    }
}

#[test]
fn space_that_is_missing_only_at_the_sync_loses_what_was_written_since_the_last_one() {
    for disk in crashed(|disk| {
        let file = create_durable(disk, "a", &[1; BLOCK]);
        file.write_at(BLOCK as u64, &[2; BLOCK]).expect("the space is allocated later");
        disk.fail_next(Call::Sync, ErrorKind::StorageFull, 1);
        assert_eq!(file.sync().expect_err("full").kind(), ErrorKind::StorageFull);
        file.sync().expect("and again it proves nothing");
    }) {
        let bytes = disk.read_file("a").expect("synced");
        assert_eq!(bytes[..BLOCK], [1; BLOCK]);
        assert_eq!(bytes[BLOCK..], [0; BLOCK]);
    }
}

#[test]
fn a_failed_write_may_have_written_a_first_part() {
    let mut parts = std::collections::BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = MemoryDisk::default();
        disk.reseed_faults(seed);
        let file = create_durable(&disk, "a", &[1; 10]);
        disk.fail_next(Call::Write, ErrorKind::StorageFull, 1);
        assert!(file.write_at(0, &[2; 10]).is_err());
        let bytes = disk.read_file("a").expect("there");
        let part = bytes.iter().take_while(|byte| **byte == 2).count();
        assert_eq!(bytes[part..], [1; 10][part..]);
        parts.insert(part);
    }
    assert_eq!(parts, (0..=10).collect());
}

#[test]
fn a_plan_lets_by_as_many_calls_as_it_was_told() {
    let disk = MemoryDisk::default();
    let file = create_durable(&disk, "a", &[1; 10]);
    disk.fail_after(2, Call::Sync, ErrorKind::Other, 1);
    let synced: Vec<bool> = (0..4).map(|_| file.sync().is_ok()).collect();
    assert_eq!(synced, [true, true, false, true]);
    disk.flip_reads_after(1, 1);
    let right: Vec<bool> = (0..3).map(|_| read(&*file, 0, 10).expect("read") == [1; 10]).collect();
    assert_eq!(right, [true, false, true]);
    disk.lose_writes_after(1, 1);
    for at in 0..3 {
        file.write_at(at, &[2]).expect("write");
    }
    assert_eq!(read(&*file, 0, 3).expect("read"), [2, 1, 2]);
}
