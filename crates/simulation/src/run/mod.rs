//! A scenario, run from a seed: the clients work, the faults strike, somebody
//! starts again what died, and an oracle outside of the store looks on. Then
//! everything heals and is checked to the last byte.
//!
//! - `client`: what clients do. `put`, `change`, `list`, `read`: the single
//!   operations, and whether what comes of them is right. `patience`: how long
//!   they may take.
//! - `strike`: every fault, and its end. `guard`: whether it may strike now.
//! - `second`: two coordinators on one catalog. `folder`: data folders on the
//!   wrong machines.
//! - `operator`: starts what died, replaces what is lost, looks for damage.
//! - `copies`: what nodes really hold. `watch`: the timeline.
//! - `truth`: whether the cluster tells the truth of itself. `invariant`: what
//!   must hold all the time.
//! - `end`: what must hold when all is over.

mod alarm;
mod change;
mod client;
mod copies;
mod end;
mod folder;
mod forge;
mod guard;
mod hard;
mod invariant;
mod ledger;
mod list;
mod operator;
mod patience;
mod put;
mod read;
mod report;
mod second;
mod state;
mod strike;
mod truth;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use report::{Moment, OpCount, Report, Tally, Verdict, Violation};

pub(crate) use hard::is_hard_name;
pub use hard::{SMALL_LIMITS, hard_names};

use dfs_core::mark;

use crate::cluster::{Cluster, ClusterSettings};
use crate::scenario::Scenario;
use crate::step::Stop;
use crate::trace::{Checkpoint, Trace};
use crate::world::World;
use state::Run;

/// How long an upload that is left alone is kept in a simulated cluster.
const UPLOAD_IDLE_MAX: Duration = Duration::from_secs(120);
/// How long a run may take in virtual time after its faults are over.
const END_TIME_MAX: Duration = Duration::from_secs(6 * 3600);
/// Trace lines before a violation that a report shows.
const TAIL_LINES: usize = 60;

/// Shows a line of the timeline.
pub type Show = Box<dyn Fn(&Moment)>;

/// What to keep of a run beside its report.
#[derive(Default)]
pub struct Keep {
    /// The trace, for whoever wants its lines or checkpoints.
    pub trace: Trace,
    /// Is given each line of the timeline as it comes.
    pub timeline: Option<Show>,
    /// A process that is stopped before this step of the world.
    pub stop: Option<(u64, Stop)>,
}

/// Runs `scenario` from `seed`.
#[must_use]
pub fn run(scenario: &Scenario, seed: u64) -> Report {
    run_kept(scenario, seed, &Keep::default())
}

/// The same, with a trace and a timeline that the caller keeps.
#[must_use]
pub fn run_kept(scenario: &Scenario, seed: u64, keep: &Keep) -> Report {
    let drawn = scenario.drawn(seed);
    let _before = mark::take();
    let time_max = drawn.lasts.0 + END_TIME_MAX;
    let outcome = World::run_caught(seed, keep.trace.clone(), time_max, async |world| {
        let _small = hard::make_hard(world, &drawn);
        let settings =
            ClusterSettings { upload_idle_max: UPLOAD_IDLE_MAX, ..drawn.cluster.settings() };
        let cluster = Cluster::start(world, settings).await;
        let run = Run::new(world, &cluster, &drawn, keep.timeline.as_deref());
        run.prepare();
        if let Some((step, stop)) = &keep.stop {
            run.guard.borrow_mut().disturb();
            world.stop_at(*step, stop.clone());
        }
        run.to_its_end().await;
        run.into_report()
    });
    let mut report = outcome.unwrap_or_else(|panic| Report {
        scenario: String::new(),
        seed,
        took_ms: 0,
        events: keep.trace.events(),
        digest: keep.trace.digest(),
        timeline: Vec::new(),
        ops: BTreeMap::new(),
        struck: BTreeMap::new(),
        never_struck: BTreeSet::new(),
        left_out: BTreeMap::new(),
        lost: BTreeSet::new(),
        injected: BTreeMap::new(),
        marks: BTreeMap::new(),
        tally: Tally::default(),
        op_steps: Vec::new(),
        fault_steps: Vec::new(),
        stopped: None,
        violations: vec![Violation { at_ms: 0, rule: "I11", text: panic }],
        tail: keep.trace.tail(TAIL_LINES),
    });
    report.marks = mark::take().into_iter().map(|(mark, count)| (mark.name(), count)).collect();
    report.scenario.clone_from(&scenario.name);
    // The world has closed since, which is in its trace too.
    (report.events, report.digest) = (keep.trace.events(), keep.trace.digest());
    report
}

/// Where the traces of two runs of one scenario from one seed part.
///
/// `None` when they are the same to the last event, as they must be.
#[must_use]
pub fn differs_from_itself(scenario: &Scenario, seed: u64) -> Option<String> {
    let checkpoints = || -> (Vec<Checkpoint>, Report) {
        let keep = Keep::default();
        keep.trace.keep_lines(false);
        let report = run_kept(scenario, seed, &keep);
        (keep.trace.checkpoints(), report)
    };
    let ((one, first), (other, second)) = (checkpoints(), checkpoints());
    if first.digest == second.digest {
        return None;
    }
    let between = crate::trace::parted_between(&one, &other);
    let lines = || {
        let keep = Keep::default();
        keep.trace.record();
        let _ = run_kept(scenario, seed, &keep);
        keep.trace.recorded()
    };
    let difference = crate::trace::first_difference(&lines(), &lines());
    Some(match (difference, between) {
        (Some(difference), _) => difference.context,
        (None, between) => format!("they part within the events {between:?}, but not each time"),
    })
}
