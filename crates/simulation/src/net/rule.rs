//! Rules about single orders and answers, as seen from outside: what the
//! coordinator orders of nodes and tells clients is compared with what came to
//! it before. Nothing that it concludes is believed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dfs_core::api::{Heartbeat, HeartbeatReply, RebuildTask, Result, StripePlacement};
use dfs_core::id::{Handle, NodeId, Run, SessionId};

use super::Net;
use super::path::Path;
use crate::task::TaskGroup;
use crate::trace;

/// How long a node must have told that it has no room before the coordinator
/// must know it: what was planned before may still be under way.
const FULL_KNOWN_MS: u64 = 15_000;
/// How long a deletion that was not confirmed must keep a rebuild away: the
/// node may carry it out at any later time.
const UNCONFIRMED_MAX_MS: u64 = 580_000;
/// How often one copy may be ordered within [`ORDERED_WITHIN_MS`]: a failed
/// rebuild rests for 2 s, then 4 s, and so on.
const ORDERED_MAX: usize = 6;
/// See [`ORDERED_MAX`].
const ORDERED_WITHIN_MS: u64 = 10_000;
/// How many calls of one kind from one process to another may fail within
/// [`FAILED_WITHIN_MS`]: each caller must pause before it calls again.
const FAILED_MAX: usize = 60;
/// See [`FAILED_MAX`].
const FAILED_WITHIN_MS: u64 = 1_000;

/// A copy: the number of its host, and its handle.
type Copy = (u32, Handle);

/// What was seen so far.
#[derive(Default)]
pub(super) struct Seen {
    nodes: BTreeMap<String, Told>,
    /// Orders that have no answer yet, by the run that gave them.
    rebuilding: BTreeMap<(Run, Copy), u32>,
    deleting: BTreeMap<(Run, Copy), u32>,
    /// Deletions that were ordered and never confirmed, and since when.
    unconfirmed: BTreeMap<(Run, Copy), u64>,
    ordered: BTreeMap<(Run, Copy), VecDeque<u64>>,
    failed: BTreeMap<(u32, u32, &'static str), VecDeque<u64>>,
    /// The processes of each node id that were heeded, the last ones last.
    heeded: BTreeMap<NodeId, VecDeque<Process>>,
    /// Copies that were made by repair.
    made: BTreeSet<Copy>,
    /// Rules that were broken, and how.
    broken: Vec<(&'static str, String)>,
}

/// What a node told the coordinator.
#[derive(Default)]
struct Told {
    /// When it last told what it holds.
    at_ms: u64,
    /// Calls under way in which it does.
    telling: u32,
    /// Since when it has no room, while it has none.
    full_since_ms: Option<u64>,
}

/// A process that speaks for a node.
struct Process {
    session: SessionId,
    tasks: TaskGroup,
}

/// A heartbeat that the coordinator works on.
pub(super) struct Hearing {
    telling: UnderWay,
    id: NodeId,
    process: Process,
    is_full: bool,
}

impl Hearing {
    /// The coordinator has an answer. One with a number renews a lease: the
    /// process is taken for its node.
    pub(super) fn answered(self, answer: Result<HeartbeatReply>) -> Result<HeartbeatReply> {
        if answer.as_ref().is_ok_and(|reply| reply.answer > 0) {
            let mut state = self.telling.net.state();
            state.seen.heed(&self.id, self.process, self.is_full);
        }
        answer
    }
}

/// Which of two kinds of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Rebuild,
    Delete,
}

/// An order under way, or a node that tells something. It ends with its call.
pub(super) struct UnderWay {
    net: Net,
    what: What,
}

enum What {
    Order(Kind, Vec<(Run, Copy)>),
    Telling(String),
}

impl Path {
    /// A heartbeat has come to the coordinator.
    pub(super) fn hearing(&self, heartbeat: &Heartbeat) -> Hearing {
        let process = Process { session: heartbeat.info.session, tasks: self.caller().clone() };
        let id = heartbeat.info.id.clone();
        let telling = self.telling(id.as_str());
        Hearing { telling, id, process, is_full: heartbeat.space.free == 0 }
    }

