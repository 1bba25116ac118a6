//! Reading with a node gone, and its repair.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use dfs_core::api::{FileInfo, Lookup};
use dfs_core::client::Progress;
use dfs_core::data::frame::FRAME_SIZE;
use dfs_core::policy::ParitySpec;
use tokio::time::{Instant, sleep};

use super::budget::Data;
use super::large::{median, spec};
use super::meter::Meter;
use super::result::{FailureResult, Large, Limits, Percentiles, Ranges, Used};
use super::store::{Kind, Nowhere, Store, failure, policy_name, refused};
use super::{cluster_policy, material, own_store};
use crate::command::processes::ProcessCluster;
use crate::exit::{Code, Failure};

/// One more than the policy needs, so that repair has somewhere to go.
const NODES: u8 = 7;
/// How often the file is read, each way.
const RUNS: usize = 3;
/// Ranges of one frame, all of them in chunks that are lost, that are read
/// each way.
const RANGES: u64 = 50;
/// Repair begins so long after the node is known to be gone: after the
/// degraded reads.
const REPAIR_AFTER: Duration = Duration::from_secs(3);
const REPAIR_WITHIN: Duration = Duration::from_secs(180);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Steps that [`measure`] tells of.
pub(super) const STEPS: u64 = 3;

/// Stores a file on a cluster of its own, kills a node, reads, waits for
/// repair; `step` hears of each that is done.
pub(super) async fn measure(
    folder: &Path,
    bytes: u64,
    limits: Option<&Limits>,
    step: &(dyn Fn() + Sync),
) -> Result<FailureResult, Failure> {
    let kind =
        Kind { spec: spec(1, ParitySpec::ReedSolomon { data: 4, parity: 2 }), data: Data::Random };
    let data = folder.join("failure");
    let made = std::fs::create_dir_all(&data);
    made.map_err(|e| Failure::local("make the folder", &data, &e))?;
    let path = data.join("file");
    let target = path.clone();
    let making =
        tokio::task::spawn_blocking(move || material::make(&target, Data::Random, bytes)).await;
    let made = making.map_err(std::io::Error::other).flatten();
    made.map_err(|e| Failure::local("write", &path, &e))?;
    let mut cluster =
        ProcessCluster::start(&data, NODES, &cluster_policy(kind.spec, REPAIR_AFTER)).await?;
    let mut store = own_store(&cluster);
    store.until_online(NODES).await?;
    let name = store.name("file");
    let (put, file) = store.put(&path, &name, kind, limits).await?;
    step();
    let mut healthy = Vec::new();
    for _ in 0..RUNS {
        healthy.push(store.get(&file, kind, limits).await?);
    }
    let healthy = median(healthy);
    let held = held(&store, &file).await?;
    // Whose loss shows most: by what is read from it, then by what is rebuilt.
    let most = held.into_iter().max_by_key(|(_, held)| (held.data.len(), held.bytes));
    let (victim, Held { bytes: rebuilt_bytes, chunks, data }) = most.expect("the file is on nodes");
    let starts = starts(&file, &data);
    let healthy_ranges = ranges(&store, &file, &starts).await?;
    cluster.kill(&victim).await?;
    store.meter = Meter::of(cluster.processes());
    let mut degraded = Vec::new();
    for _ in 0..RUNS {
        degraded.push(store.get(&file, kind, limits).await?);
    }
    let degraded = median(degraded);
    let degraded_ranges = ranges(&store, &file, &starts).await?;
    step();
    let (repair_seconds, repair_used, pulled_bytes) = repair(&store, chunks).await?;
    cluster.stop().await;
    step();
    let repair_mb_per_second = rebuilt_bytes as f64 / 1e6 / repair_seconds;
    let degraded_cpu_ratio = ratio(&degraded, &healthy);
    Ok(FailureResult {
        policy: policy_name(kind.spec),
        nodes: NODES,
        repair_by_put: repair_mb_per_second / put.mb_per_second,
        put,
        healthy,
        degraded,
        degraded_cpu_ratio,
        ranges: healthy_ranges,
        degraded_ranges,
        rebuilt_bytes,
        pulled_bytes,
        repair_seconds,
        repair_mb_per_second,
        repair_cpu_seconds_per_gb: repair_used
            .cpu_seconds()
            .map(|cpu| cpu * 1e9 / rebuilt_bytes as f64),
    })
}

