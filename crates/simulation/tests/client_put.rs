//! What a put does when nodes, network, coordinator or source let it down.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dfs_core::api::{Kind, Lookup, PutMode};
use dfs_core::client::{PutOptions, Source, SourceCheck, StreamSource};
use dfs_core::env::File;
use dfs_core::policy::ParitySpec;
use dfs_simulation::World;
use dfs_simulation::cluster::{
    CLIENT, COORDINATOR, Cluster, ClusterSettings, file_name, options, seekable, stream,
};
use dfs_simulation::net::Link;
use dfs_simulation::oracle::sample_bytes;

const MIB: usize = 1 << 20;
const XOR: ParitySpec = ParitySpec::Xor { data: 2 };

/// A cluster that repairs nothing while a test looks.
fn settings(nodes: usize, replication: u8, parity: ParitySpec, chunk: usize) -> ClusterSettings {
    let mut settings = ClusterSettings::new(nodes, replication, parity);
    settings.policy.chunk_size = u32::try_from(chunk).expect("a chunk size");
    settings.repair_after = Duration::from_secs(1_000_000);
    settings
}

/// `bytes` as a file or as a stream.
fn source(bytes: &[u8], is_stream: bool) -> Source {
    if is_stream { stream(bytes, 300_000) } else { seekable(bytes) }
}

async fn assert_absent(cluster: &Cluster<'_>, name: &str) {
    let lookup = Lookup { name: file_name(name), version: None, first_stripe: 0 };
    let found = cluster.coordinator().lookup(lookup).await;
    assert_eq!(found.map_err(|error| error.kind).err(), Some(Kind::NotFound), "nothing is visible");
}

#[test]
fn a_node_that_dies_under_a_put_is_replaced() {
    for (nodes, replication, parity) in
        [(4, 2, ParitySpec::None), (4, 1, XOR), (3, 1, ParitySpec::None)]
    {
        for (is_stream, after_ms) in [(false, 2), (false, 4), (true, 2), (true, 4)] {
            World::run(after_ms, async |world| {
                let settings = settings(nodes, replication, parity, 2 * MIB);
                let cluster = Cluster::start(world, settings).await;
                let bytes = sample_bytes(1, 7 * MIB + 99);
                let put = cluster.begin_put(source(&bytes, is_stream), options("a"));
                cluster.pass(Duration::from_millis(after_ms)).await;
                cluster.host("n2").kill();
                let claim = format!("{replication} copies, {parity:?}, {is_stream}, {after_ms} ms");
                let summary = put.await.expect("the client lives").expect(&claim);
                assert!(!summary.replaced.is_empty(), "{claim}: {summary:?}");
                assert!(summary.replaced.iter().all(|note| note.failed.as_str() == "n2"));
                assert_eq!(summary.restarts, 0);
                // Without redundancy, what had reached n2 before is away.
                let got = cluster.get("a").await;
                if replication > 1 || parity != ParitySpec::None {
                    assert!(got.expect(&claim) == bytes, "{claim}");
                }
                cluster.start_node("n2").await;
                cluster.wait_until_heard().await;
                assert!(cluster.get("a").await.expect(&claim) == bytes, "{claim}");
            });
        }
    }
}

#[test]
fn many_files_are_given_up_together_when_the_coordinator_is_not_there() {
    World::run(5, async |world| {
        let retry_for = Duration::from_secs(20);
        let mut settings = settings(2, 2, ParitySpec::None, MIB);
        settings.client.retry_for = retry_for;
        let cluster = Cluster::start(world, settings).await;
        let bytes = sample_bytes(1, 1000);
        cluster.put("before", &bytes).await.expect("put");
        cluster.host(COORDINATOR).kill();
        let client = cluster.client();
        let put_all = async || {
            let since = tokio::time::Instant::now();
            for number in 0..5 {
                let progress = dfs_core::client::Progress::new();
                let put = client.put(seekable(&bytes), options(&format!("f{number}")), &progress);
                assert_eq!(put.await.expect_err("nobody is there").kind, Kind::Unavailable);
            }
            since.elapsed()
        };
        assert!(put_all().await < retry_for + Duration::from_secs(5), "not once for each file");
        // Whoever asks later, waits anew.
        cluster.pass(Duration::from_secs(60)).await;
        assert!(put_all().await > retry_for - Duration::from_secs(5));
        cluster.start_coordinator().await;
        cluster.wait_until_heard().await;
        let progress = dfs_core::client::Progress::new();
        client.put(seekable(&bytes), options("after"), &progress).await.expect("it is back");
    });
}

