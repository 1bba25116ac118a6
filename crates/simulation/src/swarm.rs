//! Scenarios drawn from a seed. Each seed has kinds of fault of its own, and
//! its own dose of each: a run with a little of everything hides what a run
//! with much of one thing shows (Groce et al. 2012, *Swarm Testing*).

use dfs_core::policy::{Compression, ParitySpec, PlacementStrategy};
use dfs_core::units::{ByteSize, Span};

use crate::rng::Rng;
use crate::run::SMALL_LIMITS;
use crate::scenario::{ClusterPlan, Fault, FaultKind, Field, Harm, Scenario, Weights, Workload};

/// Of so many seeds, one goes beyond what its policy survives.
const BEYOND_ONE_OF: u64 = 10;
/// Of so many seeds, one has small limits.
const SMALL_LIMITS_ONE_OF: u64 = 3;
/// Kinds of fault of the swarm's first days: what a seed draws of them stays
/// the same when others are added.
const DRAWN_FIRST: usize = 29;
/// The kinds before these came later, and these last.
const DRAWN_SECOND: usize = 37;
/// Of so many seeds, one has faults of the kinds that came later.
const LATER_KINDS_ONE_OF: u64 = 4;
/// Of so many seeds, one has a node whose links are slow.
const SLOW_RATE_ONE_OF: u64 = 10;
/// Of so many seeds, one has large files and nothing wrong but a slow node: how
/// long clients take is looked at there.
const SLOW_ONLY_ONE_OF: u64 = 16;
/// What a slow node's links move in a second. A whole frame then takes from
/// a second to most of a minute.
const SLOW_RATES: [u64; 5] = [20 << 10, 300 << 10, 400 << 10, 600 << 10, 800 << 10];
/// Large files, which have several frames in a chunk.
const LARGE_BYTES: (u64, u64) = (7 << 20, 8 << 20);
/// So many nodes are slow then, one after the other, each for so long.
const SLOW_ONLY_TIMES: u64 = 4;
/// See [`SLOW_ONLY_TIMES`].
const SLOW_ONLY_MS: u64 = 30_000;
/// Of so many seeds, one has single copies, and nothing wrong but nodes that
/// the coordinator does not hear: whether and how soon clients read them is
/// looked at there.
const UNHEARD_ONE_OF: u64 = 20;
/// So often some nodes are not heard then, each time for so long. They are
/// suspect for six seconds of it.
const UNHEARD_TIMES: u64 = 4;
/// See [`UNHEARD_TIMES`].
const UNHEARD_MS: u64 = 20_000;
/// The time from one of them to the next: all is well again in between.
const UNHEARD_EVERY_MS: u64 = 40_000;
/// Of so many seeds, one has disks that files of others fill, while clients
/// put one file after the other.
const CROWDED_ONE_OF: u64 = 16;
/// So often that happens then.
const CROWDED_TIMES: u64 = 4;
/// What is left then. The last two are less than what a volume of 1 GiB keeps
/// free, and a little more.
const CROWDED_FREE: [u64; 4] = [0, 1 << 20, 15 << 20, 17 << 20];
/// How much such clients do, all together.
const CROWDED_OPS_MAX: u64 = 250;
/// Of so many seeds, one has data folders on wrong machines.
const FOLDERS_ONE_OF: u64 = 5;
/// Of so many seeds, one has clients that change the same few files at once
/// while answers are lost.
const CONTENDING_ONE_OF: u64 = 6;
/// How much such clients do, all together.
const CONTENDING_OPS_MAX: u64 = 250;
/// The name of a drawn scenario.
pub const NAME: &str = "swarm";

