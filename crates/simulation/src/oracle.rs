//! What must hold, worked out without the code under test.

use std::collections::BTreeSet;

use dfs_core::api::{FileMap, StripeMap};

use crate::rng::Rng;

/// Whether a file can be read when only the nodes in `up` are there: of each
/// stripe as many chunks as it holds data must have a copy on one of them.
#[must_use]
pub fn is_readable(map: &FileMap, up: &BTreeSet<String>) -> bool {
    let has_copy = |stripe: &StripeMap| {
        let on_up = |copy: &dfs_core::api::CopyAt| up.contains(copy.node.as_str());
        stripe.chunks.iter().filter(|chunk| chunk.copies.iter().any(on_up)).count()
    };
    map.stripes.iter().all(|stripe| has_copy(stripe) >= usize::from(stripe.shape.data))
}

/// How many copies a file has in all.
#[must_use]
pub fn copies(map: &FileMap) -> usize {
    let of_stripe = |stripe: &StripeMap| -> usize {
        stripe.chunks.iter().map(|chunk| chunk.copies.len()).sum()
    };
    map.stripes.iter().map(of_stripe).sum()
}

/// Every subset of `names`, the smallest first.
#[must_use]
pub fn subsets(names: &[String]) -> Vec<BTreeSet<String>> {
    let mut all: Vec<BTreeSet<String>> = (0..1u32 << names.len())
        .map(|mask| {
            let is_in = |(at, _): &(usize, &String)| mask >> at & 1 == 1;
            names.iter().enumerate().filter(is_in).map(|(_, name)| name.clone()).collect()
        })
        .collect();
    all.sort_by_key(BTreeSet::len);
    all
}

/// Bytes that tell their seed: half of them can be compressed.
#[must_use]
pub fn sample_bytes(seed: u64, len: usize) -> Vec<u8> {
    crate::sample::mixed_bytes(&mut Rng::new(seed), len)
}
