//! `cat`: a file to standard output.

use dfs_core::name::FileName;

use super::get::{self, Beside};
use crate::cli::CatArgs;
use crate::console::Console;
use crate::exit::{Failure, Outcome};

/// Writes the file, and nothing about it unless something was out of order.
pub(super) async fn run(args: CatArgs, console: &Console) -> Outcome {
    let name = FileName::new(args.name).map_err(|e| Failure::usage(e.to_string()))?;
    let cluster = console.cluster(&args.cluster)?;
    let beside = if args.json { Beside::Json } else { Beside::Trouble };
    get::to_standard_output(&name, args.range, beside, &cluster, console).await
}
