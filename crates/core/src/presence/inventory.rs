//! What one node says that it holds.

use std::mem;
use std::ops::Bound;

use super::pulled::{Noted, Pulled};
use super::{CopyState, HeldChunk, InventoryChanges, InventoryDigest, Summary};
use crate::id::{Handle, SessionId};
use crate::mutant::{Mutant, is_planted};

/// See [`super::Presence`].
#[derive(Debug, Clone, Default)]
pub(super) struct Inventory {
    session: Option<SessionId>,
    /// The version of `chunks`, while it is one of the present run.
    version: Option<u64>,
    /// The version that was named to a node which could not say what changed
    /// since; it gets one chance to do so.
    offered: Option<u64>,
    /// What it holds, and the copies that were found unwanted.
    held: Pulled,
    /// Rises whenever one of those copies is noted or is not any more.
    notes_changed: u64,
    /// What the last heartbeat of the present run said.
    told: Option<InventoryDigest>,
    pub(super) is_complete: bool,
    /// Complete inventories heard, and when the last one was.
    completes: u64,
    complete_ms: u64,
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

/// What a sweep may still look at and name.
pub(super) struct Sweep {
    pub(super) left: usize,
    pub(super) room: usize,
}

impl Inventory {
    pub(super) fn known(&self) -> Known {
        Known {
            session: self.session,
            is_complete: self.is_complete,
            quarantined: self.held.summary.quarantined,
            chunks: self.held.summary.chunks,
            fingerprint: self.held.fingerprint,
        }
    }

    pub(super) fn summary(&self) -> Summary {
        self.held.summary
    }

    /// What it holds from `first` on, in order.
    pub(super) fn held_from(&self, first: Handle) -> impl Iterator<Item = HeldChunk> + '_ {
        let chunks = self.held.chunks.iter_from(Bound::Included(&first));
        chunks.map(|(handle, held)| HeldChunk {
            handle: *handle,
            stored_bytes: u64::from(held.stored_bytes),
            is_good: held.is_good,
        })
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

    pub(super) fn is_current(&self, digest: &InventoryDigest) -> bool {
        self.is_complete && self.version.is_some_and(|version| version >= digest.version)
    }

    pub(super) fn replace(
        &mut self,
        session: SessionId,
        version: u64,
        mut pulled: Pulled,
        now_ms: u64,
    ) -> Option<Pulled> {
        if self.session != Some(session) {
            return None;
        }
        if pulled.notes_seen.is_some_and(|seen| seen != self.notes_changed) {
            // Noted or not wanted no more since they were carried over: which
            // of them still hold is not known.
            pulled.forget_notes();
        }
        self.notes_changed += 1;
        let before = mem::replace(&mut self.held, pulled);
        self.version = Some(version);
        self.offered = None;
        self.compare(now_ms);
        Some(before)
    }

    /// Gives `pulled` a part of the notes on unwanted copies; whether there
    /// are more.
    pub(super) fn carry_notes(&self, pulled: &mut Pulled, notes_max: usize) -> bool {
        if *pulled.notes_seen.get_or_insert(self.notes_changed) != self.notes_changed {
            return false;
        }
        pulled.carry_notes(&self.held, notes_max)
    }

    pub(super) fn state(&self, handle: Handle) -> CopyState {
        if !self.is_complete {
            return CopyState::Unknown;
        }
        match self.held.chunks.get(&handle) {
            Some(held) if held.is_good => CopyState::Held,
            Some(_) => CopyState::Bad,
            None => CopyState::Missing,
        }
    }

    pub(super) fn unwanted_bytes(&self) -> u64 {
        self.held.unwanted_bytes
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
        let first = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let held = &mut self.held;
        for (handle, copy) in held.chunks.iter_from(first) {
            let handle = *handle;
            if sweep.left == 0 || sweep.room == 0 {
                // Nothing looked at here yet: begin before the first.
                return (found, Some(last.unwrap_or(Handle(handle.0.saturating_sub(1)))));
            }
            sweep.left -= 1;
            last = Some(handle);
            if is_wanted(handle) {
                if let Some(noted) = held.unwanted.remove(&handle) {
                    held.unwanted_bytes -= u64::from(noted.stored_bytes);
                    self.notes_changed += 1;
                }
                continue;
            }
            let noted = match held.unwanted.get(&handle) {
                Some(noted) => *noted,
                None => {
                    let (completes, stored_bytes) = (self.completes, copy.stored_bytes);
                    let now = Noted { since_ms: now_ms, completes, stored_bytes };
                    held.unwanted.insert(handle, now);
                    held.unwanted_bytes += u64::from(stored_bytes);
                    self.notes_changed += 1;
                    now
                }
            };
            let was_told_again = self.completes > noted.completes
                && self.complete_ms >= noted.since_ms.saturating_add(grace_ms);
            let is_old = now_ms >= noted.since_ms.saturating_add(grace_ms);
            let was_told_again = was_told_again || is_old && is_planted(Mutant::OneInventoryEnough);
            if was_told_again || is_planted(Mutant::DeleteAtFirstSight) {
                sweep.room -= 1;
                found.push(handle);
            }
        }
        (found, None)
    }

    /// Forgets that a copy was found unwanted.
    pub(super) fn keep(&mut self, handle: Handle) {
        self.notes_changed += u64::from(self.held.forget_note(handle));
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
            self.held.remove(*handle);
        }
        changes.held.iter().for_each(|chunk| self.held.insert(chunk));
        // Notes of what went are gone.
        self.notes_changed += 1;
    }

    /// Complete is what has the digest that the node told last.
    fn compare(&mut self, now_ms: u64) {
        let told = self.told.filter(|told| {
            self.held.summary.chunks == told.chunks
                && self.held.summary.quarantined == told.quarantined
                && self.held.fingerprint == told.fingerprint
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
