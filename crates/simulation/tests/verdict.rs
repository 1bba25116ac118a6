//! The cluster's verdict of itself, where it once said that all was well.

use std::time::Duration;

use dfs_core::api::{ClusterStatus, NodeState, ReasonKind, Word};
use dfs_core::mutant::{Mutant, plant};
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

/// Returns the answers of `status` that contradict themselves while a node
/// goes and comes back.
fn contradictions_around_an_outage() -> Vec<String> {
    let mut found = Vec::new();
    World::run(11, async |world| {
        let mut settings = ClusterSettings::new(4, 2, ParitySpec::None);
        settings.repair_after = Duration::from_secs(1_000);
        let cluster = Cluster::start(world, settings).await;
        for file in 0..12 {
            let name = format!("f{file}");
            cluster.put(&name, &sample_bytes(file, 90_000)).await.expect("stored");
        }
        cluster.settle().await;
        let mut words = Vec::new();
        let mut look = async |name: &str, times: u32| {
            for _ in 0..times {
                cluster.pass(Duration::from_millis(20)).await;
                let status = cluster.status().await;
                let is_online = state_of(&status, name) == NodeState::Online;
                let is_away = state_of(&status, name) == NodeState::Offline;
                let is_alarm = has(&status, ReasonKind::StripesAtRisk);
                if is_online && is_alarm || is_away && status.health.lacking() == 0 {
                    found.push(format!("{:?}, {name}: {}", status.verdict, is_online));
                }
                if words.last() != Some(&status.verdict.word) {
                    words.push(status.verdict.word);
                }
            }
        };
        for name in ["n1", "n2", "n3", "n4"] {
            cluster.host(name).kill();
            look(name, 750).await;
            cluster.start_node(name).await;
            look(name, 250).await;
        }
        assert!(words.contains(&Word::AtRisk), "R=2 has no spare: {words:?}");
        assert_eq!(words.last(), Some(&Word::AllWell), "{words:?}");
    });
    found
}

#[test]
fn the_verdict_does_not_repeat_a_count_from_before_a_node_came_or_went() {
    assert_eq!(contradictions_around_an_outage(), Vec::<String>::new());
    let _planted = plant(Mutant::RepeatsOldCount);
    assert!(!contradictions_around_an_outage().is_empty(), "the bug is not found");
}

#[test]
fn a_put_that_lacks_a_copy_is_told_of_by_the_next_status() {
    let told = || {
        let mut told = (None, false);
        World::run(12, async |world| {
            let cluster = Cluster::start(world, ClusterSettings::new(3, 3, ParitySpec::None)).await;
            cluster.settle().await;
            cluster.host("n3").kill();
            cluster.pass(Duration::from_secs(20)).await;
            let before = cluster.status().await;
            assert!(!has(&before, ReasonKind::StripesDegraded), "{:?}", before.verdict);
            let summary = cluster.put("f", &sample_bytes(1, 90_000)).await.expect("stored");
            assert!(summary.copies_missing > 0, "{summary:?}");
            let status = cluster.status().await;
            told = (status.stored.spares_min, has(&status, ReasonKind::StripesDegraded));
            // The next count finds the same.
            cluster.pass(Duration::from_secs(3)).await;
            let later = cluster.status().await;
            assert_eq!(later.stored.spares_min, Some(1), "{:?}", later.stored);
            assert_eq!(later.stored.files, 1, "{:?}", later.stored);
        });
        told
    };
    assert_eq!(told(), (Some(1), true));
    let _planted = plant(Mutant::RepeatsOldCount);
    assert_eq!(told(), (None, false), "the bug is not found");
}
