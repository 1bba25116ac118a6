//! Single messages: lost, late, twice, reset; directions that are cut.

use dfs_core::api::{NodeService, NodeState};
use dfs_core::id::Handle;
use dfs_core::policy::ParitySpec;
use dfs_simulation::World;
use dfs_simulation::cluster::{Cluster, ClusterSettings};
use dfs_simulation::net::CALL_TIMEOUT;
use dfs_simulation::oracle::sample_bytes;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::*;

async fn delete(node: &dyn NodeService, handle: u64) -> Result<()> {
    node.delete_chunks(context(), vec![Handle(handle)]).await
}

#[test]
fn a_lost_request_has_no_effect_and_a_lost_answer_keeps_it() {
    World::run(1, async |world| {
        let pair = Pair::start(world).await;
        thin(1, 100).write_to(&*pair.link, context()).await.expect("write");
        let lossy = Link { loss_per_mille: 1000, ..Link::default() };
        for (from, to, left) in [(CLIENT, NODE, 1), (NODE, CLIENT, 0)] {
            world.net().set_link(from, to, lossy);
            let started = Instant::now();
            assert_unavailable(delete(&*pair.link, 1).await, "no answer");
            assert!(started.elapsed() >= CALL_TIMEOUT);
            assert_eq!(pair.held().await.len(), left, "{from} to {to}");
            world.net().heal();
        }
        assert_eq!(world.net().faults_injected()["lost"], 2);
    });
}

/// A node behind a firewall: it is heard, and nobody can connect to it.
#[test]
fn a_node_that_takes_no_calls_is_heard_and_told_to_be_cut_off() {
    World::run(4, async |world| {
        let parity = ParitySpec::None;
        let cluster = Cluster::start(world, ClusterSettings::new(3, 2, parity)).await;
        for from in ["coord", "client", "n2", "n3"] {
            let deaf = Link { takes_no_calls: true, ..Link::default() };
            world.net().set_link(from, "n1", deaf);
        }
        let node = cluster.client_host().env().peers.node(cluster.host("n1").address());
        assert_unavailable(delete(&*node, 1).await, "no answer");
        cluster.pass(Duration::from_secs(60)).await;
        let status = cluster.status().await;
        let state = |name: &str| status.nodes.iter().find(|node| node.id.as_str() == name);
        let n1 = state("n1").expect("a member");
        assert_eq!(n1.state, NodeState::CutOff);
        assert!(n1.heard_ms_ago.is_some_and(|ago| ago < 6_000), "its heartbeats arrive: {n1:?}");
    });
}

#[test]
fn a_delayed_call_is_overtaken_by_later_ones_and_a_stream_keeps_its_order() {
    World::run(2, async |world| {
        let pair = Pair::start(world).await;
        let late = Link { delay_per_mille: 300, delay_us: 50_000, ..Link::default() };
        world.net().set_link(CLIENT, NODE, late);
        let calls = (0..40).map(|number| {
            let link = pair.link.clone();
            async move {
                world.pass(Duration::from_millis(number)).await;
                delete(&*link, number).await.expect("it arrives all the same");
            }
        });
        join_all(calls).await;
        let sent: Vec<String> = (0..40).map(|number| format!("delete {number}")).collect();
        let (mut arrived, order) = (sent.clone(), pair.spy.notes());
        arrived.sort();
        let mut sorted = order.clone();
        sorted.sort();
        assert_eq!(sorted, arrived, "each arrived once");
        assert_ne!(order, sent, "in another order");

        let before = world.net().faults_injected()["delayed"];
        let chunk = sample::chunk(context().cluster, 99, sample_bytes(1, 8 << 20));
        chunk.write_to(&*pair.link, context()).await.expect("frames in order are a chunk");
        assert!(world.net().faults_injected()["delayed"] > before, "frames were late as well");
    });
}

#[test]
fn a_doubled_call_runs_the_service_twice_and_a_stream_only_once() {
    World::run(3, async |world| {
        let pair = Pair::start(world).await;
        world.net().set_all(Link { double_per_mille: 1000, ..Link::default() });
        thin(1, 100).write_to(&*pair.link, context()).await.expect("write");
        delete(&*pair.link, 1).await.expect("the first answer counts");
        world.pass(SECOND).await;
        assert_eq!(pair.spy.notes(), ["write 1", "delete 1", "delete 1"]);
        assert_eq!(world.net().faults_injected()["doubled"], 1);
    });
}

#[test]
fn a_doubled_call_may_arrive_long_after_its_answer() {
    World::run(4, async |world| {
        let pair = Pair::start(world).await;
        let odd = Link {
            double_per_mille: 1000,
            delay_per_mille: 500,
            delay_us: 1_000_000,
            ..Link::default()
        };
        world.net().set_link(CLIENT, NODE, odd);
        let mut was_late = false;
        for handle in 0..30 {
            delete(&*pair.link, handle).await.expect("delete");
            world.net().heal();
            thin(handle, 100).write_to(&*pair.link, context()).await.expect("write");
            let was_there = pair.held().await.len();
            world.pass(3 * SECOND).await;
            // The double of the delete took what was written after it.
            was_late |= pair.held().await.len() < was_there;
            greet(&pair.spy.node).await;
            world.net().set_link(CLIENT, NODE, odd);
        }
        assert!(was_late, "no double was late");
    });
}

