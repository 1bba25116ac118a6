//! What a get does when its sources let it down.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dfs_core::api::{Context, FileMap, Kind, Lookup, PutMode, WriteHeader, WritePart};
use dfs_core::client::{NoteHow, Progress, PutOptions, Sink};
use dfs_core::data::frame::{self, Place};
use dfs_core::policy::{Compression, ParitySpec};
use dfs_simulation::World;
use dfs_simulation::cluster::{CLIENT, Cluster, ClusterSettings, file_name, options, seekable};
use dfs_simulation::oracle::sample_bytes;
use dfs_simulation::sample::{as_stream, read_whole};
use tokio::time::Instant;

const MIB: usize = 1 << 20;

/// A cluster that repairs nothing while a test looks, with large chunks.
fn settings(nodes: usize, replication: u8, parity: ParitySpec, chunk: usize) -> ClusterSettings {
    let mut settings = ClusterSettings::new(nodes, replication, parity);
    settings.policy.chunk_size = u32::try_from(chunk).expect("a chunk size");
    settings.repair_after = Duration::from_secs(1_000_000);
    settings
}

async fn map_of(cluster: &Cluster<'_>, name: &str) -> FileMap {
    let lookup = Lookup { name: file_name(name), version: None, first_stripe: 0 };
    cluster.coordinator().lookup(lookup).await.expect("lookup")
}

#[test]
fn the_summary_says_which_chunks_came_from_another_copy() {
    World::run(3, async |world| {
        let cluster = Cluster::start(world, settings(3, 2, ParitySpec::None, MIB)).await;
        let bytes = sample_bytes(1, 9 * MIB + 17);
        cluster.put("a", &bytes).await.expect("put");
        let (all_well, summary) = cluster.get_with("a", None, true).await.expect("get");
        assert!(all_well == bytes);
        assert_eq!((summary.chunks, summary.chunks_verified), (10, 10));
        assert_eq!((summary.from_other_copy, summary.from_parity), (0, 0), "{summary:?}");
        cluster.host("n2").kill();
        // Before the coordinator knows, and after.
        for waited in [0, 60] {
            cluster.pass(Duration::from_secs(waited)).await;
            let (read, summary) = cluster.get_with("a", None, waited == 0).await.expect("get");
            assert!(read == bytes);
            assert!(summary.from_other_copy >= 2, "{summary:?}");
            assert_eq!(summary.from_parity, 0);
            assert_eq!(summary.notes.len() as u64, summary.from_other_copy);
            for note in &summary.notes {
                let NoteHow::OtherCopy { node, instead_of, why } = &note.how else {
                    panic!("{note:?}")
                };
                assert_eq!(instead_of.as_str(), "n2");
                assert!(node.as_str() != "n2" && !why.is_empty(), "{note:?}");
            }
        }
    });
}

#[test]
fn the_summary_says_which_chunks_came_from_parity() {
    World::run(4, async |world| {
        let parity = ParitySpec::ReedSolomon { data: 3, parity: 2 };
        let cluster = Cluster::start(world, settings(5, 1, parity, 2 * MIB)).await;
        let bytes = sample_bytes(2, 11 * MIB + 100_000);
        cluster.put("a", &bytes).await.expect("put");
        cluster.host("n1").kill();
        cluster.host("n4").kill();
        for is_ordered in [true, false] {
            let (read, summary) = cluster.get_with("a", None, is_ordered).await.expect("get");
            assert!(read == bytes);
            assert_eq!(summary.chunks_verified, summary.chunks);
            assert!(summary.from_parity >= 2, "{summary:?}");
            for note in &summary.notes {
                let NoteHow::Parity { rows, nodes, why, .. } = &note.how else {
                    panic!("{note:?}")
                };
                assert!((1..=2).contains(rows) && nodes.len() >= 2, "{note:?}");
                assert!(why.contains("n1: ") || why.contains("n4: "), "{why}");
            }
            cluster.pass(Duration::from_secs(60)).await;
        }
    });
}

#[test]
fn a_read_goes_on_elsewhere_when_its_node_dies_under_it() {
    for (replication, parity) in [(2, ParitySpec::None), (1, ParitySpec::Xor { data: 2 })] {
        for after_ms in [1, 3, 10, 30] {
            World::run(after_ms, async |world| {
                let cluster =
                    Cluster::start(world, settings(3, replication, parity, 4 * MIB)).await;
                let bytes = sample_bytes(5, 12 * MIB);
                cluster.put("a", &bytes).await.expect("put");
                let get = cluster.begin_get("a", None, after_ms % 2 == 0);
                cluster.pass(Duration::from_millis(after_ms)).await;
                cluster.host("n3").kill();
                let (read, summary) = get.await.expect("the client lives").expect("get");
                assert!(read == bytes, "{replication} copies, killed after {after_ms} ms");
                assert_eq!(summary.chunks_verified, summary.chunks);
            });
        }
    }
}

