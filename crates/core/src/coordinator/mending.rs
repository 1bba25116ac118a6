//! What is being mended, and what came of it: the bookkeeping of
//! [`super::mend`].

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{Receipt, RepairStatus};
use crate::id::{Handle, NodeIndex};
use crate::limit::limit;
use crate::mutant::{Mutant, is_planted};
use crate::repair::RepairTask;

/// The most rebuilds at once.
pub(super) const REBUILDS_MAX: usize = 16;
/// How long a chunk whose rebuild failed is left alone, doubled each time. So
/// is a node that failed at one.
const BACKOFF_MS: u64 = 2_000;
/// The longest that it is left alone.
const BACKOFF_MAX_MS: u64 = 120_000;
/// How long a deletion that was not confirmed keeps a rebuild away.
const DELETING_MAX_MS: u64 = 600_000;

/// Whose fault a failed rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// The node that was to make the copy.
    Target,
    /// No node: its sources, its file, or the coordinator.
    Nobody,
}

/// How often something failed in a row, and until when it rests.
#[derive(Debug, Clone, Copy, Default)]
struct Rest {
    failures: u32,
    until_ms: u64,
}

impl Rest {
    fn failed(&mut self, now_ms: u64) {
        let mut rest_ms = BACKOFF_MS.saturating_mul(1 << self.failures.min(10)).min(BACKOFF_MAX_MS);
        if is_planted(Mutant::RebuildsAtOnce) {
            rest_ms = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.until_ms = now_ms + rest_ms;
    }
}

/// What is being mended, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Mending {
    running: BTreeMap<Handle, NodeIndex>,
    /// Of these, moves of copies that are not missing.
    moving: BTreeSet<Handle>,
    /// Chunks whose rebuild failed.
    resting: BTreeMap<Handle, Rest>,
    /// Nodes that failed at their last rebuild.
    resting_targets: BTreeMap<NodeIndex, Rest>,
    /// Copies that nodes were told to delete, and when.
    deleting: BTreeMap<(NodeIndex, Handle), u64>,
    /// Copies that are being verified because a reader found them bad.
    pub(super) reported: BTreeSet<(NodeIndex, Handle)>,
    done: u64,
    moved: u64,
    failed: u64,
    bytes_pulled: u64,
}

impl Mending {
    pub(super) fn is_running(&self, handle: Handle) -> bool {
        self.running.contains_key(&handle)
    }

    /// Chunks that are being rebuilt, and where.
    pub(super) fn running(&self) -> &BTreeMap<Handle, NodeIndex> {
        &self.running
    }

    /// Whether the rebuild of a chunk failed a short time ago.
    pub(super) fn is_resting(&self, handle: Handle, now_ms: u64) -> bool {
        self.resting.get(&handle).is_some_and(|rest| now_ms < rest.until_ms)
    }

    /// Whether a rebuild on a node failed a short time ago.
    pub(super) fn is_target_resting(&self, node: NodeIndex, now_ms: u64) -> bool {
        self.resting_targets.get(&node).is_some_and(|rest| now_ms < rest.until_ms)
    }

    /// Whether a node was told to delete its copy: no rebuild may make it
    /// meanwhile.
    pub(super) fn is_deleting(&self, handle: Handle, node: NodeIndex) -> bool {
        self.deleting.contains_key(&(node, handle))
    }

    /// How many copies that were missing are there again.
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// How many rebuilds ended, well or not.
    pub(super) fn ended(&self) -> u64 {
        self.done + self.moved + self.failed
    }

    pub(super) fn room(&self) -> usize {
        limit(REBUILDS_MAX, 3).saturating_sub(self.running.len())
    }

    /// Forgets deletions that were not confirmed for long.
    pub(super) fn forget_deletions(&mut self, now_ms: u64) {
        self.deleting.retain(|_, since| now_ms.saturating_sub(*since) < DELETING_MAX_MS);
    }

    pub(super) fn note_deleting(&mut self, node: NodeIndex, handles: &[Handle], now_ms: u64) {
        self.deleting.extend(handles.iter().map(|handle| ((node, *handle), now_ms)));
    }

