//! Why the ledger cannot be opened or written.

use std::io;

use super::{FORMAT_VERSION, LEDGER_FILE, WITNESS_FILE};
use crate::api;

/// Why the ledger cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The disk refused.
    #[error("{LEDGER_FILE}: {doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the disk said.
        source: io::Error,
    },
    /// The file is not as it was written, or was never whole.
    #[error(
        "{LEDGER_FILE} is damaged: {what}. The coordinator does not start on it and has left it \
         as it is: keep it, and put a good backup of it in its place"
    )]
    Damaged {
        /// What is wrong, and where.
        what: String,
    },
    /// The file was there once.
    #[error(
        "{LEDGER_FILE} is missing, but {WITNESS_FILE} beside it says that there was one: put it or \
         a good backup of it back; to begin with nothing, use an empty folder"
    )]
    Missing,
    /// The file was written by a newer build.
    #[error(
        "{LEDGER_FILE} has format version {found}, this build knows versions up to \
         {FORMAT_VERSION}: start the newer build again"
    )]
    NewerFormat {
        /// The file's version.
        found: u32,
    },
    /// A commit failed before: what is on the disk is not known.
    #[error("{LEDGER_FILE} takes no commits after one that failed: start the coordinator anew")]
    Poisoned,
    /// redb refused for another reason than the disk's.
    #[error("{LEDGER_FILE}: {doing}: {what}")]
    Engine {
        /// What was being done.
        doing: &'static str,
        /// What redb said.
        what: String,
    },
}

impl LedgerError {
    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }

    /// What redb said while `doing`. A file that ends early or holds what it
    /// cannot is damaged; the rest of what a disk may say is the disk's.
    pub(super) fn redb(doing: &'static str) -> impl Fn(redb::Error) -> Self {
        move |error| match error {
            redb::Error::Io(source) => Self::io(doing)(source),
            redb::Error::Corrupted(what) => Self::damaged(what),
            error @ (redb::Error::UpgradeRequired(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableDoesNotExist(_)) => Self::damaged(error.to_string()),
            error => Self::Engine { doing, what: error.to_string() },
        }
    }

    pub(super) fn io(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                Self::damaged(format!("{doing}: {source}"))
            }
            _ => Self::Io { doing, source },
        }
    }
}

impl From<LedgerError> for api::Error {
    fn from(error: LedgerError) -> Self {
        let kind = match &error {
            LedgerError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                api::Kind::NoSpace
            }
            LedgerError::Io { .. } | LedgerError::Engine { .. } => api::Kind::Internal,
            LedgerError::Damaged { .. } | LedgerError::Missing => api::Kind::Integrity,
            LedgerError::NewerFormat { .. } => api::Kind::NotSupported,
            LedgerError::Poisoned => api::Kind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}