#[test]
fn a_slow_node_is_overtaken() {
    for (replication, parity) in [(2, ParitySpec::None), (1, ParitySpec::Xor { data: 2 })] {
        World::run(6, async |world| {
            let cluster = Cluster::start(world, settings(3, replication, parity, 2 * MIB)).await;
            let bytes = sample_bytes(6, 12 * MIB);
            cluster.put("a", &bytes).await.expect("put");
            world.net().slow_down("n1", 1_500_000);
            let started = Instant::now();
            let (read, summary) = cluster.get_with("a", None, true).await.expect("get");
            assert!(read == bytes);
            assert!(summary.from_other_copy + summary.from_parity > 0, "{summary:?}");
            assert!(started.elapsed() < Duration::from_secs(3), "took {:?}", started.elapsed());
        });
    }
}

#[test]
fn every_range_is_the_bytes_of_that_range() {
    /// One frame and a half.
    const CHUNK: usize = 3 * MIB / 2;
    World::run(7, async |world| {
        let parity = ParitySpec::Xor { data: 2 };
        let cluster = Cluster::start(world, settings(4, 1, parity, CHUNK)).await;
        let len = 4 * CHUNK + 321;
        let bytes = sample_bytes(7, len);
        cluster.put("a", &bytes).await.expect("put");
        let edge = [0, 1, MIB - 1, MIB, CHUNK, 2 * CHUNK + 5, len - 1, len, len + 9];
        for is_whole in [true, false] {
            for from in edge {
                for to in edge {
                    let range = from as u64..to as u64;
                    let got = cluster.get_with("a", Some(range), (from + to) % 2 == 0).await;
                    if from >= len {
                        let refused = got.expect_err("it lies beyond the end");
                        assert_eq!(refused.kind, Kind::Invalid, "{refused}");
                        continue;
                    }
                    let (read, summary) = got.expect("get");
                    let end = to.min(len);
                    let wanted = &bytes[from.min(end)..end];
                    assert!(read == wanted, "{from}..{to}: {} bytes", read.len());
                    assert_eq!(summary.bytes, wanted.len() as u64);
                    assert!(summary.chunks_verified <= summary.chunks);
                }
            }
            if is_whole {
                cluster.host("n2").kill();
                cluster.pass(Duration::from_secs(30)).await;
            }
        }
    });
}

/// Takes its time over each piece, and keeps what it got.
struct SlowSink {
    pause: Duration,
    taken: Vec<u8>,
}

#[async_trait]
impl Sink for SlowSink {
    fn is_ordered(&self) -> bool {
        true
    }

    async fn write(&mut self, offset: u64, bytes: Bytes) -> io::Result<()> {
        assert_eq!(offset, self.taken.len() as u64, "in order");
        self.taken.extend_from_slice(&bytes);
        tokio::time::sleep(self.pause).await;
        Ok(())
    }
}

#[test]
fn a_slow_sink_fails_no_read() {
    World::run(8, async |world| {
        let cluster = Cluster::start(world, settings(3, 2, ParitySpec::None, 8 * MIB)).await;
        let bytes = sample_bytes(8, 18 * MIB);
        cluster.put("a", &bytes).await.expect("put");
        let client = cluster.client();
        let mut sink = SlowSink { pause: Duration::from_secs(45), taken: Vec::new() };
        let summary =
            client.get(&file_name("a"), None, &mut sink, &Progress::new()).await.expect("get");
        assert!(sink.taken == bytes);
        assert_eq!(summary.from_other_copy, 0, "{summary:?}");
    });
}

