//! The catalog as it grows: what an operation costs with a thousand files and
//! with a million, how fast a coordinator starts on that, and how many
//! commands it makes durable.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use dfs_core::api::{CoordinatorService, Lookup, PutMode, Rename};
use dfs_core::catalog::{
    Catalog, Change, ChunkRecord, Command, FileRecord, RunRecord, StripeRecord,
};
use dfs_core::coordinator::{
    Coordinator, CoordinatorSettings, DELETE_GRACE_MS_DEFAULT, UPLOAD_IDLE_MAX_MS_DEFAULT,
};
use dfs_core::data::digest::Digest;
use dfs_core::env::Durability;
use dfs_core::id::{ClusterId, FileId, Handle, NodeIndex, Run};
use dfs_core::ledger::Ledger;
use dfs_core::name::FileName;
use dfs_core::policy::{Coding, Compression, ParitySpec, PlacementStrategy, Policy, StripeShape};
use dfs_runtime::RealWorld;
use dfs_runtime::disk::RealDisk;
use dfs_simulation::rng::Rng;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::runtime::Handle as Runtime;
use tokio::time::Instant;

use super::large::spec;
use super::meter::resident_bytes;
use super::nodes::{self, COPY_BYTES, PaperNodes};
use super::pause;
use super::result::{CatalogResult, CatalogSize, Percentiles};
use crate::exit::{Code, Failure};

/// The catalog is looked at with its files, and with so many times fewer.
const FEWER: [u64; 4] = [1000, 100, 10, 1];
/// Files in one transaction, as when many clients commit at once.
const BATCH: u64 = 256;
/// Calls of each operation that are measured.
const CALLS: u64 = 2_000;
/// Clients at once.
const IN_FLIGHT: usize = 512;
/// Their commands, and their lookups.
const COMMANDS: usize = 100_000;
const LOOKUPS: usize = 100_000;
const NODES: u64 = 6;
/// A node that said that it stops is given up for lost after this.
const REPAIR_AFTER_MS: u64 = 500;

/// Steps that [`measure`] tells of.
pub(super) const STEPS: u64 = FEWER.len() as u64 + 3;

/// How large the catalog becomes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// Files, at least 10.
    pub(super) files: u64,
    /// Chunks of each, each a stripe of its own.
    pub(super) chunks: u64,
}

impl Extent {
    fn all_chunks(self) -> u64 {
        self.files * self.chunks
    }

    fn file_id(self, file: u64) -> u64 {
        file * (self.chunks + 1) + 1
    }

    /// A chunk of a file, and the nodes that have a copy of it.
    fn copies_of(self, file: u64, chunk: u64) -> (Handle, [u64; 2]) {
        let first = file + chunk;
        (Handle(self.file_id(file) + 1 + chunk), [first % NODES, (first + 1) % NODES])
    }

    /// Of so many files, one is renamed.
    fn renamed_one_in(self) -> u64 {
        (self.files / COMMANDS as u64 / 10).max(1) * 10
    }
}

/// Grows a catalog, then opens a coordinator on it; `step` hears of each that
/// is done.
pub(super) async fn measure(
    folder: &Path,
    extent: Extent,
    step: &(dyn Fn() + Sync),
) -> Result<CatalogResult, Failure> {
    let folder = folder.join("catalog");
    let mut growing = Growing::begin(&folder, extent).map_err(other)?;
    let mut result = CatalogResult { in_flight: IN_FLIGHT, ..CatalogResult::default() };
    let mut resident = Vec::new();
    for files in FEWER.map(|fewer| (extent.files / fewer).max(1)) {
        let (grown, size) = tokio::task::spawn_blocking(move || {
            let size = growing.grow_to(files);
            (growing, size)
        })
        .await
        .map_err(other)?;
        growing = grown;
        resident.push(resident_bytes());
        result.sizes.push(size.map_err(other)?);
        step();
    }
    // Of the last step, in which the catalog grew most: what is there anyway,
    // the ledger's cache above all, was there before.
    if let [.., Some(before), Some(after)] = resident[..] {
        let added = extent.all_chunks() - extent.files / 10 * extent.chunks;
        result.memory_bytes_per_chunk = Some(after.saturating_sub(before) as f64 / added as f64);
    }
    drop(growing);
    let world = RealWorld::new(Runtime::current());
    let (mut env, tasks) = world.env(&folder, None).map_err(other)?;
    let nodes = tokio::task::spawn_blocking(move || paper_nodes(extent)).await.map_err(other)?;
    env.peers = nodes.clone();
    let start = Instant::now();
    let coordinator = Coordinator::open(env, settings()).await.map_err(other)?;
    result.load_seconds = start.elapsed().as_secs_f64();
    step();
    ask(&coordinator, extent, &mut result).await?;
    step();
    // Every file but those that were renamed.
    let names = pause::Names { files: extent.files, chunks: extent.all_chunks(), name: kept_name };
    pause::measure(&coordinator, &nodes, &names, &mut result).await?;
    tasks.abort_all();
    drop(coordinator);
    fs::remove_dir_all(&folder).map_err(other)?;
    step();
    Ok(result)
}

