//! I14: the verdict that the cluster gives of itself is compared with what is
//! true, all the time.
//!
//! The truth is read off the machines, disks and links, and off what nodes
//! hold; nothing that the coordinator concludes is believed. Each fault has a
//! time within which the verdict must know of it. That time begins anew
//! whenever the coordinator is disturbed: it may hear nothing then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dfs_core::api::{ClusterStatus, Word};
use dfs_core::id::{Handle, NodeIndex};
use dfs_core::policy::ParitySpec;

use super::state::Run;
use crate::cluster::COORDINATOR;
use crate::trace;

/// A volume that is gone, or read-only, is known after two heartbeats and the
/// time of a look.
const VOLUME_TIME_MAX_MS: u64 = 2 * 3_000 + 2_000;
/// A ledger that is gone is known after the same, where no slow disk holds up
/// the look.
const LEDGER_TIME_MAX_MS: u64 = VOLUME_TIME_MAX_MS + 12_000;
/// A full node is known after the same, and a start, which says nothing of
/// room for the offline time.
const FULL_TIME_MAX_MS: u64 = VOLUME_TIME_MAX_MS + 12_000;
/// A node that is dead, frozen or cut off is known after the offline time.
const NODE_TIME_MAX_MS: u64 = 12_000 + 3_000;
/// A copy that is missing is known after a heartbeat, a survey, and the time
/// for which a promise of its node stands.
const COPY_TIME_MAX_MS: u64 = 30_000;
/// Hard places that hold up heartbeats stretch every time so many times.
const HARD_FACTOR: u64 = 4;
/// How often the copies are counted.
const COUNT_EVERY_MS: u64 = 5_000;
/// Files up to which they are.
const FILES_COUNTED_MAX: u64 = 500;
/// How long the verdict may take to say that all is well, once it is.
const WELL_TIME_MAX: Duration = Duration::from_secs(60);

/// What was found to be true, and since when.
#[derive(Default)]
pub(super) struct Truth {
    /// What is wrong with machines and disks, by node, and since when.
    wrong: BTreeMap<(String, Wrong), u64>,
    /// Copies that layouts name and that are not there.
    pub(super) missing: BTreeMap<(NodeIndex, Handle), u64>,
    counted_ms: u64,
    /// The last look that found no alarm, or one that was right, or the first.
    pub(super) lacking_ms: Option<u64>,
}

/// What can be wrong with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wrong {
    /// Its process does not run, stands still, or is not heard.
    Silent,
    /// Its volume is gone from its mount point.
    NoVolume,
    /// Its volume can only be read.
    ReadOnly,
    /// It has no room for a chunk, and no stripe can do without it.
    Full,
    /// The coordinator's ledger is gone from its path.
    NoLedger,
}

