//! Short calls: many on one stream, and what one of them does to the others.

use std::time::Duration;

use bytes::Bytes;
use dfs_core::api::{Kind, Lookup, NodeService, ReadRequest, Result, WriteHeader};
use dfs_core::data::frame::STORED_MAX;
use dfs_core::env::Peers;
use dfs_core::id::Handle;
use dfs_core::name::FileName;
use dfs_simulation::rng::Rng;
use dfs_simulation::sample::{self, SampleChunk};
use futures_util::future::{join, join_all};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, pause, resume, timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use super::{Script, Served, context, listen, soon, three_frames};
use crate::grpc::client::GrpcPeers;
use crate::grpc::error::from_failure;
use crate::grpc::limit::{
    CALL_TIMEOUT, SEAL_TIMEOUT, SHORT_CALLS_MAX, SHORT_FRAME_BYTES_MAX, SHUTDOWN_GRACE,
    STREAMS_PER_CONNECTION_MAX,
};
use crate::grpc::wire::short_answer::Reply;
use crate::grpc::wire::short_call::Ask;
use crate::grpc::wire::short_client::ShortClient;
use crate::grpc::wire::short_server::{Short, ShortServer};
use crate::grpc::wire::{self, ReadFrame, ShortAnswer, ShortAnswers, ShortCalls};

/// A chunk of one short frame.
fn small(handle: u64) -> SampleChunk {
    sample::chunk(context().cluster, handle, Rng::new(handle).bytes(5000))
}

async fn write(node: &dyn NodeService, chunk: &SampleChunk) -> Result<()> {
    let header = WriteHeader { context: context(), chunk: chunk.header.clone() };
    node.write_chunk(header, stream::iter(chunk.parts()).boxed()).await
}

/// Reads the first frame.
async fn read(node: &dyn NodeService) -> Result<Vec<Bytes>> {
    let request = ReadRequest { cluster: context().cluster, handle: Handle(7), frames: 0..1 };
    let frames = node.read_chunk(request).await?.frames.collect::<Vec<_>>().await;
    frames.into_iter().collect()
}

/// What [`Script::Serve`] hands out: longer than what a short write may have.
fn long_frame() -> Result<Vec<Bytes>> {
    Ok(vec![three_frames().frames[0].clone()])
}

#[tokio::test]
async fn hundreds_of_calls_of_one_peer_go_both_ways_whole() {
    let served = Served::start(Script::Serve).await;
    let node = served.node();
    let each = (0..3 * SHORT_CALLS_MAX as u64).map(|handle| {
        let node = node.clone();
        async move {
            let chunk = small(handle);
            let (written, read) = join(write(&*node, &chunk), read(&*node)).await;
            assert_eq!(written, Ok(()));
            assert_eq!(read, long_frame());
        }
    });
    soon(join_all(each)).await;
    assert_eq!(served.service.writes(), vec![Ok(()); 3 * SHORT_CALLS_MAX]);
}

#[tokio::test]
async fn a_refusal_and_a_bug_are_errors_of_their_call_alone() {
    for (script, kind) in
        [(Script::RefuseWrites, Kind::StaleEpoch), (Script::Panic, Kind::Internal)]
    {
        let served = Served::start(script).await;
        let node = served.node();
        let chunk = small(1);
        let (written, read) = soon(join(write(&*node, &chunk), read(&*node))).await;
        assert_eq!(written.expect_err("it fails").kind, kind);
        assert_eq!(read, long_frame());
    }
}

#[tokio::test]
async fn calls_that_are_never_answered_hold_up_no_later_one() {
    let served = Served::start(Script::Hang).await;
    let node = served.node();
    let stuck: Vec<_> = (0..SHORT_CALLS_MAX as u64)
        .map(|handle| {
            let node = node.clone();
            tokio::spawn(async move { write(&*node, &small(handle)).await })
        })
        .collect();
    let begun = Instant::now();
    let last = async {
        // Once all of them have arrived, one more waits behind them.
        loop {
            pause();
            let answer = read(&*node).await;
            resume();
            if answer.is_err() {
                break answer;
            }
        }
    };
    let waited = soon(last).await.expect_err("its stream is full");
    assert_eq!(waited.kind, Kind::Unavailable, "{waited}");
    assert!(begun.elapsed() >= CALL_TIMEOUT && begun.elapsed() < SEAL_TIMEOUT);
    assert_eq!(soon(read(&*node)).await, long_frame(), "over a stream of its own");
    pause();
    for call in stuck {
        let error = call.await.expect("no panic").expect_err("no answer");
        assert_eq!(error.kind, Kind::Unavailable, "{error}");
        assert!(error.message.contains("did not answer within 120 s"), "{error}");
    }
}

