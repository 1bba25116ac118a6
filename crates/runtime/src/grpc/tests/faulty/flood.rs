//! A client that opens more streams than it may, in hand-made HTTP/2.

use std::collections::BTreeMap;

use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::{context, soon};
use super::watched::Watched;
use super::{Faulty, greet, short_chunk};
use crate::grpc::limit::STREAMS_PER_CONNECTION_MAX;
use crate::grpc::protocol::user_agent;
use crate::grpc::wire;

/// What a client sends first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Frame types and flags (RFC 9113, section 6), and an error code (section 7).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const REFUSED_STREAM: u32 = 7;

/// Streams that are one too many, or more.
const SURPLUS: u32 = 30;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// Fields as literals without a name that is known (RFC 7541, section 6.2.2).
fn fields(of: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).expect("below the prefix of seven bits");
        [&[length], text.as_bytes()].concat()
    };
    of.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// A whole call of the inventory on `stream`.
fn call(stream: u32) -> Vec<u8> {
    let agent = user_agent();
    let fields = fields(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/dfs.v1.Node/Inventory"),
        (":authority", "a"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", &agent),
    ]);
    let request = wire::InventoryRequest { context: Some(context().into()), after: None };
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
    let message = [&[0], &length[..], &message].concat();
    [frame(HEADERS, END_HEADERS, stream, &fields), frame(DATA, END_STREAM, stream, &message)]
        .concat()
}

/// The next frame: type, stream, payload.
async fn next_frame(socket: &mut TcpStream) -> (u8, u32, Vec<u8>) {
    let mut head = [0; 9];
    soon(socket.read_exact(&mut head)).await.expect("the connection stands");
    let [length @ .., kind, _flags, a, b, c, d] = head;
    let [a0, a1, a2] = length;
    let mut payload = vec![0; u32::from_be_bytes([0, a0, a1, a2]) as usize];
    soon(socket.read_exact(&mut payload)).await.expect("the connection stands");
    (kind, u32::from_be_bytes([a, b, c, d]), payload)
}

#[tokio::test]
async fn streams_above_the_limit_are_refused_and_the_others_answered() {
    let faulty = Faulty::start(Watched::chunk(short_chunk())).await;
    let mut socket = TcpStream::connect(&faulty.server).await.expect("it listens");
    let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let streams = STREAMS_PER_CONNECTION_MAX + SURPLUS;
    for number in 0..streams {
        bytes.extend(call(2 * number + 1));
    }
    socket.write_all(&bytes).await.expect("it reads");

    let mut refused = BTreeMap::new();
    while refused.len() < SURPLUS as usize {
        if let (RST_STREAM, stream, payload) = next_frame(&mut socket).await {
            // What comes after the first word is of data on a stream that is closed.
            refused.entry(stream).or_insert(payload);
        }
    }
    assert!(refused.values().all(|why| *why == REFUSED_STREAM.to_be_bytes()));
    let within = STREAMS_PER_CONNECTION_MAX as usize;
    faulty.service.waiting.until(within).await;
    assert_eq!(faulty.service.waiting.get(), within, "as many as there may be");
    soon(greet(&*faulty.node())).await.expect("another client is served");

    // Those within the limit are answered, each to its end.
    faulty.service.answers.add_permits(within);
    let mut ended = 0;
    while ended < within {
        let (kind, stream, _) = next_frame(&mut socket).await;
        let is_refused = refused.contains_key(&stream);
        assert!(kind != RST_STREAM || is_refused, "stream {stream} was within the limit");
        if kind == DATA {
            assert!(!is_refused);
            ended += 1;
        }
    }
}
