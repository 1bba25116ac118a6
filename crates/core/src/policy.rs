//! What a file is worth: how often it is copied, how it is coded, how it is cut.

mod text;

use serde::{Deserialize, Serialize};

use crate::id::NodeIndex;

pub use text::BadPolicy;

/// The chunk size when nothing else is said: 64 MiB.
pub const CHUNK_SIZE_DEFAULT: u32 = 64 << 20;
/// The smallest chunk size that may be asked for: 64 KiB.
pub const CHUNK_SIZE_MIN: u32 = 64 << 10;
/// The largest chunk size that may be asked for: 1 GiB.
pub const CHUNK_SIZE_MAX: u32 = 1 << 30;
/// The most copies of a data chunk.
pub const REPLICATION_MAX: u8 = 32;
/// The most data and parity chunks of one stripe together.
pub const STRIPE_WIDTH_MAX: u8 = 32;
/// The data chunks of a stripe under `xor` when there are nodes enough.
pub const XOR_DATA_DEFAULT: u8 = 4;

/// How a stripe is coded, as it is asked for on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParitySpec {
    /// `none`: no parity.
    None,
    /// `xor`: four data chunks and one parity chunk, or fewer data chunks
    /// where there are fewer nodes.
    XorAuto,
    /// `xor:K`: K data chunks and one parity chunk.
    Xor {
        /// K, 1 to 31.
        data: u8,
    },
    /// `rs:K+M`: K data chunks and M Reed–Solomon parity chunks.
    ReedSolomon {
        /// K, at least 1.
        data: u8,
        /// M, at least 1; K + M is at most [`STRIPE_WIDTH_MAX`].
        parity: u8,
    },
}

/// The code of a stripe. The numbers stand in file formats and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Code {
    /// No parity chunks.
    None = 0,
    /// One parity chunk, the exclusive or of the data.
    Xor = 1,
    /// Systematic Reed–Solomon over GF(2^8), polynomial 0x11d, the
    /// Vandermonde matrix made systematic (as Backblaze's and klauspost's).
    ReedSolomon = 2,
}

/// How a stripe is coded, with nothing left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Coding {
    /// Which code.
    pub code: Code,
    /// K: data chunks of a full stripe; 1 without parity.
    pub data: u8,
    /// M: parity chunks of every stripe; 0 without parity.
    pub parity: u8,
}

/// How frames are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Compression {
    /// LZ4 block, each frame by itself; frames that gain little stay raw.
    Lz4,
    /// Frames are stored as they are.
    None,
}

/// How nodes are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PlacementStrategy {
    /// One node after the other.
    RoundRobin,
    /// A consistent-hash ring with virtual nodes by capacity.
    Ring,
}

/// A policy as asked for: by the operator for the cluster, or by one `put`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySpec {
    /// Copies of every data chunk, 1 to [`REPLICATION_MAX`].
    pub replication: u8,
    /// Parity.
    pub parity: ParitySpec,
    /// Compression.
    pub compression: Compression,
    /// Chunk size in bytes, [`CHUNK_SIZE_MIN`] to [`CHUNK_SIZE_MAX`], a
    /// multiple of 64 KiB.
    pub chunk_size: u32,
}

/// What one `put` wants otherwise than its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PolicyOverrides {
    /// Copies.
    pub replication: Option<u8>,
    /// Parity.
    pub parity: Option<ParitySpec>,
    /// Compression.
    pub compression: Option<Compression>,
    /// Chunk size, in bytes.
    pub chunk_size: Option<u32>,
}

/// The policy of one file, recorded with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Policy {
    /// Copies of every data chunk. Parity chunks have one copy each.
    pub replication: u8,
    /// The code of its stripes.
    pub coding: Coding,
    /// How its frames are compressed.
    pub compression: Compression,
    /// The largest chunk, in bytes.
    pub chunk_size: u32,
}

