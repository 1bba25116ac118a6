//! What this machine can do: each part of the data path by itself, with all
//! cores at work, over buffers that are as warm as they are in the store.

use std::fs::{self, File as LocalFile};
use std::hint::black_box;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use dfs_core::data::digest::{Digest, crc32c};
use dfs_core::data::frame::{self, FRAME_SIZE, Place};
use dfs_core::data::stripe::{self, RowAt};
use dfs_core::env::{Access, Disk};
use dfs_core::id::Handle;
use dfs_core::policy::{Code, Coding, Compression, StripeShape};
use dfs_runtime::disk::RealDisk;
use tokio::time::Instant;

use super::budget::Data;
use super::material;
use super::meter::Meter;
use super::result::{Limit, Limits, Percentiles};
use super::transport;

/// How long each part is measured.
const TIME: Duration = Duration::from_millis(300);
/// Bytes of the file that is read and written.
const FILE_BYTES: u64 = 512 << 20;
/// Small writes, each with a sync.
const SYNCS: usize = 500;
/// Bytes of one of them.
const SMALL_BYTES: usize = 4096;
/// As many files as a put writes at once.
const FILES_AT_ONCE: u64 = 4;

const PLACE: Place = Place { handle: Handle(7), index: 0 };
const XOR: Coding = Coding { code: Code::Xor, data: 4, parity: 1 };
const RS_4_2: Coding = Coding { code: Code::ReedSolomon, data: 4, parity: 2 };
const RS_6_3: Coding = Coding { code: Code::ReedSolomon, data: 6, parity: 3 };

/// Steps that [`measure`] tells of.
pub(super) const STEPS: u64 = 3;

/// Measures all of them; `step` hears of each part that is done.
pub(super) async fn measure(folder: &Path, step: &(dyn Fn() + Sync)) -> io::Result<Limits> {
    let mut parts = Vec::new();
    let folder = folder.join("limits");
    fs::create_dir_all(&folder)?;
    let computed = tokio::task::spawn_blocking(compute).await.map_err(io::Error::other)?;
    parts.extend(computed);
    step();
    parts.extend(transport::measure().await?);
    step();
    let at = folder.clone();
    let disk = tokio::task::spawn_blocking(move || measure_disk(&at));
    let (disk, mut syncs) = disk.await.map_err(io::Error::other)??;
    parts.extend(disk);
    fs::remove_dir_all(&folder)?;
    step();
    let total: f64 = syncs.iter().sum();
    Ok(Limits {
        parts,
        syncs_per_second: syncs.len() as f64 / total.max(1e-9),
        sync_ms: Percentiles::of(&mut syncs),
    })
}

fn compute() -> Vec<Limit> {
    let random = material::bytes(Data::Random, 1, FRAME_SIZE);
    let text = material::bytes(Data::Text, 1, FRAME_SIZE);
    let seal = |raw: &[u8]| {
        let mut stored = Vec::new();
        frame::seal(PLACE, raw, Compression::Lz4, &mut stored);
        stored
    };
    let stored = seal(&text);
    let mut parts = Vec::new();
    let mut add = |name, what, cost: Cost| parts.push(cost.limit(name, what));

    let copy = on_all_cores(FRAME_SIZE, || {
        let mut to = vec![0; FRAME_SIZE];
        let from = random.clone();
        move || to.copy_from_slice(black_box(&from))
    });
    add("copy", "copying in memory", copy);
    let sha256 = on_all_cores(FRAME_SIZE, || {
        let from = random.clone();
        move || {
            black_box(Digest::of(black_box(&from)));
        }
    });
    add("sha256", "SHA-256", sha256);
    let sum = on_all_cores(FRAME_SIZE, || {
        let from = random.clone();
        move || {
            black_box(crc32c(&[black_box(&from)]));
        }
    });
    add("crc32c", "CRC32C", sum);
    let sealing = |raw: &[u8]| {
        on_all_cores(FRAME_SIZE, || {
            let (from, mut out) = (raw.to_vec(), Vec::new());
            move || {
                out.clear();
                frame::seal(PLACE, black_box(&from), Compression::Lz4, &mut out);
            }
        })
    };
    // A frame that is made is summed too, and copied where it stays raw.
    let lz4_random = sealing(&random).less(sum).less(copy);
    add("lz4-random", "LZ4 on random bytes", lz4_random);
    let share = stored.len() as f64 / text.len() as f64;
    let lz4_text = sealing(&text).less(sum.times(share));
    add("lz4-text", "LZ4 on text", lz4_text);
    let opening = on_all_cores(FRAME_SIZE, || {
        let (from, mut raw) = (stored.clone(), Vec::new());
        move || {
            raw.clear();
            frame::open(PLACE, black_box(&from), &mut raw).expect("a good frame");
        }
    });
    add("lz4-open", "LZ4 back to text", opening.less(sum.times(share)));
    for (coding, encode, rebuild, what_encode, what_rebuild) in [
        (XOR, "xor-encode", "xor-rebuild", "XOR 4+1, coding", "XOR 4+1, rebuilding"),
        (RS_4_2, "rs-4-2-encode", "rs-4-2-rebuild", "RS 4+2, coding", "RS 4+2, rebuilding"),
        (RS_6_3, "rs-6-3-encode", "rs-6-3-rebuild", "RS 6+3, coding", "RS 6+3, rebuilding"),
    ] {
        let (made, rebuilt) = code(coding, sum);
        add(encode, what_encode, made);
        add(rebuild, what_rebuild, rebuilt);
    }
    parts
}

