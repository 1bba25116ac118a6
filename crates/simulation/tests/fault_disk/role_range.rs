//! A good frame in another's place (F7): its sum is right, and a read of a
//! range gives its bytes to nobody.

use std::ops::Range;
use std::time::Duration;

use dfs_core::data::frame::HEADER_SIZE;
use dfs_core::policy::ParitySpec;
use dfs_simulation::World;
use dfs_simulation::cluster::{Cluster, ClusterSettings};

use super::*;

const MIB: usize = 1 << 20;

/// Chunks of four frames; nothing is repaired while a test looks.
fn settings(nodes: usize, replication: u8, parity: ParitySpec) -> ClusterSettings {
    let mut settings = ClusterSettings::new(nodes, replication, parity);
    settings.policy.chunk_size = 4 << 20;
    settings.repair_after = Duration::from_secs(1_000_000);
    settings
}

/// Bytes that no frame compresses, so that full frames are equally long.
fn dense(seed: u64, len: usize) -> Vec<u8> {
    Rng::new(seed).bytes(len)
}

/// The file on `disk` with the stored frame of `raw` in it, and where.
fn find(disk: &MemoryDisk, raw: &[u8]) -> Option<(String, usize)> {
    disk.files().into_iter().find_map(|(path, _)| {
        let bytes = disk.read_file(&path)?;
        let at = bytes.windows(raw.len()).position(|window| window == raw)?;
        Some((path, at - HEADER_SIZE))
    })
}

/// Writes the frame of `source` over that of `target`, both on this disk and
/// as long as each other.
fn misplace(disk: &MemoryDisk, source: &[u8], target: &[u8]) {
    let (from, at) = find(disk, source).expect("it is on this disk");
    let stored_len = HEADER_SIZE + source.len();
    let source = disk.read_file(&from).expect("it is there")[at..at + stored_len].to_vec();
    let (path, at) = find(disk, target).expect("it is on this disk");
    let mut bytes = disk.read_file(&path).expect("it is there");
    bytes[at..at + stored_len].copy_from_slice(&source);
    disk.plant_file(&path, &bytes);
}

/// The right bytes, or an error; whether it was the bytes.
async fn is_right(cluster: &Cluster<'_>, bytes: &[u8], range: Range<usize>) -> bool {
    let wanted = range.start as u64..range.end as u64;
    match cluster.get_with("a", Some(wanted), true).await {
        Ok((read, _)) => {
            assert!(read == bytes[range.clone()], "{range:?}: bytes that are not there");
            true
        }
        Err(error) => {
            // A node that is away may have better bytes.
            let is_honest = matches!(error.kind, Kind::Integrity | Kind::Unavailable);
            assert!(is_honest, "{range:?}: {error}");
            false
        }
    }
}

#[test]
fn a_range_of_a_chunk_with_a_frame_in_anothers_place_is_right_or_an_error() {
    for is_other_there in [true, false] {
        World::run(1, async |world| {
            let cluster = Cluster::start(world, settings(2, 2, ParitySpec::None)).await;
            let bytes = dense(1, 3 * MIB);
            cluster.put("a", &bytes).await.expect("put");
            misplace(cluster.host("n1").disk(), &bytes[MIB..2 * MIB], &bytes[..MIB]);
            if !is_other_there {
                cluster.host("n2").kill();
                cluster.pass(Duration::from_secs(30)).await;
            }
            for range in [0..1000, MIB - 5..MIB + 5] {
                assert_eq!(is_right(&cluster, &bytes, range).await, is_other_there);
            }
        });
    }
}

#[test]
fn a_range_of_a_small_chunk_with_anothers_frame_is_right_or_an_error() {
    for is_other_there in [true, false] {
        World::run(2, async |world| {
            let cluster = Cluster::start(world, settings(2, 2, ParitySpec::None)).await;
            let (bytes, others) = (dense(1, 900_000), dense(2, 900_000));
            cluster.put("a", &bytes).await.expect("put");
            cluster.put("b", &others).await.expect("put");
            // Its pack is open while the node runs.
            cluster.host("n1").kill();
            misplace(cluster.host("n1").disk(), &others, &bytes);
            cluster.start_node("n1").await;
            cluster.wait_until_heard().await;
            if !is_other_there {
                cluster.host("n2").kill();
                cluster.pass(Duration::from_secs(30)).await;
            }
            assert_eq!(is_right(&cluster, &bytes, 10..1000).await, is_other_there);
        });
    }
}

/// The exclusive or of good frames of one length has a good sum itself, so
/// that nothing but its sources tells whether a rebuilt frame is right.
#[test]
fn a_range_rebuilt_from_a_frame_in_anothers_place_is_right_or_an_error() {
    World::run(3, async |world| {
        let cluster = Cluster::start(world, settings(3, 1, ParitySpec::Xor { data: 2 })).await;
        let bytes = dense(1, 8 * MIB);
        cluster.put("a", &bytes).await.expect("put");
        let (first, second) = bytes.split_at(4 * MIB);
        let hosts = ["n1", "n2", "n3"].map(|name| cluster.host(name));
        let holder = |raw: &[u8]| {
            hosts.iter().find(|host| find(host.disk(), raw).is_some()).expect("one holds it")
        };
        holder(&first[..MIB]).kill();
        misplace(holder(&second[..MIB]).disk(), &second[MIB..2 * MIB], &second[..MIB]);
        cluster.pass(Duration::from_secs(30)).await;
        assert!(!is_right(&cluster, &bytes, 0..1000).await, "two chunks of three are lost");
    });
}

#[test]
fn a_range_rebuilt_from_good_chunks_is_right() {
    World::run(4, async |world| {
        let cluster = Cluster::start(world, settings(3, 1, ParitySpec::Xor { data: 2 })).await;
        let bytes = dense(1, 8 * MIB);
        cluster.put("a", &bytes).await.expect("put");
        for name in ["n1", "n2", "n3"] {
            cluster.host(name).kill();
            cluster.pass(Duration::from_secs(30)).await;
            for range in [0..1000, 3 * MIB - 1..6 * MIB, 8 * MIB - 7..8 * MIB] {
                assert!(is_right(&cluster, &bytes, range).await);
            }
            cluster.start_node(name).await;
            cluster.wait_until_heard().await;
        }
    });
}
