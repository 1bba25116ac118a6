//! `sim`: failures, rehearsed in simulation.

mod list;
mod run;
mod seeds;
mod tell;

use crate::cli::{SimArgs, SimVerb};
use crate::console::Console;
use crate::exit::Outcome;

/// Runs one of its verbs.
pub(super) async fn run(args: SimArgs, console: &Console) -> Outcome {
    match args.verb {
        SimVerb::Run(args) => run::run(args, console).await,
        SimVerb::Seeds(args) => seeds::run(args, console).await,
        SimVerb::List(answer) => list::list(answer),
        SimVerb::Show { name, answer } => list::show(&name, answer),
    }
}
