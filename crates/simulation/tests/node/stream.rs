//! Writers and readers that stop in the middle.

use std::time::Duration;

use dfs_core::api::{ReadRequest, WriteHeader, WritePart};
use dfs_simulation::World;
use futures_util::{StreamExt, stream};

use super::*;

#[test]
fn a_silent_writer_is_given_up_and_its_handle_is_free_again() {
    World::run(1, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        for (handle, frames) in [(1, 1), (2, 3)] {
            let chunk = thin(handle, 3_200_000);
            let begun: Vec<_> = chunk.parts().into_iter().take(frames).collect();
            let silent = stream::iter(begun).chain(stream::pending::<Result<WritePart>>()).boxed();
            let header = WriteHeader { context: context(), chunk: chunk.header.clone() };
            let write = node.write_chunk(header, silent);
            let (written, second) = tokio::join!(write, async {
                world.pass(Duration::from_secs(1)).await;
                chunk.write_to(&*node, context()).await
            });
            assert_kind(second, Kind::Unavailable);
            assert_kind(written, Kind::Unavailable);
            assert_eq!(paths(&host, "tmp"), Vec::<String>::new());
            adopt(&node).await.expect("it hears from its coordinator");
            chunk.write_to(&*node, context()).await.expect("the handle is free");
        }
    });
}

#[test]
fn a_chunk_that_is_sent_twice_at_once_is_taken_twice() {
    World::run(4, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        host.set_disk_latency_us(200_000);
        for (handle, len) in [(1, 900), (2, 3_200_000)] {
            let chunk = thin(handle, len);
            let write = || chunk.write_to(&*node, context());
            let (first, second) = tokio::join!(biased; write(), write());
            assert_eq!((first, second), (Ok(()), Ok(())), "{len} bytes");
            assert_eq!(is_held_good(&node, handle).await, Some(true));
            adopt(&node).await.expect("it hears from its coordinator");
        }
    });
}

#[test]
fn a_writer_that_goes_away_leaves_nothing() {
    World::run(2, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        host.set_disk_latency_us(5_000);
        let chunk = thin(1, 4_200_000);
        // Wherever it is when it goes.
        for after_us in (0..60_000).step_by(1_500) {
            let write = chunk.write_to(&*node, context());
            let went = tokio::time::timeout(Duration::from_micros(after_us), write).await.is_err();
            world.pass(Duration::from_millis(100)).await;
            assert_eq!(paths(&host, "tmp"), Vec::<String>::new(), "after {after_us} us");
            // Either it came to be, whole and known, or there is nothing.
            let known = is_held_good(&node, 1).await;
            assert_eq!(known.is_some(), !paths(&host, "chunks").is_empty(), "after {after_us} us");
            assert!(went || known == Some(true));
            node.delete_chunks(context(), vec![Handle(1)]).await.expect("delete");
            adopt(&node).await.expect("it hears from its coordinator");
        }
    });
}

#[test]
fn a_reader_that_stops_reading_is_given_up() {
    World::run(3, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        let chunk = thin(1, 7_000_000);
        chunk.write_to(&*node, context()).await.expect("write");
        let request =
            || ReadRequest { cluster: context().cluster, handle: Handle(1), frames: 0..u32::MAX };
        let mut stalled = Vec::new();
        let refused = loop {
            match node.read_chunk(request()).await {
                Ok(read) => stalled.push(read),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind, Kind::Unavailable, "{refused}");
        assert!(stalled.len() <= 64, "{} readers hold frames", stalled.len());
        world.pass(Duration::from_secs(31)).await;
        assert_eq!(read(&node, 1).await, Ok(chunk.whole()), "others are served again");
        let error = sample::collect(stalled.remove(0).frames).await.expect_err("not the whole");
        assert_eq!(error.kind, Kind::Unavailable, "{error}");
    });
}
