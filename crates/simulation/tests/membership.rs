//! Who is there, who is not, and who is refused.

use std::time::Duration;

use dfs_core::api::{Kind, NodeState, Word};
use dfs_core::id::NodeId;
use dfs_core::node::NodeSettings;
use dfs_core::policy::ParitySpec;
use dfs_simulation::World;
use dfs_simulation::cluster::{
    COORDINATOR, Cluster, ClusterSettings, options, seekable, start_coordinator_on, start_node_on,
};
use dfs_simulation::oracle::sample_bytes;

const MINUTE: Duration = Duration::from_secs(60);

fn two_copies(nodes: usize) -> ClusterSettings {
    ClusterSettings::new(nodes, 2, ParitySpec::None)
}

/// `None` for a node that is no member.
async fn state(cluster: &Cluster<'_>, name: &str) -> Option<NodeState> {
    let status = cluster.status().await;
    status.nodes.iter().find(|node| node.id.as_str() == name).map(|node| node.state)
}

/// Waits for a state and gives how long that took.
async fn time_to(cluster: &Cluster<'_>, name: &str, wanted: NodeState) -> Duration {
    let started = tokio::time::Instant::now();
    while state(cluster, name).await != Some(wanted) {
        assert!(started.elapsed() < MINUTE, "{name} never becomes {wanted:?}");
        cluster.pass(Duration::from_millis(100)).await;
    }
    started.elapsed()
}

#[test]
fn a_silent_node_is_suspect_after_two_heartbeats_and_offline_after_four() {
    World::run(21, async |world| {
        let cluster = Cluster::start(world, two_copies(3)).await;
        cluster.host("n2").kill();
        let suspect = time_to(&cluster, "n2", NodeState::Suspect).await;
        let verdict = cluster.status().await.verdict;
        assert_eq!(verdict.word, Word::Degraded, "its copies still count, and it is named");
        assert!(verdict.sentence().contains("n2 has been silent for 6s"), "{verdict:?}");
        let offline = suspect + time_to(&cluster, "n2", NodeState::Offline).await;
        let seconds = |time: Duration| time.as_secs_f64();
        assert!((3.0..6.5).contains(&seconds(suspect)), "suspect after {suspect:?}");
        assert!((9.0..12.5).contains(&seconds(offline)), "offline after {offline:?}");
        cluster.start_node("n2").await;
        let back = time_to(&cluster, "n2", NodeState::Online).await;
        assert!(back < Duration::from_secs(4), "online after {back:?}");
    });
}

#[test]
fn a_node_that_stops_politely_is_absent_at_once() {
    World::run(22, async |world| {
        let cluster = Cluster::start(world, two_copies(3)).await;
        let host = cluster.host("n2");
        let node = start_node_on(&host, cluster.node_settings("n2")).await.expect("restart");
        cluster.pass(Duration::from_secs(4)).await;
        assert_eq!(state(&cluster, "n2").await, Some(NodeState::Online));
        host.spawn(async move { node.leave().await }).await.expect("it leaves");
        assert_eq!(state(&cluster, "n2").await, Some(NodeState::Absent));
        host.kill();
        cluster.start_node("n2").await;
        time_to(&cluster, "n2", NodeState::Online).await;
    });
}

#[test]
fn reads_fail_over_at_once_and_writes_avoid_what_is_offline() {
    World::run(23, async |world| {
        let cluster = Cluster::start(world, two_copies(4)).await;
        let bytes = sample_bytes(1, 500_000);
        cluster.put("before", &bytes).await.expect("put");
        cluster.host("n3").kill();
        let started = tokio::time::Instant::now();
        assert!(cluster.get("before").await.expect("get") == bytes);
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());

        time_to(&cluster, "n3", NodeState::Offline).await;
        let put = cluster.put("after", &bytes).await.expect("put");
        assert_eq!((put.copies_missing, put.replaced.len()), (0, 0), "n3 was not even tried");
        assert!(cluster.get("after").await.expect("get") == bytes);
    });
}

#[test]
fn a_node_that_dies_in_the_middle_of_a_put_does_not_fail_it() {
    World::run(24, async |world| {
        let cluster = Cluster::start(world, two_copies(4)).await;
        for (turn, kill_after_ms) in (0u64..).zip([1, 5, 10, 20, 40]) {
            let bytes = sample_bytes(turn, 3_000_000);
            let name = format!("f{turn}");
            let put = cluster.begin_put(seekable(&bytes), options(&name));
            cluster.pass(Duration::from_millis(kill_after_ms)).await;
            cluster.host("n1").kill();
            let put = put.await.expect("the client lives").expect("put");
            assert!(cluster.get(&name).await.expect("get") == bytes, "{put:?}");
            assert_eq!(put.copies_missing, 0, "three nodes were left for two copies");
            cluster.start_node("n1").await;
            cluster.wait_until_heard().await;
        }
    });
}