/// The scenario of a seed.
#[must_use]
pub fn scenario(seed: u64) -> Scenario {
    let mut rng = Rng::derive(seed, "swarm");
    let beyond_tolerance = rng.chance(1, BEYOND_ONE_OF);
    let cluster = cluster(&mut rng);
    let lasts_ms = 60_000 + rng.below(8 * 60_000);
    let workload = workload(&mut rng, lasts_ms, cluster.clients);
    let mut hard = hard(&mut rng);
    // Drawn apart, so that all else stays as it was drawn without it.
    if Rng::derive(seed, "small limits").chance(1, SMALL_LIMITS_ONE_OF) {
        hard.push(SMALL_LIMITS.to_owned());
    }
    let mut scenario = Scenario {
        name: NAME.to_owned(),
        about: format!("drawn from seed {seed}"),
        lasts: Span::from_millis(lasts_ms),
        beyond_tolerance,
        hard,
        cluster,
        workload: Some(workload),
        ops: Vec::new(),
        faults: Vec::new(),
    };
    scenario.faults = faults(&mut rng, &scenario);
    // A stream of its own: what the seed draws besides stays as it is.
    let mut rng = Rng::derive(seed, "outages");
    if nodes_are_many(&scenario) && rng.chance(1, OUTAGES_ONE_OF) {
        scenario.faults.extend(outages(&mut rng, &scenario));
        scenario.faults.sort_by_key(|fault| fault.at);
    }
    later_faults(seed, &mut scenario);
    displaced_folders(seed, &mut scenario);
    contend(seed, &mut scenario);
    crowded_disks(seed, &mut scenario);
    unheard_nodes(seed, &mut scenario);
    slow_node(seed, &mut scenario);
    scenario
}

/// Of so many seeds, one has a row of long outages.
const OUTAGES_ONE_OF: u64 = 5;
/// How long a node is away after its repair was due, at most.
const OUTAGE_EXTRA_MS: u64 = 60_000;
/// How long two outages of a row overlap, at most.
const OUTAGES_OVERLAP_MS: u64 = 60_000;

fn nodes_are_many(scenario: &Scenario) -> bool {
    scenario.cluster.nodes >= 3
}

/// One node after the other is away for so long that it is repaired, and each
/// goes before the last one is back: layouts, copies that were made anew and
/// copies that came back then differ in every way.
fn outages(rng: &mut Rng, scenario: &Scenario) -> Vec<Fault> {
    let nodes = scenario.cluster.nodes as u64;
    let away_ms = 15_000 + scenario.cluster.repair_after.as_millis();
    let mut at_ms = rng.below(scenario.lasts.as_millis() / 2);
    let mut node = rng.below(nodes);
    let mut faults = Vec::new();
    for _ in 0..2 + rng.below(2) {
        let lasts_ms = away_ms + rng.below(OUTAGE_EXTRA_MS);
        faults.push(Fault {
            at: Span::from_millis(at_ms),
            what: FaultKind::Kill,
            host: format!("n{}", 1 + node),
            to: String::new(),
            lasts: Some(Span::from_millis(lasts_ms)),
            count: None,
            per_mille: None,
            latency: None,
            rate: None,
            jump: None,
            free: None,
        });
        at_ms = (at_ms + lasts_ms).saturating_sub(rng.below(OUTAGES_OVERLAP_MS));
        node = (node + 1 + rng.below(nodes - 1)) % nodes;
    }
    let is_within = |fault: &Fault| fault.at < scenario.lasts;
    faults.retain(is_within);
    faults
}

/// The mean time between two faults of [`faults_of`].
const FAULT_EVERY_MS: u64 = 4 * 60_000;

/// Faults of these kinds only, drawn over the whole time of `scenario`.
#[must_use]
pub fn faults_of(kinds: &[FaultKind], scenario: &Scenario, seed: u64) -> Vec<Fault> {
    if kinds.is_empty() {
        return Vec::new();
    }
    let mut rng = Rng::derive(seed, "faults");
    let count = scenario.lasts.as_millis().div_ceil(FAULT_EVERY_MS).max(1);
    let mut faults: Vec<Fault> = (0..count)
        .map(|_| {
            let kind = *pick(&mut rng, kinds);
            let mut fault = fault(&mut rng, kind, scenario);
            if kind.is_on_folder() || kind == FaultKind::SlowRate {
                aim_at_one(&mut rng, &mut fault, scenario);
            }
            fault
        })
        .collect();
    faults.sort_by_key(|fault| fault.at);
    faults
}

