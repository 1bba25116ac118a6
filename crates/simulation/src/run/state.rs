//! What a run knows, and how its parts run side by side.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use dfs_core::api::{ClusterStatus, CoordinatorService};
use futures_util::future::join_all;
use tokio::sync::RwLock;

use super::folder::Displaced;
use super::guard::Guard;
use super::ledger::LostLedger;
use super::report::{Moment, OpCount, Report, Tally, Violation};
use super::{TAIL_LINES, strike};
use crate::cluster::{COORDINATOR, Cluster};
use crate::history::{History, Version};
use crate::rng::Rng;
use crate::scenario::{Act, Fault, Scenario};
use crate::trace;
use crate::world::World;

/// How long the operator waits for the coordinator's status.
const STATUS_WAIT_MAX: Duration = Duration::from_secs(2);

/// Why most faults are left out that are.
pub(super) const BEYOND_POLICY: &str =
    "the policy does not survive it beside what is wrong already";

/// One run. Everything lives on one thread; no borrow is held over a wait.
pub(super) struct Run<'r> {
    pub(super) world: &'r World,
    pub(super) cluster: &'r Cluster<'r>,
    pub(super) scenario: &'r Scenario,
    show: Option<&'r dyn Fn(&Moment)>,
    pub(super) history: RefCell<History>,
    /// The sizes of all contents, by version.
    pub(super) contents: RefCell<Vec<usize>>,
    /// Contents that were stored with fewer copies than the policy names.
    pub(super) thin: RefCell<BTreeSet<Version>>,
    /// Acknowledged files that could not be read when all was over.
    pub(super) lost: RefCell<BTreeSet<String>>,
    pub(super) guard: RefCell<Guard>,
    /// Held for reading by each call of a client, for writing to damage a node.
    pub(super) quiet: RwLock<()>,
    /// How many faults hold each host down now.
    pub(super) held: RefCell<BTreeMap<String, u32>>,
    /// Nodes whose next start says `--replace`.
    pub(super) replaced: RefCell<BTreeSet<String>>,
    /// What each host said when it did not start, and since when.
    pub(super) refusals: RefCell<BTreeMap<String, (String, u64)>>,
    /// Faults on links that go on now, by their number.
    pub(super) link_faults: RefCell<BTreeMap<usize, Fault>>,
    /// The coordinator's ledger, while it is gone from its path.
    pub(super) lost_ledger: RefCell<Option<LostLedger>>,
    /// Since when the coordinator's disk has no room, while it has none.
    pub(super) ledger_full_since_ms: RefCell<Option<u64>>,
    /// Data folders that are on wrong machines now.
    pub(super) displaced: RefCell<Option<Displaced>>,
    pub(super) chance: RefCell<Rng>,
    pub(super) tally: RefCell<Tally>,
    ops: RefCell<BTreeMap<Act, OpCount>>,
    struck: RefCell<BTreeMap<&'static str, u64>>,
    left_out: RefCell<BTreeMap<&'static str, u64>>,
    /// Faults that struck or were left out, by their number.
    decided: RefCell<BTreeSet<usize>>,
    op_steps: RefCell<Vec<Range<u64>>>,
    fault_steps: RefCell<Vec<Range<u64>>>,
    timeline: RefCell<Vec<Moment>>,
    violations: RefCell<Vec<Violation>>,
    tail: RefCell<Vec<String>>,
}

impl<'r> Run<'r> {
    pub(super) fn new(
        world: &'r World,
        cluster: &'r Cluster<'r>,
        scenario: &'r Scenario,
        show: Option<&'r dyn Fn(&Moment)>,
    ) -> Self {
        let guard = Guard::new(scenario.cluster.tolerance());
        Self {
            world,
            cluster,
            scenario,
            show,
            history: RefCell::default(),
            contents: RefCell::default(),
            thin: RefCell::default(),
            lost: RefCell::default(),
            guard: RefCell::new(guard),
            quiet: RwLock::new(()),
            held: RefCell::default(),
            replaced: RefCell::default(),
            refusals: RefCell::default(),
            link_faults: RefCell::default(),
            lost_ledger: RefCell::default(),
            ledger_full_since_ms: RefCell::default(),
            displaced: RefCell::default(),
            chance: RefCell::new(world.rng("run")),
            tally: RefCell::default(),
            ops: RefCell::default(),
            struck: RefCell::default(),
            left_out: RefCell::default(),
            decided: RefCell::default(),
            op_steps: RefCell::default(),
            fault_steps: RefCell::default(),
            timeline: RefCell::default(),
            violations: RefCell::default(),
            tail: RefCell::default(),
        }
    }

    /// Runs it: clients and faults, then the end.
    pub(super) async fn to_its_end(&self) {
        tokio::select! {
            biased;
            () = self.around() => {}
            () = self.story() => {}
        }
        self.tell(
            "check",
            match self.has_failed() {
                true => "something that must never be was found".to_owned(),
                false => "all held".to_owned(),
            },
        );
    }

    /// What happens one after the other.
    async fn story(&self) {
        tokio::select! {
            biased;
            () = self.work_and_suffer() => {}
            () = self.is_broken() => return,
        }
        tokio::select! {
            biased;
            () = self.end() => {}
            () = self.is_broken() => {}
        }
    }

    /// Clients work, and faults strike.
    async fn work_and_suffer(&self) {
        self.store_before().await;
        let work = async {
            let clients = (1..=self.scenario.cluster.clients).map(|client| self.work(client));
            let lasts = tokio::time::sleep(self.scenario.lasts.0);
            tokio::join!(biased; join_all(clients), lasts);
        };
        let faults = async {
            let faults = self.scenario.faults.iter().enumerate();
            join_all(faults.map(|(number, fault)| strike::strike(self, number, fault))).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = faults => {}
            () = work => {}
        }
        // Some still wait for a moment in which the policy survives them.
        for (number, fault) in self.scenario.faults.iter().enumerate() {
            if fault.at < self.scenario.lasts && !self.decided.borrow().contains(&number) {
                self.leave_out(number, fault, BEYOND_POLICY);
            }
        }
    }

