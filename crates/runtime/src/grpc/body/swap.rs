//! The way past tonic: it gets an empty body where ours goes or comes in.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::Map;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::transport::Channel;

/// The request whose body is for us.
const WRITE_CHUNK: &str = "/dfs.v1.Node/WriteChunk";

/// In the extensions of a request or a response: a body that tonic does not
/// see. Extensions want to be cloned; whoever comes first has it.
#[derive(Clone)]
pub(crate) struct Passed(Arc<Mutex<Option<Body>>>);

impl Passed {
    pub(crate) fn by(body: Body) -> Self {
        Self(Arc::new(Mutex::new(Some(body))))
    }

    /// The body; an empty one where nothing was passed by.
    pub(crate) fn take(passed: Option<Self>) -> Body {
        let body = passed.and_then(|it| it.0.lock().unwrap_or_else(PoisonError::into_inner).take());
        body.unwrap_or_default()
    }
}

/// A connection that sends this body with its next request, or passes the
/// response's by.
pub(crate) struct Bypass {
    channel: Channel,
    body: Option<Body>,
}

impl Bypass {
    /// The next request is sent with `body`.
    pub(crate) fn send(channel: Channel, body: Body) -> Self {
        Self { channel, body: Some(body) }
    }

    /// The next response has its body [`Passed`] by.
    pub(crate) fn receive(channel: Channel) -> Self {
        Self { channel, body: None }
    }
}

type Called<E> = Result<http::Response<Body>, E>;
type Then<F, E> = Map<F, fn(Called<E>) -> Called<E>>;

impl Service<http::Request<Body>> for Bypass {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Then<<Channel as Service<http::Request<Body>>>::Future, Self::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match self.body.take() {
            Some(body) => self.channel.call(request.map(|_empty| body)).map(|answer| answer),
            None => self.channel.call(request).map(|answer| answer.map(pass_by)),
        }
    }
}

fn pass_by(response: http::Response<Body>) -> http::Response<Body> {
    let (mut parts, body) = response.into_parts();
    parts.extensions.insert(Passed::by(body));
    http::Response::from_parts(parts, Body::empty())
}

/// The node's service: what is written to it comes [`Passed`] by, and its
/// responses may have a body that is.
#[derive(Clone)]
pub(crate) struct WithBodies<S>(pub(crate) S);

impl<S> Service<http::Request<Body>> for WithBodies<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Then<S::Future, Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let (mut parts, mut body) = request.into_parts();
        if parts.uri.path() == WRITE_CHUNK {
            parts.extensions.insert(Passed::by(std::mem::take(&mut body)));
        }
        self.0.call(http::Request::from_parts(parts, body)).map(|answer| {
            answer.map(|mut response| match response.extensions_mut().remove::<Passed>() {
                Some(passed) => response.map(|_empty| Passed::take(Some(passed))),
                None => response,
            })
        })
    }
}

impl<S: NamedService> NamedService for WithBodies<S> {
    const NAME: &'static str = S::NAME;
}