#[test]
fn a_coordinator_that_does_not_answer_is_waited_for_as_long_as_the_patience_says() {
    for patience_s in [1, 3, 8] {
        World::run(7, async |world| {
            let retry_for = Duration::from_secs(patience_s);
            let mut settings = settings(2, 2, ParitySpec::None, MIB);
            settings.client.retry_for = retry_for;
            let cluster = Cluster::start(world, settings).await;
            let client = cluster.client().at("10.0.0.1:4000");
            let bytes = sample_bytes(1, 1000);
            let progress = dfs_core::client::Progress::new();
            cluster.host(COORDINATOR).pause();
            let since = tokio::time::Instant::now();
            let put = client.put(seekable(&bytes), options("a"), &progress);
            let error = put.await.expect_err("it is paused");
            let waited = since.elapsed();
            assert_eq!(error.kind, Kind::Unavailable);
            assert!(waited <= retry_for + Duration::from_secs(1), "{patience_s} s: {waited:?}");
            assert!(waited + Duration::from_secs(3) >= retry_for, "{patience_s} s: {waited:?}");
            let told = format!("at 10.0.0.1:4000 does not answer (tried for {patience_s} s)");
            assert!(error.message.contains(&told), "{}", error.message);
        });
    }
}

#[test]
fn a_copy_that_no_other_node_can_take_is_left_to_repair() {
    for is_stream in [false, true] {
        World::run(2, async |world| {
            let cluster = Cluster::start(world, settings(3, 3, ParitySpec::None, MIB)).await;
            let bytes = sample_bytes(2, 5 * MIB);
            let put = cluster.begin_put(source(&bytes, is_stream), options("a"));
            cluster.pass(Duration::from_millis(2)).await;
            cluster.host("n3").kill();
            let summary = put.await.expect("the client lives").expect("put");
            assert!(!summary.left_to_repair.is_empty(), "{summary:?}");
            assert!(summary.left_to_repair.iter().all(|left| left.failed.as_str() == "n3"));
            assert!(summary.copies_missing > 0, "{summary:?}");
            assert!(cluster.get("a").await.expect("get") == bytes);
        });
    }
}

#[test]
fn a_put_that_could_lose_nothing_more_fails_and_leaves_nothing() {
    for is_strict in [false, true] {
        for is_stream in [false, true] {
            World::run(3, async |world| {
                let replication = if is_strict { 3 } else { 2 };
                let nodes = usize::from(replication);
                let cluster =
                    Cluster::start(world, settings(nodes, replication, ParitySpec::None, MIB))
                        .await;
                let bytes = sample_bytes(3, 5 * MIB);
                let options = PutOptions { is_strict, ..options("a") };
                let put = cluster.begin_put(source(&bytes, is_stream), options);
                cluster.pass(Duration::from_millis(2)).await;
                cluster.host("n1").kill();
                let error = put.await.expect("the client lives").expect_err("too few nodes");
                assert_eq!(error.kind, Kind::Insufficient, "{error}");
                assert!(error.message.contains("n1"), "{error}");
                assert_absent(&cluster, "a").await;
            });
        }
    }
}

#[test]
fn a_frozen_node_is_replaced_too() {
    World::run(4, async |world| {
        let cluster = Cluster::start(world, settings(4, 2, ParitySpec::None, 4 * MIB)).await;
        let bytes = sample_bytes(4, 12 * MIB);
        let put = cluster.begin_put(seekable(&bytes), options("a"));
        cluster.pass(Duration::from_millis(4)).await;
        world.net().partition(&["n2"], &[CLIENT]);
        let summary = put.await.expect("the client lives").expect("put");
        assert!(!summary.replaced.is_empty(), "{summary:?}");
        world.net().heal();
        assert!(cluster.get("a").await.expect("get") == bytes);
    });
}

#[test]
fn lost_answers_neither_fail_nor_double_a_put() {
    for seed in 0..6 {
        World::run(seed, async |world| {
            let cluster = Cluster::start(world, settings(3, 2, ParitySpec::None, 64 << 10)).await;
            // The way back from the coordinator loses a tenth.
            let lossy = Link { loss_per_mille: 100, ..Link::default() };
            world.net().set_link(COORDINATOR, CLIENT, lossy);
            for (name, is_stream) in [("file", false), ("stream", true)] {
                let bytes = sample_bytes(seed, 3 * MIB + 5);
                let put = cluster.put_with(source(&bytes, is_stream), options(name)).await;
                let summary = put.expect("lost answers are asked for again");
                assert_eq!((summary.restarts, summary.copies_missing), (0, 0), "{summary:?}");
                assert!(cluster.get(name).await.expect("get") == bytes);
            }
        });
    }
}

