//! Too few nodes, too little space: told truly, and mended when it can be.

use std::time::Duration;

use dfs_core::api::{Kind, NodeState, ReasonKind, Word};
use dfs_core::policy::ParitySpec;
use dfs_simulation::World;
use dfs_simulation::cluster::{Cluster, ClusterSettings, options, seekable};
use dfs_simulation::oracle::sample_bytes;

const MINUTE: Duration = Duration::from_secs(60);

async fn without<'w>(world: &'w World, settings: ClusterSettings, lost: &[&str]) -> Cluster<'w> {
    let cluster = Cluster::start(world, settings).await;
    for name in lost {
        cluster.host(name).kill();
    }
    cluster
        .wait_for("offline", MINUTE, |status| {
            let offline = status.nodes.iter().filter(|node| node.state == NodeState::Offline);
            offline.count() == lost.len()
        })
        .await;
    cluster
}

fn patient(nodes: usize, replication: u8, parity: ParitySpec) -> ClusterSettings {
    let mut settings = ClusterSettings::new(nodes, replication, parity);
    settings.repair_after = Duration::from_secs(600);
    settings
}

#[test]
fn a_put_that_can_lose_one_more_node_succeeds_degraded_and_is_completed() {
    let parity = ParitySpec::ReedSolomon { data: 3, parity: 2 };
    for (replication, parity, nodes) in [(1, parity, 5), (3, ParitySpec::None, 3)] {
        World::run(71, async |world| {
            let settings = patient(nodes, replication, parity);
            let cluster = without(world, settings, &["n2"]).await;
            let bytes = sample_bytes(1, 700_000);
            let put = cluster.put("a", &bytes).await.expect("put");
            assert!(put.copies_missing > 0, "it says so");
            let mut strict = options("strict");
            strict.is_strict = true;
            let refused = cluster.put_with(seekable(&bytes), strict).await;
            let refused = refused.expect_err("strict is strict");
            assert_eq!(refused.kind, Kind::Insufficient, "{refused}");
            // Any one more node may go.
            for name in cluster.node_names().iter().filter(|name| *name != "n2") {
                cluster.host(name).kill();
                assert!(cluster.get("a").await.expect("get") == bytes, "without {name}");
                cluster.start_node(name).await;
                cluster.wait_until_heard().await;
            }
            cluster.start_node("n2").await;
            cluster.wait_until_heard().await;
            cluster.settle().await;
            let list = dfs_core::api::List {
                prefix: "a".to_owned(),
                after: None,
                limit: 1,
                by_folder: false,
            };
            let page = cluster.coordinator().list(list).await.expect("list");
            let dfs_core::api::ListEntry::File(info) = &page.entries[0] else {
                panic!("a is a file")
            };
            assert_eq!((info.copies_missing, info.spares), (0, 2));
        });
    }
}

#[test]
fn a_full_node_costs_a_put_no_more_than_a_dead_one_and_the_status_says_so() {
    let parity = ParitySpec::ReedSolomon { data: 3, parity: 2 };
    World::run(74, async |world| {
        let cluster = Cluster::start(world, patient(5, 1, parity)).await;
        cluster.settle().await;
        assert_eq!(cluster.status().await.verdict.word, Word::AllWell);
        let disk = cluster.host("n4").disk().clone();
        disk.set_capacity(disk.used() + 1_000);
        cluster.pass(Duration::from_secs(8)).await;
        let status = cluster.status().await;
        let verdict = status.verdict;
        assert_eq!(verdict.reasons[0].kind, ReasonKind::StoresThinly, "{verdict:?}");
        assert_eq!(status.promise.nodes_lost_max, Some(1), "{:?}", status.promise);
        let said = verdict.sentence();
        assert!(said.contains("n4 has") && said.contains("free some space"), "{said}");
        let bytes = sample_bytes(1, 700_000);
        let put = cluster.put("a", &bytes).await.expect("it is stored, with copies missing");
        assert!(put.copies_missing > 0, "it says so");
        let mut strict = options("strict");
        strict.is_strict = true;
        let refused = cluster.put_with(seekable(&bytes), strict).await;
        assert_eq!(refused.expect_err("strict is strict").kind, Kind::NoSpace);
        cluster.host("n1").kill();
        assert!(cluster.get("a").await.expect("get") == bytes, "any one more node may go");
        cluster.start_node("n1").await;
        disk.set_capacity(u64::MAX);
        cluster.wait_until_heard().await;
        cluster.settle().await;
        let stored = cluster.status().await.stored;
        assert_eq!(stored.spares_min, None, "repair completed it: {stored:?}");
    });
}

