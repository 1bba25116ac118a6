//! What the node holds, in memory: where each chunk lies, what it takes,
//! whether it is good; and what changed lately, for heartbeats.
//!
//! Built by the scan at start-up. Every later change raises its version.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use crate::api::{
    CHANGES_PER_HEARTBEAT_MAX, HANDLES_PER_CALL_MAX, HeldChunk, InventoryChanges, InventoryDigest,
    InventoryPage,
};
use crate::id::Handle;
use crate::limit::limit;
use crate::mark::{Mark, reached};
use crate::presence::fingerprint;

/// How many changes are remembered; whoever is further behind asks for all.
const CHANGES_REMEMBERED_MAX: usize = CHANGES_PER_HEARTBEAT_MAX;

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A file of its own.
    File,
    /// A record in a pack.
    Pack {
        /// The pack's number.
        pack: u32,
        /// Where the record begins in it.
        offset: u32,
        /// The bytes of the image in it.
        body_len: u32,
    },
    /// Kept aside, found bad.
    Quarantine,
}

/// One chunk that the node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// Where it lies.
    pub(super) place: Place,
    /// What it takes on disk, in bytes.
    pub(super) stored_bytes: u64,
    /// False once it was found bad. It is then never served.
    pub(super) is_good: bool,
}

/// All chunks that the node holds.
#[derive(Debug, Default)]
pub(super) struct Index {
    held: BTreeMap<Handle, Held>,
    used_bytes: u64,
    digest: InventoryDigest,
    /// Which handle changed with which version, oldest first, no gaps.
    changed: VecDeque<(u64, Handle)>,
}

impl Index {
    /// Takes a chunk that the scan found, or one that only lies elsewhere now:
    /// no change as others see it.
    pub(super) fn load(&mut self, handle: Handle, held: Held) {
        self.set(handle, Some(held));
    }

    /// The chunk `handle`, if it is held.
    pub(super) fn get(&self, handle: Handle) -> Option<Held> {
        self.held.get(&handle).copied()
    }

    /// Takes a chunk, or changes what is known of it. Returns what was there.
    pub(super) fn put(&mut self, handle: Handle, held: Held) -> Option<Held> {
        let before = self.set(handle, Some(held));
        self.note(handle);
        before
    }

    /// Changes what is known of a chunk from `before` to `after`. Returns false,
    /// without change, when something else is known of it.
    pub(super) fn replace(&mut self, handle: Handle, before: Held, after: Held) -> bool {
        let is_same = self.get(handle) == Some(before);
        if is_same {
            self.put(handle, after);
        }
        is_same
    }

    /// Forgets a chunk. Returns what was there.
    pub(super) fn remove(&mut self, handle: Handle) -> Option<Held> {
        let before = self.set(handle, None);
        if before.is_some() {
            self.note(handle);
        }
        before
    }

    /// Bytes on disk of all chunks.
    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// The inventory in a few words.
    pub(super) fn digest(&self) -> InventoryDigest {
        self.digest
    }

    /// What changed since `version`; `None` when that is too long ago.
    pub(super) fn changes_since(&self, version: u64) -> Option<InventoryChanges> {
        let now = self.digest.version;
        let remembered_from = now - self.changed.len() as u64;
        if version > now || version < remembered_from {
            return None;
        }
        let skip = usize::try_from(version - remembered_from).ok()?;
        let handles: BTreeSet<Handle> = self.changed.range(skip..).map(|&(_, it)| it).collect();
        let mut changes = InventoryChanges { since: version, held: Vec::new(), gone: Vec::new() };
        for handle in handles {
            match self.held.get(&handle) {
                Some(held) => changes.held.push(as_told(handle, held)),
                None => changes.gone.push(handle),
            }
        }
        Some(changes)
    }

    /// A page of the inventory, from after `after`.
    pub(super) fn page(&self, after: Option<Handle>) -> InventoryPage {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.held.range((from, Bound::Unbounded));
        let chunks: Vec<HeldChunk> = rest
            .by_ref()
            .take(limit(HANDLES_PER_CALL_MAX, 3))
            .map(|(handle, held)| as_told(*handle, held))
            .collect();
        InventoryPage { version: self.digest.version, chunks, is_last: rest.next().is_none() }
    }

    /// The chunks that lie in pack `pack`, in the order of its bytes.
    pub(super) fn in_pack(&self, pack: u32) -> Vec<(Handle, u32, u32)> {
        let mut records: Vec<(Handle, u32, u32)> = self
            .held
            .iter()
            .filter_map(|(handle, held)| match held.place {
                Place::Pack { pack: its, offset, body_len } if its == pack => {
                    Some((*handle, offset, body_len))
                }
                _ => None,
            })
            .collect();
        records.sort_by_key(|&(_, offset, _)| offset);
        records
    }

