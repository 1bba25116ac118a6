//! The cluster's verdict of itself, where it once said that all was well.

use std::time::Duration;

use dfs_core::api::{ClusterStatus, NodeState, ReasonKind, Word};
use dfs_core::policy::ParitySpec;
use dfs_simulation::World;
use dfs_simulation::cluster::{Cluster, ClusterSettings};
use dfs_simulation::oracle::sample_bytes;

/// Two heartbeats, and the time of a look and of a survey.
const VOLUME_TIME_MAX: Duration = Duration::from_secs(8);

fn has(status: &ClusterStatus, kind: ReasonKind) -> bool {
    status.verdict.reasons.iter().any(|reason| reason.kind == kind)
}

fn state_of(status: &ClusterStatus, name: &str) -> NodeState {
    let node = status.nodes.iter().find(|node| node.id.as_str() == name);
    node.expect("it is a member").state
}

#[test]
fn a_volume_that_vanishes_is_reported_and_its_copies_are_made_anew() {
    World::run(7, async |world| {
        let cluster = Cluster::start(world, ClusterSettings::new(4, 2, ParitySpec::None)).await;
        for file in 0..12 {
            let name = format!("f{file}");
            cluster.put(&name, &sample_bytes(file, 90_000)).await.expect("stored");
        }
        let before = cluster.settle().await;
        assert_eq!(before.verdict.word, Word::AllWell, "{:?}", before.verdict);

        cluster.host("n2").disk().set_unmounted(true);
        cluster.pass(VOLUME_TIME_MAX).await;
        let gone = cluster.status().await;
        assert_eq!(state_of(&gone, "n2"), NodeState::NoVolume, "{:?}", gone.nodes);
        assert!(has(&gone, ReasonKind::VolumeGone), "{:?}", gone.verdict);
        assert_eq!(gone.verdict.word, Word::AtRisk, "R=2 has no spare: {:?}", gone.verdict);
        assert_eq!(gone.repair.done, before.repair.done, "a remount is not a rebuild");

        let mended = cluster.settle().await;
        assert!(mended.repair.done > before.repair.done, "{:?}", mended.repair);
        assert_eq!(mended.verdict.word, Word::Degraded, "{:?}", mended.verdict);
        assert!(has(&mended, ReasonKind::VolumeGone), "{:?}", mended.verdict);
        for file in 0..12 {
            let name = format!("f{file}");
            assert_eq!(cluster.get(&name).await.expect("read"), sample_bytes(file, 90_000));
        }
    });
}

#[test]
fn a_volume_that_can_only_be_read_is_reported_though_nobody_writes() {
    World::run(8, async |world| {
        let cluster = Cluster::start(world, ClusterSettings::new(3, 2, ParitySpec::None)).await;
        cluster.put("f", &sample_bytes(1, 90_000)).await.expect("stored");
        cluster.settle().await;
        cluster.host("n1").disk().set_read_only(true);
        cluster.pass(VOLUME_TIME_MAX).await;
        let status = cluster.status().await;
        assert_eq!(status.verdict.word, Word::Degraded, "{:?}", status.verdict);
        assert!(has(&status, ReasonKind::NodeTrouble), "{:?}", status.verdict);
        assert_eq!(cluster.get("f").await.expect("read"), sample_bytes(1, 90_000));
    });
}

#[test]
fn data_on_nodes_that_are_away_is_unreachable_and_data_that_was_wiped_is_lost() {
    World::run(9, async |world| {
        let cluster = Cluster::start(world, ClusterSettings::new(3, 1, ParitySpec::None)).await;
        for file in 0..9 {
            let name = format!("f{file}");
            cluster.put(&name, &sample_bytes(file, 90_000)).await.expect("stored");
        }
        cluster.settle().await;
        let host = cluster.host("n1");
        host.kill();
        cluster.pass(Duration::from_secs(100)).await;
        let away = cluster.status().await;
        assert_eq!(away.verdict.word, Word::Unreachable, "{:?}", away.verdict);
        assert_eq!((away.health.lost, away.stored.spares_min), (0, Some(-1)));

        host.disk().wipe();
        let settings = cluster.node_settings("n1");
        let settings = dfs_core::node::NodeSettings { replace: true, ..settings };
        cluster.try_start_node("n1", settings).await.expect("an empty folder may be put in");
        cluster.pass(Duration::from_secs(20)).await;
        let lost = cluster.status().await;
        assert_eq!(lost.verdict.word, Word::Lost, "{:?}", lost.verdict);
        assert_eq!(lost.health.lost, away.health.unreachable);
        assert!(lost.stored.files > 0, "{:?}", lost.stored);
    });
}

#[test]
fn after_a_start_the_verdict_is_not_known_yet() {
    World::run(10, async |world| {
        let cluster = Cluster::start(world, ClusterSettings::new(3, 2, ParitySpec::None)).await;
        cluster.put("f", &sample_bytes(1, 90_000)).await.expect("stored");
        cluster.settle().await;
        cluster.host("n1").kill();
        cluster.host("coord").kill();
        cluster.start_coordinator().await;
        let early = cluster.status().await;
        assert_eq!(early.verdict.word, Word::NotKnownYet, "{:?}", early.verdict);
        cluster.pass(Duration::from_secs(16)).await;
        let later = cluster.status().await;
        assert!(later.verdict.word != Word::AllWell, "{:?}", later.verdict);
        assert!(has(&later, ReasonKind::NodeAway), "{:?}", later.verdict);
    });
}
