//! `up`: a coordinator and its nodes in one process, for daily use.

mod member;

use std::fs;
use std::path::{Path, PathBuf};

use dfs_core::id::NodeId;
use dfs_runtime::RealWorld;
use futures_util::FutureExt;
use futures_util::future::select_all;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use self::member::{Found, Members, name};
use super::coord::announce;
use super::node::shown;
use super::policy::ClusterPolicy;
use super::serve::{self, Leading, NodeStart, RunningCoordinator, RunningNode};
use crate::cli::UpArgs;
use crate::console::Console;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{self, size};
use crate::settings::{CoordSettings, Settings};
use crate::signal;

/// The policy that the folder was last run with, in the folder.
const KEPT_SETTINGS: &str = "up.toml";

/// Runs a cluster.
pub(super) async fn run(args: UpArgs, console: &Console) -> Outcome {
    let world = RealWorld::new(Handle::current());
    let Plan { data, members, policy } = Plan::decide(&args, console, &world)?;
    let coordinator_port = open_port(args.port, 0).await?;
    let mut nodes = Vec::new();
    let mut addresses = Vec::new();
    for number in members.running.iter().copied() {
        let port = open_port(args.port, number).await?;
        let replace = members.replaced.contains(&number);
        match start_node(&world, number, port, &data, &policy, replace).await {
            Ok((node, address)) => {
                nodes.push(node);
                addresses.push(address);
            }
            // The others may have all that is needed.
            Err(failure) if members.running.len() > 1 && !members.is_new => {
                output::note(format!("{} does not start: {failure}", name(number)));
            }
            Err(failure) => return Err(failure),
        }
    }
    let address = serve::bound(&coordinator_port)?.to_string();
    let listens_at = address.clone();
    let folder = data.join("coord");
    let mut coordinator = RunningCoordinator::start(
        &world,
        coordinator_port,
        address,
        &folder,
        addresses,
        &policy,
        Leading::default(),
    )
    .await?;
    let folder = shown(&data);
    let count = size::counted(nodes.len() as u64, "node");
    output::note(format!("coordinator listens on {listens_at}, data in {folder}, {count}"));
    announce(&coordinator.settled_status(nodes.len()).await?);
    for number in &members.missing {
        output::note(missing(&data, *number));
    }
    output::line(format!("export DFS_SIM_COORD={listens_at}"))?;
    output::note("try: dfs-sim put FILE, dfs-sim ls, dfs-sim status (Ctrl-C stops it all)");
    let code = tokio::select! {
        biased;
        code = signal::stop_or_orphaned(args.until_stdin_ends) => code,
        failure = coordinator.failed() => return Err(failure),
        failure = first_failed(&mut nodes) => return Err(failure),
    };
    // The coordinator goes first: nobody is missed, and nothing is repaired.
    coordinator.stop().await;
    output::note("stopped; all data is kept");
    Ok(code)
}

/// What is to be run.
struct Plan {
    data: PathBuf,
    members: Members,
    policy: ClusterPolicy,
}

impl Plan {
    /// From the flags, the configuration and what the folder remembers, which
    /// remembers this then.
    fn decide(args: &UpArgs, console: &Console, world: &RealWorld) -> Result<Self, Failure> {
        let data = args.data.clone().unwrap_or_else(|| PathBuf::from("dfs-data"));
        fs::create_dir_all(&data).map_err(|e| Failure::local("make the folder", &data, &e))?;
        let kept = kept_settings(&data)?;
        let policy = ClusterPolicy::decide(&args.policy, &over(&console.settings.coord, &kept))?;
        let members = Found::look(world, &data).members(&data, args.nodes, &args.replace)?;
        policy.check(members.running.len() + members.missing.len())?;
        keep_settings(&data, &policy)?;
        Ok(Self { data, members, policy })
    }
}

/// The port of the coordinator (0) or of a node: they follow each other from
/// `first` on, by number, so that a node keeps its port; 0 takes a free one.
async fn open_port(first: u16, number: u8) -> Result<TcpListener, Failure> {
    let port = if first == 0 { Some(0) } else { first.checked_add(u16::from(number)) };
    let port = port.ok_or_else(|| {
        Failure::usage(format!("--port {first} leaves no room above it for {}", name(number)))
    })?;
    serve::listen("--port", &format!("127.0.0.1:{port}")).await
}

