//! Folders that earlier formats left: this build opens them.

use std::path::Path;

use crate::harness::{Answer, Cluster, copy_folder, program};

/// What the golden cluster was given as `dir/a.txt`.
fn text() -> String {
    (0..2000).map(|n| format!("line {n} of a file that an earlier version stored\n")).collect()
}

#[test]
fn a_cluster_of_format_1_is_opened_and_keeps_its_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-1");
    copy_folder(&golden, folder.path());
    let mut upgrade = program();
    upgrade.args(["coord", "--upgrade-only", "--data"]).arg(folder.path().join("coord"));
    Answer::of(&mut upgrade).ended(0).complained(&["upgraded from format 1"]);
    Answer::of(&mut upgrade).ended(0).complained(&["this build's format"]);
    let cluster = Cluster::start_in(folder, 2, &["--replication", "2", "--parity", "none"], &[]);
    cluster.run(&["get", "dir/a.txt", "--out", "a.txt"]).ended(0);
    assert_eq!(cluster.read_file("a.txt"), text().as_bytes());
    cluster.run(&["get", "hello.txt", "--out", "hello"]).ended(0);
    assert_eq!(cluster.read_file("hello"), b"hello\n");
    cluster.run(&["put", "hello", "--name", "new.txt"]).ended(0);
    let identity = String::from_utf8(cluster.read_file("n1/identity")).expect("text");
    assert!(identity.starts_with("dfs-sim node identity 2\n"), "{identity}");
}
