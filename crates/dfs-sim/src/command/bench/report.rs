//! The result for people.

use std::io;

use super::result::{
    Bench, CatalogResult, FailureResult, Large, Limits, Machine, Percentiles, Small,
};
use crate::cli::BenchPart;
use crate::output::table::Grid;
use crate::output::{self, size};

/// Says where it is measured.
pub(super) fn begin(machine: &Machine) -> io::Result<()> {
    output::line(format!(
        "dfs-sim {} on {} ({} cores, {}), {}",
        machine.version,
        machine.processor,
        machine.cores,
        size::bytes(machine.memory_bytes),
        machine.date
    ))?;
    output::line(format!("Cluster: {}. GB are 1e9 bytes.", machine.cluster))
}

/// Writes the table of a part that was measured.
pub(super) fn print(part: BenchPart, bench: &Bench) -> io::Result<()> {
    let (title, lines) = match part {
        BenchPart::Limits => (
            "This machine, each part by itself, all cores at work",
            bench.limits.as_ref().map(limit_lines),
        ),
        BenchPart::Large => {
            let mut lines = large_lines(bench.large.iter());
            lines.extend(LARGE_LEGEND.map(String::from));
            ("Large files", Some(lines))
        }
        BenchPart::Small => ("Many small files", Some(small_lines(&bench.small))),
        BenchPart::Failure => ("A node gone", bench.failure.as_ref().map(failure_lines)),
        BenchPart::Catalog => {
            ("The catalog as it grows", bench.catalog.as_ref().map(catalog_lines))
        }
    };
    output::lines(&format!("\n{title}\n\n"))?;
    lines.unwrap_or_default().iter().try_for_each(output::line)
}

/// Says how long all of it took.
pub(super) fn end(bench: &Bench) -> io::Result<()> {
    output::lines(&format!("\nMeasured in {:.0} s.", bench.seconds))
}

fn limit_lines(limits: &Limits) -> Vec<String> {
    let mut grid = Grid::new(&["PART", ">GB/s", ">CPU-s/GB"]);
    for part in &limits.parts {
        grid.row(vec![
            part.what.to_owned(),
            format!("{:.2}", part.gb_per_second),
            format!("{:.3}", part.cpu_seconds_per_gb),
        ]);
    }
    let mut lines = grid.lines("  ");
    lines.push(format!(
        "  4 KiB written and synced: {:.0} a second, {}",
        limits.syncs_per_second,
        times(limits.sync_ms)
    ));
    lines
}

/// What the columns of large files say.
const LARGE_LEGEND: [&str; 3] = [
    "  CPU-s/GB: of all processes. LIMIT: what its parts cost by themselves. TIME: the",
    "  time that cores or disk need at least, by the time it took. p50, p99: what each",
    "  16 MiB took. CLIENT, NODE: memory.",
];

/// Policy, what it took, and how far that is from the limit.
fn large_lines<'a>(runs: impl Iterator<Item = &'a Large>) -> Vec<String> {
    let mut grid = Grid::new(&[
        "",
        "POLICY",
        "DATA",
        ">MB/s",
        ">CPU-s/GB",
        ">LIMIT",
        ">RATIO",
        ">TIME",
        ">p50, p99 ms",
        ">CLIENT",
        ">NODE",
    ]);
    for run in runs {
        grid.row(vec![
            run.verb.to_owned(),
            run.policy.clone(),
            run.data.to_owned(),
            format!("{:.0}", run.mb_per_second),
            number(run.cpu_seconds_per_gb, 2),
            number(run.limit_cpu_seconds_per_gb, 2),
            number(run.cpu_ratio, 2),
            run.time_share.map_or_else(dash, |share| format!("{:.0} %", share * 100.0)),
            format!("{:.0}, {:.0}", run.pace_ms.p50, run.pace_ms.p99),
            run.used.client_peak_bytes.map_or_else(dash, size::bytes),
            run.used.node_peak_bytes.map_or_else(dash, size::bytes),
        ]);
    }
    grid.lines("  ")
}