#[test]
fn a_file_that_is_replaced_under_a_reader_is_never_mixed_with_the_new_one() {
    World::run(9, async |world| {
        let mut settings = settings(3, 2, ParitySpec::None, 64 << 10);
        settings.delete_grace = Duration::from_secs(10);
        let cluster = Cluster::start(world, settings).await;
        let old = sample_bytes(9, 4 * MIB);
        cluster.put("a", &old).await.expect("put");
        let client = cluster.client();
        let get = cluster.client_host().spawn(async move {
            let mut sink = SlowSink { pause: Duration::from_secs(10), taken: Vec::new() };
            let got = client.get(&file_name("a"), None, &mut sink, &Progress::new()).await;
            (got, sink.taken)
        });
        cluster.pass(Duration::from_secs(30)).await;
        let replace = PutOptions { mode: PutMode::Replace, ..options("a") };
        cluster.put_with(seekable(&sample_bytes(10, MIB)), replace).await.expect("replace");
        let (got, taken) = get.await.expect("the client lives");
        assert!(old.starts_with(&taken), "only bytes of the old version");
        match got {
            Ok(_) => assert!(taken == old),
            Err(error) => {
                assert_eq!(error.kind, Kind::Unavailable, "{error}");
                assert!(error.message.contains("replaced while it was read"), "{error}");
            }
        }
    });
}

/// Puts a copy that is well formed and says what the catalog says, but whose
/// bytes are others, in the place of a true one.
async fn forge(cluster: &Cluster<'_>, node: &str, map: &FileMap) -> usize {
    let Context { cluster: id, .. } = map.context;
    let peers = cluster.host(CLIENT).env().peers;
    let service = peers.node(cluster.host(node).address());
    let mut forged = 0;
    for stripe in &map.stripes {
        let held = stripe.chunks[0].copies.iter().any(|copy| copy.node.as_str() == node);
        if !held {
            continue;
        }
        let whole = read_whole(&*service, id, stripe.first_handle).await.expect("it is there");
        service.delete_chunks(map.context, vec![stripe.first_handle]).await.expect("delete");
        let mut parts = Vec::new();
        for (index, stored) in (0..).zip(&whole.frames) {
            let place = Place { handle: stripe.first_handle, index };
            let mut raw = Vec::new();
            frame::open(place, stored, &mut raw).expect("a good frame");
            raw[0] ^= 1;
            let mut other = Vec::new();
            frame::seal(place, &raw, Compression::None, &mut other);
            parts.push(Ok(WritePart::Frame(other.into())));
        }
        parts.push(Ok(WritePart::Seal(whole.seal)));
        let header = WriteHeader { context: map.context, chunk: whole.header };
        service.write_chunk(header, as_stream(parts)).await.expect("a well-formed chunk");
        forged += 1;
    }
    forged
}

#[test]
fn a_copy_that_fails_its_sha_256_is_found_out() {
    for (chunk, is_ordered) in [(MIB, true), (MIB, false), (3 * MIB, false), (3 * MIB, true)] {
        World::run(10, async |world| {
            let mut settings = settings(3, 2, ParitySpec::None, chunk);
            settings.policy.compression = Compression::None;
            let cluster = Cluster::start(world, settings).await;
            let bytes = sample_bytes(11, 12 * MIB);
            cluster.put("a", &bytes).await.expect("put");
            let map = map_of(&cluster, "a").await;
            assert!(forge(&cluster, "n1", &map).await > 0);
            let got = cluster.get_with("a", None, is_ordered).await;
            if chunk > MIB && is_ordered {
                // The first frames were out before the sum could be known.
                let error = got.expect_err("wrong bytes must not pass");
                assert_eq!(error.kind, Kind::Integrity, "{error}");
                return;
            }
            let (read, summary) = got.expect("get");
            assert!(read == bytes);
            assert!(!summary.bad.is_empty(), "{summary:?}");
            assert!(summary.bad.iter().all(|bad| bad.node.as_str() == "n1"), "{summary:?}");
            assert_eq!(summary.chunks_verified, summary.chunks);
        });
    }
}

#[test]
fn what_no_node_gives_any_more_is_an_error_that_names_the_nodes() {
    World::run(12, async |world| {
        let cluster = Cluster::start(world, settings(3, 2, ParitySpec::None, MIB)).await;
        cluster.put("a", &sample_bytes(12, 8 * MIB)).await.expect("put");
        cluster.host("n1").kill();
        cluster.host("n2").kill();
        for waited in [0, 60] {
            cluster.pass(Duration::from_secs(waited)).await;
            let started = Instant::now();
            let error = cluster.get("a").await.expect_err("too much is away");
            assert_eq!(error.kind, Kind::Unavailable, "{error}");
            assert!(error.message.contains("n1: ") && error.message.contains("n2: "), "{error}");
            let limit = if waited == 0 { 60 } else { 10 };
            assert!(started.elapsed() < Duration::from_secs(limit), "{:?}", started.elapsed());
        }
    });
}
