//! The store that is measured, and one put or get of it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dfs_core::api::{Error, FileInfo, NodeState, PolicyOverrides, PutMode, Remove};
use dfs_core::client::{Client, ClientError, Doubt, Progress, PutOptions, Sink, Source};
use dfs_core::name::FileName;
use dfs_core::policy::PolicySpec;
use tokio::time::{Instant, interval, sleep};

use super::budget::{self, Data, Shares};
use super::meter::Meter;
use super::result::{Large, Limits, Percentiles, Used};
use crate::command::source::{self, ReadOnly};
use crate::exit::{Code, Failure};

/// How long nodes may take until they are online, and how often it is looked.
const ONLINE_WITHIN: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// The pace of a large file is told by the time that each of so many bytes
/// took, as it is looked at so often.
const PACE_BYTES: u64 = 16 << 20;
const PACE_LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// The store under measurement.
pub(super) struct Store {
    pub(super) client: Arc<Client>,
    pub(super) meter: Meter,
    pub(super) cores: usize,
    /// What its files' names begin with.
    pub(super) prefix: String,
}

/// A policy and what its file holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) spec: PolicySpec,
    pub(super) data: Data,
}

impl Store {
    /// A name of its own.
    pub(super) fn name(&self, name: &str) -> FileName {
        FileName::new(format!("{}{name}", self.prefix)).expect("the names keep the rules")
    }

    /// How a file of this policy is put.
    pub(super) fn options(&self, name: FileName, spec: PolicySpec) -> PutOptions {
        PutOptions {
            name,
            policy: PolicyOverrides {
                replication: Some(spec.replication),
                parity: Some(spec.parity),
                compression: Some(spec.compression),
                chunk_size: Some(spec.chunk_size),
            },
            mode: PutMode::Replace,
            is_strict: true,
            allow_unsafe: false,
            allow_empty: true,
        }
    }

    /// Nodes that take chunks now.
    pub(super) async fn nodes_online(&self) -> Result<usize, Failure> {
        let asked = self.client.call(|coordinator| async move { coordinator.status().await });
        let status = asked.await.map_err(refused)?;
        Ok(status.nodes.iter().filter(|node| node.state == NodeState::Online).count())
    }

