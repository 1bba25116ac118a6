//! Places in the roles where a simulated world may make life hard: each does
//! what the real world may do too, only far more often. A real world has none
//! of them, and asks nothing but whether there is a world that does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::Env;

/// A place where life can be made hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HardPlace {
    /// Every command of the catalog is committed alone.
    CommitAlone,
    /// A commit begins up to half a second after its commands were applied.
    DelayCommit,
    /// Queues and batches take one.
    SmallQueues,
    /// A node skips one heartbeat of four.
    SkipHeartbeat,
    /// One write of a chunk of eight succeeds and is answered with an error.
    FailAfterWrite,
    /// Stripes are placed on other nodes than the best, as far as is legal.
    WorstPlacement,
    /// No more copies are asked for before a put is acknowledged than it takes
    /// to lose any one node; repair makes the others.
    MinimalSet,
}

/// The hard places of one world, and how often each struck. Clones are the
/// same ones.
#[derive(Debug, Clone, Default)]
pub struct Hard(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    on: BTreeSet<HardPlace>,
    struck: Mutex<BTreeMap<HardPlace, u64>>,
}

impl HardPlace {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::CommitAlone,
        Self::DelayCommit,
        Self::SmallQueues,
        Self::SkipHeartbeat,
        Self::FailAfterWrite,
        Self::WorstPlacement,
        Self::MinimalSet,
    ];

    /// Its name in a scenario.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CommitAlone => "commit-alone",
            Self::DelayCommit => "delay-commit",
            Self::SmallQueues => "small-queues",
            Self::SkipHeartbeat => "skip-heartbeat",
            Self::FailAfterWrite => "fail-after-write",
            Self::WorstPlacement => "worst-placement",
            Self::MinimalSet => "minimal-set",
        }
    }
}

impl Hard {
    /// A world with these places.
    pub fn new(places: impl IntoIterator<Item = HardPlace>) -> Self {
        Self(Arc::new(Inner { on: places.into_iter().collect(), struck: Mutex::default() }))
    }

    /// How often each place struck.
    #[must_use]
    pub fn struck(&self) -> BTreeMap<HardPlace, u64> {
        self.0.struck.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn strikes(&self, place: HardPlace, is_drawn: impl FnOnce() -> bool) -> bool {
        if !self.0.on.contains(&place) || !is_drawn() {
            return false;
        }
        let mut struck = self.0.struck.lock().unwrap_or_else(PoisonError::into_inner);
        *struck.entry(place).or_default() += 1;
        true
    }
}

impl Env {
    /// Whether life is hard here. Always false in a real world.
    pub(crate) fn is_hard(&self, place: HardPlace) -> bool {
        self.hard.as_ref().is_some_and(|hard| hard.strikes(place, || true))
    }

    /// The same, once in so many times, by chance.
    pub(crate) fn is_hard_once_in(&self, times: u64, place: HardPlace) -> bool {
        let drawn = || self.random.next_u64().is_multiple_of(times);
        self.hard.as_ref().is_some_and(|hard| hard.strikes(place, drawn))
    }
}
