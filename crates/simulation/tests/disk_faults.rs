//! The simulated disk keeps its own fault model: the contract of the seam,
//! and what a power cut may and may not take.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dfs_core::env::{Access, Disk};
use dfs_simulation::contract::disk::disk_contract;
use dfs_simulation::{MemoryDisk, Rng};

fn write(disk: &dyn Disk, path: &str, bytes: &[u8], is_synced: bool) {
    let file = disk.create(path, Access::Random).expect("create");
    file.write_at(0, bytes).expect("write");
    if is_synced {
        file.sync().expect("sync");
    }
}

/// What a crash leaves of what `before` did, for many seeds.
fn outcomes(before: impl Fn(&dyn Disk)) -> Vec<Vec<(String, Vec<u8>)>> {
    let crashed = |seed| {
        let disk = MemoryDisk::default();
        before(&*disk.handle());
        disk.crash(&mut Rng::new(seed));
        let bytes = |path: &str| disk.read_file(path).expect("it was listed");
        disk.files().into_iter().map(|(path, _)| (path.clone(), bytes(&path))).collect()
    };
    (0..100).map(crashed).collect()
}

fn names(outcome: &[(String, Vec<u8>)]) -> Vec<&str> {
    outcome.iter().map(|(path, _)| path.as_str()).collect()
}

#[test]
fn the_memory_disk_keeps_the_contract() {
    disk_contract(&mut || MemoryDisk::default().handle());
}

#[test]
fn a_synced_file_in_a_synced_folder_is_never_lost() {
    for outcome in outcomes(|disk| {
        disk.create_dir("d").expect("create folder");
        write(disk, "d/a", b"bytes", true);
        disk.sync_dir("d").expect("sync");
        disk.sync_dir("").expect("sync");
    }) {
        assert_eq!(outcome, [("d/a".to_owned(), b"bytes".to_vec())]);
    }
}

#[test]
fn a_synced_file_may_vanish_with_its_name_or_its_folder() {
    let lost_name = outcomes(|disk| write(disk, "a", b"bytes", true));
    assert!(lost_name.iter().any(Vec::is_empty) && lost_name.iter().any(|o| !o.is_empty()));
    let lost_folder = outcomes(|disk| {
        disk.create_dir("d").expect("create folder");
        write(disk, "d/a", b"bytes", true);
        disk.sync_dir("d").expect("sync");
    });
    assert!(lost_folder.iter().any(Vec::is_empty));
}

#[test]
fn an_unsynced_rename_is_old_or_new_and_never_neither() {
    let all = outcomes(|disk| {
        disk.create_dir("tmp").expect("create folder");
        write(disk, "tmp/a", b"new", true);
        write(disk, "a", b"old", true);
        for folder in ["", "tmp"] {
            disk.sync_dir(folder).expect("sync");
        }
        disk.rename("tmp/a", "a").expect("rename");
    });
    let of = |outcome: &[(String, Vec<u8>)]| outcome[0].1.clone();
    assert!(all.iter().all(|o| o[0].0 == "a"), "one or the other has the name");
    assert!(all.iter().all(|o| of(o) == b"new" || names(o).contains(&"tmp/a")), "no byte is lost");
    assert!(all.iter().any(|o| of(o) == b"old") && all.iter().any(|o| of(o) == b"new"));
}

#[test]
fn an_unsynced_removal_may_come_back() {
    let all = outcomes(|disk| {
        write(disk, "a", b"bytes", true);
        disk.sync_dir("").expect("sync");
        disk.remove("a").expect("remove");
    });
    assert!(all.iter().any(Vec::is_empty) && all.iter().any(|o| names(o) == ["a"]));
}

#[test]
fn the_power_goes_at_the_effect_that_was_named_and_tells_once() {
    for effect in 0..4 {
        let disk = MemoryDisk::default();
        let cuts = Arc::new(AtomicU32::new(0));
        let counter = cuts.clone();
        disk.on_power_cut(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        disk.cut_power_at(effect);
        let handle = disk.handle();
        let steps = || -> std::io::Result<()> {
            let file = handle.create("a", Access::Random)?;
            file.write_at(0, b"x")?;
            file.sync()?;
            handle.sync_dir("")
        };
        assert!(steps().is_err() && steps().is_err());
        assert_eq!((disk.effects(), disk.is_on()), (effect, false));
        assert_eq!(cuts.load(Ordering::Relaxed), 1);
        disk.crash(&mut Rng::new(effect));
        assert!(handle.list("").is_err(), "a handle from before the cut stays dead");
        assert!(disk.handle().list("").is_ok());
    }
}

#[test]
fn a_killed_process_keeps_its_bytes_and_loses_its_handles() {
    let disk = MemoryDisk::default();
    let handle = disk.handle();
    write(&*handle, "a", b"unsynced", false);
    disk.detach();
    assert!(handle.open("a", Access::Random).is_err());
    assert_eq!(disk.read_file("a").as_deref(), Some(&b"unsynced"[..]));
}

#[test]
fn a_full_disk_says_so_and_a_removal_makes_room() {
    let disk = MemoryDisk::default();
    disk.set_capacity(10 * 4096);
    let handle = disk.handle();
    write(&*handle, "a", &[1; 9 * 4096], false);
    let file = handle.create("b", Access::Random).expect("create");
    let error = file.write_at(0, &[2; 2 * 4096]).expect_err("it does not fit");
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(handle.space().expect("space").free, 4096);
    handle.remove("a").expect("remove");
    file.write_at(0, &[2; 2 * 4096]).expect("it fits now");
    assert_eq!(disk.used(), 2 * 4096);
}

#[test]
fn scripted_faults_strike_once_and_where_they_were_told() {
    let disk = MemoryDisk::default();
    let handle = disk.handle();
    write(&*handle, "a", &[7; 8192], true);
    let file = handle.open("a", Access::Random).expect("open");
    let mut byte = [0];

    disk.flip("a", 4100, 0);
    file.read_at(4100, &mut byte).expect("read");
    assert_eq!(byte, [6]);

    disk.make_unreadable("a", 0..512);
    assert!(file.read_at(511, &mut byte).is_err());
    file.read_at(512, &mut byte).expect("beside it");
    file.write_at(0, &[1; 512]).expect("write anew");
    file.read_at(511, &mut byte).expect("readable again");

    disk.lose_next_writes(1);
    file.write_at(100, b"lost").expect("it says that it worked");
    file.read_at(100, &mut byte).expect("read");
    assert_eq!(byte, [1]);

    disk.fail_next_syncs(1);
    assert!(file.sync().is_err());
    file.sync().expect("the next one says that all is well");
}
