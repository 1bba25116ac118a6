//! Many seeds of the swarm, on several threads: each world has its own.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use dfs_core::mark::Mark;

use crate::run::{Keep, OpCount, Report, run, run_kept};
use crate::scenario::Act;
use crate::swarm;

/// The sum of many runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sum {
    /// Runs.
    pub runs: u64,
    /// Of these, runs that went beyond what their policy survives.
    pub beyond_tolerance: u64,
    /// Virtual time of all, in milliseconds.
    pub took_ms: u64,
    /// Events of all traces.
    pub events: u64,
    /// What clients did.
    pub ops: BTreeMap<Act, OpCount>,
    /// Faults that struck, by kind.
    pub struck: BTreeMap<&'static str, u64>,
    /// What was done to single calls, by kind.
    pub injected: BTreeMap<String, u64>,
    /// How often places that a sweep must sometimes reach were reached.
    pub marks: BTreeMap<&'static str, u64>,
    /// Copies rebuilt.
    pub rebuilt: u64,
    /// Files lost, in runs that went beyond what their policy survives.
    pub files_lost: u64,
    /// Runs that lost files so.
    pub runs_with_loss: u64,
    /// Runs in which something was wrong, by seed.
    pub failed: BTreeMap<u64, Report>,
}

impl Sum {
    /// Adds one run.
    pub fn add(&mut self, report: Report, beyond_tolerance: bool) {
        self.runs += 1;
        self.beyond_tolerance += u64::from(beyond_tolerance);
        self.took_ms += report.took_ms;
        self.events += report.events;
        self.rebuilt += report.tally.rebuilt;
        self.files_lost += report.lost.len() as u64;
        self.runs_with_loss += u64::from(!report.lost.is_empty());
        for (act, count) in &report.ops {
            let sum = self.ops.entry(*act).or_default();
            sum.ok += count.ok;
            sum.refused += count.refused;
            sum.failed += count.failed;
        }
        for (kind, count) in &report.struck {
            *self.struck.entry(kind).or_default() += count;
        }
        for (kind, count) in &report.injected {
            *self.injected.entry(kind.clone()).or_default() += count;
        }
        for (mark, count) in &report.marks {
            *self.marks.entry(mark).or_default() += count;
        }
        if !report.is_right() {
            self.failed.insert(report.seed, report);
        }
    }
}

impl Sum {
    /// The places that were never reached.
    #[must_use]
    pub fn never_reached(&self) -> Vec<&'static str> {
        let names = Mark::ALL.into_iter().map(Mark::name);
        names.filter(|name| !self.marks.contains_key(name)).collect()
    }
}

/// Runs every seed, on `threads` threads, until all are done or `stop` is set.
/// `on_done` is given each report as it comes.
#[must_use]
pub fn sweep(
    seeds: RangeInclusive<u64>,
    threads: usize,
    stop: &AtomicBool,
    on_done: &(dyn Fn(&Report) + Sync),
) -> Sum {
    let next = AtomicU64::new(*seeds.start());
    let sum = Mutex::new(Sum::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        return;
                    }
                    let (report, beyond_tolerance) = run_seed(seed);
                    on_done(&report);
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    sum.add(report, beyond_tolerance);
                }
            });
        }
    });
    sum.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// One seed of the swarm, and whether it goes beyond tolerance. Trace lines
/// are kept only by the second run of one that fails.
#[must_use]
pub fn run_seed(seed: u64) -> (Report, bool) {
    let scenario = swarm::scenario(seed);
    let keep = Keep::default();
    keep.trace.keep_lines(false);
    let report = run_kept(&scenario, seed, &keep);
    let report = if report.is_right() { report } else { run(&scenario, seed) };
    (report, scenario.beyond_tolerance)
}
