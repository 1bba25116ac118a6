//! One seed, one trace (I12): checked before anything else is believed.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dfs_core::data::digest::Digest;
use dfs_core::policy::ParitySpec;
use dfs_simulation::World;
use dfs_simulation::cluster::{Cluster, ClusterSettings};
use dfs_simulation::net::Link;
use dfs_simulation::oracle::sample_bytes;
use dfs_simulation::run::{Keep, differs_from_itself, hard_names, run_kept};
use dfs_simulation::scenario::Scenario;
use dfs_simulation::swarm;

/// Seeds of the swarm that run twice. Every second one of them has all hard
/// places; the others have what they draw.
const SEEDS: u64 = 500;
/// How often one busy scenario runs.
const BUSY_RUNS: usize = 50;
/// Threads that share the work.
const THREADS: usize = 2;

/// Many clients wait for the same commits while copies are rebuilt: whatever
/// wakes waiters in another order in another run shows here at once.
const BUSY: &str = r#"
name = "busy"
lasts = "4m"
[cluster]
nodes = 4
clients = 3
replication = 3
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

/// A short life of a cluster with a bit of everything in it.
fn digest_of_a_life(seed: u64) -> (u64, Digest) {
    World::run_traced(seed, async |world| {
        let parity = ParitySpec::ReedSolomon { data: 2, parity: 1 };
        let mut settings = ClusterSettings::new(5, 1, parity);
        settings.repair_after = Duration::from_secs(5);
        let cluster = Cluster::start(world, settings).await;
        world.net().set_all(Link { loss_per_mille: 5, jitter_us: 3000, ..Link::default() });
        for number in 0..4 {
            let bytes = sample_bytes(number, 100_000);
            // Under loss a put may fail; what counts is that it does so twice.
            let _ = cluster.put(&format!("f{number}"), &bytes).await;
        }
        cluster.host("n2").crash();
        let _ = cluster.get("f1").await;
        cluster.host("coord").crash();
        cluster.start_coordinator().await;
        let _ = cluster.put("late", &sample_bytes(9, 300_000)).await;
        world.net().heal();
        cluster.settle().await;
        cluster.start_node("n2").await;
        cluster.pass(Duration::from_secs(30)).await;
        world.trace().events()
    })
}

#[test]
fn two_runs_of_one_seed_are_the_same_event_by_event() {
    for seed in [1, 2] {
        let (events, first) = digest_of_a_life(seed);
        assert!(events > 500, "{events} events are no life");
        assert_eq!((events, first), digest_of_a_life(seed), "seed {seed}");
    }
}

#[test]
fn another_seed_is_another_life() {
    assert_ne!(digest_of_a_life(3).1, digest_of_a_life(4).1);
}

#[test]
fn a_busy_cluster_that_rebuilds_has_one_trace_in_every_thread() {
    let mut scenario = Scenario::parse(BUSY).expect("it is one");
    scenario.hard = all_hard();
    let digests = Mutex::new(Vec::new());
    // A thread for each run: what differs by thread, such as a generator of
    // its own or the keys of its hash maps, must not show.
    for _ in 0..BUSY_RUNS.div_ceil(THREADS) {
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let keep = Keep::default();
                    keep.trace.keep_lines(false);
                    let report = run_kept(&scenario, 7, &keep);
                    assert_eq!(report.violations, []);
                    assert!(report.tally.rebuilt > 0, "nothing was rebuilt");
                    digests.lock().expect("no holder panics").push(report.digest);
                });
            }
        });
    }
    let digests = digests.into_inner().expect("no holder panics");
    let traces: BTreeSet<_> = digests.iter().map(ToString::to_string).collect();
    assert_eq!((digests.len(), traces.len()), (BUSY_RUNS, 1), "runs and traces");
}

#[test]
fn a_seed_of_the_swarm_runs_the_same_each_time() {
    let (next, with_hard_places) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= SEEDS {
                        return;
                    }
                    let mut scenario = swarm::scenario(seed);
                    if seed % 2 == 1 {
                        scenario.hard = all_hard();
                    }
                    let is_hard = u64::from(!scenario.hard.is_empty());
                    with_hard_places.fetch_add(is_hard, Ordering::Relaxed);
                    let difference = differs_from_itself(&scenario, seed);
                    assert_eq!(difference, None, "seed {seed} parts from itself here");
                }
            });
        }
    });
    assert!(with_hard_places.into_inner() >= SEEDS / 2);
}

fn all_hard() -> Vec<String> {
    hard_names().into_iter().map(str::to_owned).collect()
}
