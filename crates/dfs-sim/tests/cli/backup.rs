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

/// The commands of the page's first block behind `heading`.
fn commands(heading: &str) -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let page = fs::read_to_string(page).expect("the page");
    let (_, rest) = page.split_once(heading).unwrap_or_else(|| panic!("no {heading:?}"));
    let block = rest.split("```").nth(1).expect("a block");
    block
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("$ "))
        .map(String::from)
        .collect()
}

/// Types a command of the page: the service is the cluster's coordinator, and
/// the page's folders are in the cluster's. Returns its answer, where it is a
/// client's.
fn type_command(cluster: &mut Cluster, flags: &[&str], command: &str) -> Option<Answer> {
    let words: Vec<&str> = command.split(' ').collect();
    match words[..] {
        ["sudo", "systemctl", "stop", "dfs-sim-coord"] => {
            cluster.coordinator().end_by(Signal::TERM);
        }
        ["sudo", "systemctl", "start", "dfs-sim-coord"] => cluster.start_coordinator(),
        ["sudo", "-u", "dfs-sim", "dfs-sim", "coord", "--config", _, flag] => {
            cluster.set_flags(&[flags, &[flag]].concat());
            cluster.start_coordinator();
            cluster.wait_until("it leads", |status| status["makes_no_changes"].is_null());
            cluster.coordinator().end_by(Signal::INT);
            cluster.set_flags(flags);
        }
        ["sudo", "cp" | "mv", ..] => {
            let folder = cluster.path("").display().to_string();
            let here = |word: &&str| {
                let word = word.replace("/var/lib/dfs-sim/", &folder);
                word.replace("/backup/", &format!("{folder}backup/"))
            };
            let words: Vec<String> = words[1..].iter().map(here).collect();
            Answer::of(Command::new(&words[0]).args(&words[1..])).ended(0);
        }
        ["dfs-sim", ..] => return Some(cluster.run(&words[1..]).ended(0)),
        _ => panic!("the test does not know how to type {command:?}"),
    }
    None
}

#[test]
fn the_commands_of_the_page_back_up_and_restore() {
    let flags = ["--replication", "2"];
    let mut cluster = Cluster::start(2, &flags);
    let bytes = cluster.make_file("a", 100_000);
    cluster.run(&["put", "a", "--name", "before"]).ended(0);
    fs::create_dir(cluster.path("backup")).expect("a folder");
    for command in commands("**Backup.**") {
        type_command(&mut cluster, &flags, &command);
    }
    cluster.wait_until_online(2);
    cluster.run(&["put", "a", "--name", "after"]).ended(0);
    let mut status = None;
    for command in commands("**Restore.**") {
        status = type_command(&mut cluster, &flags, &command).or(status);
    }
    let said = status.expect("it asks for the status").text();
    cluster.wait_until("the older copy is told", |status| !status["makes_no_changes"].is_null());
    cluster.run(&["put", "a", "--name", "no", "--retry-for", "1s"]).ended(1);
    assert!(said.contains("health"), "{said}");
    for command in commands("The newer folder is lost") {
        type_command(&mut cluster, &flags, &command);
    }
    cluster.wait_until_online(2);
    cluster.run(&["put", "a", "--name", "later"]).ended(0);
    for name in ["before", "later"] {
        cluster.run(&["get", name, "--out", "got", "--force"]).ended(0);
        assert!(cluster.read_file("got") == bytes, "{name}");
    }
    assert_eq!(cluster.run(&["ls"]).ended(0).text(), "before\nlater\n");
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
