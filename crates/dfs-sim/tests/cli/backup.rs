//! Backup and restore of the coordinator's folder, as docs/operations.md says.

use std::fs;
use std::process::Command;

use rustix::process::Signal;

use crate::harness::{Answer, Cluster, copy_folder, program};

/// Puts an older copy of the coordinator's folder in its place.
fn restore(cluster: &mut Cluster, from: &str) {
    let folder = cluster.path("coord");
    fs::remove_dir_all(&folder).expect("it can be removed");
    copy_folder(&cluster.path(from), &folder);
    cluster.start_coordinator();
}

#[test]
fn a_restored_backup_destroys_nothing_and_leads_when_it_is_accepted() {
    let flags = ["--replication", "2", "--delete-grace", "1s"];
    let mut cluster = Cluster::start(3, &flags);
    let bytes = cluster.make_file("a", 200_000);
    cluster.run(&["put", "a", "--name", "before"]).ended(0);
    cluster.coordinator().end_by(Signal::TERM);
    copy_folder(&cluster.path("coord"), &cluster.path("backup"));
    cluster.start_coordinator();
    cluster.wait_until_online(3);
    cluster.run(&["put", "a", "--name", "after"]).ended(0);
    cluster.coordinator().end_by(Signal::TERM);
    copy_folder(&cluster.path("coord"), &cluster.path("newer"));

    restore(&mut cluster, "backup");
    cluster
        .run(&["put", "a", "--name", "third", "--retry-for", "5s"])
        .ended(1)
        .complained(&["newer catalog exists", "--accept-older-catalog"]);
    cluster.run(&["get", "before", "--out", "b"]).ended(0);
    assert!(cluster.read_file("b") == bytes, "reads go on");
    cluster.coordinator().end_by(Signal::TERM);

    restore(&mut cluster, "newer");
    cluster.wait_until_online(3);
    cluster.run(&["get", "after", "--out", "c"]).ended(0);
    assert!(cluster.read_file("c") == bytes, "nothing was deleted");
    cluster.coordinator().end_by(Signal::TERM);

    cluster.set_flags(&[&flags[..], &["--accept-older-catalog"]].concat());
    restore(&mut cluster, "backup");
    cluster.wait_until_online(3);
    cluster.run(&["put", "a", "--name", "third"]).ended(0);
    cluster.run(&["get", "before", "--out", "b", "--force"]).ended(0);
    assert!(cluster.read_file("b") == bytes);
    let status = cluster.status();
    let kept = status["kept_handles"].as_array().expect("a list");
    assert_eq!(kept.len(), 1);
    assert_eq!(status["unknown"]["copies"], 2, "both copies of `after`");

    // They are shown with their names, and kept until they are let go of.
    let said = cluster.run(&["fsck", "--list-unknown"]).ended(0).text();
    for words in ["after", "data 0 of stripe 0", "they are kept", "--release-kept"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let listed = cluster.run(&["fsck", "--list-unknown", "--json"]).ended(0).json();
    assert_eq!(listed["unknown"].as_array().map(Vec::len), Some(2), "{listed}");
    assert_eq!(listed["unknown"][0]["name_when_written"], "after");
    cluster.run(&["fsck", "--release-kept", "1..2"]).ended(5).complained(&["kept_handles"]);
    cluster.run(&["fsck"]).ended(2).complained(&["--list-unknown"]);
    let range = format!("{}..{}", kept[0]["first"], kept[0]["end"]);
    let said = cluster.run(&["fsck", "--release-kept", &range]).ended(0).text();
    assert!(said.contains("no longer kept"), "{said}");
    cluster.wait_until("the sweep", |status| {
        status["nodes"].as_array().is_some_and(|nodes| {
            nodes.iter().filter_map(|node| node["chunks"].as_u64()).sum::<u64>() == 4
        })
    });
    cluster.run(&["get", "before", "--out", "b", "--force"]).ended(0);
}

#[test]
fn a_second_coordinator_on_a_copied_folder_says_who_leads_and_ends() {
    let mut cluster = Cluster::start(2, &["--replication", "2"]);
    cluster.make_file("a", 1000);
    cluster.run(&["put", "a"]).ended(0);
    cluster.coordinator().end_by(Signal::TERM);
    copy_folder(&cluster.path("coord"), &cluster.path("copy"));
    cluster.start_coordinator();
    cluster.wait_until_online(2);
    let mut second: Command = program();
    second.args(["coord", "--listen", "127.0.0.1:0", "--data"]).arg(cluster.path("copy"));
    Answer::of(&mut second).ended(1).complained(&["another coordinator leads", cluster.address()]);
    cluster.run(&["put", "a", "--name", "b"]).ended(0);
}
