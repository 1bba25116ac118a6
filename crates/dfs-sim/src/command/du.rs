//! `du`: what files take, in the three sizes that differ.

use std::sync::Arc;

use dfs_core::api::{CoordinatorService, Usage};
use serde_json::{Value, json};

use super::ls;
use crate::cli::DuArgs;
use crate::console::{Cluster, Console};
use crate::exit::{Code, Failure, Outcome};
use crate::output::table::Grid;
use crate::output::{self, json, size};

/// Shows what each path takes.
pub(super) async fn run(args: DuArgs, console: &Console) -> Outcome {
    let cluster = console.cluster(&args.cluster)?;
    let paths = if args.paths.is_empty() { vec![String::new()] } else { args.paths };
    let mut usages = Vec::new();
    for path in &paths {
        let path = path.trim_end_matches('/');
        usages.push((path, usage(&cluster, path).await?));
    }
    if args.answer.json {
        let paths: Vec<Value> = usages
            .iter()
            .map(|(path, usage)| json!({ "path": path, "usage": json::usage(usage) }))
            .collect();
        json::print("du", json!({ "paths": paths }))?;
        return Ok(Code::Ok);
    }
    let mut grid =
        Grid::new(&[">FILES", ">CHUNKS", ">LOGICAL", ">STORED", ">RAW", ">RAW/LOGICAL", "PATH"]);
    for (path, usage) in &usages {
        grid.row(vec![
            usage.files.to_string(),
            usage.chunks.to_string(),
            size::bytes(usage.logical_bytes),
            size::bytes(usage.stored_bytes),
            size::bytes(usage.raw_bytes),
            size::times(usage.raw_bytes, usage.logical_bytes),
            if path.is_empty() { "/".to_owned() } else { (*path).to_owned() },
        ]);
    }
    for line in grid.lines("") {
        output::line(line)?;
    }
    Ok(Code::Ok)
}

/// A folder's, else a file's.
async fn usage(cluster: &Cluster, path: &str) -> Result<Usage, Failure> {
    let prefix = ls::folder_prefix(path);
    let ask = |coordinator: Arc<dyn CoordinatorService>| {
        let prefix = prefix.clone();
        async move { coordinator.usage(prefix).await }
    };
    let usage = cluster.client.call(ask).await?;
    if usage.files > 0 || path.is_empty() {
        return Ok(usage);
    }
    let info = ls::find(cluster, path).await?;
    Ok(Usage {
        files: 1,
        chunks: u64::from(info.chunks),
        logical_bytes: info.size,
        stored_bytes: info.stored_bytes,
        raw_bytes: info.raw_bytes,
    })
}
