//! `coord`: namespace, layouts, health and repair until it is stopped.

use std::path::PathBuf;

use dfs_core::api::{ClusterStatus, NodeState};
use dfs_runtime::RealWorld;
use tokio::runtime::Handle;

use super::node::shown;
use super::policy::ClusterPolicy;
use super::serve::{self, RunningCoordinator};
use crate::cli::CoordArgs;
use crate::console::{COORDINATOR_DEFAULT, Console, check_address};
use crate::exit::Outcome;
use crate::output::{self, size};
use crate::signal;

/// Runs a coordinator.
pub(super) async fn run(args: CoordArgs, console: &Console) -> Outcome {
    let settings = &console.settings.coord;
    let policy = ClusterPolicy::decide(&args.policy, settings)?;
    let nodes = args.nodes.or_else(|| settings.nodes.clone()).unwrap_or_default();
    let nodes: Vec<String> = nodes.into_iter().filter(|node| !node.is_empty()).collect();
    for node in &nodes {
        check_address("--nodes", node)?;
    }
    if !nodes.is_empty() {
        policy.check(nodes.len())?;
    }
    let data = args
        .data
        .or_else(|| settings.data.clone())
        .unwrap_or_else(|| PathBuf::from("dfs-data/coord"));
    let listen = args.listen.or_else(|| settings.listen.clone());
    let listener =
        serve::listen("--listen", listen.as_deref().unwrap_or(COORDINATOR_DEFAULT)).await?;
    let advertise = args.advertise.or_else(|| settings.advertise.clone());
    let address = serve::advertised(&listener, advertise)?;
    let bound = serve::bound(&listener)?;
    let world = RealWorld::new(Handle::current());
    let node_count = nodes.len();
    let mut coordinator =
        RunningCoordinator::start(&world, listener, address, &data, nodes, &policy).await?;
    let status = coordinator.status().await?;
    output::note(format!(
        "coordinator listens on {bound}, data in {}, {}, epoch {}",
        shown(&data),
        size::counted(status.usage.files, "file"),
        status.epoch,
    ));
    let stop = signal::stop_or_orphaned(args.until_stdin_ends);
    tokio::pin!(stop);
    let early = tokio::select! {
        biased;
        code = &mut stop => Some(code),
        status = coordinator.settled_status(node_count) => {
            announce(&status?);
            None
        }
    };
    let code = match early {
        Some(code) => code,
        None => tokio::select! {
            biased;
            code = &mut stop => code,
            failure = coordinator.failed() => return Err(failure),
        },
    };
    coordinator.stop();
    output::note("coordinator stopped");
    Ok(code)
}

/// Says what is stored how, on which nodes, and what that is worth.
pub(super) fn announce(status: &ClusterStatus) {
    output::note(format!(
        "policy for new files: {}, chunks of {}, placed {}",
        status.policy,
        size::bytes(u64::from(status.policy.chunk_size)),
        status.placement,
    ));
    let online = status.nodes.iter().filter(|node| node.state == NodeState::Online).count();
    let missing: Vec<&str> = status
        .nodes
        .iter()
        .filter(|node| node.state != NodeState::Online)
        .map(|node| node.id.as_str())
        .collect();
    let missing = match missing.as_slice() {
        [] => String::new(),
        missing => format!(" (not heard yet: {})", missing.join(", ")),
    };
    output::note(format!(
        "{} online{missing}: {}",
        size::counted(online as u64, "node"),
        status.promise.sentence
    ));
    if status.is_relaxed {
        output::note("durability relaxed: a power cut may lose files that were acknowledged");
    }
}
