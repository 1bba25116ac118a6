//! How a file of known size is cut into chunks and stripes.
//!
//! All chunks of a file have the same length but the last, which is what is
//! left. That length is the policy's chunk size; but a file that would not
//! fill K chunks under a policy with parity is cut into K equal ones, so that
//! it pays (K + M) / K and not 1 + M. Their length is the K-th part of the
//! size, rounded up to whole [`EQUAL_CHUNK_STEP`] so that every chunk begins
//! where disks like it, and at least [`EQUAL_CHUNK_MIN`]; a small file
//! therefore has fewer chunks than K, and never more.

use crate::policy::{Policy, StripeShape};

/// The shortest length that a small file is cut to, in bytes.
pub const EQUAL_CHUNK_MIN: u64 = 64 << 10;
/// Lengths that a small file is cut to are multiples of this, in bytes.
pub const EQUAL_CHUNK_STEP: u64 = 4 << 10;

/// The cut of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    size: u64,
    cut_len: u64,
    /// Data chunks of a full stripe.
    width: u64,
}

impl Split {
    /// The cut of a file of `size` bytes under `policy`.
    #[must_use]
    pub fn new(size: u64, policy: &Policy) -> Self {
        let width = u64::from(policy.coding.data).max(1);
        let chunk_size = u64::from(policy.chunk_size).max(1);
        let is_small = policy.coding.parity > 0 && size < chunk_size.saturating_mul(width);
        let cut_len = if is_small {
            let equal = size.div_ceil(width).next_multiple_of(EQUAL_CHUNK_STEP);
            equal.max(EQUAL_CHUNK_MIN).min(chunk_size)
        } else {
            chunk_size
        };
        Self { size, cut_len, width }
    }

