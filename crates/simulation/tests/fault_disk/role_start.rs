//! What a bad moment of the disk must not cost: while a role starts, while
//! its volume is away, and once it works again (F5, F6, F9, F11).

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

#[test]
fn reads_that_fail_while_a_node_starts_cost_no_chunk_in_a_pack() {
    for failures in [1, 3, 1000] {
        World::run(1, async |world| {
            let host = world.add_host("n1", 4001);
            let node = start(&host).await;
            for handle in 1..=20 {
                write_chunk(&node, handle, 700).await.expect("write");
            }
            host.kill();
            host.disk().fail_after(1, Call::Read, ErrorKind::Other, failures);
            drop(try_start(&host).await);
            host.disk().plan_no_faults();
            assert!(count(host.disk(), "read failed") > 0, "it happened");
            let node = start(&host).await;
            for handle in 1..=20 {
                let read = read_chunk(&node, handle).await;
                assert!(read == Ok(chunk(handle, 700).whole()), "{failures}: {handle}");
            }
        });
    }
}

#[test]
fn a_last_record_that_cannot_be_read_is_told_as_bad_and_not_forgotten() {
    World::run(2, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        for handle in 1..=3 {
            write_chunk(&node, handle, 700).await.expect("write");
        }
        host.kill();
        let path = paths(host.disk(), "packs").pop().expect("a pack");
        let len = host.disk().read_file(&path).expect("it is there").len() as u64;
        host.disk().make_unreadable(&path, len - 60..len);
        let node = start(&host).await;
        assert_eq!(held(&node, 3).await, Some(false));
        assert_eq!((held(&node, 1).await, held(&node, 2).await), (Some(true), Some(true)));
    });
}

/// The handle stands in the part that cannot be read: nobody can tell which
/// chunk it is, and the bytes stay for whoever can.
#[test]
fn a_last_record_whose_own_header_cannot_be_read_is_never_cut_off() {
    World::run(2, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        for handle in 1..=3 {
            write_chunk(&node, handle, 700).await.expect("write");
        }
        host.kill();
        let path = paths(host.disk(), "packs").pop().expect("a pack");
        let before = host.disk().read_file(&path).expect("it is there");
        let len = before.len() as u64;
        host.disk().make_unreadable(&path, len - 300..len);
        let node = start(&host).await;
        assert_ne!(held(&node, 3).await, Some(true), "nobody vouches for it");
        assert_eq!((held(&node, 1).await, held(&node, 2).await), (Some(true), Some(true)));
        write_chunk(&node, 4, 700).await.expect("it takes chunks, into another pack");
        assert_eq!(host.disk().read_file(&path), Some(before.clone()), "nothing was cut");
        host.kill();
        // The sector answers again.
        host.disk().plant_file(&path, &before);
        let node = start(&host).await;
        for handle in 1..=4 {
            assert!(read_chunk(&node, handle).await == Ok(chunk(handle, 700).whole()), "{handle}");
        }
    });
}

#[test]
fn one_flipped_read_while_a_node_starts_costs_no_chunk() {
    for skipped in 0..14 {
        World::run(3, async |world| {
            let host = world.add_host("n1", 4001);
            let node = start(&host).await;
            let lens = [700, 700, 700, 1_100_000];
            for (handle, len) in (1..).zip(lens) {
                write_chunk(&node, handle, len).await.expect("write");
            }
            host.kill();
            host.disk().flip_reads_after(skipped, 1);
            let started = try_start(&host).await;
            assert!(started.is_ok(), "after {skipped}: {:?}", started.err());
            host.disk().plan_no_faults();
            let node = start(&host).await;
            for (handle, len) in (1..).zip(lens) {
                let read = read_chunk(&node, handle).await;
                assert!(read == Ok(chunk(handle, len).whole()), "after {skipped}: {handle}");
            }
        });
    }
}

#[test]
fn one_flipped_read_of_a_short_chunk_costs_neither_the_read_nor_the_chunk() {
    World::run(4, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        let thick = sample::chunk(context().cluster, 7, Rng::new(7).bytes(900_000));
        thick.write_to(&*node, context()).await.expect("write");
        for turn in 0..10 {
            host.disk().flip_next_reads(1);
            assert!(read_chunk(&node, 7).await == Ok(thick.whole()), "flip {turn}");
        }
        assert_eq!(count(host.disk(), "flipped read"), 10);
        assert_eq!(held(&node, 7).await, Some(true));
    });
}

#[test]
fn a_volume_that_is_away_condemns_no_chunk() {
    World::run(5, async |world| {
        let settings = ClusterSettings::new(1, 1, ParitySpec::None);
        let cluster = Cluster::start(world, settings).await;
        let bytes = [sample_bytes(1, 900), sample_bytes(2, 1_500_000)];
        for (name, bytes) in ["small", "large"].iter().zip(&bytes) {
            cluster.put(name, bytes).await.expect("put");
        }
        let host = cluster.host("n1");
        host.disk().set_unmounted(true);
        for name in ["small", "large"] {
            let error = cluster.get_error(name).await;
            assert_eq!(error.kind, Kind::Unavailable, "{name}: {error}");
        }
        let status = cluster.status().await;
        assert_eq!(status.nodes[0].quarantined, 0);
        assert!(status.nodes[0].trouble.is_some(), "the operator is told");
        host.disk().set_unmounted(false);
        cluster.start_node("n1").await;
        cluster.wait_until_heard().await;
        for (name, bytes) in ["small", "large"].iter().zip(&bytes) {
            assert!(cluster.get(name).await.expect("get") == *bytes, "{name}");
        }
    });
}

