//! Pipes, ranges and `cat`.

use std::io::{Read, Write};
use std::process::Stdio;

use crate::harness::{Cluster, material};

#[test]
fn what_comes_in_by_a_pipe_goes_out_by_a_pipe() {
    let cluster = Cluster::start(3, &["--replication", "1", "--parity", "xor"]);
    let bytes = material(3_000_000);
    cluster.run_with(&["put", "-", "--name", "p/piped"], &bytes).ended(0);
    let got = cluster.run(&["get", "p/piped", "--out", "-"]).ended(0);
    assert!(got.stdout == bytes);
    assert!(got.stderr.contains("fetched p/piped"), "the summary is beside: {}", got.stderr);
    let cat = cluster.run(&["cat", "p/piped"]).ended(0);
    assert!(cat.stdout == bytes && cat.stderr.is_empty(), "{}", cat.stderr);
    cluster.run_with(&["put", "-", "--name", "empty"], b"").ended(0);
    assert!(cluster.run(&["cat", "empty"]).ended(0).stdout.is_empty());
    cluster.run(&["get", "empty", "--out", "e"]).ended(0);
    assert!(cluster.read_file("e").is_empty());
}

#[test]
fn a_range_gives_its_bytes_both_ends_included() {
    let cluster = Cluster::start(2, &["--replication", "2", "--chunk-size", "64KiB"]);
    let bytes = cluster.make_file("a", 500_000);
    cluster.run(&["put", "a"]).ended(0);
    for (range, expected) in [
        ("0-0", &bytes[..1]),
        ("65535-65536", &bytes[65_535..=65_536]),
        ("100000-399999", &bytes[100_000..400_000]),
        ("499990-", &bytes[499_990..]),
        ("499990-600000", &bytes[499_990..]),
    ] {
        let got = cluster.run(&["cat", "a", "--range", range]).ended(0).stdout;
        assert!(got == expected, "{range}");
        cluster.run(&["get", "a", "--range", range, "--out", "part", "--force"]).ended(0);
        assert!(cluster.read_file("part") == expected, "{range}");
    }
}

#[test]
fn a_range_beyond_the_end_is_refused_and_leaves_nothing() {
    let cluster = Cluster::start(1, &["--replication", "1"]);
    cluster.make_file("a", 300);
    cluster.make_file("empty", 0);
    cluster.run(&["put", "a", "empty"]).ended(0);
    for (name, range) in [("a", "300-"), ("a", "300-400"), ("a", "9999999-"), ("empty", "1-")] {
        let refused = cluster.run(&["cat", name, "--range", range]).ended(2);
        refused.complained(&["beyond the end", "bytes"]);
        let to = ["get", name, "--range", range, "--out", "part"];
        let refused = cluster.run(&to).ended(2);
        assert!(!refused.text().contains("SHA-256"), "{}", refused.text());
        assert!(!cluster.path("part").exists(), "nothing is left at --out");
    }
    assert!(cluster.run(&["cat", "empty", "--range", "0-"]).ended(0).stdout.is_empty());
    // What an empty file promises is about no node.
    let put = cluster.run(&["put", "empty", "--force"]).ended(0).text();
    let stat = cluster.run(&["stat", "empty"]).ended(0).text();
    for said in [put, stat] {
        assert!(said.contains("an empty file lives in the catalog"), "{said}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let cluster = Cluster::start(1, &["--replication", "1"]);
    cluster.make_file("a", 8 << 20);
    cluster.run(&["put", "a"]).ended(0);
    let mut command = cluster.client(&["cat", "a"]);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut first = [0; 10];
    child.stdout.take().expect("a pipe").read_exact(&mut first).expect("ten bytes");
    let output = child.wait_with_output().expect("it was started here");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_short_stream_needs_no_more_room_than_it_holds() {
    let small = ["--capacity", "18MiB"];
    let cluster = Cluster::start_with(2, &["--replication", "2"], &small);
    cluster.run_with(&["put", "-", "--name", "a"], b"x\n").ended(0);
    let bytes = material(5_000_000);
    cluster.run_with(&["put", "-", "--name", "b"], &bytes).ended(0);
    assert!(cluster.run(&["cat", "b"]).ended(0).stdout == bytes);
    let more = material(40_000_000);
    cluster.run_with(&["put", "-", "--name", "c"], &more).ended(9);
    cluster.run(&["stat", "c"]).ended(5);
}

#[test]
fn of_two_puts_that_replace_a_file_the_one_that_began_later_stays() {
    let cluster = Cluster::start(1, &["--replication", "1", "--chunk-size", "64KiB"]);
    let newer = cluster.make_file("newer", 10_000);
    let mut command = cluster.client(&["put", "-", "--name", "a", "--force"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut slow = command.spawn().expect("it starts");
    let mut stdin = slow.stdin.take().expect("stdin was asked for");
    // Once this much is taken, the upload has begun.
    stdin.write_all(&material(8 << 20)).expect("it reads");
    cluster.run(&["put", "newer", "--name", "a", "--force"]).ended(0);
    drop(stdin);
    let output = slow.wait_with_output().expect("it was started here");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("began later") && said.contains("put it again"), "{said}");
    assert!(cluster.run(&["cat", "a"]).ended(0).stdout == newer);
}
