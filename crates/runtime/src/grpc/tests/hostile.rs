//! Messages that no honest peer sends.

use async_trait::async_trait;
use bytes::Bytes;
use dfs_core::api::{HANDLES_PER_CALL_MAX, Kind, ReadRequest, Result};
use dfs_core::data::frame::STORED_MAX;
use dfs_core::env::Peers;
use dfs_core::id::Handle;
use dfs_simulation::rng::Rng;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, pause};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use super::{Script, Served, context, listen, soon, three_frames};
use crate::grpc::client::GrpcPeers;
use crate::grpc::error::from_status;
use crate::grpc::limit::STALL_TIMEOUT;
use crate::grpc::protocol::{Numbered, user_agent};
use crate::grpc::wire::node_client::NodeClient;
use crate::grpc::wire::node_server::{Node, NodeServer};
use crate::grpc::wire::{self, read_chunk_reply, write_chunk_request::Step};

impl Served {
    fn raw(&self) -> NodeClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address));
        let endpoint = endpoint.expect("an address").user_agent(user_agent());
        NodeClient::new(endpoint.expect("a good one").connect_lazy())
    }
}

fn header() -> wire::WriteHeader {
    wire::WriteHeader { context: Some(context().into()), chunk: Some(three_frames().header.into()) }
}

fn frame(len: usize) -> Step {
    Step::Frame(Bytes::from(vec![0; len]))
}

fn kind<T>(answer: std::result::Result<T, Status>) -> Kind {
    from_status(&answer.err().expect("it is refused"), "the node").kind
}

#[tokio::test]
async fn a_caller_of_another_protocol_is_told_so_in_one_sentence() {
    let served = Served::start(Script::Serve).await;
    for (agent, older) in [("dfs-sim/9.9.9 protocol/99", "the node"), ("curl/8", "the caller")] {
        let endpoint = Endpoint::from_shared(format!("http://{}", served.address));
        let endpoint = endpoint.expect("an address").user_agent(agent).expect("a good one");
        let mut client = NodeClient::new(endpoint.connect_lazy());
        let refused = client.inventory(wire::InventoryRequest::default()).await;
        let error = from_status(&refused.expect_err("it is refused"), "the node");
        assert_eq!(error.kind, Kind::NotSupported, "{error}");
        assert!(error.message.ends_with(&format!("upgrade {older}")), "{error}");
    }
}

/// A node of an earlier build tells no number with its answers.
#[tokio::test]
async fn a_server_without_a_protocol_is_told_from_one_that_answers() {
    let (listener, address) = listen().await;
    let liar = Liar(Vec::new());
    let router = Server::builder().add_service(NodeServer::new(liar));
    let serving = tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    let node = GrpcPeers::new(tokio::runtime::Handle::current()).node(&address);
    let error = soon(node.inventory(context(), None)).await.expect_err("it is not understood");
    assert_eq!(error.kind, Kind::NotSupported, "{error}");
    serving.abort();
}

#[tokio::test]
async fn streams_that_are_no_chunk_are_refused() {
    let served = Served::start(Script::Serve).await;
    let seal = || Step::Seal(three_frames().seal.into());
    let bad_seal = wire::ChunkSeal { frames: 1025, ..three_frames().seal.into() };
    let bad_header = |change: fn(&mut wire::ChunkHeader)| {
        let mut header = header();
        change(header.chunk.as_mut().expect("it has one"));
        Step::Header(header)
    };
    let streams = [
        vec![],
        vec![seal()],
        vec![frame(10), seal()],
        vec![Step::Header(header()), Step::Header(header())],
        vec![Step::Header(header()), frame(10)],
        vec![Step::Header(header()), frame(STORED_MAX + 1), seal()],
        vec![Step::Header(header()), Step::Seal(bad_seal)],
        vec![bad_header(|it| it.cluster = Bytes::from_static(&[1; 15])), seal()],
        vec![bad_header(|it| it.compression = 77), seal()],
        vec![bad_header(|it| it.compression = 0), seal()],
        vec![bad_header(|it| it.name = "../etc/passwd".to_owned()), seal()],
        vec![bad_header(|it| it.name = "a".repeat(1025)), seal()],
        vec![bad_header(|it| it.position = 300), seal()],
        vec![bad_header(|it| it.position = 1), seal()],
        vec![bad_header(|it| it.replication = 0), seal()],
        vec![bad_header(|it| it.chunk_size_bytes = u32::MAX), seal()],
        vec![bad_header(|it| it.shape = None), seal()],
    ];
    for (number, steps) in streams.into_iter().enumerate() {
        let messages = steps.into_iter().map(|it| wire::WriteChunkRequest { step: Some(it) });
        let answer = soon(served.raw().write_chunk(stream::iter(messages))).await;
        assert_eq!(kind(answer), Kind::Invalid, "stream {number}");
    }
    let empty = stream::iter([wire::WriteChunkRequest { step: None }]);
    assert_eq!(kind(soon(served.raw().write_chunk(empty)).await), Kind::Invalid);
    assert!(served.service.writes().iter().all(Result::is_err), "none of it was taken");
    served.assert_well().await;
}

