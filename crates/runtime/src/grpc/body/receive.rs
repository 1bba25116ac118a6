//! Messages on their way in: a frame is a slice of what HTTP/2 read, where it
//! came in one piece, as it does from [`super::send`]; otherwise it is
//! gathered.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body as _;
use prost::encoding::{WireType, encode_key};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::HeaderMap;

use super::{FRAME_TAG, MayBeFrame, PREFIX_BYTES};

/// The messages of a body, in order.
pub(crate) struct Received<M> {
    body: Body,
    /// What came and was not taken yet.
    pending: Bytes,
    /// The beginning of what is to be taken next, where it came in pieces.
    gathered: BytesMut,
    stage: Stage,
    bytes_max: usize,
    /// Whether a status must follow the last message, as in a response.
    wants_status: bool,
    trailers: Option<HeaderMap>,
    messages: PhantomData<fn() -> M>,
}

/// What is taken next. Kept here, so that waiting may be given up and begun
/// again.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Prefix,
    /// The first byte of a message of so many.
    Key(usize),
    /// The length of a frame, as far as it came, in a message of which so
    /// many bytes are left.
    FrameLen {
        left: usize,
        len: u64,
        shift: u32,
    },
    Frame(usize),
    /// The rest of a message that is no frame, and its first byte.
    Other(u8, usize),
}

impl<M: MayBeFrame> Received<M> {
    /// The messages of a request, of at most `bytes_max` bytes each.
    pub(crate) fn of_request(body: Body, bytes_max: usize) -> Self {
        Self {
            body,
            pending: Bytes::new(),
            gathered: BytesMut::new(),
            stage: Stage::Prefix,
            bytes_max,
            wants_status: false,
            trailers: None,
            messages: PhantomData,
        }
    }

    /// The messages of a response, of at most `bytes_max` bytes each.
    pub(crate) fn of_response(body: Body, bytes_max: usize) -> Self {
        Self { wants_status: true, ..Self::of_request(body, bytes_max) }
    }

    /// The next message; `None` at the end.
    ///
    /// # Errors
    /// The status that ended the stream, or the one that says what is wrong
    /// with it. Then it is over.
    pub(crate) async fn message(&mut self) -> Result<Option<M>, Status> {
        loop {
            match self.stage {
                Stage::Prefix => {
                    let Some(prefix) = self.take(PREFIX_BYTES).await? else { return Ok(None) };
                    self.stage = Stage::Key(self.check_prefix(prefix)?);
                }
                Stage::Key(0) => return self.done(M::default()),
                Stage::Key(len) => {
                    let key = self.some(1).await?.get_u8();
                    self.stage = if is_frame(key) {
                        Stage::FrameLen { left: len - 1, len: 0, shift: 0 }
                    } else {
                        Stage::Other(key, len - 1)
                    };
                }
                Stage::FrameLen { left: 0, .. } => return Err(nonsense("a frame has no length")),
                Stage::FrameLen { left, len, shift } => {
                    let byte = self.some(1).await?.get_u8();
                    let (left, len) = (left - 1, len | u64::from(byte & 0x7f) << shift);
                    self.stage = match byte & 0x80 {
                        0 if len == left as u64 => Stage::Frame(left),
                        0 => return Err(nonsense("a frame is longer or shorter than its message")),
                        _ if shift == 28 => return Err(nonsense("a frame's length has no end")),
                        _ => Stage::FrameLen { left, len, shift: shift + 7 },
                    };
                }
                Stage::Frame(len) => {
                    let frame = self.some(len).await?;
                    return self.done(M::from_frame(frame));
                }
                Stage::Other(key, len) => {
                    let rest = self.some(len).await?;
                    let message = M::decode(Bytes::copy_from_slice(&[key]).chain(rest));
                    let message = message.map_err(|error| nonsense(&error.to_string()))?;
                    return self.done(message);
                }
            }
        }
    }

