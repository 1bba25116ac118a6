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
fn an_update_moves_only_what_is_new_both_ways_and_by_time_or_content() {
    let cluster = Cluster::start(2, &["--replication", "2"]);
    let names = ["t/a", "t/b", "t/deep/c", "t/empty"];
    let lens = [3_000, 200_000, 2_500_000, 0];
    for (name, len) in names.into_iter().zip(lens) {
        cluster.make_file(name, len);
    }
    let put = |more: &[&str]| {
        let answer = cluster.run(&[&["put", "-r", "t", "--update", "--json"], more].concat());
        let json = answer.ended(0).json();
        (json["files"].as_array().map(Vec::len), json["unchanged"].as_u64())
    };
    // An interrupted transfer is gone on with: what is there is passed over.
    cluster.run(&["put", "t/a", "t/b", "--name", "t/"]).ended(0);
    assert_eq!(put(&[]), (Some(2), Some(2)));
    assert_eq!(put(&[]), (Some(0), Some(4)));
    assert_eq!(put(&["--checksum"]), (Some(0), Some(4)));
    // Other bytes of the same length are new by time; the same bytes, written
    // again, are new by time and not by content.
    fs::write(cluster.path("t/a"), vec![7; 3_000]).expect("a file");
    let same = cluster.read_file("t/b");
    fs::write(cluster.path("t/b"), &same).expect("a file");
    assert_eq!(put(&["--checksum"]), (Some(1), Some(3)));
    assert_eq!(put(&[]), (Some(1), Some(3)));
    cluster.run(&["get", "t/a", "--out", "a"]).ended(0);
    assert!(cluster.read_file("a") == vec![7; 3_000]);

    let get = |more: &[&str]| {
        let line = [&["get", "-r", "t", "--out", "back", "--update", "--json"], more].concat();
        let json = cluster.run(&line).ended(0).json();
        (json["files"].as_array().map(Vec::len), json["unchanged"].as_u64())
    };
    fs::create_dir(cluster.path("back")).expect("a folder");
    fs::write(cluster.path("back/a"), vec![8; 3_000]).expect("a file");
    assert_eq!(get(&["--checksum"]), (Some(4), Some(0)), "what differs is replaced");
    assert_eq!(get(&[]), (Some(0), Some(4)));
    assert_eq!(get(&["--checksum"]), (Some(0), Some(4)));
    for name in names {
        assert!(cluster.read_file(name) == cluster.read_file(&name.replacen('t', "back", 1)));
    }
    cluster.run(&["get", "t/b", "--out", "back/b", "--update"]).ended(0);
    cluster.run(&["put", "t/b", "--name", "t/b", "--update"]).ended(0);
    cluster.run(&["put", "-", "--name", "x", "--update"]).ended(2).complained(&["--update"]);
    cluster.run(&["put", "t/b", "--checksum"]).ended(2).complained(&["--update"]);
}

#[test]
fn includes_and_excludes_choose_what_goes_in_and_comes_out() {
    let cluster = Cluster::start(1, &["--replication", "1"]);
    for name in ["s/a.c", "s/a.o", "s/target/x.c", "s/sub/b.c", "s/sub/b.o", "s/sub/target"] {
        cluster.make_file(name, 10);
    }
    let put = ["put", "-r", "s", "--exclude", "target/", "--exclude", "*.o"];
    let text = cluster.run(&put).ended(0).text();
    assert!(text.contains("stored 2 files"), "{text}");
    assert!(text.contains("left out by --include and --exclude: 4"), "{text}");
    assert_eq!(cluster.run(&["ls", "-r"]).ended(0).text(), "s/a.c\ns/sub/b.c\n");
    cluster.run(&["put", "-r", "s", "--include", "*.o"]).ended(0);
    cluster.run(&["get", "-r", "s", "--out", "o", "--exclude", "sub/*.c"]).ended(0);
    assert!(cluster.path("o/a.c").exists() && cluster.path("o/sub/b.o").exists());
    assert!(!cluster.path("o/sub/b.c").exists());
    cluster.run(&["put", "-r", "s", "--exclude", "a["]).ended(2).complained(&["--exclude"]);
    cluster.run(&["put", "s/a.c", "--exclude", "x"]).ended(2).complained(&["--recursive"]);
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
