//! Each exit code of the contract that can be reached. (4, not authorised,
//! cannot: there is no authorisation yet.)

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::process::Stdio;

use rustix::process::Signal;

use crate::harness::{Answer, Cluster, Server, program, send};

#[test]
fn code_0_is_well_and_help_too() {
    Answer::of(program().arg("--help")).ended(0);
    Answer::of(program().arg("--version")).ended(0);
    let cluster = Cluster::start(1, &["--replication", "1"]);
    assert_eq!(cluster.run(&["ls"]).ended(0).text(), "");
    cluster.run(&["status", "--exit-code"]).ended(0);
}

#[test]
fn code_1_is_a_port_that_is_taken_and_a_folder_in_use() {
    let cluster = Cluster::start(1, &["--replication", "1"]);
    let taken = cluster.nodes[0].address.clone();
    let other = cluster.path("other");
    let listen = ["node", "--id", "n2", "--listen", &taken, "--data"];
    Answer::of(program().args(listen).arg(other)).ended(1).complained(&["cannot listen", &taken]);
    let folder = cluster.path("n1");
    let again = ["node", "--id", "n1", "--listen", "127.0.0.1:0", "--data"];
    Answer::of(program().args(again).arg(&folder)).ended(1).complained(&["n1"]);
}

#[test]
fn code_2_is_a_wrong_command_line_or_name() {
    for line in [
        "frobnicate",
        "put",
        "get",
        "get a --range 9-3",
        "put a --replication many",
        "put a --parity rs:40+2",
        "put a --force --if-absent",
        "coord --parity xor:0",
        "coord --chunk-size 1000",
        "coord --replication 0",
        "node --id n1 --listen nowhere",
        "node",
        "node --id ../n1",
        "ls --coord 4000",
        "stat /absolute",
        "stat a/../b",
        "put -",
    ] {
        let answer = Answer::of(program().args(line.split(' ')));
        assert_eq!(answer.code, Some(2), "{line}: {}", answer.stderr);
        assert!(!answer.stderr.is_empty(), "{line}");
    }
}

#[test]
fn code_3_is_a_coordinator_that_does_not_answer() {
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number");
    let address = free.to_string();
    let line = ["ls", "--coord", &address, "--retry-for", "200ms"];
    Answer::of(program().args(line)).ended(3).complained(&[&address]);
    let mut line = line.to_vec();
    line.push("--json");
    let error = Answer::of(program().args(&line)).ended(3).json();
    assert_eq!(error["error"]["kind"], "unavailable");
    assert_eq!(error["error"]["exit_code"], 3);
}

#[test]
fn codes_5_and_6_are_names_that_are_not_there_and_names_that_are_taken() {
    let cluster = Cluster::start(1, &["--replication", "1"]);
    for line in ["get no", "cat no", "ls no", "stat no", "rm no", "mv no a", "du no", "rm -r no"] {
        let line: Vec<&str> = line.split(' ').collect();
        cluster.run(&line).ended(5);
    }
    cluster.run(&["put", "no-such-file"]).ended(5).complained(&["no-such-file"]);
    cluster.make_file("a", 1000);
    cluster.run(&["put", "a"]).ended(0);
    cluster.run(&["put", "a"]).ended(6).complained(&["a"]);
    cluster.run(&["put", "a", "--if-absent"]).ended(6);
    cluster.run(&["put", "a", "--force"]).ended(0);
    cluster.run(&["put", "a", "--name", "b"]).ended(0);
    cluster.run(&["mv", "a", "b"]).ended(6);
    cluster.run(&["mv", "a", "b", "--force"]).ended(0);
    cluster.run(&["get", "b", "--out", "a"]).ended(6).complained(&["--force"]);
}

#[test]
fn code_7_is_a_folder_that_a_later_version_wrote() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("n1");
    let line = ["node", "--id", "n1", "--listen", "127.0.0.1:0", "--data"];
    drop(Server::start(program().args(line).arg(&data)));
    let identity = data.join("identity");
    let text = fs::read_to_string(&identity).expect("an identity");
    let (_, rest) = text.split_once('\n').expect("lines");
    fs::write(&identity, format!("dfs-sim node identity 3\n{rest}")).expect("a newer one");
    Answer::of(program().args(line).arg(&data)).ended(7).complained(&["later"]);
}

