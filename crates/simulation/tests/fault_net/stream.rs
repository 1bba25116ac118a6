//! Open streams: reset midway, or half open.

use dfs_core::api::{ReadRequest, WriteHeader, WritePart};
use dfs_core::id::Handle;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::*;

/// The parts of a chunk up to `count` of them, and then nothing more.
fn stalling(chunk: &SampleChunk, count: usize) -> dfs_core::api::WriteStream {
    let begun: Vec<_> = chunk.parts().into_iter().take(count).collect();
    stream::iter(begun).chain(stream::pending::<Result<WritePart>>()).boxed()
}

fn header(chunk: &SampleChunk) -> WriteHeader {
    WriteHeader { context: context(), chunk: chunk.header.clone() }
}

fn whole(handle: u64) -> ReadRequest {
    ReadRequest { cluster: context().cluster, handle: Handle(handle), frames: 0..u32::MAX }
}

#[test]
fn a_write_that_is_reset_midway_leaves_no_chunk_on_the_node() {
    let (mut midway, mut done) = (0, 0);
    for seed in 0..60 {
        World::run(seed, async |world| {
            let pair = Pair::start(world).await;
            let chunk = thin(1, 6_000_000);
            world.net().set_all(Link { reset_per_mille: 150, ..Link::default() });
            let started = Instant::now();
            let written = chunk.write_to(&*pair.link, context()).await;
            world.net().heal();
            assert!(started.elapsed() < SECOND, "a reset is seen at once");
            world.pass(SECOND).await;
            assert_eq!(pair.begun(), Vec::<String>::new(), "seed {seed}");
            let is_held = !pair.held().await.is_empty();
            let heard = pair.spy.notes();
            if heard.iter().any(|note| note.contains("reset")) {
                midway += 1;
                assert!(!is_held, "seed {seed}: a chunk without its end is kept");
                assert_unavailable(written, "reset");
            } else if written.is_ok() {
                done += 1;
                assert!(is_held, "seed {seed}");
            } else {
                // The request or the answer was reset: all or nothing.
                assert_unavailable(written, "reset");
                assert_eq!(is_held, !heard.is_empty(), "seed {seed}");
            }
        });
    }
    assert!(midway > 10 && done > 5, "{midway} were reset midway, {done} were not");
}

#[test]
fn both_ends_of_a_half_open_write_find_out_by_silence_and_nothing_is_left() {
    for (seed, (out, back)) in (0..).zip([(true, false), (false, true), (true, true)]) {
        for frames in [1, 3] {
            World::run(seed, async |world| {
                let pair = Pair::start(world).await;
                let chunk = thin(1, 3_200_000);
                let (link, parts) = (pair.link.clone(), stalling(&chunk, frames));
                let begin = header(&chunk);
                let write = pair.client.spawn(async move { link.write_chunk(begin, parts).await });
                world.pass(SECOND).await;
                let ways = [(CLIENT, NODE, out), (NODE, CLIENT, back)];
                for (from, to, _) in ways.iter().filter(|way| way.2) {
                    world.net().set_link(from, to, cut());
                }
                let started = Instant::now();
                assert_unavailable(write.await.expect("it lives"), "silent");
                assert_found_by_silence(started.elapsed());
                world.pass(SECOND).await;
                let notes = pair.spy.notes();
                assert!(notes[1].contains("the stream was silent"), "the node heard {notes:?}");
                assert_eq!((notes.len(), pair.begun()), (2, Vec::new()));
            });
        }
    }
}

#[test]
fn a_write_whose_frames_meet_a_cut_link_ends_with_an_error_on_both_ends() {
    World::run(4, async |world| {
        let pair = Pair::start(world).await;
        // Slow enough that frames are under way, fast enough to fill the way.
        pair.host.set_disk_latency_us(200_000);
        let chunk = thin(1, 8_000_000);
        let link = pair.link.clone();
        let write = pair.client.spawn(async move { chunk.write_to(&*link, context()).await });
        world.pass(Duration::from_millis(500)).await;
        world.net().partition(&[CLIENT], &[NODE]);
        let started = Instant::now();
        assert_unavailable(write.await.expect("it lives"), "silent");
        assert!(started.elapsed() >= SILENCE_MAX);
        world.pass(2 * PING_INTERVAL).await;
        let notes = pair.spy.notes();
        assert!(notes[1].contains("silent"), "the node heard {notes:?}");
        assert_eq!((notes.len(), pair.begun()), (2, Vec::new()));
    });
}

#[test]
fn a_dead_writer_is_heard_of_at_once_and_behind_a_cut_link_only_by_silence() {
    for is_cut in [false, true] {
        World::run(5, async |world| {
            let pair = Pair::start(world).await;
            let chunk = thin(1, 3_200_000);
            let (link, parts) = (pair.link.clone(), stalling(&chunk, 2));
            let begin = header(&chunk);
            drop(pair.client.spawn(async move { link.write_chunk(begin, parts).await }));
            world.pass(SECOND).await;
            assert_eq!(pair.begun().len(), 1, "it is under way");
            if is_cut {
                world.net().partition(&[CLIENT], &[NODE]);
            }
            pair.client.kill();
            let killed = Instant::now();
            while !pair.begun().is_empty() {
                world.pass(Duration::from_millis(100)).await;
            }
            if is_cut {
                assert_found_by_silence(killed.elapsed());
                assert!(pair.spy.notes()[1].contains("silent"), "{:?}", pair.spy.notes());
            } else {
                assert!(killed.elapsed() < SECOND, "{:?}", killed.elapsed());
            }
        });
    }
}

#[test]
fn a_half_open_read_ends_with_an_error_after_the_silence() {
    // Cut before a frame is asked for, and with one on its way.
    for frames_before in [0, 1, 3] {
        World::run(6, async |world| {
            let pair = Pair::start(world).await;
            let chunk = thin(1, 6_000_000);
            chunk.write_to(&*pair.link, context()).await.expect("write");
            let mut read = pair.link.read_chunk(whole(1)).await.expect("read");
            for _ in 0..frames_before {
                read.frames.next().await.expect("a frame").expect("a good one");
            }
            world.net().cut_one_way(NODE, CLIENT);
            let started = Instant::now();
            let last = read.frames.next().await.expect("not the end");
            assert_unavailable(last, "silent");
            assert!(started.elapsed() >= SILENCE_MAX, "{:?}", started.elapsed());
            assert!(read.frames.next().await.is_none(), "nothing follows an error");
            world.net().heal();
            let again = sample::read_whole(&*pair.link, context().cluster, Handle(1)).await;
            assert_eq!(again, Ok(chunk.whole()));
        });
    }
}

#[test]
fn a_read_from_a_node_that_dies_is_never_taken_for_whole() {
    for frames_before in 0..6 {
        World::run(7, async |world| {
            let pair = Pair::start(world).await;
            let chunk = thin(1, 6_000_000);
            chunk.write_to(&*pair.link, context()).await.expect("write");
            let mut read = pair.link.read_chunk(whole(1)).await.expect("read");
            for _ in 0..frames_before {
                read.frames.next().await.expect("a frame").expect("a good one");
            }
            pair.host.kill();
            assert_unavailable(read.frames.next().await.expect("not the end"), "reset");
        });
    }
}
