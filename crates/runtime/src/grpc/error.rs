//! How an [`Error`] crosses: its kind as one ASCII word in the metadata, its
//! message as the status's. A failure of the transport itself has no such
//! word; it becomes `Unavailable` with the peer's address in its text.

use std::error::Error as _;
use std::io;

use dfs_core::api::{Error, Kind};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use super::limit::ERROR_TEXT_BYTES_MAX;
use super::wire::Failure;

/// The metadata entry that carries the kind.
const KIND_KEY: &str = "dfs-kind";

/// Each kind, its word on the wire, and the status code that other gRPC
/// tools see. Words are never used again for another kind.
const KINDS: [(Kind, &str, Code); 16] = [
    (Kind::Unavailable, "unavailable", Code::Unavailable),
    (Kind::Invalid, "invalid", Code::InvalidArgument),
    (Kind::NotAuthorised, "not-authorised", Code::PermissionDenied),
    (Kind::NotFound, "not-found", Code::NotFound),
    (Kind::Exists, "exists", Code::AlreadyExists),
    (Kind::NotSupported, "not-supported", Code::Unimplemented),
    (Kind::Integrity, "integrity", Code::DataLoss),
    (Kind::Insufficient, "insufficient", Code::FailedPrecondition),
    (Kind::NoSpace, "no-space", Code::ResourceExhausted),
    (Kind::StaleEpoch, "stale-epoch", Code::Aborted),
    (Kind::WrongIdentity, "wrong-identity", Code::FailedPrecondition),
    (Kind::UnknownUpload, "unknown-upload", Code::Aborted),
    (Kind::Internal, "internal", Code::Internal),
    (Kind::NotKnown, "not-known", Code::Unknown),
    (Kind::Forgotten, "forgotten", Code::Aborted),
    (Kind::Superseded, "superseded", Code::Aborted),
];

/// The status that carries `error`.
pub(crate) fn to_status(error: &Error) -> Status {
    let (word, code) = word_of(error.kind);
    let mut status = Status::new(code, cut(&error.message, ERROR_TEXT_BYTES_MAX));
    status.metadata_mut().insert(KIND_KEY, MetadataValue::from_static(word));
    status
}

/// What carries `error` where there is no status of its own.
pub(crate) fn to_failure(error: &Error) -> Failure {
    let (word, _) = word_of(error.kind);
    Failure { kind: word.to_owned(), message: cut(&error.message, ERROR_TEXT_BYTES_MAX) }
}

/// The error that a [`Failure`] carries.
pub(crate) fn from_failure(failure: &Failure) -> Error {
    Error::new(kind_of(&failure.kind), cut(&failure.message, ERROR_TEXT_BYTES_MAX))
}

fn word_of(kind: Kind) -> (&'static str, Code) {
    let known = KINDS.iter().find(|(known, ..)| *known == kind);
    let (_, word, code) = known.expect("the table has every kind, a test walks them");
    (word, *code)
}

fn kind_of(word: &str) -> Kind {
    let known = KINDS.iter().find(|(_, known, _)| *known == word);
    known.map_or(Kind::Internal, |(kind, ..)| *kind)
}

/// The error that a peer's status carries, or the one that says why there is
/// no answer. `peer` is as in `the node at 127.0.0.1:4001`.
pub(crate) fn from_status(status: &Status, peer: &str) -> Error {
    let word = status.metadata().get(KIND_KEY).and_then(|value| value.to_str().ok());
    if let Some(word) = word {
        return Error::new(kind_of(word), cut(status.message(), ERROR_TEXT_BYTES_MAX));
    }
    match status.code() {
        Code::Unimplemented => Error::new(
            Kind::NotSupported,
            format!("{peer} does not know this call: check the address and the program's version"),
        ),
        Code::OutOfRange | Code::ResourceExhausted => Error::new(
            Kind::Invalid,
            format!("a message from or to {peer} was refused: {}", cut(status.message(), 512)),
        ),
        Code::DeadlineExceeded => {
            Error::new(Kind::Unavailable, format!("{peer} did not answer in time"))
        }
        _ => Error::new(Kind::Unavailable, format!("cannot reach {peer}: {}", cause(status))),
    }
}

/// The innermost reason of a transport failure, in words.
fn cause(status: &Status) -> String {
    let mut source = status.source();
    let mut innermost = None;
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.get_ref().is_none()
        {
            return io.kind().to_string();
        }
        innermost = Some(error.to_string());
        source = error.source();
    }
    let text = innermost.unwrap_or_else(|| status.message().to_owned());
    if text.is_empty() { "the connection was lost".to_owned() } else { cut(&text, 512) }
}

/// At most `bytes_max` of `text`, cut between characters.
pub(crate) fn cut(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_and_its_message_arrive_as_they_were_sent() {
        for (kind, ..) in KINDS {
            let error = Error::new(kind, "rs:4+2 needs 6 nodes, 5 are online (n4 – offline: 3 m)");
            let status = Status::from_header_map(
                &to_status(&error).into_http::<()>().into_parts().0.headers,
            );
            let status = status.expect("a status with a code");
            assert_eq!(from_status(&status, "the node at a:1"), error);
            assert_eq!(from_failure(&to_failure(&error)), error);
        }
    }

    #[test]
    fn a_word_that_is_not_known_is_an_internal_error() {
        let mut status = Status::new(Code::Ok, "from the future");
        status.metadata_mut().insert(KIND_KEY, MetadataValue::from_static("newer"));
        assert_eq!(from_status(&status, "x").kind, Kind::Internal);
    }

    #[test]
    fn a_failure_of_the_transport_names_the_peer_and_the_reason() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = from_status(&Status::from_error(Box::new(refused)), "the node at 127.0.0.1:1");
        assert_eq!(error.kind, Kind::Unavailable);
        assert_eq!(error.message, "cannot reach the node at 127.0.0.1:1: connection refused");
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let error = Error::new(Kind::Internal, "ü".repeat(5000));
        let status = to_status(&error);
        assert!(status.message().len() <= ERROR_TEXT_BYTES_MAX);
    }
}
