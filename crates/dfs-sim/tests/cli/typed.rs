//! What people type: it works, or the answer is the right command.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use crate::harness::{Answer, Cluster, program};

#[test]
fn what_other_tools_take_is_taken_or_answered_with_the_right_command() {
    let cluster = Cluster::start(2, &["--replication", "2"]);
    let bytes = cluster.make_file("a", 5_000);
    let refused = cluster.run(&["put", "a", "iso/x"]).ended(2);
    refused.complained(&["dfs-sim put a --name iso/x"]);
    cluster.run(&["put", "a", "--name", "iso/x"]).ended(0);
    cluster.run(&["put", "a", "--name", "top"]).ended(0);
    cluster.run(&["get", "iso/x", "got"]).ended(0);
    assert!(cluster.read_file("got") == bytes);
    cluster.run(&["get", "iso/x", "got", "--out", "b"]).ended(2);

    let long = cluster.run(&["ls", "-l", "iso"]).ended(0).text();
    assert_eq!(cluster.run(&["ls", "-lh", "iso"]).ended(0).text(), long);
    assert!(cluster.run(&["ls", "--help"]).ended(0).text().contains("Usage: dfs-sim ls"));
    let both = cluster.run(&["ls", "iso", "top"]).ended(0).text();
    assert_eq!(both, "iso:\nx\n\ntop:\ntop\n");
    let some = cluster.run(&["ls", "iso", "none", "--json"]).ended(5).json();
    assert_eq!(some["paths"][0]["entries"][0]["name"], "iso/x");
    assert_eq!(some["paths"][1]["error"]["kind"], "not_found");

    for (line, way) in [
        (&["get", "iso"][..], "get --recursive"),
        (&["get", "iso", "--out", "-"], "get --recursive"),
        (&["cat", "iso"], "get --recursive"),
        (&["stat", "iso"], "ls"),
        (&["rm", "iso"], "add --recursive"),
    ] {
        cluster.run(line).ended(5).complained(&["\"iso\" is a folder", way]);
    }
    cluster.run(&["stat", "none"]).ended(5).complained(&["none"]);
    for everything in ["", "/", "//"] {
        for flags in [&[][..], &["--yes"], &["--yes", "--json"]] {
            let line = [&["rm", "-r", everything][..], flags].concat();
            cluster.run(&line).ended(2).complained(&["everything"]);
        }
    }
    cluster.run(&["rm", "-f", "none"]).ended(0);
    cluster.run(&["rm", "none"]).ended(5);
    cluster.run(&["rm", "-f", "none", "top"]).ended(0);
    assert_eq!(cluster.run(&["ls", "-r"]).ended(0).text(), "iso/x\n");

    // Before the verb it wins over the variable.
    let mut command = cluster.client(&["--coord", cluster.address(), "--retry-for", "5s", "ls"]);
    Answer::of(command.env("DFS_SIM_COORD", "127.0.0.1:1")).ended(0);
}

#[test]
fn numbers_that_are_none_are_answered_with_what_was_expected() {
    for (line, words) in [
        (&["put", "a", "--jobs", "x"][..], "a whole number from 1 to 64"),
        (&["put", "a", "--replication", "two"], "a whole number from 1 to 255"),
        (&["up", "--nodes", "0"], "a whole number from 1 to 64"),
        (&["up", "--port", "99999"], "a whole number from 0 to 65535"),
        (&["demo", "--nodes", "-"], "a whole number from 4 to 32"),
    ] {
        Answer::of(program().args(line)).ended(2).complained(&[words]);
    }
    let help = Answer::of(program().arg("--help")).ended(0).text();
    for words in ["completions", "man", "Global options:"] {
        assert!(help.contains(words), "{words} is not in\n{help}");
    }
}

