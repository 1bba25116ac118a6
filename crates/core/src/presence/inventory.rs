//! What one node says that it holds.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::{CopyState, HeldChunk, InventoryChanges, InventoryDigest, Summary, fingerprint};
use crate::id::{Handle, SessionId};

/// The most chunks that are believed of one node.
const CHUNKS_PER_NODE_MAX: usize = 1 << 26;

/// See [`super::Presence`].
#[derive(Debug, Clone, Default)]
pub(super) struct Inventory {
    session: Option<SessionId>,
    /// The version of `chunks`, while it is one of the present run.
    version: Option<u64>,
    /// The version that was named to a node which could not say what changed
    /// since; it gets one chance to do so.
    offered: Option<u64>,
    chunks: BTreeMap<Handle, Held>,
    pub(super) summary: Summary,
    fingerprint: u64,
    /// What the last heartbeat of the present run said.
    told: Option<InventoryDigest>,
    pub(super) is_complete: bool,
    /// Complete inventories heard, and when the last one was.
    completes: u64,
    complete_ms: u64,
    unwanted: BTreeMap<Handle, Noted>,
}

/// One copy. Small: there are millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    stored_bytes: u32,
    is_good: bool,
}

/// The inventory in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) session: Option<SessionId>,
    pub(super) is_complete: bool,
    pub(super) quarantined: u64,
    chunks: u64,
    fingerprint: u64,
}

/// When a copy was first found unwanted.
#[derive(Debug, Clone, Copy)]
struct Noted {
    since_ms: u64,
    completes: u64,
}

/// What a sweep may still look at and name.
pub(super) struct Sweep {
    pub(super) left: usize,
    pub(super) room: usize,
}

impl Held {
    fn of(chunk: &HeldChunk) -> Self {
        let stored_bytes = u32::try_from(chunk.stored_bytes).unwrap_or(u32::MAX);
        Self { stored_bytes, is_good: chunk.is_good }
    }

    fn fingerprint(self, handle: Handle) -> u64 {
        fingerprint(&HeldChunk {
            handle,
            stored_bytes: u64::from(self.stored_bytes),
            is_good: self.is_good,
        })
    }
}

impl Inventory {
    pub(super) fn known(&self) -> Known {
        Known {
            session: self.session,
            is_complete: self.is_complete,
            quarantined: self.summary.quarantined,
            chunks: self.summary.chunks,
            fingerprint: self.fingerprint,
        }
    }

    pub(super) fn hear(
        &mut self,
        session: SessionId,
        digest: &InventoryDigest,
        changes: Option<&InventoryChanges>,
        now_ms: u64,
    ) -> Option<u64> {
        self.follow(session);
        let newest = self.told.map(|told| told.version).max(self.version);
        if newest.is_some_and(|newest| digest.version < newest) {
            // Overtaken by a later heartbeat: nothing new.
            return self.version;
        }
        self.told = Some(*digest);
        if let Some(known) = self.version {
            match changes {
                // Changes tell how things are now, so that some which were
                // taken before do no harm.
                Some(changes) if changes.since <= known => self.apply(changes),
                _ if digest.version == known => {}
                _ if self.offered != Some(known) => {
                    self.offered = Some(known);
                    return Some(known);
                }
                _ => {}
            }
        }
        self.compare(now_ms);
        if !self.is_complete {
            self.version = None;
        }
        self.version
    }

    pub(super) fn replace(
        &mut self,
        session: SessionId,
        version: u64,
        chunks: impl IntoIterator<Item = HeldChunk>,
        now_ms: u64,
    ) {
        if self.session != Some(session) {
            return;
        }
        self.chunks.clear();
        self.summary = Summary::default();
        self.fingerprint = 0;
        chunks.into_iter().for_each(|chunk| self.insert(&chunk));
        let chunks = &self.chunks;
        self.unwanted.retain(|handle, _| chunks.contains_key(handle));
        self.version = Some(version);
        self.offered = None;
        self.compare(now_ms);
    }

