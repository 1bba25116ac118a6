//! How the stripes are: all of them are looked over, slice by slice, so that
//! nobody waits for the whole; then the most urgent copies are set going.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::mend::{REBUILDS_PER_NODE_MAX, avoided_of};
use super::role::{Coordinator, State};
use crate::catalog::Catalog;
use crate::id::{Handle, NodeIndex};
use crate::presence::{CopyState, Known, KnownUrgent};
use crate::repair::{Limits, RepairTask, Standing, Survey, View};

/// How often the stripes are looked over, when that takes no time.
const SURVEY_INTERVAL: Duration = Duration::from_secs(1);
/// Stripes that lengthen the pause between surveys by a second.
const STRIPES_PER_SECOND: u64 = 5_000;
/// The longest pause.
const SURVEY_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Stripes that are looked at in one go, while others wait for the catalog.
const SLICE_STRIPES: usize = 1024;

/// All that a survey depends on, in short.
#[derive(PartialEq, Eq)]
struct Seen {
    /// Who is there; bad copies and restarts; rebuilds that ended.
    urgent: (BTreeMap<NodeIndex, Standing>, KnownUrgent, u64),
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
    /// Looks over all stripes and mends, for as long as the coordinator runs.
    ///
    /// All are looked over at once when a node came or went, a copy went bad,
    /// or something waits to be rebuilt. What else changes, puts above all,
    /// makes nothing urgent: then the more stripes there are, the longer is
    /// the pause. While nothing changes, nothing is looked at.
    pub(super) async fn survey_and_mend(self: Arc<Self>) {
        let mut survey = Survey::default();
        let mut seen: Option<Seen> = None;
        let mut looked = Instant::now();
        loop {
            tokio::time::sleep(SURVEY_INTERVAL).await;
            let now = self.seen();
            let is_due = match &seen {
                None => true,
                Some(before) if before.urgent != now.urgent => true,
                Some(before) if *before == now && !now.has_promises => false,
                Some(_) => survey.waiting() > 0 || looked.elapsed() >= pause_after(&survey),
            };
            if is_due {
                survey = self.survey().await;
                self.state().survey = survey.clone();
                (seen, looked) = (Some(now), Instant::now());
            }
            let tasks = self.plan(&survey);
            self.begin_rebuilds(tasks);
        }
    }

    /// What a survey that begins now depends on.
    fn seen(&self) -> Seen {
        let batches = self.door.batches();
        let state = self.state();
        let (copies, has_promises) = state.members.known_copies();
        Seen {
            urgent: (self.standings(&state), copies.urgent(), state.mending.ended()),
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
            tokio::task::yield_now().await;
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
        let mut last = None;
        for (stripe, policy) in catalog.stripes_after(after).take(SLICE_STRIPES) {
            survey.look(stripe, policy, &view);
            last = Some(stripe.first_handle);
        }
        last
    }

    fn plan(&self, survey: &Survey) -> Vec<RepairTask> {
        let candidates = self.candidates();
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
            let limits = Limits {
                candidates: &candidates,
                tasks_max: state.mending.room(),
                tasks_per_target_max: REBUILDS_PER_NODE_MAX,
                running: state.mending.running(),
                resting: &state.mending.resting(now_ms),
                avoided: &avoided_of(&state.mending),
            };
            survey.plan(&view, &limits, lookup)
        })
    }

    fn standings(&self, state: &State) -> BTreeMap<NodeIndex, Standing> {
        let now_ms = self.now_ms();
        let repair_after_ms = self.settings.repair_after_ms;
        let of = |live: &super::member::Live| Standing::of(&live.health, now_ms, repair_after_ms);
        state.members.iter().map(|(index, live)| (index, of(live))).collect()
    }
}

fn copy_state(state: &State) -> impl Fn(NodeIndex, Handle) -> CopyState + '_ {
    move |node, handle| state.members.copy_state(node, handle)
}