    fn done(&mut self, message: M) -> Result<Option<M>, Status> {
        self.stage = Stage::Prefix;
        Ok(Some(message))
    }

    fn check_prefix(&self, mut prefix: Bytes) -> Result<usize, Status> {
        if prefix.get_u8() != 0 {
            return Err(nonsense("it is compressed"));
        }
        let len = usize::try_from(prefix.get_u32()).unwrap_or(usize::MAX);
        if len > self.bytes_max {
            let max = self.bytes_max;
            return Err(Status::out_of_range(format!("it has {len} bytes, {max} are allowed")));
        }
        Ok(len)
    }

    /// The next `len` bytes, which must come.
    async fn some(&mut self, len: usize) -> Result<Bytes, Status> {
        let cut = || Status::unavailable("the stream ended within a message");
        self.take(len).await?.ok_or_else(cut)
    }

    /// The next `len` bytes; `None` where the stream ends before the first.
    async fn take(&mut self, len: usize) -> Result<Option<Bytes>, Status> {
        loop {
            if self.gathered.is_empty() && self.pending.len() >= len {
                return Ok(Some(self.pending.split_to(len)));
            }
            let missing = len - self.gathered.len();
            let piece = self.pending.split_to(missing.min(self.pending.len()));
            if !piece.is_empty() {
                self.gathered.reserve(missing);
                self.gathered.extend_from_slice(&piece);
            }
            if self.gathered.len() == len {
                return Ok(Some(self.gathered.split().freeze()));
            }
            if !self.read().await? {
                let is_cut = !self.gathered.is_empty();
                let cut = || Err(Status::unavailable("the stream ended within a message"));
                return if is_cut { cut() } else { Ok(None) };
            }
        }
    }

    /// Waits for more; false at the end.
    async fn read(&mut self) -> Result<bool, Status> {
        loop {
            match poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await {
                Some(frame) => match frame?.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => {
                        self.pending = data;
                        return Ok(true);
                    }
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
                None if self.wants_status => return self.check_status().map(|()| false),
                None => return Ok(false),
            }
        }
    }

    /// A response that ends without a status was cut off on its way.
    fn check_status(&mut self) -> Result<(), Status> {
        let status = self.trailers.take().and_then(|trailers| Status::from_header_map(&trailers));
        match status {
            Some(status) if status.code() == tonic::Code::Ok => {
                self.wants_status = false;
                Ok(())
            }
            Some(status) => Err(status),
            None => Err(Status::unavailable("the stream ended without a status")),
        }
    }
}

fn is_frame(key: u8) -> bool {
    let mut frame_key = Vec::new();
    encode_key(FRAME_TAG, WireType::LengthDelimited, &mut frame_key);
    frame_key == [key]
}

fn nonsense(what: &str) -> Status {
    Status::out_of_range(format!("it is not well-formed: {what}"))
}

#[cfg(test)]
mod tests {
    use dfs_core::data::frame::STORED_MAX;
    use futures_util::{FutureExt, StreamExt, stream};
    use http_body::Frame;
    use prost::Message;

    use super::super::send;
    use super::*;
    use crate::grpc::wire::{ChunkSeal, ReadChunkReply, ReadHead, read_chunk_reply::Step};

    const BYTES_MAX: usize = 2 << 20;

    /// A body that comes in these pieces, and then these trailers.
    fn body(pieces: Vec<Bytes>, trailers: Option<HeaderMap>) -> Body {
        let frames = pieces.into_iter().map(Frame::data);
        let frames = frames.chain(trailers.map(Frame::trailers));
        Body::new(Pieces(frames.collect::<Vec<_>>().into_iter()))
    }

