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
use crate::presence::{CopyState, Known, KnownUrgent};
use crate::repair::{Limits, Plan, RepairTask, Standing, Survey, View};

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
    urgent: (BTreeMap<NodeIndex, Standing>, KnownUrgent, usize),
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
        loop {
            tokio::time::sleep(SURVEY_INTERVAL).await;
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
                survey = Arc::new(self.survey().await);
                {
                    let mut state = self.state();
                    state.survey = survey.clone();
                    state.is_surveyed = true;
                    state.done_before_survey = done_before;
                    state.is_planned_out = false;
                }
                self.mend_again.notify_one();
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
            urgent: (self.standings(&state), copies.urgent(), state.members.differing()),
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

    /// The standing of every member now.
    pub(super) fn standings(&self, state: &State) -> BTreeMap<NodeIndex, Standing> {
        let now_ms = self.now_ms();
        let repair_after_ms = self.settings.repair_after_ms;
        let of = |live: &super::member::Live| Standing::of(&live.health, now_ms, repair_after_ms);
        state.members.iter().map(|(index, live)| (index, of(live))).collect()
    }
}

/// The state of a copy, by what was heard and promised.
pub(super) fn copy_state(state: &State) -> impl Fn(NodeIndex, Handle) -> CopyState + '_ {
    move |node, handle| state.members.copy_state(node, handle)
}
