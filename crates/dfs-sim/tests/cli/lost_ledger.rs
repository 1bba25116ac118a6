//! The coordinator's folder is moved, removed or replaced while it runs.

use std::fs;

use rustix::process::Signal;

use crate::harness::Cluster;

/// A cluster with one file, and its bytes.
fn with_a_file() -> (Cluster, Vec<u8>) {
    let cluster = Cluster::start(3, &["--replication", "2", "--chunk-size", "64KiB"]);
    let bytes = cluster.make_file("a", 200_000);
    cluster.run(&["put", "a"]).ended(0);
    (cluster, bytes)
}

/// Nothing is acknowledged, reads go on, and the status says so loudly.
#[track_caller]
fn acknowledges_nothing(cluster: &Cluster, bytes: &[u8]) {
    cluster.wait_until("the loss is seen", |status| status["health"] == "at_risk");
    let status = cluster.run(&["status", "--exit-code"]).ended(11).text();
    assert!(status.contains("THE CATALOG IS IN MEMORY ONLY"), "{status}");
    assert!(status.contains("catalog rescue"), "it names the way out: {status}");
    for change in [&["put", "a", "--name", "late"][..], &["rm", "a"], &["mv", "a", "b"]] {
        let arguments = [change, &["--retry-for", "0s"]].concat();
        cluster.run(&arguments).ended(3).complained(&["IN MEMORY ONLY", "catalog rescue"]);
    }
    cluster.run(&["get", "a", "--out", "got", "--force"]).ended(0);
    assert!(cluster.read_file("got") == *bytes);
}

/// Has the catalog written elsewhere, and starts the coordinator on it.
fn rescue(cluster: &mut Cluster, bytes: &[u8]) {
    cluster.run(&["catalog", "rescue", "rescued"]).ended(2).complained(&["whole path"]);
    let full = cluster.path("n1");
    let full = full.to_str().expect("text");
    cluster.run(&["catalog", "rescue", full]).ended(2).complained(&["not empty"]);
    let target = cluster.path("rescued");
    let arguments = ["catalog", "rescue", target.to_str().expect("text"), "--json"];
    let answer = cluster.run(&arguments).ended(0).json();
    // The outcome of a change that came between is not known.
    assert!(answer["files"] == 1 || answer["files"] == 2, "{answer}");
    cluster.coordinator().end_by(Signal::INT);
    // Where the folder still stands, it goes out of the way.
    let _ = fs::rename(cluster.path("coord"), cluster.path("lost"));
    fs::rename(&target, cluster.path("coord")).expect("it can be moved");
    cluster.start_coordinator();
    cluster.wait_until_online(3);
    cluster.run(&["get", "a", "--out", "got", "--force"]).ended(0);
    assert!(cluster.read_file("got") == *bytes);
    cluster.run(&["put", "a", "--name", "later"]).ended(0);
    cluster.run(&["status", "--exit-code"]).ended(0);
}

#[test]
fn a_folder_that_is_moved_away_is_missed_and_rescued() {
    let (mut cluster, bytes) = with_a_file();
    fs::rename(cluster.path("coord"), cluster.path("moved")).expect("it can be moved");
    acknowledges_nothing(&cluster, &bytes);
    cluster.coordinator().says("THE CATALOG IS IN MEMORY ONLY");
    rescue(&mut cluster, &bytes);
}

#[test]
fn a_folder_that_is_removed_is_missed_and_rescued() {
    let (mut cluster, bytes) = with_a_file();
    fs::remove_dir_all(cluster.path("coord")).expect("it can be removed");
    // The first change hears of it, whenever the last look was.
    cluster.run(&["put", "a", "--name", "unsure", "--retry-for", "0s"]).ended(3);
    acknowledges_nothing(&cluster, &bytes);
    rescue(&mut cluster, &bytes);
}

#[test]
fn a_ledger_that_another_file_replaced_is_missed() {
    let (cluster, bytes) = with_a_file();
    let ledger = cluster.path("coord").join("catalog.redb");
    let copy = cluster.path("coord").join("copy");
    fs::copy(&ledger, &copy).expect("it can be copied");
    fs::rename(&copy, &ledger).expect("it can be replaced");
    acknowledges_nothing(&cluster, &bytes);
}

#[test]
fn a_backup_that_is_copied_over_the_running_ledger_is_missed_and_left_alone() {
    let (mut cluster, bytes) = with_a_file();
    let ledger = cluster.path("coord").join("catalog.redb");
    cluster.coordinator().end_by(Signal::INT);
    let backup = fs::read(&ledger).expect("it can be read");
    cluster.start_coordinator();
    cluster.wait_until_online(3);
    // The file at the path stays the same one: only its content changes.
    fs::write(&ledger, &backup).expect("it can be written");
    // The first change hears of it, of whatever kind it is.
    cluster.run(&["mv", "a", "b", "--retry-for", "0s"]).ended(3);
    acknowledges_nothing(&cluster, &bytes);
    rescue(&mut cluster, &bytes);
    let left = fs::read(cluster.path("lost").join("catalog.redb")).expect("it is there");
    assert!(left == backup, "nothing is written into what stands there now");
}

#[test]
fn a_ledger_that_is_cut_short_or_emptied_is_missed() {
    for content in [Vec::new(), vec![0; 1 << 20]] {
        let (cluster, bytes) = with_a_file();
        let ledger = cluster.path("coord").join("catalog.redb");
        fs::write(&ledger, &content).expect("it can be written");
        acknowledges_nothing(&cluster, &bytes);
    }
}

#[test]
fn a_folder_that_is_put_back_is_opened_again_in_the_same_process() {
    let (mut cluster, bytes) = with_a_file();
    let run = cluster.status()["run"].clone();
    fs::rename(cluster.path("coord"), cluster.path("moved")).expect("it can be moved");
    acknowledges_nothing(&cluster, &bytes);
    fs::rename(cluster.path("moved"), cluster.path("coord")).expect("it can be moved back");
    cluster.wait_until("another run leads", |status| status["run"] != run);
    cluster.wait_until_online(3);
    cluster.run(&["put", "a", "--name", "later"]).ended(0);
    cluster.coordinator().kill();
    cluster.start_coordinator();
    cluster.wait_until_online(3);
    let listed = cluster.run(&["ls"]).ended(0).text();
    assert_eq!(listed, "a\nlater\n");
}

#[test]
fn a_missing_ledger_is_told_as_a_damaged_one_is() {
    let (mut cluster, _) = with_a_file();
    cluster.coordinator().end_by(Signal::INT);
    fs::remove_file(cluster.path("coord").join("catalog.redb")).expect("it is there");
    let data = cluster.path("coord");
    let data = data.to_str().expect("text");
    for arguments in [
        &["coord", "--data", data, "--listen", "127.0.0.1:0"][..],
        &["coord", "--data", data, "--upgrade-only"],
    ] {
        cluster.run(arguments).ended(8).complained(&["catalog.redb is missing", "backup"]);
    }
}
