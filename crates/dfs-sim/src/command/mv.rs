//! `mv`: another name for a file.

use std::sync::Arc;

use dfs_core::api::{CoordinatorService, PutMode, Rename};
use dfs_core::client::Doubt;
use dfs_core::name::FileName;
use serde_json::json;

use crate::cli::MvArgs;
use crate::console::Console;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{self, json};

/// Renames a file.
pub(super) async fn run(args: MvArgs, console: &Console) -> Outcome {
    let name = |text: &str| FileName::new(text).map_err(|e| Failure::usage(e.to_string()));
    let from = name(&args.from)?;
    let to = if args.to.ends_with('/') {
        let base = from.as_str().rsplit('/').next().unwrap_or_default();
        name(&format!("{}{base}", args.to))?
    } else {
        name(&args.to)?
    };
    let mode = if args.force { PutMode::Replace } else { PutMode::IfAbsent };
    let cluster = console.cluster(&args.cluster)?;
    let (what, look) = (format!("{from} is now {to}"), format!("dfs-sim stat {to}"));
    let ask = |coordinator: Arc<dyn CoordinatorService>, request| {
        let (from, to, request) = (from.clone(), to.clone(), Some(request));
        async move { coordinator.rename(Rename { from, to, mode, request }).await }
    };
    cluster.client.change(Doubt { what: &what, look: &look }, ask).await?;
    if args.answer.json {
        json::print("mv", json!({ "from": from.as_str(), "to": to.as_str() }))?;
    } else {
        output::line(what)?;
    }
    Ok(Code::Ok)
}
