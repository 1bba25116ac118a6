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
