//! What nodes say that they hold. Heard, never logged.
//!
//! A node's inventory is **complete** once, in the node's present run, its
//! digest was that of what is known here. Until then every copy on it is
//! unknown, which is neither held nor missing. Heartbeats carry changes; where
//! they do not lead to the node's digest, the whole inventory is pulled anew.
//!
//! Destroying is slow on purpose: a copy that nobody wants is destroyable when
//! it was found so, and the node told a whole inventory at least one grace
//! period later, and it still is.

mod inventory;
mod pulled;

use std::collections::BTreeMap;
use std::ops::{Bound, Range};

use crate::id::{Handle, NodeIndex, SessionId};
use crate::limit::limit;
use inventory::Inventory;
pub use pulled::Pulled;

/// The most handles that one [`Presence::destroyable`] looks at: others wait
/// meanwhile.
pub const HANDLES_PER_SLICE_MAX: usize = 2048;
/// The most notes that one [`Presence::carry_notes`] looks at.
const NOTES_PER_SLICE_MAX: usize = 4096;

/// One chunk that a node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldChunk {
    /// Which chunk.
    pub handle: Handle,
    /// What it takes on disk, in bytes.
    pub stored_bytes: u64,
    /// False when it was found bad and is kept aside.
    pub is_good: bool,
}

/// What a node holds, in a few words that are the same for the same set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InventoryDigest {
    /// The version: rises with each change, starts at 0 with each session.
    pub version: u64,
    /// Chunks held.
    pub chunks: u64,
    /// Of these, bad ones that are kept aside.
    pub quarantined: u64,
    /// Exclusive or of [`fingerprint()`] of each.
    pub fingerprint: u64,
}

/// The way from one version of an inventory to the present one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryChanges {
    /// The version that the changes start from.
    pub since: u64,
    /// Came, or changed their goodness.
    pub held: Vec<HeldChunk>,
    /// Went.
    pub gone: Vec<Handle>,
}

/// What is known of one copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CopyState {
    /// The node has not told yet.
    Unknown,
    /// The node holds it.
    Held,
    /// The node holds it and found it bad.
    Bad,
    /// The node told what it holds, and it is not there.
    Missing,
}

/// What is known of all copies, in short; see [`Presence::known`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known(Vec<(NodeIndex, inventory::Known)>);

/// What one node holds, summed up; as last heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Chunks, the bad ones too.
    pub chunks: u64,
    /// Of these, the bad ones.
    pub quarantined: u64,
    /// What they take on its disk, in bytes.
    pub bytes: u64,
}

/// What all nodes hold, as far as they told.
#[derive(Debug, Clone, Default)]
pub struct Presence {
    nodes: BTreeMap<NodeIndex, Inventory>,
    /// Where the next sweep goes on.
    swept_to: Option<(NodeIndex, Handle)>,
}

impl Presence {
    /// Takes what a heartbeat says of the node's inventory. The answer is the
    /// version that is known now; `None` when the whole inventory is wanted.
    pub fn hear(
        &mut self,
        node: NodeIndex,
        session: SessionId,
        digest: &InventoryDigest,
        changes: Option<&InventoryChanges>,
        now_ms: u64,
    ) -> Option<u64> {
        self.nodes.entry(node).or_default().hear(session, digest, changes, now_ms)
    }

    /// True when all that a node holds is known as it was when it told of
    /// `digest`, or later.
    #[must_use]
    pub fn is_current(&self, node: NodeIndex, digest: &InventoryDigest) -> bool {
        self.nodes.get(&node).is_some_and(|inventory| inventory.is_current(digest))
    }

    /// Takes a whole inventory that was pulled from the node's run `session`,
    /// in pages of which the first was of `version`. What changed while the
    /// later ones were pulled is told by the heartbeats that follow. One of
    /// another run than the present is not taken.
    ///
    /// Costs the same whatever its size. Gives back what was known before, to
    /// be dropped where nobody waits.
    pub fn replace(
        &mut self,
        node: NodeIndex,
        session: SessionId,
        version: u64,
        pulled: Pulled,
        now_ms: u64,
    ) -> Option<Pulled> {
        self.nodes.entry(node).or_default().replace(session, version, pulled, now_ms)
    }

    /// Carries some of what is known of unwanted copies over to an inventory
    /// whose pages are all in, so that their grace does not begin anew;
    /// whether there is more. What is left out waits for its grace again.
    pub fn carry_notes(&self, node: NodeIndex, pulled: &mut Pulled) -> bool {
        let known = self.nodes.get(&node);
        known.is_some_and(|known| known.carry_notes(pulled, limit(NOTES_PER_SLICE_MAX, 2)))
    }

