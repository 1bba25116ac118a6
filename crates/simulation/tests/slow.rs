//! Nodes that are slow, frozen, or that nobody can connect to: how long a
//! client is held up, by virtual time.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dfs_core::api::{NodeState, ReasonKind, Word};
use dfs_core::client::{Progress, Sink};
use dfs_core::mutant::{Mutant, plant};
use dfs_core::node::NodeSettings;
use dfs_core::policy::ParitySpec;
use dfs_simulation::World;
use dfs_simulation::cluster::{
    CLIENT, Cluster, ClusterSettings, file_name, options, seekable, stream,
};
use dfs_simulation::net::{Link, Net};
use dfs_simulation::oracle::sample_bytes;
use tokio::time::Instant;

const MIB: usize = 1 << 20;
/// 20 Mbit/s.
const SLOW_BYTES_PER_S: u64 = 2_500_000;

/// A cluster that repairs nothing while a test looks.
fn settings(nodes: usize, replication: u8, parity: ParitySpec, chunk: usize) -> ClusterSettings {
    let mut settings = ClusterSettings::new(nodes, replication, parity);
    settings.policy.chunk_size = u32::try_from(chunk).expect("a chunk size");
    settings.repair_after = Duration::from_secs(1_000_000);
    settings
}

fn reed_solomon(data: u8, parity: u8) -> ParitySpec {
    ParitySpec::ReedSolomon { data, parity }
}

/// 400 Mbit/s.
const USUAL_BYTES_PER_S: u64 = 50_000_000;

/// Slows what goes between a node and the client down to 20 Mbit/s.
fn slow_down(net: &Net, node: &str) {
    set_rate(net, node, SLOW_BYTES_PER_S);
}

/// Sets how many bytes a second go between a node and the client.
fn set_rate(net: &Net, node: &str, bytes_per_second: u64) {
    for (from, to) in [(node, CLIENT), (CLIENT, node)] {
        let link = net.link(from, to);
        net.set_link(from, to, Link { bytes_per_second, ..link });
    }
}

/// What befalls the network in the middle of a transfer.
type Strike<'a> = Box<dyn FnOnce(&Net) + Send + 'a>;

/// Keeps what it gets; something strikes once some of it is there.
struct Striking<'a> {
    net: Net,
    strike: Option<Strike<'a>>,
    after: usize,
    taken: Vec<u8>,
}

#[async_trait]
impl Sink for Striking<'_> {
    fn is_ordered(&self) -> bool {
        true
    }

    async fn write(&mut self, _offset: u64, bytes: Bytes) -> io::Result<()> {
        self.taken.extend_from_slice(&bytes);
        if self.taken.len() >= self.after
            && let Some(strike) = self.strike.take()
        {
            strike(&self.net);
        }
        Ok(())
    }
}

/// How long a get takes during whose first chunk its node becomes slow.
fn time_of_a_get_with_a_node_that_becomes_slow() -> Duration {
    let mut took = Duration::ZERO;
    World::run(1, async |world| {
        let cluster = Cluster::start(world, settings(4, 2, ParitySpec::None, 64 * MIB)).await;
        let bytes = sample_bytes(1, 40 * MIB);
        cluster.put("a", &bytes).await.expect("put");
        // Others are known from another file.
        cluster.put("b", &bytes).await.expect("put");
        for node in ["n1", "n2", "n3", "n4"] {
            let client = cluster.client();
            for name in ["a", "b"] {
                world.net().heal();
                let mut sink = Striking {
                    net: world.net().clone(),
                    strike: Some(Box::new(|net: &Net| slow_down(net, node))),
                    after: 3 * MIB,
                    taken: Vec::new(),
                };
                let started = Instant::now();
                client.get(&file_name(name), None, &mut sink, &Progress::new()).await.expect("get");
                assert!(sink.taken == bytes);
                took = took.max(started.elapsed());
            }
        }
    });
    took
}

#[test]
fn a_get_leaves_a_node_that_becomes_slow_in_mid_stream() {
    let took = time_of_a_get_with_a_node_that_becomes_slow();
    assert!(took < Duration::from_secs(2), "{took:?}");
    let _planted = plant(Mutant::HedgeFirstFrameOnly);
    let took = time_of_a_get_with_a_node_that_becomes_slow();
    assert!(took > Duration::from_secs(4), "the bug is not found: {took:?}");
}

