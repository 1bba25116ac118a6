//! Bodies whose frames are not copied on their way out.
//!
//! tonic encodes every message into a buffer of its own, so each byte of a
//! frame would be copied once more. Here a message that is a frame is encoded
//! up to the frame's bytes, and these follow as they are. On the wire it is
//! the same message. tonic has no place for such a body: it is put into the
//! request or the response in place of an empty one.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::Map;
use futures_util::{FutureExt, Stream, StreamExt};
use http_body::Frame;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::transport::Channel;

use super::wire::{ReadChunkReply, WriteChunkRequest, read_chunk_reply, write_chunk_request};

/// The field of a frame in both messages that may be one.
const FRAME_TAG: u32 = 2;
/// Before each message: whether it is compressed (never), and its length.
const PREFIX_BYTES: usize = 5;

/// A message of a stream that may be a frame.
pub(crate) trait MayBeFrame: Message + Sized {
    /// The frame, where the message is one.
    fn into_frame(self) -> Result<Bytes, Self>;
}

impl MayBeFrame for WriteChunkRequest {
    fn into_frame(self) -> Result<Bytes, Self> {
        match self.step {
            Some(write_chunk_request::Step::Frame(frame)) => Ok(frame),
            step => Err(Self { step }),
        }
    }
}

impl MayBeFrame for ReadChunkReply {
    fn into_frame(self) -> Result<Bytes, Self> {
        match self.step {
            Some(read_chunk_reply::Step::Frame(frame)) => Ok(frame),
            step => Err(Self { step }),
        }
    }
}

/// A stream of messages as a body.
struct Messages<S> {
    messages: S,
    /// The bytes that the message under way ends with.
    rest: Option<Bytes>,
    /// Whether a status follows the last message, as it does in a response.
    has_status: bool,
    is_over: bool,
}

/// The body of a request.
pub(crate) fn of_request<M: MayBeFrame + 'static>(
    messages: impl Stream<Item = M> + Send + 'static,
) -> Body {
    body(messages.map(Ok), false)
}

/// The body of a response; an error ends it.
pub(crate) fn of_response<M: MayBeFrame + 'static>(
    messages: impl Stream<Item = Result<M, Status>> + Send + 'static,
) -> Body {
    body(messages, true)
}

fn body<M: MayBeFrame + 'static>(
    messages: impl Stream<Item = Result<M, Status>> + Send + 'static,
    has_status: bool,
) -> Body {
    Body::new(Messages { messages: messages.boxed(), rest: None, has_status, is_over: false })
}

impl<S, M> http_body::Body for Messages<S>
where
    S: Stream<Item = Result<M, Status>> + Unpin,
    M: MayBeFrame,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(rest) = self.rest.take() {
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        if self.is_over {
            return Poll::Ready(None);
        }
        let status = match ready!(self.messages.poll_next_unpin(cx)) {
            Some(Ok(message)) => {
                let (head, rest) = encode(message);
                self.rest = rest;
                return Poll::Ready(Some(Ok(Frame::data(head))));
            }
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.is_over = true;
        if !self.has_status {
            return Poll::Ready(None);
        }
        let mut trailers = http::HeaderMap::new();
        let added = status.add_header(&mut trailers);
        Poll::Ready(Some(added.map(|()| Frame::trailers(trailers))))
    }
}

/// A message with its prefix, and the bytes that it ends with where these are
/// not in it.
fn encode(message: impl MayBeFrame) -> (Bytes, Option<Bytes>) {
    let mut head = BytesMut::with_capacity(64);
    match message.into_frame() {
        Err(message) => {
            put_prefix(&mut head, message.encoded_len());
            message.encode(&mut head).expect("a BytesMut grows");
            (head.freeze(), None)
        }
        Ok(frame) => {
            let len_bytes = encoded_len_varint(frame.len() as u64);
            put_prefix(&mut head, key_len(FRAME_TAG) + len_bytes + frame.len());
            encode_key(FRAME_TAG, WireType::LengthDelimited, &mut head);
            encode_varint(frame.len() as u64, &mut head);
            (head.freeze(), Some(frame).filter(|frame| !frame.is_empty()))
        }
    }
}

