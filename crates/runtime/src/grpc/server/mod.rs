//! Servers: a role behind a listening socket.

mod call;
mod connection;
mod coordinator;
mod node;
mod share;
mod short;

use std::future::Future;
use std::io;
use std::sync::Arc;

use dfs_core::api::{CoordinatorService, NodeService};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::timeout;
use tonic::transport::Server;
use tonic::transport::server::Router;

use super::body::WithBodies;
use super::limit::{
    CALLS_MAX, CONNECTION_WINDOW_BYTES, CONNECTIONS_MAX, COORDINATOR_MESSAGE_BYTES_MAX,
    HEADER_LIST_BYTES_MAX, HTTP2_FRAME_BYTES_MAX, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT,
    NODE_MESSAGE_BYTES_MAX, SHUTDOWN_GRACE, STREAM_WINDOW_BYTES, STREAMS_PER_CONNECTION_MAX,
};
use super::protocol::Numbered;
use super::wire::coordinator_server::CoordinatorServer;
use super::wire::node_server::NodeServer;
use super::wire::short_server::ShortServer;
use call::Calls;
use share::{Peered, Shares};

/// Serves `service` to whoever connects to `listener`, until `shutdown`.
/// Calls under way then get a few seconds to end.
///
/// # Errors
/// When the transport gives up; not for what a single peer does.
pub async fn serve_node(
    listener: TcpListener,
    service: Arc<dyn NodeService>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    serve_node_in(Places::default(), listener, service, shutdown).await
}

/// [`serve_node`] in places that the caller can count.
pub(super) async fn serve_node_in(
    places: Places,
    listener: TcpListener,
    service: Arc<dyn NodeService>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let calls = Calls::new(places.calls.clone());
    let short = short::Adapter::new(node::short(service.clone()), calls.clone());
    let short = ShortServer::new(short).max_decoding_message_size(NODE_MESSAGE_BYTES_MAX);
    let server = NodeServer::new(node::Adapter::new(service, calls.clone()))
        .max_decoding_message_size(NODE_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(NODE_MESSAGE_BYTES_MAX);
    let router = builder()
        .add_service(Peered(Numbered::new(WithBodies(server), "the node")))
        .add_service(Peered(Numbered::new(short, "the node")));
    serve(router, listener, places, calls, shutdown).await
}

/// Serves `service` to whoever connects to `listener`, until `shutdown`.
/// Calls under way then get a few seconds to end.
///
/// # Errors
/// When the transport gives up; not for what a single peer does.
pub async fn serve_coordinator(
    listener: TcpListener,
    service: Arc<dyn CoordinatorService>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let places = Places::default();
    let calls = Calls::new(places.calls.clone());
    let short = short::Adapter::new(coordinator::short(service.clone()), calls.clone());
    let short = ShortServer::new(short).max_decoding_message_size(COORDINATOR_MESSAGE_BYTES_MAX);
    let server = CoordinatorServer::new(coordinator::Adapter::new(service, calls.clone()))
        .max_decoding_message_size(COORDINATOR_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(COORDINATOR_MESSAGE_BYTES_MAX);
    let router = builder()
        .add_service(Peered(Numbered::new(server, "the coordinator")))
        .add_service(Peered(Numbered::new(short, "the coordinator")));
    serve(router, listener, places, calls, shutdown).await
}

/// The places of one server, each taken by a connection or by a call.
#[derive(Clone)]
pub(super) struct Places {
    pub(super) connections: Arc<Semaphore>,
    pub(super) calls: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
        }
    }
}

fn builder() -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(HTTP2_FRAME_BYTES_MAX)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
}

async fn serve(
    router: Router,
    listener: TcpListener,
    places: Places,
    calls: Calls,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    // Whatever ends this future, also being dropped, ends the connections.
    let (cut, cut_heard) = watch::channel(());
    let (stop, stop_heard) = oneshot::channel::<()>();
    let incoming = connection::incoming(listener, Shares::of(places.connections), cut_heard);
    let serving = router.serve_with_incoming_shutdown(incoming, async {
        // A dropped sender means stop as well.
        let _ = stop_heard.await;
    });
    tokio::pin!(serving);

    let ended = tokio::select! {
        biased;
        ended = &mut serving => Some(ended),
        () = shutdown => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            drop(stop);
            calls.stop();
            match timeout(SHUTDOWN_GRACE, &mut serving).await {
                Ok(ended) => ended,
                Err(_) => {
                    drop(cut);
                    serving.await
                }
            }
        }
    };
    calls.abort_all();
    ended.map_err(io::Error::other)
}