#[test]
fn a_get_under_parity_does_not_wait_for_a_frozen_node() {
    for frozen in ["n2", "n3", "n4", "n5"] {
        World::run(2, async |world| {
            let cluster = Cluster::start(world, settings(5, 1, reed_solomon(3, 2), 64 * MIB)).await;
            let bytes = sample_bytes(2, 4 * MIB);
            cluster.put("a", &bytes).await.expect("put");
            cluster.host("n1").kill();
            cluster.host(frozen).pause();
            let started = Instant::now();
            assert!(cluster.get("a").await.expect("get") == bytes);
            assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
            cluster.host(frozen).resume();
        });
    }
}

/// How long a put takes while a node is slow.
fn time_of_a_put_with_a_slow_node(is_stream: bool, nodes: usize) -> Duration {
    let mut took = Duration::ZERO;
    World::run(3, async |world| {
        let cluster = Cluster::start(world, settings(nodes, 2, ParitySpec::None, 32 * MIB)).await;
        let bytes = sample_bytes(3, 128 * MIB);
        slow_down(world.net(), "n2");
        let source = if is_stream { stream(&bytes, MIB) } else { seekable(&bytes) };
        let started = Instant::now();
        let summary = cluster.put_with(source, options("a")).await.expect("put");
        took = started.elapsed();
        assert_eq!(summary.copies_missing, 0, "{summary:?}");
        assert!(summary.replaced.iter().all(|note| note.failed.as_str() == "n2"), "{summary:?}");
        let status = cluster.status().await;
        let slow: Vec<&str> =
            status.nodes.iter().filter(|node| node.is_slow).map(|node| node.id.as_str()).collect();
        assert_eq!(slow, ["n2"], "the coordinator was told");
        assert_eq!(status.verdict.word, Word::AllWell, "{:?}", status.verdict);
        // Another client is not held up at all.
        let started = Instant::now();
        cluster.put("b", &bytes).await.expect("put");
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        world.net().heal();
        assert!(cluster.get("a").await.expect("get") == bytes);
        cluster.pass(Duration::from_secs(400)).await;
        let status = cluster.status().await;
        assert!(status.nodes.iter().all(|node| !node.is_slow), "it is tried again");
    });
    took
}

#[test]
fn a_put_goes_on_with_another_node_when_one_is_slow() {
    for is_stream in [false, true] {
        for nodes in [3, 5] {
            let took = time_of_a_put_with_a_slow_node(is_stream, nodes);
            let limit = if is_stream { 6 } else { 3 };
            assert!(took < Duration::from_secs(limit), "stream {is_stream}, {nodes}: {took:?}");
        }
    }
    let _planted = plant(Mutant::NeverSetsAside);
    let took = time_of_a_put_with_a_slow_node(false, 5);
    assert!(took > Duration::from_secs(6), "the bug is not found: {took:?}");
}

/// How long a put of 256 MiB takes on five nodes with usual links, one of
/// which may be slow, and how many copies it leaves to repair.
fn time_of_a_put_over_usual_links(
    replication: u8,
    parity: ParitySpec,
    slow: Option<&str>,
) -> (Duration, u64) {
    let mut took = (Duration::ZERO, 0);
    World::run(8, async |world| {
        let cluster = Cluster::start(world, settings(5, replication, parity, 64 * MIB)).await;
        let bytes = sample_bytes(8, 256 * MIB);
        for node in ["n1", "n2", "n3", "n4", "n5"] {
            set_rate(world.net(), node, USUAL_BYTES_PER_S);
        }
        if let Some(slow) = slow {
            slow_down(world.net(), slow);
        }
        let started = Instant::now();
        let summary = cluster.put_with(seekable(&bytes), options("a")).await.expect("put");
        took = (started.elapsed(), summary.copies_missing);
        world.net().heal();
        assert!(cluster.get("a").await.expect("get") == bytes);
    });
    took
}

#[test]
fn a_copy_that_is_set_aside_is_sent_anew_while_the_others_go_on() {
    let (usual, _) = time_of_a_put_over_usual_links(2, ParitySpec::None, None);
    let (slow, missing) = time_of_a_put_over_usual_links(2, ParitySpec::None, Some("n2"));
    assert_eq!(missing, 0);
    assert!(slow < usual * 2 + Duration::from_millis(500), "{slow:?} against {usual:?}");
    let _planted = plant(Mutant::SendsAnewInTheEnd);
    let (late, _) = time_of_a_put_over_usual_links(2, ParitySpec::None, Some("n2"));
    assert!(late > slow + Duration::from_millis(300), "the bug is not found: {late:?}, {slow:?}");
}

