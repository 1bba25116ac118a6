//! `mv`: another name for a file.

use std::sync::Arc;

use dfs_core::api::{CoordinatorService, PutMode, Rename};
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
    let request = Rename { from, to, mode };
    let cluster = console.cluster(&args.cluster)?;
    let ask = |coordinator: Arc<dyn CoordinatorService>| {
        let request = request.clone();
        async move { coordinator.rename(request).await }
    };
    cluster.client.call(ask).await?;
    if args.answer.json {
        json::print("mv", json!({ "from": request.from.as_str(), "to": request.to.as_str() }))?;
    } else {
        output::line(format!("{} is now {}", request.from, request.to))?;
    }
    Ok(Code::Ok)
}
