//! No byte that fails its checksum reaches a reader, whatever disks do.

use std::time::Duration;

use dfs_core::api::Kind;
use dfs_core::policy::ParitySpec;
use dfs_simulation::World;
use dfs_simulation::cluster::{Cluster, ClusterSettings};
use dfs_simulation::oracle::sample_bytes;

const MINUTE: Duration = Duration::from_secs(60);

/// The files of a node that hold chunks.
fn chunk_files(cluster: &Cluster<'_>, name: &str) -> Vec<(String, u64)> {
    let files = cluster.host(name).disk().files();
    let holds_chunks = |path: &str| path.starts_with("chunks/") || path.starts_with("packs/");
    files.into_iter().filter(|(path, _)| holds_chunks(path)).collect()
}

#[test]
fn flipped_bits_on_one_node_never_reach_a_reader_and_are_mended() {
    for (replication, parity) in [(2, ParitySpec::None), (1, ParitySpec::Xor { data: 2 })] {
        World::run(81, async |world| {
            let cluster = Cluster::start(world, ClusterSettings::new(4, replication, parity)).await;
            let files: Vec<(String, Vec<u8>)> = (0..)
                .zip([900, 50_000, 700_000, 2_300_000])
                .map(|(seed, len)| (format!("f{seed}"), sample_bytes(seed, len)))
                .collect();
            for (name, bytes) in &files {
                cluster.put(name, bytes).await.expect("put");
            }
            let mut rng = world.rng("flips");
            for turn in 0..6 {
                let victim = cluster.node_names()[turn % 4].clone();
                let disk = cluster.host(&victim).disk().clone();
                for (path, len) in chunk_files(&cluster, &victim) {
                    let bit = u8::try_from(rng.below(8)).expect("small");
                    disk.flip(&path, rng.below(len), bit);
                }
                if turn % 3 == 2 {
                    cluster.start_node(&victim).await;
                    cluster.wait_until_heard().await;
                }
                for (name, bytes) in &files {
                    let got = cluster.get(name).await;
                    assert!(got.expect("get") == *bytes, "{name}, flips on {victim}");
                }
                cluster.pass(MINUTE).await;
                cluster.settle().await;
            }
            assert!(cluster.status().await.repair.done > 0, "bad copies were made again");
        });
    }
}

#[test]
fn damage_beyond_the_policy_is_an_error_and_not_wrong_bytes() {
    World::run(82, async |world| {
        let settings = ClusterSettings::new(2, 2, ParitySpec::None);
        let cluster = Cluster::start(world, settings).await;
        let bytes = sample_bytes(1, 300_000);
        cluster.put("a", &bytes).await.expect("put");
        let mut rng = world.rng("flips");
        for name in cluster.node_names() {
            for (path, len) in chunk_files(&cluster, &name) {
                for _ in 0..50 {
                    cluster.host(&name).disk().flip(&path, rng.below(len), 3);
                }
            }
        }
        let error = cluster.get_error("a").await;
        assert_eq!(error.kind, Kind::Integrity, "{error}");
        let again = cluster.get_error("a").await;
        assert!(matches!(again.kind, Kind::Integrity | Kind::Unavailable), "{again}");
    });
}

#[test]
fn unreadable_sectors_cost_no_read() {
    World::run(83, async |world| {
        let settings = ClusterSettings::new(4, 1, ParitySpec::ReedSolomon { data: 2, parity: 2 });
        let cluster = Cluster::start(world, settings).await;
        let bytes = sample_bytes(1, 1_900_000);
        cluster.put("a", &bytes).await.expect("put");
        for name in ["n1", "n3"] {
            let disk = cluster.host(name).disk().clone();
            for (path, len) in chunk_files(&cluster, name) {
                disk.make_unreadable(&path, len / 2..len / 2 + 512);
            }
        }
        assert!(cluster.get("a").await.expect("get") == bytes);
    });
}

#[test]
fn chunks_under_another_name_are_not_taken_for_each_other() {
    World::run(84, async |world| {
        let settings = ClusterSettings::new(3, 2, ParitySpec::None);
        let cluster = Cluster::start(world, settings).await;
        let bytes = sample_bytes(1, 12_000_000);
        let mut big = dfs_simulation::cluster::options("a");
        big.policy.chunk_size = Some(2 << 20);
        let source = dfs_simulation::cluster::seekable(&bytes);
        cluster.put_with(source, big).await.expect("put");
        let disk = cluster.host("n2").disk().clone();
        let chunks: Vec<(String, u64)> = chunk_files(&cluster, "n2")
            .into_iter()
            .filter(|(path, _)| path.starts_with("chunks/"))
            .collect();
        assert!(chunks.len() >= 2, "{chunks:?}");
        // Every chunk file takes the place of the next.
        let images: Vec<Vec<u8>> =
            chunks.iter().map(|(path, _)| disk.read_file(path).expect("listed")).collect();
        for ((path, _), image) in chunks.iter().zip(images.iter().cycle().skip(1)) {
            disk.plant_file(path, image);
        }
        assert!(cluster.get("a").await.expect("get") == bytes, "before a restart");
        cluster.start_node("n2").await;
        cluster.wait_until_heard().await;
        assert!(cluster.get("a").await.expect("get") == bytes, "after a restart");
    });
}

#[test]
fn writes_that_a_disk_lost_are_found_before_they_are_served() {
    World::run(85, async |world| {
        let settings = ClusterSettings::new(3, 2, ParitySpec::None);
        let cluster = Cluster::start(world, settings).await;
        for turn in 0..8 {
            cluster.host("n1").disk().lose_next_writes(1 + turn % 3);
            let bytes = sample_bytes(u64::from(turn), 400_000);
            let name = format!("f{turn}");
            cluster.put(&name, &bytes).await.expect("put");
            assert!(cluster.get(&name).await.expect("get") == bytes, "{name}");
        }
    });
}

#[test]
fn a_disk_that_fails_to_sync_fails_no_put_and_acknowledges_nothing_lost() {
    World::run(86, async |world| {
        let settings = ClusterSettings::new(4, 2, ParitySpec::None);
        let cluster = Cluster::start(world, settings).await;
        let mut files = Vec::new();
        for turn in 0..8 {
            cluster.host("n1").disk().fail_next_syncs(1 + turn % 2);
            let bytes = sample_bytes(u64::from(turn), if turn % 2 == 0 { 5_000 } else { 400_000 });
            let name = format!("f{turn}");
            let put = cluster.put(&name, &bytes).await.expect("put");
            assert_eq!(put.copies_missing, 0, "another node took the copy");
            files.push((name, bytes));
        }
        for node in cluster.node_names() {
            cluster.host(&node).crash();
            cluster.start_node(&node).await;
        }
        cluster.wait_until_heard().await;
        cluster.settle().await;
        assert_eq!(cluster.status().await.repair.done, 0, "nothing acknowledged was missing");
        for (name, bytes) in &files {
            assert!(cluster.get(name).await.expect("get") == *bytes, "{name}");
        }
    });
}
