//! The one error that crosses a service: a kind for the machine, one variant
//! per reaction, and a message for the person.

use std::fmt;

use crate::catalog::{Reaction, Refusal};
use crate::placement::PlacementError;

/// A service's answer or why there is none.
pub type Result<T> = std::result::Result<T, Error>;

/// What the caller should do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Not reached, overloaded, starting up: try again, or elsewhere. The
    /// call may or may not have had its effect.
    Unavailable,
    /// The change may have been made or not; asking again under the same
    /// request id tells.
    NotKnown,
    /// The request is older than what is remembered: it was not executed now,
    /// and whether it was before is not known.
    Forgotten,
    /// Asked for something that can never be granted as it stands.
    Invalid,
    /// The caller may not do this.
    NotAuthorised,
    /// The name or chunk is not there.
    NotFound,
    /// The name is taken.
    Exists,
    /// Another client replaced the file with a newer version meanwhile: this
    /// change was not made. A change that begins now would win.
    Superseded,
    /// This build or format version does not know how.
    NotSupported,
    /// Bytes failed a checksum, or cannot be recovered.
    Integrity,
    /// Too few nodes for the policy.
    Insufficient,
    /// A disk is full.
    NoSpace,
    /// The caller's epoch is over: ask the coordinator anew.
    StaleEpoch,
    /// Another cluster's node, folder or coordinator; a doubled id.
    WrongIdentity,
    /// The upload is not known (any more): begin the put anew.
    UnknownUpload,
    /// A disk failed, or a bug: this call is lost, others may succeed.
    Internal,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What to do about it.
    pub kind: Kind,
    /// What happened, to which chunk, node or file, and the nearest fix.
    pub message: String,
}

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<Reaction> for Kind {
    fn from(reaction: Reaction) -> Self {
        match reaction {
            Reaction::Invalid => Self::Invalid,
            Reaction::NotFound => Self::NotFound,
            Reaction::Exists => Self::Exists,
            Reaction::Superseded => Self::Superseded,
            Reaction::Retry => Self::Unavailable,
            Reaction::WrongIdentity => Self::WrongIdentity,
            Reaction::StaleEpoch => Self::StaleEpoch,
            Reaction::Forgotten => Self::Forgotten,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.reaction().into(), refusal.to_string())
    }
}

impl From<PlacementError> for Error {
    fn from(refusal: PlacementError) -> Self {
        let kind = match refusal {
            PlacementError::Policy(_) => Kind::Invalid,
            PlacementError::TooFewNodes(_) => Kind::Insufficient,
            PlacementError::NoSpace(_) => Kind::NoSpace,
        };
        Self::new(kind, refusal.to_string())
    }
}
