//! One process that is a whole cluster, and the demonstration.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::harness::{Answer, Server, eventually, material, program};
use crate::unit::has_one_unit;

/// A folder for a whole cluster, and a file `a` beside it.
struct Store {
    folder: tempfile::TempDir,
    data: PathBuf,
    bytes: Vec<u8>,
}

impl Store {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bytes = material(700_000);
        fs::write(folder.path().join("a"), &bytes).expect("a file");
        Self { data: folder.path().join("store"), folder, bytes }
    }

    fn start(&self, flags: &[&str]) -> Server {
        let mut command = program();
        command.args(["up", "--port", "0"]).args(flags).arg("--data").arg(&self.data);
        Server::start(&mut command)
    }

    fn run(&self, server: &Server, line: &[&str]) -> Answer {
        let mut command = program();
        command.env("DFS_SIM_COORD", &server.address).current_dir(self.folder.path());
        Answer::of(command.args(line))
    }
}

#[test]
fn a_cluster_in_one_process_keeps_its_files_and_its_policy() {
    let store = Store::new();
    let (folder, data, bytes) = (&store.folder, &store.data, &store.bytes);
    let start = |flags: &[&str]| store.start(flags);
    let run = |server: &Server, line: &[&str]| store.run(server, line).ended(0);
    let mut server = start(&["--nodes", "4", "--parity", "rs:2+1"]);
    server.says("4 nodes online");
    run(&server, &["put", "a"]);
    assert_eq!(server.end_by(Signal::INT).code(), Some(130));

    let mut server = start(&[]);
    server.says("4 nodes online");
    run(&server, &["get", "a", "--out", "b"]);
    assert!(fs::read(folder.path().join("b")).expect("the file") == *bytes);
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
    Answer::of(fewer.arg(data)).ended(2).complained(&["has 5 nodes"]);
}

#[test]
fn a_cluster_goes_on_when_nobody_reads_what_it_says() {
    let store = Store::new();
    let mut command = program();
    command.args(["up", "--port", "0", "--nodes", "2", "--data"]).arg(&store.data);
    let mut server = Server::start_unread(&mut command);
    server.says("2 nodes online");
    for name in ["b", "c"] {
        store.run(&server, &["put", "a", "--name", name]).ended(0);
    }
    assert_eq!(server.end_by(Signal::TERM).code(), Some(143));
}

#[test]
fn a_lost_folder_is_named_and_never_begun_anew_by_itself() {
    let store = Store::new();
    let (folder, data, bytes) = (&store.folder, &store.data, &store.bytes);
    let start = |flags: &[&str]| store.start(flags);
    let run = |server: &Server, line: &[&str]| store.run(server, line);
    let flags = ["--nodes", "5", "--parity", "rs:3+2", "--repair-after", "1h"];
    let online = |server: &Server, count: usize| {
        eventually(&format!("{count} nodes are online"), || {
            let status = run(server, &["status", "--json"]).ended(0).json();
            let nodes = status["nodes"].as_array().expect("a list");
            let found = nodes.iter().filter(|node| node["state"] == "online").count();
            if found == count { Ok(()) } else { Err(status.to_string()) }
        });
    };
    let mut server = start(&flags);
    online(&server, 5);
    run(&server, &["put", "a"]).ended(0);
    server.end_by(Signal::TERM);

    // One folder is gone, of another only the mount point is left.
    fs::rename(data.join("n1"), folder.path().join("away")).expect("gone");
    fs::remove_dir_all(data.join("n3")).expect("gone");
    fs::create_dir(data.join("n3")).expect("a mount point");
    for flags in [&[][..], &["--nodes", "5"]] {
        let mut server = start(flags);
        online(&server, 3);
        server.says("n1 is missing");
        server.says("--replace n3");
        run(&server, &["get", "a", "--out", "b", "--force"]).ended(0);
        assert!(fs::read(folder.path().join("b")).expect("the file") == *bytes);
        assert!(!data.join("n1").exists(), "it is not begun anew");
        server.end_by(Signal::TERM);
    }
    fs::rename(folder.path().join("away"), data.join("n1")).expect("it is back");
    let mut wrong = program();
    wrong.args(["up", "--port", "0", "--replace", "n1", "--data"]);
    Answer::of(wrong.arg(data)).ended(2).complained(&["n1 is there"]);
    // A node that missed the last run waits for the end of its lease.
    let mut server = start(&["--replace", "n3", "--repair-after", "1s"]);
    eventually("all are online and the lost copies are made anew", || {
        let status = run(&server, &["status", "--json"]).ended(0).json();
        let nodes = status["nodes"].as_array().expect("a list");
        let is_online = nodes.iter().filter(|node| node["state"] == "online").count() == 5;
        let is_full = is_online && status["stripes"]["full"] == 1;
        if is_full { Ok(()) } else { Err(status.to_string()) }
    });
    server.end_by(Signal::TERM);
}

#[test]
fn the_demonstration_tells_the_truth_and_cleans_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("material");
    fs::write(&file, material(60 << 20)).expect("a file");
    let mut command = program();
    command.env("TMPDIR", folder.path()).args(["demo", "--nodes", "4", "--json", "--file"]);
    let answer = Answer::of(command.arg(&file)).ended(0).json();
    has_one_unit(&answer);
    let steps = answer["steps"].as_array().expect("a story");
    let text: Vec<&str> = steps.iter().filter_map(|step| step["text"].as_str()).collect();
    let text = text.join("\n");
    for words in ["kill -9 n", "from another copy", "rebuilt from parity", "repair:"] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
    let left: Vec<_> = fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(left.len(), 1, "only the material is left: {left:?}");
}
