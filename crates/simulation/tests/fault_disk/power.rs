//! Power cuts, and syncs that fail (F1 to F4, F9).

use super::*;

#[test]
fn without_a_sync_of_its_folder_a_synced_file_is_lost_at_times_and_with_it_never() {
    let is_there = |disk: &MemoryDisk| disk.read_file("a").as_deref() == Some(b"bytes");
    let without = crashed(|disk| create(disk, "a", b"bytes").sync().expect("sync"));
    let left = without.iter().filter(|disk| is_there(disk)).count();
    assert!(left > 0 && left < without.len(), "{left} of {}", without.len());
    assert!(without.iter().all(|disk| is_there(disk) != (count(disk, "lost name") == 1)));

    let with = crashed(|disk| drop(create_durable(disk, "a", b"bytes")));
    assert!(with.iter().all(is_there));
    assert!(with.iter().all(|disk| disk.faults_injected().is_empty()));
}

#[test]
fn a_write_is_torn_within_a_block_by_sectors() {
    let all = crashed(|disk| {
        let file = create_durable(disk, "a", &[1; BLOCK]);
        file.write_at(0, &[2; BLOCK]).expect("write");
    });
    let mut torn = 0;
    for disk in &all {
        let bytes = disk.read_file("a").expect("it was synced");
        assert!(bytes.chunks(512).all(|sector| sector == [1; 512] || sector == [2; 512]));
        let is_torn = bytes.contains(&1) && bytes.contains(&2);
        assert!(!is_torn || count(disk, "torn block") == 1);
        torn += u32::from(is_torn);
    }
    assert!(torn > 5, "{torn} of {SEEDS}");
}

#[test]
fn the_last_record_of_a_log_is_cut_anywhere_and_those_before_it_never() {
    let all = crashed(|disk| {
        let file = create_durable(disk, "log", &[1; 1000]);
        file.write_at(1000, &[2; 300]).expect("write");
    });
    let mut lens = std::collections::BTreeSet::new();
    for disk in &all {
        let bytes = disk.read_file("log").expect("it was synced");
        assert_eq!(bytes[..1000], [1; 1000]);
        assert!(bytes[1000..].iter().all(|byte| matches!(byte, 0 | 2)));
        lens.insert(bytes.len());
    }
    assert!(lens.contains(&1000), "not there at all");
    assert!(lens.iter().any(|len| (1001..1300).contains(len)), "a part of it");
    assert!(all.iter().any(|disk| disk.read_file("log").expect("synced")[1000..] == [2; 300]));
}

#[test]
fn a_later_write_may_be_durable_while_an_earlier_one_to_another_file_is_not() {
    let all = crashed(|disk| {
        let (first, second) = (create(disk, "a", &[0; 9]), create_durable(disk, "b", &[0; 9]));
        first.sync().expect("sync");
        first.write_at(0, b"earlier").expect("write");
        second.write_at(0, b"later").expect("write");
    });
    let has = |disk: &MemoryDisk, path, bytes: &[u8]| {
        disk.read_file(path).expect("it was synced").starts_with(bytes)
    };
    let only_later = |disk: &&MemoryDisk| has(disk, "b", b"later") && !has(disk, "a", b"earlier");
    let only_earlier = |disk: &&MemoryDisk| has(disk, "a", b"earlier") && !has(disk, "b", b"later");
    assert!(all.iter().filter(only_later).count() > 5);
    assert!(all.iter().filter(only_earlier).count() > 5);
}

#[test]
fn a_later_block_and_a_later_name_may_be_durable_while_earlier_ones_are_not() {
    let blocks = crashed(|disk| {
        let file = create_durable(disk, "a", &[0; 2 * BLOCK]);
        file.write_at(0, &[1; BLOCK]).expect("write");
        file.write_at(BLOCK as u64, &[2; BLOCK]).expect("write");
    });
    let is_later_only = |disk: &&MemoryDisk| {
        let bytes = disk.read_file("a").expect("it was synced");
        bytes[..BLOCK] == [0; BLOCK] && bytes[BLOCK..] == [2; BLOCK]
    };
    assert!(blocks.iter().filter(is_later_only).count() > 5);
    let names = crashed(|disk| {
        for path in ["first", "second"] {
            create(disk, path, b"x").sync().expect("sync");
        }
    });
    let is_later_only = |disk: &&MemoryDisk| paths(disk, "") == ["second"];
    assert!(names.iter().filter(is_later_only).count() > 5);
}

#[test]
fn after_a_failed_sync_a_good_one_proves_nothing_until_the_bytes_are_written_anew() {
    let retried = |disk: &MemoryDisk| {
        let file = create_durable(disk, "a", &[1; BLOCK]);
        file.write_at(0, &[2; BLOCK]).expect("write");
        disk.fail_next_syncs(1);
        assert!(file.sync().is_err());
        file.sync().expect("the page is clean");
        assert_eq!(read(&*file, 0, BLOCK).expect("read"), [2; BLOCK], "memory looks well");
        file
    };
    for disk in crashed(|disk| drop(retried(disk))) {
        assert_eq!(disk.read_file("a").expect("synced"), [1; BLOCK], "no device ever had it");
        assert_eq!(count(&disk, "sync failed"), 1);
        assert_eq!(count(&disk, "lost block"), 1);
    }
    // The kernel may drop the page as well, and then no power cut is needed.
    let disk = MemoryDisk::default();
    let file = retried(&disk);
    disk.drop_lost_pages();
    assert_eq!(read(&*file, 0, BLOCK).expect("read"), [1; BLOCK]);

    let anew = crashed(|disk| {
        let file = retried(disk);
        file.write_at(0, &[2; BLOCK]).expect("write");
        file.sync().expect("sync");
    });
    assert!(anew.iter().all(|disk| disk.read_file("a").expect("synced") == [2; BLOCK]));
}

#[test]
fn a_power_cut_reaches_the_volume_that_is_not_mounted_too() {
    let all = crashed(|disk| {
        create_durable(disk, "a", &[1; BLOCK]).write_at(0, &[2; BLOCK]).expect("write");
        disk.set_unmounted(true);
    });
    for disk in &all {
        disk.set_unmounted(false);
    }
    assert!(all.iter().any(|disk| disk.read_file("a").expect("synced") == [1; BLOCK]));
}
