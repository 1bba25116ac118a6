//! The verbs that work on files.

use std::path::PathBuf;

use clap::Args;
use dfs_core::policy::{Compression, ParitySpec};
use dfs_core::units::ByteSize;

use super::value::{ByteRange, parse_pattern, whole};
use super::{AnswerArgs, ClusterArgs};

const PUT_EXAMPLES: &str = "\
Examples:
  dfs-sim put ./large.iso --name iso/ubuntu.iso
  dfs-sim put ./a.bin ./b.bin --name backup/
  tar c ./src | dfs-sim put - --name backup/src.tar
  dfs-sim put --recursive ./photos --name 2026/photos
  dfs-sim put --recursive ./photos --name 2026/photos --update   only what is new
  dfs-sim put --recursive ./src --exclude target --exclude '*.o'
  dfs-sim put ./precious.db --parity rs:4+2 --force";

/// `dfs-sim put`.
#[derive(Debug, Args)]
#[command(after_help = PUT_EXAMPLES)]
pub(crate) struct PutArgs {
    /// What to store; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) sources: Vec<PathBuf>,
    /// Under which name; with a / at its end, in which folder (default: the file's own name)
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Store folders with all that is in them
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Replace a file of that name, at once and whole, when all is stored
    #[arg(short, long, conflicts_with = "if_absent")]
    pub(crate) force: bool,
    /// Fail when the name exists (the default)
    #[arg(long)]
    pub(crate) if_absent: bool,
    /// Pass over files that are stored already (same size, not changed since they were stored);
    /// replace those that differ. Goes on with a transfer that was interrupted
    #[arg(short, long, conflicts_with = "if_absent")]
    pub(crate) update: bool,
    #[command(flatten)]
    pub(crate) choice: ChoiceArgs,
    /// Refuse to store with fewer copies than the policy names
    #[arg(long)]
    pub(crate) strict: bool,
    /// Take a placement that cannot keep the policy's promise
    #[arg(long)]
    pub(crate) allow_unsafe: bool,
    /// With --force: let an empty standard input or pipe replace a file
    #[arg(long)]
    pub(crate) allow_empty: bool,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    /// Files in flight at once
    #[arg(short, long, value_name = "N", default_value_t = 4,
          value_parser = whole::<u8>(1..=64))]
    pub(crate) jobs: u8,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
}

/// Which files of a folder, and how two of them are compared.
#[derive(Debug, Clone, Args)]
pub(crate) struct ChoiceArgs {
    /// With --update: compare the SHA-256 of every byte instead of times
    #[arg(long, requires = "update")]
    pub(crate) checksum: bool,
    /// With --recursive: only files that match; may be given several times
    #[arg(long, value_name = "PATTERN", requires = "recursive", value_parser = parse_pattern)]
    pub(crate) include: Vec<glob::Pattern>,
    /// With --recursive: no files or folders that match; * stays within a name, **/ is any folders
    #[arg(long, value_name = "PATTERN", requires = "recursive", value_parser = parse_pattern)]
    pub(crate) exclude: Vec<glob::Pattern>,
}

/// What one `put` wants otherwise than its cluster.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct PolicyArgs {
    /// Copies of each chunk (default: as the cluster)
    #[arg(long, value_name = "R", value_parser = whole::<u8>(1..=255))]
    pub(crate) replication: Option<u8>,
    /// none, xor, xor:K or rs:K+M (default: as the cluster)
    #[arg(long, value_name = "CODE")]
    pub(crate) parity: Option<ParitySpec>,
    /// lz4 or none (default: as the cluster)
    #[arg(long, value_name = "CODEC")]
    pub(crate) compression: Option<Compression>,
    /// The largest chunk, e.g. 64MiB (default: as the cluster)
    #[arg(long, value_name = "SIZE")]
    pub(crate) chunk_size: Option<ByteSize>,
}

