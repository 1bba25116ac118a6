//! A simulator that finds nothing is a suspect: each bug that is planted in
//! the real code must turn the swarm red (three of them: a scenario made for
//! them), and the same seed must be green without it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use dfs_core::mutant::{Mutant, plant};
use dfs_simulation::run::{Keep, Report, run_kept};
use dfs_simulation::scenario::{Fault, Scenario};
use dfs_simulation::shrink::shrink;
use dfs_simulation::swarm;

/// Seeds that may pass before a bug is found.
const SEEDS_MAX: u64 = 3000;

/// A copy is rebuilt while another one rots unseen: the swarm, which lets one
/// node rot at a time and soon has it looked through, seldom comes to that.
const ROT_AND_REPAIR: &str = r#"
name = "rot-and-repair"
lasts = "3m"
[cluster]
nodes = 5
replication = 3
repair-after = "5s"
[workload]
stored-before = 40
ops = 20
[[fault]]
at = "20s"
what = "bit-rot"
host = "n1"
count = 300
[[fault]]
at = "35s"
what = "kill"
host = "n2"
lasts = "2m"
"#;

/// Many read what many replace, and the coordinator loses its power between
/// a change and its commit, which is late.
const READ_AND_CUT: &str = r#"
name = "read-and-cut"
lasts = "1m"
hard = ["delay-commit"]
[cluster]
nodes = 3
clients = 8
[workload]
ops = 400
every = "600ms"
names = 1
size-max = "2K"
weights = { put = 0, replace = 5, get = 9, get-range = 0, remove = 0, rename = 0, list = 0 }
"#;

/// One client is slow, and the coordinator starts anew while it uploads: what
/// it sends next is of an epoch that its nodes know to be over. In the swarm
/// an upload is seldom under way for as long as that.
const SLOW_AND_STALE: &str = r#"
name = "slow-and-stale"
lasts = "1m"
[cluster]
nodes = 3
clients = 4
replication = 2
[workload]
ops = 200
every = "600ms"
size-max = "70K"
weights = { put = 4, replace = 4, get = 0, get-range = 0, remove = 1, rename = 0, list = 0 }
[[fault]]
at = "1s"
what = "slow-link"
host = "c1"
latency = "2s"
lasts = "59s"
"#;

/// Bugs that `slow.rs` finds: one needs an address that nobody can connect to
/// for long, one needs two slow nodes, four cost less time than the swarm's rule
/// about it allows.
const BY_ANOTHER_TEST: [Mutant; 6] = [
    Mutant::NeverCallsBack,
    Mutant::SendsAnewInTheEnd,
    Mutant::WaitsForWhatItCanDoWithout,
    Mutant::BlamesSharedLines,
    Mutant::TellsOfNoLag,
    Mutant::GivesUpWhatItNeeds,
];

/// What a bug is looked for with, by seed.
fn scenario(mutant: Mutant, seed: u64) -> Scenario {
    let parse = |text| Scenario::parse(text).expect("it is one");
    match mutant {
        Mutant::RepairFromUnverified => parse(ROT_AND_REPAIR),
        Mutant::ReadUndurable => {
            let mut scenario = parse(READ_AND_CUT);
            scenario.faults =
                (1..=10).map(|cut| stop_of_the_coordinator("power-cut", 6 * cut)).collect();
            scenario
        }
        Mutant::StaleEpoch => {
            let mut scenario = parse(SLOW_AND_STALE);
            // A start in place takes its nodes over at once.
            scenario.faults.extend((1..=9).map(|stop| stop_of_the_coordinator("kill", 6 * stop)));
            scenario
        }
        _ => swarm::scenario(seed),
    }
}

fn stop_of_the_coordinator(what: &str, at_s: u64) -> Fault {
    let lines = format!("at = \"{at_s}s\"\nwhat = \"{what}\"\nhost = \"coord\"\nlasts = \"1s\"");
    let text = format!("name = \"x\"\nlasts = \"1h\"\n[[fault]]\n{lines}");
    Scenario::parse(&text).expect("it is one").faults.remove(0)
}

fn run(mutant: Mutant, seed: u64) -> Report {
    let keep = Keep::default();
    keep.trace.keep_lines(false);
    run_kept(&scenario(mutant, seed), seed, &keep)
}

/// The first seed that finds the bug, and what it says.
fn find(mutant: Mutant) -> Option<(u64, String)> {
    let _planted = plant(mutant);
    (0..SEEDS_MAX).find_map(|seed| {
        let found = run(mutant, seed).violations.into_iter().next()?;
        Some((seed, format!("{}: {}", found.rule, found.text)))
    })
}

#[test]
fn every_planted_bug_is_found() {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(mutant) = Mutant::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if BY_ANOTHER_TEST.contains(mutant) {
                        continue;
                    }
                    let by = find(*mutant);
                    let is_green =
                        by.as_ref().is_none_or(|(seed, _)| run(*mutant, *seed).is_right());
                    println!("{mutant:?} is found by {by:?}");
                    found.lock().expect("no panic").push((*mutant, by, is_green));
                }
            });
        }
    });
    for (mutant, by, is_green) in found.into_inner().expect("no panic") {
        assert!(by.is_some(), "{mutant:?} was not found by {SEEDS_MAX} seeds");
        assert!(is_green, "{by:?} is red without {mutant:?} too");
    }
}

#[test]
fn a_case_that_fails_is_shrunk_and_repeats_from_its_file() {
    let mutant = Mutant::ResurrectDeleted;
    let (seed, original) = (0, swarm::scenario(0));
    let planted = plant(mutant);
    let report = run(mutant, seed);
    let rule = report.violations[0].rule;
    let shrunk = shrink(&original, seed, report, 200, &|| true).expect("it fails");
    let (small, drawn) = (&shrunk.scenario, original.drawn(seed));
    println!("{} runs: {} of {} ops", shrunk.runs, small.ops.len(), drawn.ops.len());
    assert!(small.ops.len() <= 4, "a put and its removal are enough: {}", small.to_toml());
    assert!(small.faults.is_empty(), "{}", small.to_toml());
    let read = Scenario::parse(&small.to_toml()).expect("its file is a scenario");
    let again = dfs_simulation::run::run(&read, seed);
    assert_eq!(again.violations.first().map(|found| found.rule), Some(rule));
    drop(planted);
    assert!(dfs_simulation::run::run(&read, seed).is_right(), "it is the bug that it shows");
}