#[test]
fn a_restart_of_the_coordinator_restarts_a_file_and_fails_a_stream() {
    World::run(5, async |world| {
        let cluster = Cluster::start(world, settings(3, 2, ParitySpec::None, MIB)).await;
        for (name, is_stream) in [("file", false), ("stream", true)] {
            let bytes = sample_bytes(5, 24 * MIB);
            let put = cluster.begin_put(source(&bytes, is_stream), options(name));
            cluster.pass(Duration::from_millis(12)).await;
            cluster.host(COORDINATOR).kill();
            cluster.start_coordinator().await;
            let put = put.await.expect("the client lives");
            if is_stream {
                let error = put.expect_err("it cannot be read twice");
                assert_eq!(error.kind, Kind::Unavailable, "{error}");
                assert!(error.message.contains("cannot be read twice"), "{error}");
                assert_absent(&cluster, name).await;
            } else {
                assert!(put.expect("put").restarts > 0);
                assert!(cluster.get(name).await.expect("get") == bytes);
            }
            cluster.wait_until_heard().await;
        }
    });
}

/// A file that changes under its reader.
struct Restless {
    bytes: Bytes,
    reads: AtomicU64,
    /// From this read on, bytes are others.
    changes_at: u64,
    /// What it says that its length is, in the end.
    len: u64,
}

impl File for Restless {
    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).expect("small");
        let found = self.bytes.get(start..start + bytes.len());
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        if self.reads.fetch_add(1, Ordering::Relaxed) >= self.changes_at {
            bytes[0] ^= 1;
        }
        Ok(())
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_source_that_changes_is_refused_and_leaves_nothing() {
    const LEN: u64 = 4 * MIB as u64;
    // Shorter than it was, longer than it was, other bytes when read again.
    for (has, says, changes_at) in
        [(LEN - 10, LEN, u64::MAX), (LEN + 5, LEN + 5, u64::MAX), (LEN, LEN, 4)]
    {
        World::run(6, async |world| {
            let cluster = Cluster::start(world, settings(4, 2, ParitySpec::None, 4 * MIB)).await;
            let bytes = sample_bytes(6, usize::try_from(has).expect("small")).into();
            let file = Restless { bytes, reads: AtomicU64::new(0), changes_at, len: says };
            let source = Source::Seekable { file: Arc::new(file), len: LEN, check: None };
            let put = cluster.begin_put(source, options("a"));
            if changes_at < u64::MAX {
                // A node fails, so that the source is read again for another.
                cluster.pass(Duration::from_millis(4)).await;
                for name in ["n1", "n2"] {
                    cluster.host(name).kill();
                }
            }
            let error = put.await.expect("the client lives").expect_err("it changed");
            assert!(error.message.contains("changed while it was read"), "{error}");
            assert_absent(&cluster, "a").await;
        });
    }
}

impl SourceCheck for Restless {
    fn change(&self) -> io::Result<Option<String>> {
        let has_changed = self.reads.load(Ordering::Relaxed) > self.changes_at;
        Ok(has_changed.then(|| "its bytes were written to".to_owned()))
    }
}

#[test]
fn a_file_that_is_rewritten_in_place_while_it_is_read_is_not_committed() {
    const LEN: usize = 4 * MIB;
    for changes_at in [0, 2, u64::MAX] {
        World::run(9, async |world| {
            let cluster = Cluster::start(world, settings(3, 2, XOR, MIB)).await;
            let old = sample_bytes(8, MIB);
            cluster.put("a", &old).await.expect("put");
            let new = sample_bytes(9, LEN);
            let file = Arc::new(Restless {
                bytes: new.clone().into(),
                reads: AtomicU64::new(0),
                changes_at,
                len: LEN as u64,
            });
            let check: Arc<dyn SourceCheck> = file.clone();
            let source = Source::Seekable { file, len: LEN as u64, check: Some(check) };
            let replace = PutOptions { mode: PutMode::Replace, ..options("a") };
            let put = cluster.put_with(source, replace).await;
            if changes_at == u64::MAX {
                put.expect("a file at rest is stored");
                assert!(cluster.get("a").await.expect("get") == new);
                return;
            }
            let error = put.expect_err("a mixture of two contents");
            assert!(error.message.contains("its bytes were written to"), "{error}");
            assert!(cluster.get("a").await.expect("get") == old, "the old file stays");
        });
    }
}