    struct Pieces(std::vec::IntoIter<Frame<Bytes>>);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Status>>> {
            std::task::Poll::Ready(self.0.next().map(Ok))
        }
    }

    fn status_ok() -> Option<HeaderMap> {
        let mut trailers = HeaderMap::new();
        Status::ok("").add_header(&mut trailers).expect("a header");
        Some(trailers)
    }

    /// All messages, and how the stream ended.
    fn all(body: Body) -> (Vec<ReadChunkReply>, Result<(), Status>) {
        let mut received = Received::of_response(body, BYTES_MAX);
        let mut messages = Vec::new();
        loop {
            match received.message().now_or_never().expect("all is there") {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => return (messages, Ok(())),
                Err(status) => return (messages, Err(status)),
            }
        }
    }

    fn messages() -> Vec<ReadChunkReply> {
        let seal = ChunkSeal { raw_bytes: 300, digest: vec![1; 32].into(), ..Default::default() };
        let head = ReadHead { header: None, seal: Some(seal) };
        let frames = [0, 1, 127, 128, 20_000].map(|len| Step::Frame(vec![7; len].into()));
        let steps = [Step::Head(head)].into_iter().chain(frames).map(Some).chain([None]);
        steps.map(|step| ReadChunkReply { step }).collect()
    }

    fn prefixed(message: &[u8]) -> Vec<u8> {
        let len = u32::try_from(message.len()).expect("short");
        [&[0], &len.to_be_bytes()[..], message].concat()
    }

    #[test]
    fn messages_arrive_in_pieces_of_any_length() {
        let sent = messages();
        let wire: Vec<u8> = sent.iter().flat_map(|it| prefixed(&it.encode_to_vec())).collect();
        for len in (1..40).chain([128, 1000, 20_005, wire.len()]) {
            let pieces = wire.chunks(len).map(Bytes::copy_from_slice).collect();
            let (came, end) = all(body(pieces, status_ok()));
            assert_eq!(came, sent, "pieces of {len}");
            end.expect("a good end");
        }
    }

    #[test]
    fn what_is_cut_off_anywhere_is_an_error() {
        let sent = messages();
        let wire: Vec<u8> = sent.iter().flat_map(|it| prefixed(&it.encode_to_vec())).collect();
        for len in (0..wire.len()).filter(|len| *len < 600 || len % 97 == 0) {
            let (came, end) = all(body(vec![Bytes::copy_from_slice(&wire[..len])], None));
            assert_eq!(came[..], sent[..came.len()]);
            assert_eq!(end.expect_err("no status").code(), tonic::Code::Unavailable, "{len}");
        }
        let (came, end) = all(body(vec![Bytes::from(wire)], None));
        assert_eq!(came, sent);
        end.expect_err("all came, and no word that this is all");
    }

    #[test]
    fn a_frame_that_was_sent_by_this_program_is_not_copied() {
        let frame = Bytes::from(vec![7; STORED_MAX]);
        let sent = stream::iter([Ok(ReadChunkReply::from_frame(frame.clone()))]).boxed();
        let (came, end) = all(send::of_response(sent));
        end.expect("a good end");
        let [ReadChunkReply { step: Some(Step::Frame(came)) }] = &came[..] else {
            panic!("one frame: {came:?}")
        };
        assert_eq!(came.as_ptr(), frame.as_ptr());
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let long = u32::try_from(BYTES_MAX + 1).expect("short").to_be_bytes();
        let bad = [
            [&[1], &[0, 0, 0, 1][..], &[0]].concat(),
            [&[0], &long[..]].concat(),
            // A frame without a length, with too long or too short a one, with
            // one that has no end.
            prefixed(&[0x12]),
            prefixed(&[0x12, 2, 0]),
            prefixed(&[0x12, 0, 0]),
            prefixed(&[0x12, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0]),
            // A head that ends within a field.
            prefixed(&[0x0a, 9, 0]),
        ];
        for (number, bytes) in bad.into_iter().enumerate() {
            let (came, end) = all(body(vec![bytes.into()], status_ok()));
            assert!(came.is_empty(), "{number}: {came:?}");
            assert_eq!(end.expect_err("refused").code(), tonic::Code::OutOfRange, "{number}");
        }
    }
}
