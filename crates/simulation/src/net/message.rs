//! What a message is, for the trace. Nothing is formatted before it is asked
//! for.

use std::fmt;

use bytes::Bytes;
use dfs_core::api::{Error, Kind, Result, WritePart};
use dfs_core::data::chunk::ChunkSeal;
use dfs_core::data::digest::crc32c;

/// One message.
#[derive(Clone, Copy)]
pub(super) enum Message<'a> {
    /// The request of a call.
    Call(&'static str),
    /// Nobody listens.
    Refused(&'static str),
    /// The answer to a call, with its error where it is one.
    Answer(&'static str, Option<&'a Error>),
    /// A frame in a stream.
    Frame(&'a Bytes),
    /// A writer waits for its source.
    Waiting,
    /// The end of a write.
    Seal(&'a ChunkSeal),
    /// The source of a write failed.
    WriterFailed(&'a Error),
    /// The source of a read failed.
    ReadFailed(&'a Error),
}

impl<'a> Message<'a> {
    pub(super) fn of_write(part: &'a Result<WritePart>) -> Self {
        match part {
            Ok(WritePart::Frame(bytes)) => Self::Frame(bytes),
            Ok(WritePart::Waiting) => Self::Waiting,
            Ok(WritePart::Seal(seal)) => Self::Seal(seal),
            Err(error) => Self::WriterFailed(error),
        }
    }

    pub(super) fn of_read(frame: &'a Result<Bytes>) -> Self {
        match frame {
            Ok(bytes) => Self::Frame(bytes),
            Err(error) => Self::ReadFailed(error),
        }
    }
}

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(what) => f.write_str(what),
            Self::Refused(what) => write!(f, "{what}: refused"),
            Self::Answer(what, None) => write!(f, "{what}: ok"),
            Self::Answer(what, Some(error)) => write!(f, "{what}: {:?}: {error}", error.kind),
            Self::Frame(bytes) => {
                write!(f, "frame {} bytes {:08x}", bytes.len(), crc32c(&[bytes]))
            }
            Self::Waiting => f.write_str("the source has nothing yet"),
            Self::Seal(seal) => write!(f, "seal of {} frames {}", seal.frames, seal.digest),
            Self::WriterFailed(Error { kind: Kind::Unavailable, .. }) => {
                f.write_str("the writer went away")
            }
            Self::WriterFailed(error) => write!(f, "the writer gave up: {error}"),
            Self::ReadFailed(error) => write!(f, "frame: {error}"),
        }
    }
}
