//! A process that is frozen, and one that is frozen and then killed (F15).

use std::sync::atomic::{AtomicU64, Ordering};

use dfs_core::api::{NodeState, ReadRequest};
use dfs_core::id::Handle;
use dfs_core::policy::ParitySpec;
use dfs_simulation::cluster::{Cluster, ClusterSettings};
use dfs_simulation::net::CALL_DEADLINE;
use futures_util::StreamExt;
use tokio::time::Instant;

use super::*;

#[test]
fn a_paused_process_polls_no_task_and_its_timers_fire_when_it_goes_on() {
    World::run(1, async |world| {
        let host = world.add_host("h", 1);
        host.start();
        let ticks = Arc::new(AtomicU64::new(0));
        let counted = ticks.clone();
        drop(host.spawn(async move {
            loop {
                tokio::time::sleep(SECOND).await;
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }));
        world.pass(Duration::from_millis(2500)).await;
        assert_eq!(ticks.load(Ordering::Relaxed), 2);
        host.pause();
        let late = host.spawn(async { 7 });
        world.pass(100 * SECOND).await;
        assert_eq!(ticks.load(Ordering::Relaxed), 2, "it stands still");
        assert!(host.is_paused() && host.is_up());
        host.resume();
        assert_eq!(late.await, Ok(7));
        assert_eq!(ticks.load(Ordering::Relaxed), 3, "the timer that was due fires at once");
        world.pass(Duration::from_millis(1500)).await;
        assert_eq!(ticks.load(Ordering::Relaxed), 4);
    });
}

#[test]
fn a_paused_node_goes_offline_and_is_back_when_it_goes_on() {
    World::run(2, async |world| {
        let settings = ClusterSettings::new(3, 2, ParitySpec::None);
        let cluster = Cluster::start(world, settings).await;
        let state = async || {
            let status = cluster.status().await;
            status.nodes.iter().find(|node| node.id.as_str() == "n2").map(|node| node.state)
        };
        let heartbeats = || {
            let lines = world.trace().tail(usize::MAX);
            lines.iter().filter(|line| line.contains("n2 to coord arrived: heartbeat")).count()
        };
        cluster.host("n2").pause();
        let before = heartbeats();
        cluster.pass(14 * SECOND).await;
        assert_eq!(heartbeats(), before, "no heartbeat while it is paused");
        assert_eq!(state().await, Some(NodeState::Offline));
        cluster.host("n2").resume();
        cluster.pass(4 * SECOND).await;
        assert_eq!(state().await, Some(NodeState::Online));
        assert!(heartbeats() > before);
    });
}

#[test]
fn a_call_to_a_paused_node_hangs_until_its_deadline_and_is_not_done_later() {
    World::run(3, async |world| {
        let pair = Pair::start(world).await;
        pair.host.pause();
        let started = Instant::now();
        let deleted = pair.link.delete_chunks(context(), vec![Handle(1)]).await;
        assert_unavailable(deleted, "no answer");
        assert!(started.elapsed() >= CALL_DEADLINE);
        // A call whose deadline is far away ends when no ping is answered.
        let started = Instant::now();
        assert_unavailable(pair.link.verify_chunk(context(), Handle(1)).await, "no sign of life");
        assert_found_by_silence(started.elapsed());
        pair.host.resume();
        world.pass(SECOND).await;
        assert_eq!(pair.spy.notes(), Vec::<String>::new(), "nobody waited any more");
        let patient = pair.link.delete_chunks(context(), vec![Handle(2)]);
        pair.host.pause();
        let resumed = async {
            world.pass(10 * SECOND).await;
            pair.host.resume();
        };
        let (deleted, ()) = tokio::join!(patient, resumed);
        deleted.expect("a node that goes on in time answers");
    });
}

#[test]
fn a_paused_caller_sends_nothing_and_goes_on_where_it_stood() {
    World::run(4, async |world| {
        let pair = Pair::start(world).await;
        let link = pair.link.clone();
        let calls = pair.client.spawn(async move {
            for handle in 0..20 {
                link.delete_chunks(context(), vec![Handle(handle)]).await.expect("delete");
                tokio::time::sleep(SECOND).await;
            }
        });
        world.pass(Duration::from_millis(4500)).await;
        pair.client.pause();
        let sent = pair.spy.notes().len();
        // What a test itself calls in the name of that process waits as well.
        let own = pair.link.delete_chunks(context(), vec![Handle(99)]);
        assert!(tokio::time::timeout(60 * SECOND, own).await.is_err());
        assert_eq!((sent, pair.spy.notes().len()), (5, 5));
        pair.client.resume();
        calls.await.expect("it goes on");
        assert_eq!(pair.spy.notes().len(), 20);
    });
}

#[test]
fn a_write_to_a_node_that_is_paused_midway_fails_by_silence_and_leaves_nothing() {
    World::run(5, async |world| {
        let pair = Pair::start(world).await;
        pair.host.set_disk_latency_us(100_000);
        let chunk = thin(1, 8_000_000);
        let link = pair.link.clone();
        let write = pair.client.spawn(async move { chunk.write_to(&*link, context()).await });
        world.pass(Duration::from_millis(350)).await;
        pair.host.pause();
        let begun = pair.begun();
        assert_eq!(begun.len(), 1, "it is under way");
        let started = Instant::now();
        assert_unavailable(write.await.expect("it lives"), "silent");
        assert_found_by_silence(started.elapsed());
        world.pass(60 * SECOND).await;
        assert_eq!(pair.begun(), begun, "a frozen process cleans nothing up");
        pair.host.resume();
        world.pass(SECOND).await;
        assert_eq!((pair.begun(), pair.held().await), (Vec::new(), Vec::new()));
    });
}

#[test]
fn a_reader_that_was_paused_for_long_is_not_told_that_it_has_all() {
    World::run(6, async |world| {
        let pair = Pair::start(world).await;
        let chunk = thin(1, 8_000_000);
        chunk.write_to(&*pair.link, context()).await.expect("write");
        let request =
            ReadRequest { cluster: context().cluster, handle: Handle(1), frames: 0..u32::MAX };
        let mut read = pair.link.read_chunk(request).await.expect("read");
        let (sender, mut frames) = tokio::sync::mpsc::unbounded_channel();
        let reader = pair.client.spawn(async move {
            while let Some(frame) = read.frames.next().await {
                tokio::time::sleep(SECOND).await;
                if sender.send(frame).is_err() {
                    return;
                }
            }
        });
        world.pass(Duration::from_millis(1500)).await;
        pair.client.pause();
        world.pass(60 * SECOND).await;
        pair.client.resume();
        reader.await.expect("it goes on");
        let mut got = Vec::new();
        while let Ok(frame) = frames.try_recv() {
            got.push(frame);
        }
        assert!(got.len() < chunk.frames.len(), "the node gave it up");
        assert_unavailable(got.pop().expect("an end"), "cannot reach");
    });
}

#[test]
fn a_paused_host_can_be_killed_and_started_anew() {
    World::run(7, async |world| {
        let mut pair = Pair::start(world).await;
        thin(1, 100).write_to(&*pair.link, context()).await.expect("write");
        pair.host.pause();
        let waiting = pair.host.spawn(async {});
        let link = pair.link.clone();
        let call = pair.client.spawn(async move { link.verify_chunk(context(), Handle(1)).await });
        world.pass(SECOND).await;
        pair.host.kill();
        assert!(waiting.await.is_err(), "it never ran");
        assert_unavailable(call.await.expect("it lives"), "reset");
        pair.host.resume();
        assert!(!pair.host.is_up() && !pair.host.is_paused());
        pair.restart_node().await;
        pair.link.verify_chunk(context(), Handle(1)).await.expect("it is there again");
    });
}