    fn set(&mut self, handle: Handle, after: Option<Held>) -> Option<Held> {
        let before = match after {
            Some(held) => self.held.insert(handle, held),
            None => self.held.remove(&handle),
        };
        if let Some(held) = &before {
            self.used_bytes -= held.stored_bytes;
            self.digest.chunks -= 1;
            self.digest.quarantined -= u64::from(!held.is_good);
            self.digest.fingerprint ^= fingerprint(&as_told(handle, held));
        }
        if let Some(held) = &after {
            self.used_bytes += held.stored_bytes;
            self.digest.chunks += 1;
            self.digest.quarantined += u64::from(!held.is_good);
            self.digest.fingerprint ^= fingerprint(&as_told(handle, held));
        }
        before
    }

    fn note(&mut self, handle: Handle) {
        self.digest.version += 1;
        self.changed.push_back((self.digest.version, handle));
        if self.changed.len() > limit(CHANGES_REMEMBERED_MAX, 3) {
            reached(Mark::ChangesForgotten);
            self.changed.pop_front();
        }
    }
}

fn as_told(handle: Handle, held: &Held) -> HeldChunk {
    HeldChunk { handle, stored_bytes: held.stored_bytes, is_good: held.is_good }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn held(stored_bytes: u64, is_good: bool) -> Held {
        let place = if is_good { Place::File } else { Place::Quarantine };
        Held { place, stored_bytes, is_good }
    }

    fn all(index: &Index) -> BTreeMap<Handle, HeldChunk> {
        let mut chunks = BTreeMap::new();
        let mut after = None;
        loop {
            let page = index.page(after);
            chunks.extend(page.chunks.iter().map(|chunk| (chunk.handle, *chunk)));
            after = page.chunks.last().map(|chunk| chunk.handle);
            if page.is_last {
                return chunks;
            }
        }
    }

    proptest! {
        /// Whoever knew the inventory at any remembered version and takes the
        /// changes since then knows it as it is now; and the digest is that
        /// of the set, however the set came about.
        #[test]
        fn changes_lead_from_any_version_to_the_present_one(
            steps in prop::collection::vec((0u64..20, 0u8..3, 1u64..100), 0..60),
        ) {
            let mut index = Index::default();
            let mut known = vec![BTreeMap::new()];
            for (number, what, bytes) in steps {
                let handle = Handle(number);
                match what {
                    0 => drop(index.remove(handle)),
                    what => drop(index.put(handle, held(bytes, what == 1))),
                }
                if index.digest().version as usize == known.len() {
                    known.push(all(&index));
                }
            }
            let now = all(&index);
            for (version, mut then) in known.into_iter().enumerate() {
                let changes = index.changes_since(version as u64).expect("remembered");
                for handle in &changes.gone {
                    then.remove(handle);
                }
                for chunk in &changes.held {
                    then.insert(chunk.handle, *chunk);
                }
                prop_assert_eq!(&then, &now, "from version {}", version);
            }
            prop_assert!(index.changes_since(index.digest().version + 1).is_none());
            let digest = index.digest();
            prop_assert_eq!(digest.chunks, now.len() as u64);
            prop_assert_eq!(digest.quarantined, now.values().filter(|c| !c.is_good).count() as u64);
            prop_assert_eq!(digest.fingerprint, now.values().fold(0, |sum, c| sum ^ fingerprint(c)));
            prop_assert_eq!(index.used_bytes(), now.values().map(|c| c.stored_bytes).sum::<u64>());
        }
    }

    #[test]
    fn who_is_too_far_behind_is_told_to_ask_for_all() {
        let mut index = Index::default();
        for number in 0..=CHANGES_REMEMBERED_MAX as u64 {
            index.put(Handle(number), held(1, true));
        }
        assert!(index.changes_since(0).is_none());
        let changes = index.changes_since(1).expect("just remembered");
        assert_eq!(changes.held.len(), CHANGES_REMEMBERED_MAX);
    }

    #[test]
    fn pages_are_bounded_and_the_last_one_says_so() {
        let mut index = Index::default();
        for number in 0..HANDLES_PER_CALL_MAX as u64 {
            index.load(Handle(number), held(1, true));
        }
        let page = index.page(None);
        assert_eq!((page.chunks.len(), page.is_last), (HANDLES_PER_CALL_MAX, true));
        index.load(Handle(HANDLES_PER_CALL_MAX as u64), held(1, true));
        let page = index.page(None);
        assert_eq!(
            (page.chunks.len(), page.is_last, page.version),
            (HANDLES_PER_CALL_MAX, false, 0)
        );
        let rest = index.page(page.chunks.last().map(|chunk| chunk.handle));
        assert_eq!((rest.chunks.len(), rest.is_last), (1, true));
    }
}
