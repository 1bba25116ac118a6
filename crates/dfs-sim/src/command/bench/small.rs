//! Many small files, and listing them.

use bytes::Bytes;
use dfs_core::api::{ENTRIES_PER_PAGE_MAX, List};
use dfs_core::client::Progress;
use dfs_core::name::FileName;
use dfs_core::policy::ParitySpec;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::budget::Data;
use super::large::spec;
use super::material;
use super::result::{Percentiles, Small, Used};
use super::store::{Nowhere, Store, failure, policy_name, refused};
use crate::exit::Failure;

/// Files under way at once.
const IN_FLIGHT: usize = 32;
/// How many there are of each size, in bytes.
const FILES: [(u64, u64); 2] = [(4 << 10, 8_000), (1 << 20, 512)];

/// Steps that [`measure`] tells of.
pub(super) const STEPS: u64 = 5;

/// Puts, gets and lists them; `step` hears of each that is done.
pub(super) async fn measure(
    store: &Store,
    step: &(dyn Fn() + Sync),
) -> Result<Vec<Small>, Failure> {
    let mut results = Vec::new();
    for (file_bytes, count) in FILES {
        let names: Vec<FileName> = (0..count)
            .map(|number| store.name(&format!("small-{file_bytes}/{number:06}")))
            .collect();
        let spec = spec(2, ParitySpec::None);
        let len = usize::try_from(file_bytes).expect("a small file");
        // Files differ, but making them is no part of the measurement.
        let period = Bytes::from(material::bytes(Data::Random, 9, len + names.len()));
        let put = |number: usize| {
            let bytes = period.slice(number..number + len);
            let name = names[number].clone();
            async move { store.put_small(name, bytes, spec).await }
        };
        let get = |number: usize| {
            let name = &names[number];
            async move {
                let got = store.client.get(name, None, &mut Nowhere, &Progress::new()).await;
                got.map(drop).map_err(failure)
            }
        };
        let run = |verb, figures| small(verb, file_bytes, count, policy_name(spec), figures);
        results.push(run("put", many(store, names.len(), put).await?));
        step();
        results.push(run("get", many(store, names.len(), get).await?));
        step();
        if file_bytes == FILES[0].0 {
            let prefix = format!("{}/", store.name(&format!("small-{file_bytes}")).as_str());
            results.push(run("list", list(store, prefix, count).await?));
            step();
        }
        store.remove(&format!("small-{file_bytes}"), true).await?;
    }
    Ok(results)
}

/// What many calls took: each, all together, and what was used.
struct Figures {
    latencies: Vec<f64>,
    seconds: f64,
    used: Used,
}

async fn many<F>(store: &Store, count: usize, call: impl Fn(usize) -> F) -> Result<Figures, Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    let (running, start) = (store.meter.begin(), Instant::now());
    let calls = (0..count).map(|number| {
        let call = call(number);
        async move {
            let start = Instant::now();
            call.await?;
            Ok::<_, Failure>(start.elapsed().as_secs_f64())
        }
    });
    let latencies = stream::iter(calls).buffer_unordered(IN_FLIGHT).try_collect().await?;
    Ok(Figures { latencies, seconds: start.elapsed().as_secs_f64(), used: running.end() })
}

/// Lists all names, page by page; a latency is that of a page.
async fn list(store: &Store, prefix: String, expected: u64) -> Result<Figures, Failure> {
    let (running, start) = (store.meter.begin(), Instant::now());
    let (mut latencies, mut after, mut found) = (Vec::new(), None, 0);
    loop {
        let request = List {
            prefix: prefix.clone(),
            after: after.take(),
            limit: u32::try_from(ENTRIES_PER_PAGE_MAX).expect("a bounded page"),
            by_folder: false,
        };
        let asked = Instant::now();
        let page = store.client.call(|coordinator| {
            let request = request.clone();
            async move { coordinator.list(request).await }
        });
        let page = page.await.map_err(refused)?;
        latencies.push(asked.elapsed().as_secs_f64());
        found += page.entries.len() as u64;
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    debug_assert_eq!(found, expected);
    Ok(Figures { latencies, seconds: start.elapsed().as_secs_f64(), used: running.end() })
}

fn small(
    verb: &'static str,
    file_bytes: u64,
    files: u64,
    policy: String,
    Figures { mut latencies, seconds, used }: Figures,
) -> Small {
    Small {
        verb,
        file_bytes,
        files,
        in_flight: if verb == "list" { 1 } else { IN_FLIGHT },
        policy,
        seconds,
        files_per_second: files as f64 / seconds,
        latency_ms: Percentiles::of(&mut latencies),
        used,
        cpu_ms_per_file: used.cpu_seconds().map(|cpu| cpu * 1e3 / files as f64),
    }
}
