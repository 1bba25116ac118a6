//! `coord`: namespace, layouts, health and repair until it is stopped.

use std::path::{Path, PathBuf};

use dfs_core::api::{ClusterStatus, NodeState};
use dfs_core::env::Durability;
use dfs_core::id::NodeId;
use dfs_runtime::RealWorld;
use tokio::runtime::Handle;

use super::node::shown;
use super::policy::ClusterPolicy;
use super::serve::{self, Leading, RunningCoordinator};
use crate::cli::CoordArgs;
use crate::console::{COORDINATOR_DEFAULT, Console, check_address};
use crate::exit::{Code, Failure, Outcome};
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
    let without = (args.without.into_iter())
        .map(|id| NodeId::new(id).map_err(|error| Failure::usage(error.to_string())))
        .collect::<Result<_, _>>()?;
    let leading = Leading { without, accepts_older: args.accept_older_catalog };
    let world = RealWorld::new(Handle::current());
    if args.upgrade_only {
        return upgrade(&world, &data, policy.durability);
    }
    let listen = args.listen.or_else(|| settings.listen.clone());
    let listener =
        serve::listen("--listen", listen.as_deref().unwrap_or(COORDINATOR_DEFAULT)).await?;
    let advertise = args.advertise.or_else(|| settings.advertise.clone());
    let address = serve::advertised(&listener, advertise)?;
    let bound = serve::bound(&listener)?;
    let node_count = nodes.len();
    let mut coordinator =
        RunningCoordinator::start(&world, listener, address, &data, nodes, &policy, leading)
            .await?;
    let status = coordinator.status().await?;
    output::note(format!(
        "coordinator listens on {bound}, data in {}, {}, run {}",
        shown(&data),
        size::counted(status.usage.files, "file"),
        status.run,
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
    coordinator.stop().await;
    output::note("coordinator stopped");
    Ok(code)
}

/// Opens the catalog's file, which raises it to this build's format, and ends.
fn upgrade(world: &RealWorld, data: &Path, durability: Durability) -> Outcome {
    let upgraded = serve::upgrade(world, data, durability)?;
    output::note(match upgraded {
        Some(version) => format!("{}: upgraded from format {version}", shown(data)),
        None => format!("{}: has this build's format already", shown(data)),
    });
    Ok(Code::Ok)
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
    let expected = size::counted(u64::from(status.nodes_expected), "node");
    output::note(format!(
        "{online} of {expected} online; for new files: {}",
        status.promise.sentence
    ));
    output::note(format!("health: {}", status.verdict.sentence()));
    if status.is_relaxed {
        output::note("durability relaxed: a power cut may lose files that were acknowledged");
    }
}
