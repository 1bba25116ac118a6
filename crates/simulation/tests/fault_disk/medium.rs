//! A medium that does not keep or give what it was told (F5 to F8), and other
//! people's hands on it (F18, F21).

use super::*;

fn differing_bits(one: &[u8], other: &[u8]) -> u32 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(a, b)| (a ^ b).count_ones()).sum()
}

#[test]
fn an_unreadable_range_fails_reads_that_touch_it_until_it_is_written_anew() {
    let disk = MemoryDisk::default();
    drop(create_durable(&disk, "a", &[7; 8192]));
    disk.make_unreadable("a", 1000..1512);
    disk.crash(&mut Rng::new(1));
    let file = disk.handle().open("a", Access::Random).expect("open");
    for (offset, len) in [(0, 1001), (1511, 1), (999, 600), (0, 8192)] {
        assert!(read(&*file, offset, len).is_err(), "{len} bytes at {offset}");
    }
    read(&*file, 0, 1000).expect("before it");
    read(&*file, 1512, 4000).expect("after it");
    assert_eq!(count(&disk, "unreadable read"), 4);
    file.write_at(1000, &[8; 512]).expect("write");
    assert_eq!(read(&*file, 1000, 512).expect("read"), [8; 512]);
}

#[test]
fn a_bit_that_turned_on_the_medium_stays_turned() {
    let disk = MemoryDisk::default();
    drop(create_durable(&disk, "a", &[0; 100]));
    disk.flip("a", 50, 3);
    disk.flip("a", 1000, 3);
    disk.crash(&mut Rng::new(1));
    assert_eq!(disk.read_file("a").expect("synced")[50], 8);
    assert_eq!(count(&disk, "flipped bit"), 1, "one was beyond the end");
}

#[test]
fn a_read_returns_one_turned_bit_and_the_next_one_does_not() {
    let bytes = Rng::new(5).bytes(5000);
    let first_reads = |name: &str, seed: Option<u64>| {
        let disk = MemoryDisk::new(name, Default::default());
        let file = create_durable(&disk, "a", &bytes);
        if let Some(seed) = seed {
            disk.reseed_faults(seed);
        }
        disk.flip_next_reads(2);
        let reads = [(); 3].map(|()| read(&*file, 0, 5000).expect("read"));
        assert_eq!(differing_bits(&reads[0], &bytes), 1);
        assert_eq!(differing_bits(&reads[1], &bytes), 1);
        assert_eq!(reads[2], bytes);
        assert_eq!(disk.read_file("a").as_ref(), Some(&bytes), "the medium is as it was");
        assert_eq!(count(&disk, "flipped read"), 2);
        reads
    };
    assert_eq!(first_reads("d", None), first_reads("d", None), "chance is a seed's");
    assert_ne!(first_reads("d", None), first_reads("e", None));
    assert_ne!(first_reads("d", Some(1)), first_reads("d", Some(2)));
}

#[test]
fn a_misdirected_write_puts_the_right_bytes_in_the_wrong_place() {
    let disk = MemoryDisk::default();
    let target = create_durable(&disk, "target", &[1; 3000]);
    let own = create_durable(&disk, "own", &[2; 100]);
    disk.misdirect_next_write("target", 2000);
    own.write_at(50, &[3; 1500]).expect("it says that it worked");
    own.sync().expect("so does the sync");
    disk.crash(&mut Rng::new(1));
    let own = disk.read_file("own").expect("synced");
    assert_eq!(own[..100], [2; 100], "the old bytes remain");
    assert_eq!(own[100..], [0; 1450], "the length is that of the write");
    let hit = disk.read_file("target").expect("synced");
    assert_eq!((&hit[..2000], &hit[2000..]), (&[1; 2000][..], &[3; 1000][..]), "it grew no longer");
    assert_eq!(count(&disk, "misdirected write"), 1);
    drop(target);
}

