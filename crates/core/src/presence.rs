//! What nodes say that they hold. Heard, never logged.

use crate::api::HeldChunk;

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