    /// A node tells the coordinator what it holds.
    pub(super) fn telling(&self, node: &str) -> UnderWay {
        let net = self.net().clone();
        net.state().seen.node(node).telling += 1;
        UnderWay { net, what: What::Telling(node.to_owned()) }
    }

    /// The coordinator orders copies to be deleted.
    pub(super) fn order_deletion(&self, run: Run, handles: &[Handle]) -> UnderWay {
        let copies = handles.iter().map(|handle| (self.to().number, *handle));
        self.begin_order(Kind::Delete, run, copies.collect())
    }

    /// The coordinator orders a copy to be made.
    pub(super) fn order_rebuild(
        &self,
        run: Run,
        task: &RebuildTask,
        own_address: &str,
    ) -> UnderWay {
        let (to, handle) = (self.to().name.clone(), task.chunk.handle);
        {
            let mut state = self.net().state();
            let seen = &mut state.seen;
            if task.copies.iter().any(|address| address == own_address) {
                let text = format!("{to} was told to make chunk {handle} from its own copy of it");
                seen.broken.push(("I7", text));
            }
            seen.check_room(&to, &format!("make a copy of chunk {handle}"));
            let times = seen.ordered.entry((run, (self.to().number, handle))).or_default();
            if count_within(times, ORDERED_WITHIN_MS) > ORDERED_MAX {
                let times = times.len();
                let text =
                    format!("{to} was told {times} times within 10 s to make chunk {handle}");
                seen.broken.push(("L2", text));
            }
        }
        self.begin_order(Kind::Rebuild, run, vec![(self.to().number, handle)])
    }

    /// A copy was made as ordered.
    pub(super) fn note_made(&self, handle: Handle) {
        let copy = (self.to().number, handle);
        self.net().state().seen.made.insert(copy);
    }

    /// The coordinator names nodes for the chunks of an upload.
    pub(super) fn placed(&self, placed: &[StripePlacement]) {
        let mut state = self.net().state();
        for target in placed.iter().flat_map(|stripe| stripe.targets.iter().flatten()) {
            state.seen.check_room(target.node.as_str(), "take a chunk of a put");
        }
    }

    /// A call failed. Its caller must not be in a hurry to make it again.
    pub(super) fn failed(&self, what: &'static str) {
        let (from, to) = (self.caller_number(), self.to().number);
        let mut state = self.net().state();
        let times = state.seen.failed.entry((from, to, what)).or_default();
        if count_within(times, FAILED_WITHIN_MS) > FAILED_MAX {
            let count = times.len();
            times.clear();
            let (caller, called) = (self.caller_name(), &self.to().name);
            let text = format!("{what} from {caller} to {called} failed {count} times within 1 s");
            state.seen.broken.push(("L2", text));
        }
    }

    /// A rule is broken by what the host that is called did.
    pub(super) fn broke(&self, rule: &'static str, text: String) {
        self.net().state().seen.broken.push((rule, text));
    }

    fn begin_order(&self, kind: Kind, run: Run, copies: Vec<Copy>) -> UnderWay {
        let net = self.net().clone();
        let orders: Vec<(Run, Copy)> = copies.into_iter().map(|copy| (run, copy)).collect();
        net.state().seen.begin(kind, &orders, &self.to().name);
        UnderWay { net, what: What::Order(kind, orders) }
    }
}

impl Net {
    /// Rules about single orders that were broken since this was asked last.
    #[must_use]
    pub fn take_broken_rules(&self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.state().seen.broken)
    }

    /// Whether a node ever made a copy of a chunk as it was ordered.
    #[must_use]
    pub fn was_made(&self, node: &str, handle: Handle) -> bool {
        let mut state = self.state();
        let number = state.number(node);
        state.seen.made.contains(&(number, handle))
    }

    /// When a node last told the coordinator what it holds; now, where it is
    /// just doing so.
    pub(super) fn told_ms(&self, node: &str) -> u64 {
        let mut state = self.state();
        let told = state.seen.node(node);
        if told.telling > 0 { trace::elapsed_ms() } else { told.at_ms }
    }
}

impl Seen {
    fn node(&mut self, name: &str) -> &mut Told {
        self.nodes.entry(name.to_owned()).or_default()
    }

