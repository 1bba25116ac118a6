//! Where answers and fetched bytes go: readers that have gone, full disks,
//! links, devices, and processes that are killed.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::harness::{Answer, Cluster, eventually, send};

/// Runs a command line in the cluster's folder, through a shell.
fn shell(cluster: &Cluster, line: &str) -> Answer {
    let mut command = Command::new("sh");
    command
        .args(["-c", line])
        .current_dir(cluster.path(""))
        .env("DFS_SIM_COORD", cluster.address())
        .env("HOME", cluster.path(""))
        .env("dfs", env!("CARGO_BIN_EXE_dfs-sim"));
    Answer::of(&mut command)
}

#[test]
fn an_answer_that_nobody_reads_stops_no_work() {
    let cluster = Cluster::start(2, &["--replication", "2"]);
    cluster.make_file("a", 10_000);
    // Each ends with the code of the program, whatever its reader does.
    for (way, to) in [("full", ">/dev/full"), ("closed", ">&-"), ("gone", "| true")] {
        for name in ["1", "2", "3", "4"] {
            cluster.run(&["put", "a", "--name", &format!("{way}/{name}")]).ended(0);
        }
        let ends = |line: &str, code: i32| {
            let line = if to.starts_with('|') {
                format!("{{ {line}; echo $? >code; }} {to}")
            } else {
                format!("{line} {to}; echo $? >code")
            };
            let answer = shell(&cluster, &line);
            let ended = fs::read_to_string(cluster.path("code")).expect("its code");
            assert_eq!(ended.trim(), code.to_string(), "{line}: {}", answer.stderr);
        };
        ends(&format!("$dfs put a --name {way}/5"), 0);
        ends(&format!("$dfs put a --json --name {way}/6"), 0);
        ends(&format!("$dfs mv {way}/5 {way}/7"), 0);
        ends(&format!("$dfs get {way}/7 --force --out got"), 0);
        ends(&format!("$dfs rm {way}/1 {way}/2 {way}/missing {way}/3"), 5);
        ends(&format!("$dfs rm -r {way} --json"), 0);
        let left = cluster.run(&["ls", "-r", way]).ended(0).text();
        assert_eq!(left, format!("{way}/4\n{way}/6\n{way}/7\n"));
        // An answer that cannot be written is a failure of what only answers.
        let code = i32::from(way == "full");
        for verb in ["ls -r", "ls --json", "du", "status", "node ls", "man", "completions bash"] {
            ends(&format!("$dfs {verb}"), code);
        }
    }
    shell(&cluster, "$dfs put a --name told >/dev/full").ended(0).complained(&["cannot write"]);
    for line in ["$dfs cat told", "$dfs get told --out -"] {
        let closed = shell(&cluster, &format!("{line} >&-"));
        closed.ended(0).complained(&["nobody gets these bytes"]);
        let thrown_away = shell(&cluster, &format!("{line} >/dev/null")).ended(0);
        assert!(!thrown_away.stderr.contains("nobody"), "{}", thrown_away.stderr);
    }
}