/// Returns what two puts with a slow node came to: the nodes that `status`
/// calls slow after the first, and the copies that the second one had to send
/// elsewhere.
fn second_put_with_a_slow_node() -> (Vec<String>, usize) {
    let mut found = (Vec::new(), 0);
    World::run(11, async |world| {
        let cluster = Cluster::start(world, settings(5, 2, ParitySpec::None, 64 * MIB)).await;
        let bytes = sample_bytes(11, 256 * MIB);
        // Five times as slow as the others: a copy lags that far behind, and
        // the waits alone do not make it a slow node.
        for node in ["n1", "n2", "n3", "n4", "n5"] {
            set_rate(world.net(), node, 5 * SLOW_BYTES_PER_S);
        }
        slow_down(world.net(), "n2");
        cluster.put_with(seekable(&bytes), options("a")).await.expect("put");
        let slow = cluster.status().await.nodes.into_iter().filter(|node| node.is_slow);
        found.0 = slow.map(|node| node.id.to_string()).collect();
        let summary = cluster.put_with(seekable(&bytes), options("b")).await.expect("put");
        found.1 = summary.replaced.len();
    });
    found
}

#[test]
fn a_node_from_which_one_put_took_a_copy_away_gets_none_of_the_next() {
    assert_eq!(second_put_with_a_slow_node(), (vec!["n2".to_owned()], 0));
    let _planted = plant(Mutant::TellsOfNoLag);
    let (slow, replaced) = second_put_with_a_slow_node();
    assert!(slow.is_empty() && replaced > 0, "the bug is not found: {slow:?}, {replaced}");
}

#[test]
fn a_node_that_takes_all_the_waits_of_its_stripe_is_no_slow_node() {
    // Its peers have faster links, and are paced by it: they never wait.
    let replaced = || {
        let mut replaced = 0;
        World::run(9, async |world| {
            let cluster = Cluster::start(world, settings(5, 2, ParitySpec::None, 64 * MIB)).await;
            set_rate(world.net(), "n2", USUAL_BYTES_PER_S / 3);
            let bytes = sample_bytes(9, 256 * MIB);
            let summary = cluster.put_with(seekable(&bytes), options("a")).await.expect("put");
            replaced = summary.replaced.len();
        });
        replaced
    };
    assert_eq!(replaced(), 0);
    let _planted = plant(Mutant::BlamesSharedLines);
    assert!(replaced() > 0, "the bug is not found");
}

#[test]
fn a_put_leaves_a_slow_copy_to_repair_that_its_stripe_can_do_without() {
    let (usual, _) = time_of_a_put_over_usual_links(1, reed_solomon(3, 2), None);
    let (slow, missing) = time_of_a_put_over_usual_links(1, reed_solomon(3, 2), Some("n2"));
    assert!(missing > 0, "no sixth node takes it");
    assert!(slow < usual + Duration::from_secs(3), "{slow:?} against {usual:?}");
    let _planted = plant(Mutant::WaitsForWhatItCanDoWithout);
    let (late, _) = time_of_a_put_over_usual_links(1, reed_solomon(3, 2), Some("n2"));
    assert!(late > usual + Duration::from_secs(6), "the bug is not found: {late:?}");
}

#[test]
fn a_put_gives_no_copy_up_that_it_needs() {
    // Whichever node takes a copy, it lags behind n1.
    let put = |nodes, replication, parity| {
        let mut stored = None;
        World::run(10, async |world| {
            let cluster =
                Cluster::start(world, settings(nodes, replication, parity, 32 * MIB)).await;
            slow_down(world.net(), "n2");
            slow_down(world.net(), "n3");
            let bytes = sample_bytes(10, 96 * MIB);
            let summary = cluster.put_with(seekable(&bytes), options("a")).await;
            stored = summary.ok().map(|summary| summary.copies_missing);
        });
        stored
    };
    assert_eq!(put(3, 2, ParitySpec::None), Some(0));
    let missing = put(5, 1, reed_solomon(3, 2)).expect("every stripe can lose a node");
    assert!(missing <= 1, "one copy of the stripe at most: {missing}");
    let _planted = plant(Mutant::GivesUpWhatItNeeds);
    assert_eq!(put(5, 1, reed_solomon(3, 2)), None, "the bug is not found");
}