impl Run<'_> {
    /// Compares the verdict of `status`, given now, with what is true.
    pub(super) async fn compare(&self, truth: &mut Truth, status: Option<&ClusterStatus>) {
        let now_ms = trace::elapsed_ms();
        let (Some(status), true) = (status, self.coordinator_is_undisturbed()) else {
            *truth = Truth::default();
            return;
        };
        self.look_at_nodes(truth, now_ms);
        let factor = if self.scenario.hard.is_empty() { 1 } else { HARD_FACTOR };
        self.compare_words(truth, status, now_ms, factor).await;
        let sentence = status.verdict.sentence();
        if status.verdict.word == Word::AllWell {
            let too_long = truth.wrong.iter().find(|((_, wrong), since_ms)| {
                let time_max_ms = match wrong {
                    Wrong::Silent => NODE_TIME_MAX_MS,
                    Wrong::NoVolume | Wrong::ReadOnly => VOLUME_TIME_MAX_MS,
                    Wrong::Full => FULL_TIME_MAX_MS,
                    Wrong::NoLedger => LEDGER_TIME_MAX_MS,
                };
                now_ms - **since_ms > time_max_ms * factor
            });
            if let Some(((node, wrong), since_ms)) = too_long {
                let since = now_ms - since_ms;
                self.violates(
                    "I14",
                    format!("the verdict is {sentence:?}, and {node} is {wrong:?} for {since} ms"),
                );
                return;
            }
        }
        let is_due = now_ms >= truth.counted_ms + COUNT_EVERY_MS;
        if !is_due || status.usage.files > FILES_COUNTED_MAX {
            return;
        }
        truth.counted_ms = now_ms;
        let is_old = |since_ms: &u64| now_ms - since_ms > COPY_TIME_MAX_MS * factor;
        let unreadable = self.count_copies(truth, now_ms, &is_old).await;
        if status.verdict.word == Word::AllWell
            && let Some((copy, _)) = truth.missing.iter().find(|(_, since_ms)| is_old(since_ms))
        {
            self.violates(
                "I14",
                format!("the verdict is {sentence:?}, and the copy {copy:?} is not there"),
            );
        }
        let is_mild = matches!(status.verdict.word, Word::AllWell | Word::Degraded | Word::AtRisk);
        if is_mild && let Some(stripe) = unreadable {
            self.violates(
                "I14",
                format!("the verdict is {sentence:?}, and {stripe} cannot be read"),
            );
        }
    }

    /// I14 the other way round: once everything is there, the verdict says so.
    pub(super) async fn says_that_all_is_well(&self) {
        let started = tokio::time::Instant::now();
        loop {
            let verdict = self.status().await.map(|status| status.verdict);
            if verdict.as_ref().is_some_and(|verdict| verdict.word == Word::AllWell) {
                return;
            }
            if started.elapsed() > WELL_TIME_MAX {
                let said = verdict.map(|verdict| verdict.sentence());
                self.violates("I14", format!("all is well, and the verdict is {said:?}"));
                return;
            }
            self.world.pass(Duration::from_secs(1)).await;
        }
    }

    /// True while the coordinator runs and nothing is wrong with the links:
    /// with lost and late messages nobody can say when it must know.
    fn coordinator_is_undisturbed(&self) -> bool {
        let host = self.world.host(COORDINATOR);
        let is_held = self.held.borrow().get(COORDINATOR).is_some_and(|faults| *faults > 0);
        let is_alone = !self.guard.borrow().is_reserved;
        let is_whole = host.is_up() && !host.is_paused() && !is_held && is_alone;
        is_whole && self.link_faults.borrow().is_empty()
    }

    fn look_at_nodes(&self, truth: &mut Truth, now_ms: u64) {
        let mut found = BTreeSet::new();
        let names = self.cluster.node_names();
        let needs_all = self.stripe_width() == Some(names.len());
        for name in names {
            let host = self.world.host(&name);
            let wrong = if !host.is_up() || host.is_paused() {
                Wrong::Silent
            } else if host.disk().is_unmounted() {
                Wrong::NoVolume
            } else if host.disk().is_read_only() {
                Wrong::ReadOnly
            } else if needs_all && host.disk().free() < self.scenario.cluster.chunk_size.0 {
                Wrong::Full
            } else {
                continue;
            };
            found.insert((name, wrong));
        }
        if self.ledger_lost_since_ms().is_some() {
            found.insert((COORDINATOR.to_owned(), Wrong::NoLedger));
        }
        truth.wrong.retain(|known, _| found.contains(known));
        for wrong in found {
            truth.wrong.entry(wrong).or_insert(now_ms);
        }
    }

    /// The nodes that a whole stripe needs, where that is plain: each copy and
    /// each chunk of a code without copies has one of its own.
    fn stripe_width(&self) -> Option<usize> {
        let cluster = &self.scenario.cluster;
        match (cluster.replication, cluster.parity) {
            (copies, ParitySpec::None) => Some(usize::from(copies)),
            (1, ParitySpec::ReedSolomon { data, parity }) => {
                Some(usize::from(data) + usize::from(parity))
            }
            _ => None,
        }
    }

    /// Counts which copies of which stripe are really there. Returns a stripe
    /// that cannot be read for want of copies that have been missing for long.
    async fn count_copies(
        &self,
        truth: &mut Truth,
        now_ms: u64,
        is_old: &impl Fn(&u64) -> bool,
    ) -> Option<String> {
        let coordinator = self.cluster.coordinator_role()?;
        let catalog = coordinator.catalog();
        let mut held: BTreeMap<NodeIndex, BTreeSet<Handle>> = BTreeMap::new();
        for member in catalog.members() {
            let name = member.id.as_str();
            let host = self.world.host(name);
            let is_there = host.is_up() && !host.is_paused() && !host.disk().is_unmounted();
            let handles = if is_there { self.held_by(name).await } else { None };
            held.insert(member.index, handles.unwrap_or_default());
            // It may have been back between two counts, with all its copies.
            let away = [Wrong::Silent, Wrong::NoVolume].map(|wrong| (name.to_owned(), wrong));
            let since_ms = away.iter().filter_map(|away| truth.wrong.get(away)).max();
            let of_it = truth.missing.iter_mut().filter(|(copy, _)| copy.0 == member.index);
            for (_, missing_ms) in of_it {
                *missing_ms = (*missing_ms).max(since_ms.copied().unwrap_or(0));
            }
        }
        let (mut missing, mut unreadable) = (BTreeSet::new(), None);
        for (stripe, _) in catalog.stripes_after(None) {
            let mut chunks_there = 0;
            for (slot, chunk) in stripe.chunks.iter().enumerate() {
                let handle = stripe.handle(slot);
                let has = |node: &NodeIndex| held.get(node).is_some_and(|of| of.contains(&handle));
                let lacking = chunk.copies.iter().filter(|node| !has(node));
                missing.extend(lacking.map(|node| (*node, handle)));
                let is_known_missing =
                    |node: &NodeIndex| truth.missing.get(&(*node, handle)).is_some_and(is_old);
                // One that no layout names is read too.
                let is_somewhere = held.values().any(|of| of.contains(&handle));
                let is_unsure = chunk.copies.iter().any(|node| !is_known_missing(node));
                chunks_there += usize::from(is_somewhere || is_unsure);
            }
            if chunks_there < usize::from(stripe.shape.data) {
                let copies = stripe.chunks.iter().map(|chunk| &chunk.copies);
                let text =
                    format!("stripe {}, on {:?}", stripe.first_handle, copies.collect::<Vec<_>>());
                unreadable = unreadable.or(Some(text));
            }
        }
        truth.missing.retain(|copy, _| missing.contains(copy));
        for copy in missing {
            truth.missing.entry(copy).or_insert(now_ms);
        }
        unreadable
    }
}