    /// Notes that a copy is not to be destroyed yet: its grace begins anew when
    /// it is found unwanted again.
    pub fn keep(&mut self, node: NodeIndex, handle: Handle) {
        if let Some(inventory) = self.nodes.get_mut(&node) {
            inventory.keep(handle);
        }
    }

    /// Forgets a node that is no member any more, or whose folder is new.
    pub fn forget(&mut self, node: NodeIndex) {
        self.nodes.remove(&node);
    }

    /// What is known of one copy.
    #[must_use]
    pub fn state(&self, node: NodeIndex, handle: Handle) -> CopyState {
        self.nodes.get(&node).map_or(CopyState::Unknown, |inventory| inventory.state(handle))
    }

    /// What all that is known comes to: two calls between which nothing was
    /// learned give the same.
    #[must_use]
    pub fn known(&self) -> Known {
        let of = |(node, inventory): (&NodeIndex, &Inventory)| (*node, inventory.known());
        Known(self.nodes.iter().map(of).collect())
    }

    /// Whether the node told, in its present run, all that it holds.
    #[must_use]
    pub fn is_complete(&self, node: NodeIndex) -> bool {
        self.nodes.get(&node).is_some_and(|inventory| inventory.is_complete)
    }

    /// Returns the run that the node told of itself in.
    #[must_use]
    pub fn session(&self, node: NodeIndex) -> Option<SessionId> {
        self.nodes.get(&node).and_then(|inventory| inventory.known().session)
    }

    /// What the node holds, summed up.
    #[must_use]
    pub fn summary(&self, node: NodeIndex) -> Summary {
        self.nodes.get(&node).map_or_else(Summary::default, Inventory::summary)
    }

    /// The copies of one node whose handles lie in `range`, in order.
    pub fn held_in(
        &self,
        node: NodeIndex,
        range: Range<Handle>,
    ) -> impl Iterator<Item = HeldChunk> + '_ {
        let held = self.nodes.get(&node).into_iter().flat_map(move |it| it.held_from(range.start));
        held.take_while(move |chunk| chunk.handle < range.end)
    }

    /// Bytes of copies on all nodes that were found unwanted and are still
    /// there.
    #[must_use]
    pub fn unwanted_bytes(&self) -> u64 {
        self.nodes.values().map(Inventory::unwanted_bytes).sum()
    }

    /// Whether a sweep stopped midway: the next goes on from there.
    #[must_use]
    pub fn is_mid_sweep(&self) -> bool {
        self.swept_to.is_some()
    }

    /// Copies that may be destroyed now, at most `destroyed_max`.
    ///
    /// Each call looks at up to [`HANDLES_PER_SLICE_MAX`] copies and goes on
    /// where the last one ended. `is_wanted` must say yes for whatever the
    /// catalog or a live upload names.
    pub fn destroyable(
        &mut self,
        now_ms: u64,
        grace_ms: u64,
        destroyed_max: usize,
        is_wanted: impl Fn(NodeIndex, Handle) -> bool,
    ) -> Vec<(NodeIndex, Handle)> {
        let mut found = Vec::new();
        let mut left = limit(HANDLES_PER_SLICE_MAX, 8);
        let from = self.swept_to.take();
        let first = from.map_or(Bound::Unbounded, |(node, _)| Bound::Included(node));
        for (node, inventory) in self.nodes.range_mut((first, Bound::Unbounded)) {
            let after = from.filter(|(at, _)| at == node).map(|(_, handle)| handle);
            let mut sweep =
                inventory::Sweep { left, room: destroyed_max.saturating_sub(found.len()) };
            let (gone, stopped_at) =
                inventory
                    .sweep(after, &mut sweep, now_ms, grace_ms, |handle| is_wanted(*node, handle));
            found.extend(gone.into_iter().map(|handle| (*node, handle)));
            left = sweep.left;
            if let Some(handle) = stopped_at {
                self.swept_to = Some((*node, handle));
                break;
            }
        }
        found
    }
}

/// What one held chunk adds to an inventory's fingerprint.
#[must_use]
pub fn fingerprint(chunk: &HeldChunk) -> u64 {
    // SplitMix64 (Steele, Lea, Flood 2014): neighbours differ in every bit.
    let mut x = chunk.handle.0.wrapping_mul(2).wrapping_add(u64::from(chunk.is_good));
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