#[test]
fn a_node_joins_the_running_cluster_and_takes_part() {
    World::run(25, async |world| {
        let cluster = Cluster::start(world, two_copies(2)).await;
        let name = cluster.join_node().await;
        time_to(&cluster, &name, NodeState::Online).await;
        let put = cluster.put("a", &sample_bytes(1, 1_000_000)).await.expect("put");
        assert_eq!(put.copies_missing, 0);
        let held = cluster.wait_for("chunks on n3", MINUTE, |status| {
            status.nodes.iter().any(|node| node.id.as_str() == name && node.chunks > 0)
        });
        held.await;
        // The coordinator knows it after a restart, though it was not told.
        cluster.host(COORDINATOR).crash();
        cluster.start_coordinator().await;
        cluster.wait_until_heard().await;
        assert_eq!(cluster.status().await.nodes.len(), 3);
    });
}

#[test]
fn a_doubled_id_is_refused_and_harms_nobody() {
    World::run(26, async |world| {
        let cluster = Cluster::start(world, two_copies(3)).await;
        let bytes = sample_bytes(1, 400_000);
        cluster.put("a", &bytes).await.expect("put");
        let impostor = world.add_host("impostor", 4999);
        let settings = NodeSettings {
            address: impostor.address().to_owned(),
            join: Some(cluster.host(COORDINATOR).address().to_owned()),
            ..cluster.node_settings("n1")
        };
        start_node_on(&impostor, settings).await.expect("it starts, and is refused later");
        cluster.pass(Duration::from_secs(5)).await;
        assert!(impostor.is_up(), "the other one may be about to go");
        cluster.pass(Duration::from_secs(15)).await;
        assert!(!impostor.is_up(), "it was refused for good, and ended");
        assert!(cluster.host("n1").is_up());
        let status = cluster.status().await;
        assert_eq!(status.nodes.len(), 3);
        assert_eq!(status.nodes[0].address, cluster.host("n1").address());
        assert_eq!(status.nodes[0].state, NodeState::Online);
        assert!(status.nodes[0].trouble.is_some(), "the operator is told");
        assert!(cluster.get("a").await.expect("get") == bytes);
    });
}

#[test]
fn an_empty_folder_under_a_known_id_is_refused_until_told_that_it_replaces() {
    World::run(27, async |world| {
        let mut settings = two_copies(3);
        settings.repair_after = Duration::from_secs(20);
        let cluster = Cluster::start(world, settings).await;
        let bytes = sample_bytes(1, 700_000);
        cluster.put("a", &bytes).await.expect("put");
        let host = cluster.host("n2");
        host.kill();
        host.disk().wipe();
        let coordinator = cluster.host(COORDINATOR).address().to_owned();
        let wiped = NodeSettings { join: Some(coordinator), ..cluster.node_settings("n2") };
        cluster.try_start_node("n2", wiped.clone()).await.expect("it starts");
        time_to(&cluster, "n2", NodeState::Offline).await;
        cluster.pass(Duration::from_secs(3)).await;
        assert!(!host.is_up(), "it was refused for good, and ended");
        let replaces = NodeSettings { replace: true, ..wiped };
        cluster.try_start_node("n2", replaces).await.expect("it starts");
        time_to(&cluster, "n2", NodeState::Online).await;
        cluster.settle().await;
        cluster.host("n1").kill();
        assert!(cluster.get("a").await.expect("get") == bytes);
    });
}

#[test]
fn a_folder_of_another_node_is_refused_at_the_start() {
    World::run(28, async |world| {
        let cluster = Cluster::start(world, two_copies(3)).await;
        for name in ["n1", "n2"] {
            cluster.host(name).kill();
        }
        let spare = world.add_host("spare", 4100);
        spare.disk().copy_from(cluster.host("n1").disk());
        cluster.host("n1").disk().copy_from(cluster.host("n2").disk());
        let refused = cluster.try_start_node("n1", cluster.node_settings("n1")).await;
        let reason = refused.expect_err("n1 must not start on the folder of n2");
        assert!(reason.contains("n1") && reason.contains("n2"), "{reason}");
        cluster.host("n1").disk().copy_from(spare.disk());
        cluster.start_node("n1").await;
        cluster.start_node("n2").await;
        cluster.wait_until_heard().await;
    });
}