impl PolicySpec {
    /// This policy with what one `put` wants otherwise.
    #[must_use]
    pub fn with(self, overrides: &PolicyOverrides) -> Self {
        Self {
            replication: overrides.replication.unwrap_or(self.replication),
            parity: overrides.parity.unwrap_or(self.parity),
            compression: overrides.compression.unwrap_or(self.compression),
            chunk_size: overrides.chunk_size.unwrap_or(self.chunk_size),
        }
    }

    /// Checks every number against its bounds.
    ///
    /// # Errors
    /// [`BadPolicy`] says which number is out of which bounds.
    pub fn validate(&self) -> Result<(), BadPolicy> {
        if !(1..=REPLICATION_MAX).contains(&self.replication) {
            return Err(BadPolicy::Replication(u64::from(self.replication)));
        }
        let size = self.chunk_size;
        if !(CHUNK_SIZE_MIN..=CHUNK_SIZE_MAX).contains(&size)
            || !size.is_multiple_of(CHUNK_SIZE_MIN)
        {
            return Err(BadPolicy::ChunkSize(u64::from(size)));
        }
        self.parity.validate()
    }

    /// The policy that a file gets in a cluster of `nodes` members: `xor`
    /// alone becomes `xor:4`, or fewer data chunks where there are fewer
    /// than five nodes. Everything else stays as it was asked for.
    ///
    /// # Errors
    /// [`BadPolicy`] as from [`Self::validate`].
    pub fn resolve(&self, nodes: usize) -> Result<Policy, BadPolicy> {
        self.validate()?;
        let fit = u8::try_from(nodes.saturating_sub(1)).unwrap_or(u8::MAX);
        let coding = match self.parity {
            ParitySpec::None => Coding { code: Code::None, data: 1, parity: 0 },
            ParitySpec::XorAuto => {
                Coding { code: Code::Xor, data: fit.clamp(1, XOR_DATA_DEFAULT), parity: 1 }
            }
            ParitySpec::Xor { data } => Coding { code: Code::Xor, data, parity: 1 },
            ParitySpec::ReedSolomon { data, parity } => {
                Coding { code: Code::ReedSolomon, data, parity }
            }
        };
        Ok(Policy {
            replication: self.replication,
            coding,
            compression: self.compression,
            chunk_size: self.chunk_size,
        })
    }
}

impl Policy {
    /// How many nodes a complete stripe must be able to lose, any of them:
    /// as many as its replication alone or its parity alone survives.
    ///
    /// With every copy on a node of its own it survives more, R + M - 1; the
    /// promise is kept to what still holds when data and parity share nodes,
    /// as they do in a small cluster.
    #[must_use]
    pub fn promised_losses(&self) -> u8 {
        self.replication.saturating_sub(1).max(self.coding.parity)
    }

    /// Copies that the policy names for chunk `slot` (data, then parity) of
    /// a stripe of `shape`.
    #[must_use]
    pub fn copies_of(&self, shape: StripeShape, slot: usize) -> usize {
        if slot < usize::from(shape.data) { usize::from(self.replication) } else { 1 }
    }

    /// Copies that the policy names and that `copies`, a list of nodes for
    /// each chunk of a stripe of `shape`, does not have.
    #[must_use]
    pub fn copies_missing<C: AsRef<[NodeIndex]>>(&self, shape: StripeShape, copies: &[C]) -> u64 {
        let missing = |(slot, nodes): (usize, &C)| {
            self.copies_of(shape, slot).saturating_sub(nodes.as_ref().len()) as u64
        };
        copies.iter().enumerate().map(missing).sum()
    }

    /// The shape of a stripe of this policy that holds all its data chunks.
    #[must_use]
    pub fn full_shape(&self) -> StripeShape {
        StripeShape { coding: self.coding, data: self.coding.data }
    }
}

/// The shape of one stripe.
///
/// A stripe may hold fewer data chunks than its code is wide (the last of a
/// file); the missing ones count as zeros and take no space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StripeShape {
    /// The code.
    pub coding: Coding,
    /// Data chunks present, 1 to `coding.data`.
    pub data: u8,
}

impl StripeShape {
    /// Chunks present: data and parity.
    #[must_use]
    pub fn chunks(&self) -> usize {
        usize::from(self.data) + usize::from(self.coding.parity)
    }
}