#[test]
fn a_put_that_could_lose_nothing_more_is_refused_with_the_fix() {
    let parity = ParitySpec::ReedSolomon { data: 2, parity: 1 };
    for (replication, parity, nodes) in
        [(1, parity, 3), (2, ParitySpec::None, 2), (2, ParitySpec::None, 1)]
    {
        World::run(72, async |world| {
            let lost: &[&str] = if nodes > 1 { &["n1"] } else { &[] };
            let settings = patient(nodes, replication, parity);
            let cluster = without(world, settings, lost).await;
            let refused = cluster.put("a", &[1; 200_000]).await.expect_err("too few nodes");
            assert_eq!(refused.kind, Kind::Insufficient, "{refused}");
            let says_how_many = refused.message.contains("needs")
                && refused.message.contains(&format!("{}", nodes - lost.len()));
            assert!(says_how_many, "{refused}");
            let error = cluster.get_error("a").await;
            assert_eq!(error.kind, Kind::NotFound);
        });
    }
}

#[test]
fn a_full_disk_is_avoided_and_full_disks_are_told() {
    World::run(73, async |world| {
        let mut settings = ClusterSettings::new(4, 2, ParitySpec::None);
        // Chunks that are files of their own: a deleted one frees its space.
        settings.policy.chunk_size = 2 << 20;
        let cluster = Cluster::start(world, settings).await;
        let small = cluster.host("n1").disk().used() + 300_000;
        cluster.host("n1").disk().set_capacity(small);
        let bytes = sample_bytes(1, 8_000_000);
        for name in ["a", "b"] {
            let put = cluster.put(name, &bytes).await.expect("three nodes have room");
            assert_eq!(put.copies_missing, 0);
            cluster.pass(Duration::from_secs(5)).await;
        }
        assert!(cluster.host("n1").disk().used() <= small);
        for name in cluster.node_names() {
            let disk = cluster.host(&name).disk().clone();
            disk.set_capacity(disk.used() + 10_000);
        }
        cluster.pass(Duration::from_secs(5)).await;
        let error = cluster.put("c", &bytes).await.expect_err("nowhere is room");
        assert!(matches!(error.kind, Kind::NoSpace | Kind::Insufficient), "{error}");
        for name in ["a", "b"] {
            assert!(cluster.get(name).await.expect("get") == bytes, "{name}");
        }
        // A delete works on a full disk, and makes room.
        let remove = dfs_core::api::Remove {
            path: "a".to_owned(),
            is_recursive: false,
            is_dry_run: false,
            request: None,
        };
        cluster.coordinator().remove(remove).await.expect("remove");
        cluster.pass(Duration::from_secs(10)).await;
        cluster.wait_for("room", 20 * MINUTE, |status| status.garbage_bytes == 0).await;
        cluster.pass(Duration::from_secs(10)).await;
        cluster.put("d", &sample_bytes(4, 400_000)).await.expect("there is room again");
    });
}

#[test]
fn a_full_disk_of_the_coordinator_loses_nothing_that_was_acknowledged() {
    World::run(74, async |world| {
        let settings = ClusterSettings::new(3, 2, ParitySpec::None);
        let cluster = Cluster::start(world, settings).await;
        cluster.put("a", &[1; 1000]).await.expect("put");
        let host = cluster.host("coord");
        host.disk().set_capacity(host.disk().used());
        let mut stored = vec!["a".to_owned()];
        for turn in 0..2000 {
            let name = format!("dir/{turn}");
            match cluster.put(&name, &[1; 1000]).await {
                Ok(_) => stored.push(name),
                Err(_) => break,
            }
        }
        host.crash();
        host.disk().set_capacity(dfs_simulation::disk::CAPACITY_DEFAULT_BYTES);
        cluster.start_coordinator().await;
        cluster.wait_until_heard().await;
        for name in stored {
            assert!(cluster.get(&name).await.expect("get") == [1; 1000], "{name}");
        }
        cluster.put("b", &[2; 1000]).await.expect("put");
    });
}
