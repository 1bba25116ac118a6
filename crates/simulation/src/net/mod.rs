//! The network: who is reached under which address, and how well.
//!
//! Fault model: every message takes a latency with jitter; it may be lost,
//! for ever (then the caller waits for its timeout and hears `Unavailable`);
//! a direction between two hosts may be cut. The loss of an answer keeps its
//! effect. A process that dies resets what was open; a cut link does not, its
//! ends find out by themselves after [`SILENCE_MAX`].

mod coordinator_link;
mod node_link;
mod path;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dfs_core::api::{CoordinatorService, NodeService};
use dfs_core::env::Peers;

use crate::host::Host;
use crate::rng::Rng;
use crate::trace::Trace;
use coordinator_link::CoordinatorLink;
use node_link::NodeLink;
use path::Path;

/// How long a caller waits for an answer that was lost on the way.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for a peer that works, or hangs.
pub const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// The same for calls that read or rebuild whole chunks.
pub const LONG_CALL_DEADLINE: Duration = Duration::from_secs(3600);
/// How long an open stream may be silent before its ends give it up.
pub const SILENCE_MAX: Duration = Duration::from_secs(20);

/// One direction between two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// What each message takes at least.
    pub latency_us: u64,
    /// What it may take more.
    pub jitter_us: u64,
    /// Messages lost, of a thousand.
    pub loss_per_mille: u32,
    /// Nothing comes through.
    pub is_cut: bool,
}

impl Default for Link {
    fn default() -> Self {
        Self { latency_us: 200, jitter_us: 100, loss_per_mille: 0, is_cut: false }
    }
}

/// The network of one world. Clones are the same one.
#[derive(Clone)]
pub struct Net(Arc<Mutex<State>>);

struct State {
    hosts: BTreeMap<String, Arc<Host>>,
    /// Directions that differ from `common`, by the hosts' names.
    links: BTreeMap<(String, String), Link>,
    common: Link,
    rng: Rng,
    trace: Trace,
}

impl Net {
    pub(crate) fn new(rng: Rng, trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(State {
            hosts: BTreeMap::new(),
            links: BTreeMap::new(),
            common: Link::default(),
            rng,
            trace,
        })))
    }

    /// Changes how every direction is that is not set by itself.
    pub fn set_all(&self, link: Link) {
        self.state().common = link;
    }

    /// Changes how messages go from one host to another.
    pub fn set_link(&self, from: &str, to: &str, link: Link) {
        self.note(format_args!("{from} to {to} becomes {link:?}"));
        self.state().links.insert((from.to_owned(), to.to_owned()), link);
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
            state.hosts.values().map(|host| host.name().to_owned()).collect()
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
        let state = self.state();
        let key = (from.to_owned(), to.to_owned());
        state.links.get(&key).copied().unwrap_or(state.common)
    }

    pub(crate) fn connect(&self, host: Arc<Host>) {
        self.state().hosts.insert(host.address().to_owned(), host);
    }

    pub(crate) fn disconnect_all(&self) {
        let hosts = std::mem::take(&mut self.state().hosts);
        drop(hosts);
    }

    fn host_at(&self, address: &str) -> Option<Arc<Host>> {
        self.state().hosts.get(address).cloned()
    }

    /// Draws how long a message takes, and whether it is lost.
    fn draw(&self, from: &str, to: &str) -> (Duration, bool) {
        let link = self.link(from, to);
        let mut state = self.state();
        let jitter_us = state.rng.below(link.jitter_us + 1);
        let is_lost = state.rng.chance(u64::from(link.loss_per_mille), 1000);
        (Duration::from_micros(link.latency_us + jitter_us), is_lost)
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        let trace = self.state().trace.clone();
        trace.event("net", what);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way from one host to all others.
pub struct SimulatedPeers {
    net: Net,
    from: String,
}

impl SimulatedPeers {
    pub(crate) fn new(net: Net, from: &str) -> Self {
        Self { net, from: from.to_owned() }
    }

    fn path(&self, address: &str) -> Path {
        Path::new(self.net.clone(), &self.from, address)
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
