//! Who belongs to the cluster.

use dfs_core::api::{CoordinatorService, Kind, NodeState};
use dfs_core::id::{ClusterId, FolderId, SessionId};

use super::{Speaker, assert_kind, three_nodes};

pub(super) async fn nodes_join_and_are_seen(coordinator: &dyn CoordinatorService) {
    let status = coordinator.status().await.expect("status");
    assert!(status.nodes.is_empty());
    assert_eq!(status.policy, super::POLICY);
    let speakers = three_nodes(coordinator).await;
    let status = coordinator.status().await.expect("status");
    let seen: Vec<&str> = status.nodes.iter().map(|node| node.id.as_str()).collect();
    assert_eq!(seen, ["n1", "n2", "n3"], "by name");
    for (node, speaker) in status.nodes.iter().zip(&speakers) {
        assert_eq!(node.state, NodeState::Online);
        assert_eq!(node.address, speaker.0.address);
        assert_eq!((node.space.total, node.version.as_str()), (1 << 40, "0.0.0-spoken-for"));
    }
    assert!(status.promise.nodes_lost_max >= Some(1), "{}", status.promise.sentence);
    let stranger = Speaker::new("n4", 4);
    let heartbeat = stranger.beat(coordinator).await.expect("join");
    assert_eq!((heartbeat.context.cluster, heartbeat.context.run), (status.cluster, status.run));
}

pub(super) async fn impostors_are_refused(coordinator: &dyn CoordinatorService) {
    let speakers = three_nodes(coordinator).await;
    let honest = &speakers[0].0;

    let mut other_cluster = Speaker::new("n9", 9);
    other_cluster.0.cluster = Some(ClusterId([0xee; 16]));
    let refused = other_cluster.beat(coordinator).await;
    assert_kind(refused, Kind::WrongIdentity, "a node of another cluster");

    let mut doubled = speakers[0].clone();
    doubled.0.folder = FolderId([0x77; 16]);
    doubled.0.session = SessionId(5);
    doubled.0.address = "127.0.0.1:77".to_owned();
    let refused = doubled.beat(coordinator).await;
    let error = assert_kind(refused, Kind::WrongIdentity, "another folder under a known id");
    assert!(error.message.contains("n1"), "{error}");

    let mut swapped = speakers[0].clone();
    swapped.0.folder = speakers[1].0.folder;
    assert_kind(swapped.beat(coordinator).await, Kind::WrongIdentity, "a swapped folder");

    let status = coordinator.status().await.expect("status");
    assert_eq!(status.nodes.len(), 3);
    assert_eq!(status.nodes[0].address, honest.address, "the honest node stays where it was");
    let mut restarted = speakers[0].clone();
    restarted.0.session = SessionId(6);
    restarted.beat(coordinator).await.expect("a restarted node is the same node");
}

pub(super) async fn a_polite_stop_is_seen(coordinator: &dyn CoordinatorService) {
    let speakers = three_nodes(coordinator).await;
    let info = &speakers[2].0;
    let cluster = info.cluster.expect("it has joined");
    let stop = |session| coordinator.leave(cluster, info.id.clone(), session);
    stop(info.session).await.expect("leave");
    let status = coordinator.status().await.expect("status");
    assert_eq!(status.nodes[2].state, NodeState::Absent);
    let other = coordinator.leave(ClusterId([0xee; 16]), info.id.clone(), info.session).await;
    assert_kind(other, Kind::WrongIdentity, "another cluster's farewell");
    let mut back = speakers[2].clone();
    back.0.session = SessionId(99);
    back.beat(coordinator).await.expect("it comes back");
    // A farewell that was late on its way does not send the new process off.
    let _ = stop(info.session).await;
    let status = coordinator.status().await.expect("status");
    assert_eq!(status.nodes[2].state, NodeState::Online);
}