#[test]
fn a_disk_that_failed_once_is_tried_again_and_taken_back() {
    World::run(6, async |world| {
        let cluster = Cluster::start(world, ClusterSettings::new(3, 3, ParitySpec::None)).await;
        let host = cluster.host("n3");
        host.disk().fail_next_syncs(1);
        cluster.put("a", &sample_bytes(1, 900)).await.expect("put");
        cluster.pass(Duration::from_secs(6)).await;
        let trouble = |status: &dfs_core::api::ClusterStatus| status.nodes[2].trouble.clone();
        assert!(trouble(&cluster.status().await).is_some(), "it is told");
        cluster.pass(MINUTE).await;
        assert_eq!(trouble(&cluster.status().await), None);
        assert_eq!(state_of(&cluster, "n3").await, NodeState::Online);
        let put = cluster.put("b", &sample_bytes(2, 900)).await.expect("put");
        assert_eq!(put.copies_missing, 0, "it takes chunks again");
        cluster.settle().await;
        // While it does not work, it is not taken back.
        host.disk().fail_next_syncs(1000);
        cluster.put("c", &sample_bytes(3, 900)).await.expect("put");
        cluster.pass(10 * MINUTE).await;
        assert!(trouble(&cluster.status().await).is_some());
    });
}

#[test]
fn a_running_node_makes_no_folder_of_its_own_of_an_empty_mount_point() {
    World::run(7, async |world| {
        let mut settings = ClusterSettings::new(3, 2, ParitySpec::None);
        settings.repair_after = 30 * MINUTE;
        let cluster = Cluster::start(world, settings).await;
        cluster.put("a", &sample_bytes(1, 700_000)).await.expect("put");
        let host = cluster.host("n2");
        host.disk().set_unmounted(true);
        // Its new epoch is news that the node would write down.
        cluster.start_coordinator().await;
        cluster.pass(MINUTE).await;
        assert_eq!(paths(host.disk(), "identity"), Vec::<String>::new());
        drop(cluster.try_start_node("n2", cluster.node_settings("n2")).await);
        cluster.pass(5 * MINUTE).await;
        assert_ne!(state_of(&cluster, "n2").await, NodeState::Online);
        assert_eq!(cluster.status().await.repair.done, 0, "nobody gave its copies up");
        assert!(cluster.host(COORDINATOR).is_up());
    });
}

#[test]
fn a_disk_that_takes_ten_seconds_a_job_makes_no_heartbeat_late() {
    World::run(8, async |world| {
        let cluster = Cluster::start(world, ClusterSettings::new(3, 2, ParitySpec::None)).await;
        let bytes = sample_bytes(1, 90_000);
        cluster.put("a", &bytes).await.expect("put");
        cluster.host("n2").set_disk_latency_us(10_000_000);
        for _ in 0..120 {
            cluster.pass(Duration::from_secs(1)).await;
            assert_eq!(state_of(&cluster, "n2").await, NodeState::Online);
        }
        let status = cluster.status().await;
        assert_eq!(status.repair.done + status.repair.running, 0, "nobody gave it up");
        assert!(status.nodes[1].space.total > 0, "its space is known all the same");
        assert!(cluster.get("a").await.expect("get") == bytes);
    });
}

#[test]
fn a_stranger_at_the_address_of_a_node_is_no_proof_that_its_copies_are_lost() {
    World::run(9, async |world| {
        let cluster = Cluster::start(world, ClusterSettings::new(1, 1, ParitySpec::None)).await;
        let bytes = sample_bytes(1, 90_000);
        cluster.put("a", &bytes).await.expect("put");
        let host = cluster.host("n1");
        host.kill();
        host.disk().set_unmounted(true);
        cluster.start_node("n1").await;
        cluster.pass(MINUTE).await;
        let error = cluster.get_error("a").await;
        assert_eq!(error.kind, Kind::Unavailable, "{error}");
        host.kill();
        host.disk().set_unmounted(false);
        cluster.start_node("n1").await;
        cluster.wait_until_heard().await;
        assert!(cluster.get("a").await.expect("get") == bytes);
    });
}

#[test]
fn a_compaction_whose_sync_fails_leaves_nothing_that_a_later_start_believes() {
    for failures in [1, 2] {
        World::run(10, async |world| {
            let host = world.add_host("n1", 4001);
            let node = start(&host).await;
            // A pack of which most is dead soon, so that it is compacted.
            let handles: Vec<u64> = (1..=120).collect();
            for handle in &handles {
                let thick =
                    sample::chunk(context().cluster, *handle, Rng::new(*handle).bytes(60_000));
                thick.write_to(&*node, context()).await.expect("write");
            }
            let (gone, kept) = handles.split_at(100);
            let gone = gone.iter().map(|handle| Handle(*handle)).collect();
            host.disk().fail_next_syncs(failures);
            node.delete_chunks(context(), gone).await.expect("delete");
            world.pass(Duration::from_secs(5)).await;
            assert!(count(host.disk(), "sync failed") > 0, "it happened");
            host.disk().plan_no_faults();
            host.kill();
            let node = start(&host).await;
            // The next start goes on compacting; then the power goes.
            let more = sample::chunk(context().cluster, 500, Rng::new(500).bytes(60_000));
            more.write_to(&*node, context()).await.expect("write");
            world.pass(Duration::from_secs(5)).await;
            host.crash();
            let node = start(&host).await;
            for handle in kept {
                assert_eq!(held(&node, *handle).await, Some(true), "{handle} after {failures}");
            }
        });
    }
}

async fn state_of(cluster: &Cluster<'_>, node: &str) -> NodeState {
    let status = cluster.status().await;
    status.nodes.iter().find(|it| it.id.as_str() == node).expect("a member").state
}
