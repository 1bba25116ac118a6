//! What the simulation says to people and machines.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use dfs_simulation::run::{Moment, OpCount, Report, Verdict};
use dfs_simulation::scenario::{Act, Scenario};
use dfs_simulation::shrink::Shrunk;
use dfs_simulation::sweep::Sum;
use serde_json::{Value, json};

use crate::output::table::Grid;
use crate::output::{self, size, time};

/// The most runs that shrinking may take.
pub(super) const SHRINK_RUNS_MAX: u32 = 400;
/// The longest that shrinking may take.
pub(super) const SHRINK_TIME_MAX: Duration = Duration::from_secs(60);
/// Files that are lost of which the name is shown.
const LOST_SHOWN: usize = 10;
/// What the columns of the operations mean.
const OPS_LEGEND: &str = "\
OK: acknowledged, or the right bytes came. REFUSED: a right \"no\" (the name is taken, or no such
file is there). FAILED: an honest error, or an answer that was lost; the effect may be there.";
/// Lines of the trace before a violation that are shown.
const TAIL_SHOWN: usize = 25;

/// What is about to be run.
pub(super) fn opening(scenario: &Scenario, seed: u64) -> io::Result<()> {
    let cluster = &scenario.cluster;
    output::line(format!("{}, seed {seed}: {}", scenario.name, cluster_words(scenario)))?;
    for line in scenario.about.trim().lines() {
        output::line(format!("  {line}"))?;
    }
    let tolerance = cluster.tolerance();
    let promise = match (scenario.beyond_tolerance, tolerance) {
        (true, _) => "more may be lost here than that survives".to_owned(),
        (false, 0) => "no node may be lost".to_owned(),
        (false, 1) => "any 1 node may be lost".to_owned(),
        (false, nodes) => format!("any {nodes} nodes may be lost"),
    };
    output::line(format!("  The policy promises: {promise}."))?;
    let beyond = scenario.beyond_policy();
    if !beyond.is_empty() {
        let mut kinds = BTreeMap::new();
        for fault in beyond {
            *kinds.entry(fault.what.name()).or_insert(0_u64) += 1;
        }
        output::line(format!(
            "  LEFT OUT, as the policy does not survive it: {}; --beyond-tolerance runs it all the same.",
            counts(&kinds)
        ))?;
    }
    output::line("")
}

fn cluster_words(scenario: &Scenario) -> String {
    let cluster = &scenario.cluster;
    let policy = format!("R={} {} {}", cluster.replication, cluster.parity, cluster.compression);
    format!(
        "{}, {}, {policy}, {} of virtual time",
        size::counted(cluster.nodes as u64, "node"),
        size::counted(cluster.clients as u64, "client"),
        scenario.lasts
    )
}

/// One line of the timeline.
pub(super) fn moment(moment: &Moment) {
    // Nobody is left to be told when standard output is gone.
    let _ = output::line(format!("{} {:7} {}", clock(moment.at_ms), moment.about, moment.text));
}

/// `01:02:03.4`.
fn clock(ms: u64) -> String {
    let seconds = ms / 1000;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{}", seconds % 60, ms / 100 % 10)
}

/// How it ended.
pub(super) fn closing(scenario: &Scenario, report: &Report, took: Duration) -> io::Result<()> {
    output::line("")?;
    for line in headline(scenario, report) {
        output::line(line)?;
    }
    output::line("")?;
    let tally = &report.tally;
    let mut grid = Grid::new(&["", ""]);
    let mut row = |what: &str, value: String| grid.row(vec![what.to_owned(), value]);
    let virtual_time = Duration::from_millis(report.took_ms);
    row("virtual time", format!("{} in {}", time::span(virtual_time), speed(virtual_time, took)));
    row("files", size::counted(tally.files, "file"));
    row("stripes lacked a copy", for_ms(tally.degraded_ms));
    row("stripes not readable", for_ms(tally.unavailable_ms));
    row("healed after", for_ms(tally.healed_after_ms));
    row(
        "rebuilt",
        format!(
            "{}, {} of them from parity, {} pulled",
            size::counted(tally.rebuilt, "copy"),
            tally.from_parity,
            size::bytes(tally.bytes_pulled)
        ),
    );
    row(
        "readers helped themselves",
        format!(
            "{} from another copy, {} from parity; {} bad found",
            tally.read_from_other_copy, tally.read_from_parity, tally.found_bad
        ),
    );
    row("faults", counts(&report.struck));
    if !report.left_out.is_empty() {
        row("left out, as beyond the policy", counts(&report.left_out));
    }
    row("done to single calls", counts(&report.injected));
    row("digest", format!("{} of {} events", report.digest, report.events));
    for line in grid.lines("") {
        if !line.trim().is_empty() {
            output::line(line)?;
        }
    }
    output::line("")?;
    ops(&report.ops)
}