/// Lets a fault strike one node, and another one where it takes two.
fn aim_at_one(rng: &mut Rng, fault: &mut Fault, scenario: &Scenario) {
    let nodes = scenario.cluster.nodes as u64;
    let node = rng.below(nodes);
    fault.host = format!("n{}", 1 + node);
    if fault.what == FaultKind::SwapFolders {
        let others = nodes.saturating_sub(1).max(1);
        fault.to = format!("n{}", 1 + (node + 1 + rng.below(others)) % nodes);
    }
}

/// `scenario` made to last so long: its clients go on at the same pace, and
/// its faults come again in each round of its own length.
#[must_use]
pub fn stretched(mut scenario: Scenario, lasts: Span) -> Scenario {
    let round_ms = scenario.lasts.as_millis().max(1);
    let rounds = lasts.as_millis().div_ceil(round_ms).max(1);
    let once = std::mem::take(&mut scenario.faults);
    for round in 0..rounds {
        for fault in &once {
            let mut again = fault.clone();
            again.at = Span::from_millis(fault.at.as_millis() + round * round_ms);
            if again.at <= lasts && (round == 0 || again.what != FaultKind::Join) {
                scenario.faults.push(again);
            }
        }
    }
    if let Some(workload) = &mut scenario.workload {
        let ops = workload.ops as u64 * lasts.as_millis() / round_ms;
        workload.ops = index(ops.max(1));
    }
    scenario.lasts = lasts;
    scenario
}

fn cluster(rng: &mut Rng) -> ClusterPlan {
    let nodes = *pick(rng, &[1, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 9]);
    let policies: [(usize, u8, ParitySpec); 12] = [
        (1, 1, ParitySpec::None),
        (2, 2, ParitySpec::None),
        (2, 2, ParitySpec::None),
        (3, 2, ParitySpec::None),
        (3, 3, ParitySpec::None),
        (3, 1, ParitySpec::XorAuto),
        (3, 2, ParitySpec::XorAuto),
        (3, 1, ParitySpec::Xor { data: 2 }),
        (4, 1, ParitySpec::ReedSolomon { data: 2, parity: 2 }),
        (5, 2, ParitySpec::ReedSolomon { data: 2, parity: 1 }),
        (6, 1, ParitySpec::ReedSolomon { data: 4, parity: 2 }),
        (9, 1, ParitySpec::ReedSolomon { data: 6, parity: 3 }),
    ];
    let fitting: Vec<_> = policies.into_iter().filter(|(least, ..)| *least <= nodes).collect();
    // The last that fit are the ones that this many nodes are for.
    let from = fitting.len().saturating_sub(6);
    let (_, replication, parity) = *pick(rng, &fitting[from..]);
    let zones =
        if nodes >= 4 && rng.chance(1, 4) { vec!["rack-a", "rack-b", "rack-c"] } else { vec![] };
    ClusterPlan {
        nodes,
        clients: 1 + index(rng.below(4)),
        replication,
        parity,
        compression: *pick(rng, &[Compression::Lz4, Compression::Lz4, Compression::None]),
        placement: *pick(rng, &[PlacementStrategy::RoundRobin, PlacementStrategy::Ring]),
        zones: zones.into_iter().map(str::to_owned).collect(),
        repair_after: Span::from_secs(*pick(rng, &[5, 20, 60, 300])),
        delete_grace: Span::from_secs(*pick(rng, &[5, 30, 60])),
        ..ClusterPlan::default()
    }
}

fn workload(rng: &mut Rng, lasts_ms: u64, clients: usize) -> Workload {
    let ops = 20 + rng.below(120);
    let weight = |rng: &mut Rng, usual: u32| if rng.chance(1, 5) { 0 } else { usual };
    let usual = Weights::default();
    Workload {
        stored_before: index(rng.below(6)),
        ops: index(ops),
        every: Span::from_millis(lasts_ms * clients as u64 / (ops + 1)),
        names: 1 + index(rng.below(8)),
        size_min: ByteSize(0),
        size_max: ByteSize(*pick(rng, &[600, 70 << 10, 200 << 10, 500 << 10])),
        weights: Weights {
            put: weight(rng, usual.put),
            remove: weight(rng, usual.remove),
            rename: weight(rng, usual.rename),
            list: weight(rng, usual.list),
            ..usual
        },
    }
}

