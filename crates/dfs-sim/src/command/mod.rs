//! The verbs, one a file. Each gets its arguments and the console, writes
//! its answer and returns the code to end with.

mod about;
mod bench;
mod cat;
mod catalog;
mod closed;
mod coord;
mod demo;
mod du;
mod flight;
mod fsck;
mod get;
mod ls;
mod mv;
mod node;
mod policy;
mod processes;
mod put;
mod rm;
mod same;
mod select;
mod serve;
mod sim;
mod sink;
mod source;
mod stat;
mod status;
mod up;

use crate::cli::{CatalogArgs, CatalogVerb, Command, NodeArgs, NodeVerb};
use crate::console::Console;
use crate::exit::Outcome;

/// Runs one verb.
pub(crate) async fn run(command: Command, console: &Console) -> Outcome {
    match command {
        Command::Put(args) => put::run(args, console).await,
        Command::Get(args) => get::run(args, console).await,
        Command::Cat(args) => cat::run(args, console).await,
        Command::Ls(args) => ls::run(args, console).await,
        Command::Stat(args) => stat::run(args, console).await,
        Command::Rm(args) => rm::run(args, console).await,
        Command::Mv(args) => mv::run(args, console).await,
        Command::Du(args) => du::run(args, console).await,
        Command::Status(args) => status::run(args, console).await,
        Command::Fsck(args) => fsck::run(args, console).await,
        Command::Node(NodeArgs { verb: Some(NodeVerb::Ls(args)), .. }) => {
            status::list_nodes(args, console).await
        }
        Command::Node(NodeArgs { verb: None, serve }) => node::run(serve, console).await,
        Command::Catalog(CatalogArgs { verb: CatalogVerb::Rescue(args) }) => {
            catalog::rescue(args, console).await
        }
        Command::Coord(args) => coord::run(args, console).await,
        Command::Bench(args) => bench::run(args, console).await,
        Command::Demo(args) => demo::run(args, console).await,
        Command::Up(args) => up::run(args, console).await,
        Command::Sim(args) => sim::run(args, console).await,
        Command::Completions { shell } => about::completions(shell),
        Command::Man { verb } => about::manual(verb.as_deref()),
    }
}
