//! Why a put or a get failed.

use std::fmt;

use crate::api::{Error, Kind};

/// Why a put or a get failed: a kind for the machine, a message for the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientError {
    /// What to do about it.
    pub kind: Kind,
    /// What happened, to which file, chunk or node, and the nearest fix.
    pub message: String,
}

impl ClientError {
    /// An error of `kind` that says `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl From<Error> for ClientError {
    fn from(error: Error) -> Self {
        Self { kind: error.kind, message: error.message }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ClientError {}
