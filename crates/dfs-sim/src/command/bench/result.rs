//! What was measured. `--json` has it as it stands, with all times in
//! milliseconds and all sizes and rates in bytes.
//!
//! GB are 1e9 bytes. CPU is that of all processes of the cluster that run on
//! this machine, the client's included.

use serde::{Serialize, Serializer};

/// All of it; a part that was not asked for is not there.
#[derive(Debug, Default, Serialize)]
pub(super) struct Bench {
    pub(super) machine: Machine,
    pub(super) limits: Option<Limits>,
    pub(super) large: Vec<Large>,
    pub(super) small: Vec<Small>,
    pub(super) failure: Option<FailureResult>,
    pub(super) catalog: Option<CatalogResult>,
    /// Why figures may not be what they seem.
    pub(super) warnings: Vec<String>,
    #[serde(rename = "took_ms", serialize_with = "ms")]
    pub(super) seconds: f64,
}

/// A share of the limit that is better than measuring can be off by: the
/// limits were then measured while others kept the machine busy.
const RATIO_MIN: f64 = 0.9;

impl Bench {
    /// Warns of figures that cannot be: less than the parts cost by themselves.
    pub(super) fn warn_of_the_impossible(&mut self) {
        let (cpu, time) = (
            |run: &Large| run.cpu_ratio.is_some_and(|ratio| ratio < RATIO_MIN),
            |run: &Large| run.time_share.is_some_and(|share| share > 1.0 / RATIO_MIN),
        );
        let impossible = |run: &&Large| cpu(run) || time(run);
        let of_failure = self.failure.iter().flat_map(|it| [&it.put, &it.healthy, &it.degraded]);
        let count = self.large.iter().chain(of_failure).filter(impossible).count();
        if count > 0 {
            self.warnings.push(format!(
                "{count} of the ratios are better than the limit allows: something else kept this \
                 machine busy while the limits were measured. Measure again when it is idle."
            ));
        }
    }

    /// Warns when others keep the machine busy: `load` tasks ran on average
    /// before the start.
    pub(super) fn warn_of_load(&mut self, load: f64) {
        let cores = self.machine.cores as f64;
        if load > cores / 4.0 {
            self.warnings.push(format!(
                "This machine was busy before the start ({load:.1} tasks ran, on {cores} cores): \
                 figures may be far off. Measure again when it is idle."
            ));
        }
    }
}

/// Where it was measured.
#[derive(Debug, Default, Serialize)]
pub(super) struct Machine {
    pub(super) date: String,
    pub(super) version: &'static str,
    pub(super) processor: String,
    pub(super) cores: usize,
    pub(super) memory_bytes: u64,
    /// Whose cluster: one of its own, or the address of another.
    pub(super) cluster: String,
}

/// What one thing costs on this machine, all cores at work.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Limit {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    #[serde(rename = "bytes_per_second", serialize_with = "giga")]
    pub(super) gb_per_second: f64,
    #[serde(rename = "cpu_ms_per_gb", serialize_with = "ms")]
    pub(super) cpu_seconds_per_gb: f64,
}

/// What this machine can do.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Limits {
    pub(super) parts: Vec<Limit>,
    pub(super) syncs_per_second: f64,
    pub(super) sync_ms: Percentiles,
}

impl Limits {
    /// CPU-seconds that one GB costs in part `name`.
    pub(super) fn cpu(&self, name: &str) -> f64 {
        self.part(name).map_or(0.0, |part| part.cpu_seconds_per_gb)
    }

    pub(super) fn part(&self, name: &str) -> Option<&Limit> {
        self.parts.iter().find(|part| part.name == name)
    }
}

/// Times of many calls, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Percentiles {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