    /// Waits until so many nodes take chunks.
    pub(super) async fn until_online(&self, nodes: u8) -> Result<(), Failure> {
        let start = Instant::now();
        while self.nodes_online().await? < usize::from(nodes) {
            if start.elapsed() > ONLINE_WITHIN {
                let text = format!("not all of {nodes} nodes were online within {ONLINE_WITHIN:?}");
                return Err(Failure::new(Code::Unavailable, text));
            }
            sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }

    /// Puts the local file `path` under `name`.
    pub(super) async fn put(
        &self,
        path: &Path,
        name: &FileName,
        kind: Kind,
        limits: Option<&Limits>,
    ) -> Result<(Large, FileInfo), Failure> {
        let source = source::open(path).await?;
        let options = self.options(name.clone(), kind.spec);
        let progress = Progress::new();
        let (running, start) = (self.meter.begin(), Instant::now());
        let (put, pace_ms) = paced(&progress, self.client.put(source, options, &progress)).await;
        let (seconds, used) = (start.elapsed().as_secs_f64(), running.end());
        let file = put.map_err(failure)?.file;
        let limit = limits.map(|limits| {
            let shares = shares(&file);
            let cpu = budget::put(limits, &file.policy, kind.data, shares);
            (cpu, budget::seconds(limits, self.cores, cpu, "disk-write", shares.raw))
        });
        let took = Took { seconds, pace_ms, used };
        Ok((large("put", &file, kind, took, limit), file))
    }

    /// Gets it back, into nothing.
    pub(super) async fn get(
        &self,
        file: &FileInfo,
        kind: Kind,
        limits: Option<&Limits>,
    ) -> Result<Large, Failure> {
        let (progress, mut nowhere) = (Progress::new(), Nowhere);
        let (running, start) = (self.meter.begin(), Instant::now());
        let getting = self.client.get(&file.name, None, &mut nowhere, &progress);
        let (got, pace_ms) = paced(&progress, getting).await;
        let (seconds, used) = (start.elapsed().as_secs_f64(), running.end());
        got.map_err(failure)?;
        let limit = limits.map(|limits| {
            let shares = shares(file);
            let cpu = budget::get(limits, kind.data, shares);
            (cpu, budget::seconds(limits, self.cores, cpu, "disk-read", shares.stored))
        });
        Ok(large("get", file, kind, Took { seconds, pace_ms, used }, limit))
    }

    /// Puts a small file that is in memory.
    pub(super) async fn put_small(
        &self,
        name: FileName,
        bytes: Bytes,
        spec: PolicySpec,
    ) -> Result<(), Failure> {
        let len = bytes.len() as u64;
        let source = Source::Seekable { file: Arc::new(ReadOnly::Memory(bytes)), len, check: None };
        let options = self.options(name, spec);
        self.client.put(source, options, &Progress::new()).await.map(drop).map_err(failure)
    }

    /// Removes a file, or all below a folder.
    pub(super) async fn remove(&self, name: &str, is_recursive: bool) -> Result<(), Failure> {
        let path = self.name(name).as_str().to_owned();
        let doubt = Doubt { what: "it was removed", look: "dfs-sim ls" };
        let asked = self.client.change(doubt, |coordinator, request| {
            let (path, request) = (path.clone(), Some(request));
            let remove = Remove { path, is_recursive, is_dry_run: false, request };
            async move { coordinator.remove(remove).await }
        });
        asked.await.map(drop).map_err(refused)
    }
}

/// The coordinator's error as the verb's.
pub(super) fn refused(error: Error) -> Failure {
    Failure::new(error.kind.into(), error.message)
}

/// A client's error as the verb's.
pub(super) fn failure(error: ClientError) -> Failure {
    Failure::new(error.kind.into(), error.message)
}

fn shares(file: &FileInfo) -> Shares {
    let whole = file.size.max(1) as f64;
    let stored = file.stored_bytes as f64 / whole;
    let raw = file.raw_bytes as f64 / whole;
    Shares { stored, raw, parity: (raw - stored * f64::from(file.policy.replication)).max(0.0) }
}

fn large(
    verb: &'static str,
    file: &FileInfo,
    kind: Kind,
    took: Took,
    limit: Option<(f64, f64)>,
) -> Large {
    let Took { seconds, pace_ms, used } = took;
    let gb = file.size as f64 / 1e9;
    let cpu = used.cpu_seconds().map(|cpu| cpu / gb);
    Large {
        verb,
        policy: policy_name(kind.spec),
        data: kind.data.name(),
        bytes: file.size,
        stored_bytes: file.stored_bytes,
        raw_bytes: file.raw_bytes,
        seconds,
        mb_per_second: gb * 1e3 / seconds,
        pace_ms,
        used,
        cpu_seconds_per_gb: cpu,
        limit_cpu_seconds_per_gb: limit.map(|(cpu, _)| cpu),
        cpu_ratio: limit.and_then(|(limit, _)| Some(cpu? / limit)),
        time_share: limit.map(|(_, least)| least * gb / seconds),
    }
}

/// What a put or a get took.
struct Took {
    seconds: f64,
    pace_ms: Percentiles,
    used: Used,
}

/// Does `work`, and notes how long each [`PACE_BYTES`] of it took.
async fn paced<T>(progress: &Progress, work: impl Future<Output = T>) -> (T, Percentiles) {
    let mut work = std::pin::pin!(work);
    let mut look = interval(PACE_LOOK_INTERVAL);
    let (mut steps, mut since, mut times) = (0, Instant::now(), Vec::new());
    loop {
        tokio::select! {
            biased;
            done = &mut work => return (done, Percentiles::of(&mut times)),
            now = look.tick() => {
                let done = progress.done_bytes() / PACE_BYTES;
                if done > steps {
                    let each = (now - since).as_secs_f64() / (done - steps) as f64;
                    times.extend((steps..done).map(|_| each));
                    (steps, since) = (done, now);
                }
            }
        }
    }
}

/// `R=2`, or `rs:4+2`.
pub(super) fn policy_name(spec: PolicySpec) -> String {
    match spec.parity {
        dfs_core::policy::ParitySpec::None => format!("R={}", spec.replication),
        parity => parity.to_string(),
    }
}

/// Takes bytes and keeps none.
pub(super) struct Nowhere;

#[async_trait]
impl Sink for Nowhere {
    fn is_ordered(&self) -> bool {
        false
    }

    async fn write(&mut self, _: u64, _: Bytes) -> io::Result<()> {
        Ok(())
    }
}
