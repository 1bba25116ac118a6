//! The real disk: the contract of every disk, and what only a real one has.

use std::io::ErrorKind;
use std::sync::Arc;

use dfs_core::env::{Access, Disk};
use dfs_runtime::disk::RealDisk;
use dfs_simulation::contract::disk::disk_contract;

#[test]
fn the_real_disk_keeps_the_contract() {
    // On the build's own file system and, where there is one, in memory.
    let build = env!("CARGO_TARGET_TMPDIR");
    for place in [build, "/dev/shm"].iter().filter(|place| std::path::Path::new(place).is_dir()) {
        let mut folders = Vec::new();
        disk_contract(&mut || {
            let folder = tempfile::tempdir_in(place).expect("a temporary folder");
            let disk = RealDisk::open(folder.path(), None).expect("an empty folder opens");
            folders.push(folder);
            Arc::new(disk)
        });
    }
}

#[test]
fn the_real_disk_with_a_quota_keeps_the_contract() {
    let mut folders = Vec::new();
    disk_contract(&mut || {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = RealDisk::open(folder.path(), Some(64 << 20)).expect("an empty folder opens");
        folders.push(folder);
        Arc::new(disk)
    });
}

#[test]
fn a_second_process_is_told_who_uses_the_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = RealDisk::open(folder.path(), None).expect("the first opens");
    let refusal = RealDisk::open(folder.path(), None).err().expect("the second is refused");
    assert_eq!(refusal.kind(), ErrorKind::ResourceBusy);
    let text = refusal.to_string();
    assert!(text.contains(&folder.path().display().to_string()), "{text}");
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    drop(first);
    RealDisk::open(folder.path(), None).expect("free again");
}

#[test]
fn the_lock_is_no_file_of_the_store() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = RealDisk::open(folder.path(), None).expect("open");
    assert!(disk.list("").expect("list").is_empty());
    assert!(disk.open("lock", Access::Random).is_err());
    assert!(disk.remove("lock").is_err());
}

#[test]
fn a_full_quota_refuses_growth_and_gets_its_bytes_back() {
    for access in [Access::Random, Access::Sequential] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = RealDisk::open(folder.path(), Some(100_000)).expect("open");
        let file = disk.create("a", access).expect("create");
        file.write_at(0, &[1; 60_000]).expect("fits");
        file.write_at(10, &[2; 100]).expect("no growth");
        let full = file.write_at(60_000, &[3; 40_001]).expect_err("does not fit");
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        assert_eq!(file.len().expect("length"), 60_000);
        assert_eq!(disk.space().expect("space").free, 40_000);
        file.write_at(60_000, &[3; 40_000]).expect("fits exactly");
        file.sync().expect("sync");
        let full = file.set_len(100_001).expect_err("does not fit");
        assert_eq!(full.kind(), ErrorKind::StorageFull);

        file.set_len(50_000).expect("cut");
        assert_eq!(disk.space().expect("space").free, 50_000);
        disk.create("b", access).expect("create").write_at(0, &[4; 20_000]).expect("fits");
        disk.rename("b", "a").expect("replace");
        assert_eq!(disk.space().expect("space").free, 80_000);
        file.write_at(0, &[5; 99_000]).expect("a file without a name is not counted");
        disk.remove("a").expect("remove");
        assert_eq!(
            disk.space().expect("space"),
            dfs_core::env::Space { total: 100_000, free: 100_000 }
        );
    }
}

#[test]
fn a_quota_counts_what_lies_there_already() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir_all(folder.path().join("chunks/0a")).expect("folders");
    std::fs::write(folder.path().join("chunks/0a/x"), [0; 700]).expect("a file");
    let disk = RealDisk::open(folder.path(), Some(1000)).expect("open");
    assert_eq!(disk.space().expect("space").free, 300);
}

#[test]
fn handles_of_one_file_agree_on_what_is_staged() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let disk = RealDisk::open(folder.path(), None).expect("open");
    let writer = disk.create("a", Access::Sequential).expect("create");
    writer.write_at(0, &[7; 5000]).expect("write");
    let reader = disk.open("a", Access::Random).expect("open");
    assert_eq!(reader.len().expect("length"), 5000);
    assert_eq!(disk.list("").expect("list")[0].len, 5000);
    let mut bytes = [0; 5000];
    reader.read_at(0, &mut bytes).expect("read");
    assert_eq!(bytes, [7; 5000]);
    disk.rename("a", "b").expect("rename");
    writer.write_at(5000, &[8; 10]).expect("append");
    drop((writer, reader));
    let text = std::fs::read(folder.path().join("b")).expect("the file");
    assert_eq!(text, [&[7u8; 5000][..], &[8; 10]].concat());
}