#[test]
fn a_reset_call_fails_at_once_and_may_have_had_its_effect() {
    World::run(5, async |world| {
        let pair = Pair::start(world).await;
        thin(1, 100).write_to(&*pair.link, context()).await.expect("write");
        let resetting = Link { reset_per_mille: 1000, ..Link::default() };
        for (from, to, left) in [(CLIENT, NODE, 1), (NODE, CLIENT, 0)] {
            world.net().set_link(from, to, resetting);
            let started = Instant::now();
            assert_unavailable(delete(&*pair.link, 1).await, "reset");
            assert!(started.elapsed() < Duration::from_millis(10));
            assert_eq!(pair.held().await.len(), left, "{from} to {to}");
            world.net().heal();
        }
        assert_eq!(world.net().faults_injected()["reset"], 2);
    });
}

#[test]
fn a_full_partition_parts_two_sides_and_nobody_else() {
    World::run(6, async |world| {
        let pair = Pair::start(world).await;
        let other = world.add_host("other", 1).start().peers.node(pair.host.address());
        world.net().partition(&[CLIENT], &[NODE]);
        assert_unavailable(delete(&*pair.link, 1).await, "no answer");
        delete(&*other, 2).await.expect("it is on no side");
        assert_eq!(pair.spy.notes(), ["delete 2"]);
        assert_eq!(world.net().faults_injected()["cut"], 1);
        world.net().heal();
        delete(&*pair.link, 3).await.expect("healed");
    });
}

#[test]
fn a_one_way_cut_lets_requests_in_and_no_answer_out() {
    World::run(7, async |world| {
        let pair = Pair::start(world).await;
        world.net().cut_one_way(NODE, CLIENT);
        assert_unavailable(delete(&*pair.link, 1).await, "no answer");
        assert_eq!(pair.spy.notes(), ["delete 1"], "it came, and its answer did not");
        world.net().heal();
        world.net().cut_one_way(CLIENT, NODE);
        assert_unavailable(delete(&*pair.link, 2).await, "no answer");
        assert_eq!(pair.spy.notes(), ["delete 1"]);
    });
}

#[test]
fn a_slow_host_is_slow_both_ways_and_nobody_else_is() {
    World::run(8, async |world| {
        let pair = Pair::start(world).await;
        let fast_host = world.add_host("n2", 4002);
        serve(&fast_host).await;
        let fast = pair.client.env().peers.node(fast_host.address());
        world.net().slow_down(NODE, 50_000);
        for (node, expected_ms) in [(&pair.link, 100..105), (&fast, 0..5)] {
            let started = Instant::now();
            delete(&**node, 1).await.expect("delete");
            let took_ms = started.elapsed().as_millis();
            assert!(expected_ms.contains(&took_ms), "{took_ms} ms");
        }
    });
}

#[test]
fn what_nobody_listens_for_is_refused_and_counted() {
    World::run(9, async |world| {
        let pair = Pair::start(world).await;
        pair.host.kill();
        assert_unavailable(delete(&*pair.link, 1).await, "refused");
        let nowhere = pair.client.env().peers.node("n1:9");
        assert_unavailable(delete(&*nowhere, 1).await, "refused");
        assert_eq!(world.net().faults_injected()["refused"], 2);
    });
}

#[test]
fn an_hour_of_a_faulty_cluster_is_the_same_twice_and_takes_no_hour() {
    let life = |is_watched: bool| {
        World::run_traced(10, async |world| {
            if is_watched {
                world.trace().record();
                world.stop_at(u64::MAX - 1, dfs_simulation::Stop::owner(dfs_simulation::By::Kill));
            }
            let settings = ClusterSettings::new(4, 2, ParitySpec::None);
            let cluster = Cluster::start(world, settings).await;
            world.net().set_all(Link {
                loss_per_mille: 5,
                delay_per_mille: 20,
                delay_us: 4_000_000,
                double_per_mille: 50,
                reset_per_mille: 5,
                ..Link::default()
            });
            for number in 0..20 {
                let _ = cluster.put(&format!("f{number}"), &sample_bytes(number, 300_000)).await;
                cluster.pass(180 * SECOND).await;
                if is_watched {
                    let _ = (world.net().faults_injected(), world.steps());
                }
            }
            let faults = world.net().faults_injected();
            for kind in ["lost", "doubled", "delayed", "reset"] {
                assert!(faults[kind] > 0, "{faults:?}");
            }
            (faults, world.steps(), world.trace().checkpoints())
        })
    };
    assert_eq!(life(false), life(true));
}
