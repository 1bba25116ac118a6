//! One peer: its connection, its name in error texts, and how a call to it
//! becomes an answer of the core.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dfs_core::api::{Error, Kind, Result};
use dfs_core::data::frame::STORED_MAX;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

use super::short::ShortWay;
use crate::grpc::convert::{BadMessage, Checked, address};
use crate::grpc::error::from_status;
use crate::grpc::limit::{
    CONNECT_TIMEOUT, CONNECTION_WINDOW_BYTES, HEADER_LIST_BYTES_MAX, HTTP2_FRAME_BYTES_MAX,
    KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, STREAM_WINDOW_BYTES,
};
use crate::grpc::protocol::{check_answer, user_agent};
use crate::grpc::wire::short_answer::Reply;
use crate::grpc::wire::short_call::Ask;

/// A connection that is made when it is needed; `None` where the address is
/// none.
#[derive(Clone)]
pub(super) struct Line(Option<Reached>);

#[derive(Clone)]
struct Reached {
    channel: Channel,
    short: Arc<ShortWay>,
}

impl Line {
    /// Must be called inside a runtime.
    pub(super) fn to(text: &str) -> Self {
        let checked = address("address", text.to_owned()).ok();
        let endpoint = checked.and_then(|it| Endpoint::from_shared(format!("http://{it}")).ok());
        let endpoint = endpoint.and_then(|it| it.user_agent(user_agent()).ok());
        Self(endpoint.map(|endpoint| {
            let channel = endpoint
                .connect_timeout(CONNECT_TIMEOUT)
                .tcp_nodelay(true)
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .max_frame_size(HTTP2_FRAME_BYTES_MAX)
                .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
                .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
                .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
                .keep_alive_while_idle(true)
                .connect_lazy();
            Reached { channel: channel.clone(), short: Arc::new(ShortWay::over(channel)) }
        }))
    }
}

/// Who is called.
#[derive(Clone)]
pub(super) struct Peer {
    line: Line,
    /// As in `the node at 127.0.0.1:4001`.
    name: String,
}

impl Peer {
    pub(super) fn new(line: Line, role: &str, address: &str) -> Self {
        Self { line, name: format!("the {role} at {address}") }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The connection.
    pub(super) fn channel(&self) -> Result<Channel> {
        self.reached().map(|reached| reached.channel.clone())
    }

    fn reached(&self) -> Result<&Reached> {
        self.line.0.as_ref().ok_or_else(|| {
            Error::new(Kind::Invalid, format!("cannot reach {}: give host:port", self.name))
        })
    }

    /// Makes a short call, in whose reply `of` finds what it is to be.
    pub(super) async fn ask<W>(
        &self,
        deadline: Duration,
        ask: Ask,
        of: impl FnOnce(Reply) -> Option<W>,
    ) -> Result<W> {
        let reply = self.reached()?.short.ask(self, deadline, ask).await?;
        of(reply).ok_or_else(|| self.nonsense("it is the answer of another call"))
    }

    /// Waits for an answer and takes it.
    pub(super) async fn answer<W, T>(
        &self,
        deadline: Duration,
        call: impl Future<Output = std::result::Result<Response<W>, Status>>,
        take: impl FnOnce(W) -> Checked<T>,
    ) -> Result<T> {
        let answer = timeout(deadline, call).await.map_err(|_| self.silent(deadline))?;
        let answer = answer.map_err(|status| from_status(&status, &self.name))?;
        check_answer(answer.metadata(), &self.name)?;
        self.take(take(answer.into_inner()))
    }

    /// What was taken off the wire, or why it cannot be.
    pub(super) fn take<T>(&self, checked: Checked<T>) -> Result<T> {
        checked.map_err(|bad: BadMessage| self.nonsense(&bad.to_string()))
    }

    /// The peer's answer breaks the contract of the wire.
    pub(super) fn nonsense(&self, rule: &str) -> Error {
        Error::new(
            Kind::Internal,
            format!("{} answered what is not well-formed: {rule}", self.name),
        )
    }

    /// A frame that came from the peer, if it can be one.
    pub(super) fn check_frame(&self, frame: Bytes) -> Result<Bytes> {
        if frame.len() > STORED_MAX {
            let rule = format!("a frame has {} bytes, at most {STORED_MAX}", frame.len());
            return Err(self.nonsense(&rule));
        }
        Ok(frame)
    }

    /// The peer said nothing for too long.
    pub(super) fn silent(&self, waited: Duration) -> Error {
        let text = format!("{} did not answer within {} s", self.name, waited.as_secs());
        Error::new(Kind::Unavailable, text)
    }
}
