//! Peers that are not there, fall silent, stop, or have a bug.
//!
//! Where time matters it is paused: it moves on when nothing else can, and
//! loopback sockets are as fast as memory.

use std::time::Duration;

use dfs_core::api::{Error, Kind, ReadRequest, WRITE_RENEWAL_INTERVAL, WriteHeader, WritePart};
use dfs_core::env::Peers;
use dfs_core::id::Handle;
use dfs_simulation::sample::{as_stream, read_whole};
use futures_util::{StreamExt, future, stream};
use tokio::time::{Instant, pause};

use super::{Script, Served, context, listen, soon, three_frames};
use crate::grpc::client::GrpcPeers;
use crate::grpc::limit::{CALL_TIMEOUT, SHUTDOWN_GRACE, STALL_TIMEOUT};

fn header() -> WriteHeader {
    WriteHeader { context: context(), chunk: three_frames().header }
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_named_with_the_reason() {
    let (listener, address) = listen().await;
    drop(listener);
    let peers = GrpcPeers::new(tokio::runtime::Handle::current());
    let error = peers.node(&address).inventory(context(), None).await.expect_err("nobody is there");
    let text = format!("cannot reach the node at {address}: connection refused");
    assert_eq!(error, Error::new(Kind::Unavailable, text));
    let error = peers.coordinator(&address).status().await.expect_err("nobody is there");
    assert!(error.message.starts_with("cannot reach the coordinator at "), "{error}");
}

#[tokio::test]
async fn what_is_no_address_is_an_error_and_not_a_panic() {
    let peers = GrpcPeers::new(tokio::runtime::Handle::current());
    for wrong in ["", "nonsense", "a b:1", "http://a:1", "a:99999", "\0:1"] {
        let error = peers.node(wrong).inventory(context(), None).await.expect_err(wrong);
        assert_eq!(error.kind, Kind::Invalid, "{error}");
    }
}

#[tokio::test]
async fn a_peer_that_comes_back_is_reached_by_the_same_handle() {
    let (listener, address) = listen().await;
    drop(listener);
    let peers = GrpcPeers::new(tokio::runtime::Handle::current());
    let node = peers.node(&address);
    node.inventory(context(), None).await.expect_err("nobody is there");
    for _ in 0..2 {
        let listener = tokio::net::TcpListener::bind(&address).await.expect("its port is free");
        let service = super::Scripted::new(Script::Serve);
        let serving = tokio::spawn(super::serve_node(listener, service, future::pending()));
        soon(node.inventory(context(), None)).await.expect("it is back");
        serving.abort();
        drop(serving.await);
        soon(node.inventory(context(), None)).await.expect_err("it is gone again");
    }
}

#[tokio::test]
async fn a_call_to_the_wrong_role_says_so() {
    let served = Served::start(Script::Serve).await;
    let error = served.peers.coordinator(&served.address).status().await.expect_err("a node");
    assert_eq!(error.kind, Kind::NotSupported, "{error}");
    assert!(error.message.contains("check the address"), "{error}");
}

#[tokio::test]
async fn chunks_go_both_ways_whole() {
    let served = Served::start(Script::Serve).await;
    let chunk = three_frames();
    soon(chunk.write_to(&*served.node(), context())).await.expect("taken");
    let read = soon(read_whole(&*served.node(), context().cluster, Handle(7))).await;
    assert_eq!(read, Ok(chunk.whole()));
}

#[tokio::test]
async fn a_refusal_reaches_a_writer_that_is_still_sending() {
    let served = Served::start(Script::RefuseWrites).await;
    for _ in 0..20 {
        let result = soon(three_frames().write_to(&*served.node(), context())).await;
        assert_eq!(result, Err(Error::new(Kind::StaleEpoch, "epoch 4 is over")));
    }
}

#[tokio::test]
async fn a_source_that_fails_is_the_reason_that_its_caller_hears() {
    let served = Served::start(Script::Serve).await;
    let reason = Error::new(Kind::Internal, "the source changed while it was read");
    let mut parts = three_frames().parts();
    parts[1] = Err(reason.clone());
    let result = soon(served.node().write_chunk(header(), as_stream(parts))).await;
    assert_eq!(result, Err(reason));
    assert!(served.service.writes()[0].is_err(), "the node saw no seal");
}

#[tokio::test]
async fn a_writer_that_goes_away_is_seen_by_the_node() {
    let served = Served::start(Script::Serve).await;
    let mut parts = three_frames().parts();
    parts.truncate(2);
    let never_ends = stream::iter(parts).chain(stream::pending()).boxed();
    let node = served.node();
    let writing = tokio::spawn(async move { node.write_chunk(header(), never_ends).await });
    soon(served.node().inventory(context(), None)).await.expect("the connection stands");
    writing.abort();
    drop(writing.await);
    soon(async {
        while served.service.writes().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(served.service.writes()[0].is_err());
}

#[tokio::test]
async fn a_bug_in_a_call_is_an_error_of_that_call_alone() {
    let served = Served::start(Script::Panic).await;
    let error = soon(served.node().inventory(context(), None)).await.expect_err("it panicked");
    assert_eq!(error.kind, Kind::Internal, "{error}");
    let error = soon(three_frames().write_to(&*served.node(), context())).await;
    assert_eq!(error.expect_err("it panicked").kind, Kind::Internal);
    let read = soon(read_whole(&*served.node(), context().cluster, Handle(7))).await;
    assert_eq!(read.expect_err("it panicked after a frame").kind, Kind::Unavailable);
    served.node().delete_chunks(context(), vec![Handle(1)]).await.expect("it still serves");
}

#[tokio::test]
async fn a_peer_that_never_answers_is_given_up() {
    let served = Served::start(Script::Hang).await;
    pause();
    let begun = Instant::now();
    let error = served.node().inventory(context(), None).await.expect_err("no answer");
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
    assert!(begun.elapsed() >= CALL_TIMEOUT && begun.elapsed() < 2 * CALL_TIMEOUT);
}

#[tokio::test]
async fn a_node_that_takes_no_part_loses_its_writer() {
    let served = Served::start(Script::Hang).await;
    let parts = stream::repeat_with(|| Ok(WritePart::Frame(three_frames().frames[0].clone())));
    pause();
    let error = served.node().write_chunk(header(), parts.boxed()).await.expect_err("stalled");
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
    assert!(error.message.contains("took nothing"), "{error}");
}

#[tokio::test]
async fn a_writer_that_falls_silent_loses_its_stream() {
    let served = Served::start(Script::Serve).await;
    pause();
    let mut parts = three_frames().parts();
    parts.truncate(2);
    let silent = stream::iter(parts).chain(stream::pending()).boxed();
    let begun = Instant::now();
    served.node().write_chunk(header(), silent).await.expect_err("stalled");
    soon(async {
        while served.service.writes().is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert!(served.service.writes()[0].is_err());
    assert!(begun.elapsed() < 2 * STALL_TIMEOUT, "both sides give up in time");
}

#[tokio::test]
async fn a_writer_whose_source_pauses_keeps_its_stream() {
    let served = Served::start(Script::Serve).await;
    pause();
    let mut parts = three_frames().parts();
    let rest = parts.split_off(1);
    let waits = stream::iter(0..12).then(|_| async {
        tokio::time::sleep(WRITE_RENEWAL_INTERVAL).await;
        Ok(WritePart::Waiting)
    });
    let paused = stream::iter(parts).chain(waits).chain(stream::iter(rest)).boxed();
    let begun = Instant::now();
    served.node().write_chunk(header(), paused).await.expect("it was never silent");
    assert!(begun.elapsed() > 3 * STALL_TIMEOUT);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_loses_its_stream() {
    let served = Served::start(Script::ReadForEver).await;
    let whole = ReadRequest { cluster: context().cluster, handle: Handle(7), frames: 0..u32::MAX };
    let mut read = served.node().read_chunk(whole).await.expect("it begins");
    pause();
    tokio::time::sleep(3 * STALL_TIMEOUT).await;
    // What was under way comes, then the reason why there is no more.
    let mut frames = 0;
    let error = loop {
        match soon(read.frames.next()).await.expect("not simply an end") {
            Ok(_) => frames += 1,
            Err(error) => break error,
        }
    };
    assert!((1..32).contains(&frames), "{frames} frames");
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
    assert!(error.message.contains("took no frame"), "{error}");
    served.assert_well().await;
}

#[tokio::test]
async fn more_frames_than_a_chunk_has_are_not_taken() {
    let served = Served::start(Script::ReadForEver).await;
    let whole = ReadRequest { cluster: context().cluster, handle: Handle(7), frames: 0..u32::MAX };
    let read = served.node().read_chunk(whole).await.expect("it begins");
    let frames: Vec<_> = soon(read.frames.collect()).await;
    assert_eq!(frames.len(), 65);
    let error = frames[64].clone().expect_err("one too many");
    assert!(error.message.contains("more frames"), "{error}");
}

#[tokio::test]
async fn a_server_stops_with_callers_connected_and_calls_under_way() {
    let served = Served::start(Script::Hang).await;
    let node = served.node();
    let stuck = tokio::spawn(async move { node.inventory(context(), None).await });
    served.node().delete_chunks(context(), Vec::new()).await.expect("served");
    pause();
    let begun = Instant::now();
    served.stop.send(()).expect("it serves");
    served.serving.await.expect("no panic").expect("it stopped");
    assert!(begun.elapsed() < 2 * SHUTDOWN_GRACE, "not before its callers gave up");
    let error = soon(stuck).await.expect("no panic").expect_err("given up");
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
    tokio::net::TcpListener::bind(&served.address).await.expect("its port is free again");
}
