//! What one node says that it holds.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::{CopyState, HeldChunk, InventoryChanges, InventoryDigest, News, fingerprint};
use crate::health::OFFLINE_AFTER_MS;
use crate::id::{Handle, SessionId};

/// For so long a copy counts as held that its node said is durable and that
/// its inventory does not name yet.
const CLAIM_MS: u64 = OFFLINE_AFTER_MS;
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
    pub(super) chunks: BTreeMap<Handle, Held>,
    pub(super) bytes: u64,
    pub(super) quarantined: u64,
    fingerprint: u64,
    pub(super) is_complete: bool,
    /// Complete inventories heard, and when the last one was.
    completes: u64,
    complete_ms: u64,
    claims: BTreeMap<Handle, u64>,
    unwanted: BTreeMap<Handle, Noted>,
}

/// One copy. Small: there are millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    stored_bytes: u32,
    is_good: bool,
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

/// A whole inventory, page by page, as it is pulled.
///
/// Pages may be of different versions; then the inventory is that of the
/// first page, less and more what changed since, and the changes that the
/// next heartbeats tell make it whole.
#[derive(Debug, Default)]
pub struct Pull {
    versions: Option<(u64, u64)>,
    chunks: BTreeMap<Handle, Held>,
}

impl Pull {
    /// Takes the next page. False when it is none that an honest node sends:
    /// out of order, or too much.
    #[must_use]
    pub fn page(&mut self, version: u64, chunks: &[HeldChunk]) -> bool {
        let first = self.versions.map_or(version, |(first, _)| first);
        self.versions = Some((first, version));
        for chunk in chunks {
            let is_next = self.last().is_none_or(|last| chunk.handle > last);
            if !is_next || self.chunks.len() >= CHUNKS_PER_NODE_MAX {
                return false;
            }
            self.chunks.insert(chunk.handle, Held::of(chunk));
        }
        true
    }

    /// The last handle so far: the next page comes after it.
    #[must_use]
    pub fn last(&self) -> Option<Handle> {
        self.chunks.last_key_value().map(|(handle, _)| *handle)
    }
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
    pub(super) fn heartbeat(
        &mut self,
        session: SessionId,
        digest: &InventoryDigest,
        changes: Option<&InventoryChanges>,
        now_ms: u64,
    ) -> News {
        self.follow(session);
        if let Some(known) = self.version {
            if digest.version < known {
                // Overtaken by a later heartbeat: nothing new.
                return News { known_version: Some(known), needs_inventory: false };
            }
            match changes {
                // Changes tell how things are now, so that some which were
                // taken before do no harm.
                Some(changes) if changes.since <= known => self.apply(changes),
                _ if digest.version == known => {}
                _ if self.offered != Some(known) => {
                    self.offered = Some(known);
                    return News { known_version: Some(known), needs_inventory: false };
                }
                _ => {}
            }
        }
        if self.is_that_of(digest) {
            self.version = Some(digest.version);
            self.complete(now_ms);
        } else {
            self.version = None;
            self.is_complete = false;
        }
        News { known_version: self.version, needs_inventory: self.version.is_none() }
    }

    pub(super) fn replace_all(&mut self, session: SessionId, pull: Pull, now_ms: u64) {
        let Some((first, last)) = pull.versions.filter(|_| self.session == Some(session)) else {
            return;
        };
        self.chunks = pull.chunks;
        let chunks = &self.chunks;
        self.unwanted.retain(|handle, _| chunks.contains_key(handle));
        self.bytes = chunks.values().map(|held| u64::from(held.stored_bytes)).sum();
        self.quarantined = chunks.values().filter(|held| !held.is_good).count() as u64;
        self.fingerprint = chunks.iter().fold(0, |all, (h, held)| all ^ held.fingerprint(*h));
        self.version = Some(first);
        self.offered = None;
        if first == last {
            self.complete(now_ms);
        } else {
            self.is_complete = false;
        }
    }

    pub(super) fn claim(&mut self, handle: Handle, now_ms: u64) {
        self.claims.insert(handle, now_ms);
    }

    pub(super) fn state(&self, handle: Handle) -> CopyState {
        if self.claims.contains_key(&handle) {
            return CopyState::Held;
        }
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
            if is_wanted(handle) || self.claims.contains_key(&handle) {
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
            self.claims.clear();
        }
    }

    fn apply(&mut self, changes: &InventoryChanges) {
        for handle in &changes.gone {
            self.remove(*handle);
        }
        for chunk in &changes.held {
            self.remove_from_sums(chunk.handle);
            if self.chunks.len() < CHUNKS_PER_NODE_MAX {
                let held = Held::of(chunk);
                self.chunks.insert(chunk.handle, held);
                self.fingerprint ^= held.fingerprint(chunk.handle);
                self.bytes += u64::from(held.stored_bytes);
                self.quarantined += u64::from(!held.is_good);
            }
        }
    }

    fn remove(&mut self, handle: Handle) {
        self.remove_from_sums(handle);
        self.unwanted.remove(&handle);
    }

    fn remove_from_sums(&mut self, handle: Handle) {
        if let Some(held) = self.chunks.remove(&handle) {
            self.fingerprint ^= held.fingerprint(handle);
            self.bytes -= u64::from(held.stored_bytes);
            self.quarantined -= u64::from(!held.is_good);
        }
    }

    fn is_that_of(&self, digest: &InventoryDigest) -> bool {
        self.chunks.len() as u64 == digest.chunks
            && self.quarantined == digest.quarantined
            && self.fingerprint == digest.fingerprint
    }

    fn complete(&mut self, now_ms: u64) {
        self.is_complete = true;
        self.offered = None;
        self.completes += 1;
        self.complete_ms = now_ms;
        let chunks = &self.chunks;
        self.claims.retain(|handle, claimed_ms| {
            let is_told = chunks.get(handle).is_some_and(|held| held.is_good);
            !is_told && now_ms.saturating_sub(*claimed_ms) <= CLAIM_MS
        });
    }
}
