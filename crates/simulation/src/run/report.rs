//! What a run tells: what happened, when, and what was found wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use dfs_core::data::digest::Digest;

use crate::scenario::Act;

/// A run of one scenario from one seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Virtual time that passed, in milliseconds.
    pub took_ms: u64,
    /// Events in the trace.
    pub events: u64,
    /// The digest of the trace: the same for the same scenario and seed.
    pub digest: Digest,
    /// What a person follows, oldest first.
    pub timeline: Vec<Moment>,
    /// What clients did.
    pub ops: BTreeMap<Act, OpCount>,
    /// Faults that were scheduled and struck, by their names in a scenario.
    pub struck: BTreeMap<&'static str, u64>,
    /// Kinds of fault that the scenario names and of which none struck.
    pub never_struck: BTreeSet<&'static str>,
    /// Faults that were left out because more would be lost than the policy
    /// survives, by their names in a scenario.
    pub left_out: BTreeMap<&'static str, u64>,
    /// Acknowledged files that could not be read any more when all was over:
    /// only in a run that goes beyond what the policy survives.
    pub lost: BTreeSet<String>,
    /// What disks, links and hard places did to single calls, by kind.
    pub injected: BTreeMap<String, u64>,
    /// How often places that a sweep must sometimes reach were reached.
    pub marks: BTreeMap<&'static str, u64>,
    /// How the cluster fared.
    pub tally: Tally,
    /// What was found wrong; empty when all held.
    pub violations: Vec<Violation>,
    /// The steps of the world (see [`crate::step`]) in which each op took
    /// place, in the order in which they ended.
    pub op_steps: Vec<Range<u64>>,
    /// The same of each fault that struck, until all that came of it was over.
    pub fault_steps: Vec<Range<u64>>,
    /// The process that [`super::Keep::stop`] stopped, and before what.
    pub stopped: Option<String>,
    /// The trace before the first violation.
    pub tail: Vec<String>,
}

/// What a run showed, worst first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Something was found that must never be.
    Broken,
    /// So many files are lost, beyond what the policy survives.
    Lost(usize),
    /// These kinds of fault did not strike; what did strike was survived.
    NotShown(BTreeSet<&'static str>),
    /// Every fault struck, and every acknowledged byte is there.
    Held,
}

/// One line of the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// Virtual time since the world began, in milliseconds.
    pub at_ms: u64,
    /// What it is about: `fault`, `node`, `data`, `repair`, `check`.
    pub about: &'static str,
    /// What happened.
    pub text: String,
}

/// How the calls of one kind ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpCount {
    /// Acknowledged, or read right.
    pub ok: u64,
    /// Refused for a good reason: the name is taken, or not there.
    pub refused: u64,
    /// Failed honestly.
    pub failed: u64,
}

/// How the cluster fared, as its operator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Copies that were rebuilt.
    pub rebuilt: u64,
    /// Bytes that were pulled for them.
    pub bytes_pulled: u64,
    /// Rebuilt from parity rather than from another copy.
    pub from_parity: u64,
    /// Chunks that readers got from another copy than their first choice.
    pub read_from_other_copy: u64,
    /// Chunks that readers rebuilt from parity.
    pub read_from_parity: u64,
    /// Bad copies that readers found.
    pub found_bad: u64,
    /// Time in which some stripe lacked a copy, in milliseconds.
    pub degraded_ms: u64,
    /// Time in which some stripe could not be read, in milliseconds.
    pub unavailable_ms: u64,
    /// Time from the end of the last fault until all copies were there.
    pub healed_after_ms: u64,
    /// Files at the end.
    pub files: u64,
    /// Chunks of which every copy was verified at the end.
    pub verified: u64,
}

/// Something that must never be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Virtual time since the world began, in milliseconds.
    pub at_ms: u64,
    /// Which rule was broken; see `docs/simulation.md`.
    pub rule: &'static str,
    /// By what.
    pub text: String,
}

impl Report {
    /// What it showed.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match () {
            () if !self.is_right() => Verdict::Broken,
            () if !self.lost.is_empty() => Verdict::Lost(self.lost.len()),
            () if !self.never_struck.is_empty() => Verdict::NotShown(self.never_struck.clone()),
            () => Verdict::Held,
        }
    }

    /// Whether nothing was found that must never be.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.violations.is_empty()
    }
}
