//! The copies of one node: as they are pulled, page by page, and then as they
//! are known.

use std::ops::Bound;

use super::{HeldChunk, Summary, fingerprint};
use crate::block_map::BlockMap;
use crate::id::Handle;

/// The most chunks that are believed of one node.
const CHUNKS_PER_NODE_MAX: usize = 1 << 26;

/// What one node holds. Filled beside what is known of the node, so that
/// nobody waits while millions of copies are taken in; [`super::Presence`]
/// then takes it in one step.
#[derive(Debug, Clone, Default)]
pub struct Pulled {
    pub(super) chunks: BlockMap<Handle, Held>,
    pub(super) summary: Summary,
    pub(super) fingerprint: u64,
    /// Copies that were found unwanted; all of them are among the chunks.
    pub(super) unwanted: BlockMap<Handle, Noted>,
    /// What they take together.
    pub(super) unwanted_bytes: u64,
    /// The state of the notes that are carried over, once some were.
    pub(super) notes_seen: Option<u64>,
    /// The last of them that was looked at.
    carried_to: Option<Handle>,
}

/// One copy. Small: there are millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) stored_bytes: u32,
    pub(super) is_good: bool,
}

/// When a copy was first found unwanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noted {
    pub(super) since_ms: u64,
    pub(super) completes: u64,
    pub(super) stored_bytes: u32,
}

impl Held {
    fn of(chunk: &HeldChunk) -> Self {
        let stored_bytes = u32::try_from(chunk.stored_bytes).unwrap_or(u32::MAX);
        Self { stored_bytes, is_good: chunk.is_good }
    }

    fn fingerprint(self, handle: Handle) -> u64 {
        let stored_bytes = u64::from(self.stored_bytes);
        fingerprint(&HeldChunk { handle, stored_bytes, is_good: self.is_good })
    }
}

impl Pulled {
    /// Takes one more page in.
    pub fn add(&mut self, page: impl IntoIterator<Item = HeldChunk>) {
        page.into_iter().for_each(|chunk| self.insert(&chunk));
    }

    pub(super) fn insert(&mut self, chunk: &HeldChunk) {
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

    pub(super) fn remove(&mut self, handle: Handle) {
        self.take_out(handle);
        self.forget_note(handle);
    }

    /// Forgets that a copy was found unwanted; returns true when it was.
    pub(super) fn forget_note(&mut self, handle: Handle) -> bool {
        let noted = self.unwanted.remove(&handle);
        self.unwanted_bytes -= noted.map_or(0, |noted| u64::from(noted.stored_bytes));
        noted.is_some()
    }

    /// Carries up to `notes_max` notes of `known` over, as far as their copies
    /// are here; whether there are more.
    pub(super) fn carry_notes(&mut self, known: &Self, notes_max: usize) -> bool {
        let from = self.carried_to;
        let mut notes =
            known.unwanted.iter_from(from.as_ref().map_or(Bound::Unbounded, Bound::Excluded));
        for (handle, noted) in notes.by_ref().take(notes_max) {
            self.carried_to = Some(*handle);
            if self.chunks.contains_key(handle) {
                self.unwanted.insert(*handle, *noted);
                self.unwanted_bytes += u64::from(noted.stored_bytes);
            }
        }
        notes.next().is_some()
    }

    pub(super) fn forget_notes(&mut self) {
        self.unwanted = BlockMap::default();
        self.unwanted_bytes = 0;
    }

    fn take_out(&mut self, handle: Handle) {
        if let Some(held) = self.chunks.remove(&handle) {
            self.fingerprint ^= held.fingerprint(handle);
            self.summary.chunks -= 1;
            self.summary.bytes -= u64::from(held.stored_bytes);
            self.summary.quarantined -= u64::from(!held.is_good);
        }
    }
}
