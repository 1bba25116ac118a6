//! The cluster on one screen that a person can read.

use std::time::Duration;

use dfs_core::api::{
    ClusterStatus, NodeStatus, Reason, ReasonKind, RepairStatus, UNKNOWN_COUNTED_MAX,
};

use super::table::Grid;
use super::{json, printable, size, time};

/// What is known of copies that nobody has read.
const CHECKED: &str = "checked  copies are verified when they are written, read or repaired; nothing \
                       reads the others yet";

/// How fast repair is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    copies_per_s: f64,
    /// Bytes pulled a second.
    pub(crate) bytes_per_s: u64,
}

impl Pace {
    /// The pace between two looks.
    pub(crate) fn between(before: &RepairStatus, after: &RepairStatus, took: Duration) -> Self {
        let seconds = took.as_secs_f64().max(1e-3);
        let ended = |repair: &RepairStatus| repair.done + repair.moved;
        let copies = ended(after).saturating_sub(ended(before));
        let bytes = after.bytes_pulled.saturating_sub(before.bytes_pulled);
        Self { copies_per_s: copies as f64 / seconds, bytes_per_s: (bytes as f64 / seconds) as u64 }
    }

    /// Time until all that waits is rebuilt; `None` while nothing moves.
    pub(crate) fn time_left(self, repair: &RepairStatus) -> Option<Duration> {
        let copies = repair.waiting + repair.running;
        (self.copies_per_s > 0.0)
            .then(|| Duration::from_secs_f64(copies as f64 / self.copies_per_s))
    }
}

/// The screen: the verdict first, the nodes last.
pub(crate) fn lines(status: &ClusterStatus, pace: Option<Pace>) -> Vec<String> {
    let mut lines = vec![
        format!("health   {}", status.verdict.sentence()),
        format!("promise  for new files: {}", status.promise.sentence),
        format!("stored   {}", status.stored.sentence),
        CHECKED.to_owned(),
        format!(
            "policy   {}, chunks of {}, placed {}",
            status.policy,
            size::bytes(u64::from(status.policy.chunk_size)),
            status.placement
        ),
    ];
    if status.is_relaxed {
        lines.push("         durability relaxed: a power cut may lose acknowledged files".into());
    }
    lines.push(format!("data     {}", data(status)));
    if status.garbage_bytes > 0 {
        let garbage = size::bytes(status.garbage_bytes);
        lines.push(format!("         {garbage} of deleted chunks still on disks"));
    }
    if status.unknown.copies > 0 {
        let (copies, bytes) = (status.unknown.copies, size::bytes(status.unknown.bytes));
        let at_least = if copies >= UNKNOWN_COUNTED_MAX { "at least " } else { "" };
        lines.push(format!(
            "unknown  {at_least}{} ({bytes}) that the catalog does not know, kept: dfs-sim fsck \
             --list-unknown",
            size::counted(copies, "copy")
        ));
    }
    lines.push(format!("stripes  {}", stripes(status)));
    lines.push(format!("repair   {}", repair(&status.repair, pace)));
    lines.push(format!(
        "cluster  {}, run {}, coordinator {} up for {}",
        status.cluster,
        status.run,
        status.version,
        time::span(Duration::from_secs(status.uptime_s)),
    ));
    lines.push(String::new());
    lines.extend(node_table(&status.nodes).lines(""));
    lines.extend(about_nodes(status));
    lines
}

/// What stands beside the table of nodes: the nodes that are missing from it,
/// and what is wrong with those that are in it.
pub(crate) fn about_nodes(status: &ClusterStatus) -> Vec<String> {
    let is_about_nodes = |reason: &&Reason| {
        reason.node.is_some()
            || matches!(reason.kind, ReasonKind::NodeNeverHeard | ReasonKind::NodesAwaited)
    };
    let reasons = status.verdict.reasons.iter().filter(is_about_nodes);
    reasons.map(|reason| printable(&reason.sentence).into_owned()).collect()
}