    pub(super) fn note_deleted(&mut self, node: NodeIndex, handles: &[Handle]) {
        for handle in handles {
            self.deleting.remove(&(node, *handle));
        }
    }

    pub(super) fn begin(&mut self, task: &RepairTask) {
        self.running.insert(task.handle, task.target);
        if task.is_move {
            self.moving.insert(task.handle);
        }
    }

    pub(super) fn finish(
        &mut self,
        task: &RepairTask,
        outcome: Result<Receipt, Blame>,
        now_ms: u64,
    ) {
        self.running.remove(&task.handle);
        self.moving.remove(&task.handle);
        match outcome {
            Ok(receipt) => {
                self.resting.remove(&task.handle);
                self.resting_targets.remove(&task.target);
                *if task.is_move { &mut self.moved } else { &mut self.done } += 1;
                self.bytes_pulled += receipt.bytes_pulled;
            }
            Err(blame) => {
                self.failed += 1;
                self.resting.entry(task.handle).or_default().failed(now_ms);
                if blame == Blame::Target {
                    self.resting_targets.entry(task.target).or_default().failed(now_ms);
                }
            }
        }
    }

    pub(super) fn status(&self, waiting: u64, begins_in_s: Option<u64>) -> RepairStatus {
        let running = self.running.len() as u64;
        RepairStatus {
            waiting: waiting.saturating_sub(running - self.moving.len() as u64),
            running,
            done: self.done,
            moved: self.moved,
            bytes_pulled: self.bytes_pulled,
            failed: self.failed,
            begins_in_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::chunk::SealBuilder;

    fn task(handle: u64, target: u16, is_move: bool) -> RepairTask {
        RepairTask {
            handle: Handle(handle),
            stripe: Handle(handle),
            slot: 0,
            target: NodeIndex(target),
            expected: Vec::new(),
            copies_after: Vec::new(),
            stored_bytes: 1,
            spares: Some(0),
            is_move,
        }
    }

    fn receipt(handle: u64) -> Receipt {
        let seal = SealBuilder::default().finish();
        Receipt { handle: Handle(handle), seal, bytes_pulled: 10, from_parity: false }
    }

    #[test]
    fn a_target_that_fails_rests_longer_each_time_and_a_success_ends_it() {
        let mut mending = Mending::default();
        let node = NodeIndex(3);
        let mut now_ms = 0;
        for rest_ms in [2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 120_000, 120_000] {
            mending.begin(&task(now_ms, 3, false));
            mending.finish(&task(now_ms, 3, false), Err(Blame::Target), now_ms);
            assert!(mending.is_target_resting(node, now_ms + rest_ms - 1), "{rest_ms}");
            assert!(!mending.is_target_resting(node, now_ms + rest_ms), "{rest_ms}");
            now_ms += rest_ms;
        }
        mending.finish(&task(1, 3, false), Ok(receipt(1)), now_ms);
        mending.finish(&task(2, 3, false), Err(Blame::Target), now_ms);
        assert!(!mending.is_target_resting(node, now_ms + 2_000), "it begins anew");
    }

    #[test]
    fn bad_sources_rest_their_chunk_and_no_node() {
        let mut mending = Mending::default();
        mending.finish(&task(1, 3, false), Err(Blame::Nobody), 0);
        assert!(mending.is_resting(Handle(1), 1_999) && !mending.is_resting(Handle(1), 2_000));
        assert!(!mending.is_target_resting(NodeIndex(3), 0));
    }

    #[test]
    fn moves_are_counted_apart_from_what_was_missing() {
        let mut mending = Mending::default();
        for (handle, is_move) in [(1, false), (2, true), (3, true)] {
            mending.begin(&task(handle, 1, is_move));
        }
        assert_eq!(mending.status(1, None).waiting, 0, "moves wait for nobody");
        for (handle, is_move) in [(1, false), (2, true)] {
            mending.finish(&task(handle, 1, is_move), Ok(receipt(handle)), 0);
        }
        let status = mending.status(0, None);
        assert_eq!((status.done, status.moved, status.running), (1, 1, 1));
        assert_eq!(status.bytes_pulled, 20);
    }
}
