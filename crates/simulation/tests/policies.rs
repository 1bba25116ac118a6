//! Every policy, every loss: what a policy survives is read byte for byte,
//! what it does not survive is an honest error and never wrong bytes.

use std::collections::BTreeSet;
use std::time::Duration;

use dfs_core::api::{FileMap, Kind, Lookup};
use dfs_core::policy::{ParitySpec, PlacementStrategy};
use dfs_simulation::World;
use dfs_simulation::cluster::{Cluster, ClusterSettings, file_name, options, seekable, stream};
use dfs_simulation::oracle::{is_readable, sample_bytes, subsets};

const CHUNK: usize = 64 << 10;

/// Puts files of every kind of size, then takes away every set of at most
/// `losses_max` nodes (on a ring: of at most one more than is promised) and
/// reads them all.
fn every_loss_is_told_truly(nodes: usize, replication: u8, parity: ParitySpec, losses_max: usize) {
    for placement in [PlacementStrategy::RoundRobin, PlacementStrategy::Ring] {
        World::run(11, async |world| {
            let mut settings = ClusterSettings::new(nodes, replication, parity);
            settings.placement = placement;
            // Nothing is rebuilt while this test looks.
            settings.repair_after = Duration::from_secs(1_000_000);
            // What is lost stays lost: no use in asking for long.
            settings.client.retry_for = Duration::from_secs(1);
            let cluster = Cluster::start(world, settings).await;
            let promised = cluster.status().await.promise;
            let promised = usize::from(promised.nodes_lost_max.expect("it can be placed"));
            let files = put_files(&cluster).await;
            let losses_max = match placement {
                PlacementStrategy::RoundRobin => losses_max,
                PlacementStrategy::Ring => losses_max.min(promised + 1),
            };
            for lost in subsets(&cluster.node_names()) {
                if lost.len() <= losses_max {
                    lose_and_read(&cluster, &files, &lost, promised).await;
                }
            }
        });
    }
}

struct Stored {
    name: String,
    bytes: Vec<u8>,
    map: FileMap,
}

async fn put_files(cluster: &Cluster<'_>) -> Vec<Stored> {
    let mut files = Vec::new();
    for (seed, len) in (1..).zip([0, 1, 3 * CHUNK + 5, 9 * CHUNK + 4000]) {
        let (name, bytes) = (format!("file/{len}"), sample_bytes(seed, len));
        let put = cluster.put(&name, &bytes).await.expect("put");
        assert_eq!(put.copies_missing, 0, "all nodes are there");
        files.push((name, bytes));
    }
    let bytes = sample_bytes(99, 5 * CHUNK + 1);
    cluster.put_with(stream(&bytes, 10_000), options("file/stream")).await.expect("put a stream");
    files.push(("file/stream".to_owned(), bytes));
    let mut stored = Vec::new();
    for (name, bytes) in files {
        let lookup = Lookup { name: file_name(&name), version: None, first_stripe: 0 };
        let map = cluster.coordinator().lookup(lookup).await.expect("lookup");
        stored.push(Stored { name, bytes, map });
    }
    stored
}

async fn lose_and_read(
    cluster: &Cluster<'_>,
    files: &[Stored],
    lost: &BTreeSet<String>,
    promised: usize,
) {
    let up: BTreeSet<String> =
        cluster.node_names().into_iter().filter(|name| !lost.contains(name)).collect();
    for name in lost {
        cluster.host(name).kill();
    }
    for (turn, file) in files.iter().enumerate() {
        let claim = format!("{} without {lost:?}", file.name);
        let must_read = is_readable(&file.map, &up);
        assert!(must_read || lost.len() > promised, "the promise breaks: {claim}");
        match cluster.get_with(&file.name, None, turn % 2 == 0).await {
            Ok((bytes, summary)) => {
                assert!(bytes == file.bytes, "wrong bytes: {claim}");
                assert!(must_read, "read what cannot be read: {claim}");
                assert_eq!(summary.bytes, file.bytes.len() as u64, "{claim}");
            }
            Err(error) => {
                assert!(!must_read, "{claim}: {error}");
                assert_eq!(error.kind, Kind::Unavailable, "{claim}: {error}");
            }
        }
    }
    for name in lost {
        cluster.start_node(name).await;
    }
    cluster.wait_until_heard().await;
}

#[test]
fn one_copy() {
    every_loss_is_told_truly(3, 1, ParitySpec::None, 3);
}

#[test]
fn two_copies() {
    every_loss_is_told_truly(4, 2, ParitySpec::None, 4);
}

#[test]
fn three_copies() {
    every_loss_is_told_truly(5, 3, ParitySpec::None, 5);
}

#[test]
fn two_copies_and_xor_on_three_nodes_as_in_the_founding_example() {
    every_loss_is_told_truly(3, 2, ParitySpec::XorAuto, 3);
}

#[test]
fn xor_of_two() {
    every_loss_is_told_truly(3, 1, ParitySpec::Xor { data: 2 }, 3);
}

#[test]
fn xor_of_four() {
    every_loss_is_told_truly(5, 1, ParitySpec::Xor { data: 4 }, 5);
}

#[test]
fn reed_solomon_two_and_one() {
    every_loss_is_told_truly(3, 1, ParitySpec::ReedSolomon { data: 2, parity: 1 }, 3);
}

#[test]
fn reed_solomon_four_and_two() {
    every_loss_is_told_truly(6, 1, ParitySpec::ReedSolomon { data: 4, parity: 2 }, 6);
}

#[test]
fn reed_solomon_three_and_three_on_more_nodes_than_it_needs() {
    every_loss_is_told_truly(7, 1, ParitySpec::ReedSolomon { data: 3, parity: 3 }, 4);
}

#[test]
fn two_copies_and_reed_solomon_two_and_two() {
    every_loss_is_told_truly(6, 2, ParitySpec::ReedSolomon { data: 2, parity: 2 }, 6);
}

#[test]
fn parts_of_files_are_read_through_a_loss() {
    World::run(12, async |world| {
        let parity = ParitySpec::ReedSolomon { data: 3, parity: 2 };
        let mut settings = ClusterSettings::new(5, 1, parity);
        settings.policy.chunk_size = 4 << 20;
        settings.repair_after = Duration::from_secs(1_000_000);
        let cluster = Cluster::start(world, settings).await;
        let bytes = sample_bytes(5, 17_000_000);
        cluster.put_with(seekable(&bytes), options("a")).await.expect("put");
        for lost in ["n2", "n4"] {
            cluster.host(lost).kill();
        }
        let mut rng = world.rng("ranges");
        for turn in 0..12 {
            let start = rng.below(bytes.len() as u64);
            let end = start + 1 + rng.below(3_000_000);
            let (part, summary) =
                cluster.get_with("a", Some(start..end), turn % 2 == 0).await.expect("get");
            let at = |n: u64| usize::try_from(n).expect("small").min(bytes.len());
            assert!(part == bytes[at(start)..at(end)], "wrong bytes at {start}..{end}");
            assert_eq!(summary.bytes, part.len() as u64);
        }
    });
}
