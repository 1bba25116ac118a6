//! What is lost is made again, what came back is tidied up, and nothing is
//! done in haste.

use std::time::Duration;

use dfs_core::api::{BadCopy, Lookup, NodeService, NodeState, PutMode, Remove};
use dfs_core::policy::ParitySpec;
use dfs_simulation::World;
use dfs_simulation::cluster::{
    COORDINATOR, Cluster, ClusterSettings, file_name, options, seekable,
};
use dfs_simulation::oracle::sample_bytes;
use dfs_simulation::sample::chunk as chunk_of;

const MINUTE: Duration = Duration::from_secs(60);

async fn with_files<'w>(
    world: &'w World,
    settings: ClusterSettings,
) -> (Cluster<'w>, Vec<Vec<u8>>) {
    let cluster = Cluster::start(world, settings).await;
    let lens = [1, 70_000, 400_000, 1_500_000];
    let files: Vec<Vec<u8>> = (0..).zip(lens).map(|(seed, len)| sample_bytes(seed, len)).collect();
    for (number, bytes) in files.iter().enumerate() {
        cluster.put(&format!("f{number}"), bytes).await.expect("put");
    }
    (cluster, files)
}

async fn all_files_are_there(cluster: &Cluster<'_>, files: &[Vec<u8>]) {
    for (number, bytes) in files.iter().enumerate() {
        let got = cluster.get(&format!("f{number}")).await.expect("get");
        assert!(got == *bytes, "f{number} has other bytes");
    }
}

/// Chunks that the nodes hold in all, as heard.
async fn chunks_held(cluster: &Cluster<'_>) -> u64 {
    cluster.status().await.nodes.iter().map(|node| node.chunks).sum()
}

/// Loses one node after the other; repair in between makes each loss the first.
fn node_after_node_may_be_lost(nodes: usize, replication: u8, parity: ParitySpec, losses: usize) {
    World::run(41, async |world| {
        let mut settings = ClusterSettings::new(nodes, replication, parity);
        settings.repair_after = Duration::from_secs(30);
        let (cluster, files) = with_files(world, settings).await;
        for name in cluster.node_names().into_iter().take(losses) {
            cluster.host(&name).kill();
            all_files_are_there(&cluster, &files).await;
            cluster.wait_for("repair", 10 * MINUTE, |status| status.repair.done > 0).await;
            let status = cluster.settle().await;
            assert_eq!(status.repair.failed, 0, "{:?}", status.repair);
        }
        all_files_are_there(&cluster, &files).await;
    });
}

#[test]
fn copies_of_a_lost_node_are_made_again_from_copies() {
    node_after_node_may_be_lost(4, 2, ParitySpec::None, 2);
}

#[test]
fn chunks_of_a_lost_node_are_rebuilt_from_xor() {
    node_after_node_may_be_lost(5, 1, ParitySpec::Xor { data: 2 }, 2);
}

#[test]
fn chunks_of_a_lost_node_are_rebuilt_from_reed_solomon() {
    node_after_node_may_be_lost(7, 1, ParitySpec::ReedSolomon { data: 3, parity: 2 }, 2);
}

#[test]
fn copies_and_parity_together_are_made_again() {
    node_after_node_may_be_lost(7, 2, ParitySpec::ReedSolomon { data: 2, parity: 1 }, 2);
}

/// What was lost is made, once, and nothing is made twice or moved afterwards.
#[test]
fn each_copy_of_a_lost_node_is_made_exactly_once() {
    let policies = [
        (4, 2, ParitySpec::None),
        (5, 1, ParitySpec::Xor { data: 3 }),
        (6, 1, ParitySpec::Xor { data: 4 }),
        (6, 2, ParitySpec::Xor { data: 2 }),
        (7, 1, ParitySpec::ReedSolomon { data: 4, parity: 2 }),
    ];
    for (seed, (nodes, replication, parity)) in (60..).zip(policies) {
        World::run(seed, async |world| {
            let mut settings = ClusterSettings::new(nodes, replication, parity);
            settings.repair_after = Duration::from_secs(20);
            let cluster = Cluster::start(world, settings).await;
            for number in 0..24 {
                let bytes = sample_bytes(number, 300_000 + 11 * number as usize);
                cluster.put(&format!("f{number}"), &bytes).await.expect("put");
            }
            let before = cluster.settle().await;
            assert_eq!(before.repair.done + before.repair.moved, 0);
            for name in ["n2", "n4"] {
                let before = cluster.status().await;
                let held = before.nodes.iter().find(|node| node.id.as_str() == name);
                let held = held.expect("a member").chunks;
                assert!(held > 0);
                cluster.host(name).kill();
                let done = before.repair.done;
                cluster.wait_for("repair", 10 * MINUTE, |it| it.repair.done > done).await;
                let after = cluster.settle().await.repair;
                assert_eq!(after.done - done, held, "{nodes} {parity:?} {name}");
                assert_eq!((after.moved, after.failed), (0, 0), "{nodes} {parity:?} {name}");
                cluster.start_node(name).await;
                cluster.wait_until_heard().await;
                // Until what is surplus was trimmed.
                cluster.pass(10 * MINUTE).await;
            }
        });
    }
}