/// A missing node, and the ways out.
fn missing(data: &Path, number: u8) -> String {
    let name = name(number);
    format!(
        "{name} is missing: {} is not there or not a node's; bring the folder back and start \
         again, or, when it is gone for good, start with --replace {name}",
        shown(&data.join(&name))
    )
}

async fn start_node(
    world: &RealWorld,
    number: u8,
    listener: TcpListener,
    data: &Path,
    policy: &ClusterPolicy,
    replace: bool,
) -> Result<(RunningNode, String), Failure> {
    let name = name(number);
    let address = serve::bound(&listener)?.to_string();
    let start = NodeStart {
        id: NodeId::new(name.as_str()).expect("a letter and digits are a node id"),
        listener,
        address: address.clone(),
        data: data.join(name),
        join: None,
        zone: None,
        capacity: None,
        durability: policy.durability,
        replace,
    };
    Ok((RunningNode::start(world, start).await?, address))
}

async fn first_failed(nodes: &mut [RunningNode]) -> Failure {
    if nodes.is_empty() {
        return std::future::pending().await;
    }
    select_all(nodes.iter_mut().map(|node| node.failed().boxed())).await.0
}

/// `first` where it says something, else `second`.
fn over(first: &CoordSettings, second: &CoordSettings) -> CoordSettings {
    let (first, second) = (first.clone(), second.clone());
    CoordSettings {
        replication: first.replication.or(second.replication),
        parity: first.parity.or(second.parity),
        compression: first.compression.or(second.compression),
        chunk_size: first.chunk_size.or(second.chunk_size),
        placement: first.placement.or(second.placement),
        repair_after: first.repair_after.or(second.repair_after),
        delete_grace: first.delete_grace.or(second.delete_grace),
        durability: first.durability.or(second.durability),
        ..first
    }
}

fn kept_settings(data: &Path) -> Result<CoordSettings, Failure> {
    let path = data.join(KEPT_SETTINGS);
    if !path.exists() {
        return Ok(CoordSettings::default());
    }
    Ok(Settings::load(Some(&path))?.coord)
}

/// Writes the policy down, so that the next start without flags has it too.
pub(super) fn keep_settings(data: &Path, policy: &ClusterPolicy) -> Result<(), Failure> {
    let durability = match policy.durability {
        dfs_core::env::Durability::Strict => "strict",
        dfs_core::env::Durability::Relaxed => "relaxed",
    };
    let text = format!(
        "# What `dfs-sim up` was last run with here; flags win over it.\n[coord]\n\
         replication = {}\nparity = \"{}\"\ncompression = \"{}\"\nchunk-size = {}\n\
         placement = \"{}\"\nrepair-after = \"{}ms\"\ndelete-grace = \"{}ms\"\n\
         durability = \"{durability}\"\n",
        policy.spec.replication,
        policy.spec.parity,
        policy.spec.compression,
        policy.spec.chunk_size,
        policy.placement,
        policy.repair_after.as_millis(),
        policy.delete_grace.as_millis(),
    );
    let path = data.join(KEPT_SETTINGS);
    let new = data.join(format!("{KEPT_SETTINGS}.new"));
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, &path))
        .map_err(|e| Failure::new(Code::Other, format!("cannot write {}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ClusterPolicyArgs;
    use clap::Parser;

    #[test]
    fn a_folder_remembers_its_policy() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path();
        let line = "dfs-sim up --parity rs:4+2 --repair-after 5s --chunk-size 1MiB \
                    --durability relaxed --placement ring --compression none";
        let decide = |line: &str, kept: &CoordSettings| {
            let cli = crate::cli::Cli::try_parse_from(line.split_whitespace()).expect("good");
            let crate::cli::Command::Up(args) = cli.command else { panic!("not up") };
            let policy: ClusterPolicyArgs = args.policy;
            ClusterPolicy::decide(&policy, kept).expect("a policy")
        };
        let first = decide(line, &kept_settings(data).expect("nothing kept"));
        keep_settings(data, &first).expect("kept");
        let again = decide("dfs-sim up", &kept_settings(data).expect("kept"));
        assert_eq!(format!("{first:?}"), format!("{again:?}"));
    }
}