fn hard(rng: &mut Rng) -> Vec<String> {
    let names = crate::run::hard_names().into_iter().filter(|name| *name != SMALL_LIMITS);
    names.filter(|_| rng.chance(1, 8)).map(str::to_owned).collect()
}

fn faults(rng: &mut Rng, scenario: &Scenario) -> Vec<Fault> {
    let kinds: Vec<FaultKind> =
        (0..1 + rng.below(5)).map(|_| *pick(rng, &FaultKind::ALL[..DRAWN_FIRST])).collect();
    let mut faults: Vec<Fault> = (0..1 + rng.below(12))
        .map(|_| {
            let kind = *pick(rng, &kinds);
            fault(rng, kind, scenario)
        })
        .collect();
    faults.sort_by_key(|fault| fault.at);
    let joins = faults.iter().filter(|fault| fault.what == FaultKind::Join).count();
    // More than a few new nodes only make runs long.
    for _ in 2..joins {
        let last = faults.iter().rposition(|fault| fault.what == FaultKind::Join);
        if let Some(last) = last {
            faults.remove(last);
        }
    }
    faults
}

/// Faults of the kinds that came later, drawn apart for the same reason as
/// small limits are.
fn later_faults(seed: u64, scenario: &mut Scenario) {
    let mut rng = Rng::derive(seed, "later faults");
    if !rng.chance(1, LATER_KINDS_ONE_OF) {
        return;
    }
    for _ in 0..1 + rng.below(3) {
        let kind = *pick(&mut rng, &FaultKind::ALL[DRAWN_FIRST..DRAWN_SECOND]);
        let mut fault = fault(&mut rng, kind, scenario);
        if kind.is_on_catalog() {
            // They take long, and wait for a quiet moment.
            fault.at = Span::from_millis(fault.at.as_millis() / 4);
        }
        scenario.faults.push(fault);
    }
    scenario.faults.sort_by_key(|fault| fault.at);
}

/// A data folder that is exchanged or copied, drawn apart.
fn displaced_folders(seed: u64, scenario: &mut Scenario) {
    let mut rng = Rng::derive(seed, "folders");
    if !rng.chance(1, FOLDERS_ONE_OF) {
        return;
    }
    let kinds = [FaultKind::SwapFolders, FaultKind::TwinNode];
    let kind = *pick(&mut rng, if nodes_are_many(scenario) { &kinds } else { &kinds[1..] });
    let mut fault = fault(&mut rng, kind, scenario);
    aim_at_one(&mut rng, &mut fault, scenario);
    // It waits for a quiet moment.
    fault.at = Span::from_millis(fault.at.as_millis() / 2);
    fault.lasts = Some(Span::from_millis(10_000 + rng.below(40_000)));
    scenario.faults.push(fault);
    scenario.faults.sort_by_key(|fault| fault.at);
}

/// Files of others fill disks of nodes and of the coordinator, and clients put
/// so often that some put comes before the coordinator knows of it.
fn crowded_disks(seed: u64, scenario: &mut Scenario) {
    let mut rng = Rng::derive(seed, "disks crowded");
    if !rng.chance(1, CROWDED_ONE_OF) {
        return;
    }
    let lasts_ms = scenario.lasts.as_millis();
    if let Some(workload) = &mut scenario.workload {
        workload.every = Span::from_secs(1);
        let ops = lasts_ms * scenario.cluster.clients as u64 / 1_000;
        workload.ops = index(ops.min(CROWDED_OPS_MAX));
        workload.weights.put = 4;
    }
    for _ in 0..CROWDED_TIMES {
        let mut crowded = fault(&mut rng, FaultKind::CrowdedDisk, scenario);
        if rng.chance(1, 3) {
            crate::cluster::COORDINATOR.clone_into(&mut crowded.host);
        }
        // Clients end early where they have little to do.
        crowded.at = Span::from_millis(crowded.at.as_millis() / 3);
        crowded.lasts = Some(Span::from_millis(5_000 + rng.below(60_000)));
        crowded.free = Some(ByteSize(*pick(&mut rng, &CROWDED_FREE)));
        scenario.faults.push(crowded);
    }
    scenario.faults.sort_by_key(|fault| fault.at);
}

