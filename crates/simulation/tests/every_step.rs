//! One put, one overwrite, one repair, one delete: each of their steps, every
//! change of a disk, every message sent and received, is once the last that
//! some process takes. Whoever stops, and however: the file is as it was or
//! as it shall be, nothing else is lost, and nothing is left behind.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use dfs_simulation::run::{Keep, Report, run_kept};
use dfs_simulation::scenario::Scenario;
use dfs_simulation::{By, Stop};

const SEED: u64 = 7;

/// Steps within which the chunks of a deleted file are swept up.
const SWEEP_STEPS: u64 = 120;

/// The clusters: copies only, and parity.
const COPIES: &str = "nodes = 3\nclients = 1\nreplication = 2";
const PARITY: &str = "nodes = 4\nclients = 1\nreplication = 1\nparity = \"rs:2+1\"";

/// What is done; the last op or the only fault is what is looked at.
const BYSTANDER: &str = "[[op]]\ndo = \"put\"\nname = \"bystander\"\nsize = \"90K\"\n";
const OLD: &str = "[[op]]\ndo = \"put\"\nname = \"f\"\nsize = \"70K\"\n";
const PUT: &str = "[[op]]\ndo = \"put\"\nname = \"f\"\nsize = \"100K\"\nafter = \"1s\"\n";
const REPLACE: &str = "[[op]]\ndo = \"replace\"\nname = \"f\"\nsize = \"100K\"\nafter = \"1s\"\n";
const REMOVE: &str = "[[op]]\ndo = \"remove\"\nname = \"f\"\nafter = \"1s\"\n";
const WIPE: &str = "[[fault]]\nat = \"3s\"\nwhat = \"wipe\"\nhost = \"n1\"\nlasts = \"1s\"\n";

fn scenario(cluster: &str, parts: &[&str]) -> Scenario {
    let head = "name = \"step\"\nlasts = \"50s\"\n[cluster]\nrepair-after = \"5s\"\n";
    let head = format!("{head}delete-grace = \"5s\"\n{cluster}\n");
    Scenario::parse(&(head + &parts.concat())).expect("it is one")
}

fn run(scenario: &Scenario, stop: Option<(u64, Stop)>) -> Report {
    let keep = Keep { stop, ..Keep::default() };
    keep.trace.keep_lines(false);
    run_kept(scenario, SEED, &keep)
}

/// Stops the owner of each of `steps`, killed and without power, and every
/// `stride`th time each other process too. Says how many runs there were.
fn stop_at_each(name: &str, scenario: &Scenario, steps: Range<u64>, stride: u64) -> usize {
    let nodes = (1..=scenario.cluster.nodes).map(|number| format!("n{number}"));
    let hosts: Vec<String> = nodes.chain(["coord".to_owned(), "c1".to_owned()]).collect();
    let mut stops = Vec::new();
    for step in steps.clone() {
        for by in [By::Kill, By::PowerCut] {
            stops.push((step, Stop::owner(by)));
        }
        if step % stride == 0 {
            let by = if step % (2 * stride) == 0 { By::Kill } else { By::PowerCut };
            stops.extend(hosts.iter().map(|host| (step, Stop::host(host, by))));
        }
    }
    let (next, broken) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(stop) = stops.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let report = run(scenario, Some(stop.clone()));
                    let what = report.stopped.clone().unwrap_or_else(|| "nothing".to_owned());
                    let has_stopped = report.stopped.is_some();
                    if !report.is_right() || !has_stopped {
                        let found = report.violations.first().map(|found| found.text.clone());
                        let line = format!("{stop:?} stopped {what}: {found:?}");
                        broken.lock().expect("no panic").push(line);
                    }
                }
            });
        }
    });
    let broken = broken.into_inner().expect("no panic");
    let (count, steps) = (stops.len(), steps.end - steps.start);
    println!("{name}: {} of {count} stops at {steps} steps hold", count - broken.len());
    assert_eq!(broken, Vec::<String>::new(), "{name} from seed {SEED}");
    assert!(steps > 20, "{name} has steps: {steps}");
    count
}

/// Looks at the steps of the last op, and at `more` that come after it.
fn op_holds(name: &str, cluster: &str, ops: &[&str], stride: u64, more: u64) {
    let scenario = scenario(cluster, ops);
    let whole = run(&scenario, None);
    assert_eq!(whole.violations, [], "{name}");
    let steps = whole.op_steps.last().expect("the op ended").clone();
    let steps = steps.start..steps.end + more;
    stop_at_each(name, &scenario, steps, stride);
}

#[test]
fn every_step_of_a_put() {
    op_holds("put of copies", COPIES, &[BYSTANDER, PUT], 1, 0);
    op_holds("put of a stripe", PARITY, &[BYSTANDER, PUT], 4, 0);
}

#[test]
fn every_step_of_an_overwrite() {
    op_holds("overwrite", COPIES, &[BYSTANDER, OLD, REPLACE], 1, 0);
}

#[test]
fn every_step_of_a_delete() {
    // Its chunks go later, when the grace is over.
    op_holds("delete", COPIES, &[BYSTANDER, OLD, REMOVE], 4, SWEEP_STEPS);
}

#[test]
fn every_step_of_a_repair() {
    for (name, cluster) in [("repair from copies", COPIES), ("repair from parity", PARITY)] {
        let scenario = scenario(cluster, &[BYSTANDER, OLD, WIPE]);
        let whole = run(&scenario, None);
        assert_eq!(whole.violations, [], "{name}");
        assert!(whole.tally.rebuilt > 0, "{name}: {:?}", whole.tally);
        let steps = whole.fault_steps.last().expect("the repair ended").clone();
        stop_at_each(name, &scenario, steps, 10);
    }
}
