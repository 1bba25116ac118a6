//! Policies as people write them: `none`, `xor`, `xor:4`, `rs:4+2`, `lz4`,
//! `round-robin`, and `R=2 xor:4 lz4` for the whole.

use std::fmt;
use std::str::FromStr;

use super::{
    Code, Coding, Compression, ParitySpec, PlacementStrategy, Policy, PolicySpec, STRIPE_WIDTH_MAX,
};

/// Why a policy is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPolicy {
    /// The copies are out of bounds.
    #[error("replication must be 1 to 32, not {0}")]
    Replication(u64),
    /// The chunk size is out of bounds.
    #[error("the chunk size must be a multiple of 64 KiB from 64 KiB to 1 GiB, not {0} bytes")]
    ChunkSize(u64),
    /// The parity is none of those that there are.
    #[error("parity {0:?} is not known: use none, xor, xor:K or rs:K+M, such as xor:4 or rs:4+2")]
    Parity(String),
    /// K or M of a code is 0.
    #[error("parity {0} has no {1} chunk: K and M are at least 1, as in xor:4 or rs:4+2")]
    NoChunks(ParitySpec, &'static str),
    /// A stripe would be too wide.
    #[error(
        "parity {0} makes stripes of {1} chunks, the most are 32: \
         choose a smaller K or M"
    )]
    TooWide(ParitySpec, u16),
    /// The compression is none of those that there are.
    #[error("compression {0:?} is not known: use lz4 or none")]
    Compression(String),
    /// The placement is none of those that there are.
    #[error("placement {0:?} is not known: use round-robin or ring")]
    Placement(String),
}

impl ParitySpec {
    pub(super) fn validate(self) -> Result<(), BadPolicy> {
        let (data, parity) = match self {
            Self::None | Self::XorAuto => return Ok(()),
            Self::Xor { data } => (data, 1),
            Self::ReedSolomon { data, parity } => (data, parity),
        };
        let width = u16::from(data) + u16::from(parity);
        if data == 0 {
            Err(BadPolicy::NoChunks(self, "data"))
        } else if parity == 0 {
            Err(BadPolicy::NoChunks(self, "parity"))
        } else if width > u16::from(STRIPE_WIDTH_MAX) {
            Err(BadPolicy::TooWide(self, width))
        } else {
            Ok(())
        }
    }
}

impl FromStr for ParitySpec {
    type Err = BadPolicy;

    fn from_str(text: &str) -> Result<Self, BadPolicy> {
        let unknown = || BadPolicy::Parity(text.to_owned());
        let spec = match text {
            "none" => Self::None,
            "xor" => Self::XorAuto,
            _ => {
                if let Some(data) = text.strip_prefix("xor:") {
                    Self::Xor { data: number(data).ok_or_else(unknown)? }
                } else {
                    let (data, parity) = text
                        .strip_prefix("rs:")
                        .and_then(|rest| rest.split_once('+'))
                        .ok_or_else(unknown)?;
                    Self::ReedSolomon {
                        data: number(data).ok_or_else(unknown)?,
                        parity: number(parity).ok_or_else(unknown)?,
                    }
                }
            }
        };
        spec.validate()?;
        Ok(spec)
    }
}

/// Digits only: `u8::from_str` would also take a sign.
fn number(text: &str) -> Option<u8> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for ParitySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::XorAuto => f.write_str("xor"),
            Self::Xor { data } => write!(f, "xor:{data}"),
            Self::ReedSolomon { data, parity } => write!(f, "rs:{data}+{parity}"),
        }
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Code::None => f.write_str("none"),
            Code::Xor => write!(f, "xor:{}", self.data),
            Code::ReedSolomon => write!(f, "rs:{}+{}", self.data, self.parity),
        }
    }
}

impl FromStr for Compression {
    type Err = BadPolicy;

    fn from_str(text: &str) -> Result<Self, BadPolicy> {
        match text {
            "lz4" => Ok(Self::Lz4),
            "none" => Ok(Self::None),
            _ => Err(BadPolicy::Compression(text.to_owned())),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lz4 => "lz4",
            Self::None => "none",
        })
    }
}

impl FromStr for PlacementStrategy {
    type Err = BadPolicy;

    fn from_str(text: &str) -> Result<Self, BadPolicy> {
        match text {
            "round-robin" => Ok(Self::RoundRobin),
            "ring" => Ok(Self::Ring),
            _ => Err(BadPolicy::Placement(text.to_owned())),
        }
    }
}

impl fmt::Display for PlacementStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoundRobin => "round-robin",
            Self::Ring => "ring",
        })
    }
}

/// Replication, parity and compression, as in `R=2 xor:4 lz4`.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        summary(f, self.replication, &self.coding, self.compression)
    }
}

/// As a [`Policy`], with `xor` where the width is still open.
impl fmt::Display for PolicySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        summary(f, self.replication, &self.parity, self.compression)
    }
}

