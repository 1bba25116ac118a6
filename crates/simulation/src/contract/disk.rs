//! What every [`Disk`] must do. Durability itself needs a power cut, and is
//! tested where power can be cut.

use std::io::ErrorKind;
use std::sync::Arc;

use dfs_core::env::{Access, Disk, File};

/// Runs the whole suite; `make` gives an empty disk each time.
///
/// # Panics
/// When a claim does not hold.
pub fn disk_contract(make: &mut dyn FnMut() -> Arc<dyn Disk>) {
    for access in [Access::Random, Access::Sequential] {
        what_was_written_is_read(&*make(), access);
        odd_pieces_make_the_same_file(&*make(), access);
        a_file_has_the_length_that_it_was_given(&*make(), access);
        reading_beyond_the_end_fails(&*make(), access);
        a_reopened_file_is_the_same(&*make(), access);
    }
    names_follow_the_rules(&*make());
    folders_list_what_they_hold_in_order(&*make());
    a_renamed_file_replaces_the_other(&*make());
    a_removed_file_stays_readable_while_open(&*make());
    paths_never_leave_the_folder(&*make());
    space_is_told(&*make());
}

fn what_was_written_is_read(disk: &dyn Disk, access: Access) {
    let file = disk.create("a", access).expect("create");
    assert!(file.is_empty().expect("length"));
    let bytes = pattern(3_000_000);
    file.write_at(0, &bytes).expect("write");
    assert_eq!(file.len().expect("length"), 3_000_000);
    assert_eq!(read(&*file, 0, 3_000_000), bytes, "before the sync");
    file.sync().expect("sync");
    assert_eq!(read(&*file, 0, 3_000_000), bytes, "after the sync");
    assert_eq!(read(&*file, 4095, 8194), bytes[4095..4095 + 8194]);
    file.write_at(5, b"hello").expect("overwrite");
    file.sync().expect("sync");
    assert_eq!(read(&*file, 3, 9), [&bytes[3..5], b"hello", &bytes[10..12]].concat());
}

fn odd_pieces_make_the_same_file(disk: &dyn Disk, access: Access) {
    let file = disk.create("odd", access).expect("create");
    let bytes = pattern(2_500_000);
    let mut written = 0;
    for step in [1usize, 511, 4096, 70_001, 1_048_576, 12, 1_048_588].iter().cycle() {
        let end = (written + step).min(bytes.len());
        file.write_at(written as u64, &bytes[written..end]).expect("write");
        written = end;
        assert_eq!(file.len().expect("length"), written as u64);
        let seen = written.min(5000);
        assert_eq!(read(&*file, (written - seen) as u64, seen), bytes[written - seen..written]);
        if written == bytes.len() {
            break;
        }
    }
    file.sync().expect("sync");
    let again = disk.open("odd", access).expect("open");
    assert_eq!(read(&*again, 0, bytes.len()), bytes);
}

fn a_file_has_the_length_that_it_was_given(disk: &dyn Disk, access: Access) {
    let file = disk.create("a", access).expect("create");
    file.write_at(0, &[9; 10_000]).expect("write");
    file.set_len(5_000).expect("cut");
    assert_eq!(file.len().expect("length"), 5_000);
    file.set_len(6_000).expect("lengthen");
    assert_eq!(read(&*file, 4_999, 1_001), [&[9u8][..], &[0; 1000]].concat());
    file.write_at(20_000, b"x").expect("write beyond the end");
    assert_eq!(file.len().expect("length"), 20_001);
    assert_eq!(read(&*file, 19_999, 2), b"\0x");
}

fn reading_beyond_the_end_fails(disk: &dyn Disk, access: Access) {
    let file = disk.create("a", access).expect("create");
    file.write_at(0, b"12345").expect("write");
    for (offset, len) in [(0, 6), (5, 1), (100, 1)] {
        let error = file.read_at(offset, &mut vec![0; len]).expect_err("beyond the end");
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{len} bytes at {offset}");
    }
    file.read_at(5, &mut []).expect("nothing at the end");
}

fn a_reopened_file_is_the_same(disk: &dyn Disk, access: Access) {
    let bytes = pattern(10_007);
    let file = disk.create("a", access).expect("create");
    file.write_at(0, &bytes).expect("write");
    file.sync().expect("sync");
    drop(file);
    disk.sync_dir("").expect("sync the folder");
    let file = disk.open("a", access).expect("open");
    assert_eq!(read(&*file, 0, bytes.len()), bytes);
    file.write_at(10_007, b"more").expect("append");
    file.sync().expect("sync");
    drop(file);
    let file = disk.open("a", Access::Random).expect("open");
    assert_eq!(read(&*file, 10_000, 11), [&bytes[10_000..], b"more"].concat());
}