/// What the run showed, the most important first.
fn headline(scenario: &Scenario, report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    if !report.left_out.is_empty() {
        lines.push(format!(
            "LEFT OUT, as the policy does not survive it beside what else was wrong: {}; \
             --beyond-tolerance runs it all the same.",
            counts(&report.left_out)
        ));
    }
    match report.verdict() {
        Verdict::Broken => lines.push("SOMETHING THAT MUST NEVER BE WAS FOUND.".to_owned()),
        Verdict::Lost(count) => {
            let cluster = &scenario.cluster;
            lines.push(format!(
                "{} lost, beyond what R={} {} survives; no wrong bytes were read:",
                if count == 1 { "1 file is".to_owned() } else { format!("{count} files are") },
                cluster.replication,
                cluster.parity
            ));
            lines.extend(report.lost.iter().take(LOST_SHOWN).map(|name| format!("  {name}")));
            if count > LOST_SHOWN {
                lines.push(format!("  and {} more", count - LOST_SHOWN));
            }
        }
        Verdict::NotShown(kinds) => lines.push(format!(
            "This run does not show what the scenario is about: no {} struck. What did strike was \
             survived.",
            kinds.into_iter().collect::<Vec<_>>().join(", no ")
        )),
        Verdict::Held => lines.push(
            "All held: every acknowledged byte is there, nothing else was ever read.".to_owned(),
        ),
    }
    lines
}

fn ops(ops: &BTreeMap<Act, OpCount>) -> io::Result<()> {
    let mut grid = Grid::new(&["OP", ">OK", ">REFUSED", ">FAILED"]);
    for (act, count) in ops {
        let numbers = [count.ok, count.refused, count.failed].map(|count| count.to_string());
        let [ok, refused, failed] = numbers;
        grid.row(vec![act.name().to_owned(), ok, refused, failed]);
    }
    for line in grid.lines("") {
        output::line(line)?;
    }
    output::line(OPS_LEGEND)
}

/// What was found wrong, and what happened before it.
pub(super) fn violation(report: &Report) -> io::Result<()> {
    output::line("")?;
    for found in &report.violations {
        output::line(format!("{} {} is broken: {}", clock(found.at_ms), found.rule, found.text))?;
    }
    output::line(format!("The trace before it, from seed {}:", report.seed))?;
    let skipped = report.tail.len().saturating_sub(TAIL_SHOWN);
    for line in report.tail.iter().skip(skipped) {
        output::line(format!("  {line}"))?;
    }
    Ok(())
}

/// The smaller case, and how to run it.
pub(super) fn smaller(shrunk: &Shrunk, path: &str) -> io::Result<()> {
    let scenario = &shrunk.scenario;
    output::line(format!(
        "A smaller case was found in {} runs: {}, {}, {}.",
        shrunk.runs,
        size::counted(scenario.faults.len() as u64, "fault"),
        size::counted(scenario.ops.len() as u64, "op"),
        scenario.lasts
    ))?;
    output::line("Repeat it with:")?;
    output::line(format!("  dfs-sim sim run ./{path} --seed {}", shrunk.report.seed))
}

/// How a sweep ended.
pub(super) fn sum(sum: &Sum, took: Duration) -> io::Result<()> {
    let virtual_time = Duration::from_millis(sum.took_ms);
    let within = sum.runs - sum.beyond_tolerance;
    output::line(format!(
        "{} ({within} within tolerance, {} beyond): {} of virtual time in {}",
        size::counted(sum.runs, "seed"),
        sum.beyond_tolerance,
        time::span(virtual_time),
        speed(virtual_time, took)
    ))?;
    output::line("")?;
    ops(&sum.ops)?;
    output::line("")?;
    let mut grid = Grid::new(&["FAULT", ">TIMES", "DONE TO SINGLE CALLS", ">TIMES"]);
    let (mut struck, mut injected) = (sum.struck.iter(), sum.injected.iter());
    loop {
        let (left, right) = (struck.next(), injected.next());
        if left.is_none() && right.is_none() {
            break;
        }
        let left =
            left.map_or_else(Default::default, |(kind, n)| (kind.to_string(), n.to_string()));
        let right = right.map_or_else(Default::default, |(kind, n)| (kind.clone(), n.to_string()));
        grid.row(vec![left.0, left.1, right.0, right.1]);
    }
    for line in grid.lines("") {
        output::line(line)?;
    }
    output::line("")?;
    output::line(format!("{} events, {} rebuilt", sum.events, size::counted(sum.rebuilt, "copy")))?;
    let never = sum.never_reached();
    if !never.is_empty() {
        output::line(format!("Never reached, so nothing is shown of it: {}.", never.join("; ")))?;
    }
    if sum.files_lost > 0 {
        output::line(format!(
            "{} lost in {}, beyond what their policies survive; no wrong bytes were read.",
            size::counted(sum.files_lost, "file"),
            size::counted(sum.runs_with_loss, "run"),
        ))?;
    }
    if sum.failed.is_empty() {
        return output::line(match sum.runs_with_loss {
            0 => "All held in every one of them.",
            _ => "All that must hold held in every one of them.",
        });
    }
    output::line(format!(
        "SOMETHING THAT MUST NEVER BE WAS FOUND in {} of them:",
        sum.failed.len()
    ))?;
    for (seed, report) in &sum.failed {
        for found in report.violations.iter().take(1) {
            output::line(format!("  seed {seed}: {} is broken: {}", found.rule, found.text))?;
        }
    }
    Ok(())
}