    /// What goes on all the time.
    async fn around(&self) {
        tokio::join!(biased; self.operate(), self.watch(), self.watch_copies());
    }

    pub(super) fn into_report(self) -> Report {
        Report {
            scenario: String::new(),
            seed: self.world.seed(),
            took_ms: trace::elapsed_ms(),
            events: self.world.trace().events(),
            digest: self.world.trace().digest(),
            timeline: self.timeline.take(),
            ops: self.ops.take(),
            never_struck: self.never_struck(),
            struck: self.struck.take(),
            left_out: self.left_out.take(),
            lost: self.lost.take(),
            injected: self.injected(),
            marks: BTreeMap::new(),
            tally: self.tally.take(),
            op_steps: self.op_steps.take(),
            fault_steps: self.fault_steps.take(),
            stopped: self.world.stopped(),
            violations: self.violations.take(),
            tail: self.tail.take(),
        }
    }

    /// Something that must never be was found.
    pub(super) fn violates(&self, rule: &'static str, text: String) {
        let at_ms = trace::elapsed_ms();
        self.world.trace().event("oracle", format_args!("{rule} is broken: {text}"));
        if !self.has_failed() {
            *self.tail.borrow_mut() = self.world.trace().tail(TAIL_LINES);
        }
        self.tell("check", format!("{rule} is broken: {text}"));
        self.violations.borrow_mut().push(Violation { at_ms, rule, text });
    }

    pub(super) fn has_failed(&self) -> bool {
        !self.violations.borrow().is_empty()
    }

    async fn is_broken(&self) {
        while !self.has_failed() {
            self.world.pass(Duration::from_millis(500)).await;
        }
    }

    /// Adds a line to the timeline.
    pub(super) fn tell(&self, about: &'static str, text: String) {
        let moment = Moment { at_ms: trace::elapsed_ms(), about, text };
        if let Some(show) = self.show {
            show(&moment);
        }
        self.timeline.borrow_mut().push(moment);
    }

    /// An op that began at step `from` has ended.
    pub(super) fn note_op_steps(&self, from: u64) {
        self.op_steps.borrow_mut().push(from..self.world.steps());
    }

    /// All that came of a fault that began at step `from` is over.
    pub(super) fn note_fault_steps(&self, from: u64) {
        self.fault_steps.borrow_mut().push(from..self.world.steps());
    }

    pub(super) fn count_op(&self, act: Act, count: impl FnOnce(&mut OpCount)) {
        count(self.ops.borrow_mut().entry(act).or_default());
    }

    /// How many ops of this kind were acknowledged.
    pub(super) fn ended_well(&self, act: Act) -> u64 {
        self.ops.borrow().get(&act).map_or(0, |count| count.ok)
    }

    pub(super) fn count_struck(&self, number: usize, fault: &Fault) {
        self.decided.borrow_mut().insert(number);
        *self.struck.borrow_mut().entry(fault.what.name()).or_default() += 1;
    }

    /// A fault does not strike, for this reason.
    pub(super) fn leave_out(&self, number: usize, fault: &Fault, reason: &str) {
        self.decided.borrow_mut().insert(number);
        self.world.trace().event("world", format_args!("left out: {fault:?}"));
        self.tell("fault", format!("{} is left out: {reason}", strike::describe(fault)));
        *self.left_out.borrow_mut().entry(fault.what.name()).or_default() += 1;
    }

    /// Kinds of fault that the scenario names and of which none struck.
    fn never_struck(&self) -> BTreeSet<&'static str> {
        let struck = self.struck.borrow();
        let named = self.scenario.faults.iter().map(|fault| fault.what.name());
        named.filter(|kind| !struck.contains_key(kind)).collect()
    }

    /// The coordinator as its operator reaches it: on its own machine, past
    /// the network.
    pub(super) fn coordinator(&self) -> Option<Arc<dyn CoordinatorService>> {
        let host = self.cluster.host(COORDINATOR);
        if host.is_paused() { None } else { host.coordinator() }
    }

    /// The cluster on one page; `None` when the coordinator does not answer.
    pub(super) async fn status(&self) -> Option<ClusterStatus> {
        let coordinator = self.coordinator()?;
        tokio::time::timeout(STATUS_WAIT_MAX, coordinator.status()).await.ok()?.ok()
    }

    /// The machines of a cluster: coordinator, nodes, clients.
    pub(super) fn hosts(&self) -> Vec<String> {
        let mut hosts = vec![COORDINATOR.to_owned()];
        hosts.extend(self.cluster.node_names());
        hosts.extend((1..=self.scenario.cluster.clients).map(client_name));
        hosts
    }

    fn injected(&self) -> BTreeMap<String, u64> {
        let mut injected = BTreeMap::new();
        let mut add = |place: &str, kind: &str, count: u64| {
            if count > 0 {
                *injected.entry(format!("{place}: {kind}")).or_default() += count;
            }
        };
        for (kind, count) in self.world.net().faults_injected() {
            add("network", kind, count);
        }
        for (place, count) in self.world.hard_struck() {
            add("hard", place.name(), count);
        }
        for host in self.hosts() {
            for (kind, count) in self.world.host(&host).disk().faults_injected() {
                add("disk", kind, count);
            }
        }
        injected
    }
}

/// The name of client number `number`, from 1.
pub(super) fn client_name(number: usize) -> String {
    format!("c{number}")
}
