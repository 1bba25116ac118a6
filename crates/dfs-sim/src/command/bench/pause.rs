//! How long clients of a large catalog wait while its coordinator is at work
//! of its own: hearing what nodes hold, looking over all stripes, mending.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dfs_core::api::{CoordinatorService, List, Lookup, PutMode, Rename};
use dfs_core::coordinator::Coordinator;
use dfs_core::name::FileName;
use dfs_simulation::rng::Rng;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::nodes::PaperNodes;
use super::result::{CatalogResult, Pause, Percentiles};
use crate::exit::{Code, Failure};

/// How often each client asks.
const ASK_INTERVAL: Duration = Duration::from_millis(2);
/// Clients that look files up, and one more that renames one.
const READERS: u64 = 2;
/// How often nodes are heard.
const BEAT_INTERVAL: Duration = Duration::from_secs(3);
/// A node that is not known yet speaks again after so long.
const BEAT_AGAIN: Duration = Duration::from_millis(100);
/// How often it is looked whether a state was reached.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// After this long without it, measuring is given up.
const STATE_TIMEOUT: Duration = Duration::from_secs(600);
/// How long clients are watched while copies are made anew.
const MENDING: Duration = Duration::from_secs(3);

/// A catalog on which the names of the files are known.
pub(super) struct Names {
    pub(super) files: u64,
    /// Chunks of all files, each a stripe, in two copies.
    pub(super) chunks: u64,
    /// The name of a file that keeps it.
    pub(super) name: fn(u64) -> FileName,
}

/// Watches clients of a coordinator that was just opened, through what it
/// does first and when a node goes.
pub(super) async fn measure(
    coordinator: &Arc<Coordinator>,
    nodes: &Arc<PaperNodes>,
    names: &Names,
    result: &mut CatalogResult,
) -> Result<(), Failure> {
    let context = coordinator.context();
    let background = tokio::spawn(coordinator.clone().run());
    let beats: Vec<JoinHandle<()>> = (nodes.iter().cloned())
        .map(|node| {
            let coordinator = coordinator.clone();
            tokio::spawn(async move {
                loop {
                    let known = node.beat(&*coordinator, context).await.unwrap_or(false);
                    tokio::time::sleep(if known { BEAT_INTERVAL } else { BEAT_AGAIN }).await;
                }
            })
        })
        .collect();
    let all = names.chunks;
    let told = until(coordinator, |status| {
        status.nodes.iter().map(|node| node.chunks).sum::<u64>() >= 2 * all
    });
    result.pauses.push(during("nodes tell what they hold", coordinator, names, told).await?);
    let full = until(coordinator, |status| status.health.full >= all);
    result.pauses.push(during("all stripes are looked over", coordinator, names, full).await?);
    let asking = ask_much(coordinator);
    result
        .pauses
        .push(during("sizes and folders are asked for", coordinator, names, asking).await?);
    let gone = nodes.iter().next().expect("there are nodes");
    beats[0].abort();
    coordinator.leave(context.cluster, gone.id(), gone.session()).await.map_err(other)?;
    let found = until(coordinator, |status| status.repair.waiting + status.repair.done >= all / 4);
    result.pauses.push(during("a node is given up for lost", coordinator, names, found).await?);
    let before = coordinator.status().await.map_err(other)?.repair.done;
    let mending = async {
        tokio::time::sleep(MENDING).await;
        Ok(())
    };
    result.pauses.push(during("copies are made anew", coordinator, names, mending).await?);
    let after = coordinator.status().await.map_err(other)?.repair.done;
    result.rebuilds_per_second = (after - before) as f64 / MENDING.as_secs_f64();
    beats.iter().for_each(JoinHandle::abort);
    background.abort();
    Ok(())
}

/// What walks over much of the catalog for one answer.
async fn ask_much(coordinator: &Arc<Coordinator>) -> Result<(), Failure> {
    coordinator.usage("f".to_owned()).await.map_err(other)?;
    let prefix = String::new();
    let list = List { prefix, after: None, limit: 1000, by_folder: true };
    coordinator.list(list).await.map_err(other)?;
    Ok(())
}

/// Returns once the cluster is in some state.
async fn until(
    coordinator: &Arc<Coordinator>,
    is_so: impl Fn(&dfs_core::api::ClusterStatus) -> bool,
) -> Result<(), Failure> {
    let start = Instant::now();
    loop {
        let status = coordinator.status().await.map_err(other)?;
        if is_so(&status) {
            return Ok(());
        }
        if start.elapsed() > STATE_TIMEOUT {
            return Err(other("the coordinator did not come to know its nodes in ten minutes"));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// How long clients wait for their answers until `work` is done. A client
/// that asks late because the coordinator kept its thread has waited too.
async fn during(
    what: &'static str,
    coordinator: &Arc<Coordinator>,
    names: &Names,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<Pause, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..READERS)
        .map(|seed| {
            let (coordinator, files, name) = (coordinator.clone(), names.files, names.name);
            let mut rng = Rng::new(seed);
            asking(stop.clone(), move || {
                // The first is the one that is renamed meanwhile.
                let name = name(10 + rng.next_u64() % (files - 10));
                let lookup = Lookup { name, version: None, first_stripe: 0 };
                let coordinator = coordinator.clone();
                async move { coordinator.lookup(lookup).await.map(drop) }
            })
        })
        .collect();
    let writer = {
        let (coordinator, name) = (coordinator.clone(), (names.name)(0));
        let other = FileName::new("moved").expect("a good name");
        let mut is_away = false;
        asking(stop.clone(), move || {
            let (from, to) = if is_away { (&other, &name) } else { (&name, &other) };
            is_away = !is_away;
            let rename = Rename {
                from: from.clone(),
                to: to.clone(),
                mode: PutMode::IfAbsent,
                request: None,
            };
            let coordinator = coordinator.clone();
            async move { coordinator.rename(rename).await }
        })
    };
    let start = Instant::now();
    let done = work.await;
    let seconds = start.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let mut waits = Vec::new();
    for reader in readers {
        waits.extend(reader.await.map_err(other)??);
    }
    let mut durable = writer.await.map_err(other)??;
    // The name is where it was before the next one moves it.
    let moved = Rename {
        from: FileName::new("moved").expect("a good name"),
        to: (names.name)(0),
        mode: PutMode::IfAbsent,
        request: None,
    };
    drop(coordinator.rename(moved).await);
    done?;
    Ok(Pause {
        during: what,
        seconds,
        lookups: waits.len() as u64,
        lookup_ms: Percentiles::of(&mut waits),
        command_ms: Percentiles::of(&mut durable),
    })
}

/// A client that asks at fixed times; how long it waited each time, seconds.
fn asking<F>(
    stop: Arc<AtomicBool>,
    mut ask: impl FnMut() -> F + Send + 'static,
) -> JoinHandle<Result<Vec<f64>, Failure>>
where
    F: Future<Output = dfs_core::api::Result<()>> + Send,
{
    tokio::spawn(async move {
        let mut waits = Vec::new();
        let mut due = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            due += ASK_INTERVAL;
            tokio::time::sleep_until(due).await;
            ask().await.map_err(other)?;
            let now = Instant::now();
            waits.push((now - due).as_secs_f64());
            due = due.max(now);
        }
        Ok(waits)
    })
}

fn other(error: impl std::fmt::Display) -> Failure {
    Failure::new(Code::Other, format!("measuring how long clients wait: {error}"))
}