#[test]
fn a_node_of_another_cluster_is_refused_both_ways() {
    World::run(29, async |world| {
        let cluster = Cluster::start(world, two_copies(3)).await;
        let second = world.add_host("coord2", 5000);
        let stranger = world.add_host("stranger", 5001);
        let settings = NodeSettings {
            id: NodeId::new("stranger").expect("a good id"),
            address: stranger.address().to_owned(),
            ..cluster.node_settings("n1")
        };
        start_node_on(&stranger, settings.clone()).await.expect("it starts");
        let mut other = cluster.coordinator_settings();
        other.address = second.address().to_owned();
        other.nodes = vec![stranger.address().to_owned()];
        start_coordinator_on(&second, other.clone()).await.expect("it starts");
        cluster.pass(MINUTE).await;

        // A member of the second cluster asks to join the first.
        let joins =
            NodeSettings { join: Some(cluster.host(COORDINATOR).address().to_owned()), ..settings };
        // At the start or at its first heartbeat: refused in any case.
        let _ = start_node_on(&stranger, joins).await;
        // And the second coordinator tries to take a member of the first.
        other.nodes = vec![cluster.host("n1").address().to_owned()];
        start_coordinator_on(&second, other).await.expect("it starts");
        cluster.pass(MINUTE).await;
        let status = cluster.status().await;
        let members: Vec<&str> = status.nodes.iter().map(|node| node.id.as_str()).collect();
        assert_eq!(members, ["n1", "n2", "n3"]);
        assert!(status.nodes.iter().all(|node| node.state == NodeState::Online));
        let seen = cluster.client_host().env().peers.coordinator(second.address());
        let status = seen.status().await.expect("the second coordinator answers");
        assert!(status.nodes.iter().all(|node| node.id.as_str() == "stranger"), "{status:?}");
    });
}

#[test]
fn nodes_outlive_a_coordinator_that_was_started_on_a_wrong_folder() {
    World::run(34, async |world| {
        let cluster = Cluster::start(world, two_copies(3)).await;
        let bytes = sample_bytes(1, 300_000);
        cluster.put("a", &bytes).await.expect("put");
        let spare = world.add_host("spare", 4100);
        let host = cluster.host(COORDINATOR);
        host.kill();
        spare.disk().copy_from(host.disk());
        host.disk().wipe();
        cluster.start_coordinator().await;
        // One that was accepted, and one that never was since it started.
        cluster.host("n3").kill();
        cluster.start_node("n3").await;
        cluster.pass(MINUTE).await;
        for name in cluster.node_names() {
            assert!(cluster.host(&name).is_up(), "{name} ended");
        }
        host.kill();
        host.disk().copy_from(spare.disk());
        cluster.start_coordinator().await;
        // It is not blamed on the nodes afterwards, not even for a moment.
        for _ in 0..200 {
            for node in cluster.status().await.nodes {
                let trouble = node.trouble.unwrap_or_default();
                assert!(!trouble.contains("cluster"), "{}: {trouble}", node.id);
            }
            cluster.pass(Duration::from_millis(50)).await;
        }
        cluster.wait_until_heard().await;
        assert!(cluster.get("a").await.expect("get") == bytes);
    });
}

#[test]
fn two_coordinators_on_one_state_do_no_harm() {
    World::run(30, async |world| {
        let cluster = Cluster::start(world, two_copies(3)).await;
        let bytes = sample_bytes(1, 300_000);
        cluster.put("a", &bytes).await.expect("put");
        let twin = world.add_host("twin", 4500);
        twin.disk().copy_from(cluster.host(COORDINATOR).disk());
        // Restarted once more than its twin: the higher epoch.
        cluster.start_coordinator().await;
        cluster.host(COORDINATOR).kill();
        cluster.start_coordinator().await;
        cluster.wait_until_heard().await;
        let mut settings = cluster.coordinator_settings();
        settings.address = twin.address().to_owned();
        start_coordinator_on(&twin, settings).await.expect("it starts");
        cluster.pass(MINUTE).await;
        assert!(!twin.is_up(), "it found that another one leads, and ended");
        cluster.put("b", &bytes).await.expect("the newer one goes on");
        for name in ["a", "b"] {
            assert!(cluster.get(name).await.expect("get") == bytes);
        }
    });
}

#[test]
fn a_node_that_is_cut_off_from_its_coordinator_serves_reads_and_takes_no_writes() {
    World::run(31, async |world| {
        let cluster = Cluster::start(world, two_copies(2)).await;
        let bytes = sample_bytes(1, 300_000);
        cluster.put("a", &bytes).await.expect("put");
        world.net().partition(&["n1"], &[COORDINATOR]);
        cluster.pass(MINUTE).await;
        cluster.host("n2").kill();
        assert!(cluster.get("a").await.expect("n1 serves on") == bytes);
        let chunk = {
            let context = cluster.status().await;
            let context = dfs_core::api::Context { cluster: context.cluster, run: context.run };
            (context, dfs_simulation::sample::chunk(context.cluster, 1 << 18, vec![1; 100]))
        };
        let node = cluster.client_host().env().peers.node(cluster.host("n1").address());
        let refused = chunk.1.write_to(&*node, chunk.0).await.expect_err("it takes no chunk");
        assert_eq!(refused.kind, Kind::Unavailable, "{refused}");
        world.net().heal();
        cluster.pass(Duration::from_secs(10)).await;
        chunk.1.write_to(&*node, chunk.0).await.expect("heard again, it takes chunks");
    });
}

