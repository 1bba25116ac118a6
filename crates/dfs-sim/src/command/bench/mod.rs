//! `bench`: this machine's limits, and how close the store comes to them.
//!
//! The store runs as processes of its own, as for users; the client is this
//! process. Nothing here is on the data path.

mod budget;
mod catalog;
mod failure;
mod html;
mod large;
mod limits;
mod material;
mod meter;
mod nodes;
mod pause;
mod report;
mod result;
mod small;
mod store;
mod transport;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dfs_core::catalog::STRIPES_PER_FILE_MAX;
use dfs_core::client::{Client, ClientSettings};
use dfs_core::env::{Disk, Durability, WallClock};
use dfs_core::policy::{ParitySpec, PlacementStrategy, PolicySpec};
use dfs_runtime::disk::RealDisk;
use dfs_runtime::{RealWorld, SystemWallClock};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::policy::ClusterPolicy;
use super::processes::{Folder, ProcessCluster};
use crate::cli::{BenchArgs, BenchPart};
use crate::console::{Console, check_address};
use crate::exit::{Code, Failure, Outcome};
use crate::output::{self, json, progress, size, time};
use meter::Meter;
use result::{Bench, Machine};
use store::Store;

/// As many nodes as the widest policy needs.
const NODES: u8 = 9;
/// As many as a small team has: all of them share one disk here.
const SMALL_NODES: u8 = 3;
/// What was removed goes soon: three copies of a large file are enough.
const DELETE_GRACE: Duration = Duration::from_secs(1);
/// The most chunks of a catalog that is measured: what memory allows.
const CHUNKS_MAX: u64 = 100_000_000;
/// Free bytes that are needed, by the size of a large file.
const SPACE_TIMES: u64 = 8;

/// Measures what was asked for.
pub(super) async fn run(args: BenchArgs, console: &Console) -> Outcome {
    let parts = parts(&args)?;
    let extent = extent(&args)?;
    let start = Instant::now();
    let folder = Folder::make("bench", args.data.as_deref(), false)?;
    check_space(folder.path(), args.size.0, &parts)?;
    let done = Arc::new(AtomicU64::new(0));
    let total = parts.iter().map(|part| steps(*part)).sum();
    let counted = done.clone();
    let gauge = Arc::new(move || (counted.load(Ordering::Relaxed), total).into());
    let meter = console.count_meter("bench", "step", gauge);
    let step = || {
        done.fetch_add(1, Ordering::Relaxed);
    };
    let mut bench = Bench { machine: machine(&args), ..Bench::default() };
    bench.warn_of_load(meter::load());
    bench.warnings.iter().for_each(|warning| output::note(format!("bench: {warning}")));
    if !args.answer.json {
        report::begin(&bench.machine)?;
    }
    for part in parts {
        console.note(format!("bench: {} …", about(part)));
        measure(part, &args, extent, folder.path(), &mut bench, &step).await?;
        if !args.answer.json {
            progress::beside(|| report::print(part, &bench))?;
        }
    }
    drop(meter);
    bench.seconds = start.elapsed().as_secs_f64();
    let told = bench.warnings.len();
    bench.warn_of_the_impossible();
    bench.warnings.iter().skip(told).for_each(|warning| output::note(format!("bench: {warning}")));
    if let Some(path) = &args.html {
        std::fs::write(path, html::page(&bench)).map_err(|e| Failure::local("write", path, &e))?;
        console.note(format!("plots: {}", path.display()));
    }
    if args.answer.json {
        let answer = serde_json::to_value(&bench).map_err(|e| {
            Failure::new(Code::Other, format!("the result cannot be written as JSON: {e}"))
        })?;
        json::print("bench", answer)?;
    } else {
        report::end(&bench)?;
    }
    Ok(Code::Ok)
}

async fn measure(
    part: BenchPart,
    args: &BenchArgs,
    extent: catalog::Extent,
    folder: &Path,
    bench: &mut Bench,
    step: &(dyn Fn() + Sync),
) -> Result<(), Failure> {
    match part {
        BenchPart::Limits => {
            let limits = limits::measure(folder, step).await;
            bench.limits = Some(limits.map_err(|e| Failure::local("use", folder, &e))?);
        }
        BenchPart::Large => {
            let limits = bench.limits.as_ref();
            let (store, cluster) = store(args, NODES, &folder.join("large")).await?;
            bench.large = large::measure(&store, folder, args.size.0, limits, step).await?;
            stop(cluster).await;
        }
        BenchPart::Small => {
            let (store, cluster) = store(args, SMALL_NODES, &folder.join("small")).await?;
            bench.small = small::measure(&store, step).await?;
            stop(cluster).await;
        }
        BenchPart::Failure => {
            let limits = bench.limits.as_ref();
            bench.failure = Some(failure::measure(folder, args.size.0, limits, step).await?);
        }
        BenchPart::Catalog => bench.catalog = Some(catalog::measure(folder, extent, step).await?),
    }
    Ok(())
}

