//! Many files: folders in, folders out, and the verbs on names.

use std::fs;

use crate::harness::Cluster;

#[test]
fn a_folder_goes_in_and_comes_out_as_it_was() {
    let cluster = Cluster::start(3, &["--replication", "2"]);
    let mut files = Vec::new();
    for number in 0..40 {
        let name = format!("tree/d{}/f{number}", number % 4);
        files.push((name.clone(), cluster.make_file(&name, 100 * number)));
    }
    let answer = cluster.run(&["put", "--recursive", "tree", "--name", "kept/tree"]).ended(0);
    assert!(answer.text().contains("stored 40 files"), "{}", answer.text());
    cluster.run(&["get", "--recursive", "kept/tree", "--out", "back/tree"]).ended(0);
    for (name, bytes) in &files {
        assert!(cluster.read_file(&format!("back/{name}")) == *bytes, "{name}");
    }
    cluster.run(&["get", "--recursive", "kept/tree", "--out", "back/tree"]).ended(6);
    cluster.run(&["get", "--recursive", "kept/tree", "--out", "back/tree", "--force"]).ended(0);
    cluster.run(&["put", "tree"]).ended(2).complained(&["--recursive"]);
}

#[test]
fn a_recursive_get_never_leaves_its_folder() {
    let cluster = Cluster::start(1, &["--replication", "1"]);
    cluster.make_file("a", 10);
    cluster.run(&["put", "a", "--name", "t/link/x"]).ended(0);
    fs::create_dir_all(cluster.path("out")).expect("a folder");
    fs::create_dir_all(cluster.path("outside")).expect("a folder");
    std::os::unix::fs::symlink(cluster.path("outside"), cluster.path("out/link")).expect("a link");
    cluster.run(&["get", "-r", "t", "--out", "out"]).ended(6).complained(&["in the way"]);
    assert_eq!(fs::read_dir(cluster.path("outside")).expect("a folder").count(), 0);
}

#[test]
fn several_files_go_into_one_folder_and_one_bad_one_does_not_stop_the_rest() {
    let cluster = Cluster::start(1, &["--replication", "1"]);
    for name in ["a", "b", "c"] {
        cluster.make_file(name, 100);
    }
    cluster.run(&["put", "a", "b", "--name", "one-name"]).ended(2);
    cluster.run(&["put", "a", "b", "--name", "d/"]).ended(0);
    let answer = cluster.run(&["put", "b", "c", "--name", "d/", "--json"]).ended(6);
    let json = answer.json();
    assert_eq!(json["files"].as_array().map(Vec::len), Some(1));
    assert_eq!(json["failed"][0]["path"], "b");
    assert_eq!(json["failed"][0]["error"]["kind"], "exists");
    assert_eq!(cluster.run(&["ls", "d"]).ended(0).text(), "a\nb\nc\n");
}

#[test]
fn names_are_listed_moved_counted_and_removed() {
    let cluster = Cluster::start(1, &["--replication", "1"]);
    cluster.make_file("a", 1000);
    for name in ["x/1", "x/2", "x/y/3", "z"] {
        cluster.run(&["put", "a", "--name", name]).ended(0);
    }
    assert_eq!(cluster.run(&["ls"]).ended(0).text(), "x/\nz\n");
    assert_eq!(cluster.run(&["ls", "x"]).ended(0).text(), "1\n2\ny/\n");
    assert_eq!(cluster.run(&["ls", "x/"]).ended(0).text(), "1\n2\ny/\n");
    assert_eq!(cluster.run(&["ls", "z"]).ended(0).text(), "z\n");
    assert_eq!(cluster.run(&["ls", "-r"]).ended(0).text(), "x/1\nx/2\nx/y/3\nz\n");
    assert_eq!(cluster.run(&["ls", "-r", "x/y"]).ended(0).text(), "x/y/3\n");
    cluster.run(&["mv", "z", "x/"]).ended(0);
    assert_eq!(cluster.run(&["ls", "x"]).ended(0).text(), "1\n2\ny/\nz\n");
    let du = cluster.run(&["du", "x"]).ended(0).text();
    assert!(du.contains("3.9 KiB"), "{du}");
    let dry = cluster.run(&["rm", "-r", "x"]).ended(0);
    assert!(dry.text().contains("would remove x: 4 files"), "{}", dry.text());
    assert!(dry.stderr.contains("--yes"), "{}", dry.stderr);
    assert_eq!(cluster.run(&["ls", "-r"]).ended(0).text().lines().count(), 4);
    cluster.run(&["rm", "x/1", "no", "x/2"]).ended(5).complained(&["no"]);
    assert_eq!(cluster.run(&["ls", "-r"]).ended(0).text(), "x/y/3\nx/z\n");
    cluster.run(&["rm", "-r", "x", "--yes"]).ended(0);
    assert_eq!(cluster.run(&["ls"]).ended(0).text(), "");
}