fn put_prefix(head: &mut BytesMut, len: usize) {
    head.reserve(PREFIX_BYTES + len.min(256));
    head.put_u8(0);
    head.put_u32(u32::try_from(len).expect("messages are far below 4 GiB"));
}

/// A connection whose next request has this body in place of its own.
pub(crate) struct Sending {
    channel: Channel,
    body: Option<Body>,
}

impl Sending {
    pub(crate) fn over(channel: Channel, body: Body) -> Self {
        Self { channel, body: Some(body) }
    }
}

impl Service<http::Request<Body>> for Sending {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = <Channel as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.channel.call(match self.body.take() {
            Some(body) => request.map(|_empty| body),
            None => request,
        })
    }
}

/// In the extensions of a response: the body to answer with.
#[derive(Clone)]
pub(crate) struct Answering(Arc<Mutex<Option<Body>>>);

impl Answering {
    pub(crate) fn with(body: Body) -> Self {
        Self(Arc::new(Mutex::new(Some(body))))
    }

    fn take(&self) -> Body {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }
}

/// A service whose responses may name the body to answer with ([`Answering`]).
#[derive(Clone)]
pub(crate) struct WithBodies<S>(pub(crate) S);

type Answer = Result<http::Response<Body>, Infallible>;

impl<S> Service<http::Request<Body>> for WithBodies<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Map<S::Future, fn(Answer) -> Answer>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.0.call(request).map(|answer| {
            answer.map(|mut response| match response.extensions_mut().remove::<Answering>() {
                Some(answering) => response.map(|_empty| answering.take()),
                None => response,
            })
        })
    }
}

impl<S: NamedService> NamedService for WithBodies<S> {
    const NAME: &'static str = S::NAME;
}

#[cfg(test)]
mod tests {
    use super::*;
    use dfs_core::data::frame::STORED_MAX;

    use crate::grpc::wire::{ChunkSeal, ReadHead};

    /// The message that a receiver makes of it.
    fn crossed<M: MayBeFrame + Default>(message: M) -> M {
        let (head, rest) = encode(message);
        let mut whole = [&head[..], rest.as_deref().unwrap_or_default()].concat();
        let body = whole.split_off(PREFIX_BYTES);
        assert_eq!(whole[0], 0);
        assert_eq!(whole[1..], u32::try_from(body.len()).expect("short").to_be_bytes());
        M::decode(&body[..]).expect("a message")
    }

    #[test]
    fn messages_arrive_as_prost_would_have_sent_them() {
        for len in [0, 1, 127, 128, 16_383, 16_384, STORED_MAX] {
            let frame = Bytes::from(vec![7; len]);
            let step = Some(write_chunk_request::Step::Frame(frame.clone()));
            let request = WriteChunkRequest { step };
            assert_eq!(crossed(request.clone()), request);
            let reply = ReadChunkReply { step: Some(read_chunk_reply::Step::Frame(frame)) };
            assert_eq!(crossed(reply.clone()), reply);
        }
        let seal = ChunkSeal { raw_bytes: 300, digest: vec![1; 32].into(), ..Default::default() };
        let step = Some(write_chunk_request::Step::Seal(seal.clone()));
        assert_eq!(crossed(WriteChunkRequest { step: step.clone() }), WriteChunkRequest { step });
        let head = ReadHead { header: None, seal: Some(seal) };
        let step = Some(read_chunk_reply::Step::Head(head));
        assert_eq!(crossed(ReadChunkReply { step: step.clone() }), ReadChunkReply { step });
        assert_eq!(crossed(WriteChunkRequest { step: None }), WriteChunkRequest { step: None });
    }

    #[test]
    fn the_bytes_of_a_frame_are_not_copied() {
        let frame = Bytes::from(vec![7; 1000]);
        let step = Some(read_chunk_reply::Step::Frame(frame.clone()));
        let (_, rest) = encode(ReadChunkReply { step });
        assert_eq!(rest.expect("they follow").as_ptr(), frame.as_ptr());
    }
}