#[test]
fn out_follows_links_and_replaces_no_device() {
    let cluster = Cluster::start(2, &["--replication", "2"]);
    let bytes = cluster.make_file("a", 300_000);
    cluster.run(&["put", "a"]).ended(0);
    fs::create_dir(cluster.path("d")).expect("a folder");
    fs::write(cluster.path("d/old"), "old").expect("a file");
    symlink("d/old", cluster.path("link")).expect("a link");
    symlink("d/new", cluster.path("dangling")).expect("a link");
    symlink("nowhere/new", cluster.path("lost")).expect("a link");
    cluster.run(&["get", "a", "--out", "link"]).ended(6).complained(&["d/old", "--force"]);
    cluster.run(&["get", "a", "--out", "link", "--force"]).ended(0);
    cluster.run(&["get", "a", "--out", "dangling"]).ended(0);
    for name in ["link", "dangling"] {
        let path = cluster.path(name);
        assert!(path.symlink_metadata().expect("it is there").is_symlink(), "{name} stays a link");
        assert!(cluster.read_file(name) == bytes, "{name}");
    }
    // Another name of a file stays a name of it.
    fs::write(cluster.path("one"), "old").expect("a file");
    fs::hard_link(cluster.path("one"), cluster.path("two")).expect("another name");
    cluster.run(&["get", "a", "--out", "one", "--force"]).ended(0);
    assert!(cluster.read_file("two") == bytes && cluster.read_file("one") == bytes);
    assert_eq!(fs::metadata(cluster.path("one")).expect("a file").nlink(), 2);

    // Devices and descriptors take the bytes and stay what they are.
    for line in [
        "$dfs get a --out /dev/stdout -q | cmp - a",
        "$dfs get a --out /dev/stdout -q >into && cmp into a",
        "$dfs get a --out /dev/fd/1 -q >into && cmp into a",
        "echo first >into && $dfs get a --out /dev/stdout -q >>into && tail -c 300000 into | cmp - a",
        "mkfifo pipe && { cmp pipe a & $dfs get a --out pipe -q && wait $!; }",
        "$dfs get a --out /dev/null && test -c /dev/null",
        "$dfs get a --out /dev/null --force && test -c /dev/null",
        "$dfs get a --out pipe -q & test \"$(wc -c <pipe)\" = 300000 && test -p pipe",
    ] {
        let answer = shell(&cluster, line);
        assert_eq!(answer.code, Some(0), "{line}: {}", answer.stderr);
    }
    // What cannot be written is found out before anything is fetched.
    for (out, code) in [("lost", 5), ("no/such/folder", 5), ("d", 0), ("/proc/new", 5), ("a/b", 1)]
    {
        let answer = cluster.run(&["get", "a", "--out", out]);
        assert_eq!(answer.code, Some(code), "{out}: {}", answer.stderr);
    }
    shell(&cluster, "$dfs get a --out /dev/full").ended(1).complained(&["No space left"]);
    let parts = |folder: &str| {
        let entries = fs::read_dir(cluster.path(folder)).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".part")).count()
    };
    assert_eq!((parts(""), parts("d")), (0, 0), "nothing is left over");
}

#[test]
fn a_get_that_is_ended_leaves_nothing_and_says_what_came_first() {
    let cluster = Cluster::start(2, &["--replication", "2"]);
    cluster.make_file("a", 40 << 20);
    cluster.run(&["put", "a"]).ended(0);
    fs::create_dir(cluster.path("out")).expect("a folder");
    let is_empty =
        |cluster: &Cluster| fs::read_dir(cluster.path("out")).expect("a folder").next().is_none();
    // A file may not be longer than this many blocks of 512 bytes.
    let limited = shell(&cluster, "ulimit -f 2000; $dfs get a --out out/a").ended(1);
    limited.complained(&["cannot write", "File too large"]);
    assert!(is_empty(&cluster), "nothing is left");
    // The nodes stand still, so that each signal comes in mid-get.
    for signal in [Signal::HUP, Signal::TERM, Signal::INT, Signal::KILL] {
        for node in &cluster.nodes {
            node.signal(Signal::STOP);
        }
        let mut command = cluster.client(&["get", "a", "--out", "out/a"]);
        let mut get = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("begun");
        let open = format!("/proc/{}/fd", get.id());
        eventually("it has opened its file", || {
            let names: Vec<String> = fs::read_dir(&open)
                .map_err(|e| e.to_string())?
                .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
                .map(|path| path.display().to_string())
                .collect();
            let is_open = names.iter().any(|name| name.contains("/out/"));
            if is_open { Ok(()) } else { Err(names.join("\n")) }
        });
        send(&get, signal);
        get.wait().expect("it was started here");
        assert!(is_empty(&cluster), "{signal:?} leaves nothing");
        for node in &cluster.nodes {
            node.signal(Signal::CONT);
        }
    }
}
