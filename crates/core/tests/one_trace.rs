//! One seed has one trace: code that the simulator runs uses nothing whose
//! order depends on a thread, on a process or on chance that no seed decides.
//! Clippy bans types and functions; this test bans what clippy cannot see.

use std::fs;
use std::path::{Path, PathBuf};

/// Words that such code does not use, and why.
const BANNED: [(&str, &str); 12] = [
    ("sync::watch", "it wakes its waiters in a random order: use env::Publisher"),
    ("JoinSet", "tasks of a process are the spawner's: use env.spawn"),
    ("tokio::spawn(", "tasks of a process are the spawner's: use env.spawn"),
    ("spawn_blocking", "jobs that block go through env::run"),
    ("std::thread", "the simulator has one thread"),
    ("HashMap", "its order differs by process: use BTreeMap"),
    ("HashSet", "its order differs by process: use BTreeSet"),
    ("RandomState", "its keys differ by process"),
    ("thread_rng", "chance comes from env.random"),
    ("rand::", "chance comes from env.random"),
    ("futures_util::select", "it polls in a random order: use a biased tokio::select!"),
    ("select_all", "it reorders what it was given: use FuturesUnordered"),
];

/// Files that may use one of them: file, word, reason.
const ALLOWED: [(&str, &str, &str); 4] = [
    ("task.rs", "tokio::spawn(", "it is the simulated spawner"),
    ("limit.rs", "std::thread", "its test shows that threads are apart"),
    ("mark.rs", "std::thread", "its test shows that threads are apart"),
    ("sweep.rs", "std::thread", "each world of a sweep has a thread of its own"),
];

/// Macros that begin with `biased;`: without it the first is polled by chance
/// or in turns.
const BIASED: [&str; 3] = ["select!", "join!", "try_join!"];

#[test]
fn what_the_simulator_runs_has_one_order() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = rust_files(&core.join("src"));
    files.extend(rust_files(&core.join("../simulation/src")));
    assert!(files.len() > 150, "the search for sources is broken: it saw {}", files.len());
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file can be read");
        let name = file.file_name().expect("it has a name").to_string_lossy();
        for breach in breaches(&text, &name) {
            found.push(format!("{}: {breach}", file.display()));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_search_knows_a_breach() {
    let count = |text: &str| breaches(text, "role.rs").len();
    assert_eq!(count("use tokio::sync::{mpsc, watch};"), 1);
    assert_eq!(count("let map = HashMap::new();"), 1);
    assert_eq!(count("tokio::select! {\n    () = a => {}\n}"), 1);
    assert_eq!(count("tokio::select! {\n    biased;\n    () = a => {}\n}"), 0);
    assert_eq!(count("tokio::join!(a, b);"), 1);
    assert_eq!(count("tokio::join!(biased; a, b);"), 0);
    assert_eq!(count("// A HashMap would be wrong here."), 0);
    assert_eq!(breaches("tokio::spawn(work)", "task.rs").len(), 0);
}

/// What is wrong in one file.
fn breaches(text: &str, file: &str) -> Vec<String> {
    let code: Vec<&str> =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut found = Vec::new();
    for (word, reason) in BANNED {
        let is_allowed = ALLOWED.iter().any(|(name, allowed, _)| *name == file && *allowed == word);
        if !is_allowed && code.contains(word) {
            found.push(format!("{word}: {reason}"));
        }
    }
    // A module that is imported in braces has no path before its name.
    if code.lines().any(|line| line.contains("tokio::sync::{") && line.contains("watch")) {
        found.push(format!("{}: {}", BANNED[0].0, BANNED[0].1));
    }
    for name in BIASED {
        for (at, _) in code.match_indices(name) {
            let is_longer_name =
                code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
            let inside = code[at + name.len()..].trim_start().trim_start_matches(['{', '(', '[']);
            if !is_longer_name && !inside.trim_start().starts_with("biased;") {
                found.push(format!("{name} without biased"));
            }
        }
    }
    found
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a source folder can be listed") {
        let path = entry.expect("a source folder can be listed").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
