//! Two coordinators on one catalog, and an older copy of it that is put back.
//!
//! Clients stand still meanwhile, so that either copy holds all that they were
//! told; *probes* are stored through both coordinators. Of the two at most one
//! may acknowledge them, and an older copy none. Then an operator goes on with
//! the folder whose run most nodes obey.

use std::sync::Arc;
use std::time::Duration;

use dfs_core::api::{CoordinatorService, Kind};
use dfs_core::client::{Client, ClientSettings, Progress};
use dfs_core::coordinator::CoordinatorSettings;
use dfs_core::id;
use tokio::sync::RwLockWriteGuard;
use tokio::time::Instant;

use super::hard::SMALL_LIMITS;
use super::state::Run;
use super::strike;
use crate::cluster::{COORDINATOR, options, seekable, start_coordinator_on};
use crate::history::{Begun, Moment, Outcome};
use crate::host::Host;
use crate::rng::Rng;
use crate::scenario::{Fault, FaultKind};

/// Hard places that leave heartbeats and answers alone. With others nobody can
/// say which of two coordinators the nodes will obey.
const EASY: [&str; 5] =
    [SMALL_LIMITS, "commit-alone", "minimal-set", "worst-placement", "fail-after-write"];
/// How long a fault of these kinds may take, once it has begun.
const TIME_MAX: Duration = Duration::from_secs(120);
/// How long probes are stored.
const PROBE_TIME: Duration = Duration::from_secs(25);
/// The pause between two probes of one coordinator.
const PROBE_PAUSE: Duration = Duration::from_millis(400);
/// How long a probe is tried.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);
/// How long both are down before they start at once: every lease has ended.
const DOWN_TIME: Duration = Duration::from_secs(8);
/// How long the cluster gets to settle under the coordinator that is left.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(60);
/// The port of the machine with the copy.
const PORT: u16 = 5000;

/// A file that was stored through one of the two.
struct Probe {
    name: String,
    begun: Begun,
    began: Moment,
    ended: Moment,
    outcome: Outcome,
}

/// Waits for a quiet moment, and does what the fault says.
pub(super) async fn strike(run: &Run<'_>, number: usize, fault: &Fault, until: Instant) {
    if run.scenario.beyond_tolerance || !is_easy(run) {
        return run.leave_out(number, fault, "nobody could say what is owed");
    }
    let copy = run.world.add_host(&format!("copy{number}"), PORT);
    if fault.what == FaultKind::OldCatalog {
        copy_folder(run, &copy).await;
        run.world.pass(fault.lasts.map_or(Duration::ZERO, |lasts| lasts.0)).await;
    }
    let Some(nobody_works) = until_calm(run, until, TIME_MAX).await else {
        return run.leave_out(number, fault, "there was no quiet moment");
    };
    let from = strike::begin(run, number, fault);
    strike::hold(run, &[COORDINATOR.to_owned()], true);
    let second = Second { run, number, copy };
    match fault.what {
        FaultKind::OldCatalog => second.put_back().await,
        FaultKind::Usurp => second.usurp().await,
        _ => second.start_both().await,
    }
    strike::hold(run, &[COORDINATOR.to_owned()], false);
    let settling = async {
        while !run.is_settled_for_a_while().await {
            run.world.pass(Duration::from_secs(1)).await;
        }
    };
    let _ = tokio::time::timeout(SETTLE_TIME_MAX, settling).await;
    // Of the two, each numbered its clients and its chunks on its own.
    run.world.net().forget_answers();
    let _by_both = run.world.net().take_deletions();
    {
        let mut guard = run.guard.borrow_mut();
        guard.is_reserved = false;
        guard.calm_down();
    }
    drop(nobody_works);
    run.note_fault_steps(from);
    run.tell("fault", format!("{} is over", strike::describe(fault)));
}

/// Stops the coordinator, and copies its folder. The operator starts it again.
async fn copy_folder(run: &Run<'_>, to: &Host) {
    let coordinator = run.cluster.host(COORDINATOR);
    run.guard.borrow_mut().disturb();
    coordinator.kill();
    to.disk().copy_from(coordinator.disk());
    run.world.pass(Duration::from_secs(2)).await;
    run.guard.borrow_mut().calm_down();
}

