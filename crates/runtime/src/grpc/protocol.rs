//! The number of the wire's protocol, which both ends tell with every call:
//! programs that do not understand each other say so in one sentence, with
//! both numbers and the side to upgrade, instead of failing somewhere later.
//!
//! A caller tells it in the user agent, a server in a metadata entry of each
//! response. Programs of builds before there was a number tell none.

use std::convert::Infallible;
use std::task::{Context, Poll};

use dfs_core::api::{Error, Kind, Result};
use futures_util::FutureExt;
use futures_util::future::{Either, Map, Ready, ready};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;

use super::error::to_status;

/// Rises with each change after which programs do not understand each other.
pub(crate) const PROTOCOL: u32 = 2;
/// This program's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The metadata entry in which a server tells its protocol and its version.
const KEY: &str = "dfs-protocol";
/// The most bytes of a version that are shown.
const VERSION_BYTES_MAX: usize = 32;

/// One program's side of the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    /// `None` where it told none.
    protocol: Option<u32>,
    version: String,
}

/// What a caller tells: `dfs-sim/0.1.0 protocol/2`.
pub(crate) fn user_agent() -> String {
    format!("dfs-sim/{VERSION} protocol/{PROTOCOL}")
}

/// Checks what a server told with its response.
///
/// # Errors
/// `NotSupported` when it speaks another protocol.
pub(crate) fn check_answer(metadata: &MetadataMap, peer: &str) -> Result<()> {
    let text = metadata.get(KEY).and_then(|value| value.to_str().ok());
    let told = text.map_or_else(Told::nothing, Told::parse);
    if told.protocol == Some(PROTOCOL) { Ok(()) } else { Err(told.mismatch(peer, "this program")) }
}

impl Told {
    fn nothing() -> Self {
        Self { protocol: None, version: String::new() }
    }

    /// Reads `dfs-sim/VERSION protocol/NUMBER`, and whatever follows.
    fn parse(text: &str) -> Self {
        let mut words = text.split(' ');
        let version = words.next().and_then(|word| word.strip_prefix("dfs-sim/"));
        let number = words.next().and_then(|word| word.strip_prefix("protocol/"));
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-+".contains(c);
        let version: String = version.unwrap_or_default().chars().take(VERSION_BYTES_MAX).collect();
        Self {
            protocol: number.and_then(|number| number.parse().ok()),
            version: if version.chars().all(is_plain) { version } else { String::new() },
        }
    }

    /// The one sentence. `them` told this, and it is not what `us` speaks.
    fn mismatch(&self, them: &str, us: &str) -> Error {
        let (theirs, older) = match self.protocol {
            None => ("no numbered wire protocol".to_owned(), them),
            Some(number) if number < PROTOCOL => (format!("wire protocol {number}"), them),
            Some(number) => (format!("wire protocol {number}"), us),
        };
        let version = if self.version.is_empty() { "of an unknown version" } else { &self.version };
        Error::new(
            Kind::NotSupported,
            format!(
                "{them} ({version}) speaks {theirs}, {us} ({VERSION}) speaks wire protocol \
                 {PROTOCOL}: upgrade {older}"
            ),
        )
    }
}

/// A service that serves only callers of its own protocol, and tells its own
/// in each response.
#[derive(Clone)]
pub(crate) struct Numbered<S> {
    service: S,
    /// As in `the coordinator`.
    name: &'static str,
}

impl<S> Numbered<S> {
    pub(crate) fn new(service: S, name: &'static str) -> Self {
        Self { service, name }
    }
}

type Called = std::result::Result<http::Response<Body>, Infallible>;
type Answer<F> = Map<F, fn(Called) -> Called>;

impl<S> Service<http::Request<Body>> for Numbered<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Either<Answer<S::Future>, Ready<Called>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let agent = request.headers().get(http::header::USER_AGENT);
        let agent = agent.and_then(|value| value.to_str().ok());
        let told = agent.map_or_else(Told::nothing, Told::parse);
        if told.protocol == Some(PROTOCOL) {
            let numbered: fn(Called) -> Called = |called| called.map(number);
            return Either::Left(self.service.call(request).map(numbered));
        }
        let refusal = to_status(&told.mismatch("the caller", self.name));
        Either::Right(ready(Ok(number(refusal.into_http()))))
    }
}

impl<S: NamedService> NamedService for Numbered<S> {
    const NAME: &'static str = S::NAME;
}

fn number(mut response: http::Response<Body>) -> http::Response<Body> {
    if let Ok(value) = http::HeaderValue::from_str(&user_agent()) {
        response.headers_mut().insert(KEY, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_names_both_protocols_and_the_side_to_upgrade() {
        let said = |text: &str| Told::parse(text).mismatch("the caller", "the node").message;
        assert_eq!(
            said("dfs-sim/0.0.9 protocol/1 tonic/0.14.9"),
            format!(
                "the caller (0.0.9) speaks wire protocol 1, the node ({VERSION}) speaks wire \
                 protocol {PROTOCOL}: upgrade the caller"
            )
        );
        assert!(said("dfs-sim/9.0.0 protocol/99").ends_with("upgrade the node"));
        let old = said("tonic/0.14.9");
        assert!(old.contains("no numbered wire protocol"), "{old}");
        assert!(old.ends_with("upgrade the caller"), "{old}");
        let hostile = said("dfs-sim/\u{1b}[2J protocol/-1");
        assert!(!hostile.contains('\u{1b}'), "{hostile:?}");
    }

    #[test]
    fn what_a_program_tells_is_read_back() {
        let told = Told::parse(&format!("{} tonic/0.14.9", user_agent()));
        assert_eq!(told, Told { protocol: Some(PROTOCOL), version: VERSION.to_owned() });
    }
}
