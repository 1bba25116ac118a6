//! A whole cluster: missing mounts, a ledger that fails, wrong clocks, slow
//! disks (F9 to F12, F16, F18).

use std::io::ErrorKind;
use std::time::Duration;

use dfs_core::api::NodeState;
use dfs_core::policy::ParitySpec;
use dfs_simulation::World;
use dfs_simulation::cluster::{COORDINATOR, Cluster, ClusterSettings};
use dfs_simulation::disk::Call;
use dfs_simulation::oracle::sample_bytes;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Copies are rebuilt late: what is missing for a while is not given up.
fn patient() -> ClusterSettings {
    let mut settings = ClusterSettings::new(3, 2, ParitySpec::None);
    settings.repair_after = 30 * MINUTE;
    settings
}

async fn put_some(cluster: &Cluster<'_>) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for (seed, len) in [(1, 900), (2, 700_000), (3, 2_500_000)] {
        let (name, bytes) = (format!("f{seed}"), sample_bytes(seed, len));
        cluster.put(&name, &bytes).await.expect("put");
        files.push((name, bytes));
    }
    files
}

async fn check_all(cluster: &Cluster<'_>, files: &[(String, Vec<u8>)]) {
    for (name, bytes) in files {
        assert!(cluster.get(name).await.expect("get") == *bytes, "{name}");
    }
}

async fn state_of(cluster: &Cluster<'_>, node: &str) -> NodeState {
    let status = cluster.status().await;
    status.nodes.iter().find(|it| it.id.as_str() == node).expect("a member").state
}

#[test]
fn a_node_started_on_an_empty_mount_point_is_not_taken_for_the_one_that_it_was() {
    World::run(1, async |world| {
        let cluster = Cluster::start(world, patient()).await;
        let files = put_some(&cluster).await;
        let host = cluster.host("n2");
        host.kill();
        host.disk().set_unmounted(true);
        cluster.start_node("n2").await;
        cluster.pass(5 * MINUTE).await;
        assert_eq!(state_of(&cluster, "n2").await, NodeState::Offline, "refused");
        let status = cluster.status().await;
        let text = format!("{status:?}");
        assert!(text.contains("--replace"), "the status says why, and the way out: {text}");
        assert_eq!(status.repair.done + status.repair.running, 0, "nobody gave its copies up");
        check_all(&cluster, &files).await;
        cluster.put("meanwhile", b"elsewhere").await.expect("put");
        assert_eq!(paths(host.disk(), "chunks/").len() + paths(host.disk(), "packs/").len(), 0);

        host.kill();
        host.disk().set_unmounted(false);
        cluster.start_node("n2").await;
        cluster.wait_until_heard().await;
        let status = cluster.settle().await;
        assert_eq!(status.repair.done, 0, "all its copies are there");
        for other in ["n1", "n3"] {
            cluster.host(other).kill();
            check_all(&cluster, &files).await;
            cluster.start_node(other).await;
            cluster.wait_until_heard().await;
        }
    });
}

#[test]
fn a_running_node_whose_mount_went_away_costs_no_file() {
    World::run(2, async |world| {
        let cluster = Cluster::start(world, patient()).await;
        let files = put_some(&cluster).await;
        let host = cluster.host("n2");
        host.disk().set_unmounted(true);
        check_all(&cluster, &files).await;
        cluster.put("meanwhile", &sample_bytes(9, 700_000)).await.expect("put");
        assert_eq!(paths(host.disk(), "chunks/").len() + paths(host.disk(), "packs/").len(), 0);
        host.kill();
        host.disk().set_unmounted(false);
        cluster.start_node("n2").await;
        cluster.wait_until_heard().await;
        cluster.settle().await;
        check_all(&cluster, &files).await;
    });
}

#[test]
fn a_coordinator_on_an_empty_mount_point_founds_nothing_with_the_nodes_of_another_cluster() {
    World::run(4, async |world| {
        let cluster = Cluster::start(world, patient()).await;
        let files = put_some(&cluster).await;
        let held = |name: &str| cluster.host(name).disk().files();
        let before: Vec<_> = ["n1", "n2", "n3"].map(held).into();
        let host = cluster.host(COORDINATOR);
        host.kill();
        host.disk().set_unmounted(true);
        let _ = cluster.try_start_coordinator().await;
        cluster.pass(5 * MINUTE).await;
        assert!(cluster.put("new", b"bytes").await.is_err(), "no node takes its orders");
        assert_eq!(before, Vec::from(["n1", "n2", "n3"].map(held)), "no chunk was touched");
        host.kill();
        host.disk().set_unmounted(false);
        cluster.start_coordinator().await;
        cluster.wait_until_heard().await;
        check_all(&cluster, &files).await;
    });
}

#[test]
fn a_ledger_that_fails_ends_the_coordinator_and_a_new_start_knows_all() {
    for (call, kind) in [
        (Call::Sync, ErrorKind::Other),
        (Call::Sync, ErrorKind::StorageFull),
        (Call::Write, ErrorKind::StorageFull),
    ] {
        World::run(5, async |world| {
            let cluster = Cluster::start(world, patient()).await;
            let files = put_some(&cluster).await;
            cluster.host(COORDINATOR).disk().fail_next(call, kind, 1);
            let error = cluster.put("late", b"bytes").await.expect_err("it was not committed");
            assert_eq!(error.kind, Kind::NotKnown, "{error}");
            assert!(!cluster.host(COORDINATOR).is_up(), "the process has ended");
            cluster.host(COORDINATOR).crash();
            cluster.start_coordinator().await;
            cluster.wait_until_heard().await;
            check_all(&cluster, &files).await;
            match cluster.get("late").await {
                Ok(bytes) => assert_eq!(bytes, b"bytes", "whole"),
                Err(error) => assert_eq!(error.kind, Kind::NotFound, "or not there: {error}"),
            }
            cluster.put("again", b"bytes").await.expect("put");
        });
    }
}