    /// Bytes of the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Chunks of the file; none when it is empty.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.size.div_ceil(self.cut_len)
    }

    /// Where chunk `index` begins in the file.
    #[must_use]
    pub fn chunk_offset(&self, index: u64) -> u64 {
        index.saturating_mul(self.cut_len).min(self.size)
    }

    /// Bytes of chunk `index`; 0 behind the last.
    #[must_use]
    pub fn chunk_len(&self, index: u64) -> u64 {
        (self.size - self.chunk_offset(index)).min(self.cut_len)
    }

    /// Stripes of the file. Without parity every chunk is one by itself.
    #[must_use]
    pub fn stripes(&self) -> u64 {
        self.chunks().div_ceil(self.width)
    }

    /// The first chunk of stripe `stripe`.
    #[must_use]
    pub fn first_chunk(&self, stripe: u64) -> u64 {
        stripe.saturating_mul(self.width)
    }

    /// Data chunks of stripe `stripe`; 0 behind the last.
    #[must_use]
    pub fn stripe_data(&self, stripe: u64) -> u8 {
        let left = self.chunks().saturating_sub(self.first_chunk(stripe));
        u8::try_from(left.min(self.width)).expect("a code is at most 255 wide")
    }

    /// The shape of stripe `stripe` of a file under `policy`.
    #[must_use]
    pub fn shape(&self, stripe: u64, policy: &Policy) -> StripeShape {
        StripeShape { coding: policy.coding, data: self.stripe_data(stripe) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::{CHUNK_SIZE_MIN, Code, Coding, Compression};

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;

    fn policy(code: Code, data: u8, parity: u8, chunk_size: u64) -> Policy {
        Policy {
            replication: 1,
            coding: Coding { code, data, parity },
            compression: Compression::None,
            chunk_size: u32::try_from(chunk_size).expect("a chunk size"),
        }
    }

    fn rs(data: u8, parity: u8) -> Policy {
        policy(Code::ReedSolomon, data, parity, 64 * MIB)
    }

    fn lens(size: u64, policy: &Policy) -> Vec<u64> {
        let split = Split::new(size, policy);
        (0..split.chunks()).map(|index| split.chunk_len(index)).collect()
    }

    #[test]
    fn without_parity_only_the_chunk_size_counts() {
        let plain = policy(Code::None, 1, 0, MIB);
        assert_eq!(lens(0, &plain), [0; 0]);
        assert_eq!(lens(1, &plain), [1]);
        assert_eq!(lens(MIB, &plain), [MIB]);
        assert_eq!(lens(2 * MIB + 5, &plain), [MIB, MIB, 5]);
        assert_eq!(Split::new(2 * MIB + 5, &plain).stripes(), 3);
    }

    #[test]
    fn a_file_smaller_than_k_full_chunks_is_cut_into_k_equal_ones() {
        assert_eq!(lens(64 * MIB, &rs(4, 2)), [16 * MIB; 4]);
        assert_eq!(lens(MIB + 1, &rs(4, 2)), [260 * KIB, 260 * KIB, 260 * KIB, 244 * KIB + 1]);
        assert_eq!(lens(256 * MIB, &rs(4, 2)), [64 * MIB; 4]);
        assert_eq!(lens(256 * MIB + 1, &rs(4, 2)), [64 * MIB, 64 * MIB, 64 * MIB, 64 * MIB, 1]);
    }

    #[test]
    fn no_file_is_cut_below_64_kib() {
        assert_eq!(lens(1, &rs(4, 2)), [1]);
        assert_eq!(lens(100 * KIB, &rs(4, 2)), [64 * KIB, 36 * KIB]);
        assert_eq!(lens(256 * KIB, &rs(4, 2)), [64 * KIB; 4]);
        assert_eq!(CHUNK_SIZE_MIN as u64, EQUAL_CHUNK_MIN);
    }

    #[test]
    fn stripes_hold_k_chunks_but_the_last() {
        let split = Split::new(10 * 64 * MIB, &rs(4, 2));
        assert_eq!((split.chunks(), split.stripes()), (10, 3));
        assert_eq!([0, 1, 2, 3, u64::MAX].map(|stripe| split.stripe_data(stripe)), [4, 4, 2, 0, 0]);
        assert_eq!(split.first_chunk(2), 8);
        assert_eq!(split.shape(2, &rs(4, 2)).chunks(), 4);
    }

    #[test]
    fn the_largest_size_is_counted_without_overflow() {
        for policy in [rs(16, 16), policy(Code::None, 1, 0, 64 * KIB)] {
            let split = Split::new(u64::MAX, &policy);
            let last = split.chunks() - 1;
            assert_eq!(split.chunk_offset(last) + split.chunk_len(last), u64::MAX);
            assert_eq!(split.chunk_len(last + 1), 0);
        }
    }

    proptest! {
        #[test]
        fn the_chunks_are_the_file(
            size in prop_oneof![0..3 * MIB, 0..10_000 * MIB],
            data in 1_u8..=16, has_parity: bool, chunk_size in 1_u64..=64,
        ) {
            let policy = if has_parity {
                policy(Code::ReedSolomon, data, 2, chunk_size * 64 * KIB)
            } else {
                policy(Code::None, 1, 0, chunk_size * 64 * KIB)
            };
            let split = Split::new(size, &policy);
            prop_assert_eq!(split.size(), size);
            let mut end = 0;
            for index in 0..split.chunks() {
                prop_assert_eq!(split.chunk_offset(index), end);
                let len = split.chunk_len(index);
                prop_assert!(len > 0 && len <= u64::from(policy.chunk_size));
                prop_assert!(index + 1 == split.chunks() || len >= EQUAL_CHUNK_MIN);
                end += len;
            }
            prop_assert_eq!(end, size);
            let in_stripes: u64 =
                (0..split.stripes()).map(|at| u64::from(split.stripe_data(at))).sum();
            prop_assert_eq!(in_stripes, split.chunks());
            let is_small = size < u64::from(data) * u64::from(policy.chunk_size);
            if has_parity && is_small {
                prop_assert!(split.stripes() <= 1, "a small file is one stripe");
            }
        }
    }
}
