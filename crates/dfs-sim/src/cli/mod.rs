//! The command line: every verb, flag and example. Nothing is done here.
//!
//! A flag that the configuration may also set is an `Option`: `None` means
//! that neither the flag nor its variable was given (see `crate::settings`).

mod bench;
mod cluster;
mod file;
mod sim;
mod value;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};

pub(crate) use bench::*;
pub(crate) use cluster::*;
pub(crate) use dfs_core::units::ByteSize;
pub(crate) use file::*;
pub(crate) use sim::*;
pub(crate) use value::{ByteRange, HandleRange, parse_durability, parse_duration};

const OVERVIEW: &str = "\
A distributed file store: large immutable chunks, SHA-256 verified, LZ4
compressed, replicated and parity protected over cheap nodes.";

const EXAMPLES: &str = "\
See it work:
  dfs-sim demo

Keep a small cluster running:
  dfs-sim up --nodes 5

Three nodes, a coordinator, a file:
  dfs-sim node --id n1 --listen 127.0.0.1:4001
  dfs-sim node --id n2 --listen 127.0.0.1:4002
  dfs-sim node --id n3 --listen 127.0.0.1:4003
  dfs-sim coord --nodes 127.0.0.1:4001,127.0.0.1:4002,127.0.0.1:4003 \\
                --replication 2 --parity xor
  dfs-sim put ./large.iso --name iso/ubuntu.iso
  dfs-sim get iso/ubuntu.iso --out ./restore.iso

Exit codes:
  0 ok                      6 name exists
  1 other error             7 not supported
  2 usage                   8 integrity, or data not recoverable
  3 network, unavailable    9 too few nodes or space for the policy
  4 not authorised         10 degraded, 11 at risk (status --exit-code)
  5 not found              130, 143 ended by SIGINT, SIGTERM";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "dfs-sim",
    version,
    about = OVERVIEW,
    after_help = EXAMPLES,
    arg_required_else_help = true,
    propagate_version = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every verb takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Where the coordinator listens, for every verb that asks it
    #[arg(long = "coord", id = "coord-before", value_name = "HOST:PORT")]
    pub(crate) coord: Option<String>,
    /// How long to wait for it when it cannot be reached or does not answer
    #[arg(long = "retry-for", id = "retry-for-before", value_name = "TIME",
          value_parser = parse_duration)]
    pub(crate) retry_for: Option<Duration>,
    /// Configuration file (default: ./dfs-sim.toml, then ~/.config/dfs-sim/config.toml)
    #[arg(long, global = true, value_name = "FILE", env = "DFS_SIM_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Say more: -v what happens, -vv in detail
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Say nothing but the answer and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Show progress
    #[arg(long, global = true, value_enum, value_name = "WHEN", env = "DFS_SIM_PROGRESS")]
    pub(crate) progress: Option<ProgressWhen>,
}

/// When progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProgressWhen {
    /// A bar on a terminal, one line every 5 s elsewhere
    Auto,
    /// As `auto`, also with --quiet
    Always,
    /// No progress
    Never,
}

/// How to find the coordinator.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterArgs {
    /// Where the coordinator listens (default: 127.0.0.1:4000)
    #[arg(long, value_name = "HOST:PORT", env = "DFS_SIM_COORD")]
    pub(crate) coord: Option<String>,
    /// How long to wait for it when it cannot be reached or does not answer (default: 10s)
    #[arg(long, value_name = "TIME", env = "DFS_SIM_RETRY_FOR", value_parser = parse_duration)]
    pub(crate) retry_for: Option<Duration>,
}

/// How to answer.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct AnswerArgs {
    /// Answer in JSON: sizes in bytes, times in RFC 3339
    #[arg(long)]
    pub(crate) json: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Store files
    Put(PutArgs),
    /// Fetch a file
    Get(GetArgs),
    /// Write a file to standard output
    Cat(CatArgs),
    /// List names
    Ls(LsArgs),
    /// Show one file: size, policy, chunks and where each copy is
    Stat(StatArgs),
    /// Remove files
    Rm(RmArgs),
    /// Give a file another name
    Mv(MvArgs),
    /// Show the space that files take: logical, stored and raw
    Du(DuArgs),
    /// The cluster on one screen
    Status(StatusArgs),
    /// Compare what lies on the nodes with what the catalog knows
    Fsck(FsckArgs),
    /// Run a node, or list the nodes
    Node(NodeArgs),
    /// Run the coordinator
    Coord(CoordArgs),
    /// Rescue the catalog of a running coordinator
    Catalog(CatalogArgs),
    /// Show the store at work: a file survives a killed node
    Demo(DemoArgs),
    /// Run a coordinator and nodes in one process
    Up(UpArgs),
    /// Measure this machine, and the store on it
    Bench(BenchArgs),
    /// Rehearse failures in simulation
    Sim(SimArgs),
    /// Print a completion script for a shell
    #[command(
        after_help = "There is no --json: the script is the answer, for a shell to read.\n\n\
                            Example:\n  dfs-sim completions bash > \
                            ~/.local/share/bash-completion/completions/dfs-sim"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page of dfs-sim or of one verb
    #[command(after_help = "There is no --json: the page is the answer, for man to read.\n\n\
                            Example:\n  dfs-sim man put | man -l -")]
    Man {
        /// The verb
        verb: Option<String>,
    },
}

impl Command {
    /// Whether it serves until it is stopped.
    pub(crate) fn serves(&self) -> bool {
        match self {
            Self::Coord(_) | Self::Up(_) => true,
            Self::Node(node) => node.verb.is_none(),
            _ => false,
        }
    }

