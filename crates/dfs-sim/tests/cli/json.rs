//! The answers for machines.

use crate::harness::{Answer, Cluster, program};
use crate::unit::has_one_unit;

#[test]
fn every_answer_in_json_has_its_version_and_sizes_in_bytes() {
    let cluster = Cluster::start(3, &["--replication", "2", "--chunk-size", "64KiB"]);
    cluster.make_file("a", 200_000);
    let put = cluster.run(&["put", "a", "--name", "d/a", "--json"]).ended(0).json();
    let get = cluster.run(&["get", "d/a", "--out", "b", "--json"]).ended(0).json();
    for (answer, command) in [(&put, "put"), (&get, "get")] {
        assert_eq!(answer["schema_version"], 3);
        assert_eq!(answer["command"], command);
        let file = &answer["files"][0];
        assert_eq!(file["name"], "d/a");
        assert_eq!(file["logical_bytes"], 200_000);
        assert!(file["raw_bytes"].as_u64() > file["stored_bytes"].as_u64());
        assert_eq!(file["policy"]["replication"], 2);
        assert_eq!(file["policy"]["chunk_size_bytes"], 65_536);
        let created = file["created"].as_str().expect("a time");
        assert!(created.ends_with('Z') && created.contains('T'), "{created}");
    }
    assert_eq!(get["files"][0]["chunks_verified"], 4);

    let ls = cluster.run(&["ls", "--json"]).ended(0).json();
    assert_eq!(ls["entries"][0]["kind"], "folder");
    assert_eq!(ls["entries"][0]["name"], "d/");
    assert_eq!(ls["entries"][0]["logical_bytes"], 200_000);
    let ls = cluster.run(&["ls", "d", "--json"]).ended(0).json();
    assert_eq!(ls["entries"][0]["name"], "d/a");

    let stat = cluster.run(&["stat", "d/a", "--chunks", "--json"]).ended(0).json();
    let stripes = stat["stripes"].as_array().expect("a list");
    assert_eq!(stripes.len(), 4);
    let chunk = &stripes[0]["chunks"][0];
    assert_eq!(chunk["role"], "data");
    assert_eq!(chunk["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(chunk["copies"].as_array().map(Vec::len), Some(2));
    assert_eq!(chunk["copies"][0]["copy_state"], "held");

    let du = cluster.run(&["du", "d", "--json"]).ended(0).json();
    assert_eq!(du["paths"][0]["usage"]["files"], 1);
    let status = cluster.status();
    assert_eq!(status["schema_version"], 3);
    assert_eq!(status["usage"]["logical_bytes"], 200_000);
    assert_eq!(status["promise"]["nodes_lost_max"], 1);
    assert_eq!(status["health"], "ok");
    let nodes = cluster.run(&["node", "ls", "--json"]).ended(0).json();
    assert_eq!(nodes["nodes"].as_array().map(Vec::len), Some(3));
    assert_eq!(nodes["nodes"][0]["id"], "n1");

    let moved = cluster.run(&["mv", "d/a", "d/b", "--json"]).ended(0).json();
    assert_eq!(moved["to"], "d/b");
    let dry = cluster.run(&["rm", "-r", "d", "--json"]).ended(0).json();
    assert_eq!(dry["is_dry_run"], true);
    assert_eq!(dry["results"][0]["files"], 1);
    let gone = cluster.run(&["rm", "d/b", "--json"]).ended(0).json();
    assert_eq!(gone["is_dry_run"], false);
    let error = cluster.run(&["stat", "d/b", "--json"]).ended(5).json();
    assert_eq!(error["schema_version"], 3);
    assert_eq!(error["error"]["kind"], "not_found");
}

#[test]
fn sizes_are_in_bytes_and_durations_in_ms_in_the_answer_of_every_verb() {
    let cluster = Cluster::start(3, &["--replication", "2", "--chunk-size", "64KiB"]);
    cluster.make_file("a", 200_000);
    let answers = [
        &["put", "a", "--name", "d/a"][..],
        &["put", "a", "a", "--name", "e/", "--force"],
        &["get", "d/a", "--out", "b"],
        &["get", "--recursive", "d", "--out", "c"],
        &["ls"],
        &["ls", "--recursive", "d", "none"],
        &["stat", "d/a", "--chunks"],
        &["du", "d"],
        &["status"],
        &["node", "ls"],
        &["fsck", "--list-unknown"],
        &["mv", "d/a", "d/b"],
        &["rm", "d/b", "none"],
        &["rm", "--recursive", "d"],
        &["stat", "none"],
        &["catalog", "rescue", "/nowhere/at/all"],
        &["sim", "list"],
        &["sim", "show", "node-loss"],
    ];
    for line in answers {
        let answer = cluster.run(&[line, &["--json"]].concat()).json();
        assert_eq!(answer["schema_version"], 3, "{line:?}");
        assert!(answer["command"].as_str().is_some_and(|verb| line.join(" ").starts_with(verb)));
        has_one_unit(&answer);
    }
    cluster.run(&["put", "a"]).ended(0);
    let cat = cluster.run(&["cat", "a", "--json"]).ended(0);
    has_one_unit(&serde_json::from_str(&cat.stderr).expect("JSON beside the bytes"));
    let shown = Answer::of(program().args(["sim", "show", "node-loss", "--json"])).ended(0).json();
    assert_eq!(shown["scenario"]["name"], "node-loss");
    assert!(shown["scenario"]["toml"].as_str().is_some_and(|text| text.contains("[cluster]")));
}

#[test]
fn people_get_one_screen_and_machines_nothing_beside_the_json() {
    let cluster = Cluster::start(3, &["--replication", "2", "--parity", "xor"]);
    cluster.make_file("a", 300_000);
    let put = cluster.run(&["put", "a"]).ended(0);
    assert!(put.text().starts_with("stored a: 293 KiB in "), "{}", put.text());
    assert!(put.stderr.is_empty(), "{}", put.stderr);
    let screen = cluster.run(&["status"]).ended(0).text();
    for word in ["health   all well", "promise", "R=2 xor lz4", "logical", "n3", "online"] {
        assert!(screen.contains(word), "{word:?} is not in\n{screen}");
    }
    assert!(screen.lines().count() <= 24, "one screen:\n{screen}");
    let long = cluster.run(&["ls", "-l"]).ended(0).text();
    assert!(long.contains("R=2 xor:2 lz4"), "{long}");
    let stat = cluster.run(&["stat", "a", "--chunks"]).ended(0).text();
    assert!(stat.contains("parity 0"), "{stat}");
    let quiet = cluster.run(&["put", "a", "--force", "-q"]).ended(0);
    assert_eq!((quiet.text().as_str(), quiet.stderr.as_str()), ("", ""));
}
