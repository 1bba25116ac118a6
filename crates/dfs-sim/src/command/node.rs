//! `node`: stores, serves, verifies and rebuilds chunks until it is stopped.

use std::path::{Path, PathBuf};

use dfs_core::id::NodeId;
use dfs_runtime::RealWorld;
use tokio::runtime::Handle;

use super::serve::{self, NodeStart, RunningNode};
use crate::cli::NodeServeArgs;
use crate::console::{Console, check_address};
use crate::exit::{Failure, Outcome};
use crate::output::{self, size};
use crate::signal;

/// Where a node listens when nothing else is said.
const LISTEN_DEFAULT: &str = "127.0.0.1:4001";

/// Runs a node.
pub(super) async fn run(args: NodeServeArgs, console: &Console) -> Outcome {
    let settings = &console.settings.node;
    let id = args.id.or_else(|| settings.id.clone()).ok_or_else(|| {
        Failure::usage("a node needs a name: add --id, such as --id n1 (or run `node ls`)")
    })?;
    let id = NodeId::new(id).map_err(|e| Failure::usage(e.to_string()))?;
    let listen = args.listen.or_else(|| settings.listen.clone());
    let join = args.join.or_else(|| settings.join.clone());
    if let Some(join) = &join {
        check_address("--join", join)?;
    }
    let data = args
        .data
        .or_else(|| settings.data.clone())
        .unwrap_or_else(|| Path::new("dfs-data").join(id.as_str()));
    let listener = serve::listen("--listen", listen.as_deref().unwrap_or(LISTEN_DEFAULT)).await?;
    let advertise = args.advertise.or_else(|| settings.advertise.clone());
    let address = serve::advertised(&listener, advertise)?;
    let bound = serve::bound(&listener)?;
    let start = NodeStart {
        id: id.clone(),
        listener,
        address,
        data: data.clone(),
        join,
        zone: args.zone.or_else(|| settings.zone.clone()),
        capacity: args.capacity.or(settings.capacity).map(|capacity| capacity.0),
        durability: args.durability.or(settings.durability).unwrap_or_default(),
        replace: args.replace,
    };
    let world = RealWorld::new(Handle::current());
    let mut node = RunningNode::start(&world, start).await?;
    output::note(format!(
        "node {id} listens on {bound}, data in {}, {}",
        shown(&data),
        size::counted(node.chunks().await, "chunk"),
    ));
    let code = tokio::select! {
        biased;
        code = signal::stop_or_orphaned(args.until_stdin_ends) => code,
        failure = node.failed_or_refused() => return Err(failure),
    };
    node.stop().await;
    output::note(format!("node {id} stopped"));
    Ok(code)
}

/// A path as a shell would take it: `./dfs-data/n1`.
pub(super) fn shown(path: &Path) -> String {
    let is_bare = path.is_relative() && !path.starts_with(".") && !path.starts_with("..");
    let path = if is_bare { Path::new(".").join(path) } else { PathBuf::from(path) };
    path.display().to_string()
}
