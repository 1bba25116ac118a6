//! Processes that are killed and come back.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::Cluster;

#[test]
fn no_acknowledged_file_is_lost_when_the_coordinator_is_killed_during_puts() {
    let mut cluster = Cluster::start(3, &["--replication", "2", "--chunk-size", "64KiB"]);
    let bytes = cluster.make_file("a", 150_000);
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let names: Vec<String> = (0..12).map(|number| format!("r{round}/f{number}")).collect();
        let putters: Vec<_> = names
            .iter()
            .map(|name| {
                let mut command = cluster.client(&["put", "a", "--name", name]);
                let name = name.clone();
                thread::spawn(move || (name, command.output().expect("it starts")))
            })
            .collect();
        thread::park_timeout(Duration::from_millis(40 * (round + 1)));
        cluster.coordinator().kill();
        cluster.start_coordinator();
        for putter in putters {
            let (name, output) = putter.join().expect("no panic");
            if output.status.success() {
                acknowledged.push(name);
            } else {
                assert_eq!(output.status.code(), Some(3), "{output:?}");
            }
        }
        cluster.wait_until_online(3);
    }
    assert!(!acknowledged.is_empty(), "some puts must have come through");
    for name in &acknowledged {
        cluster.run(&["get", name, "--out", "b", "--force"]).ended(0);
        assert!(cluster.read_file("b") == bytes, "{name}");
    }
    let listed = cluster.run(&["ls", "-r"]).ended(0).text();
    let listed: Vec<&str> = listed.lines().collect();
    assert!(acknowledged.iter().all(|name| listed.contains(&name.as_str())));
}

#[test]
fn a_cluster_that_was_killed_whole_comes_back_whole() {
    let mut cluster = Cluster::start(3, &["--replication", "2", "--parity", "xor"]);
    let bytes = cluster.make_file("a", 2_000_000);
    cluster.run(&["put", "a"]).ended(0);
    cluster.run(&["put", "a", "--name", "small/b"]).ended(0);
    let epoch = cluster.status()["epoch"].as_u64();
    cluster.coordinator().kill();
    for node in &mut cluster.nodes {
        node.kill();
    }
    for number in 1..=3 {
        cluster.restart_node(number);
    }
    cluster.start_coordinator();
    cluster.wait_until_online(3);
    for name in ["a", "small/b"] {
        cluster.run(&["get", name, "--out", "b", "--force"]).ended(0);
        assert!(cluster.read_file("b") == bytes, "{name}");
    }
    cluster.wait_until("all copies are known", |status| status["health"] == "ok");
    assert!(cluster.status()["epoch"].as_u64() > epoch);
}

#[test]
fn a_node_killed_in_the_middle_of_a_put_does_not_fail_it() {
    let mut cluster = Cluster::start(4, &["--replication", "2", "--chunk-size", "256KiB"]);
    let bytes = cluster.make_file("a", 24 << 20);
    let put = cluster.client(&["put", "a", "--json"]).stdout(std::process::Stdio::piped()).spawn();
    let put = put.expect("it starts");
    thread::park_timeout(Duration::from_millis(150));
    cluster.nodes[1].kill();
    let output = put.wait_with_output().expect("it was started here");
    assert!(output.status.success(), "{output:?}");
    cluster.run(&["get", "a", "--out", "b"]).ended(0);
    assert!(cluster.read_file("b") == bytes);
}

#[test]
fn a_new_policy_holds_for_new_files_and_the_start_says_so() {
    let mut cluster = Cluster::start(3, &["--replication", "2"]);
    cluster.make_file("a", 1000);
    cluster.run(&["put", "a", "--name", "old"]).ended(0);
    cluster.coordinator().kill();
    cluster.set_flags(&["--replication", "3"]);
    cluster.start_coordinator();
    cluster.wait_until_online(3);
    cluster.coordinator().says("policy for new files: R=3");
    cluster.run(&["put", "a", "--name", "new"]).ended(0);
    let replication = |name: &str| {
        cluster.run(&["stat", name, "--json"]).ended(0).json()["file"]["policy"]["replication"]
            .as_u64()
    };
    assert_eq!((replication("old"), replication("new")), (Some(2), Some(3)));
}

/// The steps of "Upgrade" in docs/operations.md, with the same program for the
/// old one and the new one.
#[test]
fn an_upgrade_step_by_step_serves_all_the_time_and_repairs_nothing() {
    let mut cluster = Cluster::start(3, &["--replication", "2"]);
    let bytes = cluster.make_file("a", 400_000);
    cluster.run(&["put", "a", "--name", "before"]).ended(0);
    cluster.run(&["status", "--exit-code"]).ended(0);
    let is_well = |status: &serde_json::Value| status["exit_code"] == 0;
    cluster.coordinator().end_by(Signal::TERM);
    cluster.start_coordinator();
    cluster.wait_until("all is well with the coordinator's new program", is_well);
    for number in 1..=3 {
        cluster.nodes[number - 1].end_by(Signal::TERM);
        cluster.run(&["get", "before", "--out", "got", "--force"]).ended(0);
        assert!(cluster.read_file("got") == bytes, "without n{number}");
        cluster.run(&["put", "a", "--name", &format!("without-n{number}")]).ended(0);
        cluster.restart_node(number);
        cluster.wait_until(&format!("all is well with the new program of n{number}"), is_well);
    }
    let repair = &cluster.status()["repair"];
    assert_eq!((&repair["copies_done"], &repair["copies_moved"]), (&0.into(), &0.into()));
}
