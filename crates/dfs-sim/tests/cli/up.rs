//! One process that is a whole cluster, and the demonstration.

use std::fs;

use rustix::process::Signal;

use crate::harness::{Answer, Server, material, program};

#[test]
fn a_cluster_in_one_process_keeps_its_files_and_its_policy() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("store");
    let bytes = material(700_000);
    fs::write(folder.path().join("a"), &bytes).expect("a file");
    let start = |flags: &[&str]| {
        let mut command = program();
        Server::start(command.args(["up", "--port", "0"]).args(flags).arg("--data").arg(&data))
    };
    let run = |server: &Server, line: &[&str]| {
        let mut command = program();
        command.env("DFS_SIM_COORD", &server.address).current_dir(folder.path());
        Answer::of(command.args(line)).ended(0)
    };
    let mut server = start(&["--nodes", "4", "--parity", "rs:2+1"]);
    server.says("4 nodes online");
    run(&server, &["put", "a"]);
    assert_eq!(server.end_by(Signal::INT).code(), Some(130));

    let mut server = start(&[]);
    server.says("4 nodes online");
    run(&server, &["get", "a", "--out", "b"]);
    assert!(fs::read(folder.path().join("b")).expect("the file") == bytes);
    run(&server, &["put", "a", "--name", "c"]);
    let stat = run(&server, &["stat", "c", "--json"]).json();
    assert_eq!(stat["file"]["policy"]["parity"], "rs:2+1", "the policy is kept");
    server.kill();

    let server = start(&["--nodes", "5"]);
    server.says("5 nodes online");
    run(&server, &["get", "c", "--out", "b", "--force"]);
    drop(server);
    let mut fewer = program();
    fewer.args(["up", "--port", "0", "--nodes", "2", "--data"]);
    Answer::of(fewer.arg(&data)).ended(2).complained(&["has 5 nodes"]);
}

#[test]
fn the_demonstration_tells_the_truth_and_cleans_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("material");
    fs::write(&file, material(60 << 20)).expect("a file");
    let mut command = program();
    command.env("TMPDIR", folder.path()).args(["demo", "--nodes", "4", "--json", "--file"]);
    let answer = Answer::of(command.arg(&file)).ended(0).json();
    let steps = answer["steps"].as_array().expect("a story");
    let text: Vec<&str> = steps.iter().filter_map(|step| step["text"].as_str()).collect();
    let text = text.join("\n");
    for words in ["kill -9 n", "from another copy", "rebuilt from parity", "repair:"] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
    let left: Vec<_> = fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(left.len(), 1, "only the material is left: {left:?}");
}
