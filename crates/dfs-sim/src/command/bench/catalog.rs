//! The catalog as it grows: what an operation costs with a thousand files and
//! with a million, how fast a coordinator starts on that, and how many
//! commands it makes durable.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use dfs_core::api::{CoordinatorService, Lookup, PutMode, Rename};
use dfs_core::catalog::{Catalog, Change, ChunkRecord, Command, FileRecord, StripeRecord};
use dfs_core::coordinator::{
    Coordinator, CoordinatorSettings, DELETE_GRACE_MS_DEFAULT, REPAIR_AFTER_MS_DEFAULT,
    UPLOAD_IDLE_MAX_MS_DEFAULT,
};
use dfs_core::data::digest::Digest;
use dfs_core::env::Durability;
use dfs_core::id::{ClusterId, Epoch, FileId, FolderId, Handle, NodeId, NodeIndex};
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
use super::result::{CatalogResult, CatalogSize, Percentiles};
use crate::exit::{Code, Failure};

/// The catalog is looked at with so many files in it.
const SIZES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
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

/// Steps that [`measure`] tells of.
pub(super) const STEPS: u64 = SIZES.len() as u64 + 2;

/// Grows a catalog, then opens a coordinator on it; `step` hears of each that
/// is done.
pub(super) async fn measure(
    folder: &Path,
    step: &(dyn Fn() + Sync),
) -> Result<CatalogResult, Failure> {
    let folder = folder.join("catalog");
    let mut growing = Growing::begin(&folder).map_err(other)?;
    let mut result = CatalogResult { in_flight: IN_FLIGHT, ..CatalogResult::default() };
    let mut resident = Vec::new();
    for files in SIZES {
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
    let chunks = growing.files;
    // Of the last step, in which the catalog grew most: what is there anyway,
    // the ledger's cache above all, was there before.
    if let [.., Some(before), Some(after)] = resident[..] {
        let added = SIZES[SIZES.len() - 1] - SIZES[SIZES.len() - 2];
        result.memory_bytes_per_chunk = Some(after.saturating_sub(before) as f64 / added as f64);
    }
    drop(growing);
    let world = RealWorld::new(Runtime::current());
    let (env, tasks) = world.env(&folder, None).map_err(other)?;
    let start = Instant::now();
    let coordinator = Coordinator::open(env, settings()).await.map_err(other)?;
    result.load_seconds = start.elapsed().as_secs_f64();
    step();
    ask(&coordinator, chunks, &mut result).await?;
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
    files: u64,
    result: &mut CatalogResult,
) -> Result<(), Failure> {
    // Each file once, and once more under its other name.
    let mut commands = Vec::with_capacity(COMMANDS);
    let mut rng = Rng::new(5);
    for number in 0..COMMANDS as u64 {
        let file = number * (files / COMMANDS as u64).max(1) % files;
        let (from, to) = (file_name(file), other_name(file));
        commands.push(Rename { from, to, mode: PutMode::IfAbsent });
    }
    let (seconds, latencies) = timed(commands, |rename| {
        let coordinator = coordinator.clone();
        async move { coordinator.rename(rename).await }
    })
    .await?;
    result.commands_per_second = COMMANDS as f64 / seconds;
    result.command_ms = latencies;
    let renamed = (files / COMMANDS as u64).max(1);
    let lookups = (0..LOOKUPS)
        .map(|_| {
            let file = rng.next_u64() % (COMMANDS as u64).min(files / renamed) * renamed;
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
        address: "127.0.0.1:1".to_owned(),
        nodes: Vec::new(),
        policy: spec(2, ParitySpec::None),
        placement: PlacementStrategy::RoundRobin,
        allow_unsafe: false,
        durability: Durability::Strict,
        repair_after_ms: REPAIR_AFTER_MS_DEFAULT,
        delete_grace_ms: DELETE_GRACE_MS_DEFAULT,
        upload_idle_max_ms: UPLOAD_IDLE_MAX_MS_DEFAULT,
        repair_bytes_per_second_max: 0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// A catalog and its ledger, of files of one chunk each, in two copies.
struct Growing {
    disk: RealDisk,
    ledger: Ledger,
    catalog: Catalog,
    changes: Vec<Change>,
    files: u64,
}

impl Growing {
    fn begin(folder: &Path) -> std::io::Result<Self> {
        fs::create_dir_all(folder)?;
        let disk = RealDisk::open(folder, None)?;
        let opened = Ledger::open(&disk, Durability::Strict).map_err(std::io::Error::other);
        let (ledger, catalog) = opened?;
        let mut growing = Self { disk, ledger, catalog, changes: Vec::new(), files: 0 };
        let settings = settings();
        let (policy, placement) = (settings.policy, settings.placement);
        let cluster = ClusterId([7; 16]);
        growing.apply(&Command::Found { cluster, created_ms: 1, policy, placement })?;
        growing.apply(&Command::OpenEpoch { epoch: Epoch(1) })?;
        for number in 0..NODES {
            let folder = u8::try_from(number).expect("a few nodes");
            growing.apply(&Command::SetMember {
                id: NodeId::new(format!("n{number}")).expect("a good id"),
                folder: FolderId([folder; 16]),
                address: format!("127.0.0.1:{}", 2 + number),
                zone: None,
                capacity: 1 << 50,
                replaces: false,
            })?;
        }
        let next_number = 4 * SIZES[SIZES.len() - 1] + 10;
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
            let commands: Vec<Command> = (self.files..until).map(commit_file).collect();
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
                self.catalog.stripes_of(file, 0).map(|stripe| stripe.chunks.len()).sum()
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
            chunks: files,
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

fn other_name(number: u64) -> FileName {
    FileName::new(format!("renamed/file-{number:07}")).expect("a good name")
}

fn commit_file(number: u64) -> Command {
    let (id, handle) = (2 * number + 1, Handle(2 * number + 2));
    let coding = Coding { code: dfs_core::policy::Code::None, data: 1, parity: 0 };
    let policy =
        Policy { replication: 2, coding, compression: Compression::Lz4, chunk_size: 64 << 20 };
    let node = |at: u64| NodeIndex(u16::try_from(at % NODES).expect("a few nodes"));
    let chunk = ChunkRecord {
        digest: Digest::of(&number.to_le_bytes()),
        raw_len: 1 << 20,
        stored_len: (1 << 20) + 12,
        copies: vec![node(number), node(number + 1)].into(),
    };
    let shape = StripeShape { coding, data: 1 };
    let stripe = StripeRecord {
        first_handle: handle,
        file: FileId(id),
        index: 0,
        shape,
        chunks: vec![chunk],
    };
    let file = FileRecord {
        id: FileId(id),
        name: file_name(number),
        size: 1 << 20,
        policy,
        created_ms: number,
        stripes: vec![handle],
    };
    Command::CommitFile { file, stripes: vec![stripe], replace: false }
}