fn small_lines(runs: &[Small]) -> Vec<String> {
    let mut grid = Grid::new(&[
        "",
        "SIZE",
        ">FILES",
        ">AT ONCE",
        ">FILES/s",
        ">MB/s",
        ">p50 ms",
        ">p99 ms",
        ">MAX ms",
        ">CPU ms/FILE",
    ]);
    for run in runs {
        let rate = run.files_per_second * run.file_bytes as f64 / 1e6;
        grid.row(vec![
            run.verb.to_owned(),
            size::bytes(run.file_bytes),
            run.files.to_string(),
            run.in_flight.to_string(),
            format!("{:.0}", run.files_per_second),
            if run.verb == "list" { dash() } else { format!("{rate:.0}") },
            format!("{:.2}", run.latency_ms.p50),
            format!("{:.2}", run.latency_ms.p99),
            format!("{:.2}", run.latency_ms.max),
            number(run.cpu_ms_per_file, 3),
        ]);
    }
    let mut lines = grid.lines("  ");
    lines.push("  R=2, each put fsynced; a list's times are those of its pages.".into());
    lines
}

fn failure_lines(failure: &FailureResult) -> Vec<String> {
    let mut healthy = failure.healthy.clone();
    let mut degraded = failure.degraded.clone();
    healthy.verb = "get";
    degraded.verb = "get, degraded";
    let mut lines = large_lines([&failure.put, &healthy, &degraded].into_iter());
    lines.push(format!(
        "  degraded by healthy: {} times the CPU",
        number(failure.degraded_cpu_ratio, 2)
    ));
    let ranges = [("healthy", failure.ranges), ("degraded", failure.degraded_ranges)];
    lines.extend(ranges.map(|(how, ranges)| {
        let cpu_ms = number(ranges.cpu_ms, 2);
        format!("  ranges of 1 MiB in lost chunks, {how}: {}, CPU {cpu_ms} ms", times(ranges.ms))
    }));
    lines.push(format!(
        "  repair: {} made anew from {} in {:.1} s, {:.0} MB/s, {:.2} times the speed of the put, \
         {} CPU-s/GB",
        size::bytes(failure.rebuilt_bytes),
        size::bytes(failure.pulled_bytes),
        failure.repair_seconds,
        failure.repair_mb_per_second,
        failure.repair_by_put,
        number(failure.repair_cpu_seconds_per_gb, 2)
    ));
    lines
}

fn catalog_lines(catalog: &CatalogResult) -> Vec<String> {
    let mut grid =
        Grid::new(&[">FILES", ">APPLY µs", ">LOOKUP µs", ">LIST 100 µs", ">COMMIT µs", ">LEDGER"]);
    for size in &catalog.sizes {
        grid.row(vec![
            size.files.to_string(),
            format!("{:.2}", size.apply_us),
            format!("{:.2}", size.lookup_us),
            format!("{:.1}", size.list_page_us),
            format!("{:.1}", size.commit_us),
            size::bytes(size.ledger_bytes),
        ]);
    }
    let mut lines = grid.lines("  ");
    lines.push("  COMMIT: a file's share of a durable transaction of 256.".into());
    lines.push(format!(
        "  start of the coordinator on all of them: {:.1} s, {} bytes of memory a chunk",
        catalog.load_seconds,
        number(catalog.memory_bytes_per_chunk, 0)
    ));
    lines.push(format!(
        "  {} clients at once: {:.0} commands a second, durable, {}",
        catalog.in_flight,
        catalog.commands_per_second,
        times(catalog.command_ms)
    ));
    lines.push(format!(
        "  {} clients at once: {:.0} lookups a second, {}",
        catalog.in_flight,
        catalog.lookups_per_second,
        times(catalog.lookup_ms)
    ));
    let mut grid = Grid::new(&[
        "WHILE",
        ">s",
        ">LOOKUP p50 ms",
        ">p99",
        ">AT MOST",
        ">COMMAND p50 ms",
        ">p99",
        ">AT MOST",
    ]);
    for pause in &catalog.pauses {
        let (lookup, command) = (pause.lookup_ms, pause.command_ms);
        let mut row = vec![pause.during.to_owned(), format!("{:.1}", pause.seconds)];
        let times = [lookup.p50, lookup.p99, lookup.max, command.p50, command.p99, command.max];
        row.extend(times.map(|ms| format!("{ms:.2}")));
        grid.row(row);
    }
    lines.push(format!(
        "  repair has {:.0} copies a second made anew, by nodes that take no time",
        catalog.rebuilds_per_second
    ));
    lines.push("  a few clients meanwhile, a look-up and a durable rename every 2 ms:".into());
    lines.extend(grid.lines("  "));
    lines
}

fn times(ms: Percentiles) -> String {
    format!("p50 {:.2} ms, p99 {:.2} ms, at most {:.2} ms", ms.p50, ms.p99, ms.max)
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(dash, |value| format!("{value:.digits$}"))
}

fn dash() -> String {
    "-".to_owned()
}