/// Heartbeats of some nodes are lost, and nothing else goes wrong. Chunks have
/// one copy, so that there is no other node to read them from.
fn unheard_nodes(seed: u64, scenario: &mut Scenario) {
    let mut rng = Rng::derive(seed, "nodes that are not heard");
    if !rng.chance(1, UNHEARD_ONE_OF) {
        return;
    }
    scenario.beyond_tolerance = false;
    scenario.hard.retain(|place| place == SMALL_LIMITS);
    scenario.lasts = Span::from_millis(UNHEARD_TIMES * UNHEARD_EVERY_MS);
    (scenario.cluster.replication, scenario.cluster.parity) = (1, ParitySpec::None);
    scenario.cluster.clients = 2;
    scenario.workload = Some(Workload {
        stored_before: 6,
        ops: 240,
        every: Span::from_secs(1),
        names: 6,
        size_min: ByteSize(0),
        size_max: ByteSize(500 << 10),
        weights: Weights { get: 18, get_range: 9, ..Weights::default() },
    });
    let nodes = scenario.cluster.nodes as u64;
    let cuts = (0..UNHEARD_TIMES).map(|number| {
        let mut cut = fault(&mut rng, FaultKind::Cut, scenario);
        cut.host = match rng.chance(1, 3) {
            true => "all".to_owned(),
            false => format!("n{}", 1 + rng.below(nodes)),
        };
        crate::cluster::COORDINATOR.clone_into(&mut cut.to);
        cut.at = Span::from_millis(number * UNHEARD_EVERY_MS);
        cut.lasts = Some(Span::from_millis(UNHEARD_MS));
        cut
    });
    scenario.faults = cuts.collect();
}

/// A slow node beside what else goes wrong, or alone with large files.
fn slow_node(seed: u64, scenario: &mut Scenario) {
    let mut rng = Rng::derive(seed, "slow node");
    let is_alone = scenario.cluster.tolerance() > 0
        && nodes_are_many(scenario)
        && rng.chance(1, SLOW_ONLY_ONE_OF);
    if !is_alone && !rng.chance(1, SLOW_RATE_ONE_OF) {
        return;
    }
    if is_alone {
        (scenario.beyond_tolerance, scenario.faults) = (false, Vec::new());
        scenario.hard.retain(|place| place == SMALL_LIMITS);
        scenario.lasts = Span::from_millis(SLOW_ONLY_TIMES * SLOW_ONLY_MS);
        scenario.cluster.chunk_size = ByteSize(LARGE_BYTES.1);
        scenario.cluster.clients = 2;
        let (size_min, size_max) = (ByteSize(LARGE_BYTES.0), ByteSize(LARGE_BYTES.1));
        scenario.workload = Some(Workload {
            stored_before: 1,
            ops: 16,
            every: Span::from_secs(12),
            names: 2,
            size_min,
            size_max,
            weights: Weights { replace: 9, remove: 0, rename: 0, list: 0, ..Weights::default() },
        });
    }
    for number in 0..if is_alone { SLOW_ONLY_TIMES } else { 1 } {
        let mut slow = fault(&mut rng, FaultKind::SlowRate, scenario);
        aim_at_one(&mut rng, &mut slow, scenario);
        if is_alone {
            slow.at = Span::from_millis(number * SLOW_ONLY_MS);
            slow.lasts = Some(Span::from_millis(SLOW_ONLY_MS - 1_000));
        }
        scenario.faults.push(slow);
    }
    scenario.faults.sort_by_key(|fault| fault.at);
}

/// Several clients change one or two small files without a pause, and a part
/// of the answers is lost: what one client asks for again meets what another
/// one did meanwhile.
fn contend(seed: u64, scenario: &mut Scenario) {
    let mut rng = Rng::derive(seed, "contention");
    if !rng.chance(1, CONTENDING_ONE_OF) {
        return;
    }
    scenario.cluster.clients = 3 + index(rng.below(3));
    let lasts_ms = scenario.lasts.as_millis();
    let every_ms = *pick(&mut rng, &[300, 1000, 3000]);
    let Some(workload) = &mut scenario.workload else { return };
    workload.every = Span::from_millis(every_ms);
    let ops = lasts_ms * scenario.cluster.clients as u64 / every_ms;
    workload.ops = index(ops.min(CONTENDING_OPS_MAX));
    workload.names = 1 + index(rng.below(2));
    workload.size_max = ByteSize(600);
    workload.weights.put = 4;
    workload.weights.remove = 6;
    let mut lost = fault(&mut rng, FaultKind::LoseAnswers, scenario);
    lost.host = pick(&mut rng, &["", "coord"]).to_string();
    lost.per_mille = Some(*pick(&mut rng, &[30, 150]));
    (lost.at, lost.lasts) = (Span::default(), Some(Span::from_millis(lasts_ms)));
    scenario.faults.insert(0, lost);
}

