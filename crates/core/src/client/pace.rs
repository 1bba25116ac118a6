//! How fast nodes give and take frames, as this client has measured it.
//!
//! A node is *slow* only in comparison with the other nodes that the client
//! used: a narrow line of the client's own slows all of them alike. What is
//! done about a slow node follows "The Tail at Scale" (Dean and Barroso,
//! CACM 56(2), 2013): ask another replica as well once a wait is unusual
//! (hedged requests), and prefer other nodes for a while (latency-induced
//! probation). A put replaces a slow node as an HDFS pipeline replaces a bad
//! one (`dfs.client.block.write.replace-datanode-on-failure`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::api::{Met, NodeReport};
use crate::id::NodeId;
use crate::mutant::{Mutant, is_planted};

/// Measurements are halved whenever they are of more bytes than this, so that
/// recent ones count most.
const WINDOW_BYTES: u64 = 16 << 20;
/// A node is judged by no fewer bytes, unless it was waited for as long as
/// [`WAITED_MIN`].
const BYTES_MIN: u64 = 2 << 20;
/// See [`BYTES_MIN`].
const WAITED_MIN: Duration = Duration::from_millis(400);
/// A node is slow when a byte takes so many times as long as with the others.
const SLOW_FACTOR: u64 = 6;
/// The others count as at least so slow: differences between fast nodes are
/// noise, and of a node whose stream waits for a slower one in the same stripe
/// nothing is known but that it is not the slowest.
const PEERS_COST_MIN_US: u64 = 20_000;
/// A measurement this old says nothing any more: the node is tried again.
const RECENT: Duration = Duration::from_secs(60);

/// A call costs something, however little it moves: as much as so many bytes.
const CALL_BYTES: usize = 256 << 10;

/// The coordinator is told again of a node that stays slow.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(60);

const MIB: u64 = 1 << 20;

/// The direction of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// From a node.
    Read,
    /// To a node.
    Write,
}

/// The paces of all nodes that this client has used.
#[derive(Debug, Default)]
pub(super) struct Paces {
    paces: Mutex<BTreeMap<(Way, NodeId), Pace>>,
    /// Nodes that the coordinator was told are slow, and when.
    told: Mutex<BTreeMap<NodeId, Instant>>,
    /// Nodes whose streams lagged so far behind their peers that another node
    /// took the copy, and when.
    lagged: Mutex<BTreeMap<NodeId, Instant>>,
    /// Streams that are open to nodes now, which share their lines.
    writing: Mutex<BTreeMap<NodeId, u32>>,
}

/// A stream to a node that counts as open until it is dropped.
#[derive(Debug)]
pub(super) struct Writing {
    paces: Arc<Paces>,
    node: NodeId,
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut writing = self.paces.writing();
        if let Some(streams) = writing.get_mut(&self.node) {
            *streams = streams.saturating_sub(1);
        }
        writing.retain(|_, streams| *streams > 0);
    }
}

/// Bytes of one node, and how long they were waited for.
#[derive(Debug, Clone, Copy)]
struct Pace {
    bytes: u64,
    waited_us: u64,
    measured: Instant,
}

impl Pace {
    /// Microseconds for each MiB.
    fn cost_us(&self) -> u64 {
        let cost = u128::from(self.waited_us) * u128::from(MIB) / u128::from(self.bytes.max(1));
        u64::try_from(cost).unwrap_or(u64::MAX)
    }

    fn is_recent(&self) -> bool {
        self.measured.elapsed() < RECENT
    }

    fn is_enough(&self) -> bool {
        self.bytes >= BYTES_MIN || u128::from(self.waited_us) >= WAITED_MIN.as_micros()
    }
}

impl Paces {
    /// Notes that a stream to `node` is open.
    pub(super) fn write_to(self: &Arc<Self>, node: &NodeId) -> Writing {
        *self.writing().entry(node.clone()).or_default() += 1;
        Writing { paces: self.clone(), node: node.clone() }
    }

    /// Notes that a stream to `node` waited so long for `bytes`. Several
    /// streams to one node share its line.
    pub(super) fn note_written(&self, node: &NodeId, bytes: usize, waited: Duration) {
        self.note(Way::Write, node, bytes, waited / self.streams(node));
    }