fn data(status: &ClusterStatus) -> String {
    let usage = &status.usage;
    format!(
        "{} in {}: {} logical, {} stored, {} raw ({})",
        size::counted(usage.files, "file"),
        size::counted(usage.chunks, "chunk"),
        size::bytes(usage.logical_bytes),
        size::bytes(usage.stored_bytes),
        size::bytes(usage.raw_bytes),
        size::times(usage.raw_bytes, usage.logical_bytes),
    )
}

fn stripes(status: &ClusterStatus) -> String {
    let health = &status.health;
    let parts = [
        (health.full, "full"),
        (health.degraded, "degraded"),
        (health.at_risk, "at risk"),
        (health.unreachable, "unreachable"),
        (health.lost, "lost"),
        (health.unknown, "unknown"),
    ];
    let said: Vec<String> = parts
        .iter()
        .filter(|(count, word)| *count > 0 || *word == "full")
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    said.join(", ")
}

fn repair(repair: &RepairStatus, pace: Option<Pace>) -> String {
    let mut parts = Vec::new();
    if repair.waiting + repair.running > 0 {
        parts.push(format!("{} waiting", size::counted(repair.waiting, "copy")));
        parts.push(format!("{} running", repair.running));
    }
    if repair.done + repair.moved > 0 {
        parts.push(format!("{} made", size::counted(repair.done, "copy")));
        if repair.moved > 0 {
            parts.push(format!("{} moved", repair.moved));
        }
        parts.push(format!("{} pulled", size::bytes(repair.bytes_pulled)));
    }
    if repair.failed > 0 {
        parts.push(format!("{} failed", size::counted(repair.failed, "attempt")));
    }
    if let Some(pace) = pace {
        parts.push(format!("{}/s", size::bytes(pace.bytes_per_s)));
    }
    if let Some(left) = pace.and_then(|pace| pace.time_left(repair)) {
        parts.push(format!("about {} left", time::span(left)));
    }
    if let Some(seconds) = repair.begins_in_s {
        parts.push(format!("begins in {}", time::span(Duration::from_secs(seconds))));
    }
    if parts.is_empty() { "nothing to do".into() } else { parts.join(", ") }
}

/// The nodes, one a row.
pub(crate) fn node_table(nodes: &[NodeStatus]) -> Grid {
    let has_zones = nodes.iter().any(|node| node.zone.is_some());
    let mut headers = vec!["NODE", "STATE", "HEARD", "ADDRESS"];
    headers.extend(has_zones.then_some("ZONE"));
    headers.extend([">CHUNKS", ">BAD", ">USED", ">FREE", ">TOTAL", "VERSION"]);
    let mut grid = Grid::new(&headers);
    for node in nodes {
        let heard = node.heard_ms_ago.map_or_else(
            || "never".to_owned(),
            |ago| format!("{} ago", time::span(Duration::from_millis(ago))),
        );
        let slow = if node.is_slow { ", slow" } else { "" };
        let state = format!("{}{slow}", json::node_state(node.state));
        let mut row = vec![node.id.to_string(), state, heard, node.address.clone()];
        row.extend(has_zones.then(|| node.zone.clone().unwrap_or_else(|| "-".into())));
        row.extend([
            node.chunks.to_string(),
            node.quarantined.to_string(),
            size::bytes(node.space.used),
            size::bytes(node.space.free),
            size::bytes(node.space.total),
            node.version.clone(),
        ]);
        grid.row(row);
    }
    grid
}

#[cfg(test)]
mod tests {
    use dfs_core::api::{NodeSpace, NodeState};
    use dfs_core::id::NodeId;

    use super::*;

    #[test]
    fn what_a_node_says_of_itself_is_one_row_and_acts_on_nothing() {
        let node = NodeStatus {
            id: NodeId::new("n1").expect("an id"),
            address: "a:1\u{1b}[2J".to_owned(),
            zone: Some("z\nn9 online".to_owned()),
            state: NodeState::Online,
            heard_ms_ago: Some(8),
            space: NodeSpace::default(),
            chunks: 0,
            quarantined: 0,
            version: "1\r\nn8 online\u{9b}31m".to_owned(),
            trouble: None,
            is_slow: false,
        };
        let lines = node_table(&[node]).lines("");
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(!lines.concat().contains(char::is_control), "{lines:?}");
    }
}