fn fault(rng: &mut Rng, what: FaultKind, scenario: &Scenario) -> Fault {
    let takes = |field| what.fields().contains(&field);
    let lasts_ms = scenario.lasts.as_millis();
    let host = host(rng, what, scenario);
    let to = {
        let mut to = self::host(rng, FaultKind::Isolate, scenario);
        if to == host {
            "coord".clone_into(&mut to);
        }
        to
    };
    let latency_ms = match what {
        FaultKind::SlowDisk => *pick(rng, &[5, 50, 500, 4_000]),
        _ => *pick(rng, &[20, 200, 2_000, 15_000]),
    };
    Fault {
        at: Span::from_millis(rng.below(lasts_ms)),
        what,
        host: if takes(Field::Host) { host } else { String::new() },
        to: if takes(Field::To) { to } else { String::new() },
        lasts: takes(Field::Lasts).then(|| duration(rng)),
        count: takes(Field::Count).then(|| match what {
            FaultKind::BitRot => *pick(rng, &[3, 30, 200]),
            _ => *pick(rng, &[1, 1, 2, 5, 30]),
        }),
        per_mille: takes(Field::PerMille).then(|| *pick(rng, &[5, 30, 150, 400])),
        latency: takes(Field::Latency).then_some(Span::from_millis(latency_ms)),
        rate: takes(Field::Rate).then(|| ByteSize(*pick(rng, &SLOW_RATES))),
        jump: takes(Field::Jump).then(|| Span::from_secs(*pick(rng, &[60, 3600, 864_000]))),
        free: takes(Field::Free).then(|| ByteSize(*pick(rng, &[0, 4096, 100_000, 1 << 20]))),
    }
}

fn host(rng: &mut Rng, what: FaultKind, scenario: &Scenario) -> String {
    let cluster = &scenario.cluster;
    let node = format!("n{}", 1 + rng.below(cluster.nodes as u64));
    if what == FaultKind::LoseLedger {
        return crate::cluster::COORDINATOR.to_owned();
    }
    if what.needs_node() {
        return match scenario.beyond_tolerance && rng.chance(1, 4) {
            true => "all".to_owned(),
            false => node,
        };
    }
    if what.is_on_network() && rng.chance(1, 2) {
        return String::new();
    }
    match rng.below(12) {
        0 | 1 => "coord".to_owned(),
        2 => format!("c{}", 1 + rng.below(cluster.clients as u64)),
        3 if what.harm() == Harm::Away => "all".to_owned(),
        4 if !cluster.zones.is_empty() => pick(rng, &cluster.zones).clone(),
        _ => node,
    }
}

/// From half a second to four minutes, short ones as often as long ones.
fn duration(rng: &mut Rng) -> Span {
    let longest_ms = 500 << rng.below(10);
    Span::from_millis(longest_ms / 2 + rng.below(longest_ms / 2))
}

fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[index(rng.below(from.len() as u64))]
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("it was a count in memory")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_seed_draws_a_scenario_that_can_be_run_and_written() {
        let mut kinds = BTreeSet::new();
        for seed in 0..500 {
            let scenario = scenario(seed);
            scenario.check().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let drawn = scenario.drawn(seed);
            assert_eq!(Scenario::parse(&drawn.to_toml()).as_ref(), Ok(&drawn), "seed {seed}");
            kinds.extend(scenario.faults.iter().map(|fault| fault.what));
        }
        assert_eq!(kinds.len(), FaultKind::ALL.len(), "every kind is drawn");
    }
}