fn summary(
    f: &mut fmt::Formatter<'_>,
    replication: u8,
    parity: &dyn fmt::Display,
    compression: Compression,
) -> fmt::Result {
    write!(f, "R={replication} {parity} ")?;
    match compression {
        Compression::Lz4 => f.write_str("lz4"),
        Compression::None => f.write_str("uncompressed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{
        CHUNK_SIZE_DEFAULT, CHUNK_SIZE_MAX, CHUNK_SIZE_MIN, PolicyOverrides, REPLICATION_MAX,
    };

    fn spec(replication: u8, parity: ParitySpec) -> PolicySpec {
        PolicySpec {
            replication,
            parity,
            compression: Compression::Lz4,
            chunk_size: CHUNK_SIZE_DEFAULT,
        }
    }

    #[test]
    fn parity_is_written_as_it_is_read() {
        for text in ["none", "xor", "xor:1", "xor:31", "rs:4+2", "rs:1+31", "rs:31+1"] {
            let parity: ParitySpec = text.parse().expect(text);
            assert_eq!(parity.to_string(), text);
        }
    }

    #[test]
    fn a_refused_parity_says_what_is_wrong_with_it() {
        let unknown = "use none, xor, xor:K or rs:K+M, such as xor:4 or rs:4+2";
        for (text, reason) in [
            ("", unknown),
            ("XOR", unknown),
            ("xor:", unknown),
            ("xor:+4", unknown),
            ("xor:300", unknown),
            ("rs", unknown),
            ("rs:4", unknown),
            ("rs:4+", unknown),
            ("rs:4+2+1", unknown),
            ("rs: 4+2", unknown),
            ("raid6", unknown),
            ("xor:0", "parity xor:0 has no data chunk"),
            ("rs:4+0", "parity rs:4+0 has no parity chunk"),
            ("rs:0+2", "parity rs:0+2 has no data chunk"),
            ("xor:32", "makes stripes of 33 chunks, the most are 32"),
            ("rs:30+3", "makes stripes of 33 chunks, the most are 32"),
            ("rs:255+255", "makes stripes of 510 chunks"),
        ] {
            let refusal = text.parse::<ParitySpec>().expect_err(text).to_string();
            assert!(refusal.contains(reason), "{text:?}: {refusal}");
        }
    }

    #[test]
    fn xor_alone_is_as_wide_as_the_cluster_lets_it_be() {
        for (nodes, text) in
            [(0, "xor:1"), (1, "xor:1"), (2, "xor:1"), (3, "xor:2"), (5, "xor:4"), (900, "xor:4")]
        {
            let policy = spec(2, ParitySpec::XorAuto).resolve(nodes).expect("valid");
            assert_eq!(policy.to_string(), format!("R=2 {text} lz4"));
        }
        let asked = spec(1, ParitySpec::Xor { data: 6 }).resolve(3).expect("valid");
        assert_eq!(asked.coding.data, 6, "an explicit width stays");
    }

    #[test]
    fn texts_name_the_bounds_that_hold() {
        assert_eq!(REPLICATION_MAX, 32);
        assert_eq!(STRIPE_WIDTH_MAX, 32);
        assert_eq!((CHUNK_SIZE_MIN, CHUNK_SIZE_MAX), (64 << 10, 1 << 30));
    }

    #[test]
    fn a_policy_out_of_bounds_is_refused() {
        let good = spec(2, ParitySpec::None);
        assert_eq!(good.validate(), Ok(()));
        for replication in [0, 33] {
            let refusal = PolicySpec { replication, ..good }.validate().expect_err("bounds");
            assert_eq!(refusal, BadPolicy::Replication(u64::from(replication)));
        }
        for chunk_size in [0, 1 << 10, (64 << 10) + 1, (1 << 30) + (64 << 10)] {
            let refusal = PolicySpec { chunk_size, ..good }.validate().expect_err("bounds");
            assert!(refusal.to_string().contains("from 64 KiB to 1 GiB"), "{refusal}");
        }
        let unchecked = spec(1, ParitySpec::ReedSolomon { data: 31, parity: 31 });
        assert!(matches!(unchecked.validate(), Err(BadPolicy::TooWide(_, 62))));
    }

    #[test]
    fn a_put_overrides_only_what_it_names() {
        let overrides = PolicyOverrides { replication: Some(3), ..PolicyOverrides::default() };
        let changed = spec(2, ParitySpec::XorAuto).with(&overrides);
        assert_eq!(changed, spec(3, ParitySpec::XorAuto));
    }

    #[test]
    fn words_for_compression_and_placement_are_those_of_the_flags() {
        for text in ["lz4", "none"] {
            assert_eq!(text.parse::<Compression>().expect(text).to_string(), text);
        }
        for text in ["round-robin", "ring"] {
            assert_eq!(text.parse::<PlacementStrategy>().expect(text).to_string(), text);
        }
        assert!("zstd".parse::<Compression>().is_err());
        assert!("random".parse::<PlacementStrategy>().is_err());
    }
}