fn other(error: impl std::fmt::Display) -> Failure {
    Failure::new(Code::Other, format!("measuring the catalog: {error}"))
}

/// Renames and lookups of many clients at once, past the transport.
async fn ask(
    coordinator: &Arc<Coordinator>,
    extent: Extent,
    result: &mut CatalogResult,
) -> Result<(), Failure> {
    // Each file once, and once more under its other name.
    let one_in = extent.renamed_one_in();
    let renamed = (extent.files / one_in).min(COMMANDS as u64);
    let mut commands = Vec::with_capacity(COMMANDS);
    let mut rng = Rng::new(5);
    for file in (0..renamed).map(|number| number * one_in) {
        let (from, to) = (file_name(file), other_name(file));
        commands.push(Rename { from, to, mode: PutMode::IfAbsent, request: None });
    }
    let (seconds, latencies) = timed(commands, |rename| {
        let coordinator = coordinator.clone();
        async move { coordinator.rename(rename).await }
    })
    .await?;
    result.commands_per_second = renamed as f64 / seconds;
    result.command_ms = latencies;
    let lookups = (0..LOOKUPS)
        .map(|_| {
            let file = rng.next_u64() % renamed * one_in;
            Lookup { name: other_name(file), version: None, first_stripe: 0 }
        })
        .collect();
    let (seconds, latencies) = timed(lookups, |lookup| {
        let coordinator = coordinator.clone();
        async move { coordinator.lookup(lookup).await.map(drop) }
    })
    .await?;
    result.lookups_per_second = LOOKUPS as f64 / seconds;
    result.lookup_ms = latencies;
    Ok(())
}

/// Makes the calls, each a task as a server's are.
async fn timed<T: Send + 'static, F>(
    calls: Vec<T>,
    call: impl Fn(T) -> F,
) -> Result<(f64, Percentiles), Failure>
where
    F: Future<Output = dfs_core::api::Result<()>> + Send + 'static,
{
    let start = Instant::now();
    let calls = calls.into_iter().map(|it| {
        let call = call(it);
        tokio::spawn(async move {
            let start = Instant::now();
            call.await.map(|()| start.elapsed().as_secs_f64())
        })
    });
    let answered = stream::iter(calls).buffer_unordered(IN_FLIGHT);
    let mut times: Vec<f64> =
        answered.map(|answer| answer.map_err(other)?.map_err(other)).try_collect().await?;
    Ok((start.elapsed().as_secs_f64(), Percentiles::of(&mut times)))
}