/// Coding of a row, for each byte of data; rebuilding, for each rebuilt byte.
/// Sums are counted elsewhere.
fn code(coding: Coding, sum: Cost) -> (Cost, Cost) {
    let at = RowAt { first_handle: Handle(7), index: 0 };
    let frames: Vec<Vec<u8>> = (0..coding.data)
        .map(|position| {
            let raw = material::bytes(Data::Random, u64::from(position), FRAME_SIZE);
            let mut stored = Vec::new();
            frame::seal(at.place(position), &raw, Compression::None, &mut stored);
            stored
        })
        .collect();
    let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let row_bytes = FRAME_SIZE * usize::from(coding.data);
    let encode = on_all_cores(row_bytes, || {
        let frames = frames.clone();
        let mut parity = Vec::new();
        move || {
            let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
            stripe::encode_row_into(at, coding, black_box(&slices), &mut parity);
        }
    });
    let parity = stripe::encode_row(at, coding, &slices);
    let rebuild = on_all_cores(FRAME_SIZE, || {
        let (frames, parity) = (frames.clone(), parity[0].clone());
        move || {
            let mut sources: Vec<(u8, &[u8])> =
                (1..).zip(frames[1..].iter().map(Vec::as_slice)).collect();
            sources.push((coding.data, &parity));
            let shape = StripeShape { coding, data: coding.data };
            let rebuilt = stripe::rebuild_row(at, shape, black_box(&sources), 0);
            drop(black_box(rebuilt.expect("all sources are good")));
        }
    });
    let parity_share = f64::from(coding.parity) / f64::from(coding.data);
    (encode.less(sum.times(parity_share)), rebuild.less(sum.times(f64::from(coding.data) + 1.0)))
}

/// What a GB costs: seconds of all cores together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    pub(super) cpu_seconds_per_gb: f64,
    pub(super) gb_per_second: f64,
}

impl Cost {
    fn less(self, other: Self) -> Self {
        let cpu = (self.cpu_seconds_per_gb - other.cpu_seconds_per_gb).max(1e-3);
        let cores = self.cpu_seconds_per_gb * self.gb_per_second;
        Self { cpu_seconds_per_gb: cpu, gb_per_second: cores / cpu }
    }

    fn times(self, share: f64) -> Self {
        Self { cpu_seconds_per_gb: self.cpu_seconds_per_gb * share, ..self }
    }

    pub(super) fn limit(self, name: &'static str, what: &'static str) -> Limit {
        let Self { cpu_seconds_per_gb, gb_per_second } = self;
        Limit { name, what, gb_per_second, cpu_seconds_per_gb }
    }
}

