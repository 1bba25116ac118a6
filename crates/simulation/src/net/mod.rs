//! The network: who is reached under which address, and how well.
//!
//! Fault model, by direction ([`Link`]):
//! - Every message takes a latency with jitter, now and then a much longer
//!   one, so that later calls overtake it. Within a stream the order is kept.
//! - Frames may come at a limited rate, after a burst.
//! - It may be lost, for ever: a caller then waits for [`CALL_TIMEOUT`] and
//!   hears `Unavailable`. The loss of an answer keeps its effect.
//! - A call may be delivered twice: the service runs twice, and the second
//!   answer is thrown away. Streams are not doubled: each is a connection's
//!   own, and what arrives twice in it is dropped below.
//! - A connection may be reset at any message: both ends see that at once. A
//!   reset answer keeps its effect.
//! - A direction may be cut. A process that dies or goes away resets what was
//!   open; over a cut link its peer does not hear that. The ends of an open
//!   stream find out by themselves, with pings, when nothing came through for
//!   [`SILENCE_MAX`], and so they do of a peer that is paused.
//!
//! A process that is gone sends nothing more: what it was about to say when
//! it was killed is not said.

mod call;
mod coordinator_link;
mod link;
mod message;
mod node_link;
mod order;
mod path;
mod read;
mod request;
mod room;
mod rule;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dfs_core::api::{CoordinatorService, NodeService};
use dfs_core::env::{Hard, Peers};
use dfs_core::id::{Handle, RequestId};

pub use link::{BURST_BYTES, Link};

use crate::host::Host;
use crate::rng::Rng;
use crate::step::{Due, Steps};
use crate::task::TaskGroup;
use crate::trace::Trace;
use coordinator_link::CoordinatorLink;
use link::{Bucket, End, Fate};
use message::Message;
use node_link::NodeLink;
use order::Heeded;
use path::{Path, Place};

/// How long a caller waits for an answer that was lost on the way.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for a peer that works, or hangs.
pub const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// The same for calls that read or rebuild whole chunks.
pub const LONG_CALL_DEADLINE: Duration = Duration::from_secs(3600);
/// How long an open stream may be silent before its ends give it up.
pub const SILENCE_MAX: Duration = Duration::from_secs(20);
/// How often an end of a stream looks whether the other one is there.
pub const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Frames on their way at once, in each direction of a stream.
const FRAMES_IN_FLIGHT_MAX: usize = 2;

/// The network of one world. Clones are the same one.
#[derive(Clone)]
pub struct Net(Arc<Inner>);

struct Inner {
    trace: Trace,
    steps: Steps,
    state: Mutex<State>,
}

struct State {
    /// Each name that was ever heard of has a number, from 0.
    names: BTreeMap<Arc<str>, u32>,
    /// The hosts, by number.
    hosts: Vec<Option<Arc<Host>>>,
    /// Directions that differ from `common`.
    links: BTreeMap<(u32, u32), Link>,
    common: Link,
    /// What is left of the burst of each direction with a limited rate.
    buckets: BTreeMap<(u32, u32), Bucket>,
    rng: Rng,
    faults: Faults,
    /// Carried by every process that starts from now on.
    hard: Option<Hard>,
    rebuilt: Vec<Rebuilt>,
    /// Copies whose receipts came, for rules about single copies.
    made: Vec<(String, Handle)>,
    last_made_ms: u64,
    /// Copies that were ordered to be deleted.
    deleted: Vec<(String, Handle)>,
    deletions: Vec<Deleted>,
    /// What the process of each host has heeded, by number.
    heeded: BTreeMap<u32, Heeded>,
    stale: Vec<String>,
    /// The first answer to each request, by who gave it.
    answers: BTreeMap<(u32, RequestId), String>,
    changed_answers: Vec<String>,
    /// What rules about single orders need.
    seen: rule::Seen,
}

/// Copies that a node was told to delete, and that it deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// When it had done so, in milliseconds since the world began.
    pub at_ms: u64,
    /// The host that held them.
    pub node: String,
    /// Which.
    pub handles: Vec<Handle>,
    /// When the node had last told what it holds, when it was given the order.
    pub told_ms: u64,
}

/// A copy that was rebuilt, as the order and its receipt tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// When the order was given, in milliseconds since the world began.
    pub began_ms: u64,
    /// When the receipt came.
    pub ended_ms: u64,
    /// The host that holds it now.
    pub onto: String,
    /// The hosts that it could be made from.
    pub sources: Vec<String>,
    /// Whether it was made from its stripe rather than from another copy.
    pub from_parity: bool,
    /// Bytes pulled for it.
    pub bytes_pulled: u64,
}

/// How many faults there were.
#[derive(Default)]
struct Faults {
    lost: u64,
    doubled: u64,
    delayed: u64,
    reset: u64,
    cut: u64,
    refused: u64,
}

