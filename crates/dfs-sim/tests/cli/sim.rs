//! `dfs-sim sim`: failures rehearsed, by whoever has the program.

use std::fs;

use dfs_simulation::run::differs_from_itself;
use dfs_simulation::swarm;

use super::harness::{Answer, program};
use super::unit::has_one_unit;

fn sim(args: &[&str]) -> Answer {
    Answer::of(program().arg("sim").args(args))
}

/// Two processes share nothing but the seed: no address, no hash, no clock of
/// one may find its way into a trace.
#[test]
fn two_processes_run_twenty_seeds_the_same() {
    let digests = || sim(&["seeds", "0..19", "--digests"]).ended(0).text();
    let (first, second) = (digests(), digests());
    assert_eq!(first.lines().count(), 20, "{first}");
    for (one, other) in first.lines().zip(second.lines()) {
        if one != other {
            let seed = one.split(' ').next().and_then(|seed| seed.parse().ok()).expect("a seed");
            let parting = differs_from_itself(&swarm::scenario(seed), seed);
            panic!("seed {seed} parts from itself between two processes: {parting:?}");
        }
    }
}

#[test]
fn a_scenario_is_listed_shown_changed_and_run() {
    let list = sim(&["list"]).ended(0).text();
    assert!(list.contains("node-loss (5 nodes, 20m)"), "{list}");
    let shown = sim(&["show", "node-loss"]).ended(0).text();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mine.toml");
    fs::write(&path, shown.replace("name = \"node-loss\"", "name = \"mine\"")).expect("write");
    let path = path.to_str().expect("text");
    let ran = sim(&["run", path, "--seed", "3", "--nodes", "6", "--policy", "R=3"]).ended(0);
    let text = ran.text();
    for part in ["mine, seed 3: 6 nodes", "any 2 nodes may be lost", "kill of n2", "All held"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_run_and_a_sweep_answer_in_json_and_write_their_trace() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace.txt");
    let trace = path.to_str().expect("text");
    let run = sim(&["run", "slow-node", "--lasts", "2m", "--trace", trace, "--json"]).ended(0);
    let run = run.json();
    assert_eq!((run["schema_version"].as_u64(), run["is_right"].as_bool()), (Some(3), Some(true)));
    assert_eq!(run["faults"]["slow-disk"], 1);
    has_one_unit(&run);
    let lines = fs::read_to_string(&path).expect("a trace").lines().count() as u64;
    assert_eq!(Some(lines), run["events"].as_u64());
    let sweep = sim(&["seeds", "1..5", "--json"]).ended(0).json();
    assert_eq!((sweep["seeds"].as_u64(), sweep["is_right"].as_bool()), (Some(5), Some(true)));
    has_one_unit(&sweep);
    let drawn = sim(&["run", "mixed", "--lasts", "10m", "--faults", "kill", "--json"]);
    let faults = drawn.ended(0).json()["faults"].clone();
    assert_eq!(faults.as_object().map(|kinds| kinds.len()), Some(1), "{faults}");
}

/// What a run shows is in its first line after the timeline, and in its exit
/// code: what was lost beyond the policy is not what must never be.
#[test]
fn what_was_lost_or_left_out_is_said_first_and_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("wiped.toml");
    let wipe = |node: &str| {
        format!("[[fault]]\nat = \"30s\"\nwhat = \"wipe\"\nhost = \"{node}\"\nlasts = \"20s\"\n")
    };
    let scenario = "name = \"wiped\"\nlasts = \"3m\"\n[cluster]\nnodes = 5\nreplication = 1\n\
                    [workload]\nstored-before = 20\nops = 10\nsize-min = \"1K\"\n";
    fs::write(&path, format!("{scenario}{}{}", wipe("n1"), wipe("n2"))).expect("write");
    let path = path.to_str().expect("text");
    let left_out = sim(&["run", path]).ended(0).text();
    assert!(left_out.contains("LEFT OUT, as the policy does not survive it: wipe 2"), "{left_out}");
    assert!(left_out.contains("no wipe struck"), "{left_out}");
    assert!(!left_out.contains("All held"), "{left_out}");
    let lost = sim(&["run", path, "--beyond-tolerance"]).ended(11).text();
    assert!(lost.contains("lost, beyond what R=1 none survives; no wrong bytes"), "{lost}");
    assert!(lost.contains("before/000") && !lost.contains("All held"), "{lost}");
    let json = sim(&["run", path, "--beyond-tolerance", "--json"]).ended(11).json();
    assert_eq!(json["verdict"], "lost_beyond_policy");
    assert!(json["files_lost"].as_array().is_some_and(|files| !files.is_empty()), "{json}");
}

#[test]
fn what_is_wrong_is_said_with_the_nearest_fix() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bad.toml");
    let bad = "name = \"x\"\nlasts = \"1m\"\n[[fault]]\nat = \"1s\"\nwhat = \"kill\"\nhost = \"n9\"\nlasts = \"1s\"\n";
    fs::write(&path, bad).expect("write");
    let path = path.to_str().expect("text");
    for (args, code, said) in [
        (vec!["run", "no-such"], 5, "built in are node-loss"),
        (vec!["run", "./no-such.toml"], 5, "cannot read"),
        (vec!["run", path], 2, "there is no host \"n9\": the nodes are n1 to n5"),
        (vec!["run", "mixed", "--faults", "fire"], 2, "there are kill"),
        (vec!["run", "mixed", "--policy", "R=0"], 2, "replication must be 1 to 32"),
        (vec!["run", "node-loss", "--policy", "R=9"], 2, "nothing could be stored: R=9"),
        (vec!["seeds", "9..1"], 2, "end before they begin"),
        (vec!["show", "no-such"], 5, "there is no scenario"),
    ] {
        let answer = sim(&args);
        assert_eq!(answer.code, Some(code), "{args:?}: {}", answer.stderr);
        assert!(answer.stderr.contains(said), "{args:?}: {}", answer.stderr);
    }
}
