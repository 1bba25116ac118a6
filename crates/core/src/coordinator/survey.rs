//! How the stripes are: all of them are looked over, slice by slice, so that
//! nobody waits for the whole; then the most urgent copies are set going.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::mend::REBUILDS_PER_NODE_MAX;
use super::role::{Coordinator, State};
use crate::catalog::Catalog;
use crate::id::{Handle, NodeIndex};
use crate::mark::{Mark, reached};
use crate::mutant::{Mutant, is_planted};
use crate::placement::Candidate;
use crate::presence::{CopyState, Known};
use crate::repair::{Basis, Change, Limits, NodeBasis, Plan, RepairTask, Standing, Survey, View};

/// How often the stripes are looked over, when that takes no time.
const SURVEY_INTERVAL: Duration = Duration::from_secs(1);
/// Stripes that lengthen the pause between surveys by a second.
const STRIPES_PER_SECOND: u64 = 5_000;
/// The longest pause.
const SURVEY_PAUSE_MAX: Duration = Duration::from_secs(60);
/// The least time between two plans: what ends meanwhile is planned for
/// together.
const MEND_PAUSE: Duration = Duration::from_millis(50);
/// The pause between two slices of a long work, each of which keeps others
/// from the catalog: without it, who waits for a lock would seldom get it
/// before the next slice does.
pub(super) const SLICE_PAUSE: Duration = Duration::from_millis(1);

/// All that a survey depends on, in short.
#[derive(PartialEq, Eq)]
struct Seen {
    /// Who is there; bad copies and restarts.
    urgent: Basis,
    /// Files that were stored with copies missing.
    thin_files: u64,
    /// Rebuilds that ended.
    ended: u64,
    /// The catalog.
    batches: u64,
    /// What nodes hold.
    copies: Known,
    /// Whether copies count as held that were not told of yet: for how long,
    /// time decides.
    has_promises: bool,
}

/// Files that were stored with copies missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ThinFiles {
    /// All since the start.
    stored: u64,
    /// Those that the last survey has seen.
    surveyed: u64,
    /// How many more losses the worst of the others tolerates.
    spares_min: i32,
}

impl ThinFiles {
    /// Notes a file that was just stored.
    pub(super) fn note(&mut self, spares: i32) {
        let is_first = self.stored == self.surveyed;
        self.spares_min = if is_first { spares } else { self.spares_min.min(spares) };
        self.stored += 1;
    }

    /// Returns how many files no survey has seen yet, and how many losses the
    /// worst of these files tolerates.
    pub(super) fn unseen(&self) -> (u64, i32) {
        (self.stored - self.surveyed, self.spares_min)
    }
}

/// How long surveys that nothing makes urgent are apart: looking takes some
/// microseconds a stripe, and shall not take a core.
fn pause_after(survey: &Survey) -> Duration {
    let steps = survey.health().stripes() / STRIPES_PER_SECOND;
    (SURVEY_INTERVAL + Duration::from_secs(steps)).min(SURVEY_PAUSE_MAX)
}