impl Net {
    pub(crate) fn new(rng: Rng, trace: Trace, steps: Steps) -> Self {
        let state = State {
            names: BTreeMap::new(),
            hosts: Vec::new(),
            links: BTreeMap::new(),
            common: Link::default(),
            buckets: BTreeMap::new(),
            rng,
            faults: Faults::default(),
            hard: None,
            rebuilt: Vec::new(),
            last_made_ms: 0,
            made: Vec::new(),
            deleted: Vec::new(),
            deletions: Vec::new(),
            heeded: BTreeMap::new(),
            stale: Vec::new(),
            answers: BTreeMap::new(),
            changed_answers: Vec::new(),
            seen: rule::Seen::default(),
        };
        Self(Arc::new(Inner { trace, steps, state: Mutex::new(state) }))
    }

    /// Changes how every direction is that is not set by itself.
    pub fn set_all(&self, link: Link) {
        self.note(format_args!("all that is not set becomes {link:?}"));
        self.state().common = link;
    }

    /// Changes how messages go from one host to another.
    pub fn set_link(&self, from: &str, to: &str, link: Link) {
        self.note(format_args!("{from} to {to} becomes {link:?}"));
        let mut state = self.state();
        let key = (state.number(from), state.number(to));
        state.links.insert(key, link);
    }

    /// Cuts one direction (F14). The other stays.
    pub fn cut_one_way(&self, from: &str, to: &str) {
        let link = self.link(from, to);
        self.set_link(from, to, Link { is_cut: true, ..link });
    }

    /// Cuts both directions between each of `these` and each of `those`.
    pub fn partition(&self, these: &[&str], those: &[&str]) {
        for (a, b) in these.iter().flat_map(|a| those.iter().map(move |b| (*a, *b))) {
            self.cut_one_way(a, b);
            self.cut_one_way(b, a);
        }
    }

    /// Makes all messages to and from a host take `latency_us` (F12).
    pub fn slow_down(&self, name: &str, latency_us: u64) {
        let others: Vec<String> = {
            let state = self.state();
            state.hosts.iter().flatten().map(|host| host.name().to_owned()).collect()
        };
        for other in others.iter().filter(|other| *other != name) {
            for (from, to) in [(name, other.as_str()), (other.as_str(), name)] {
                let link = self.link(from, to);
                self.set_link(from, to, Link { latency_us, ..link });
            }
        }
    }

    /// Makes every direction as it was at first.
    pub fn heal(&self) {
        self.note(format_args!("healed"));
        let mut state = self.state();
        state.links.clear();
        state.common = Link::default();
    }

    /// How messages go from one host to another.
    #[must_use]
    pub fn link(&self, from: &str, to: &str) -> Link {
        let mut state = self.state();
        let (from, to) = (state.number(from), state.number(to));
        state.link(from, to)
    }