    /// The verb, as it is typed.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Put(_) => "put",
            Self::Get(_) => "get",
            Self::Cat(_) => "cat",
            Self::Ls(_) => "ls",
            Self::Stat(_) => "stat",
            Self::Rm(_) => "rm",
            Self::Mv(_) => "mv",
            Self::Du(_) => "du",
            Self::Status(_) => "status",
            Self::Fsck(_) => "fsck",
            Self::Node(_) => "node",
            Self::Coord(_) => "coord",
            Self::Catalog(_) => "catalog rescue",
            Self::Demo(_) => "demo",
            Self::Up(_) => "up",
            Self::Bench(_) => "bench",
            Self::Sim(_) => "sim",
            Self::Completions { .. } => "completions",
            Self::Man { .. } => "man",
        }
    }

    /// Whether all that it does is to answer: when nobody can read that, it
    /// failed. The others have done their work.
    pub(crate) fn only_answers(&self) -> bool {
        match self {
            Self::Ls(_) | Self::Stat(_) | Self::Du(_) | Self::Status(_) => true,
            Self::Cat(_) | Self::Completions { .. } | Self::Man { .. } => true,
            Self::Node(node) => node.verb.is_some(),
            Self::Fsck(args) => args.list_unknown,
            _ => false,
        }
    }

    /// Whether the answer was asked for in JSON.
    pub(crate) fn wants_json(&self) -> bool {
        match self {
            Self::Put(a) => a.answer.json,
            Self::Get(a) => a.answer.json,
            Self::Cat(a) => a.json,
            Self::Ls(a) => a.answer.json,
            Self::Stat(a) => a.answer.json,
            Self::Rm(a) => a.answer.json,
            Self::Mv(a) => a.answer.json,
            Self::Du(a) => a.answer.json,
            Self::Status(a) => a.answer.json,
            Self::Fsck(a) => a.answer.json,
            Self::Bench(a) => a.answer.json,
            Self::Demo(a) => a.answer.json,
            Self::Catalog(CatalogArgs { verb: CatalogVerb::Rescue(a) }) => a.answer.json,
            Self::Node(NodeArgs { verb: Some(NodeVerb::Ls(a)), .. }) => a.answer.json,
            Self::Sim(SimArgs { verb: SimVerb::Run(a) }) => a.answer.json,
            Self::Sim(SimArgs { verb: SimVerb::Seeds(a) }) => a.answer.json,
            Self::Sim(SimArgs { verb: SimVerb::List(answer) | SimVerb::Show { answer, .. } }) => {
                answer.json
            }
            Self::Node(NodeArgs { verb: None, .. }) | Self::Coord(_) | Self::Up(_) => false,
            Self::Completions { .. } | Self::Man { .. } => false,
        }
    }
}

/// Whether `word` is a verb.
pub(crate) fn is_verb(word: &str) -> bool {
    use clap::CommandFactory;
    Cli::command().get_subcommands().any(|verb| verb.get_name() == word)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_founding_spellings_are_taken_word_for_word() {
        for line in [
            "dfs-sim node --id n1 --listen 127.0.0.1:4001",
            "dfs-sim coord --nodes 127.0.0.1:4001,127.0.0.1:4002,127.0.0.1:4003 \
             --replication 2 --parity xor",
            "dfs-sim put ./large.iso --name iso/ubuntu.iso",
            "dfs-sim get iso/ubuntu.iso --out ./restore.iso",
        ] {
            Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }

    /// The verbs that do something, each with the words that lead to it.
    fn leaves(command: &clap::Command, path: &[String]) -> Vec<(Vec<String>, clap::Command)> {
        let below =
            |verb: &clap::Command| leaves(verb, &[path, &[verb.get_name().to_owned()]].concat());
        let mut found: Vec<_> = command.get_subcommands().flat_map(below).collect();
        if !command.is_subcommand_required_set() && path.len() > 1 {
            found.push((path.to_vec(), command.clone()));
        }
        found
    }

    #[test]
    fn every_verb_answers_in_json_or_says_why_not() {
        let verbs = leaves(&Cli::command(), &["dfs-sim".to_owned()]);
        assert!(verbs.len() > 20, "{}", verbs.len());
        for (path, verb) in verbs {
            let has_json = verb.get_arguments().any(|arg| arg.get_id() == "json");
            let why = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(has_json || why.contains("no --json: "), "{path:?}");
        }
    }

    #[test]
    fn a_value_that_is_none_is_answered_with_what_was_expected() {
        for (path, verb) in leaves(&Cli::command(), &["dfs-sim".to_owned()]) {
            let takes_value = |arg: &&clap::Arg| arg.get_action().takes_values();
            for flag in verb.get_arguments().filter(takes_value).filter_map(clap::Arg::get_long) {
                for value in ["x", "-", "1.5x", "99999999999999999999999"] {
                    let line = path.iter().cloned().chain([format!("--{flag}={value}")]);
                    let Err(refusal) = Cli::try_parse_from(line) else { continue };
                    let text = refusal.to_string();
                    for raw in ["digit found", "parse integer", "too large to fit", "float literal"]
                    {
                        assert!(!text.contains(raw), "{path:?} --{flag}={value}: {text}");
                    }
                }
            }
        }
    }

    #[test]
    fn node_serves_or_lists_but_not_both() {
        let parse = |line: &str| Cli::try_parse_from(line.split_whitespace());
        assert!(parse("dfs-sim node ls --json").expect("lists").command.wants_json());
        assert!(parse("dfs-sim node --id n1").expect("serves").command.serves());
        assert!(parse("dfs-sim node --id n1 ls").is_err());
    }
}
