//! The verbs that rehearse failures in simulation.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};
use dfs_core::policy::{Compression, ParitySpec};
use dfs_simulation::scenario::FaultKind;

use super::AnswerArgs;
use super::value::{parse_duration, whole};

const SIM_EXAMPLES: &str = "\
The same coordinator, nodes and client as everywhere, in a world of virtual time:
memory for disks, a network that loses messages, machines that die. A seed decides
everything, so every run can be repeated.

Examples:
  dfs-sim sim list
  dfs-sim sim run node-loss
  dfs-sim sim show node-loss > mine.toml
  dfs-sim sim run ./mine.toml --seed 7 --nodes 8 --policy 'R=1 rs:4+2'
  dfs-sim sim run mixed --hours 24 --faults kill,bit-rot,isolate
  dfs-sim sim seeds 1..1000";

const RUN_EXAMPLES: &str = "\
Examples:
  dfs-sim sim run rack-loss
  dfs-sim sim run ./mine.toml --seed 7
  dfs-sim sim run swarm --seed 4711 --trace ./trace.txt
  dfs-sim sim run mixed --hours 24 --faults kill,bit-rot --nodes 12 --policy 'R=2 xor:4'
  dfs-sim sim run node-loss --policy 'R=1' --beyond-tolerance

Exit codes: 0 what struck was survived, 8 something that must never be was found, 11 files
are lost beyond what the policy survives";

const SEEDS_EXAMPLES: &str = "\
Each seed draws a cluster, a policy, what clients do and what goes wrong; one in ten
goes beyond what its policy survives. A seed that fails is shrunk to a small scenario.

Examples:
  dfs-sim sim seeds 1..1000
  dfs-sim sim seeds 4711
  dfs-sim sim seeds 1..100 --json

Exit codes: 0 all that must hold held (files lost beyond a policy are counted), 8 something
that must never be was found";

/// `dfs-sim sim`.
#[derive(Debug, Args)]
#[command(after_help = SIM_EXAMPLES, arg_required_else_help = true)]
pub(crate) struct SimArgs {
    #[command(subcommand)]
    pub(crate) verb: SimVerb,
}

/// The verbs of `dfs-sim sim`.
#[derive(Debug, Subcommand)]
pub(crate) enum SimVerb {
    /// Run one scenario and tell what happens
    Run(SimRunArgs),
    /// Run many scenarios, each drawn from a seed
    Seeds(SimSeedsArgs),
    /// List the built-in scenarios
    List(AnswerArgs),
    /// Print a built-in scenario, to copy and change
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        answer: AnswerArgs,
    },
}

/// `dfs-sim sim run`.
#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub(crate) struct SimRunArgs {
    /// A scenario file, the name of a built-in one, or `swarm` for what the seed draws
    #[arg(value_name = "SCENARIO", default_value = "mixed")]
    pub(crate) scenario: String,
    /// Where all chance comes from
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u64>(0..=u64::MAX))]
    pub(crate) seed: u64,
    /// How long clients work and faults strike, in hours of virtual time
    #[arg(long, value_name = "H", value_parser = whole::<u32>(1..=744))]
    pub(crate) hours: Option<u32>,
    /// The same with a unit, such as 90s or 30m
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "hours")]
    pub(crate) lasts: Option<Duration>,
    /// Nodes of the cluster
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1..=500))]
    pub(crate) nodes: Option<u16>,
    /// Copies, parity and compression: 'R=2 xor:4 lz4', in any order, each if wanted
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: Option<PolicyWords>,
    /// Kinds of fault, drawn over the whole time in place of the scenario's own; or none
    #[arg(long, value_name = "KIND,…", value_delimiter = ',', value_parser = parse_fault)]
    pub(crate) faults: Option<Vec<FaultName>>,
    /// Let faults strike that destroy more than the policy survives: then files may be lost
    #[arg(long)]
    pub(crate) beyond_tolerance: bool,
    /// Write every event to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
}

/// `dfs-sim sim seeds`.
#[derive(Debug, Args)]
#[command(after_help = SEEDS_EXAMPLES)]
pub(crate) struct SimSeedsArgs {
    /// The seeds, both ends included: 1..1000, or one
    #[arg(value_name = "FROM..TO", default_value = "1..1000", value_parser = parse_seeds)]
    pub(crate) seeds: RangeInclusive<u64>,
    /// Worlds at once (default: one for each core)
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1..=256))]
    pub(crate) threads: Option<u16>,
    /// Print each seed and the digest of its trace, one a line: two runs must print the same
    #[arg(long, conflicts_with = "json")]
    pub(crate) digests: bool,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
}

/// A kind of fault, or that there shall be none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultName {
    None,
    Kind(FaultKind),
}

/// What a policy shall be otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PolicyWords {
    pub(crate) replication: Option<u8>,
    pub(crate) parity: Option<ParitySpec>,
    pub(crate) compression: Option<Compression>,
}

impl FromStr for PolicyWords {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = Self::default();
        let parts = text.split([' ', ',']).filter(|word| !word.is_empty());
        for word in parts {
            if let Some(copies) = word.strip_prefix("R=").or_else(|| word.strip_prefix("r=")) {
                let copies = copies.parse().map_err(|_| format!("{word:?}: write R=1 to R=32"))?;
                words.replication = Some(copies);
            } else if word == "lz4" {
                words.compression = Some(Compression::Lz4);
            } else {
                let parity = word.parse().map_err(|error| {
                    format!("{word:?} is neither R=N, a parity nor lz4: {error}")
                })?;
                words.parity = Some(parity);
            }
        }
        Ok(words)
    }
}

fn parse_fault(text: &str) -> Result<FaultName, String> {
    if text == "none" {
        return Ok(FaultName::None);
    }
    let kind = FaultKind::ALL.into_iter().find(|kind| kind.name() == text);
    kind.map(FaultName::Kind).ok_or_else(|| {
        let names: Vec<&str> = FaultKind::ALL.iter().map(|kind| kind.name()).collect();
        format!("{text:?} is no kind of fault; there are {}", names.join(", "))
    })
}

fn parse_seeds(text: &str) -> Result<RangeInclusive<u64>, String> {
    let refusal = || format!("{text:?} are no seeds: write FROM..TO (both included), or one");
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| refusal());
    let (from, to) = match text.split_once("..") {
        Some((from, to)) => (number(from)?, number(to.trim_start_matches('='))?),
        None => (number(text)?, number(text)?),
    };
    if from > to {
        return Err(format!("the seeds {text} end before they begin"));
    }
    Ok(from..=to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_one_or_a_range() {
        assert_eq!(parse_seeds("1..1000"), Ok(1..=1000));
        assert_eq!(parse_seeds("7"), Ok(7..=7));
        for text in ["", "1..", "a", "9..3", "-1"] {
            assert!(parse_seeds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_policy_is_a_few_words() {
        let words: PolicyWords = "R=3 rs:4+2".parse().expect("a policy");
        assert_eq!(words.replication, Some(3));
        assert_eq!(words.parity, Some(ParitySpec::ReedSolomon { data: 4, parity: 2 }));
        assert_eq!("".parse(), Ok(PolicyWords::default()));
        assert!("R=x".parse::<PolicyWords>().is_err());
        assert!("zip".parse::<PolicyWords>().is_err());
    }
}