#[test]
fn an_outage_shorter_than_the_delay_causes_no_repair() {
    World::run(42, async |world| {
        let settings = ClusterSettings::new(4, 2, ParitySpec::None);
        let (cluster, files) = with_files(world, settings).await;
        for _ in 0..3 {
            cluster.host("n2").kill();
            cluster.pass(Duration::from_secs(45)).await;
            let health = cluster.status().await.health;
            assert!(health.degraded + health.at_risk > 0, "seen, and waited for: {health:?}");
            cluster.start_node("n2").await;
            cluster.wait_until_heard().await;
            cluster.pass(2 * MINUTE).await;
        }
        let status = cluster.settle().await;
        assert_eq!((status.repair.done, status.repair.failed), (0, 0));
        all_files_are_there(&cluster, &files).await;
    });
}

#[test]
fn a_restarted_coordinator_repairs_nothing_before_it_has_heard_the_nodes() {
    World::run(43, async |world| {
        let mut settings = ClusterSettings::new(4, 2, ParitySpec::None);
        settings.repair_after = Duration::from_secs(10);
        let (cluster, files) = with_files(world, settings).await;
        for _ in 0..3 {
            cluster.host(COORDINATOR).crash();
            cluster.pass(MINUTE).await;
            cluster.start_coordinator().await;
            cluster.wait_until_heard().await;
            cluster.pass(MINUTE).await;
            assert_eq!(cluster.status().await.repair.done, 0);
        }
        all_files_are_there(&cluster, &files).await;
    });
}

#[test]
fn a_returned_node_is_trimmed_and_brings_nothing_deleted_back() {
    World::run(44, async |world| {
        let mut settings = ClusterSettings::new(4, 2, ParitySpec::None);
        settings.repair_after = Duration::from_secs(10);
        settings.delete_grace = Duration::from_secs(20);
        let (cluster, files) = with_files(world, settings).await;
        let before = chunks_held_when_heard(&cluster).await;
        cluster.host("n2").kill();
        cluster.wait_for("repair", 10 * MINUTE, |status| status.repair.done > 0).await;
        cluster.settle().await;
        let remove =
            Remove { path: "f3".to_owned(), is_recursive: false, is_dry_run: false, request: None };
        cluster.coordinator().remove(remove).await.expect("remove");
        let replace = seekable(&files[0]);
        let mut over = options("f2");
        over.mode = PutMode::Replace;
        cluster.put_with(replace, over).await.expect("replace");
        cluster.start_node("n2").await;
        cluster.wait_until_heard().await;
        let status = cluster
            .wait_for("no garbage", 20 * MINUTE, |status| {
                status.garbage_bytes == 0
                    && status.nodes.iter().all(|node| node.state == NodeState::Online)
            })
            .await;
        cluster.pass(Duration::from_secs(30)).await;
        let after = chunks_held(&cluster).await;
        assert!(after < before, "{after} chunks of {before}: f3 and the old f2 are gone");
        assert_eq!(status.usage.files, 3);
        // f0, f1 and the new f2: one, two and one chunk, two copies each.
        assert_eq!(after, 2 * (1 + 2 + 1));
        assert!(cluster.get("f3").await.is_err(), "it was deleted");
        all_files_are_there(&cluster, &files[..2]).await;
        assert!(cluster.get("f2").await.expect("get") == files[0]);
    });
}

async fn chunks_held_when_heard(cluster: &Cluster<'_>) -> u64 {
    cluster.pass(Duration::from_secs(10)).await;
    chunks_held(cluster).await
}

