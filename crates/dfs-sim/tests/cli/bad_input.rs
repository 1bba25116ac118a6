//! Bad input: a clear error, no panic, nothing lost, no half file.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::Signal;

use crate::harness::{Answer, Cluster, Server, program, send};

#[test]
fn garbage_on_the_ports_hurts_nobody() {
    let mut cluster = Cluster::start(2, &["--replication", "2"]);
    let bytes = cluster.make_file("a", 200_000);
    cluster.run(&["put", "a"]).ended(0);
    let ports = [cluster.nodes[0].address.clone(), cluster.address().to_owned()];
    for address in &ports {
        for garbage in [
            &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff",
            &[0xA5; 4096],
            b"",
        ] {
            let mut socket = TcpStream::connect(address).expect("it listens");
            // The other side may close at any byte.
            drop(socket.write_all(garbage));
            drop(socket.shutdown(std::net::Shutdown::Write));
            drop(socket.take(1 << 16).read_to_end(&mut Vec::new()));
        }
    }
    cluster.run(&["get", "a", "--out", "b"]).ended(0);
    assert!(cluster.read_file("b") == bytes);
    assert!(!cluster.nodes[0].said().contains("panicked"));
    assert!(!cluster.coordinator().said().contains("panicked"));
}

#[test]
fn damaged_chunk_files_are_never_handed_out_and_the_rest_serves() {
    let mut cluster = Cluster::start(3, &["--replication", "2", "--chunk-size", "1280KiB"]);
    let bytes = cluster.make_file("a", 4_000_000);
    cluster.run(&["put", "a"]).ended(0);
    for (number, path) in cluster.stored_files("n1").into_iter().enumerate() {
        let mut stored = fs::read(&path).expect("a stored file");
        if number % 2 == 0 {
            stored.truncate(stored.len() / 2);
        } else {
            let middle = stored.len() / 2;
            stored[middle] ^= 0x10;
        }
        fs::write(&path, stored).expect("damage");
    }
    cluster.run(&["get", "a", "--out", "b"]).ended(0);
    assert!(cluster.read_file("b") == bytes);
    // A start looks at every file, and keeps the damaged ones aside.
    cluster.nodes[0].kill();
    cluster.restart_node(1);
    cluster.wait_until_online(3);
    cluster.run(&["get", "a", "--out", "b", "--force"]).ended(0);
    assert!(cluster.read_file("b") == bytes);
    cluster.wait_until("the damaged copies are made anew", |status| {
        let stripes = &status["stripes"];
        stripes["full"].as_u64() > Some(0)
            && ["degraded", "at_risk", "unreachable", "lost", "unknown"]
                .iter()
                .all(|kind| stripes[*kind] == 0)
    });
}

#[test]
fn a_get_that_fails_or_is_stopped_leaves_no_half_file() {
    let mut cluster = Cluster::start(1, &["--replication", "1", "--chunk-size", "1MiB"]);
    cluster.make_file("a", 20 << 20);
    cluster.run(&["put", "a"]).ended(0);
    fs::create_dir(cluster.path("out")).expect("a folder");
    let child = cluster.client(&["get", "a", "--out", "out/a"]).spawn().expect("it starts");
    send(&child, Signal::INT);
    let ended = { child }.wait().expect("it was started here").code();
    let left: Vec<String> = fs::read_dir(cluster.path("out"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    // The signal may come before the handlers stand, or after the file does.
    if ended == Some(0) {
        assert_eq!(left, ["a"]);
        fs::remove_file(cluster.path("out/a")).expect("it is there");
    } else {
        assert!(left.is_empty(), "{left:?}");
    }
    cluster.nodes[0].kill();
    cluster.run(&["get", "a", "--out", "out/a", "--retry-for", "1s"]).ended(3);
    assert_eq!(fs::read_dir(cluster.path("out")).expect("a folder").count(), 0);
}

#[test]
fn names_that_break_a_rule_are_refused_by_their_rule() {
    let cluster = Cluster::start(1, &["--replication", "1"]);
    cluster.make_file("a", 10);
    let long = "x".repeat(1025);
    for (name, rule) in [
        ("/a", "start with '/'"),
        ("a//b", "empty segment"),
        ("a/../b", "'..'"),
        ("a\\b", "backslash"),
        ("a\tb", "control character"),
        (long.as_str(), "1024"),
    ] {
        cluster.run(&["put", "a", "--name", name]).ended(2).complained(&[rule]);
    }
    assert_eq!(cluster.run(&["ls"]).ended(0).text(), "");
}

#[test]
fn a_node_of_another_cluster_is_refused_and_so_is_a_swapped_folder() {
    let cluster = Cluster::start(1, &["--replication", "1"]);
    let stranger = cluster.nodes[0].address.clone();
    let mut command = program();
    command.args(["coord", "--listen", "127.0.0.1:0", "--replication", "1", "--nodes", &stranger]);
    let other = Server::start(command.arg("--data").arg(cluster.path("other-coord")));
    other.says("cluster");
    let answer = Answer::of(program().args(["status", "--json", "--coord", &other.address]));
    let status = answer.ended(0).json();
    let online = status["nodes"].as_array().expect("a list").iter();
    assert_eq!(online.filter(|node| node["state"] == "online").count(), 0, "{status}");

    let mut command = program();
    command.args(["node", "--id", "n2", "--listen", "127.0.0.1:0", "--data"]);
    drop(Server::start(command.arg(cluster.path("n2"))));
    let mut swapped = program();
    swapped.args(["node", "--id", "n3", "--listen", "127.0.0.1:0", "--data"]);
    Answer::of(swapped.arg(cluster.path("n2"))).ended(1).complained(&["belongs to node n2"]);
}

#[test]
fn a_damaged_catalog_is_refused_with_the_way_out() {
    let mut cluster = Cluster::start(1, &["--replication", "1"]);
    cluster.make_file("a", 10);
    cluster.run(&["put", "a"]).ended(0);
    cluster.coordinator().kill();
    let ledger = cluster.path("coord/catalog.redb");
    let whole = fs::read(&ledger).expect("the catalog");
    fs::write(&ledger, &whole[..whole.len() / 3]).expect("damage");
    let mut command = program();
    command.args(["coord", "--listen", "127.0.0.1:0", "--replication", "1", "--data"]);
    command.arg(cluster.path("coord"));
    Answer::of(&mut command).ended(8).complained(&["catalog.redb", "damaged", "backup"]);
    fs::write(&ledger, whole).expect("the backup");
    cluster.start_coordinator();
    cluster.wait_until_online(1);
    cluster.run(&["get", "a", "--out", "b"]).ended(0);
}
