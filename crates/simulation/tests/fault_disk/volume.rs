//! A volume that is full, read-only, not mounted, dead (F10, F11); and the
//! count of what was done to it.

use std::io::ErrorKind;

use dfs_simulation::trace::Trace;

use super::*;

#[test]
fn a_full_disk_takes_no_growth_and_takes_all_else() {
    let disk = MemoryDisk::default();
    disk.set_capacity(2 * BLOCK as u64);
    let file = create_durable(&disk, "a", &[1; 2 * BLOCK]);
    let error = file.write_at(2 * BLOCK as u64, b"x").expect_err("it is full");
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(count(&disk, "no space"), 1);
    file.write_at(0, &[2; BLOCK]).expect("no growth");
    file.sync().expect("sync");
    disk.handle().rename("a", "b").expect("rename");
    disk.handle().remove("b").expect("remove");
    drop(create_durable(&disk, "c", &[1; 2 * BLOCK]));
}

#[test]
fn a_read_only_volume_refuses_every_change_and_serves_reads() {
    let disk = MemoryDisk::default();
    let handle = disk.handle();
    handle.create_dir("d").expect("create folder");
    let file = create_durable(&disk, "a", &[1; BLOCK]);
    file.write_at(0, &[2; BLOCK]).expect("write");
    drop(create(&disk, "b", b"x"));
    disk.set_read_only(true);
    let refused = |result: io::Result<()>, what: &str| {
        let error = result.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem, "{what}");
    };
    refused(handle.create("c", Access::Random).map(drop), "create");
    refused(handle.rename("a", "c"), "rename");
    refused(handle.remove("a"), "remove");
    refused(handle.create_dir("e"), "create folder");
    refused(handle.sync_dir(""), "sync of new names");
    refused(file.write_at(0, b"x"), "write");
    refused(file.set_len(0), "cut");
    refused(file.sync(), "sync of what is dirty");
    assert_eq!(count(&disk, "read-only refusal"), 8);

    handle.create_dir("d").expect("it is there");
    handle.sync_dir("d").expect("it has nothing new");
    file.sync().expect("and nothing is dirty any more");
    let again = handle.open("a", Access::Random).expect("open");
    assert_eq!(read(&*again, 0, 3).expect("read"), [2; 3]);
    assert_eq!(handle.list("").expect("list").len(), 3);
    handle.space().expect("space");

    disk.set_read_only(false);
    disk.crash(&mut Rng::new(1));
    assert_eq!(disk.read_file("a").expect("synced")[5], 1, "what was dirty was lost");
}

#[test]
fn a_missing_mount_is_an_empty_folder_and_what_it_takes_is_hidden_later() {
    let disk = MemoryDisk::default();
    let file = create_durable(&disk, "a", b"on the volume");
    let handle = disk.handle();
    disk.set_unmounted(true);
    assert_eq!(handle.list("").expect("list"), []);
    assert_eq!(handle.open("a", Access::Random).err().map(|e| e.kind()), Some(ErrorKind::NotFound));
    for result in [read(&*file, 0, 2).map(drop), file.write_at(0, b"x"), file.sync()] {
        assert_eq!(result.expect_err("its volume is gone").kind(), ErrorKind::Other);
    }
    drop(create_durable(&disk, "b", b"under the mount point"));

    disk.set_unmounted(false);
    assert_eq!(paths(&disk, ""), ["a"]);
    assert_eq!(disk.read_file("a").as_deref(), Some(&b"on the volume"[..]));
    assert!(read(&*file, 0, 2).is_err(), "a handle from before stays dead");
    assert_eq!(count(&disk, "stale handle"), 4);

    disk.set_unmounted(true);
    disk.crash(&mut Rng::new(1));
    assert_eq!(paths(&disk, ""), ["b"], "a power cut mounts nothing");
}

#[test]
fn a_dead_disk_answers_nothing_and_has_everything_when_it_is_back() {
    let disk = MemoryDisk::default();
    let file = create_durable(&disk, "a", b"bytes");
    disk.set_dead(true);
    assert!(read(&*file, 0, 5).is_err() && disk.handle().list("").is_err());
    assert!(disk.handle().space().is_err());
    disk.set_dead(false);
    assert_eq!(read(&*file, 0, 5).expect("read"), b"bytes");
    assert_eq!(count(&disk, "dead disk"), 3);
}

#[test]
fn what_took_effect_is_counted_what_did_not_is_not_and_no_trace_tells() {
    let life = |asks: bool| {
        let trace = Trace::default();
        let disk = MemoryDisk::new("d", trace.clone());
        let file = create_durable(&disk, "a", &[1; 3 * BLOCK]);
        disk.flip_next_reads(1);
        disk.lose_next_writes(1);
        disk.fail_next_syncs(1);
        assert!(!asks || disk.faults_injected().is_empty(), "asked for, and not met yet");
        file.write_at(0, &[2; 10]).expect("write");
        let _ = read(&*file, 0, 10);
        let _ = file.sync();
        file.write_at(0, &[2; 10]).expect("write");
        disk.cut_power_at(disk.effects());
        let _ = file.sync();
        disk.crash(&mut Rng::new(3));
        let counts: Vec<_> =
            if asks { disk.faults_injected().into_iter().collect() } else { vec![] };
        (trace.digest(), counts)
    };
    let (asked, counts) = life(true);
    assert_eq!(asked, life(false).0);
    for kind in ["flipped read", "lost write", "sync failed", "power cut"] {
        assert!(counts.contains(&(kind, 1)), "{kind}: {counts:?}");
    }
}
