//! The limit of a put or a get: what its parts cost by themselves.
//!
//! A part counts once for each byte that has to go through it, whoever does
//! it; what the store does beyond that is its own.

use dfs_core::policy::{Code, Policy};

use super::result::Limits;

/// What a file came to on the nodes, by its own bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    /// Stored bytes of its data chunks, once each.
    pub(super) stored: f64,
    /// Stored bytes of all copies and of parity.
    pub(super) raw: f64,
    /// Stored bytes of parity.
    pub(super) parity: f64,
}

/// What is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Data {
    /// Does not compress.
    Random,
    /// Compresses well.
    Text,
}

impl Data {
    /// One word.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Text => "text",
        }
    }
}

/// CPU-seconds that a put needs for each GB of the file: to read it, to hash
/// it and its parity, to compress it, to sum each stored frame once as it is
/// made and once on each node, to code parity, and to send and write all.
pub(super) fn put(limits: &Limits, policy: &Policy, data: Data, shares: Shares) -> f64 {
    let compress = match data {
        Data::Random => limits.cpu("lz4-random") + limits.cpu("copy"),
        Data::Text => limits.cpu("lz4-text"),
    };
    let encode = match (policy.coding.code, policy.coding.parity) {
        (Code::None, _) => 0.0,
        (Code::Xor, _) => limits.cpu("xor-encode"),
        (Code::ReedSolomon, 3) => limits.cpu("rs-6-3-encode"),
        (Code::ReedSolomon, _) => limits.cpu("rs-4-2-encode"),
    };
    limits.cpu("read")
        + limits.cpu("sha256") * (1.0 + shares.parity)
        + compress
        + encode * shares.stored
        + limits.cpu("crc32c") * (shares.stored + shares.parity + shares.raw)
        + (limits.cpu("send") + limits.cpu("disk-write")) * shares.raw
}

/// CPU-seconds that a get needs for each GB of the file: to read each stored
/// frame once, to sum it on the node and at the reader, to send it, to
/// decompress it, and to hash it.
pub(super) fn get(limits: &Limits, data: Data, shares: Shares) -> f64 {
    let decompress = match data {
        Data::Random => limits.cpu("copy"),
        Data::Text => limits.cpu("lz4-open"),
    };
    (limits.cpu("disk-read") + limits.cpu("receive") + 2.0 * limits.cpu("crc32c")) * shares.stored
        + decompress
        + limits.cpu("sha256")
}

/// Seconds that a GB of the file takes at least: all cores at work all the
/// time, or the disk, whichever is more.
pub(super) fn seconds(limits: &Limits, cores: usize, cpu: f64, disk: &str, share: f64) -> f64 {
    let device = limits.part(disk).map_or(0.0, |part| share / part.gb_per_second);
    (cpu / cores as f64).max(device)
}

#[cfg(test)]
mod tests {
    use dfs_core::policy::{Coding, Compression};

    use super::super::result::{Limit, Percentiles};
    use super::*;

    /// Each part costs a power of two, so that a sum tells what went into it.
    fn limits() -> Limits {
        let names = [
            "read",
            "sha256",
            "lz4-random",
            "copy",
            "lz4-text",
            "xor-encode",
            "crc32c",
            "send",
            "disk-write",
            "disk-read",
            "receive",
            "lz4-open",
        ];
        let part = |(exponent, name): (i32, &&'static str)| Limit {
            name,
            what: "",
            gb_per_second: 2.0,
            cpu_seconds_per_gb: 2f64.powi(exponent),
        };
        let parts = (0..).zip(&names).map(part).collect();
        Limits { parts, syncs_per_second: 1.0, sync_ms: Percentiles::default() }
    }

    fn policy(coding: Coding) -> Policy {
        Policy { replication: 2, coding, compression: Compression::Lz4, chunk_size: 1 << 26 }
    }

    #[test]
    fn a_put_needs_each_part_as_often_as_it_says() {
        let none = policy(Coding { code: Code::None, data: 1, parity: 0 });
        let shares = Shares { stored: 1.0, raw: 2.0, parity: 0.0 };
        let expected = 1.0 + 2.0 + (4.0 + 8.0) + 3.0 * 64.0 + 2.0 * (128.0 + 256.0);
        assert_eq!(put(&limits(), &none, Data::Random, shares), expected);
        let xor = policy(Coding { code: Code::Xor, data: 4, parity: 1 });
        let shares = Shares { stored: 0.5, raw: 0.75, parity: 0.25 };
        let expected = 1.0 + 2.5 + 16.0 + 16.0 + 1.5 * 64.0 + 0.75 * (128.0 + 256.0);
        assert_eq!(put(&limits(), &xor, Data::Text, shares), expected);
    }

    #[test]
    fn a_get_needs_one_copy() {
        let shares = Shares { stored: 0.5, raw: 2.0, parity: 1.0 };
        let expected = 0.5 * (512.0 + 1024.0 + 128.0) + 2048.0 + 2.0;
        assert_eq!(get(&limits(), Data::Text, shares), expected);
    }

    #[test]
    fn time_is_that_of_the_scarcer() {
        assert_eq!(seconds(&limits(), 2, 1.0, "disk-write", 3.0), 1.5);
        assert_eq!(seconds(&limits(), 2, 8.0, "disk-write", 3.0), 4.0);
    }
}
