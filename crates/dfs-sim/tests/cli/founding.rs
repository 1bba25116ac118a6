//! The founding example, and what it promises when a node goes.

use rustix::process::Signal;

use crate::harness::Cluster;

/// Files that show both ways: copies, and parity alone.
fn founding_cluster() -> (Cluster, Vec<u8>) {
    let flags = ["--replication", "2", "--parity", "xor", "--chunk-size", "256KiB"];
    let cluster = Cluster::start(3, &flags);
    let bytes = cluster.make_file("large.iso", 3_000_001);
    cluster.run(&["put", "./large.iso", "--name", "iso/ubuntu.iso"]).ended(0);
    cluster.run(&["put", "./large.iso", "--name", "iso/coded.iso", "--replication", "1"]).ended(0);
    let answer = cluster.run(&["get", "iso/ubuntu.iso", "--out", "./restore.iso"]).ended(0);
    assert!(!answer.text().contains("parity"), "{}", answer.text());
    assert!(cluster.read_file("restore.iso") == bytes);
    (cluster, bytes)
}

/// Gets both files with a node gone; each must come whole, by its own way.
fn both_files_come_back(cluster: &Cluster, bytes: &[u8]) {
    let get = |name: &str, out: &str| {
        let answer = cluster.run(&["get", name, "--out", out, "--force", "--json"]).ended(0).json();
        assert!(cluster.read_file(out) == bytes, "{name} is not as it was put");
        answer["files"][0].clone()
    };
    let copied = get("iso/ubuntu.iso", "restore.iso");
    assert_eq!(copied["chunks_from_parity"], 0, "every chunk has another copy: {copied}");
    let coded = get("iso/coded.iso", "restore-coded.iso");
    assert!(coded["chunks_from_parity"].as_u64() > Some(0), "{coded}");
    let note = &coded["notes"][0];
    assert_eq!(note["from"], "parity");
    assert!(!note["why"].as_str().expect("a reason").is_empty());
}

#[test]
fn the_founding_example_survives_kill_9() {
    let (mut cluster, bytes) = founding_cluster();
    cluster.nodes[0].kill();
    let answer =
        cluster.run(&["get", "iso/ubuntu.iso", "--out", "./restore.iso", "--force"]).ended(0);
    assert!(cluster.read_file("restore.iso") == bytes);
    let text = answer.text();
    assert!(text.contains("from another copy"), "{text}");
    assert!(text.contains("instead of n1"), "{text}");
    let answer = cluster.run(&["get", "iso/coded.iso", "--out", "./coded.iso"]).ended(0);
    assert!(answer.text().contains("rebuilt from parity"), "{}", answer.text());
    both_files_come_back(&cluster, &bytes);
}

#[test]
fn the_founding_example_survives_ctrl_c() {
    let (mut cluster, bytes) = founding_cluster();
    let status = cluster.nodes[0].end_by(Signal::INT);
    assert_eq!(status.code(), Some(130), "{}", cluster.nodes[0].said());
    cluster.wait_until("n1 is absent", |status| status["nodes"][0]["state"] == "absent");
    both_files_come_back(&cluster, &bytes);
}

#[test]
fn what_was_lost_is_made_anew_and_the_returned_node_fits_in() {
    let flags = ["--replication", "2", "--repair-after", "1s", "--chunk-size", "128KiB"];
    let mut cluster = Cluster::start(4, &flags);
    let bytes = cluster.make_file("file", 1_500_000);
    cluster.run(&["put", "file"]).ended(0);
    cluster.nodes[0].kill();
    let is_whole = |status: &serde_json::Value| {
        let stripes = &status["stripes"];
        ["degraded", "at_risk", "unreachable", "lost", "unknown"]
            .iter()
            .all(|kind| stripes[*kind] == 0)
    };
    cluster.wait_until("every copy is there again", |status| {
        is_whole(status) && status["repair"]["copies_done"].as_u64() > Some(0)
    });
    // Now another may go.
    cluster.nodes[1].kill();
    cluster.run(&["get", "file", "--out", "again"]).ended(0);
    assert!(cluster.read_file("again") == bytes);
    cluster.restart_node(1);
    cluster.restart_node(2);
    cluster.wait_until_online(4);
    cluster.wait_until("all is well", is_whole);
    cluster.run(&["get", "file", "--out", "again", "--force"]).ended(0);
    assert!(cluster.read_file("again") == bytes);
}

#[test]
fn a_node_that_joins_later_takes_chunks() {
    let cluster = Cluster::start(1, &["--replication", "1"]);
    let join = cluster.address().to_owned();
    let data = cluster.path("n9");
    let mut command = crate::harness::program();
    command.args(["node", "--id", "n9", "--listen", "127.0.0.1:0", "--join", &join, "--data"]);
    let _joined = crate::harness::Server::start(command.arg(data));
    cluster.wait_until_online(2);
    cluster.make_file("file", 100_000);
    cluster.run(&["put", "file", "--replication", "2"]).ended(0);
    let chunks = cluster.run(&["stat", "file", "--chunks", "--json"]).ended(0).json();
    let copies = chunks["stripes"][0]["chunks"][0]["copies"].as_array().expect("a list").clone();
    let mut nodes: Vec<&str> = copies.iter().filter_map(|copy| copy["node"].as_str()).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["n1", "n9"]);
}
