//! The pure floors: what frames, rows, placements and the catalog cost on one
//! core. `cargo bench -p dfs-core --bench floors` runs them; ratios within one run count,
//! not the figures of two.

use std::collections::BTreeSet;
use std::hint::black_box;

use dfs_core::catalog::{Catalog, ChunkRecord, Command, FileRecord, RunRecord, StripeRecord};
use dfs_core::data::digest::{Digest, crc32c};
use dfs_core::data::frame::{self, FRAME_SIZE, Place};
use dfs_core::data::stripe::{RowAt, encode_row_into, rebuild_row};
use dfs_core::id::{ClusterId, FileId, FolderId, Handle, NodeId, NodeIndex, Run};
use dfs_core::name::FileName;
use dfs_core::placement::{Candidate, PlacementRequest, choose};
use dfs_core::policy::{
    Code, Coding, Compression, ParitySpec, PlacementStrategy, Policy, PolicySpec, StripeShape,
};
use divan::Bencher;
use divan::counter::BytesCount;

const PLACE: Place = Place { handle: Handle(7), index: 0 };
const AT: RowAt = RowAt { first_handle: Handle(7), index: 0 };
const CODINGS: [Coding; 3] = [
    Coding { code: Code::Xor, data: 4, parity: 1 },
    Coding { code: Code::ReedSolomon, data: 4, parity: 2 },
    Coding { code: Code::ReedSolomon, data: 6, parity: 3 },
];

fn main() {
    divan::main();
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = state;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    });
    words.flat_map(u64::to_le_bytes).take(len).collect()
}

fn text(len: usize) -> Vec<u8> {
    let rows = (0..).map(|row| format!("row {row:>8} of the file: {} s\n", row * 7919 % 1000));
    rows.flat_map(String::into_bytes).take(len).collect()
}

fn raw(kind: &str) -> Vec<u8> {
    if kind == "text" { text(FRAME_SIZE) } else { noise(FRAME_SIZE, 1) }
}

#[divan::bench]
fn sha256(bencher: Bencher<'_, '_>) {
    let raw = noise(FRAME_SIZE, 1);
    bencher.counter(BytesCount::new(FRAME_SIZE)).bench_local(|| Digest::of(black_box(&raw)));
}

#[divan::bench]
fn crc(bencher: Bencher<'_, '_>) {
    let raw = noise(FRAME_SIZE, 1);
    bencher.counter(BytesCount::new(FRAME_SIZE)).bench_local(|| crc32c(&[black_box(&raw)]));
}

#[divan::bench_group]
mod frames {
    use super::*;

    #[divan::bench(args = ["random", "text"])]
    fn seal(bencher: Bencher<'_, '_>, kind: &str) {
        let (raw, mut stored) = (raw(kind), Vec::new());
        bencher.counter(BytesCount::new(FRAME_SIZE)).bench_local(|| {
            stored.clear();
            frame::seal(PLACE, black_box(&raw), Compression::Lz4, &mut stored);
        });
    }

    #[divan::bench(args = ["random", "text"])]
    fn open(bencher: Bencher<'_, '_>, kind: &str) {
        let (mut stored, mut out) = (Vec::new(), Vec::new());
        frame::seal(PLACE, &raw(kind), Compression::Lz4, &mut stored);
        bencher.counter(BytesCount::new(FRAME_SIZE)).bench_local(|| {
            out.clear();
            frame::open(PLACE, black_box(&stored), &mut out).expect("a good frame");
        });
    }
}

fn row(coding: Coding) -> Vec<Vec<u8>> {
    (0..coding.data)
        .map(|position| {
            let mut stored = Vec::new();
            let raw = noise(FRAME_SIZE, u64::from(position));
            frame::seal(AT.place(position), &raw, Compression::None, &mut stored);
            stored
        })
        .collect()
}

#[divan::bench_group]
mod rows {
    use super::*;

    /// For each byte of data.
    #[divan::bench(args = CODINGS)]
    fn encode(bencher: Bencher<'_, '_>, coding: Coding) {
        let (row, mut parity) = (row(coding), Vec::new());
        let frames: Vec<&[u8]> = row.iter().map(Vec::as_slice).collect();
        let bytes = FRAME_SIZE * usize::from(coding.data);
        bencher
            .counter(BytesCount::new(bytes))
            .bench_local(|| encode_row_into(AT, coding, black_box(&frames), &mut parity));
    }

