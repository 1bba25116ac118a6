//! Bodies whose frames are not copied.
//!
//! tonic encodes every message into a buffer of its own, and gathers it in
//! another before it is decoded: each byte of a frame would be copied twice
//! more. Here a frame leaves as it lies in memory ([`send`]) and is a slice of
//! what HTTP/2 read ([`receive`]). On the wire nothing differs. tonic has no
//! place for such bodies: they go past it ([`swap`]).

mod receive;
mod send;
mod swap;

use bytes::Bytes;
use prost::Message;

use super::wire::{ReadChunkReply, WriteChunkRequest, read_chunk_reply, write_chunk_request};

pub(crate) use receive::Received;
pub(crate) use send::{of_request, of_response};
pub(crate) use swap::{Bypass, Passed, WithBodies};

/// The field of a frame in both messages that may be one.
const FRAME_TAG: u32 = 2;
/// Before each message: whether it is compressed (never), and its length.
const PREFIX_BYTES: usize = 5;

/// A message of a stream that may be a frame.
pub(crate) trait MayBeFrame: Message + Default + Sized {
    /// The frame, where the message is one.
    fn into_frame(self) -> Result<Bytes, Self>;

    /// The message that is this frame.
    fn from_frame(frame: Bytes) -> Self;
}

impl MayBeFrame for WriteChunkRequest {
    fn into_frame(self) -> Result<Bytes, Self> {
        match self.step {
            Some(write_chunk_request::Step::Frame(frame)) => Ok(frame),
            step => Err(Self { step }),
        }
    }

    fn from_frame(frame: Bytes) -> Self {
        Self { step: Some(write_chunk_request::Step::Frame(frame)) }
    }
}

impl MayBeFrame for ReadChunkReply {
    fn into_frame(self) -> Result<Bytes, Self> {
        match self.step {
            Some(read_chunk_reply::Step::Frame(frame)) => Ok(frame),
            step => Err(Self { step }),
        }
    }

    fn from_frame(frame: Bytes) -> Self {
        Self { step: Some(read_chunk_reply::Step::Frame(frame)) }
    }
}