    pub(super) fn state(&self, handle: Handle) -> CopyState {
        if !self.is_complete {
            return CopyState::Unknown;
        }
        match self.chunks.get(&handle) {
            Some(held) if held.is_good => CopyState::Held,
            Some(_) => CopyState::Bad,
            None => CopyState::Missing,
        }
    }

    pub(super) fn unwanted_bytes(&self) -> u64 {
        let held = |handle| self.chunks.get(handle).map_or(0, |held| u64::from(held.stored_bytes));
        self.unwanted.keys().map(held).sum()
    }

    /// Looks at copies from after `after` on. Names those that may be
    /// destroyed, and where it stopped if that was not at the end.
    pub(super) fn sweep(
        &mut self,
        after: Option<Handle>,
        sweep: &mut Sweep,
        now_ms: u64,
        grace_ms: u64,
        is_wanted: impl Fn(Handle) -> bool,
    ) -> (Vec<Handle>, Option<Handle>) {
        let mut found = Vec::new();
        if !self.is_complete {
            return (found, None);
        }
        let mut last = after;
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        for handle in self.chunks.range((first, Bound::Unbounded)).map(|(handle, _)| *handle) {
            if sweep.left == 0 || sweep.room == 0 {
                // Nothing looked at here yet: begin before the first.
                return (found, Some(last.unwrap_or(Handle(handle.0.saturating_sub(1)))));
            }
            sweep.left -= 1;
            last = Some(handle);
            if is_wanted(handle) {
                self.unwanted.remove(&handle);
                continue;
            }
            let now = Noted { since_ms: now_ms, completes: self.completes };
            let noted = *self.unwanted.entry(handle).or_insert(now);
            let was_told_again = self.completes > noted.completes
                && self.complete_ms >= noted.since_ms.saturating_add(grace_ms);
            if was_told_again {
                sweep.room -= 1;
                found.push(handle);
            }
        }
        (found, None)
    }

    /// Another run of the node begins its count anew; what it holds is most
    /// likely what it held, and its digest will tell.
    fn follow(&mut self, session: SessionId) {
        if self.session != Some(session) {
            self.session = Some(session);
            self.version = None;
            self.offered = None;
            self.is_complete = false;
            self.told = None;
        }
    }

    fn apply(&mut self, changes: &InventoryChanges) {
        for handle in &changes.gone {
            self.remove(*handle);
        }
        changes.held.iter().for_each(|chunk| self.insert(chunk));
    }

    fn insert(&mut self, chunk: &HeldChunk) {
        self.take_out(chunk.handle);
        if self.chunks.len() < CHUNKS_PER_NODE_MAX {
            let held = Held::of(chunk);
            self.chunks.insert(chunk.handle, held);
            self.fingerprint ^= held.fingerprint(chunk.handle);
            self.summary.chunks += 1;
            self.summary.bytes += u64::from(held.stored_bytes);
            self.summary.quarantined += u64::from(!held.is_good);
        }
    }

    fn remove(&mut self, handle: Handle) {
        self.take_out(handle);
        self.unwanted.remove(&handle);
    }

    fn take_out(&mut self, handle: Handle) {
        if let Some(held) = self.chunks.remove(&handle) {
            self.fingerprint ^= held.fingerprint(handle);
            self.summary.chunks -= 1;
            self.summary.bytes -= u64::from(held.stored_bytes);
            self.summary.quarantined -= u64::from(!held.is_good);
        }
    }

    /// Complete is what has the digest that the node told last.
    fn compare(&mut self, now_ms: u64) {
        let told = self.told.filter(|told| {
            self.summary.chunks == told.chunks
                && self.summary.quarantined == told.quarantined
                && self.fingerprint == told.fingerprint
        });
        self.is_complete = told.is_some();
        if let Some(told) = told {
            self.version = Some(told.version);
            self.offered = None;
            self.completes += 1;
            self.complete_ms = now_ms;
        }
    }
}