    /// Notes that a copy was set aside since its stream to `node` lagged behind
    /// its peers. Its pace alone does not show that: the first frames of a
    /// stream only fill queues, and after them no more is measured.
    pub(super) fn note_lagged(&self, node: &NodeId) {
        self.lagged().insert(node.clone(), Instant::now());
    }

    fn lagged(&self) -> MutexGuard<'_, BTreeMap<NodeId, Instant>> {
        self.lagged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how long a stream takes for `bytes` to a node that is as fast
    /// as the others, and has as many streams as `node`; `None` while nothing
    /// is known of the others.
    pub(super) fn expected_write(&self, node: &NodeId, bytes: usize) -> Option<Duration> {
        let cost_us = self.peers_cost_us(Way::Write, node)?;
        let cost_us = match is_planted(Mutant::BlamesSharedLines) {
            true => cost_us,
            false => cost_us.max(PEERS_COST_MIN_US) * u64::from(self.streams(node)),
        };
        Some(duration_of(cost_us, bytes))
    }

    fn streams(&self, node: &NodeId) -> u32 {
        self.writing().get(node).copied().unwrap_or(1).max(1)
    }

    fn writing(&self) -> MutexGuard<'_, BTreeMap<NodeId, u32>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that `bytes` of a node were waited for, so long.
    pub(super) fn note(&self, way: Way, node: &NodeId, bytes: usize, waited: Duration) {
        let mut paces = self.paces();
        let fresh = Pace { bytes: 0, waited_us: 0, measured: Instant::now() };
        let pace = paces.entry((way, node.clone())).or_insert(fresh);
        if !pace.is_recent() {
            *pace = fresh;
        }
        pace.bytes += bytes.max(CALL_BYTES) as u64;
        pace.waited_us += u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        pace.measured = Instant::now();
        if pace.bytes > WINDOW_BYTES {
            pace.bytes /= 2;
            pace.waited_us /= 2;
        }
    }

    /// Returns how long `bytes` take with the nodes other than `node`; `None`
    /// while nothing is known of them.
    pub(super) fn expected(&self, way: Way, node: &NodeId, bytes: usize) -> Option<Duration> {
        Some(duration_of(self.peers_cost_us(way, node)?, bytes))
    }

    /// Returns whether the node is much slower than the others; `None` while
    /// too little is known.
    pub(super) fn judge(&self, way: Way, node: &NodeId) -> Option<bool> {
        let pace = self.paces().get(&(way, node.clone())).copied();
        let pace = pace.filter(|pace| pace.is_recent() && pace.is_enough())?;
        let peers_us = self.peers_cost_us(way, node)?.max(PEERS_COST_MIN_US);
        Some(pace.cost_us() >= peers_us.saturating_mul(SLOW_FACTOR))
    }

    /// True when the node is known to be much slower than the others.
    pub(super) fn is_slow(&self, way: Way, node: &NodeId) -> bool {
        self.judge(way, node) == Some(true)
    }

    /// Returns what the coordinator was not told yet: nodes that were found
    /// slow and, of those that it takes for slow, the ones that are not.
    pub(super) fn news(&self, taken_for_slow: &BTreeSet<NodeId>) -> Vec<NodeReport> {
        let measured: Vec<(Way, NodeId)> = self.paces().keys().cloned().collect();
        let mut judged: BTreeMap<NodeId, bool> = BTreeMap::new();
        for (way, node) in measured {
            if let Some(is_slow) = self.judge(way, &node) {
                *judged.entry(node).or_default() |= is_slow;
            }
        }
        if !is_planted(Mutant::TellsOfNoLag) {
            let lagged = self.lagged();
            let recent = lagged.iter().filter(|(_, at)| at.elapsed() < RECENT);
            judged.extend(recent.map(|(node, _)| (node.clone(), true)));
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, told_at| told_at.elapsed() < TOLD_AGAIN_AFTER);
        let mut news = Vec::new();
        for (node, is_slow) in judged {
            let was_told = told.contains_key(&node);
            if is_slow && !was_told {
                told.insert(node.clone(), Instant::now());
            } else if !is_slow && (was_told || taken_for_slow.contains(&node)) {
                told.remove(&node);
            } else {
                continue;
            }
            news.push(NodeReport { node, met: Met::Speed { is_slow } });
        }
        news
    }

