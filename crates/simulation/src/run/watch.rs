//! The timeline: what an operator would see of the cluster, second by second.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dfs_core::api::{ClusterStatus, NodeState, StripeHealth};
use dfs_core::id;

use super::invariant::Watched;
use super::state::Run;
use super::truth::Truth;
use crate::net::Rebuilt;
use crate::trace;

/// How often the watcher looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long rebuilds may be silent before they are told of as one.
const REBUILDS_END_MS: u64 = 3_000;
/// How long all must be well before what was wrong is forgotten.
const WELL_FOR_MS: u64 = 8_000;

/// What was seen last.
#[derive(Default)]
struct Seen {
    at_ms: u64,
    run: Option<id::Run>,
    is_answering: bool,
    states: BTreeMap<String, NodeState>,
    troubles: BTreeMap<String, String>,
    lacking: u64,
    lacking_since_ms: u64,
    unavailable: u64,
    well_since_ms: Option<u64>,
    /// How often anything had gone wrong at the last look.
    went_wrong: u64,
    rebuilds: Vec<Rebuilt>,
}

impl Run<'_> {
    /// Looks at the cluster for as long as the run goes on.
    pub(super) async fn watch(&self) {
        let mut seen = Seen { at_ms: trace::elapsed_ms(), is_answering: true, ..Seen::default() };
        let mut truth = Truth::default();
        let mut watched = Watched::default();
        loop {
            let status = self.status().await;
            self.compare(&mut truth, status.as_ref()).await;
            let now_ms = trace::elapsed_ms();
            for changed in self.world.net().take_changed_answers() {
                self.violates("I15", changed);
            }
            for (rule, text) in self.world.net().take_broken_rules() {
                self.violates(rule, text);
            }
            for stale in self.world.net().take_stale() {
                self.violates("I9", stale);
            }
            self.see_cluster(&mut watched);
            self.see_ledger_room();
            match &status {
                Some(status) => {
                    if !seen.is_answering {
                        self.tell("node", "the coordinator answers again".to_owned());
                    }
                    self.see_nodes(&mut seen, status);
                    self.see_deaf(&mut watched, status, now_ms);
                    self.see_data(&mut seen, status, now_ms);
                }
                None if seen.is_answering => {
                    self.tell("node", "the coordinator does not answer".to_owned());
                }
                None => {}
            }
            seen.is_answering = status.is_some();
            self.see_invariants(&mut watched, now_ms).await;
            self.see_rebuilds(&mut seen, now_ms);
            self.see_whether_all_is_well(&mut seen, now_ms).await;
            seen.at_ms = now_ms;
            self.world.pass(INTERVAL).await;
        }
    }

    fn see_nodes(&self, seen: &mut Seen, status: &ClusterStatus) {
        if self.guard.borrow().is_reserved {
            // Folders are exchanged, and runs with them.
            seen.run = None;
        }
        if seen.run.is_some_and(|run| run != status.run && run.epoch >= status.run.epoch) {
            self.violates("I9", format!("the run fell to {}", status.run));
        }
        seen.run = Some(status.run);
        for node in &status.nodes {
            let name = node.id.as_str();
            let before = seen.states.insert(name.to_owned(), node.state);
            if before.is_some_and(|before| before != node.state) {
                let word = match node.state {
                    NodeState::Unknown => "has not been heard yet",
                    NodeState::Online => "is online",
                    NodeState::Suspect => "is suspect: two heartbeats are missing",
                    NodeState::Offline => "is offline",
                    NodeState::Absent => "has said goodbye",
                    NodeState::NoVolume => "has lost its volume",
                    NodeState::CutOff => "is cut-off: it cannot be connected to",
                };
                self.tell("node", format!("{name} {word}"));
            }
            let trouble = node.trouble.clone().unwrap_or_default();
            let before = seen.troubles.insert(name.to_owned(), trouble.clone());
            if before.unwrap_or_default() != trouble && !trouble.is_empty() {
                self.tell("node", format!("{name}: {trouble}"));
            }
        }
    }

    fn see_data(&self, seen: &mut Seen, status: &ClusterStatus, now_ms: u64) {
        let StripeHealth { full, unknown, unreachable, lost, .. } = status.health;
        let lacking = status.health.lacking() - unknown;
        let unavailable = unreachable + lost;
        let stripes = lacking + full + unknown;
        if lacking > 0 && seen.lacking == 0 {
            seen.lacking_since_ms = now_ms;
            self.tell(
                "data",
                format!("of {stripes} stripes {} a copy", counted(lacking, "lacks", "lack")),
            );
        }
        if unavailable > 0 && seen.unavailable == 0 {
            self.tell("data", format!("of {stripes} stripes {unavailable} cannot be read now"));
        }
        if unavailable == 0 && seen.unavailable > 0 && unknown == 0 {
            self.tell("data", "every stripe can be read again".to_owned());
        }
        if lacking == 0 && seen.lacking > 0 && unknown == 0 {
            let took = seconds(now_ms - seen.lacking_since_ms);
            self.tell(
                "data",
                format!("of {stripes} stripes none lacks a copy any more, after {took}"),
            );
        }
        let passed_ms = now_ms - seen.at_ms;
        let mut tally = self.tally.borrow_mut();
        tally.degraded_ms += if lacking > 0 { passed_ms } else { 0 };
        tally.unavailable_ms += if unavailable > 0 { passed_ms } else { 0 };
        tally.files = status.usage.files;
        // What is not known yet is no reason to forget what was wrong.
        if unknown == 0 {
            (seen.lacking, seen.unavailable) = (lacking, unavailable);
        } else {
            seen.lacking = seen.lacking.max(lacking);
            seen.unavailable = seen.unavailable.max(unavailable);
        }
    }

    fn see_rebuilds(&self, seen: &mut Seen, now_ms: u64) {
        seen.rebuilds.extend(self.world.net().take_rebuilt());
        let Some(last) = seen.rebuilds.last() else { return };
        if now_ms < last.ended_ms + REBUILDS_END_MS {
            return;
        }
        let rebuilds = std::mem::take(&mut seen.rebuilds);
        let names = |names: BTreeSet<&str>| names.into_iter().collect::<Vec<_>>().join(", ");
        let onto = names(rebuilds.iter().map(|rebuilt| rebuilt.onto.as_str()).collect());
        let from = names(rebuilds.iter().flat_map(|r| &r.sources).map(String::as_str).collect());
        let parity = rebuilds.iter().filter(|rebuilt| rebuilt.from_parity).count() as u64;
        let pulled: u64 = rebuilds.iter().map(|rebuilt| rebuilt.bytes_pulled).sum();
        let began_ms = rebuilds.iter().map(|rebuilt| rebuilt.began_ms).min().unwrap_or(0);
        let ended_ms = rebuilds.iter().map(|rebuilt| rebuilt.ended_ms).max().unwrap_or(0);
        let took = seconds(ended_ms - began_ms);
        {
            let mut tally = self.tally.borrow_mut();
            tally.rebuilt += rebuilds.len() as u64;
            tally.bytes_pulled += pulled;
            tally.from_parity += parity;
        }
        let by_parity =
            if parity > 0 { format!(", {parity} of them from parity") } else { String::new() };
        self.tell(
            "repair",
            format!(
                "{} rebuilt onto {onto} from {from}{by_parity}: {} KiB pulled in {took}",
                counted(rebuilds.len() as u64, "copy was", "copies were"),
                pulled >> 10
            ),
        );
    }

    async fn see_whether_all_is_well(&self, seen: &mut Seen, now_ms: u64) {
        let is_well = self.guard.borrow().is_calm() && self.is_settled().await;
        // A fault may come and go between two looks.
        let went_wrong = self.guard.borrow().troubles();
        if went_wrong != seen.went_wrong {
            (seen.went_wrong, seen.well_since_ms) = (went_wrong, None);
        }
        match (is_well, seen.well_since_ms) {
            (true, None) => seen.well_since_ms = Some(now_ms),
            (true, Some(since_ms)) if now_ms - since_ms >= WELL_FOR_MS => {
                self.guard.borrow_mut().all_is_well();
            }
            (true, Some(_)) => {}
            (false, _) => seen.well_since_ms = None,
        }
    }
}

/// `1 copy`, `2 copies`.
fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// `3.2 s`, `1 min 5 s`.
pub(super) fn seconds(ms: u64) -> String {
    match ms {
        0..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}
