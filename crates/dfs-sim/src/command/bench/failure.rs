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
use super::result::{FailureResult, Large, Limits, Percentiles};
use super::store::{Kind, Nowhere, Store, failure, policy_name, refused};
use super::{cluster_policy, material, own_store};
use crate::command::processes::ProcessCluster;
use crate::exit::{Code, Failure};

/// One more than the policy needs, so that repair has somewhere to go.
const NODES: u8 = 7;
/// How often the file is read, each way.
const RUNS: usize = 3;
/// Ranges of one frame that are read, each way.
const RANGES: u64 = 50;
/// Repair begins so long after the node is known to be gone: after the
/// degraded reads.
const REPAIR_AFTER: Duration = Duration::from_secs(3);
const REPAIR_WITHIN: Duration = Duration::from_secs(180);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

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
    let range_ms = ranges(&store, &file).await?;
    let held = held(&store, &file).await?;
    let (victim, rebuilt_bytes) =
        held.into_iter().max_by_key(|(_, bytes)| *bytes).expect("the file is on nodes");
    cluster.kill(&victim).await?;
    store.meter = Meter::of(cluster.processes());
    let mut degraded = Vec::new();
    for _ in 0..RUNS {
        degraded.push(store.get(&file, kind, limits).await?);
    }
    let degraded = median(degraded);
    let degraded_range_ms = ranges(&store, &file).await?;
    step();
    let (repair_seconds, pulled_bytes) = repair(&store).await?;
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
        range_ms,
        degraded_range_ms,
        rebuilt_bytes,
        pulled_bytes,
        repair_seconds,
        repair_mb_per_second,
    })
}

fn ratio(one: &Large, other: &Large) -> Option<f64> {
    Some(one.cpu_seconds_per_gb? / other.cpu_seconds_per_gb?)
}

/// Reads ranges of one frame, evenly over the file.
async fn ranges(store: &Store, file: &FileInfo) -> Result<Percentiles, Failure> {
    let mut times = Vec::new();
    for number in 0..RANGES {
        let from = file.size / RANGES * number;
        let range = from..(from + FRAME_SIZE as u64).min(file.size);
        let start = Instant::now();
        let got = store.client.get(&file.name, Some(range), &mut Nowhere, &Progress::new()).await;
        got.map_err(failure)?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(Percentiles::of(&mut times))
}

/// Stored bytes of the file by node.
async fn held(store: &Store, file: &FileInfo) -> Result<BTreeMap<String, u64>, Failure> {
    let mut held: BTreeMap<String, u64> = BTreeMap::new();
    let mut first_stripe = 0;
    while first_stripe < file.stripes {
        let asked = store.client.call(|coordinator| {
            let lookup = Lookup { name: file.name.clone(), version: None, first_stripe };
            async move { coordinator.lookup(lookup).await }
        });
        let map = asked.await.map_err(refused)?;
        for chunk in map.stripes.iter().flat_map(|stripe| &stripe.chunks) {
            for copy in &chunk.copies {
                *held.entry(copy.node.as_str().to_owned()).or_default() += chunk.stored_len;
            }
        }
        first_stripe += u32::try_from(map.stripes.len()).unwrap_or(u32::MAX).max(1);
    }
    Ok(held)
}

/// Waits for repair; the seconds from its beginning to its end, and the
/// bytes that it pulled.
async fn repair(store: &Store) -> Result<(f64, u64), Failure> {
    let start = Instant::now();
    let mut began: Option<Instant> = None;
    while start.elapsed() < REPAIR_WITHIN {
        let asked = store.client.call(|coordinator| async move { coordinator.status().await });
        let status = asked.await.map_err(refused)?;
        let (repair, health) = (status.repair, status.health);
        if began.is_none() && repair.running + repair.done > 0 {
            began = Some(Instant::now());
        }
        let lacking = health.degraded + health.at_risk + health.unavailable + health.unknown;
        if let Some(began) = began
            && lacking + repair.waiting + repair.running == 0
        {
            return Ok((began.elapsed().as_secs_f64(), repair.bytes_pulled));
        }
        sleep(LOOK_INTERVAL).await;
    }
    Err(Failure::new(Code::Other, format!("repair did not end within {REPAIR_WITHIN:?}")))
}