/// Runs what `prepare` makes on each core for a while. Each run does
/// `bytes`.
fn on_all_cores<W: FnMut() + Send>(bytes: usize, prepare: impl Fn() -> W) -> Cost {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let works: Vec<W> = (0..cores).map(|_| prepare()).collect();
    let done: Vec<(f64, f64)> = thread::scope(|scope| {
        let threads: Vec<_> = works
            .into_iter()
            .map(|mut work| {
                scope.spawn(move || {
                    // Once for the caches and the pages.
                    work();
                    let (start, mut runs) = (Instant::now(), 0_u32);
                    while start.elapsed() < TIME {
                        work();
                        runs += 1;
                    }
                    (f64::from(runs) * bytes as f64 / 1e9, start.elapsed().as_secs_f64())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no work panics")).collect()
    });
    let gb: f64 = done.iter().map(|(gb, _)| gb).sum();
    let seconds: f64 = done.iter().map(|(_, seconds)| seconds).sum();
    Cost { cpu_seconds_per_gb: seconds / gb, gb_per_second: gb / (seconds / cores as f64) }
}

/// Reading what the system has in memory; writing, syncing and reading as
/// nodes do; and the seconds of each small write with its sync.
fn measure_disk(folder: &Path) -> io::Result<(Vec<Limit>, Vec<f64>)> {
    let mut parts = Vec::new();
    let path = folder.join("read");
    material::make(&path, Data::Random, FILE_BYTES / 2)?;
    let file = Arc::new(LocalFile::open(&path)?);
    let read = on_all_cores(FRAME_SIZE, || {
        let (file, mut buffer, mut at) = (file.clone(), vec![0; FRAME_SIZE], 0);
        move || {
            file.read_exact_at(&mut buffer, at).expect("it was written a moment ago");
            at = (at + FRAME_SIZE as u64) % (FILE_BYTES / 2);
        }
    });
    parts.push(read.limit("read", "reading a file that is in memory"));
    fs::remove_file(&path)?;

    let disk = RealDisk::open(folder.join("node"), None)?;
    let frame = material::bytes(Data::Random, 1, FRAME_SIZE);
    let files = 0..FILES_AT_ONCE;
    let each_bytes = FILE_BYTES / FILES_AT_ONCE;
    let measured = |work: &(dyn Fn(u64) -> io::Result<()> + Sync)| -> io::Result<Cost> {
        let meter = Meter::of_this_process();
        let (running, start) = (meter.begin(), Instant::now());
        thread::scope(|scope| {
            let threads: Vec<_> =
                files.clone().map(|file| scope.spawn(move || work(file))).collect();
            let mut done = threads.into_iter().map(|thread| thread.join().expect("no panic"));
            done.try_for_each(|done| done)
        })?;
        let (seconds, gb) = (start.elapsed().as_secs_f64(), FILE_BYTES as f64 / 1e9);
        let cpu = running.end().client_cpu_seconds.unwrap_or(0.0);
        Ok(Cost { cpu_seconds_per_gb: cpu / gb, gb_per_second: gb / seconds })
    };
    let write = measured(&|number| {
        let file = disk.create(&format!("{number}"), Access::Sequential)?;
        let mut at = 0;
        while at < each_bytes {
            file.write_at(at, &frame)?;
            at += FRAME_SIZE as u64;
        }
        file.sync()
    })?;
    parts.push(write.limit("disk-write", "writing to the disk, fsynced"));
    let read = measured(&|number| {
        let file = disk.open(&format!("{number}"), Access::Sequential)?;
        let (mut buffer, mut at) = (vec![0; FRAME_SIZE], 0);
        while at < each_bytes {
            file.read_at(at, &mut buffer)?;
            at += FRAME_SIZE as u64;
        }
        Ok(())
    })?;
    parts.push(read.limit("disk-read", "reading from the disk"));

    let file = disk.create("small", Access::Random)?;
    let mut syncs = Vec::with_capacity(SYNCS);
    for number in 0..SYNCS {
        let start = Instant::now();
        file.write_at((number * SMALL_BYTES) as u64, &frame[..SMALL_BYTES])?;
        file.sync()?;
        syncs.push(start.elapsed().as_secs_f64());
    }
    Ok((parts, syncs))
}