#[test]
fn a_put_is_held_up_by_a_frozen_node_for_ten_seconds_at_most() {
    let policies =
        [(4, 2, ParitySpec::None), (5, 1, reed_solomon(3, 2)), (6, 1, reed_solomon(3, 2))];
    for (nodes, replication, parity) in policies {
        for is_stream in [false, true] {
            World::run(4, async |world| {
                let cluster =
                    Cluster::start(world, settings(nodes, replication, parity, 16 * MIB)).await;
                let bytes = sample_bytes(4, 100 * MIB);
                let source = if is_stream { stream(&bytes, MIB) } else { seekable(&bytes) };
                let started = Instant::now();
                let put = cluster.begin_put(source, options("a"));
                cluster.pass(Duration::from_millis(10)).await;
                cluster.host("n2").pause();
                put.await.expect("the client lives").expect("put");
                let took = started.elapsed();
                assert!(took < Duration::from_secs(10), "{nodes} {parity:?} {is_stream}: {took:?}");
                assert!(cluster.get("a").await.expect("get") == bytes);
                cluster.host("n2").resume();
            });
        }
    }
}

/// How long a put takes whose links to a node swallow everything from the
/// middle on, both ways: no end of a connection is told.
fn time_of_a_put_through_a_half_open_link(
    (nodes, replication, parity): (usize, u8, ParitySpec),
    is_stream: bool,
    write_stall_after: Duration,
) -> Duration {
    let mut took = Duration::ZERO;
    World::run(12, async |world| {
        let mut settings = settings(nodes, replication, parity, 16 * MIB);
        settings.client.write_stall_after = write_stall_after;
        let cluster = Cluster::start(world, settings).await;
        for node in ["n1", "n2", "n3", "n4", "n5", "n6"].into_iter().take(nodes) {
            set_rate(world.net(), node, USUAL_BYTES_PER_S);
        }
        let bytes = sample_bytes(12, 100 * MIB);
        let source = if is_stream { stream(&bytes, MIB) } else { seekable(&bytes) };
        let started = Instant::now();
        let put = cluster.begin_put(source, options("a"));
        cluster.pass(Duration::from_millis(400)).await;
        world.net().partition(&["n2"], &[CLIENT]);
        put.await.expect("the client lives").expect("put");
        took = started.elapsed();
        assert!(cluster.get("a").await.expect("get") == bytes);
    });
    took
}

#[test]
fn a_put_is_held_up_by_a_half_open_link_for_ten_seconds_at_most() {
    let policies =
        [(4, 2, ParitySpec::None), (5, 1, reed_solomon(3, 2)), (6, 1, reed_solomon(3, 2))];
    let usual = dfs_core::client::ClientSettings::default().write_stall_after;
    for policy in policies {
        for is_stream in [false, true] {
            let took = time_of_a_put_through_a_half_open_link(policy, is_stream, usual);
            assert!(took < Duration::from_secs(10), "{policy:?} {is_stream}: {took:?}");
        }
    }
    // Two limits keep it short: how far a copy may lag, and how long one stands still.
    let _planted = plant(Mutant::NeverSetsAside);
    let patient = Duration::from_secs(18);
    let took = time_of_a_put_through_a_half_open_link(policies[0], false, patient);
    assert!(took > Duration::from_secs(12), "the limit comes from elsewhere: {took:?}");
}

/// How long a get takes during whose first chunk the links to one node begin
/// to swallow everything.
fn time_of_a_get_through_a_half_open_link(hedge_after: Duration) -> Duration {
    let mut took = Duration::ZERO;
    let policies = [(4, 2, ParitySpec::None), (5, 1, reed_solomon(3, 2))];
    for (nodes, replication, parity) in policies {
        World::run(13, async |world| {
            let mut settings = settings(nodes, replication, parity, 64 * MIB);
            settings.client.hedge_after = hedge_after;
            let cluster = Cluster::start(world, settings).await;
            let bytes = sample_bytes(13, 40 * MIB);
            cluster.put("a", &bytes).await.expect("put");
            for node in ["n1", "n2", "n3", "n4", "n5"].into_iter().take(nodes) {
                let strike = |net: &Net| net.partition(&[node], &[CLIENT]);
                let mut sink = Striking {
                    net: world.net().clone(),
                    strike: Some(Box::new(strike)),
                    after: 3 * MIB,
                    taken: Vec::new(),
                };
                let started = Instant::now();
                let (client, name) = (cluster.client(), file_name("a"));
                client.get(&name, None, &mut sink, &Progress::new()).await.expect("get");
                assert!(sink.taken == bytes);
                took = took.max(started.elapsed());
                world.net().heal();
            }
        });
    }
    took
}