fn counts(counts: &BTreeMap<impl std::fmt::Display, u64>) -> String {
    let parts: Vec<String> = counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn for_ms(ms: u64) -> String {
    time::span(Duration::from_millis(ms))
}

/// `3.1 s, 1200 times as fast`.
fn speed(virtual_time: Duration, took: Duration) -> String {
    let times = virtual_time.as_secs_f64() / took.as_secs_f64().max(1e-3);
    format!("{}, {times:.0} times as fast", time::span(took))
}

/// A run for machines.
pub(super) fn report_json(report: &Report, took: Duration) -> Value {
    let timeline: Vec<Value> = report
        .timeline
        .iter()
        .map(|moment| json!({ "at_ms": moment.at_ms, "about": moment.about, "text": moment.text }))
        .collect();
    let tally = &report.tally;
    json!({
        "scenario": report.scenario,
        "seed": report.seed,
        "took_ms": report.took_ms,
        "real_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "events": report.events,
        "digest": report.digest.to_string(),
        "timeline": timeline,
        "ops": ops_json(&report.ops),
        "faults": report.struck,
        "faults_left_out": report.left_out,
        "faults_never_struck": report.never_struck,
        "files_lost": report.lost,
        "marks": report.marks,
        "verdict": verdict_word(report),
        "injected": report.injected,
        "tally": {
            "files": tally.files,
            "copies_rebuilt": tally.rebuilt,
            "copies_from_parity": tally.from_parity,
            "pulled_bytes": tally.bytes_pulled,
            "chunks_read_from_other_copy": tally.read_from_other_copy,
            "chunks_read_from_parity": tally.read_from_parity,
            "bad_copies_found": tally.found_bad,
            "degraded_ms": tally.degraded_ms,
            "unavailable_ms": tally.unavailable_ms,
            "healed_after_ms": tally.healed_after_ms,
            "chunks_verified": tally.verified,
        },
        "violations": violations_json(report),
        "is_right": report.is_right(),
    })
}

fn verdict_word(report: &Report) -> &'static str {
    match report.verdict() {
        Verdict::Broken => "broken",
        Verdict::Lost(_) => "lost_beyond_policy",
        Verdict::NotShown(_) => "not_shown",
        Verdict::Held => "held",
    }
}

/// A sweep for machines.
pub(super) fn sum_json(sum: &Sum, took: Duration) -> Value {
    let failed: Vec<Value> = sum
        .failed
        .values()
        .map(|report| json!({ "seed": report.seed, "violations": violations_json(report) }))
        .collect();
    json!({
        "seeds": sum.runs,
        "beyond_tolerance": sum.beyond_tolerance,
        "took_ms": sum.took_ms,
        "real_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "events": sum.events,
        "ops": ops_json(&sum.ops),
        "faults": sum.struck,
        "injected": sum.injected,
        "copies_rebuilt": sum.rebuilt,
        "files_lost": sum.files_lost,
        "marks": sum.marks,
        "marks_never_reached": sum.never_reached(),
        "runs_with_loss": sum.runs_with_loss,
        "failed": failed,
        "is_right": sum.failed.is_empty(),
    })
}

fn ops_json(ops: &BTreeMap<Act, OpCount>) -> Value {
    let of = |count: &OpCount| json!({ "ok": count.ok, "refused": count.refused, "failed": count.failed });
    ops.iter().map(|(act, count)| (act.name().to_owned(), of(count))).collect()
}

fn violations_json(report: &Report) -> Vec<Value> {
    let of = |found: &dfs_simulation::run::Violation| json!({ "at_ms": found.at_ms, "rule": found.rule, "text": found.text });
    report.violations.iter().map(of).collect()
}
