//! Large files under several policies.

use std::path::Path;

use dfs_core::policy::{CHUNK_SIZE_DEFAULT, Compression, ParitySpec, PolicySpec};

use super::budget::Data;
use super::material;
use super::result::{Large, Limits};
use super::store::{Kind, Store, policy_name};
use crate::exit::Failure;
use crate::output;

/// How often each is done; the one in the middle by its time counts.
const RUNS: usize = 3;

/// Kinds that are measured.
pub(super) fn kinds() -> Vec<Kind> {
    let rs = |data, parity| ParitySpec::ReedSolomon { data, parity };
    let mut kinds: Vec<Kind> = [
        (1, ParitySpec::None),
        (2, ParitySpec::None),
        (3, ParitySpec::None),
        (1, ParitySpec::Xor { data: 4 }),
        (1, rs(4, 2)),
        (1, rs(6, 3)),
    ]
    .into_iter()
    .map(|(replication, parity)| Kind { spec: spec(replication, parity), data: Data::Random })
    .collect();
    kinds.push(Kind { spec: spec(1, ParitySpec::None), data: Data::Text });
    kinds.push(Kind { spec: spec(1, rs(4, 2)), data: Data::Text });
    kinds
}

/// A policy with the defaults for all else.
pub(super) fn spec(replication: u8, parity: ParitySpec) -> PolicySpec {
    let (compression, chunk_size) = (Compression::Lz4, CHUNK_SIZE_DEFAULT);
    PolicySpec { replication, parity, compression, chunk_size }
}

/// Nodes without which a policy is refused.
fn nodes_needed(spec: PolicySpec) -> usize {
    usize::from(match spec.parity {
        ParitySpec::None => spec.replication,
        ParitySpec::XorAuto => 2,
        ParitySpec::Xor { data } => data + 1,
        ParitySpec::ReedSolomon { data, parity } => data + parity,
    })
}

/// Puts and gets a file of each kind; `step` hears of each that is done.
pub(super) async fn measure(
    store: &Store,
    folder: &Path,
    bytes: u64,
    limits: Option<&Limits>,
    step: &(dyn Fn() + Sync),
) -> Result<Vec<Large>, Failure> {
    let mut results = Vec::new();
    let mut made: Option<Data> = None;
    let path = folder.join("large-file");
    let nodes = store.nodes_online().await?;
    for kind in kinds() {
        if nodes_needed(kind.spec) > nodes {
            output::note(format!(
                "bench: {} is left out: it needs {} nodes, {nodes} are online",
                policy_name(kind.spec),
                nodes_needed(kind.spec)
            ));
            step();
            continue;
        }
        if made != Some(kind.data) {
            let target = path.clone();
            let make = move || material::make(&target, kind.data, bytes);
            let making = tokio::task::spawn_blocking(make).await;
            making
                .map_err(std::io::Error::other)
                .flatten()
                .map_err(|e| Failure::local("write", &path, &e))?;
            made = Some(kind.data);
        }
        let file_name = format!("large-{}-{}", policy_name(kind.spec), kind.data.name());
        let name = store.name(&file_name);
        let (mut puts, mut gets) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let (put, file) = store.put(&path, &name, kind, limits).await?;
            puts.push(put);
            gets.push(store.get(&file, kind, limits).await?);
        }
        store.remove(&file_name, false).await?;
        results.push(median(puts));
        results.push(median(gets));
        step();
    }
    drop(std::fs::remove_file(&path));
    Ok(results)
}

/// The run in the middle.
pub(super) fn median(mut runs: Vec<Large>) -> Large {
    runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let middle = runs.len() / 2;
    runs.swap_remove(middle)
}
