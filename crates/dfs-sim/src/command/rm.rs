//! `rm`: one name at once; a folder only with `--yes`.

use std::sync::Arc;

use dfs_core::api::{CoordinatorService, Remove, Removed};
use dfs_core::client::Doubt;
use serde_json::{Value, json};

use super::ls;
use crate::cli::RmArgs;
use crate::console::{Cluster, Console};
use crate::exit::{Code, Failure, Outcome};
use crate::output::{self, json, size};

/// Removes what is named; goes on with the rest when one fails.
pub(super) async fn run(args: RmArgs, console: &Console) -> Outcome {
    let cluster = console.cluster(&args.cluster)?;
    let is_dry_run = args.recursive && !args.yes;
    let mut first_failure: Option<Failure> = None;
    let mut results: Vec<Value> = Vec::new();
    for name in &args.names {
        match remove(&cluster, name, args.recursive, is_dry_run).await {
            Ok(removed) => {
                results.push(json!({
                    "path": name, "files": removed.files, "logical_bytes": removed.bytes,
                }));
                if !args.answer.json {
                    output::line(sentence(name, removed, is_dry_run))?;
                }
            }
            Err(failure) if args.force && failure.code == Code::NotFound => {
                results.push(json!({ "path": name, "files": 0, "logical_bytes": 0 }));
            }
            Err(failure) => {
                output::note(format!("dfs-sim: {failure}"));
                results.push(json!({ "path": name, "error": json::failure(&failure)["error"] }));
                first_failure.get_or_insert(failure);
            }
        }
    }
    if args.answer.json {
        json::print("rm", json!({ "is_dry_run": is_dry_run, "results": results }))?;
    }
    if let Some(failure) = first_failure {
        return Err(Failure::answered(failure.code));
    }
    if is_dry_run {
        console.note("nothing was removed: add --yes to remove");
    }
    Ok(Code::Ok)
}

async fn ask_to_remove(
    cluster: &Cluster,
    name: &str,
    is_recursive: bool,
    is_dry_run: bool,
) -> Result<Removed, Failure> {
    if is_recursive && name.trim_matches('/').is_empty() {
        return Err(Failure::usage(format!(
            "{name:?} is everything that is stored: name what is to go, folder by folder"
        )));
    }
    let ask = |coordinator: Arc<dyn CoordinatorService>, request| {
        let path = name.to_owned();
        async move { coordinator.remove(Remove { path, is_recursive, is_dry_run, request }).await }
    };
    let removed = if is_dry_run {
        cluster.client.call(|coordinator| ask(coordinator, None)).await?
    } else {
        let (what, look) = match is_recursive {
            true => (format!("all of {name} was removed"), format!("dfs-sim ls {name}")),
            false => (format!("{name} was removed"), format!("dfs-sim stat {name}")),
        };
        let doubt = Doubt { what: &what, look: &look };
        cluster.client.change(doubt, |coordinator, request| ask(coordinator, Some(request))).await?
    };
    if removed.files == 0 {
        return Err(Failure::new(Code::NotFound, format!("there is no file {name:?}")));
    }
    Ok(removed)
}

async fn remove(
    cluster: &Cluster,
    name: &str,
    is_recursive: bool,
    is_dry_run: bool,
) -> Result<Removed, Failure> {
    match ask_to_remove(cluster, name, is_recursive, is_dry_run).await {
        Err(failure) if !is_recursive => {
            Err(ls::or_folder(cluster, name, failure, "add --recursive to remove all in it").await)
        }
        removed => removed,
    }
}

fn sentence(name: &str, removed: Removed, is_dry_run: bool) -> String {
    format!(
        "{} {name}: {}, {}",
        if is_dry_run { "would remove" } else { "removed" },
        size::counted(removed.files, "file"),
        size::bytes(removed.bytes),
    )
}