fn settings() -> CoordinatorSettings {
    CoordinatorSettings {
        // Nodes on paper are leased to nobody: what is measured is the catalog.
        without: (0..NODES).map(super::nodes::id).collect(),
        accepts_older: false,
        address: "127.0.0.1:1".to_owned(),
        nodes: Vec::new(),
        policy: spec(2, ParitySpec::None),
        placement: PlacementStrategy::RoundRobin,
        allow_unsafe: false,
        durability: Durability::Strict,
        repair_after_ms: REPAIR_AFTER_MS,
        delete_grace_ms: DELETE_GRACE_MS_DEFAULT,
        upload_idle_max_ms: UPLOAD_IDLE_MAX_MS_DEFAULT,
        repair_bytes_per_second_max: 0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// A catalog and its ledger; every chunk is there in two copies.
struct Growing {
    extent: Extent,
    disk: RealDisk,
    ledger: Ledger,
    catalog: Catalog,
    changes: Vec<Change>,
    files: u64,
}

impl Growing {
    fn begin(folder: &Path, extent: Extent) -> std::io::Result<Self> {
        fs::create_dir_all(folder)?;
        let disk = RealDisk::open(folder, None)?;
        let opened = Ledger::open(&disk, Durability::Strict).map_err(std::io::Error::other);
        let (ledger, catalog) = opened?;
        let mut growing = Self { extent, disk, ledger, catalog, changes: Vec::new(), files: 0 };
        let settings = settings();
        let (policy, placement) = (settings.policy, settings.placement);
        let cluster = ClusterId([7; 16]);
        growing.apply(&Command::Found { cluster, created_ms: 1, policy, placement })?;
        growing
            .apply(&Command::OpenRun { run: RunRecord::new(Run::new(1, 1), 1), skip_to: None })?;
        for number in 0..NODES {
            let folder = u8::try_from(number).expect("a few nodes");
            growing.apply(&Command::SetMember {
                id: nodes::id(number),
                folder: nodes::folder(folder),
                address: nodes::address(number),
                zone: None,
                capacity: 1 << 50,
                replaces: false,
            })?;
        }
        let next_number = extent.file_id(extent.files);
        growing.apply(&Command::ReserveNumbers { next_number })?;
        growing.commit()?;
        Ok(growing)
    }

    fn apply(&mut self, command: &Command) -> std::io::Result<()> {
        self.catalog
            .apply(command, &mut self.changes)
            .map(drop)
            .map_err(|refusal| std::io::Error::other(refusal.to_string()))
    }

    fn commit(&mut self) -> std::io::Result<()> {
        let committed = self.ledger.commit(&self.changes).map_err(std::io::Error::other);
        self.changes.clear();
        committed
    }

    /// Adds files up to this number, and measures the last of them.
    fn grow_to(&mut self, files: u64) -> std::io::Result<CatalogSize> {
        let (mut applying, mut committing, mut measured) = (0.0, 0.0, 0);
        while self.files < files {
            let until = files.min(self.files + BATCH);
            let commit = |file| commit_file(self.extent, file);
            let commands: Vec<Command> = (self.files..until).map(commit).collect();
            let start = Instant::now();
            for command in &commands {
                self.apply(command)?;
            }
            let applied = Instant::now();
            self.commit()?;
            self.files = until;
            if files - until <= CALLS {
                applying += (applied - start).as_secs_f64();
                committing += applied.elapsed().as_secs_f64();
                measured += commands.len();
            }
        }
        let each_us = |seconds: f64| seconds * 1e6 / measured.max(1) as f64;
        let mut rng = Rng::new(files);
        let names: Vec<FileName> = (0..CALLS).map(|_| file_name(rng.next_u64() % files)).collect();
        let start = Instant::now();
        let mut found = 0;
        for name in &names {
            found += self.catalog.file(name).map_or(0, |file| {
                self.catalog.stripes_of(file, 0).take(1).map(|stripe| stripe.chunks.len()).sum()
            });
        }
        let lookup_us = start.elapsed().as_secs_f64() * 1e6 / CALLS as f64;
        if found != names.len() {
            return Err(std::io::Error::other("a file that was stored is not there"));
        }
        let start = Instant::now();
        let pages = CALLS / 100;
        for name in names.iter().take(pages as usize) {
            let page = self.catalog.list("", Some(name.as_str()), 100, false);
            std::hint::black_box(page);
        }
        let list_page_us = start.elapsed().as_secs_f64() * 1e6 / pages as f64;
        let entries = dfs_core::env::Disk::list(&self.disk, "")?;
        Ok(CatalogSize {
            files,
            chunks: files * self.extent.chunks,
            apply_us: each_us(applying),
            lookup_us,
            list_page_us,
            commit_us: each_us(committing),
            ledger_bytes: entries.iter().map(|entry| entry.len).sum(),
        })
    }
}

fn file_name(number: u64) -> FileName {
    FileName::new(format!("folder-{:03}/file-{number:07}", number % 1000)).expect("a good name")
}

/// The name of a file that [`ask`] leaves alone.
fn kept_name(number: u64) -> FileName {
    file_name(number / 10 * 10 + 1 + number % 9)
}

/// The nodes that have the copies of all files.
fn paper_nodes(extent: Extent) -> Arc<PaperNodes> {
    let mut held: Vec<BTreeSet<Handle>> = vec![BTreeSet::new(); NODES as usize];
    for file in 0..extent.files {
        for chunk in 0..extent.chunks {
            let (handle, on) = extent.copies_of(file, chunk);
            for node in on {
                held[node as usize].insert(handle);
            }
        }
    }
    Arc::new(PaperNodes::holding(held))
}

fn other_name(number: u64) -> FileName {
    FileName::new(format!("renamed/file-{number:07}")).expect("a good name")
}

fn commit_file(extent: Extent, number: u64) -> Command {
    let id = FileId(extent.file_id(number));
    let coding = Coding { code: dfs_core::policy::Code::None, data: 1, parity: 0 };
    let policy =
        Policy { replication: 2, coding, compression: Compression::Lz4, chunk_size: 64 << 20 };
    let node = |at: u64| NodeIndex(u16::try_from(at).expect("a few nodes"));
    let stripe = |at: u64| {
        let (first_handle, on) = extent.copies_of(number, at);
        let chunk = ChunkRecord {
            digest: Digest::of(&first_handle.0.to_le_bytes()),
            raw_len: 1 << 20,
            stored_len: u32::try_from(COPY_BYTES).expect("a small copy"),
            copies: on.map(node).into(),
        };
        StripeRecord {
            first_handle,
            file: id,
            index: u32::try_from(at).expect("a file has fewer stripes"),
            shape: StripeShape { coding, data: 1 },
            chunks: [chunk].into(),
        }
    };
    let stripes: Vec<StripeRecord> = (0..extent.chunks).map(stripe).collect();
    let file = FileRecord {
        id,
        name: file_name(number),
        size: extent.chunks << 20,
        policy,
        created_ms: number,
        stripes: stripes.iter().map(|stripe| stripe.first_handle).collect(),
    };
    Command::CommitFile { file, stripes, replace: false }
}