impl Coordinator {
    /// Looks over all stripes for as long as the coordinator runs.
    ///
    /// All are looked over at once when a node came or went or a copy went
    /// bad. What else changes, puts and rebuilds above all, makes nothing
    /// urgent: then the more stripes there are, the longer is the pause. While
    /// nothing changes, nothing is looked at.
    pub(super) async fn look_over(self: Arc<Self>) {
        let mut survey = Arc::new(Survey::default());
        let mut seen: Option<Seen> = None;
        let mut looked = Instant::now();
        let mut took = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                // What changed meanwhile is looked at together.
                () = self.look_again.notified() => tokio::time::sleep(took.clamp(MEND_PAUSE, SURVEY_INTERVAL)).await,
                () = tokio::time::sleep(SURVEY_INTERVAL) => {}
            }
            let now = self.seen();
            let is_due = match &seen {
                None => true,
                Some(before) if before.urgent != now.urgent => true,
                Some(before) if *before == now && !now.has_promises => false,
                // All that was kept of the last survey is made good, and it
                // found more than it kept.
                Some(before) if before.ended != now.ended && survey.left_out() => {
                    self.state().is_planned_out || looked.elapsed() >= pause_after(&survey)
                }
                Some(_) => looked.elapsed() >= pause_after(&survey),
            };
            if is_due {
                let done_before = self.state().mending.done();
                let began = Instant::now();
                survey = Arc::new(self.survey().await);
                {
                    let mut state = self.state();
                    state.survey = survey.clone();
                    state.surveyed_from = Some(now.urgent.clone());
                    state.thin_files.surveyed = now.thin_files;
                    state.done_before_survey = done_before;
                    state.is_planned_out = false;
                }
                self.mend_again.notify_one();
                took = began.elapsed();
                (seen, looked) = (Some(now), Instant::now());
            }
        }
    }

    /// Mends what the last survey found, for as long as the coordinator runs:
    /// whenever a survey or a rebuild ended, and every now and then, as what
    /// could not be mended may be so later.
    pub(super) async fn mend(self: Arc<Self>) {
        loop {
            tokio::select! {
                biased;
                () = self.mend_again.notified() => {}
                () = tokio::time::sleep(SURVEY_INTERVAL) => {}
            }
            let (survey, room) = {
                let state = self.state();
                (state.survey.clone(), state.mending.room())
            };
            if room > 0 {
                let tasks = self.plan(&survey).await;
                {
                    let mut state = self.state();
                    if Arc::ptr_eq(&survey, &state.survey) {
                        state.is_planned_out = tasks.len() < room;
                    }
                }
                self.begin_rebuilds(tasks);
            }
            tokio::time::sleep(MEND_PAUSE).await;
        }
    }

    /// What a survey that begins now depends on.
    fn seen(&self) -> Seen {
        let batches = self.door.batches();
        let state = self.state();
        let (copies, has_promises) = state.members.known_copies();
        Seen {
            urgent: self.basis(&state),
            thin_files: state.thin_files.stored,
            ended: state.mending.ended(),
            batches,
            copies,
            has_promises,
        }
    }

    async fn survey(&self) -> Survey {
        let mut survey = Survey::default();
        let mut after: Option<Handle> = None;
        loop {
            let last = self.door.peek(|catalog| self.look_at_slice(catalog, after, &mut survey));
            if last.is_none() {
                return survey;
            }
            after = last;
            reached(Mark::SurveySecondStep);
            tokio::time::sleep(SLICE_PAUSE).await;
        }
    }

    /// Looks at the stripes behind `after` and returns the last of them;
    /// `None` when there are no more.
    fn look_at_slice(
        &self,
        catalog: &Catalog,
        after: Option<Handle>,
        survey: &mut Survey,
    ) -> Option<Handle> {
        let state = self.state();
        let standings = self.standings(&state);
        let copy_state = copy_state(&state);
        let view = View { standings: &standings, copy_state: &copy_state };
        survey.look_on(catalog.stripes_after(after), &view)
    }

    async fn plan(&self, survey: &Survey) -> Vec<RepairTask> {
        let candidates = self.candidates();
        let mut plan = None;
        while self.plan_slice(survey, &candidates, &mut plan) {
            reached(Mark::PlanSecondStep);
            tokio::time::sleep(SLICE_PAUSE).await;
        }
        plan.map_or_else(Vec::new, Plan::into_tasks)
    }

    /// Goes on with a plan, or begins one; whether there is more to do.
    fn plan_slice(
        &self,
        survey: &Survey,
        candidates: &[Candidate],
        plan: &mut Option<Plan>,
    ) -> bool {
        let now_ms = self.now_ms();
        self.door.peek(|catalog| {
            let state = self.state();
            let standings = self.standings(&state);
            let copy_state = copy_state(&state);
            let view = View { standings: &standings, copy_state: &copy_state };
            let lookup = |first: Handle| {
                let stripe = catalog.stripe(first)?;
                Some((stripe, &catalog.file_by_id(stripe.file)?.policy))
            };
            let nothing_runs = BTreeMap::new();
            let limits = Limits {
                candidates,
                tasks_max: state.mending.room(),
                tasks_per_target_max: REBUILDS_PER_NODE_MAX,
                running: if is_planted(Mutant::SecondRepairWins) {
                    &nothing_runs
                } else {
                    state.mending.running()
                },
                is_resting: &|handle| state.mending.is_resting(handle, now_ms),
                is_avoided: &|handle, node| {
                    state.mending.is_deleting(handle, node)
                        || state.mending.is_target_resting(node, now_ms)
                },
            };
            let plan = plan.get_or_insert_with(|| Plan::new(&view, &limits));
            plan.go_on(survey, &view, &limits, lookup)
        })
    }

    /// Returns what changed since the last survey began.
    pub(super) fn changed_since_survey(&self, state: &State) -> Change {
        let before = state.surveyed_from.as_ref();
        before.map(|before| Change::between(before, &self.basis(state))).unwrap_or_default()
    }

    /// Returns the state that a survey depends on.
    fn basis(&self, state: &State) -> Basis {
        let presence = &state.members.presence;
        let of = |(index, standing): (NodeIndex, Standing)| {
            let node = NodeBasis {
                standing,
                session: presence.session(index),
                is_complete: presence.is_complete(index),
                bad: presence.summary(index).quarantined,
            };
            (index, node)
        };
        let nodes = self.standings(state).into_iter().map(of).collect();
        Basis { nodes, differing: state.members.differing() }
    }

    /// Wakes the survey when the state of a node changed since the last one.
    pub(super) fn look_again_if_changed(&self) {
        let change = self.changed_since_survey(&self.state());
        if !change.is_none() {
            self.look_again.notify_one();
        }
    }

    /// The standing of every member now.
    pub(super) fn standings(&self, state: &State) -> BTreeMap<NodeIndex, Standing> {
        let now_ms = self.now_ms();
        let repair_after_ms = self.settings.repair_after_ms;
        let is_hindered = self.lead.hindrance().is_some();
        let of = |live: &super::member::Live| {
            match Standing::of(&live.health, now_ms, repair_after_ms) {
                // Nodes that obey the run of a newer catalog do not report their
                // copies here, so their silence does not mean a loss.
                Standing::Away | Standing::Gone if is_hindered => Standing::Unknown,
                standing => standing,
            }
        };
        state.members.iter().map(|(index, live)| (index, of(live))).collect()
    }
}

/// The state of a copy, by what was heard and promised.
pub(super) fn copy_state(state: &State) -> impl Fn(NodeIndex, Handle) -> CopyState + '_ {
    move |node, handle| state.members.copy_state(node, handle)
}
