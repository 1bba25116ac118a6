//! The verb that measures.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::value::whole;
use super::{AnswerArgs, ByteSize};

const EXAMPLES: &str = "\
First this machine's limits: what copying, hashing, compressing, coding, sending
and syncing cost by themselves. Then the store on it, and for each figure its
ratio to the limit that those parts allow. Files of its own are stored under
dfs-sim-bench-…/ and removed; where it is stopped midway they stay, on a cluster
that is not its own. No other file is touched.

Examples:
  dfs-sim bench
  dfs-sim bench --html ./bench.html --json > bench.json
  dfs-sim bench --only limits,large --size 4G --data /mnt/disk
  dfs-sim bench --only catalog --files 100000 --chunks 100
  dfs-sim bench --coord 10.0.0.1:4000 --only large,small";

/// `dfs-sim bench`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    /// Measure this cluster (default: one of its own, of processes on this machine)
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) coord: Option<String>,
    /// Bytes of each large file
    #[arg(long, value_name = "SIZE", default_value = "1G")]
    pub(crate) size: ByteSize,
    /// Files of the catalog as it grows
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000,
          value_parser = whole::<u64>(0..=u64::MAX))]
    pub(crate) files: u64,
    /// Chunks of each of them
    #[arg(long, value_name = "COUNT", default_value_t = 1,
          value_parser = whole::<u64>(0..=u64::MAX))]
    pub(crate) chunks: u64,
    /// Measure only these parts
    #[arg(long, value_name = "PARTS", value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<BenchPart>,
    /// Where files and the cluster's data lie meanwhile (default: among the temporary files)
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Write a page with plots, which opens without a network
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
}

/// A part of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchPart {
    /// What this machine can do
    Limits,
    /// Large files under six policies
    Large,
    /// Many files of 4 KiB and of 1 MiB, and listing them
    Small,
    /// Reading with a node gone, and its repair
    Failure,
    /// The catalog as it grows, to a million files unless told otherwise
    Catalog,
}