#[test]
fn large_pieces_are_read_at_any_offset_and_length() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let disk = RealDisk::open(folder.path(), None).expect("open");
    let file = disk.create("a", Access::Sequential).expect("create");
    let bytes = dfs_simulation::rng::Rng::new(9).bytes(5_000_003);
    file.write_at(0, &bytes).expect("write");
    file.sync().expect("sync");
    let frame = dfs_core::data::frame::STORED_MAX;
    for offset in [0, 1, 4095, 4096, 4097, 12 + frame] {
        for len in [128 << 10, (1 << 20) - 1, 1 << 20, frame, (1 << 20) + 8191, 3 << 20] {
            let mut read = vec![0; len];
            file.read_at(offset as u64, &mut read).expect("read");
            assert!(read == bytes[offset..offset + len], "{len} bytes at {offset}");
        }
    }
    let mut end = vec![0; 200_003];
    file.read_at(4_800_000, &mut end).expect("read to the very end");
    assert!(end == bytes[4_800_000..]);
}

#[test]
fn errors_name_the_path() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = RealDisk::open(folder.path(), None).expect("open");
    let error = disk.open("chunks/0a/x", Access::Random).err().expect("not there");
    assert!(error.to_string().starts_with("chunks/0a/x: "), "{error}");
}

/// As a get brings them: whole frames at their places, each when it comes.
#[test]
fn large_pieces_are_written_in_any_order() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let disk = RealDisk::open(folder.path(), None).expect("open");
    let bytes = dfs_simulation::rng::Rng::new(10).bytes((7 << 20) + 4321);
    for size in [1 << 20, 3 << 20, (1 << 20) + 8192, (1 << 20) + 4096 + 17] {
        let name = format!("{size}");
        let file = disk.create(&name, Access::Sequential).expect("create");
        let mut pieces: Vec<(usize, &[u8])> = (0..).step_by(size).zip(bytes.chunks(size)).collect();
        pieces.rotate_left(2);
        pieces.swap(0, 1);
        for (offset, piece) in &pieces {
            file.write_at(*offset as u64, piece).expect("write");
            // A second time, as after a source that was bad.
            file.write_at(*offset as u64, piece).expect("write again");
        }
        file.sync().expect("sync");
        assert_eq!(file.len().expect("length"), bytes.len() as u64);
        drop(file);
        let text = std::fs::read(folder.path().join(&name)).expect("the file");
        assert!(text == bytes, "pieces of {size}");
    }
}

#[test]
fn a_file_that_was_replaced_stands_at_another_place_and_space_is_taken_ahead() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = RealDisk::open(folder.path(), None).expect("an empty folder opens");
    let file = disk.create("a", Access::Random).expect("create");
    let before = disk.place_of("a").expect("it is there");
    match file.allocate(1 << 20) {
        Ok(()) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}"),
    }
    assert_eq!(file.len().expect("length"), 0, "the length stays");
    disk.create("b", Access::Random).expect("create");
    disk.rename("b", "a").expect("rename");
    assert_ne!(disk.place_of("a").expect("it is there"), before, "while the first is open");
    disk.remove("a").expect("remove");
    let gone = disk.place_of("a").expect_err("it is gone");
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    drop(file);
}

#[test]
fn only_a_new_or_empty_folder_by_its_whole_path_is_taken_beside_the_own_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = RealDisk::open(folder.path().join("own"), None).expect("a new folder opens");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let kind = |path: &str| disk.new_folder(path).err().map(|error| error.kind());
    assert_eq!(kind("relative"), Some(ErrorKind::InvalidInput));
    assert_eq!(kind(&path("own")), Some(ErrorKind::DirectoryNotEmpty), "it is locked, at least");
    let other = disk.new_folder(&path("deep/other")).expect("it is new");
    other.create("a", Access::Random).expect("create");
    assert_eq!(kind(&path("deep/other")), Some(ErrorKind::DirectoryNotEmpty));
}