#[test]
fn a_get_is_held_up_by_a_half_open_link_for_ten_seconds_at_most() {
    let usual = dfs_core::client::ClientSettings::default().hedge_after;
    let took = time_of_a_get_through_a_half_open_link(usual);
    assert!(took < Duration::from_secs(10), "{took:?}");
    let took = time_of_a_get_through_a_half_open_link(Duration::from_secs(12));
    assert!(took > Duration::from_secs(10), "the limit comes from elsewhere: {took:?}");
}

#[test]
fn the_first_small_put_after_a_freeze_is_held_up_for_ten_seconds_at_most() {
    for (nodes, replication) in [(3, 2), (3, 1), (2, 1)] {
        World::run(5, async |world| {
            let settings = settings(nodes, replication, ParitySpec::None, 64 * MIB);
            let cluster = Cluster::start(world, settings).await;
            cluster.host("n2").pause();
            for number in 0..3 {
                let bytes = sample_bytes(number, 1024);
                let started = Instant::now();
                cluster.put(&format!("f{number}"), &bytes).await.expect("put");
                assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
            }
            cluster.host("n2").resume();
        });
    }
}

/// The state of a node that is heard and cannot be connected to.
fn state_of_an_unreachable_node(seed: u64) -> (NodeState, Word) {
    let mut found = (NodeState::Unknown, Word::NotKnownYet);
    World::run(seed, async |world| {
        let cluster = Cluster::start(world, settings(4, 2, ParitySpec::None, MIB)).await;
        cluster.put("a", &sample_bytes(6, 5 * MIB)).await.expect("put");
        cluster.settle().await;
        cluster.host("n3").kill();
        let wrong =
            NodeSettings { address: "elsewhere:4003".to_owned(), ..cluster.node_settings("n3") };
        cluster.try_start_node("n3", wrong).await.expect("it starts");
        cluster.pass(Duration::from_secs(25)).await;
        let status = cluster.status().await;
        let node = status.nodes.iter().find(|node| node.id.as_str() == "n3").expect("a member");
        found = (node.state, status.verdict.word);
        if found.0 != NodeState::CutOff {
            return;
        }
        let reason =
            status.verdict.reasons.iter().find(|reason| reason.kind == ReasonKind::NodeCutOff);
        let sentence = &reason.expect("the verdict names it").sentence;
        assert!(sentence.contains("elsewhere:4003"), "{sentence}");
        let summary = cluster.put("b", &sample_bytes(7, 5 * MIB)).await.expect("put");
        assert!(summary.replaced.is_empty(), "it gets no new chunks: {summary:?}");
        assert!(status.promise.sentence.contains("of 3 nodes"), "{:?}", status.promise);
        // Its own address again.
        cluster.host("n3").kill();
        cluster.pass(Duration::from_secs(8)).await;
        cluster.start_node("n3").await;
        cluster.pass(Duration::from_secs(25)).await;
        let status = cluster.status().await;
        assert_eq!(status.verdict.word, Word::AllWell, "{:?}", status.verdict);
    });
    found
}

#[test]
fn a_node_that_is_heard_and_cannot_be_connected_to_is_cut_off() {
    let (state, word) = state_of_an_unreachable_node(6);
    assert_eq!(state, NodeState::CutOff);
    assert!(word != Word::AllWell, "{word:?}");
    let _planted = plant(Mutant::NeverCallsBack);
    assert!(state_of_an_unreachable_node(6).0 != NodeState::CutOff, "the bug is not found");
}

#[test]
fn a_client_that_cannot_connect_has_the_node_called_at_once() {
    World::run(7, async |world| {
        let cluster = Cluster::start(world, settings(4, 2, ParitySpec::None, MIB)).await;
        cluster.put("a", &sample_bytes(8, 9 * MIB)).await.expect("put");
        cluster.settle().await;
        // It still reaches the coordinator, and nobody reaches it.
        cluster.pass(Duration::from_secs(40)).await;
        world.net().cut_one_way("coord", "n2");
        world.net().partition(&["n2"], &[CLIENT]);
        cluster.get("a").await.expect("get");
        cluster.pass(Duration::from_secs(14)).await;
        let status = cluster.status().await;
        let node = status.nodes.iter().find(|node| node.id.as_str() == "n2").expect("a member");
        assert_eq!(node.state, NodeState::CutOff, "{:?}", status.nodes);
        world.net().heal();
        cluster.pass(Duration::from_secs(14)).await;
        assert_eq!(cluster.status().await.verdict.word, Word::AllWell);
    });
}
