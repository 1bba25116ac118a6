//! Messages on their way out: a frame's message is encoded up to the frame's
//! bytes, and these follow as they are.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http_body::Frame;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http;

use super::{FRAME_TAG, MayBeFrame, PREFIX_BYTES};

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

#[cfg(test)]
mod tests {
    use super::*;
    use dfs_core::data::frame::STORED_MAX;

    use crate::grpc::wire::{
        ChunkSeal, ReadChunkReply, ReadHead, WriteChunkRequest, read_chunk_reply,
        write_chunk_request,
    };

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