#[test]
fn a_misdirected_write_finds_another_file_or_another_offset_or_goes_right() {
    for seed in 0..50 {
        let disk = MemoryDisk::default();
        disk.reseed_faults(seed);
        let file = create_durable(&disk, "a", &[1; 3 * BLOCK]);
        disk.misdirect_next_writes(1);
        file.write_at(5, &[9; 10]).expect("write");
        let bytes = disk.read_file("a").expect("there");
        assert_eq!(bytes[5..15], [1; 10]);
        assert_eq!(bytes.iter().filter(|byte| **byte == 9).count(), 10, "at another offset");
        drop(create_durable(&disk, "b", &[1; BLOCK]));
        disk.misdirect_next_writes(1);
        file.write_at(0, &[8; 10]).expect("write");
        assert!(!disk.read_file("a").expect("there").contains(&8));
        assert!(disk.read_file("b").expect("there").contains(&8), "in another file");
    }
    let disk = MemoryDisk::default();
    disk.misdirect_next_writes(1);
    drop(create(&disk, "a", b"alone"));
    assert_eq!(disk.read_file("a").as_deref(), Some(&b"alone"[..]));
    assert_eq!(count(&disk, "misdirected write"), 0, "it had nowhere else to go");
}

#[test]
fn a_misdirected_read_gives_what_is_elsewhere_once() {
    let disk = MemoryDisk::default();
    let file = create_durable(&disk, "a", b"own bytes");
    drop(create_durable(&disk, "b", b"the others"));
    disk.misdirect_next_read("b", 4);
    assert_eq!(read(&*file, 0, 9).expect("read"), b"others\0\0\0");
    assert_eq!(read(&*file, 0, 9).expect("read"), b"own bytes");
    disk.misdirect_next_reads(1);
    assert_ne!(read(&*file, 0, 9).expect("read"), b"own bytes");
    assert_eq!(read(&*file, 0, 9).expect("read"), b"own bytes");
    assert_eq!(count(&disk, "misdirected read"), 2);
    disk.misdirect_next_reads(1);
    assert!(read(&*file, 5, 9).is_err(), "the end of the file stays where it is");
}

#[test]
fn swapped_files_are_whole_under_each_others_names() {
    let disk = MemoryDisk::default();
    drop(create_durable(&disk, "a", b"first"));
    drop(create_durable(&disk, "b", b"the second"));
    disk.swap_files("a", "b");
    disk.crash(&mut Rng::new(1));
    assert_eq!(disk.read_file("a").as_deref(), Some(&b"the second"[..]));
    assert_eq!(disk.read_file("b").as_deref(), Some(&b"first"[..]));
    assert_eq!(count(&disk, "swapped files"), 1);
}

#[test]
fn a_lost_write_leaves_the_old_bytes_whatever_sync_says() {
    let all = crashed(|disk| {
        let file = create_durable(disk, "a", &[1; BLOCK]);
        disk.lose_next_writes(1);
        file.write_at(0, &[2; BLOCK]).expect("it says that it worked");
        file.sync().expect("so does the sync");
        assert_eq!(read(&*file, 0, BLOCK).expect("read"), [1; BLOCK]);
    });
    assert!(all.iter().all(|disk| disk.read_file("a").expect("synced") == [1; BLOCK]));
    assert!(all.iter().all(|disk| count(disk, "lost write") == 1));
}

#[test]
fn folders_are_copied_swapped_emptied_and_tampered_with_durably() {
    let (one, other) = (MemoryDisk::default(), MemoryDisk::default());
    drop(create(&one, "a", b"unsynced"));
    other.copy_from(&one);
    drop(create_durable(&one, "b", b"later"));
    assert_eq!(paths(&other, ""), ["a"], "a copy goes its own way");
    other.crash(&mut Rng::new(1));
    assert_eq!(other.read_file("a").as_deref(), Some(&b"unsynced"[..]));

    other.plant_file("d/planted", b"x");
    other.unplant_file("a");
    other.crash(&mut Rng::new(2));
    assert_eq!(paths(&other, ""), ["d/planted"]);
    let handle = other.handle();
    other.wipe();
    assert!(handle.list("").is_err(), "it is another folder now");
    assert_eq!((paths(&other, "").len(), other.used()), (0, 0));
}