/// True where no hard place holds up heartbeats or answers.
pub(super) fn is_easy(run: &Run<'_>) -> bool {
    run.scenario.hard.iter().all(|place| EASY.contains(&place.as_str()))
}

/// Waits until nothing is wrong, keeps clients still and other faults away.
/// `None` when less than `takes` is left.
pub(super) async fn until_calm<'r>(
    run: &'r Run<'_>,
    until: Instant,
    takes: Duration,
) -> Option<RwLockWriteGuard<'r, ()>> {
    let is_calm = || {
        let guard = run.guard.borrow();
        guard.is_calm() && guard.tainted.is_empty()
    };
    while Instant::now() + takes < until {
        if is_calm() && run.is_settled().await {
            let nobody_works = run.quiet.write().await;
            let is_free = || !run.guard.borrow().is_reserved;
            if run.is_settled_for_a_while().await && is_calm() && is_free() {
                let mut guard = run.guard.borrow_mut();
                guard.is_reserved = true;
                guard.disturb();
                return Some(nobody_works);
            }
        }
        run.world.pass(Duration::from_secs(2)).await;
    }
    None
}

struct Second<'a> {
    run: &'a Run<'a>,
    number: usize,
    /// The machine with the copy.
    copy: Arc<Host>,
}

impl Second<'_> {
    /// The folder is copied while the coordinator is stopped; then one starts
    /// on each at the same moment.
    async fn start_both(&self) {
        let run = self.run;
        let first = run.cluster.host(COORDINATOR);
        first.kill();
        self.copy.disk().copy_from(first.disk());
        run.world.pass(DOWN_TIME).await;
        // A node may be asked by both before it obeys either.
        let late_ms = Rng::derive(run.world.seed(), &format!("second {}", self.number)).below(3);
        let one = run.cluster.try_start_coordinator();
        let other = async {
            run.world.pass(Duration::from_millis(late_ms)).await;
            self.start_copy().await
        };
        let (_, other) = tokio::join!(biased; one, other);
        self.probe_and_resolve(other).await;
    }

    /// The coordinator's answers no longer reach its nodes, and one starts on
    /// a copy of the folder that was made while it ran.
    async fn usurp(&self) {
        let run = self.run;
        for node in run.cluster.node_names() {
            run.world.net().cut_one_way(COORDINATOR, &node);
        }
        self.copy.disk().copy_from(run.cluster.host(COORDINATOR).disk());
        let other = self.start_copy().await;
        self.probe_and_resolve(other).await;
    }

    /// The older copy is put back for a while, and then the newest again.
    async fn put_back(&self) {
        let run = self.run;
        let first = run.cluster.host(COORDINATOR);
        let newest = run.world.add_host(&format!("newest{}", self.number), PORT);
        first.kill();
        let _before = run.world.net().take_deletions();
        newest.disk().copy_from(first.disk());
        first.disk().copy_from(self.copy.disk());
        let started = run.cluster.try_start_coordinator().await;
        let probes = if started.is_ok() { self.probe(&first, "old").await } else { Vec::new() };
        if let Some(probe) = probes.iter().find(|probe| probe.outcome == Outcome::Acknowledged) {
            let name = &probe.name;
            run.violates("I9", format!("an older catalog that was put back acknowledged {name}"));
        }
        run.world.pass(run.scenario.cluster.delete_grace.0).await;
        if let Some(deleted) = run.world.net().take_deletions().first() {
            let (node, handles) = (&deleted.node, &deleted.handles);
            let text = format!("an older catalog that was put back deletes {handles:?} of {node}");
            run.violates("I8", text);
        }
        first.kill();
        first.disk().copy_from(newest.disk());
        let _ = run.cluster.try_start_coordinator().await;
        self.end(probes, false);
    }

    async fn start_copy(&self) -> Option<id::Run> {
        let address = self.copy.address().to_owned();
        let settings = CoordinatorSettings { address, ..self.run.cluster.coordinator_settings() };
        let started = start_coordinator_on(&self.copy, settings).await;
        started.ok().map(|coordinator| coordinator.context().run)
    }

    async fn probe_and_resolve(&self, second: Option<id::Run>) {
        let run = self.run;
        let first = run.cluster.host(COORDINATOR);
        let (ours, theirs) =
            tokio::join!(biased; self.probe(&first, "first"), self.probe(&self.copy, "second"));
        self.check_one_leads(&ours, &theirs);
        let first_run = run.cluster.coordinator_role().map(|role| role.context().run);
        self.copy.kill();
        first.kill();
        strike::set_links(run);
        let mut told = Vec::new();
        for name in run.cluster.node_names() {
            let Some(node) = run.world.host(&name).node() else { continue };
            told.extend(node.hello().await.ok().map(|hello| hello.allegiance.told.run));
        }
        let obey =
            |which: Option<id::Run>| told.iter().filter(|told| Some(**told) == which).count();
        let (by_first, by_second) = (obey(first_run), obey(second));
        run.world.trace().event(
            "world",
            format_args!("{by_first} nodes obey the first run, {by_second} the second"),
        );
        let second_wins = by_second > by_first;
        if second_wins {
            first.disk().copy_from(self.copy.disk());
        }
        let accepts_older = by_first > 0 && by_second > 0;
        let settings = CoordinatorSettings { accepts_older, ..run.cluster.coordinator_settings() };
        if let Err(refusal) = run.cluster.try_start_coordinator_with(settings).await {
            run.tell("node", format!("the coordinator does not start: {refusal}"));
        }
        self.end(ours, !second_wins);
        self.end(theirs, second_wins);
    }

    /// Stores small files through one coordinator for a while. Every second
    /// one is empty: it needs no node, so that only leases can refuse it.
    async fn probe(&self, coordinator: &Host, who: &str) -> Vec<Probe> {
        let run = self.run;
        let client = run.client_machine(1);
        let service: Arc<dyn CoordinatorService> =
            client.env().peers.coordinator(coordinator.address());
        let settings = ClientSettings { retry_for: PROBE_PATIENCE, ..ClientSettings::default() };
        let until = Instant::now() + PROBE_TIME;
        let mut probes = Vec::new();
        while Instant::now() < until {
            let name = format!("probe{}/{who}{}", self.number, probes.len());
            let len = if probes.len() % 2 == 0 { 0 } else { 2000 };
            let version = run.new_version(len);
            let bytes = run.content(version);
            let begun = run.history.borrow_mut().begin(&name, Some(version));
            let began = run.history.borrow_mut().tick();
            let storing = Client::new(client.env(), service.clone(), settings.clone());
            let how = options(&name);
            let put = async move { storing.put(seekable(&bytes), how, &Progress::new()).await };
            let outcome = match client.spawn(put).await {
                Ok(Ok(_)) => Outcome::Acknowledged,
                Ok(Err(error)) if error.kind != Kind::NotKnown => Outcome::Refused,
                _ => Outcome::Unclear,
            };
            let ended = run.history.borrow_mut().tick();
            let trace = run.world.trace();
            trace.event(client.name(), format_args!("put {name}: {outcome:?}"));
            probes.push(Probe { name, begun, began, ended, outcome });
            run.world.pass(PROBE_PAUSE).await;
        }
        probes
    }

    /// I9: once one of the two has acknowledged, the other one acknowledges
    /// nothing that begins later, until it has taken over for good.
    fn check_one_leads(&self, ours: &[Probe], theirs: &[Probe]) {
        let done = |probes: &[Probe]| -> Vec<(Moment, Moment)> {
            let acknowledged = probes.iter().filter(|it| it.outcome == Outcome::Acknowledged);
            acknowledged.map(|probe| (probe.began, probe.ended)).collect()
        };
        let (ours, theirs) = (done(ours), done(theirs));
        let is_after = |late: &[(Moment, Moment)], early: &[(Moment, Moment)]| {
            let first = early.iter().map(|(_, ended)| *ended).min();
            late.iter().any(|(began, _)| first.is_some_and(|first| *began > first))
        };
        if is_after(&ours, &theirs) && is_after(&theirs, &ours) {
            return self.run.violates("I9", "two coordinators acknowledge in turn".to_owned());
        }
        // The one on the copy took over: the first one has no lease any more.
        if is_after(&ours, &theirs) {
            let text = "a coordinator acknowledges, and the other one has done so before";
            self.run.violates("I9", text.to_owned());
        }
    }

    /// What probes of a folder that is given up have left is gone with it.
    fn end(&self, probes: Vec<Probe>, is_kept: bool) {
        let mut history = self.run.history.borrow_mut();
        for probe in probes {
            history.end(probe.begun, if is_kept { probe.outcome } else { Outcome::Refused });
        }
    }
}