/// What was asked for, in the order in which it is measured.
fn parts(args: &BenchArgs) -> Result<Vec<BenchPart>, Failure> {
    use BenchPart::{Catalog, Failure as Failing, Large, Limits, Small};
    if let Some(address) = &args.coord {
        check_address("--coord", address)?;
        if args.only.contains(&Failing) {
            return Err(Failure::usage(
                "failure kills a node, and is measured on a cluster of its own only: \
                 leave --coord or failure out",
            ));
        }
    }
    let all = [Limits, Large, Small, Failing, Catalog];
    let is_wanted = |part: &BenchPart| match (args.only.is_empty(), args.coord.is_some()) {
        (false, _) => args.only.contains(part),
        (true, true) => *part != Failing && *part != Catalog,
        (true, false) => true,
    };
    Ok(all.into_iter().filter(is_wanted).collect())
}

fn steps(part: BenchPart) -> u64 {
    match part {
        BenchPart::Limits => limits::STEPS,
        BenchPart::Large => large::kinds().len() as u64,
        BenchPart::Small => small::STEPS,
        BenchPart::Failure => failure::STEPS,
        BenchPart::Catalog => catalog::STEPS,
    }
}

/// How large the catalog shall become.
fn extent(args: &BenchArgs) -> Result<catalog::Extent, Failure> {
    let (files, chunks) = (args.files, args.chunks);
    let is_possible = files >= 1000
        && chunks >= 1
        && chunks <= STRIPES_PER_FILE_MAX as u64
        && files.checked_mul(chunks).is_some_and(|all| all <= CHUNKS_MAX);
    if !is_possible {
        return Err(Failure::usage(format!(
            "--files {files} with --chunks {chunks} is no catalog that can be measured: at least \
             1000 files, one chunk each, and at most {CHUNKS_MAX} chunks together"
        )));
    }
    Ok(catalog::Extent { files: files / 10 * 10, chunks })
}

fn about(part: BenchPart) -> &'static str {
    match part {
        BenchPart::Limits => "what this machine can do",
        BenchPart::Large => "large files, put and fetched",
        BenchPart::Small => "many small files, put, fetched and listed",
        BenchPart::Failure => "a node is killed: degraded reads, and repair",
        BenchPart::Catalog => "the catalog as it grows",
    }
}

fn check_space(folder: &Path, bytes: u64, parts: &[BenchPart]) -> Result<(), Failure> {
    let is_much = |part: &BenchPart| matches!(part, BenchPart::Large | BenchPart::Failure);
    let needed = if parts.iter().any(is_much) { bytes.saturating_mul(SPACE_TIMES) } else { 0 };
    let needed = needed.max(2 << 30);
    let space = RealDisk::open(folder.join("space"), None).and_then(|disk| disk.space());
    let free = space.map_err(|e| Failure::local("look at", folder, &e))?.free;
    if free >= needed {
        return Ok(());
    }
    Err(Failure::new(
        Code::Insufficient,
        format!(
            "{} of free space are needed in {}, {} are there: choose another folder with --data, \
             or a smaller --size",
            size::bytes(needed),
            folder.display(),
            size::bytes(free)
        ),
    ))
}

fn machine(args: &BenchArgs) -> Machine {
    let (processor, memory_bytes) = meter::machine();
    Machine {
        date: time::rfc3339(SystemWallClock.now_ms()),
        version: env!("CARGO_PKG_VERSION"),
        processor,
        cores: cores(),
        memory_bytes,
        cluster: args.coord.clone().unwrap_or_else(|| {
            format!(
                "its own, {NODES} nodes ({SMALL_NODES} for small files) and a coordinator, a process \
                 each, on this machine"
            )
        }),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How a cluster of its own is kept.
fn cluster_policy(spec: PolicySpec, repair_after: Duration) -> ClusterPolicy {
    ClusterPolicy {
        spec,
        placement: PlacementStrategy::RoundRobin,
        repair_after,
        delete_grace: DELETE_GRACE,
        durability: Durability::Strict,
        allow_unsafe: false,
    }
}

/// The cluster that is measured; with its processes where it is its own.
async fn store(
    args: &BenchArgs,
    nodes: u8,
    folder: &Path,
) -> Result<(Store, Option<ProcessCluster>), Failure> {
    if let Some(address) = &args.coord {
        return Ok((store_at(address, Meter::of_client()), None));
    }
    std::fs::create_dir_all(folder).map_err(|e| Failure::local("make the folder", folder, &e))?;
    let policy = cluster_policy(large::spec(2, ParitySpec::None), Duration::from_secs(60));
    let cluster = ProcessCluster::start(folder, nodes, &policy).await?;
    let store = own_store(&cluster);
    store.until_online(nodes).await?;
    Ok((store, Some(cluster)))
}

fn own_store(cluster: &ProcessCluster) -> Store {
    store_at(cluster.address(), Meter::of(cluster.processes()))
}

fn store_at(address: &str, meter: Meter) -> Store {
    let env = RealWorld::new(Handle::current()).client_env();
    let coordinator = env.peers.coordinator(address);
    let client = Arc::new(Client::new(env, coordinator, ClientSettings::default()));
    let prefix = format!("dfs-sim-bench-{}/", std::process::id());
    Store { client, meter, cores: cores(), prefix }
}

async fn stop(cluster: Option<ProcessCluster>) {
    if let Some(cluster) = cluster {
        cluster.stop().await;
    }
}
