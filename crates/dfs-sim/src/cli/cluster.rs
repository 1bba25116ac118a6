//! The verbs that run a cluster or look at one.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use dfs_core::env::Durability;
use dfs_core::policy::{Compression, ParitySpec, PlacementStrategy};
use dfs_core::units::ByteSize;

use super::value::{parse_durability, parse_duration, whole};
use super::{AnswerArgs, ClusterArgs, HandleRange};

const NODE_EXAMPLES: &str = "\
Examples:
  dfs-sim node --id n1 --listen 127.0.0.1:4001
  dfs-sim node --id n4 --listen 127.0.0.1:4004 --join 127.0.0.1:4000
  dfs-sim node --id n5 --listen 0.0.0.0:4001 --advertise 10.0.0.5:4001 --zone rack-2
  dfs-sim node ls

There is no --json: a node serves until it is stopped. `node ls --json` tells of nodes.";

/// `dfs-sim node`.
#[derive(Debug, Args)]
#[command(
    after_help = NODE_EXAMPLES,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
pub(crate) struct NodeArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<NodeVerb>,
    #[command(flatten)]
    pub(crate) serve: NodeServeArgs,
}

/// What else can be done with nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeVerb {
    /// List the nodes of the cluster
    Ls(NodeLsArgs),
}

/// `dfs-sim node ls`.
#[derive(Debug, Args)]
pub(crate) struct NodeLsArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
}

/// `dfs-sim node --id …`: serve.
#[derive(Debug, Args)]
pub(crate) struct NodeServeArgs {
    /// Its name in the cluster (needed)
    #[arg(long, value_name = "ID", env = "DFS_SIM_ID")]
    pub(crate) id: Option<String>,
    /// Where to listen; port 0 takes a free one (default: 127.0.0.1:4001)
    #[arg(long, value_name = "HOST:PORT", env = "DFS_SIM_LISTEN")]
    pub(crate) listen: Option<String>,
    /// Where others reach it, when that is not where it listens
    #[arg(long, value_name = "HOST:PORT", env = "DFS_SIM_ADVERTISE")]
    pub(crate) advertise: Option<String>,
    /// Its data folder (default: ./dfs-data/ID)
    #[arg(long, value_name = "DIR", env = "DFS_SIM_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Join the running cluster of this coordinator
    #[arg(long, value_name = "HOST:PORT", env = "DFS_SIM_JOIN")]
    pub(crate) join: Option<String>,
    /// Its failure domain, such as a rack
    #[arg(long, value_name = "ZONE", env = "DFS_SIM_ZONE")]
    pub(crate) zone: Option<String>,
    /// The most it may store, e.g. 100GiB (default: the volume)
    #[arg(long, value_name = "SIZE", env = "DFS_SIM_CAPACITY")]
    pub(crate) capacity: Option<ByteSize>,
    /// strict: acknowledged means fsynced; relaxed: a power cut may lose it (default: strict)
    #[arg(long, value_name = "HOW", env = "DFS_SIM_DURABILITY", value_parser = parse_durability)]
    pub(crate) durability: Option<Durability>,
    /// An earlier folder under this id is gone for good; this one takes its place
    #[arg(long)]
    pub(crate) replace: bool,
    /// End when standard input ends: whoever started it is gone
    #[arg(long, hide = true)]
    pub(crate) until_stdin_ends: bool,
}

const COORD_EXAMPLES: &str = "\
Examples:
  dfs-sim coord --nodes 127.0.0.1:4001,127.0.0.1:4002,127.0.0.1:4003 \\
                --replication 2 --parity xor
  dfs-sim coord --parity rs:4+2 --chunk-size 16MiB     (nodes come with --join)

There is no --json: a coordinator serves until it is stopped. `status --json` tells of it.";

/// `dfs-sim coord`.
#[derive(Debug, Args)]
#[command(after_help = COORD_EXAMPLES)]
pub(crate) struct CoordArgs {
    /// Where its nodes listen
    #[arg(long, value_name = "HOST:PORT,…", value_delimiter = ',', env = "DFS_SIM_NODES")]
    pub(crate) nodes: Option<Vec<String>>,
    /// Members that are gone for good: they do not count for the majority that changes need
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    pub(crate) without: Vec<String>,
    /// Lead although nodes know a newer catalog than this one: that one is lost
    #[arg(long)]
    pub(crate) accept_older_catalog: bool,
    /// Raise the catalog to this build's format, say so, and end
    #[arg(long)]
    pub(crate) upgrade_only: bool,
    #[command(flatten)]
    pub(crate) policy: ClusterPolicyArgs,
    /// Where to listen; port 0 takes a free one (default: 127.0.0.1:4000)
    #[arg(long, value_name = "HOST:PORT", env = "DFS_SIM_LISTEN")]
    pub(crate) listen: Option<String>,
    /// Where nodes reach it, when that is not where it listens
    #[arg(long, value_name = "HOST:PORT", env = "DFS_SIM_ADVERTISE")]
    pub(crate) advertise: Option<String>,
    /// Its data folder (default: ./dfs-data/coord)
    #[arg(long, value_name = "DIR", env = "DFS_SIM_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// End when standard input ends: whoever started it is gone
    #[arg(long, hide = true)]
    pub(crate) until_stdin_ends: bool,
}