#[test]
fn every_failure_in_json_names_its_command() {
    let cluster = Cluster::start(1, &["--replication", "1"]);
    cluster.make_file("a", 10);
    cluster.run(&["put", "a"]).ended(0);
    for (line, code, kind) in [
        (&["stat", "none", "--json"][..], 5, "not_found"),
        (&["put", "--json"], 2, "usage"),
        (&["get", "--json", "--no-such-flag", "a"], 2, "usage"),
        (&["put", "a", "--jobs", "x", "--json"], 2, "usage"),
        (&["cat", "none", "--json"], 5, "not_found"),
        (&["mv", "a", "--json"], 2, "usage"),
        (&["sim", "run", "--json", "--no-such-flag"], 2, "usage"),
        (&["--coord", "nonsense", "du", "--json"], 2, "usage"),
    ] {
        let answer = cluster.run(line).ended(code);
        let json = answer.json();
        assert_eq!(json["schema_version"], 3, "{line:?}");
        assert_eq!(json["error"]["kind"], kind, "{line:?}");
        assert_eq!(json["error"]["exit_code"], code, "{line:?}");
        let verb = line.iter().find(|word| **word != "--coord" && **word != "nonsense");
        assert_eq!(json["command"], **verb.expect("a verb"), "{line:?}");
        assert!(!answer.stderr.is_empty());
    }
    let cat = cluster.run(&["cat", "a", "--json"]).ended(0);
    assert!(cat.stdout == cluster.read_file("a"));
    let about: serde_json::Value = serde_json::from_str(&cat.stderr).expect("JSON beside it");
    assert_eq!(about["fetched_bytes"], 10);
}

#[test]
fn a_recursive_put_stores_what_it_can_and_lists_the_rest() {
    let cluster = Cluster::start(1, &["--replication", "1"]);
    for name in ["t/a", "t/b", "t/d/c"] {
        cluster.make_file(name, 100);
    }
    let odd = cluster.path("t").join(std::ffi::OsStr::from_bytes(b"odd\xff"));
    fs::write(&odd, "odd").expect("a file");
    fs::write(cluster.path("t/\u{1b}[31mred\n"), "red").expect("a file");
    std::os::unix::fs::symlink("a", cluster.path("t/link")).expect("a link");
    let answer = cluster.run(&["put", "-r", "t", "--json"]).ended(2);
    let json = answer.json();
    assert_eq!(json["files"].as_array().map(Vec::len), Some(3), "{json}");
    assert_eq!(json["failed"].as_array().map(Vec::len), Some(2), "{json}");
    assert_eq!(json["skipped"], serde_json::json!(["t/link"]));
    assert_eq!(cluster.run(&["ls", "-r"]).ended(0).text(), "t/a\nt/b\nt/d/c\n");
    assert!(!answer.stderr.contains('\u{1b}'), "no escape reaches the terminal");
    assert!(!answer.text().contains('\u{1b}'));
    let again = cluster.run(&["put", "-r", "t", "none", "--force", "--name", "u/"]);
    let text = again.text();
    assert!(text.contains("stored 3 files"), "{text}");
    assert!(text.contains("3 failed, 1 skipped"), "{text}");
    assert!(!text.contains('\u{1b}') && !again.stderr.contains('\u{1b}'), "{}", again.stderr);
    assert_eq!(cluster.run(&["ls", "-r", "u"]).ended(0).text().lines().count(), 3);
}

#[test]
fn no_path_or_name_looks_like_a_line_of_its_own() {
    let cluster = Cluster::start(1, &["--replication", "1"]);
    let forged = "a\nstored 7 files: all well\tyes\u{2028}b\u{202e}c";
    cluster.make_file(&format!("t/{forged}"), 10);
    cluster.make_file("plain", 10);
    let missing = format!("t/none{forged}");
    for line in [
        &["put", "-r", "t"][..],
        &["put", &missing, "--name", "z"],
        &["put", "plain", &missing],
        &["get", "plain", "--out", &missing],
        &["ls", &missing],
        &["stat", &missing],
        &["sim", "run", &missing],
    ] {
        let answer = cluster.run(line);
        for text in [&answer.text(), &answer.stderr] {
            assert!(!text.contains(['\t', '\u{2028}', '\u{202e}']), "{line:?}: {text:?}");
            let is_forged = text.lines().any(|line| line.starts_with("stored 7"));
            assert!(!is_forged, "{line:?}: {text:?}");
        }
    }
    // A name may hold what turns text, and is shown escaped.
    cluster.run(&["put", "plain", "--name", "x\u{202e}y"]).ended(0);
    for line in [&["ls"][..], &["ls", "-l"], &["stat", "x\u{202e}y"], &["ls", "--json"]] {
        let text = cluster.run(line).ended(0).text();
        assert!(text.contains("202e") && !text.contains('\u{202e}'), "{line:?}: {text:?}");
    }
}