impl Percentiles {
    /// Of these times, in seconds; they are sorted.
    pub(super) fn of(seconds: &mut [f64]) -> Self {
        seconds.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let last = seconds.len().saturating_sub(1);
            let index = (last as f64 * share).round() as usize;
            seconds.get(index).copied().unwrap_or_default() * 1e3
        };
        Self { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

/// CPU-seconds and memory of the processes; `None` where this machine does
/// not tell.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Used {
    #[serde(rename = "client_cpu_ms", serialize_with = "optional_ms")]
    pub(super) client_cpu_seconds: Option<f64>,
    #[serde(rename = "nodes_cpu_ms", serialize_with = "optional_ms")]
    pub(super) nodes_cpu_seconds: Option<f64>,
    #[serde(rename = "coordinator_cpu_ms", serialize_with = "optional_ms")]
    pub(super) coordinator_cpu_seconds: Option<f64>,
    /// Resident, at most.
    pub(super) client_peak_bytes: Option<u64>,
    /// Of the largest node.
    pub(super) node_peak_bytes: Option<u64>,
}

impl Used {
    /// CPU-seconds of all of them.
    pub(super) fn cpu_seconds(&self) -> Option<f64> {
        Some(self.client_cpu_seconds? + self.nodes_cpu_seconds? + self.coordinator_cpu_seconds?)
    }
}

/// One large file, put or fetched.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Large {
    pub(super) verb: &'static str,
    pub(super) policy: String,
    pub(super) data: &'static str,
    #[serde(rename = "logical_bytes")]
    pub(super) bytes: u64,
    /// Stored bytes of its data chunks, and of all copies and parity.
    pub(super) stored_bytes: u64,
    pub(super) raw_bytes: u64,
    #[serde(rename = "took_ms", serialize_with = "ms")]
    pub(super) seconds: f64,
    #[serde(rename = "bytes_per_second", serialize_with = "mega")]
    pub(super) mb_per_second: f64,
    /// What each 16 MiB of it took.
    pub(super) pace_ms: Percentiles,
    pub(super) used: Used,
    #[serde(rename = "cpu_ms_per_gb", serialize_with = "optional_ms")]
    pub(super) cpu_seconds_per_gb: Option<f64>,
    /// What the parts that it needs cost by themselves.
    #[serde(rename = "limit_cpu_ms_per_gb", serialize_with = "optional_ms")]
    pub(super) limit_cpu_seconds_per_gb: Option<f64>,
    /// CPU by limit: 1 is as good as it gets.
    pub(super) cpu_ratio: Option<f64>,
    /// The time that cores or disk need at least, by the time it took.
    pub(super) time_share: Option<f64>,
}

/// Many files.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Small {
    pub(super) verb: &'static str,
    pub(super) file_bytes: u64,
    pub(super) files: u64,
    pub(super) in_flight: usize,
    pub(super) policy: String,
    #[serde(rename = "took_ms", serialize_with = "ms")]
    pub(super) seconds: f64,
    pub(super) files_per_second: f64,
    pub(super) latency_ms: Percentiles,
    pub(super) used: Used,
    pub(super) cpu_ms_per_file: Option<f64>,
}

/// Many ranges of a file.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Ranges {
    #[serde(rename = "read_ms")]
    pub(super) ms: Percentiles,
    /// CPU of all processes, each.
    pub(super) cpu_ms: Option<f64>,
}

/// With a node gone.
#[derive(Debug, Clone, Serialize)]
pub(super) struct FailureResult {
    pub(super) policy: String,
    pub(super) nodes: u8,
    pub(super) put: Large,
    pub(super) healthy: Large,
    pub(super) degraded: Large,
    /// CPU of the degraded get by that of the healthy one.
    pub(super) degraded_cpu_ratio: Option<f64>,
    /// Of one frame each, in the chunks of the node that goes; before and after.
    pub(super) ranges: Ranges,
    pub(super) degraded_ranges: Ranges,
    pub(super) rebuilt_bytes: u64,
    pub(super) pulled_bytes: u64,
    #[serde(rename = "repair_ms", serialize_with = "ms")]
    pub(super) repair_seconds: f64,
    #[serde(rename = "repair_bytes_per_second", serialize_with = "mega")]
    pub(super) repair_mb_per_second: f64,
    /// For each GB that was made anew.
    #[serde(rename = "repair_cpu_ms_per_gb", serialize_with = "optional_ms")]
    pub(super) repair_cpu_seconds_per_gb: Option<f64>,
    /// Speed of repair by that of the put.
    pub(super) repair_by_put: f64,
}

