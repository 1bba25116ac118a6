//! CPU time and memory of processes, as Linux tells them.

use std::fs;

use super::result::Used;

/// The processes whose use is measured.
#[derive(Debug, Default)]
pub(super) struct Meter {
    coordinator: Option<u32>,
    nodes: Vec<u32>,
    /// Whether the cluster runs elsewhere: then only the client is seen.
    is_elsewhere: bool,
}

/// A measurement under way.
pub(super) struct Running<'a> {
    meter: &'a Meter,
    client: Option<f64>,
    coordinator: Option<f64>,
    nodes: Option<f64>,
}

impl Meter {
    /// Of this process and a cluster on this machine.
    pub(super) fn of((coordinator, nodes): (Option<u32>, Vec<u32>)) -> Self {
        Self { coordinator, nodes, is_elsewhere: false }
    }

    /// Of this process; its cluster is not seen.
    pub(super) fn of_client() -> Self {
        Self { is_elsewhere: true, ..Self::default() }
    }

    /// Of this process, which is all there is.
    pub(super) fn of_this_process() -> Self {
        Self::default()
    }

    /// Begins to count.
    pub(super) fn begin(&self) -> Running<'_> {
        let own = std::process::id();
        for process in self.nodes.iter().chain(&self.coordinator).chain([&own]) {
            // Where it is not allowed, the peak is that since its start.
            drop(fs::write(format!("/proc/{process}/clear_refs"), "5"));
        }
        Running {
            meter: self,
            client: cpu_seconds(own),
            coordinator: self.coordinator_cpu(),
            nodes: self.nodes_cpu(),
        }
    }

    fn coordinator_cpu(&self) -> Option<f64> {
        if self.is_elsewhere { None } else { self.coordinator.map_or(Some(0.0), cpu_seconds) }
    }

    /// A process that is gone counts as nothing: so does its past.
    fn nodes_cpu(&self) -> Option<f64> {
        if self.is_elsewhere {
            return None;
        }
        Some(self.nodes.iter().copied().filter_map(cpu_seconds).sum())
    }
}

impl Running<'_> {
    /// What was used since.
    pub(super) fn end(&self) -> Used {
        let since = |before: Option<f64>, now: Option<f64>| Some((now? - before?).max(0.0));
        let own = std::process::id();
        Used {
            client_cpu_seconds: since(self.client, cpu_seconds(own)),
            nodes_cpu_seconds: since(self.nodes, self.meter.nodes_cpu()),
            coordinator_cpu_seconds: since(self.coordinator, self.meter.coordinator_cpu()),
            client_peak_bytes: status_bytes(own, "VmHWM:"),
            node_peak_bytes: (self.meter.nodes.iter())
                .filter_map(|node| status_bytes(*node, "VmHWM:"))
                .max(),
        }
    }
}

/// CPU-seconds of a process so far, in its own code and in the kernel.
fn cpu_seconds(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    ticks_in(&stat).map(|ticks| ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// User and system time, fields 14 and 15 (proc(5)); the second field may
/// hold anything, so that is looked for from behind its end.
fn ticks_in(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// Bytes that this process holds in memory now.
pub(super) fn resident_bytes() -> Option<u64> {
    status_bytes(std::process::id(), "VmRSS:")
}

fn status_bytes(process: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// How many tasks ran or waited to run in the last minute, on average; 0
/// where this machine does not tell.
pub(super) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

/// The processor's name, and the memory of the machine in bytes.
pub(super) fn machine() -> (String, u64) {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    (name.map_or("unknown", |(_, name)| name).to_owned(), kib.unwrap_or(0) << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_does_not_mislead() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0 1 0 5 6";
        assert_eq!(ticks_in(stat), Some(42));
        assert_eq!(ticks_in("7 (a"), None);
    }
}