#[test]
fn a_wiped_node_gets_its_copies_again() {
    World::run(45, async |world| {
        let settings = ClusterSettings::new(3, 2, ParitySpec::None);
        let (cluster, files) = with_files(world, settings).await;
        let host = cluster.host("n3");
        host.kill();
        for (path, _) in host.disk().files() {
            if !path.contains("identity") {
                host.disk().unplant_file(&path);
            }
        }
        cluster.start_node("n3").await;
        cluster.wait_until_heard().await;
        let status = cluster.wait_for("repair", 10 * MINUTE, |status| status.repair.done > 0).await;
        assert!(status.nodes.iter().all(|node| node.state == NodeState::Online));
        cluster.settle().await;
        cluster.host("n1").kill();
        all_files_are_there(&cluster, &files).await;
    });
}

#[test]
fn repair_goes_on_where_a_restarted_coordinator_left_it() {
    World::run(46, async |world| {
        let mut settings = ClusterSettings::new(5, 2, ParitySpec::None);
        settings.repair_after = Duration::from_secs(10);
        let (cluster, files) = with_files(world, settings).await;
        cluster.host("n4").kill();
        cluster
            .wait_for("repair", 10 * MINUTE, |status| {
                status.repair.running + status.repair.done > 0
            })
            .await;
        cluster.host(COORDINATOR).crash();
        cluster.start_coordinator().await;
        cluster.wait_until_heard().await;
        cluster.settle().await;
        cluster.host("n1").kill();
        all_files_are_there(&cluster, &files).await;
    });
}

#[test]
fn a_coordinator_that_stood_still_gives_nobody_up() {
    World::run(47, async |world| {
        let mut settings = ClusterSettings::new(5, 2, ParitySpec::None);
        settings.repair_after = Duration::from_secs(1);
        let (cluster, files) = with_files(world, settings).await;
        cluster.settle().await;
        cluster.host(COORDINATOR).pause();
        world.pass(MINUTE).await;
        cluster.host(COORDINATOR).resume();
        for _ in 0..100 {
            let status = cluster.status().await;
            let (health, repair) = (status.health, status.repair);
            assert_eq!(health.lacking() - health.unknown, 0, "{health:?}");
            assert_eq!(repair.waiting + repair.running + repair.done, 0, "{repair:?}");
            world.pass(Duration::from_millis(100)).await;
        }
        // One that is gone for good is found out all the same.
        cluster.host("n1").kill();
        cluster.wait_for("repair", MINUTE, |status| status.repair.done > 0).await;
        all_files_are_there(&cluster, &files).await;
    });
}

#[test]
fn a_whole_copy_of_other_bytes_is_replaced_once_a_reader_reports_it() {
    World::run(49, async |world| {
        let cluster = Cluster::start(world, ClusterSettings::new(3, 2, ParitySpec::None)).await;
        let bytes = sample_bytes(4, 50_000);
        cluster.put("f", &bytes).await.expect("put");
        let lookup = || Lookup { name: file_name("f"), version: None, first_stripe: 0 };
        let map = cluster.coordinator().lookup(lookup()).await.expect("a map");
        let (stripe, chunk) = (&map.stripes[0], &map.stripes[0].chunks[0]);
        let name = chunk.copies[0].node.as_str();
        let node = cluster.node_role(name).expect("it runs");
        let coordinator = cluster.coordinator_role().expect("it runs");
        let (context, handle) = (coordinator.context(), stripe.first_handle);
        let other = chunk_of(context.cluster, handle.0, vec![7; 50_000]);
        node.delete_chunks(context, vec![handle]).await.expect("delete");
        other.write_to(&*node, context).await.expect("write");
        let found = async || node.verify_chunk(context, handle).await.expect("whole").seal.digest;
        assert_ne!(found().await, chunk.digest);

        assert!(cluster.get("f").await.expect("get") == bytes);
        let reason = "another SHA-256".to_owned();
        let report = BadCopy { node: chunk.copies[0].node.clone(), handle, reason };
        cluster.coordinator().report_bad(report).await.expect("reported");
        cluster.pass(MINUTE).await;
        let status = cluster.settle().await;
        assert_eq!(status.repair.done, 1, "once: {:?}", status.repair);
        assert_eq!(found().await, chunk.digest);
    });
}