    /// How many messages were lost, doubled, delayed, reset or met a cut
    /// link, and how many calls were refused because nobody listened.
    #[must_use]
    pub fn faults_injected(&self) -> BTreeMap<&'static str, u64> {
        let Faults { lost, doubled, delayed, reset, cut, refused } = self.state().faults;
        BTreeMap::from([
            ("lost", lost),
            ("doubled", doubled),
            ("delayed", delayed),
            ("reset", reset),
            ("cut", cut),
            ("refused", refused),
        ])
    }

    pub(crate) fn set_hard(&self, hard: Hard) {
        self.state().hard = Some(hard);
    }

    pub(crate) fn hard(&self) -> Option<Hard> {
        self.state().hard.clone()
    }

    /// The copies that were deleted since this was asked last.
    #[must_use]
    pub fn take_deletions(&self) -> Vec<Deleted> {
        std::mem::take(&mut self.state().deletions)
    }

    /// When the last receipt of a copy came, in milliseconds since the world
    /// began.
    #[must_use]
    pub fn last_made_ms(&self) -> u64 {
        self.state().last_made_ms
    }

    /// The copies that were rebuilt since this was asked last.
    #[must_use]
    pub fn take_rebuilt(&self) -> Vec<Rebuilt> {
        std::mem::take(&mut self.state().rebuilt)
    }

    /// The copies, each by host and handle, whose receipts came since this was
    /// asked last.
    #[must_use]
    pub fn take_made(&self) -> Vec<(String, Handle)> {
        std::mem::take(&mut self.state().made)
    }

    /// The copies, each by host and handle, that somebody was told to delete
    /// since this was asked last.
    #[must_use]
    pub fn take_deleted(&self) -> Vec<(String, Handle)> {
        std::mem::take(&mut self.state().deleted)
    }

    pub(crate) fn connect(&self, host: Arc<Host>) {
        let mut state = self.state();
        let number = index(state.number(host.name()));
        state.hosts[number] = Some(host);
    }

    pub(crate) fn disconnect_all(&self) {
        let hosts = std::mem::take(&mut self.state().hosts);
        drop(hosts);
    }

    pub(crate) fn steps(&self) -> &Steps {
        &self.0.steps
    }

    /// Stops the process that a step was due to stop.
    pub(crate) fn stop(&self, due: &Due) {
        let host = {
            let mut state = self.state();
            let number = index(state.number(&due.host));
            state.hosts.get(number).cloned().flatten()
        };
        if let Some(host) = host {
            host.stop(due.by);
        }
    }

    fn place(&self, name: &str) -> Place {
        let mut state = self.state();
        let number = state.number(name);
        let known = state.names.get_key_value(name).map(|(name, _)| name.clone());
        Place { number, name: known.expect("it has a number") }
    }

    fn host_at(&self, place: &Place, address: &str) -> Option<Arc<Host>> {
        let state = self.state();
        let host = state.hosts.get(index(place.number))?.as_ref()?;
        (host.address() == address).then(|| host.clone())
    }

    /// Counts a step of a host, and stops whom it is due to stop. False when
    /// that is the host itself.
    fn step(&self, owner: &Place, what: fmt::Arguments<'_>) -> bool {
        let Some(due) = self.0.steps.next(&owner.name, what) else { return true };
        self.stop(&due);
        due.host != *owner.name
    }

    /// How long a message waits for its turn on a link with a limited rate.
    /// Messages of all streams of a direction wait for each other.
    fn turn(&self, from: u32, to: u32, bytes: u64) -> Duration {
        let mut state = self.state();
        let bytes_per_second = state.link(from, to).bytes_per_second;
        if bytes_per_second == 0 {
            return Duration::ZERO;
        }
        let bucket = state.buckets.entry((from, to)).or_insert_with(Bucket::full);
        bucket.take(bytes, bytes_per_second)
    }

    /// Draws what becomes of a message.
    fn draw(&self, from: u32, to: u32, is_answer: bool) -> Fate {
        let mut state = self.state();
        let fate = state.link(from, to).draw(&mut state.rng, is_answer);
        state.faults.delayed += u64::from(fate.is_delayed);
        fate
    }

    fn doubles(&self, from: u32, to: u32) -> bool {
        let mut state = self.state();
        state.link(from, to).doubles(&mut state.rng)
    }

    fn is_cut(&self, from: u32, to: u32) -> bool {
        let state = self.state();
        state.link(from, to).is_cut || state.link(to, from).is_cut
    }

    fn takes_no_calls(&self, from: u32, to: u32) -> bool {
        self.state().link(from, to).takes_no_calls
    }

    /// A message has travelled; says what became of it, which a cut in the
    /// meantime may have changed.
    fn arrive(&self, from: &Place, to: &Place, drawn: End, message: Message<'_>) -> End {
        let mut state = self.state();
        let is_cut = state.link(from.number, to.number).is_cut;
        let end = if is_cut { End::Cut } else { drawn };
        let fate = match end {
            End::Arrived => "arrived",
            End::Lost => "lost",
            End::Cut => "cut",
            End::Reset => "reset",
        };
        state.faults.count(end);
        state.faults.refused += u64::from(matches!(message, Message::Refused(_)));
        drop(state);
        self.note(format_args!("{} to {} {fate}: {message}", from.name, to.name));
        end
    }

    fn note_doubled(&self, from: &Place, to: &Place, what: &str) {
        self.state().faults.doubled += 1;
        self.note(format_args!("{} to {} arrived again: {what}", from.name, to.name));
    }

    fn note(&self, what: fmt::Arguments<'_>) {
        self.0.trace.event("net", what);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The number of a name, which it has from now on.
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.names.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).expect("names fit into memory");
        self.names.insert(name.into(), number);
        self.hosts.resize(self.names.len(), None);
        number
    }

    fn link(&self, from: u32, to: u32) -> Link {
        if self.links.is_empty() {
            return self.common;
        }
        self.links.get(&(from, to)).copied().unwrap_or(self.common)
    }
}

impl Faults {
    fn count(&mut self, end: End) {
        match end {
            End::Arrived => {}
            End::Lost => self.lost += 1,
            End::Cut => self.cut += 1,
            End::Reset => self.reset += 1,
        }
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).expect("32 bits fit")
}

/// The way from one process to all others.
pub struct SimulatedPeers {
    net: Net,
    from: Place,
    caller: TaskGroup,
}

impl SimulatedPeers {
    pub(crate) fn new(net: Net, from: &str, caller: TaskGroup) -> Self {
        let from = net.place(from);
        Self { net, from, caller }
    }

    fn path(&self, address: &str) -> Path {
        Path::new(self.net.clone(), self.caller.clone(), self.from.clone(), address)
    }
}

impl Peers for SimulatedPeers {
    fn node(&self, address: &str) -> Arc<dyn NodeService> {
        Arc::new(NodeLink::new(self.path(address)))
    }

    fn coordinator(&self, address: &str) -> Arc<dyn CoordinatorService> {
        Arc::new(CoordinatorLink::new(self.path(address)))
    }
}
