//! What is above a limit waits or is refused, and what is within it goes on,
//! over the same connection.

use std::sync::Arc;

use bytes::Bytes;
use dfs_core::api::{Error, InventoryPage, Kind, NodeService, Result};
use dfs_core::env::Peers;
use dfs_core::id::Handle;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::resume;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use super::super::hostile::Liar;
use super::super::{context, listen, soon, three_frames};
use super::link::{Link, STOPPED};
use super::watched::Watched;
use super::{Faulty, SILENCE_MAX, assert_lost, greet, peers, settle, short_chunk, whole, within};
use crate::grpc::limit::{NODE_MESSAGE_BYTES_MAX, STREAMS_PER_CONNECTION_MAX};
use crate::grpc::server::Places;
use crate::grpc::wire::node_server::NodeServer;
use crate::grpc::wire::{ReadHead, read_chunk_reply::Step};

type Call = JoinHandle<Result<InventoryPage>>;

impl Faulty {
    /// Sets a call going that waits for a permit.
    fn call(&self) -> Call {
        let node = self.node();
        tokio::spawn(async move { node.inventory(context(), None).await })
    }

    /// The message was refused, and a call that was under way meanwhile ends
    /// well over the same connection.
    async fn assert_refused_alone(&self, refused: &Error, meanwhile: Call) {
        assert_eq!(refused.kind, Kind::Invalid, "{refused}");
        assert!(refused.message.contains(&self.link.address), "{refused}");
        assert!(refused.message.contains("was refused"), "{refused}");
        self.service.answers.add_permits(1);
        soon(meanwhile).await.expect("no panic").expect("the other call goes on");
        assert_eq!(self.link.standing(), 1, "over the same connection");
    }
}

#[tokio::test]
async fn a_request_above_the_limit_is_refused_and_other_calls_go_on() {
    let faulty = Faulty::start(Watched::chunk(short_chunk())).await;
    let meanwhile = faulty.call();
    faulty.service.waiting.until(1).await;
    let handles = vec![Handle(u64::MAX); NODE_MESSAGE_BYTES_MAX / 8];
    for _ in 0..3 {
        let refused = soon(faulty.node().delete_chunks(context(), handles.clone())).await;
        let refused = refused.expect_err("it is far too long");
        assert_eq!(refused.kind, Kind::Invalid, "{refused}");
    }
    let refused = soon(faulty.node().delete_chunks(context(), handles)).await;
    faulty.assert_refused_alone(&refused.expect_err("it is far too long"), meanwhile).await;
}

#[tokio::test]
async fn an_answer_above_the_limit_is_refused_and_other_calls_go_on() {
    let mut service = Watched::chunk(short_chunk());
    service.page_chunks_first = NODE_MESSAGE_BYTES_MAX / 8;
    let faulty = Faulty::start(service).await;
    let too_long = faulty.call();
    faulty.service.waiting.until(1).await;
    let meanwhile = faulty.call();
    faulty.service.waiting.until(2).await;
    faulty.service.answers.add_permits(1);
    let refused = soon(too_long).await.expect("no panic").expect_err("it is far too long");
    faulty.assert_refused_alone(&refused, meanwhile).await;
}

#[tokio::test]
async fn a_client_refuses_an_answer_above_the_limit_whatever_the_server_sends() {
    let chunk = three_frames();
    let head = ReadHead { header: Some(chunk.header.into()), seal: Some(chunk.seal.into()) };
    let bytes = Bytes::from(vec![0; NODE_MESSAGE_BYTES_MAX]);
    let liar = Liar(vec![Step::Head(head), Step::Frame(bytes)]);
    let (listener, address) = listen().await;
    let router = Server::builder()
        .add_service(crate::grpc::protocol::Numbered::new(NodeServer::new(liar), "the node"));
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    let link = Link::to(&address).await;
    let peers = peers();
    let node = peers.node(&link.address);
    for _ in 0..3 {
        let mut read = soon(node.read_chunk(whole())).await.expect("the head is well-formed");
        let refused = soon(read.frames.next()).await;
        let refused = refused.expect("not an end").expect_err("it is too long");
        assert_eq!(refused.kind, Kind::Invalid, "{refused}");
        assert!(refused.message.contains(&link.address), "{refused}");
    }
    assert_eq!(link.standing(), 1, "all over one connection");
}