#[test]
fn an_empty_stream_replaces_no_file_unless_it_may() {
    World::run(10, async |world| {
        let cluster = Cluster::start(world, settings(3, 2, ParitySpec::None, MIB)).await;
        let old = sample_bytes(8, MIB);
        cluster.put("a", &old).await.expect("put");
        let replace = |name| PutOptions { mode: PutMode::Replace, ..options(name) };
        let refused = cluster.put_with(stream(&[], 1), replace("a")).await.expect_err("empty");
        assert_eq!(refused.kind, Kind::Exists, "{refused}");
        assert!(refused.message.contains("without a single byte"), "{refused}");
        assert!(cluster.get("a").await.expect("get") == old);
        // Nothing is replaced where nothing is, and a file says how long it is.
        cluster.put_with(stream(&[], 1), replace("new")).await.expect("a new file");
        assert!(cluster.get("new").await.expect("get").is_empty());
        cluster.put_with(seekable(&[]), replace("a")).await.expect("an empty file");
        assert!(cluster.get("a").await.expect("get").is_empty());
        cluster.put("b", &old).await.expect("put");
        let told = PutOptions { allow_empty: true, ..replace("b") };
        cluster.put_with(stream(&[], 1), told).await.expect("allowed");
        assert!(cluster.get("b").await.expect("get").is_empty());
    });
}

/// A stream that pauses before each piece.
struct Pausing {
    bytes: Bytes,
    piece_bytes: usize,
    pause: Duration,
}

#[async_trait]
impl StreamSource for Pausing {
    async fn next(&mut self, max_bytes: usize) -> io::Result<Bytes> {
        tokio::time::sleep(self.pause).await;
        let len = self.bytes.len().min(max_bytes).min(self.piece_bytes);
        Ok(self.bytes.split_to(len))
    }
}

#[test]
fn a_source_may_be_slow_or_pause_for_hours() {
    // Pauses within a chunk, a trickle without pauses, and both for longer
    // than an upload may be left alone.
    for (len, piece_bytes, pause_s) in
        [(5 * MIB, 700_000, 75), (3 * MIB, 30_000, 9), (MIB, 600_000, 7_000)]
    {
        for parity in [ParitySpec::None, XOR] {
            World::run(11, async |world| {
                let cluster = Cluster::start(world, settings(4, 2, parity, 2 * MIB)).await;
                let bytes = sample_bytes(11, len);
                let pause = Duration::from_secs(pause_s);
                let source = Pausing { bytes: bytes.clone().into(), piece_bytes, pause };
                let put = cluster.put_with(Source::Stream(Box::new(source)), options("a")).await;
                let claim = format!("pieces of {piece_bytes}, {pause_s} s apart, {parity:?}");
                let summary = put.expect(&claim);
                assert_eq!(summary.copies_missing, 0, "{claim}: {summary:?}");
                assert!(summary.replaced.is_empty(), "no node is blamed: {summary:?}");
                assert!(cluster.get("a").await.expect(&claim) == bytes, "{claim}");
            });
        }
    }
}

#[test]
fn a_put_that_fails_leaves_the_old_file_as_it_was() {
    World::run(7, async |world| {
        let cluster = Cluster::start(world, settings(2, 2, ParitySpec::None, MIB)).await;
        let old = sample_bytes(7, 2 * MIB);
        cluster.put("a", &old).await.expect("put");
        let replace = PutOptions { mode: PutMode::Replace, ..options("a") };
        let put = cluster.begin_put(seekable(&sample_bytes(8, 6 * MIB)), replace);
        cluster.pass(Duration::from_millis(3)).await;
        cluster.host("n2").kill();
        put.await.expect("the client lives").expect_err("too few nodes");
        assert!(cluster.get("a").await.expect("get") == old);
    });
}

#[test]
fn sources_of_every_length_come_back_as_they_were() {
    World::run(8, async |world| {
        let parity = ParitySpec::ReedSolomon { data: 2, parity: 2 };
        // A frame and a half.
        let cluster = Cluster::start(world, settings(5, 2, parity, 3 * MIB / 2)).await;
        let chunk = 3 * MIB / 2;
        let edges = [0, 1, 65_536, MIB, MIB + 1, chunk, chunk + 1, 2 * chunk, 3 * chunk - 7];
        for (number, len) in edges.into_iter().enumerate() {
            for is_stream in [false, true] {
                let bytes = sample_bytes(number as u64, len);
                let name = format!("{len}/{is_stream}");
                let put = cluster.put_with(source(&bytes, is_stream), options(&name)).await;
                let summary = put.expect(&name);
                assert_eq!((summary.file.size, summary.copies_missing), (len as u64, 0), "{name}");
                assert!(cluster.get(&name).await.expect(&name) == bytes, "{name}");
            }
        }
    });
}