    /// The median of what a MiB takes with the other nodes.
    fn peers_cost_us(&self, way: Way, node: &NodeId) -> Option<u64> {
        let paces = self.paces();
        let mut costs: Vec<u64> = (paces.iter())
            .filter(|((of, other), pace)| *of == way && other != node && pace.bytes > 0)
            .filter(|(_, pace)| pace.is_recent())
            .map(|(_, pace)| pace.cost_us())
            .collect();
        costs.sort_unstable();
        costs.get(costs.len().saturating_sub(1) / 2).copied()
    }

    fn paces(&self) -> MutexGuard<'_, BTreeMap<(Way, NodeId), Pace>> {
        self.paces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long `bytes` take where a MiB takes `cost_us`.
fn duration_of(cost_us: u64, bytes: usize) -> Duration {
    let us = u128::from(cost_us) * bytes.max(CALL_BYTES) as u128 / u128::from(MIB);
    Duration::from_micros(u64::try_from(us).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: usize = 1 << 20;

    fn node(name: &str) -> NodeId {
        NodeId::new(name).expect("a good name")
    }

    fn note(paces: &Paces, name: &str, frames: usize, ms: u64) {
        for _ in 0..frames {
            paces.note(Way::Read, &node(name), FRAME, Duration::from_millis(ms));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_slow_in_comparison_only() {
        let paces = Paces::default();
        note(&paces, "a", 3, 400);
        assert!(!paces.is_slow(Way::Read, &node("a")), "nothing to compare it with");
        note(&paces, "b", 3, 350);
        note(&paces, "c", 3, 420);
        assert!(!paces.is_slow(Way::Read, &node("a")), "the client's own line is narrow");
        note(&paces, "d", 3, 5000);
        assert!(paces.is_slow(Way::Read, &node("d")));
        assert!(!paces.is_slow(Way::Write, &node("d")), "nothing was written to it");
        let told = |paces: &Paces, known: &[&str]| {
            let known = known.iter().map(|name| node(name)).collect();
            paces.news(&known).into_iter().map(|report| (report.node, report.met)).collect()
        };
        let slow = |name, is_slow| (node(name), Met::Speed { is_slow });
        let news: Vec<_> = told(&paces, &["a"]);
        assert_eq!(news, [slow("a", false), slow("d", true)]);
        let again: Vec<_> = told(&paces, &[]);
        assert_eq!(again, [], "it was told");
    }

    #[tokio::test(start_paused = true)]
    async fn differences_between_fast_nodes_are_noise() {
        let paces = Paces::default();
        note(&paces, "a", 3, 0);
        note(&paces, "b", 3, 1);
        note(&paces, "c", 3, 50);
        assert!(!paces.is_slow(Way::Read, &node("c")));
        note(&paces, "c", 9, 200);
        assert!(paces.is_slow(Way::Read, &node("c")));
    }

    #[tokio::test(start_paused = true)]
    async fn streams_to_one_node_share_its_line() {
        let paces = Arc::new(Paces::default());
        let ms = Duration::from_millis;
        paces.note_written(&node("b"), 4 * FRAME, Duration::ZERO);
        assert_eq!(paces.expected_write(&node("a"), FRAME), Some(ms(20)));
        let open = [paces.write_to(&node("a")), paces.write_to(&node("a"))];
        assert_eq!(paces.expected_write(&node("a"), FRAME), Some(ms(40)));
        assert_eq!(paces.expected_write(&node("c"), FRAME), Some(ms(20)));
        for _ in 0..4 {
            paces.note_written(&node("a"), FRAME, ms(200));
        }
        assert!(!paces.is_slow(Way::Write, &node("a")), "each of two streams waits for both");
        drop(open);
        for _ in 0..9 {
            paces.note_written(&node("a"), FRAME, ms(200));
        }
        assert!(paces.is_slow(Way::Write, &node("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_node_is_tried_again_after_a_while_and_may_recover() {
        let paces = Paces::default();
        note(&paces, "a", 3, 1);
        note(&paces, "b", 3, 800);
        assert!(paces.is_slow(Way::Read, &node("b")));
        note(&paces, "b", 60, 1);
        assert!(!paces.is_slow(Way::Read, &node("b")), "recent frames count most");
        note(&paces, "b", 9, 800);
        assert!(paces.is_slow(Way::Read, &node("b")));
        tokio::time::advance(RECENT).await;
        assert!(!paces.is_slow(Way::Read, &node("b")));
    }
}