#[test]
fn code_8_is_data_that_no_copy_and_no_parity_can_give() {
    let cluster = Cluster::start(1, &["--replication", "1", "--chunk-size", "2MiB"]);
    cluster.make_file("a", 1_500_000);
    cluster.run(&["put", "a"]).ended(0);
    let files = cluster.stored_files("n1");
    assert!(!files.is_empty(), "the node holds files");
    for path in files {
        let mut bytes = fs::read(&path).expect("a stored file");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).expect("damage");
    }
    cluster.run(&["get", "a", "--out", "b", "--retry-for", "2s"]).ended(8);
    assert!(!cluster.path("b").exists(), "no half file is left");
}

#[test]
fn code_9_is_too_few_nodes_or_too_little_space() {
    let mut cluster = Cluster::start(3, &["--replication", "2"]);
    cluster.make_file("a", 300_000);
    cluster
        .run(&["put", "a", "--parity", "rs:4+2", "--replication", "1"])
        .ended(9)
        .complained(&["rs:4+2 needs 6 nodes"]);
    cluster.run(&["put", "a", "--replication", "4"]).ended(9);
    cluster.nodes[2].end_by(Signal::TERM);
    cluster.wait_until("n3 is absent", |status| status["nodes"][2]["state"] == "absent");
    cluster.run(&["put", "a", "--replication", "3", "--strict"]).ended(9);
    let answer = cluster.run(&["put", "a", "--replication", "3", "--json"]).ended(0).json();
    assert_eq!(answer["files"][0]["is_degraded"], true, "{answer}");
    let refused = ["coord", "--nodes", "127.0.0.1:1,127.0.0.1:2", "--parity", "rs:4+2"];
    Answer::of(program().args(refused)).ended(9).complained(&["rs:4+2 needs 6 nodes"]);
}

#[test]
fn code_9_is_also_a_full_disk_and_a_delete_still_works_there() {
    let flags = ["--replication", "1", "--compression", "none", "--delete-grace", "0s"];
    let cluster = Cluster::start_with(1, &flags, &["--capacity", "16MiB"]);
    cluster.make_file("a", 6 << 20);
    cluster.make_file("b", 30 << 20);
    cluster.run(&["put", "a"]).ended(0);
    cluster.run(&["put", "b"]).ended(9);
    cluster.run(&["ls", "b"]).ended(5);
    cluster.run(&["rm", "a"]).ended(0);
    assert_eq!(cluster.run(&["ls"]).ended(0).text(), "");
}

#[test]
fn codes_10_and_11_say_how_much_is_missing() {
    let mut cluster = Cluster::start(3, &["--replication", "3"]);
    cluster.make_file("a", 300_000);
    cluster.run(&["put", "a"]).ended(0);
    cluster.run(&["status", "--exit-code"]).ended(0);
    cluster.nodes[0].end_by(Signal::TERM);
    cluster.wait_until("a copy is missing", |status| status["stripes"]["degraded"] == 1);
    cluster.run(&["status", "--exit-code"]).ended(10);
    cluster.run(&["status"]).ended(0);
    cluster.nodes[1].end_by(Signal::TERM);
    cluster.wait_until("one copy is left", |status| status["stripes"]["at_risk"] == 1);
    cluster.run(&["status", "--exit-code"]).ended(11);
}

#[test]
fn codes_130_and_143_are_the_signals_and_leave_nothing_behind() {
    let mut cluster = Cluster::start(1, &["--replication", "1"]);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut command = cluster.client(&["put", "-", "--name", "endless"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("stdin was asked for");
        // Once this much is taken, the program reads, and its handlers stand.
        stdin.write_all(&vec![7; 4 << 20]).expect("it reads");
        send(&child, signal);
        assert_eq!(child.wait().expect("it was started here").code(), Some(code));
        cluster.run(&["ls", "endless"]).ended(5);
    }
    let status = cluster.nodes[0].end_by(Signal::TERM);
    assert_eq!(status.code(), Some(143));
    let status = cluster.coordinator().end_by(Signal::INT);
    assert_eq!(status.code(), Some(130));
}