fn names_follow_the_rules(disk: &dyn Disk) {
    let kind = |result: std::io::Result<Box<dyn File>>| result.err().map(|e| e.kind());
    disk.create("a", Access::Random).expect("create");
    assert_eq!(kind(disk.create("a", Access::Random)), Some(ErrorKind::AlreadyExists));
    assert_eq!(kind(disk.open("b", Access::Random)), Some(ErrorKind::NotFound));
    assert_eq!(kind(disk.create("no/such", Access::Random)), Some(ErrorKind::NotFound));
    let missing = |result: std::io::Result<()>| result.expect_err("not there").kind();
    assert_eq!(missing(disk.rename("b", "c")), ErrorKind::NotFound);
    assert_eq!(missing(disk.remove("b")), ErrorKind::NotFound);
    assert_eq!(disk.list("no").expect_err("not there").kind(), ErrorKind::NotFound);
    disk.remove("a").expect("remove");
    assert_eq!(kind(disk.open("a", Access::Random)), Some(ErrorKind::NotFound));
}

fn folders_list_what_they_hold_in_order(disk: &dyn Disk) {
    disk.create_dir("chunks/0a").expect("create folders");
    disk.create_dir("chunks/0a").expect("create them again");
    disk.create_dir("chunks/00").expect("create another");
    for name in ["chunks/b", "chunks/a", "chunks/0a/z"] {
        let file = disk.create(name, Access::Random).expect("create");
        file.write_at(0, name.as_bytes()).expect("write");
        file.sync().expect("sync");
    }
    disk.sync_dir("chunks").expect("sync the folder");
    let listed = |path| -> Vec<(String, bool, u64)> {
        let entries = disk.list(path).expect("list");
        entries.into_iter().map(|e| (e.name, e.is_dir, e.len)).collect()
    };
    let entry = |name: &str, is_dir, len| (name.to_owned(), is_dir, len);
    assert_eq!(
        listed("chunks"),
        [entry("00", true, 0), entry("0a", true, 0), entry("a", false, 8), entry("b", false, 8)]
    );
    assert_eq!(listed("chunks/0a"), [entry("z", false, 11)]);
    assert!(listed("").contains(&entry("chunks", true, 0)));
}

fn a_renamed_file_replaces_the_other(disk: &dyn Disk) {
    disk.create_dir("tmp").expect("create folder");
    for (name, text) in [("tmp/new", "new text"), ("old", "old")] {
        let file = disk.create(name, Access::Random).expect("create");
        file.write_at(0, text.as_bytes()).expect("write");
        file.sync().expect("sync");
    }
    let open_old = disk.open("old", Access::Random).expect("open");
    disk.rename("tmp/new", "old").expect("rename");
    disk.sync_dir("").expect("sync");
    disk.sync_dir("tmp").expect("sync");
    assert!(disk.list("tmp").expect("list").is_empty());
    let file = disk.open("old", Access::Random).expect("open");
    assert_eq!(read(&*file, 0, 8), b"new text");
    assert_eq!(read(&*open_old, 0, 3), b"old", "who had it open still reads it");
}

fn a_removed_file_stays_readable_while_open(disk: &dyn Disk) {
    let file = disk.create("a", Access::Random).expect("create");
    file.write_at(0, b"bytes").expect("write");
    disk.remove("a").expect("remove");
    assert_eq!(read(&*file, 0, 5), b"bytes");
}

fn paths_never_leave_the_folder(disk: &dyn Disk) {
    for path in ["../a", "/a", "a/../../b", "", "a//b", "./a"] {
        assert!(disk.create(path, Access::Random).is_err(), "created {path:?}");
        assert!(disk.open(path, Access::Random).is_err(), "opened {path:?}");
        assert!(disk.rename(path, "x").is_err(), "renamed {path:?}");
    }
}

fn space_is_told(disk: &dyn Disk) {
    let before = disk.space().expect("space");
    assert!(before.free <= before.total && before.total > 0);
}

fn read(file: &dyn File, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    file.read_at(offset, &mut bytes).expect("read");
    bytes
}

fn pattern(len: usize) -> Vec<u8> {
    crate::rng::Rng::new(len as u64).bytes(len)
}
