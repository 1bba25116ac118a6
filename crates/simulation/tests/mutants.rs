//! A simulator that finds nothing is a suspect: each bug that is planted in
//! the real code must turn the swarm red, and the same seed must be green
//! without it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use dfs_core::mutant::{Mutant, plant};
use dfs_simulation::run::{Keep, Report, run_kept};
use dfs_simulation::swarm;

/// Seeds that may pass before a bug is found.
const SEEDS_MAX: u64 = 600;

fn run(seed: u64) -> Report {
    let keep = Keep::default();
    keep.trace.keep_lines(false);
    run_kept(&swarm::scenario(seed), seed, &keep)
}

/// The first seed that finds the bug, and what it says.
fn find(mutant: Mutant) -> Option<(u64, String)> {
    let _planted = plant(mutant);
    (0..SEEDS_MAX).find_map(|seed| {
        let found = run(seed).violations.into_iter().next()?;
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
                    let by = find(*mutant);
                    let is_green = by.as_ref().is_none_or(|(seed, _)| run(*seed).is_right());
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