    /// For each byte that is rebuilt; the sums of all sources are checked.
    #[divan::bench(args = CODINGS)]
    fn rebuild(bencher: Bencher<'_, '_>, coding: Coding) {
        let (row, mut parity) = (row(coding), Vec::new());
        let frames: Vec<&[u8]> = row.iter().map(Vec::as_slice).collect();
        encode_row_into(AT, coding, &frames, &mut parity);
        let mut sources: Vec<(u8, &[u8])> = (1..).zip(frames[1..].iter().copied()).collect();
        sources.push((coding.data, &parity[0]));
        let shape = StripeShape { coding, data: coding.data };
        bencher.counter(BytesCount::new(FRAME_SIZE)).bench_local(|| {
            rebuild_row(AT, shape, black_box(&sources), 0).expect("all sources are good")
        });
    }
}

#[divan::bench(args = [9, 100, 1000])]
fn place_a_stripe(bencher: Bencher<'_, '_>, nodes: u16) {
    let candidates: Vec<Candidate> = (0..nodes)
        .map(|number| Candidate {
            index: NodeIndex(number),
            id: NodeId::new(format!("n{number}")).expect("a good id"),
            zone: None,
            capacity: 1 << 40,
            free: 1 << 39,
            is_writable: true,
            note: None,
        })
        .collect();
    let coding = CODINGS[2];
    let policy =
        Policy { replication: 1, coding, compression: Compression::Lz4, chunk_size: 64 << 20 };
    let mut key = 0;
    bencher.bench_local(|| {
        key += 1;
        choose(&PlacementRequest {
            strategy: PlacementStrategy::RoundRobin,
            candidates: &candidates,
            policy: &policy,
            shape: StripeShape { coding, data: coding.data },
            key,
            chunk_bytes: 64 << 20,
            excluded: &BTreeSet::new(),
            allow_unsafe: false,
            is_strict: true,
        })
        .expect("there are nodes enough")
    });
}

/// A catalog of so many files of one chunk each.
fn catalog(files: u64) -> Catalog {
    let mut catalog = Catalog::default();
    let policy = PolicySpec {
        replication: 2,
        parity: ParitySpec::None,
        compression: Compression::Lz4,
        chunk_size: 64 << 20,
    };
    let placement = PlacementStrategy::RoundRobin;
    let mut apply =
        |command| drop(catalog.apply(&command, &mut Vec::new()).expect("a good command"));
    apply(Command::Found { cluster: ClusterId([7; 16]), created_ms: 1, policy, placement });
    apply(Command::OpenRun { run: RunRecord::new(Run::new(1, 1), 1), skip_to: None });
    for number in 0..3_u8 {
        apply(Command::SetMember {
            id: NodeId::new(format!("n{number}")).expect("a good id"),
            folder: FolderId([number; 16]),
            address: format!("127.0.0.1:{}", 4001 + u16::from(number)),
            zone: None,
            capacity: 1 << 40,
            replaces: false,
        });
    }
    apply(Command::ReserveNumbers { next_number: 1 << 40 });
    (0..files).for_each(|number| apply(commit(number)));
    catalog
}

fn commit(number: u64) -> Command {
    let (id, handle) = (2 * number + 1, Handle(2 * number + 2));
    let coding = Coding { code: Code::None, data: 1, parity: 0 };
    let chunk = ChunkRecord {
        digest: Digest([7; 32]),
        raw_len: 1 << 20,
        stored_len: (1 << 20) + 12,
        copies: vec![NodeIndex(0), NodeIndex(1)].into(),
    };
    let stripe = StripeRecord {
        first_handle: handle,
        file: FileId(id),
        index: 0,
        shape: StripeShape { coding, data: 1 },
        chunks: vec![chunk].into(),
    };
    let policy =
        Policy { replication: 2, coding, compression: Compression::Lz4, chunk_size: 64 << 20 };
    let file = FileRecord {
        id: FileId(id),
        name: name(number),
        size: 1 << 20,
        policy,
        created_ms: number,
        stripes: vec![handle].into(),
    };
    Command::CommitFile { file, stripes: vec![stripe], replace: false }
}

fn name(number: u64) -> FileName {
    FileName::new(format!("folder-{:03}/file-{number:07}", number % 1000)).expect("a good name")
}

#[divan::bench_group(sample_count = 20)]
mod catalogs {
    use super::*;

    #[divan::bench(args = [1_000, 100_000])]
    fn commit_a_file(bencher: Bencher<'_, '_>, files: u64) {
        let mut catalog = catalog(files);
        let mut next = files;
        bencher.bench_local(|| {
            next += 1;
            catalog.apply(&commit(next), &mut Vec::new()).expect("a new name")
        });
    }

    #[divan::bench(args = [1_000, 100_000])]
    fn look_a_file_up(bencher: Bencher<'_, '_>, files: u64) {
        let catalog = catalog(files);
        let mut number = 0;
        bencher.bench_local(|| {
            number = (number + 7919) % files;
            catalog.file(&name(number)).expect("it is there").size
        });
    }
}
