//! Every place where life can be made hard does make it hard, and every
//! promise holds all the same.

use dfs_core::mark::Mark;
use dfs_simulation::run::{Report, SMALL_LIMITS, hard_names, run};
use dfs_simulation::scenario::{Act, Scenario};

const SCENARIO: &str = r#"
name = "hard"
lasts = "4m"
[cluster]
nodes = 4
clients = 3
replication = 2
repair-after = "20s"
[workload]
stored-before = 10
ops = 150
every = "4s"
names = 5
[[fault]]
at = "1m"
what = "kill"
host = "n2"
lasts = "50s"
[[fault]]
at = "150s"
what = "power-cut"
host = "coord"
lasts = "5s"
"#;

fn hard_run(places: &[&str], seed: u64) -> Report {
    let mut scenario = Scenario::parse(SCENARIO).expect("it is one");
    // Of two copies none can be left to repair.
    if places.contains(&"minimal-set") {
        scenario.cluster.replication = 3;
    }
    scenario.hard = places.iter().map(|place| (*place).to_owned()).collect();
    run(&scenario, seed)
}

/// How often a place struck.
fn struck(report: &Report, place: &str) -> u64 {
    let name = match place {
        "calls-twice" => "network: doubled".to_owned(),
        "drop-replies" => "network: lost".to_owned(),
        // It strikes nothing by itself: it makes pages, batches and steps end.
        SMALL_LIMITS => {
            return report.marks.get(Mark::DoorSecondStep.name()).copied().unwrap_or(0);
        }
        place => format!("hard: {place}"),
    };
    report.injected.get(&name).copied().unwrap_or(0)
}

/// How many puts were acknowledged.
fn stored(report: &Report) -> u64 {
    [Act::Put, Act::Replace].iter().filter_map(|act| report.ops.get(act)).map(|ops| ops.ok).sum()
}

#[test]
fn each_place_strikes_and_all_holds() {
    for place in hard_names() {
        let report = hard_run(&[place], 1);
        assert_eq!(report.violations, [], "{place}");
        assert!(struck(&report, place) > 0, "{place}: {:?}", report.injected);
        assert!(stored(&report) > 20, "{place}: {:?}", report.ops);
        assert_eq!(struck(&hard_run(&[], 1), place), 0, "{place} is off unless it is asked for");
    }
}

#[test]
fn all_of_them_at_once_hold_too() {
    for seed in 0..10 {
        let report = hard_run(&hard_names(), seed);
        assert_eq!(report.violations, [], "seed {seed}");
        assert!(stored(&report) > 20, "seed {seed}: {:?}", report.ops);
    }
}

/// A minimal set that nobody may store held nothing to any promise.
#[test]
fn what_the_minimal_set_leaves_out_is_made_by_repair() {
    let run_without_faults = |places: &[&str]| {
        let mut scenario = Scenario::parse(SCENARIO).expect("it is one");
        scenario.cluster.replication = 3;
        scenario.faults.clear();
        scenario.hard = places.iter().map(|place| (*place).to_owned()).collect();
        run(&scenario, 1)
    };
    let (minimal, usual) = (run_without_faults(&["minimal-set"]), run_without_faults(&[]));
    assert_eq!(minimal.violations, []);
    assert!(minimal.tally.rebuilt > 10, "{:?}", minimal.tally);
    assert_eq!(usual.tally.rebuilt, 0);
}

/// A commit that came twice was told that its upload is not known, while the
/// first was under way; the put began anew and found its own file.
#[test]
fn a_put_whose_commit_comes_twice_does_not_find_its_own_file_in_its_way() {
    for seed in 0..10 {
        let mut scenario = Scenario::parse(SCENARIO).expect("it is one");
        scenario.hard = vec!["delay-commit".to_owned(), "calls-twice".to_owned()];
        scenario.faults.clear();
        let report = run(&scenario, seed);
        assert_eq!(report.violations, [], "seed {seed}");
        assert!(report.ops[&Act::Put].ok >= 10, "those that are stored before: {:?}", report.ops);
    }
}
