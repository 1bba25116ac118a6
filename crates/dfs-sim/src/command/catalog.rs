//! `catalog rescue`: the catalog that a running coordinator has in memory, as
//! a new data folder.

use std::path::Path;

use serde_json::json;

use crate::cli::RescueArgs;
use crate::console::Console;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{self, json, size};

/// Asks the coordinator to write its catalog to another folder.
pub(super) async fn rescue(args: RescueArgs, console: &Console) -> Outcome {
    let folder = args.folder;
    if !Path::new(&folder).is_absolute() {
        return Err(Failure::usage(format!(
            "{folder} lies on the coordinator's machine, which does not know where you are: give \
             the whole path, from / on"
        )));
    }
    let cluster = console.cluster(&args.cluster)?;
    // Asked once: a second try would find the folder that the first one made.
    let rescued = cluster.coordinator.rescue(folder.clone()).await?;
    if args.answer.json {
        let answer = json!({
            "folder": folder,
            "files": rescued.files,
            "position": rescued.position,
        });
        json::print("catalog rescue", answer)?;
        return Ok(Code::Ok);
    }
    let files = size::counted(rescued.files, "file");
    output::line(format!("the catalog of {files} is in {folder}, on the coordinator's machine"))?;
    output::line(format!(
        "  stop the coordinator, and start it with: dfs-sim coord --data {folder}"
    ))?;
    Ok(Code::Ok)
}