#[test]
fn a_coordinator_that_is_given_its_nodes_in_another_order_knows_them_all() {
    World::run(32, async |world| {
        let cluster = Cluster::start(world, two_copies(4)).await;
        let bytes = sample_bytes(1, 300_000);
        cluster.put("a", &bytes).await.expect("put");
        let mut settings = cluster.coordinator_settings();
        settings.nodes.reverse();
        settings.nodes.truncate(2);
        start_coordinator_on(&cluster.host(COORDINATOR), settings).await.expect("it starts");
        cluster.wait_until_heard().await;
        let status = cluster.settle().await;
        assert_eq!((status.nodes.len(), status.repair.done), (4, 0), "members are remembered");
        assert!(cluster.get("a").await.expect("get") == bytes);
    });
}

#[test]
fn a_join_that_was_given_up_midway_is_a_join_all_the_same() {
    World::run(33, async |world| {
        let cluster = Cluster::start(world, two_copies(3)).await;
        // The node hangs up after three seconds; the ledger takes longer.
        cluster.host(COORDINATOR).set_disk_latency_us(4_000_000);
        let name = cluster.join_node().await;
        cluster.pass(MINUTE).await;
        cluster.host(COORDINATOR).set_disk_latency_us(0);
        cluster.pass(MINUTE).await;
        assert_eq!(state(&cluster, &name).await, Some(NodeState::Online));
    });
}

/// A node whose disk keeps it from noting that a new run leads: readers read
/// from it, and nothing is asked of it that it would have to remember.
#[test]
fn a_node_that_cannot_note_its_new_coordinator_is_read_from() {
    World::run(61, async |world| {
        let settings = ClusterSettings::new(3, 1, ParitySpec::Xor { data: 2 });
        let cluster = Cluster::start(world, settings).await;
        let bytes = sample_bytes(1, 300_000);
        cluster.put("a", &bytes).await.expect("put");
        cluster.host("n1").disk().set_read_only(true);
        cluster.host(COORDINATOR).kill();
        cluster.start_coordinator().await;
        cluster.pass(MINUTE).await;
        let status = cluster.status().await;
        let node = &status.nodes[0];
        assert_eq!(node.state, NodeState::Online, "{status:?}");
        assert!(node.chunks > 0, "its inventory is known: {node:?}");
        let said = status.verdict.sentence();
        assert!(said.contains("n1") && said.contains("read-only"), "{said}");
        assert_eq!((status.leased, status.counted), (2, 3), "it grants no lease");
        // With another node gone, its copies are needed.
        cluster.host("n2").kill();
        cluster.pass(MINUTE).await;
        assert!(cluster.get("a").await.expect("get") == bytes);
        cluster.start_node("n2").await;
        cluster.host("n1").disk().set_read_only(false);
        cluster.pass(MINUTE).await;
        let status = cluster.status().await;
        assert_eq!((status.leased, status.counted), (3, 3), "{status:?}");
        assert_eq!(status.verdict.word, Word::AllWell, "{}", status.verdict.sentence());
    });
}

#[test]
fn a_volume_that_is_gone_is_called_that_by_a_new_coordinator_too() {
    World::run(62, async |world| {
        let cluster = Cluster::start(world, two_copies(3)).await;
        cluster.put("a", &sample_bytes(1, 300_000)).await.expect("put");
        cluster.host("n1").disk().set_unmounted(true);
        cluster.host(COORDINATOR).kill();
        cluster.start_coordinator().await;
        cluster.pass(Duration::from_secs(20)).await;
        assert_eq!(state(&cluster, "n1").await, Some(NodeState::NoVolume));
    });
}

#[test]
fn a_node_that_names_the_address_of_another_one_is_refused() {
    World::run(41, async |world| {
        let cluster = Cluster::start(world, two_copies(3)).await;
        let name = cluster.add_joining_node();
        let host = cluster.host(&name);
        let settings = NodeSettings {
            address: cluster.host("n1").address().to_owned(),
            ..cluster.node_settings(&name)
        };
        start_node_on(&host, settings).await.expect("it starts");
        cluster.pass(Duration::from_secs(10)).await;
        assert_eq!(state(&cluster, &name).await, None, "it is no member");
        let status = cluster.status().await;
        assert_eq!(status.verdict.word, Word::AllWell, "{:?}", status.verdict);
        cluster.put("after", &sample_bytes(1, 100_000)).await.expect("n1 goes on");
    });
}