#[test]
fn a_full_coordinator_says_so_and_goes_on_once_there_is_room() {
    World::run(6, async |world| {
        let cluster = Cluster::start(world, patient()).await;
        let files = put_some(&cluster).await;
        let disk = cluster.host(COORDINATOR).disk().clone();
        disk.set_capacity(disk.used());
        let mut acknowledged = Vec::new();
        for number in 0..2000 {
            let name = format!("many/{number}");
            match cluster.put(&name, b"bytes").await {
                Ok(_) => acknowledged.push((name, b"bytes".to_vec())),
                Err(_) => break,
            }
        }
        assert!(count(&disk, "no space") > 0, "{} files fit", acknowledged.len());
        assert!(acknowledged.len() < 2000);
        disk.set_capacity(1 << 30);
        cluster.host(COORDINATOR).crash();
        cluster.start_coordinator().await;
        cluster.wait_until_heard().await;
        check_all(&cluster, &files).await;
        check_all(&cluster, &acknowledged).await;
    });
}

#[test]
fn wrong_wall_clocks_decide_nothing() {
    World::run(7, async |world| {
        let cluster = Cluster::start(world, patient()).await;
        let hour_ms = 3_600_000;
        cluster.host(COORDINATOR).set_wall_skew_ms(-hour_ms);
        cluster.host("n1").set_wall_skew_ms(24 * hour_ms);
        cluster.host("n2").set_wall_drift_ppm(500_000);
        cluster.host("n3").set_wall_frozen(true);
        let files = put_some(&cluster).await;
        cluster.pass(10 * MINUTE).await;
        cluster.host(COORDINATOR).set_wall_frozen(true);
        cluster.host("n1").set_wall_skew_ms(-24 * hour_ms);
        cluster.pass(10 * MINUTE).await;
        for node in ["n1", "n2", "n3"] {
            assert_eq!(state_of(&cluster, node).await, NodeState::Online, "{node}");
        }
        let status = cluster.settle().await;
        assert_eq!(status.repair.done, 0);
        check_all(&cluster, &files).await;
    });
}

#[test]
fn a_node_with_a_slow_disk_stays_a_member_and_files_stay_right() {
    World::run(8, async |world| {
        let cluster = Cluster::start(world, patient()).await;
        cluster.host("n2").set_disk_latency_us(500_000);
        let files = put_some(&cluster).await;
        check_all(&cluster, &files).await;
        cluster.pass(MINUTE).await;
        assert_eq!(state_of(&cluster, "n2").await, NodeState::Online);
        assert_eq!(cluster.settle().await.repair.done, 0);
    });
}

/// A disk whose only fault is under the identity is a good disk.
#[test]
fn an_identity_that_cannot_be_read_any_more_is_written_anew() {
    for is_rotten in [false, true] {
        World::run(9, async |world| {
            let cluster = Cluster::start(world, patient()).await;
            let files = put_some(&cluster).await;
            let disk = cluster.host("n2").disk().clone();
            let len = disk.read_file("identity").expect("it is there").len() as u64;
            if is_rotten {
                disk.flip("identity", len / 2, 1);
            } else {
                disk.make_unreadable("identity", 0..len);
            }
            // The device refuses a write, and the node is in trouble.
            disk.fail_next(Call::Write, ErrorKind::Other, 1);
            cluster.put("trouble", &[7; 900]).await.expect("put elsewhere");
            cluster.pass(5 * MINUTE).await;
            let status = cluster.status().await;
            assert!(status.nodes.iter().all(|node| node.trouble.is_none()), "{status:?}");
            cluster.host("n2").kill();
            cluster.start_node("n2").await;
            cluster.wait_until_heard().await;
            cluster.settle().await;
            check_all(&cluster, &files).await;
        });
    }
}

/// A folder that a later build made is another's, whatever trouble there is.
#[test]
fn an_identity_of_a_later_build_is_never_written_over() {
    World::run(10, async |world| {
        let cluster = Cluster::start(world, patient()).await;
        let disk = cluster.host("n2").disk().clone();
        let text = disk.read_file("identity").expect("it is there");
        let text = String::from_utf8(text).expect("it is text");
        let later = text.replace("node identity 2\n", "node identity 3\n");
        assert_ne!(later, text);
        disk.plant_file("identity", later.as_bytes());
        disk.fail_next(Call::Write, ErrorKind::Other, 1);
        for number in 0..3 {
            cluster.put(&format!("trouble{number}"), &[7; 900]).await.expect("put elsewhere");
        }
        assert_eq!(count(&disk, "write failed"), 1, "the node is in trouble");
        cluster.pass(5 * MINUTE).await;
        assert_eq!(disk.read_file("identity").expect("it is there"), later.as_bytes());
    });
}