    /// I9: of two processes that call themselves one node, and both run, the
    /// coordinator does not heed now the one and now the other.
    fn heed(&mut self, id: &NodeId, process: Process, is_full: bool) {
        let now_ms = trace::elapsed_ms();
        let told = self.node(id.as_str());
        told.full_since_ms = is_full.then(|| told.full_since_ms.unwrap_or(now_ms));
        let heeded = self.heeded.entry(id.clone()).or_default();
        heeded.retain(|other| !other.tasks.has_ended());
        let is_last = heeded.back().is_none_or(|last| last.session == process.session);
        let is_again = heeded.iter().any(|other| other.session == process.session);
        if !is_last && is_again && !process.tasks.has_ended() {
            let text = format!("two processes call themselves {id}, and both are heeded in turn");
            self.broken.push(("I9", text));
        }
        heeded.retain(|other| other.session != process.session);
        heeded.push_back(process);
    }

    /// I10: nobody is told to take a chunk who has no room.
    fn check_room(&mut self, node: &str, what: &str) {
        let since_ms = self.nodes.get(node).and_then(|told| told.full_since_ms);
        let for_ms = since_ms.map(|since_ms| trace::elapsed_ms().saturating_sub(since_ms));
        if let Some(for_ms) = for_ms.filter(|for_ms| *for_ms > FULL_KNOWN_MS) {
            let text =
                format!("{node} is to {what}, and has told for {for_ms} ms that it has no room");
            self.broken.push(("I10", text));
        }
    }

    /// I7: of one run, no two rebuilds of a chunk are under way at once, and
    /// no copy is made and deleted at once.
    fn begin(&mut self, kind: Kind, orders: &[(Run, Copy)], node: &str) {
        for order in orders {
            let (run, (_, handle)) = *order;
            let (ours, theirs) = match kind {
                Kind::Rebuild => (&mut self.rebuilding, &self.deleting),
                Kind::Delete => (&mut self.deleting, &self.rebuilding),
            };
            let is_unconfirmed = kind == Kind::Rebuild
                && self.unconfirmed.get(order).is_some_and(|since_ms| {
                    trace::elapsed_ms().saturating_sub(*since_ms) < UNCONFIRMED_MAX_MS
                });
            if theirs.contains_key(order) || is_unconfirmed {
                let text = format!("{node} is told to make and to delete chunk {handle} at once");
                self.broken.push(("I7", text));
            }
            let is_twice = kind == Kind::Rebuild
                && ours.keys().any(|(other, (_, another))| *other == run && *another == handle);
            if is_twice {
                let text = format!("two copies of chunk {handle} are made at once");
                self.broken.push(("I7", text));
            }
            *ours.entry(*order).or_default() += 1;
            if kind == Kind::Delete {
                self.unconfirmed.insert(*order, trace::elapsed_ms());
            }
        }
    }

    fn end(&mut self, kind: Kind, orders: &[(Run, Copy)]) {
        let open = match kind {
            Kind::Rebuild => &mut self.rebuilding,
            Kind::Delete => &mut self.deleting,
        };
        for order in orders {
            if let Some(count) = open.get_mut(order) {
                *count -= 1;
                if *count == 0 {
                    open.remove(order);
                }
            }
        }
    }
}

impl UnderWay {
    /// The coordinator has heard that all was done.
    pub(super) fn confirmed(&self) {
        if let What::Order(Kind::Delete, orders) = &self.what {
            let mut state = self.net.state();
            for order in orders {
                state.seen.unconfirmed.remove(order);
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.net.state();
        match &self.what {
            What::Order(kind, orders) => state.seen.end(*kind, orders),
            What::Telling(node) => {
                let told = state.seen.node(node);
                told.telling -= 1;
                told.at_ms = trace::elapsed_ms();
            }
        }
    }
}

/// Notes that something happened now, and returns how often it did within the
/// last `within_ms`.
fn count_within(times: &mut VecDeque<u64>, within_ms: u64) -> usize {
    let now_ms = trace::elapsed_ms();
    while times.front().is_some_and(|at_ms| now_ms - at_ms > within_ms) {
        times.pop_front();
    }
    times.push_back(now_ms);
    times.len()
}
