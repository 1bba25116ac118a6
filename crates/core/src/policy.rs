//! What a file is worth: how often it is copied, how it is coded, how it is cut.

use serde::{Deserialize, Serialize};

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