#[tokio::test]
async fn requests_that_break_a_bound_are_refused() {
    let served = Served::start(Script::Serve).await;
    let mut raw = served.raw();
    let handles = vec![1; HANDLES_PER_CALL_MAX + 1];
    let context = Some(context().into());
    let delete = wire::DeleteChunksRequest { context: context.clone(), handles };
    assert_eq!(kind(raw.delete_chunks(delete).await), Kind::Invalid);
    let nobody = wire::InventoryRequest { context: None, after: None };
    assert_eq!(kind(raw.inventory(nobody).await), Kind::Invalid);
    let backwards = wire::ReadChunkRequest {
        cluster: Bytes::from_static(&[1; 16]),
        handle: 1,
        first_frame: 2,
        end_frame: 1,
    };
    assert_eq!(kind(raw.read_chunk(backwards).await), Kind::Invalid);
    let rebuild = wire::RebuildChunkRequest {
        context: context.clone(),
        chunk: header().chunk,
        digest: Bytes::from_static(&[0; 32]),
        copies: vec!["127.0.0.1:1/path".to_owned()],
        stripe: Vec::new(),
        bytes_per_second_max: 0,
    };
    assert_eq!(kind(raw.rebuild_chunk(rebuild.clone()).await), Kind::Invalid);
    let many = wire::RebuildChunkRequest { copies: vec!["a:1".to_owned(); 65], ..rebuild };
    assert_eq!(kind(raw.rebuild_chunk(many).await), Kind::Invalid);
    let huge = wire::DeleteChunksRequest { context, handles: vec![u64::MAX; 1 << 20] };
    assert_eq!(kind(raw.delete_chunks(huge).await), Kind::Invalid, "longer than any message");
    served.assert_well().await;
}

#[tokio::test]
async fn garbage_on_the_port_is_closed_and_hurts_nobody() {
    let served = Served::start(Script::Serve).await;
    let mut rng = Rng::new(22);
    let mut greetings = vec![
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nthis is no frame at all, whatever it begins with"
            .to_vec(),
        vec![0; 100_000],
    ];
    greetings.extend((0..20).map(|i| rng.bytes(1 + i * 977)));
    for (number, greeting) in greetings.into_iter().enumerate() {
        let mut socket = TcpStream::connect(&served.address).await.expect("it listens");
        // It may close before it has read everything.
        let _ = socket.write_all(&greeting).await;
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        let _ = soon(socket.read_to_end(&mut answer)).await;
        assert!(answer.len() < 10_000, "greeting {number}");
    }
    served.assert_well().await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let served = Served::start(Script::Serve).await;
    let mut silent = TcpStream::connect(&served.address).await.expect("it listens");
    let mut slow = TcpStream::connect(&served.address).await.expect("it listens");
    slow.write_all(b"PRI * HTTP").await.expect("a beginning");
    pause();
    let mut answer = Vec::new();
    let _ = soon(silent.read_to_end(&mut answer)).await;
    let _ = soon(slow.read_to_end(&mut answer)).await;
    served.assert_well().await;
}

#[tokio::test]
async fn a_stream_that_says_nothing_more_is_ended_by_the_server() {
    let served = Served::start(Script::Serve).await;
    let mut raw = served.raw();
    pause();
    for steps in [vec![], vec![Step::Header(header())], vec![Step::Header(header()), frame(9)]] {
        let messages = steps.into_iter().map(|it| wire::WriteChunkRequest { step: Some(it) });
        let begun = Instant::now();
        let answer = raw.write_chunk(stream::iter(messages).chain(stream::pending())).await;
        assert_eq!(kind(answer), Kind::Unavailable);
        assert!(begun.elapsed() < 2 * STALL_TIMEOUT, "it takes {:?}", begun.elapsed());
    }
}