/// The catalog, by its size.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct CatalogResult {
    pub(super) sizes: Vec<CatalogSize>,
    #[serde(rename = "load_ms", serialize_with = "ms")]
    pub(super) load_seconds: f64,
    #[serde(rename = "memory_per_chunk_bytes")]
    pub(super) memory_bytes_per_chunk: Option<f64>,
    /// Renames, durable, of many clients at once.
    pub(super) commands_per_second: f64,
    pub(super) command_ms: Percentiles,
    pub(super) lookups_per_second: f64,
    pub(super) lookup_ms: Percentiles,
    pub(super) in_flight: usize,
    pub(super) pauses: Vec<Pause>,
    /// Copies that the coordinator has made anew, by nodes that take no time.
    pub(super) rebuilds_per_second: f64,
}

/// How long a few clients wait while the coordinator is at work of its own.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Pause {
    /// At which work.
    pub(super) during: &'static str,
    /// How long that took.
    #[serde(rename = "took_ms", serialize_with = "ms")]
    pub(super) seconds: f64,
    pub(super) lookups: u64,
    pub(super) lookup_ms: Percentiles,
    /// Renames, durable.
    pub(super) command_ms: Percentiles,
}

/// What one operation costs with so many files in the catalog.
#[derive(Debug, Clone, Serialize)]
pub(super) struct CatalogSize {
    pub(super) files: u64,
    pub(super) chunks: u64,
    #[serde(rename = "apply_ms", serialize_with = "micro_ms")]
    pub(super) apply_us: f64,
    #[serde(rename = "lookup_ms", serialize_with = "micro_ms")]
    pub(super) lookup_us: f64,
    #[serde(rename = "list_page_ms", serialize_with = "micro_ms")]
    pub(super) list_page_us: f64,
    /// One durable transaction of 256 files, for each of them.
    #[serde(rename = "commit_ms", serialize_with = "micro_ms")]
    pub(super) commit_us: f64,
    pub(super) ledger_bytes: u64,
}

/// Seconds as milliseconds.
fn ms<S: Serializer>(seconds: &f64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(seconds * 1e3)
}

fn optional_ms<S: Serializer>(seconds: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
    seconds.map(|seconds| seconds * 1e3).serialize(to)
}

/// Microseconds as milliseconds.
fn micro_ms<S: Serializer>(microseconds: &f64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(microseconds / 1e3)
}

/// MB a second as bytes a second.
fn mega<S: Serializer>(mb: &f64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(mb * 1e6)
}

/// GB a second as bytes a second.
fn giga<S: Serializer>(gb: &f64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(gb * 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn large(cpu_ratio: f64, time_share: f64) -> Large {
        Large {
            verb: "put",
            policy: "R=2".to_owned(),
            data: "random",
            bytes: 1,
            stored_bytes: 1,
            raw_bytes: 2,
            seconds: 1.0,
            mb_per_second: 1.0,
            pace_ms: Percentiles::default(),
            used: Used::default(),
            cpu_seconds_per_gb: Some(1.0),
            limit_cpu_seconds_per_gb: Some(1.0),
            cpu_ratio: Some(cpu_ratio),
            time_share: Some(time_share),
        }
    }

    #[test]
    fn figures_that_cannot_be_and_a_busy_machine_are_warned_of() {
        for (run, warnings) in [(large(1.3, 0.8), 0), (large(0.18, 0.8), 1), (large(1.3, 2.0), 1)] {
            let mut bench = Bench { large: vec![run], ..Bench::default() };
            bench.warn_of_the_impossible();
            assert_eq!(bench.warnings.len(), warnings, "{:?}", bench.warnings);
        }
        for (load, warnings) in [(0.3, 0), (1.6, 1)] {
            let mut bench = Bench::default();
            bench.machine.cores = 4;
            bench.warn_of_load(load);
            assert_eq!(bench.warnings.len(), warnings, "{:?}", bench.warnings);
        }
    }

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let mut seconds: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        let found = Percentiles::of(&mut seconds);
        assert_eq!((found.p50, found.p99, found.max), (50e3, 99e3, 100e3));
        assert_eq!(Percentiles::of(&mut []).max, 0.0);
    }
}