#[tokio::test]
async fn calls_beyond_the_streams_of_a_connection_wait_for_their_turn() {
    let faulty = Faulty::start(Watched::chunk(short_chunk())).await;
    let streams = STREAMS_PER_CONNECTION_MAX as usize;
    // The first tells the client how many there may be.
    greet(&*faulty.node()).await.expect("the connection stands");
    let calls: Vec<_> = (0..streams + 20).map(|_| faulty.call()).collect();
    faulty.service.waiting.until(streams).await;
    settle().await;
    assert_eq!(faulty.service.waiting.get(), streams, "no more than these at once");
    assert!(!calls.iter().any(JoinHandle::is_finished), "and the others are not refused");
    faulty.service.answers.add_permits(calls.len());
    for call in calls {
        soon(call).await.expect("no panic").expect("its turn came");
    }
    assert_eq!(faulty.link.standing(), 1, "all over one connection");
}

#[tokio::test]
async fn calls_beyond_the_places_of_a_server_are_refused_until_one_ends() {
    let places = Places { calls: Arc::new(Semaphore::new(2)), ..Places::default() };
    let faulty = Faulty::start_in(places, Watched::chunk(short_chunk())).await;
    let calls = [faulty.call(), faulty.call()];
    faulty.service.waiting.until(2).await;
    let refused = soon(greet(&*faulty.node())).await.expect_err("there is no place");
    assert_eq!(refused.kind, Kind::Unavailable, "{refused}");
    assert!(refused.message.contains("try again"), "{refused}");
    faulty.service.answers.add_permits(2);
    for call in calls {
        soon(call).await.expect("no panic").expect("it had its place");
    }
    soon(greet(&*faulty.node())).await.expect("there are places again");
}

fn places_for(connections: usize) -> Places {
    Places { connections: Arc::new(Semaphore::new(connections)), ..Places::default() }
}

#[tokio::test]
async fn connections_beyond_the_places_of_a_server_are_closed_until_one_ends() {
    let faulty = Faulty::start_in(places_for(2), Watched::chunk(short_chunk())).await;
    let (first, second, third) = (peers(), peers(), peers());
    let node = |peers: &dyn Peers| peers.node(&faulty.server);
    soon(greet(&*node(&first))).await.expect("a place");
    soon(greet(&*node(&second))).await.expect("a place");
    for _ in 0..5 {
        let refused = soon(greet(&*node(&third))).await.expect_err("there is no place");
        assert_lost(&refused, &faulty.server);
        soon(greet(&*node(&first))).await.expect("it keeps its place");
    }
    drop(second);
    drop(soon(faulty.places.connections.acquire()).await.expect("it is never closed"));
    soon(greet(&*node(&third))).await.expect("a place was free");
    soon(greet(&*node(&first))).await.expect("it keeps its place");
}

/// Connects from an address of this machine, and says hello as HTTP/2 does.
/// `None` when the server closes the connection instead of answering.
async fn connect_from(source: &str, server: &str) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(source.parse().expect("an address")).expect("an address of this machine");
    let mut stream = socket.connect(server.parse().expect("an address")).await.expect("it listens");
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    stream.write_all(hello).await.ok()?;
    let mut head = [0; 9];
    soon(stream.read_exact(&mut head)).await.ok()?;
    Some(stream)
}

#[tokio::test]
async fn one_address_does_not_take_the_places_of_all() {
    let faulty = Faulty::start_in(places_for(6), Watched::chunk(short_chunk())).await;
    let mut held = Vec::new();
    while let Some(stream) = connect_from("127.0.0.1:0", &faulty.server).await {
        held.push(stream);
    }
    assert_eq!(held.len(), 4, "two thirds of all");
    for number in 2..4 {
        let source = format!("127.0.0.{number}:0");
        let other = connect_from(&source, &faulty.server).await;
        held.push(other.expect("another address is served"));
    }
}

#[tokio::test]
async fn the_place_of_a_silent_client_goes_to_another() {
    let faulty = Faulty::start_in(places_for(1), Watched::chunk(short_chunk())).await;
    let other = peers();
    let other: Arc<dyn NodeService> = other.node(&faulty.server);
    soon(greet(&*faulty.node())).await.expect("a place");
    soon(greet(&*other)).await.expect_err("there is no place");
    faulty.fall_silent([STOPPED, STOPPED]);
    let is_free = || faulty.places.connections.available_permits() == 1;
    within(SILENCE_MAX, "the place is free", is_free).await;
    resume();
    soon(greet(&*other)).await.expect("a place was free");
}
