//! Accepted connections: bounded in number, closed when they never begin,
//! when their peer takes nothing more, or when the server ends.
//!
//! HTTP/2 alone does not close them then: it waits until its last words are
//! written, and while it cannot write it does not read either. So each write
//! looks whether it shall go on, as each read does.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use futures_util::stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};
use tonic::transport::server::Connected;

use super::share::{NoPlace, Remote, Shares, Taken};
use crate::grpc::limit::{ACCEPT_PAUSE, CONNECTIONS_MAX, FIRST_BYTES_TIMEOUT, UNWRITTEN_TIMEOUT};

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;

/// The connections that come to `listener`, each in one of `slots`. They end
/// when the sender of `cut` is dropped.
pub(super) fn incoming(
    listener: TcpListener,
    slots: Shares,
    cut: watch::Receiver<()>,
) -> impl Stream<Item = io::Result<Connection>> {
    stream::unfold((listener, slots, cut), |(listener, slots, cut)| async {
        loop {
            let (socket, remote) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Closed at once: its caller knows sooner than by waiting.
            let slot = match slots.take(Some(remote.ip().to_canonical())) {
                Ok(slot) => slot,
                Err(why) => {
                    tracing::warn!("{}; one more was closed", refusal(why, remote));
                    continue;
                }
            };
            let connection = Connection::new(socket, remote, slot, cut.clone());
            return Some((connection, (listener, slots, cut)));
        }
    })
}

fn refusal(why: NoPlace, remote: SocketAddr) -> String {
    match why {
        NoPlace::Full => format!("{CONNECTIONS_MAX} connections are open, the most: try again"),
        NoPlace::Share(held) => format!(
            "{held} connections from {} are open, its share of {CONNECTIONS_MAX}: close some",
            remote.ip()
        ),
    }
}

/// One accepted connection.
pub(super) struct Connection {
    socket: TcpStream,
    /// Until the preface is there: bytes seen and time left.
    opening: Option<(usize, Pin<Box<Sleep>>)>,
    /// While the peer's system takes nothing: time left.
    unwritten: Option<Pin<Box<Sleep>>>,
    /// Ready when the server ends.
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_cut: bool,
    remote: SocketAddr,
    _slot: Taken,
}

impl Connection {
    fn new(
        socket: TcpStream,
        remote: SocketAddr,
        slot: Taken,
        mut cut: watch::Receiver<()>,
    ) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        let opening = Some((0, Box::pin(sleep(FIRST_BYTES_TIMEOUT))));
        let cut = Box::pin(async move { while cut.changed().await.is_ok() {} });
        Ok(Self { socket, opening, unwritten: None, cut, is_cut: false, remote, _slot: slot })
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.is_cut || self.cut.as_mut().poll(cx).is_ready() {
            self.is_cut = true;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if let Some((_, time)) = &mut self.opening
            && time.as_mut().poll(cx).is_ready()
        {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }

    /// The outcome of a write, or that it has waited for too long.
    fn poll_written(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.unwritten = None;
            return written;
        }
        let time = self.unwritten.get_or_insert_with(|| Box::pin(sleep(UNWRITTEN_TIMEOUT)));
        ready!(time.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_end(cx)?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        if let Some((seen, _)) = &mut self.opening {
            *seen += buffer.filled().len() - before;
            if *seen >= PREFACE_BYTES {
                self.opening = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_end(cx)?;
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.poll_written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_end(cx)?;
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, parts);
        self.poll_written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Connected for Connection {
    type ConnectInfo = Remote;

    fn connect_info(&self) -> Remote {
        Remote(self.remote)
    }
}