/// What files get that ask for nothing else, and how the cluster is kept.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterPolicyArgs {
    /// Copies of each chunk (default: 2 without parity, else 1)
    #[arg(long, value_name = "R", env = "DFS_SIM_REPLICATION", value_parser = whole::<u8>(1..=255))]
    pub(crate) replication: Option<u8>,
    /// none, xor, xor:K or rs:K+M (default: none)
    #[arg(long, value_name = "CODE", env = "DFS_SIM_PARITY")]
    pub(crate) parity: Option<ParitySpec>,
    /// lz4 or none (default: lz4)
    #[arg(long, value_name = "CODEC", env = "DFS_SIM_COMPRESSION")]
    pub(crate) compression: Option<Compression>,
    /// The largest chunk, 64KiB to 1GiB (default: 64MiB)
    #[arg(long, value_name = "SIZE", env = "DFS_SIM_CHUNK_SIZE")]
    pub(crate) chunk_size: Option<ByteSize>,
    /// round-robin or ring (default: round-robin)
    #[arg(long, value_name = "HOW", env = "DFS_SIM_PLACEMENT")]
    pub(crate) placement: Option<PlacementStrategy>,
    /// How long a node is offline before its copies are made anew elsewhere (default: 60s)
    #[arg(long, value_name = "TIME", env = "DFS_SIM_REPAIR_AFTER", value_parser = parse_duration)]
    pub(crate) repair_after: Option<Duration>,
    /// How long deleted chunks stay on disk (default: 5m)
    #[arg(long, value_name = "TIME", env = "DFS_SIM_DELETE_GRACE", value_parser = parse_duration)]
    pub(crate) delete_grace: Option<Duration>,
    /// strict: acknowledged means fsynced; relaxed: a power cut may lose it (default: strict)
    #[arg(long, value_name = "HOW", env = "DFS_SIM_DURABILITY", value_parser = parse_durability)]
    pub(crate) durability: Option<Durability>,
    /// Take a policy whose promise the nodes cannot keep
    #[arg(long)]
    pub(crate) allow_unsafe: bool,
}

/// `dfs-sim status`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  dfs-sim status\n  dfs-sim status --exit-code   \
                        0 all well, 3 not known yet, 10 degraded, 11 data at risk or lost")]
pub(crate) struct StatusArgs {
    /// Exit with 3 when not known yet, 10 when degraded, 11 when data is at risk or lost
    #[arg(long)]
    pub(crate) exit_code: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
}

/// `dfs-sim fsck`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  dfs-sim fsck --list-unknown\n  dfs-sim fsck --release-kept \
                        65537..1099511693313")]
#[group(id = "what", required = true, multiple = false, args = ["list_unknown", "release_kept"])]
pub(crate) struct FsckArgs {
    /// List the chunks on nodes that the catalog does not know, with the names in their headers
    #[arg(long)]
    pub(crate) list_unknown: bool,
    /// Let go of a kept range of handles: its chunks that no file needs are then deleted
    #[arg(long, value_name = "FIRST..END")]
    pub(crate) release_kept: Option<HandleRange>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
}

/// `dfs-sim catalog`.
#[derive(Debug, Args)]
pub(crate) struct CatalogArgs {
    #[command(subcommand)]
    pub(crate) verb: CatalogVerb,
}

/// What can be done with the catalog.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum CatalogVerb {
    /// Write the catalog that a running coordinator has in memory to another folder
    Rescue(RescueArgs),
}

const RESCUE_EXAMPLES: &str = "\
When the coordinator's data folder was removed, moved away or unmounted while it
runs, its catalog is in memory only. This writes it to another folder, as a new
data folder. Then stop the coordinator and start it there.

Examples:
  dfs-sim catalog rescue /srv/dfs/coord-rescued
  dfs-sim coord --data /srv/dfs/coord-rescued";

/// `dfs-sim catalog rescue`.
#[derive(Debug, Args)]
#[command(after_help = RESCUE_EXAMPLES)]
pub(crate) struct RescueArgs {
    /// A new or empty folder on the coordinator's machine, by its whole path
    pub(crate) folder: String,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
}

/// `dfs-sim demo`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  dfs-sim demo\n  dfs-sim demo --file ./large.iso --nodes 6")]
pub(crate) struct DemoArgs {
    /// The file to store (default: 256 MiB that are made for it)
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Nodes to start
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = whole::<u8>(4..=32))]
    pub(crate) nodes: u8,
    /// Keep the cluster's data, and say how to go on
    #[arg(long)]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
}

const UP_EXAMPLES: &str = "\
Examples:
  dfs-sim up --nodes 5
  dfs-sim up --nodes 6 --parity rs:4+2 --data ~/store

There is no --json: it serves until it is stopped. `status --json` tells of it.";

/// `dfs-sim up`.
#[derive(Debug, Args)]
#[command(after_help = UP_EXAMPLES)]
pub(crate) struct UpArgs {
    /// Nodes to run (default: 3, or as many as DIR has)
    #[arg(long, value_name = "N", value_parser = whole::<u8>(1..=64))]
    pub(crate) nodes: Option<u8>,
    /// Where all data lies (default: ./dfs-data)
    #[arg(long, value_name = "DIR", env = "DFS_SIM_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// The folder of this node is gone for good: a new one takes its place
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub(crate) replace: Vec<String>,
    /// The coordinator's port, the nodes take those that follow; 0 takes free ones
    #[arg(long, value_name = "PORT", default_value_t = 4000, value_parser = whole::<u16>(0..=65535))]
    pub(crate) port: u16,
    #[command(flatten)]
    pub(crate) policy: ClusterPolicyArgs,
    /// End when standard input ends: whoever started it is gone
    #[arg(long, hide = true)]
    pub(crate) until_stdin_ends: bool,
}
