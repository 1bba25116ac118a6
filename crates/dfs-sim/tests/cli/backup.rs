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
    assert_eq!(cluster.status()["kept_handles"].as_array().map(Vec::len), Some(1));
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
