//! `sim seeds`: many scenarios, each drawn from a seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dfs_simulation::run::Report;
use dfs_simulation::swarm;
use dfs_simulation::sweep::{Sum, run_seed, sweep};
use tokio::time::Instant;

use super::run::{explain, off_the_runtime};
use super::tell;
use crate::cli::SimSeedsArgs;
use crate::console::Console;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{self, json};

/// Failed seeds that are shrunk; of the others only the rule is told.
const EXPLAINED_MAX: usize = 3;

/// Runs them.
pub(super) async fn run(args: SimSeedsArgs, console: &Console) -> Outcome {
    if args.digests {
        return print_digests(args).await;
    }
    let count = (args.seeds.end() - args.seeds.start()).saturating_add(1);
    let threads = args.threads.map_or_else(cores, usize::from);
    let stop = StopOnDrop(Arc::new(AtomicBool::new(false)));
    let done = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let sum = {
        let counted = done.clone();
        let gauge = Arc::new(move || (counted.load(Ordering::Relaxed), count).into());
        let _meter = console.count_meter("sim seeds", "seed", gauge);
        let (seeds, stop) = (args.seeds.clone(), stop.0.clone());
        let on_done = move |report: &Report| {
            done.fetch_add(1, Ordering::Relaxed);
            if let Some(found) = report.violations.first() {
                output::note(format!(
                    "seed {}: {} is broken: {}",
                    report.seed, found.rule, found.text
                ));
            }
        };
        off_the_runtime(move || sweep(seeds, threads, &stop, &on_done)).await?
    };
    let took = started.elapsed();
    if args.answer.json {
        json::print("sim seeds", tell::sum_json(&sum, took))?;
    } else {
        tell::sum(&sum, took)?;
    }
    if sum.failed.is_empty() {
        return Ok(Code::Ok);
    }
    explain_failed(sum, args.answer.json).await?;
    Err(Failure::answered(Code::Integrity))
}

async fn explain_failed(sum: Sum, is_json: bool) -> Outcome {
    let failed = sum.failed.len();
    for (seed, report) in sum.failed.into_iter().take(EXPLAINED_MAX) {
        explain(&swarm::scenario(seed), report, is_json).await?;
    }
    if failed > EXPLAINED_MAX && !is_json {
        output::note(format!(
            "the other {} are told by dfs-sim sim seeds SEED",
            failed - EXPLAINED_MAX
        ));
    }
    Ok(Code::Ok)
}

async fn print_digests(args: SimSeedsArgs) -> Outcome {
    for seed in args.seeds {
        let (report, _) = off_the_runtime(move || run_seed(seed)).await?;
        output::line(format!("{seed} {}", report.digest))?;
    }
    Ok(Code::Ok)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Lets the threads end when the verb is stopped.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
