//! The main test of the store: scenarios that seeds draw, and those that are
//! built in, hold everything that is promised.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::AtomicBool;

use dfs_core::mark::Mark;
use dfs_simulation::run::{OpCount, Report, run};
use dfs_simulation::scenario::{Act, BUILT_IN, built_in};
use dfs_simulation::shrink::shrink;
use dfs_simulation::swarm;
use dfs_simulation::sweep::sweep;

/// Seeds that every run of the tests looks at. Those that once found
/// something are among them or in [`FOUND_SOMETHING`].
const SEEDS: RangeInclusive<u64> = 0..=799;
/// Seeds that found what was mended since.
const FOUND_SOMETHING: [u64; 45] = [
    860, 870, 986, 1141, 1195, 1228, 1256, 1402, 1490, 2408, 2692, 6499, 7491, 8223, 8532, 13_526,
    17_900, 18_854, 27_498, 27_963, 32_086, 34_569, 40_660, 58_491, 60_984, 62_470, 70_723, 77_014,
    201_116, 201_126, 201_570, 202_042, 203_050, 204_636, 205_879, 206_293, 208_796, 208_836,
    400_320, 500_220, 500_381, 608_545, 611_931, 720_730, 760_490,
];
/// How often these seeds must reach each coverage mark.
const REACHED_MIN: u64 = 20;
/// Marks that few seeds reach: two need large files, and few commits meet a
/// fault that the look before them has not met.
const RARE: [Mark; 3] = [Mark::ReadOvertaken, Mark::WriteSetAside, Mark::LedgerFailed];
/// How often these seeds must reach such a mark.
const REACHED_MIN_WHERE_RARE: u64 = 10;
/// Marks that seeds cannot reach: a coordinator plans no chunk that it has
/// rebuilt already, and nothing else changes a layout. The planted bug
/// `SecondRepairWins` reaches it. And one that `slow.rs` reaches: it was not
/// counted how often seeds do.
const SELDOM: [Mark; 2] = [Mark::LayoutRefused, Mark::WriteSentAnew];
/// Runs that shrinking a failure may take.
const SHRINK_RUNS_MAX: u32 = 150;

/// What a person needs to go on from a seed that failed.
fn told(report: Report) -> String {
    let seed = report.seed;
    let found = report.violations.iter().map(|found| format!("{}: {}\n", found.rule, found.text));
    let mut text = format!("seed {seed}\n{}", found.collect::<String>());
    text += &report.tail.join("\n");
    let original = swarm::scenario(seed);
    if let Some(shrunk) = shrink(&original, seed, report, SHRINK_RUNS_MAX, &|| true) {
        let case = shrunk.scenario.to_toml();
        text +=
            &format!("\nA smaller case, for dfs-sim sim run ./case.toml --seed {seed}:\n{case}");
    }
    text + &format!("\nRepeat the whole with: dfs-sim sim run swarm --seed {seed}")
}

#[test]
fn whatever_a_seed_draws_holds() {
    let stop = AtomicBool::new(false);
    let mut sum = sweep(SEEDS, 2, &stop, &|_| {});
    for seed in FOUND_SOMETHING {
        let (report, beyond_tolerance) = dfs_simulation::sweep::run_seed(seed);
        sum.add(report, beyond_tolerance);
    }
    let hours = sum.took_ms / 3_600_000;
    println!("{} seeds, {hours} virtual hours, {:?}", sum.runs, sum.struck);
    let failed = sum.failed.len();
    for (seed, report) in &sum.failed {
        let found = report.violations.first().expect("it failed");
        println!("seed {seed}: {}: {}", found.rule, found.text);
    }
    if let Some((_, report)) = sum.failed.pop_first() {
        panic!("{failed} seeds failed; the first is {}", told(report));
    }
    assert_eq!(sum.runs, SEEDS.end() + 1 + FOUND_SOMETHING.len() as u64);
    assert!(sum.beyond_tolerance > sum.runs / 20, "some go beyond tolerance");
    for kind in dfs_simulation::scenario::FaultKind::ALL {
        // These wait for a quiet moment, and are often left out.
        let waits = kind.is_on_catalog() || kind.is_on_folder();
        let times_min = if waits { 3 } else { 10 };
        let times = sum.struck.get(kind.name()).copied().unwrap_or(0);
        assert!(times > times_min, "{} struck only {times} times", kind.name());
    }
    println!("{:#?}", sum.marks);
    for mark in Mark::ALL.into_iter().filter(|mark| !SELDOM.contains(mark)) {
        let times = sum.marks.get(mark.name()).copied().unwrap_or(0);
        let is_rare = RARE.contains(&mark);
        let times_min = if is_rare { REACHED_MIN_WHERE_RARE } else { REACHED_MIN };
        assert!(times >= times_min, "{} was reached only {times} times", mark.name());
    }
    let (ok, of) = reads(&sum.ops);
    assert!(ok * 2 > of, "only {ok} of {of} reads gave bytes: they show little");
}

/// How many reads gave bytes, and how many there were.
fn reads(ops: &BTreeMap<Act, OpCount>) -> (u64, u64) {
    let reads = [Act::Get, Act::GetRange].iter().filter_map(|act| ops.get(act));
    reads.fold((0, 0), |(ok, of), count| {
        (ok + count.ok, of + count.ok + count.refused + count.failed)
    })
}

#[test]
fn the_built_in_scenarios_hold_and_show_what_they_say() {
    for built_in_one in BUILT_IN {
        let scenario = built_in(built_in_one.name).expect("it is there");
        let report = run(&scenario, 1);
        assert_eq!(report.violations, [], "{}", built_in_one.name);
        let kinds: std::collections::BTreeSet<_> =
            scenario.faults.iter().map(|fault| fault.what.name()).collect();
        assert_eq!(report.struck.keys().copied().collect::<Vec<_>>(), Vec::from_iter(kinds));
        let (ok, of) = reads(&report.ops);
        let name = built_in_one.name;
        assert!(of >= 20 && ok * 4 >= of * 3, "{name}: {ok} of {of} reads gave bytes");
        let rebuilt = report.tally.rebuilt;
        match built_in_one.name {
            "node-loss" | "bit-rot" | "rack-loss" | "mixed" => assert!(rebuilt > 0),
            // L3: outages shorter than the repair delay cause no repair.
            "rolling-restart" | "coordinator-crash" | "slow-node" => assert_eq!(rebuilt, 0),
            _ => {}
        }
    }
}