const GET_EXAMPLES: &str = "\
Examples:
  dfs-sim get iso/ubuntu.iso --out ./restore.iso
  dfs-sim get backup/src.tar --out - | tar t
  dfs-sim get iso/ubuntu.iso --range 0-511 --out ./boot-sector
  dfs-sim get --recursive 2026/photos --out ./photos
  dfs-sim get --recursive 2026/photos --out ./photos --update   only what is new";

/// `dfs-sim get`.
#[derive(Debug, Args)]
#[command(after_help = GET_EXAMPLES)]
pub(crate) struct GetArgs {
    /// The file, or with --recursive the folder
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The same as --out
    #[arg(value_name = "OUT", conflicts_with = "out")]
    pub(crate) place: Option<PathBuf>,
    /// Where to write it; - is standard output (default: the last part of its name)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Only these bytes, both ends included: FIRST-LAST or FIRST-
    #[arg(long, value_name = "RANGE", conflicts_with = "recursive")]
    pub(crate) range: Option<ByteRange>,
    /// Replace a file that exists
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Pass over files that are there already (same size, written after they were stored);
    /// replace those that differ. Goes on with a transfer that was interrupted
    #[arg(short, long, conflicts_with = "range")]
    pub(crate) update: bool,
    #[command(flatten)]
    pub(crate) choice: ChoiceArgs,
    /// Fetch all that lies under NAME into the folder --out
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Files in flight at once
    #[arg(short, long, value_name = "N", default_value_t = 4,
          value_parser = whole::<u8>(1..=64))]
    pub(crate) jobs: u8,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
}

/// `dfs-sim cat`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dfs-sim cat logs/today.txt | tail -n 3")]
pub(crate) struct CatArgs {
    /// The file
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Only these bytes, both ends included: FIRST-LAST or FIRST-
    #[arg(long, value_name = "RANGE")]
    pub(crate) range: Option<ByteRange>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Tell about the file in JSON, on standard error: its bytes are the answer
    #[arg(long)]
    pub(crate) json: bool,
}

/// `dfs-sim ls`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  dfs-sim ls\n  dfs-sim ls -l iso\n  dfs-sim ls --recursive",
    disable_help_flag = true
)]
pub(crate) struct LsArgs {
    /// Folders or files (default: everything)
    #[arg(value_name = "PATH", default_value = "")]
    pub(crate) paths: Vec<String>,
    /// Sizes for people; they always are
    #[arg(short = 'h', hide = true)]
    pub(crate) human: bool,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    pub(crate) help: Option<bool>,
    /// With size, policy, spares and time
    #[arg(short, long)]
    pub(crate) long: bool,
    /// All files below, by their whole names
    #[arg(short, long)]
    pub(crate) recursive: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
}

/// `dfs-sim stat`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dfs-sim stat iso/ubuntu.iso --chunks")]
pub(crate) struct StatArgs {
    /// The file
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Every chunk: handle, hash, lengths, stripe, and where each copy is
    #[arg(long)]
    pub(crate) chunks: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
}

/// `dfs-sim rm`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  dfs-sim rm iso/ubuntu.iso\n  dfs-sim rm -r iso        \
                        what would go\n  dfs-sim rm -r iso --yes  remove it")]
pub(crate) struct RmArgs {
    /// Files, or with --recursive folders
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Remove all that lies under NAME; only says what it would do without --yes
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Really remove
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// A name that is not there is no failure
    #[arg(short, long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
}

/// `dfs-sim mv`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dfs-sim mv iso/ubuntu.iso iso/old.iso")]
pub(crate) struct MvArgs {
    /// The file
    #[arg(value_name = "FROM")]
    pub(crate) from: String,
    /// Its new name; with a / at its end, the folder to move it into
    #[arg(value_name = "TO")]
    pub(crate) to: String,
    /// Replace a file of the new name
    #[arg(short, long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
}

/// `dfs-sim du`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  dfs-sim du\n  dfs-sim du iso backup")]
pub(crate) struct DuArgs {
    /// Folders or files (default: everything)
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
}
