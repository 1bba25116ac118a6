//! Nodes that their cluster refuses: they say why in one line, and end.

use rustix::process::Signal;

use crate::harness::{Cluster, Server, copy_folder, program};

/// Starts a node process that asks to join `cluster`.
fn start(cluster: &Cluster, id: &str, data: std::path::PathBuf) -> Server {
    let mut command = program();
    command.args(["node", "--id", id, "--listen", "127.0.0.1:0", "--join", cluster.address()]);
    Server::start(command.arg("--data").arg(data))
}

#[test]
fn a_refused_node_process_says_why_and_ends() {
    let mut cluster = Cluster::start(3, &["--replication", "2"]);
    cluster.nodes[2].end_by(Signal::TERM);
    let mut other = Cluster::start(1, &["--replication", "1"]);
    other.nodes[0].end_by(Signal::TERM);
    copy_folder(&cluster.path("n1"), &cluster.path("copy"));
    let mut refused = [
        (start(&cluster, "n1", other.path("n1")), "belongs to cluster"),
        (start(&cluster, "n1", cluster.path("copy")), "two nodes call themselves n1"),
        (start(&cluster, "n3", cluster.path("empty")), "--replace"),
    ];
    for (server, reason) in &mut refused {
        let status = server.ends();
        let said = server.said();
        assert_eq!(status.code(), Some(1), "{said}");
        let last = said.lines().last().unwrap_or_default();
        let is_plain = last.starts_with("dfs-sim: node n") && last.contains("is refused by the");
        assert!(is_plain && last.contains(*reason), "{reason}: {said}");
    }
    let status = cluster.status();
    let nodes = status["nodes"].as_array().expect("a list");
    assert_eq!(nodes.iter().filter(|node| node["state"] == "online").count(), 2, "{status}");
}