fn ratio(one: &Large, other: &Large) -> Option<f64> {
    Some(one.cpu_seconds_per_gb? / other.cpu_seconds_per_gb?)
}

/// Reads a range of one frame from each of `starts`.
async fn ranges(store: &Store, file: &FileInfo, starts: &[u64]) -> Result<Ranges, Failure> {
    let (running, mut times) = (store.meter.begin(), Vec::new());
    for from in starts {
        let range = *from..(from + FRAME_SIZE as u64).min(file.size);
        let start = Instant::now();
        let got = store.client.get(&file.name, Some(range), &mut Nowhere, &Progress::new()).await;
        got.map_err(failure)?;
        times.push(start.elapsed().as_secs_f64());
    }
    let cpu_ms = running.end().cpu_seconds().map(|cpu| cpu * 1e3 / starts.len() as f64);
    Ok(Ranges { ms: Percentiles::of(&mut times), cpu_ms })
}

/// What a node holds of the file.
#[derive(Default)]
struct Held {
    bytes: u64,
    chunks: u64,
    /// Where its data chunks begin in the file.
    data: Vec<u64>,
}

/// By node.
async fn held(store: &Store, file: &FileInfo) -> Result<BTreeMap<String, Held>, Failure> {
    let mut held: BTreeMap<String, Held> = BTreeMap::new();
    let mut first_stripe = 0;
    while first_stripe < file.stripes {
        let asked = store.client.call(|coordinator| {
            let lookup = Lookup { name: file.name.clone(), version: None, first_stripe };
            async move { coordinator.lookup(lookup).await }
        });
        let map = asked.await.map_err(refused)?;
        for (index, stripe) in (u64::from(first_stripe)..).zip(&map.stripes) {
            let first_chunk = index * u64::from(stripe.shape.coding.data);
            for (slot, chunk) in (0..).zip(&stripe.chunks) {
                for copy in &chunk.copies {
                    let node = held.entry(copy.node.as_str().to_owned()).or_default();
                    node.bytes += chunk.stored_len;
                    node.chunks += 1;
                    if slot < u64::from(stripe.shape.data) {
                        node.data.push((first_chunk + slot) * u64::from(file.policy.chunk_size));
                    }
                }
            }
        }
        first_stripe += u32::try_from(map.stripes.len()).unwrap_or(u32::MAX).max(1);
    }
    Ok(held)
}

/// Where [`RANGES`] ranges begin, evenly in the chunks at `chunks`.
fn starts(file: &FileInfo, chunks: &[u64]) -> Vec<u64> {
    let per_chunk = RANGES.div_ceil(chunks.len().max(1) as u64);
    let frame = FRAME_SIZE as u64;
    let step = u64::from(file.policy.chunk_size) / per_chunk / frame * frame;
    let of_chunk = |chunk: &u64| {
        let chunk = *chunk;
        (0..per_chunk).map(move |number| chunk + number * step)
    };
    chunks.iter().flat_map(of_chunk).filter(|start| *start < file.size).collect()
}

/// Waits until `chunks` were made anew: the seconds from the first one's
/// beginning to the last one's end, what was used meanwhile, and the bytes
/// that were pulled. Then all stripes must be full.
async fn repair(store: &Store, chunks: u64) -> Result<(f64, Used, u64), Failure> {
    let start = Instant::now();
    let mut running = store.meter.begin();
    let mut began = Instant::now();
    let mut done = None;
    while start.elapsed() < REPAIR_WITHIN {
        let asked = store.client.call(|coordinator| async move { coordinator.status().await });
        let status = asked.await.map_err(refused)?;
        let (repair, health) = (status.repair, status.health);
        if repair.running + repair.done == 0 {
            (running, began) = (store.meter.begin(), Instant::now());
        } else if done.is_none() && repair.done >= chunks {
            done = Some((began.elapsed().as_secs_f64(), running.end(), repair.bytes_pulled));
        }
        let lacking = health.lacking();
        if let Some(done) = done
            && lacking + repair.waiting + repair.running == 0
        {
            return Ok(done);
        }
        sleep(LOOK_INTERVAL).await;
    }
    Err(Failure::new(Code::Other, format!("repair did not end within {REPAIR_WITHIN:?}")))
}
