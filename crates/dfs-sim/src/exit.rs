//! How a command ends: the exit codes and the one error that leads to them.

use std::fmt;
use std::io;

use dfs_core::api::{self, Kind};
use dfs_core::client::ClientError;

/// The exit codes, as the help and the README list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// All went well.
    Ok = 0,
    /// Anything that no other code names.
    Other = 1,
    /// The command line or a name is wrong.
    Usage = 2,
    /// Not reached or not ready: worth another try.
    Unavailable = 3,
    /// The caller may not do this.
    NotAuthorised = 4,
    /// The name is not there.
    NotFound = 5,
    /// The name is taken.
    Exists = 6,
    /// This version does not know how.
    NotSupported = 7,
    /// Bytes failed a checksum, or cannot be recovered.
    Integrity = 8,
    /// Too few nodes, or too little space, for the policy.
    Insufficient = 9,
    /// Copies are missing.
    Degraded = 10,
    /// The next loss may lose data, or data is out of reach.
    AtRisk = 11,
    /// Ended by SIGINT.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

impl Code {
    /// A word for machines.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Other => "other",
            Self::Usage => "usage",
            Self::Unavailable => "unavailable",
            Self::NotAuthorised => "not_authorised",
            Self::NotFound => "not_found",
            Self::Exists => "exists",
            Self::NotSupported => "not_supported",
            Self::Integrity => "integrity",
            Self::Insufficient => "insufficient",
            Self::Degraded => "degraded",
            Self::AtRisk => "at_risk",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
        }
    }
}

impl From<Kind> for Code {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Unavailable
            | Kind::StaleEpoch
            | Kind::UnknownUpload
            | Kind::NotKnown
            | Kind::Forgotten
            | Kind::Superseded => Self::Unavailable,
            Kind::Invalid => Self::Usage,
            Kind::NotAuthorised => Self::NotAuthorised,
            Kind::NotFound => Self::NotFound,
            Kind::Exists => Self::Exists,
            Kind::NotSupported => Self::NotSupported,
            Kind::Integrity => Self::Integrity,
            Kind::Insufficient | Kind::NoSpace => Self::Insufficient,
            Kind::WrongIdentity | Kind::Internal => Self::Other,
        }
    }
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What the process ends with.
    pub(crate) code: Code,
    /// The rule, what was found, and the nearest fix. Empty when the reason
    /// has been told already.
    pub(crate) message: String,
    /// Lines that follow the message: what another program said.
    pub(crate) lines: Vec<String>,
    /// Whether the answer on standard output has told of it.
    pub(crate) is_answered: bool,
    /// True when the change may have been made all the same.
    pub(crate) is_not_known: bool,
}

/// What a command returns: the code to end with, or why it failed.
pub(crate) type Outcome = Result<Code, Failure>;

impl Failure {
    /// A failure that says `message`.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        let (message, lines) = (message.into(), Vec::new());
        Self { code, message, lines, is_answered: false, is_not_known: false }
    }

    /// Adds the lines of `text` behind the message.
    #[must_use]
    pub(crate) fn followed_by(mut self, text: &str) -> Self {
        self.lines.extend(text.lines().map(str::to_owned));
        self
    }

    /// A failure that says `about: ` and the first line of `text`, followed by
    /// its other lines.
    pub(crate) fn quoting(code: Code, about: &str, text: &str) -> Self {
        let (first, more) = text.split_once('\n').unwrap_or((text, ""));
        Self::new(code, format!("{about}: {first}")).followed_by(more)
    }

    /// All that it says, for machines.
    pub(crate) fn whole(&self) -> String {
        let lines = self.lines.iter().map(String::as_str);
        std::iter::once(&*self.message).chain(lines).collect::<Vec<_>>().join("\n")
    }

    /// What has been told in the answer already.
    pub(crate) fn answered(code: Code) -> Self {
        Self { is_answered: true, ..Self::new(code, "") }
    }

    /// The command line is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    /// A local file or folder could not be used.
    pub(crate) fn local(doing: &str, path: &std::path::Path, error: &io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::NotFound => Code::NotFound,
            io::ErrorKind::AlreadyExists => Code::Exists,
            _ => Code::Other,
        };
        Self::new(code, format!("cannot {doing} {}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<api::Error> for Failure {
    fn from(error: api::Error) -> Self {
        let is_not_known = matches!(error.kind, Kind::NotKnown | Kind::Forgotten);
        Self { is_not_known, ..Self::new(error.kind.into(), error.message) }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        api::Error::new(error.kind, error.message).into()
    }
}

/// Standard output went away or is full. A reader that has seen enough, as
/// `head` does, is no failure.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Code::Ok, "");
        }
        Self::new(Code::Other, format!("cannot write the answer: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_error_has_the_code_that_the_contract_names() {
        for (kind, code) in [
            (Kind::Unavailable, 3),
            (Kind::Invalid, 2),
            (Kind::NotAuthorised, 4),
            (Kind::NotFound, 5),
            (Kind::Exists, 6),
            (Kind::NotSupported, 7),
            (Kind::Integrity, 8),
            (Kind::Insufficient, 9),
            (Kind::NoSpace, 9),
            (Kind::StaleEpoch, 3),
            (Kind::WrongIdentity, 1),
            (Kind::UnknownUpload, 3),
            (Kind::Internal, 1),
            (Kind::NotKnown, 3),
            (Kind::Forgotten, 3),
            (Kind::Superseded, 3),
        ] {
            assert_eq!(Code::from(kind) as u8, code, "{kind:?}");
        }
    }

    #[test]
    fn a_change_that_may_have_been_made_is_told_apart_in_json() {
        for (kind, outcome) in [(Kind::NotKnown, Some("not_known")), (Kind::Unavailable, None)] {
            let failure = Failure::from(api::Error::new(kind, "no answer"));
            let told = crate::output::json::failure(&failure);
            assert_eq!(told["error"]["outcome"].as_str(), outcome, "{kind:?}");
            assert_eq!(told["error"]["exit_code"], 3, "{kind:?}");
        }
    }

    #[test]
    fn a_reader_that_has_seen_enough_is_no_failure() {
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(Failure::from(closed).code, Code::Ok);
    }
}