#[tokio::test]
async fn calls_whose_callers_have_gone_hold_up_no_later_one() {
    let served = Served::start(Script::Hang).await;
    let node = served.node();
    let give_up = async |handles: std::ops::Range<u64>| {
        let chunks: Vec<_> = handles.map(small).collect();
        let stuck = join_all(chunks.iter().map(|chunk| write(&*node, chunk)));
        timeout(Duration::from_millis(5), stuck).await.expect_err("they are never answered");
    };
    give_up(0..SHORT_CALLS_MAX as u64).await;
    assert_eq!(soon(read(&*node)).await, long_frame(), "no place is taken by them");
    // Each by itself, more often than a connection has streams.
    for handle in 0..u64::from(STREAMS_PER_CONNECTION_MAX) + 10 {
        give_up(handle..handle + 1).await;
    }
    assert_eq!(soon(read(&*node)).await, long_frame(), "nor any stream");
    soon(node.delete_chunks(context(), Vec::new())).await.expect("other calls go on too");
}

#[tokio::test]
async fn a_server_that_stops_waits_for_calls_and_not_for_the_stream() {
    let served = Served::start(Script::Serve).await;
    soon(read(&*served.node())).await.expect("the stream is open");
    pause();
    let begun = Instant::now();
    served.stop.send(()).expect("it serves");
    served.serving.await.expect("no panic").expect("it stopped");
    assert!(begun.elapsed() < SHUTDOWN_GRACE, "it took {:?}", begun.elapsed());
    resume();
    let error = soon(read(&*served.peers.node(&served.address))).await.expect_err("it is gone");
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
    assert!(error.message.contains(&served.address), "{error}");
}

#[tokio::test]
async fn a_peer_that_comes_back_is_asked_over_a_new_stream() {
    let served = Served::start(Script::Serve).await;
    let (node, address) = (served.node(), served.address.clone());
    soon(read(&*node)).await.expect("it is there");
    served.stop.send(()).expect("it serves");
    soon(served.serving).await.expect("no panic").expect("it stopped");
    soon(read(&*node)).await.expect_err("it is gone");
    let listener = tokio::net::TcpListener::bind(&address).await.expect("its port is free");
    let service = super::Scripted::new(Script::Serve);
    tokio::spawn(super::serve_node(listener, service, std::future::pending()));
    assert_eq!(soon(read(&*node)).await, long_frame());
}

#[tokio::test]
async fn a_short_call_to_the_wrong_role_says_so() {
    let served = Served::start(Script::Serve).await;
    let coordinator = served.peers.coordinator(&served.address);
    let name = FileName::new("a").expect("a name");
    let lookup = coordinator.lookup(Lookup { name, version: None, first_stripe: 0 }).await;
    let error = lookup.expect_err("a node");
    assert_eq!(error.kind, Kind::NotSupported, "{error}");
    assert!(error.message.contains("check the address"), "{error}");
}

