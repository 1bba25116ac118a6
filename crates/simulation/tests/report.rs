//! A report says what happened: what was lost is lost, and what did not
//! strike was not survived.

use std::collections::{BTreeMap, BTreeSet};

use dfs_simulation::run::{Report, Verdict, run};
use dfs_simulation::scenario::Scenario;

/// Two of five nodes lose their disks at once.
const TWO_WIPED: &str = r#"
name = "two-wiped"
lasts = "6m"
beyond-tolerance = true
[cluster]
nodes = 5
replication = 1
parity = "xor:2"
[workload]
stored-before = 20
ops = 20
every = "10s"
size-min = "1K"
[[fault]]
at = "30s"
what = "wipe"
host = "n1"
lasts = "20s"
[[fault]]
at = "30s"
what = "wipe"
host = "n2"
lasts = "20s"
"#;

/// The only node loses its disk.
const ONLY_ONE_WIPED: &str = r#"
name = "only-one-wiped"
lasts = "1m"
[cluster]
nodes = 3
replication = 1
[workload]
stored-before = 5
ops = 10
[[fault]]
at = "30s"
what = "wipe"
host = "n1"
lasts = "20s"
[[fault]]
at = "40s"
what = "kill"
host = "n2"
lasts = "5s"
"#;

/// One node stays away until the end, so no other may be destroyed.
const NEVER_THE_MOMENT: &str = r#"
name = "never-the-moment"
lasts = "1m"
[cluster]
nodes = 3
[workload]
stored-before = 5
ops = 10
[[fault]]
at = "5s"
what = "kill"
host = "n1"
lasts = "5m"
[[fault]]
at = "30s"
what = "bit-rot"
host = "n2"
count = 10
"#;

fn parse(text: &str) -> Scenario {
    Scenario::parse(text).expect("it is one")
}

fn says(report: &Report, text: &str) -> bool {
    report.timeline.iter().any(|moment| moment.text.contains(text))
}

#[test]
fn files_that_more_losses_than_the_policy_survives_cost_are_counted_as_lost() {
    let scenario = parse(TWO_WIPED);
    for seed in 1..=3 {
        let report = run(&scenario, seed);
        assert_eq!(report.violations, [], "an honest error is right");
        assert_eq!(report.verdict(), Verdict::Lost(report.lost.len()), "seed {seed}");
        assert!(!says(&report, "every stripe can be read again"), "{:?}", report.timeline);
        assert!(says(&report, "files cannot be read any more"), "{:?}", report.timeline);
    }
    let mut within = scenario;
    within.beyond_tolerance = false;
    assert_eq!(run(&within, 1).lost, BTreeSet::new());
}

#[test]
fn a_fault_that_the_policy_does_not_survive_is_said_to_be_left_out() {
    let mut scenario = parse(ONLY_ONE_WIPED);
    let beyond: Vec<_> = scenario.beyond_policy().iter().map(|fault| fault.what.name()).collect();
    assert_eq!(beyond, ["wipe"], "it is known before");
    let report = run(&scenario, 1);
    assert_eq!(report.left_out, BTreeMap::from([("wipe", 1)]));
    assert_eq!(report.verdict(), Verdict::NotShown(BTreeSet::from(["wipe"])));
    assert!(says(&report, "wipe of n1 is left out"), "{:?}", report.timeline);
    scenario.beyond_tolerance = true;
    assert!(scenario.beyond_policy().is_empty());
    let report = run(&scenario, 1);
    assert_eq!((report.left_out.len(), report.struck.get("wipe")), (0, Some(&1)));
}

#[test]
fn a_fault_that_waits_for_its_moment_until_the_end_is_left_out_too() {
    let report = run(&parse(NEVER_THE_MOMENT), 1);
    assert_eq!(report.left_out, BTreeMap::from([("bit-rot", 1)]));
    assert_eq!(report.verdict(), Verdict::NotShown(BTreeSet::from(["bit-rot"])));
}

#[test]
fn a_policy_that_so_many_nodes_cannot_keep_is_no_scenario() {
    for (nodes, policy) in [(5, "replication = 9"), (2, "parity = \"rs:4+2\"")] {
        let text = format!("name = \"x\"\nlasts = \"1m\"\n[cluster]\nnodes = {nodes}\n{policy}\n");
        let refusal = Scenario::parse(&text).expect_err("nothing could be stored").to_string();
        assert!(refusal.contains("nothing could be stored"), "{refusal}");
        assert!(refusal.contains("start") && refusal.contains("more"), "a fix is named: {refusal}");
    }
}
