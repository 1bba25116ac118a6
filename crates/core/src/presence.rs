//! What nodes say that they hold. Heard, never logged.

use crate::id::Handle;

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