/// A node that answers reads with what it likes.
pub(super) struct Liar(pub(super) Vec<read_chunk_reply::Step>);

type Answer<T> = std::result::Result<Response<T>, Status>;

#[async_trait]
impl Node for Liar {
    type ReadChunkStream = BoxStream<'static, std::result::Result<wire::ReadChunkReply, Status>>;

    async fn hello(&self, _: Request<wire::HelloRequest>) -> Answer<wire::HelloReply> {
        unreachable!("not called")
    }

    async fn release(&self, _: Request<wire::ReleaseRequest>) -> Answer<wire::ReleaseReply> {
        unreachable!("not called")
    }

    async fn adopt(&self, _: Request<wire::AdoptRequest>) -> Answer<wire::NodeInfo> {
        Ok(Response::new(wire::NodeInfo::default()))
    }

    async fn write_chunk(
        &self,
        _: Request<Streaming<wire::WriteChunkRequest>>,
    ) -> Answer<wire::WriteChunkReply> {
        Err(Status::internal("not in this script"))
    }

    async fn read_chunk(
        &self,
        _: Request<wire::ReadChunkRequest>,
    ) -> Answer<Self::ReadChunkStream> {
        let steps = self.0.clone().into_iter();
        let replies = steps.map(|step| Ok(wire::ReadChunkReply { step: Some(step) }));
        Ok(Response::new(stream::iter(replies).boxed()))
    }

    async fn delete_chunks(
        &self,
        _: Request<wire::DeleteChunksRequest>,
    ) -> Answer<wire::DeleteChunksReply> {
        Err(Status::internal("not in this script"))
    }

    async fn rebuild_chunk(&self, _: Request<wire::RebuildChunkRequest>) -> Answer<wire::Receipt> {
        Ok(Response::new(wire::Receipt::default()))
    }

    async fn inventory(&self, _: Request<wire::InventoryRequest>) -> Answer<wire::InventoryReply> {
        let chunks = vec![wire::HeldChunk::default(); HANDLES_PER_CALL_MAX + 1];
        Ok(Response::new(wire::InventoryReply { version: 1, chunks, is_last: true }))
    }

    async fn verify_chunk(&self, _: Request<wire::VerifyChunkRequest>) -> Answer<wire::Receipt> {
        Err(Status::internal("no word about its kind"))
    }
}

#[tokio::test]
async fn answers_that_are_not_well_formed_are_errors() {
    use read_chunk_reply::Step::{Frame, Head};
    let chunk = three_frames();
    let header = Some(chunk.header.clone().into());
    let seal = Some(wire::ChunkSeal::from(chunk.seal));
    let head = || Head(wire::ReadHead { header: header.clone(), seal: seal.clone() });
    let frame = |len| Frame(Bytes::from(vec![0; len]));
    let short_seal = wire::ChunkSeal { digest: Bytes::new(), ..chunk.seal.into() };
    let answers = [
        vec![],
        vec![frame(10)],
        vec![Head(wire::ReadHead { header: None, seal: seal.clone() })],
        vec![Head(wire::ReadHead { header: header.clone(), seal: Some(short_seal) })],
        vec![head(), head()],
        vec![head()],
        vec![head(), frame(10), frame(10)],
        vec![head(), frame(10), head()],
        vec![head(), frame(STORED_MAX + 1)],
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let (listener, address) = listen().await;
        let router =
            Server::builder().add_service(Numbered::new(NodeServer::new(Liar(answer)), "the node"));
        tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        let peers = GrpcPeers::new(tokio::runtime::Handle::current());
        let node = peers.node(&address);
        let frames = 0..u32::MAX;
        let request = ReadRequest { cluster: context().cluster, handle: Handle(7), frames };
        let failed = match soon(node.read_chunk(request)).await {
            Err(error) => error,
            Ok(read) => {
                let frames: Vec<_> = soon(read.frames.collect()).await;
                let last = frames.into_iter().next_back().expect("not simply an end");
                last.expect_err("no frame of this is whole")
            }
        };
        assert_eq!(failed.kind, Kind::Internal, "answer {number}: {failed}");
        assert!(failed.message.contains(&address), "{failed}");

        let many = node.inventory(context(), None).await.expect_err("too long a page");
        assert_eq!(many.kind, Kind::Internal);
        let silent = node.verify_chunk(context(), Handle(7)).await.expect_err("no kind");
        assert_eq!(silent.kind, Kind::Unavailable);
    }
}
