//! What a put reads: files of every kind, and what becomes of one that is
//! not at rest, or not there at all.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::harness::{Answer, Cluster, material};

/// Runs a client command through a shell, which arranges its descriptors.
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

fn stored(cluster: &Cluster, name: &str) -> Vec<u8> {
    cluster.run(&["cat", name]).ended(0).stdout
}

#[test]
fn files_whose_length_is_not_true_are_read_to_their_end() {
    let cluster = Cluster::start(2, &["--replication", "2"]);
    // All of them are the same at each read on a running system.
    for (path, name) in [
        ("/proc/version", "a"),
        ("/proc/filesystems", "b"),
        ("/proc/self/../version", "c"),
        ("/sys/kernel/mm/transparent_hugepage/enabled", "d"),
        ("/sys/devices/system/cpu/possible", "e"),
    ] {
        let Ok(bytes) = fs::read(path) else { continue };
        cluster.run(&["put", path, "--name", name]).ended(0);
        assert_eq!(stored(&cluster, name), bytes, "{path}");
        shell(&cluster, &format!("$dfs put - --force --name {name} < {path}")).ended(0);
        assert_eq!(stored(&cluster, name), bytes, "{path} as standard input");
    }
    // Sparse files and files of a few bytes have few or no blocks.
    let sparse = File::create(cluster.path("sparse")).expect("a file");
    sparse.set_len(300_000).expect("a hole");
    sparse.write_at(b"x", 0).expect("a byte");
    File::create(cluster.path("hole")).expect("a file").set_len(5_000).expect("a hole");
    fs::write(cluster.path("empty"), "").expect("a file");
    cluster.run(&["put", "sparse", "hole", "empty"]).ended(0);
    assert!(stored(&cluster, "sparse") == cluster.read_file("sparse"));
    assert!(stored(&cluster, "hole") == vec![0; 5_000]);
    assert!(stored(&cluster, "empty").is_empty());
}

#[test]
fn an_input_that_is_closed_unreadable_or_empty_replaces_no_file() {
    let cluster = Cluster::start(2, &["--replication", "2"]);
    let old = cluster.make_file("old", 100_000);
    cluster.run(&["put", "old", "--name", "a"]).ended(0);
    fs::create_dir(cluster.path("folder")).expect("a folder");
    shell(&cluster, "mkfifo fifo").ended(0);
    for (line, code, words) in [
        ("$dfs put - --force --name a <&-", 2, "standard input is closed"),
        ("$dfs put - --force --name a --allow-empty <&-", 2, "standard input is closed"),
        ("$dfs put - --name new <&-", 2, "standard input is closed"),
        ("$dfs put - --force --name a < folder", 2, "standard input is a folder"),
        ("$dfs put - --force --name a 0> written", 1, "could not be read"),
        ("$dfs put - --force --name a < /dev/null", 6, "--allow-empty"),
        ("false | $dfs put - --force --name a", 6, "without a single byte"),
        ("$dfs put /dev/null --force --name a", 6, "--allow-empty"),
        (": > fifo & $dfs put fifo --force --name a", 6, "--allow-empty"),
        ("$dfs put folder --force --name a", 2, "--recursive"),
        ("$dfs put missing --force --name a", 5, "missing"),
        ("$dfs put /proc/self/mem --force --name a", 1, "/proc/self/mem"),
    ] {
        shell(&cluster, line).ended(code).complained(&[words]);
        assert!(stored(&cluster, "a") == old, "{line}: the old file stays");
    }
    cluster.run(&["stat", "new"]).ended(5);
    // Empty is stored where it replaces nothing, and where it is asked for.
    shell(&cluster, "$dfs put - --force --name new < /dev/null").ended(0);
    assert!(stored(&cluster, "new").is_empty());
    shell(&cluster, "true | $dfs put - --force --allow-empty --name a").ended(0);
    assert!(stored(&cluster, "a").is_empty());
    shell(&cluster, "printf words > fifo & $dfs put fifo --force --name a").ended(0);
    assert_eq!(stored(&cluster, "a"), b"words");
}

/// Changes a file without pause while `put` runs.
fn while_changing(change: impl Fn() + Send + 'static, put: impl FnOnce() -> Answer) -> Answer {
    let is_over = Arc::new(AtomicBool::new(false));
    let told = is_over.clone();
    let writer = thread::spawn(move || {
        while !told.load(Ordering::Relaxed) {
            change();
        }
    });
    let answer = put();
    is_over.store(true, Ordering::Relaxed);
    writer.join().expect("changing does not panic");
    answer
}

#[test]
fn a_file_that_changes_while_it_is_read_is_not_stored() {
    let cluster = Cluster::start(2, &["--replication", "2"]);
    let old = cluster.make_file("old", 100_000);
    cluster.make_file("a", 6 << 20);
    cluster.run(&["put", "old", "--name", "a"]).ended(0);
    let path = cluster.path("a");
    let rewritten = path.clone();
    let rewrite = move || {
        let file = File::options().write(true).open(&rewritten).expect("the file");
        file.write_all_at(b"other bytes", 5_000_000).expect("a write");
    };
    let grown = path.clone();
    let grow = move || {
        let file = File::options().append(true).open(&grown).expect("the file");
        file.set_len(file.metadata().expect("its length").len() + 1).expect("longer");
    };
    let target = path.clone();
    let new = cluster.path("new");
    let replace = move || {
        fs::write(&new, "another file of that name").expect("a file");
        fs::rename(&new, &target).expect("it takes the place");
    };
    let put = || cluster.run(&["put", "a", "--force"]).ended(1);
    while_changing(rewrite.clone(), put).complained(&["changed while it was read", "written to"]);
    assert!(stored(&cluster, "a") == old);
    while_changing(grow, put).complained(&["changed while it was read"]);
    assert!(stored(&cluster, "a") == old);
    // Standard input that is a file, and one file among many.
    let put = || shell(&cluster, "$dfs put - --force --name a < a").ended(1);
    while_changing(rewrite.clone(), put).complained(&["changed while it was read"]);
    let tree = material(10_000);
    fs::write(cluster.path("still"), &tree).expect("a file");
    let put = || cluster.run(&["put", "still", "a", "--force", "--name", "many/"]).ended(1);
    while_changing(rewrite, put).complained(&["changed while it was read", "1 file not stored"]);
    assert!(stored(&cluster, "many/still") == tree);
    cluster.run(&["stat", "many/a"]).ended(5);
    let put = || cluster.run(&["put", "a", "--force"]).ended(1);
    while_changing(replace, put).complained(&["changed while it was read"]);
    assert!(stored(&cluster, "a") == old);
}

#[test]
fn two_sources_of_one_name_are_refused_before_anything_is_sent() {
    let cluster = Cluster::start(1, &["--replication", "1"]);
    for name in ["x/a", "y/a", "z/a", "w/x/b"] {
        cluster.make_file(name, 10);
    }
    for line in [
        &["put", "x/a", "y/a", "--name", "d/"][..],
        &["put", "z/a", "x/a", "y/a"],
        &["put", "x/a", "x/a"],
        &["put", "x/a", "x/../x/a"],
        &["put", "-r", "x", "y/../x", "--name", "d/"],
    ] {
        cluster.run(line).ended(2).complained(&["would both be stored as", "x/a"]);
    }
    cluster.run(&["put", "-r", "x", "w/x", "--name", "d/"]).ended(0);
    assert_eq!(cluster.run(&["ls", "-r"]).ended(0).text(), "d/x/a\nd/x/b\n");
}