#[tokio::test]
async fn calls_that_are_not_well_formed_are_refused_and_others_answered() {
    let served = Served::start(Script::Serve).await;
    let good = small(1);
    let header = wire::WriteHeader {
        context: Some(context().into()),
        chunk: Some(good.header.clone().into()),
    };
    let whole = wire::WriteWhole {
        header: Some(header.clone()),
        frame: good.frames[0].clone(),
        seal: Some(good.seal.into()),
    };
    let long = Bytes::from(vec![0; SHORT_FRAME_BYTES_MAX + 1]);
    let frames = |first_frame, end_frame| {
        let cluster = Bytes::from_static(&[1; 16]);
        Ask::Read(wire::ReadChunkRequest { cluster, handle: 7, first_frame, end_frame })
    };
    let bad = [
        None,
        Some(Ask::Write(wire::WriteWhole::default())),
        Some(Ask::Write(wire::WriteWhole { header: None, ..whole.clone() })),
        Some(Ask::Write(wire::WriteWhole { seal: None, ..whole.clone() })),
        Some(Ask::Write(wire::WriteWhole { frame: long, ..whole.clone() })),
        Some(Ask::Read(wire::ReadChunkRequest::default())),
        Some(frames(0, 0)),
        Some(frames(0, 2)),
        Some(frames(2, 1)),
        Some(frames(0, u32::MAX)),
    ];
    let count = bad.len() as u64;
    let asks = bad.into_iter().chain([Some(Ask::Write(whole))]);
    let calls = (0..).zip(asks).map(|(number, ask)| wire::ShortCall { number, ask }).collect();
    let endpoint = Endpoint::from_shared(format!("http://{}", served.address));
    let endpoint = endpoint.expect("an address").user_agent(crate::grpc::protocol::user_agent());
    let mut client = ShortClient::new(endpoint.expect("a good one").connect_lazy());
    let messages = stream::iter([ShortCalls { calls }]).chain(stream::pending());
    let mut answers = client.calls(messages).await.expect("a stream").into_inner();
    let mut refused = std::collections::BTreeSet::new();
    let mut is_written = false;
    while refused.len() < usize::try_from(count).expect("a few") || !is_written {
        let message = soon(answers.message()).await.expect("no error").expect("no end");
        for answer in message.answers {
            match answer.reply.expect("a reply") {
                Reply::Failure(failure) => {
                    assert_eq!(from_failure(&failure).kind, Kind::Invalid, "{failure:?}");
                    refused.insert(answer.number);
                }
                Reply::Write(_) => is_written = answer.number == count,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(refused, (0..count).collect());
    assert_eq!(served.service.writes(), [Ok(())], "nothing else was taken");
    served.assert_well().await;
}

/// Answers the first message with what it likes.
struct Liar(Vec<ShortAnswer>);

#[async_trait::async_trait]
impl Short for Liar {
    type CallsStream = BoxStream<'static, std::result::Result<ShortAnswers, Status>>;

    async fn calls(
        &self,
        request: Request<Streaming<ShortCalls>>,
    ) -> std::result::Result<Response<Self::CallsStream>, Status> {
        let mut messages = request.into_inner();
        let answers = self.0.clone();
        let replies = stream::once(async move {
            messages.message().await?;
            Ok(ShortAnswers { answers })
        });
        Ok(Response::new(replies.chain(stream::pending()).boxed()))
    }
}

#[tokio::test]
async fn short_answers_that_are_not_well_formed_are_errors() {
    let chunk = small(7);
    let head = Some(wire::ReadHead {
        header: Some(chunk.header.clone().into()),
        seal: Some(chunk.seal.into()),
    });
    let bytes = |len| Some(Bytes::from(vec![0; len]));
    let answer = |number, reply| ShortAnswer { number, reply: Some(reply) };
    let frame =
        |head: &Option<wire::ReadHead>, frame| Reply::Read(ReadFrame { head: head.clone(), frame });
    let answers = [
        vec![ShortAnswer { number: 0, reply: None }],
        vec![answer(1, frame(&head, bytes(9)))],
        vec![answer(0, Reply::Write(wire::WriteChunkReply {}))],
        vec![answer(0, frame(&None, bytes(9)))],
        vec![answer(0, frame(&head, None))],
        vec![answer(0, frame(&head, bytes(STORED_MAX + 1)))],
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let (listener, address) = listen().await;
        let router = Server::builder().add_service(crate::grpc::protocol::Numbered::new(
            ShortServer::new(Liar(answer)),
            "the node",
        ));
        tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        let peers = GrpcPeers::new(tokio::runtime::Handle::current());
        let error = soon(read(&*peers.node(&address))).await.expect_err("it is no frame");
        assert_eq!(error.kind, Kind::Internal, "answer {number}: {error}");
        assert!(error.message.contains(&address), "{error}");
    }
}
