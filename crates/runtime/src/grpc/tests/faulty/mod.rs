//! The wire under faults of the network: a road between a real client and a
//! real server that stands still, breaks, loses bytes or changes them.
//!
//! Where a peer's silence is waited for, time is paused once the road stands
//! still: then nothing moves but timers. Everything else runs in real time
//! and is as fast as loopback is.

mod broken;
mod changed;
mod flood;
mod limits;
mod link;
mod silent_client;
mod silent_server;
mod slow;
mod watched;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use dfs_core::api::{Error, Kind, NodeService, ReadRequest};
use dfs_core::data::chunk::SealBuilder;
use dfs_core::data::frame::{self, Place};
use dfs_core::env::Peers;
use dfs_core::id::Handle;
use dfs_simulation::rng::Rng;
use dfs_simulation::sample::{self, SampleChunk};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, pause, resume, sleep};

use super::{context, soon};
use crate::grpc::client::GrpcPeers;
use crate::grpc::limit::{CALLS_MAX, CONNECTIONS_MAX, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT};
use crate::grpc::server::{Places, serve_node_in};
use link::{Gate, Link, OPEN, STOPPED};
use watched::Watched;

const HANDLE: Handle = Handle(7);

/// The ways of a road to fall silent while its connections stand: what goes
/// to the server, what goes to the client.
const SILENCES: [[Gate; 2]; 6] = [
    [STOPPED, STOPPED],
    [STOPPED, OPEN],
    [OPEN, STOPPED],
    [Gate::Lose, Gate::Lose],
    [Gate::Lose, OPEN],
    [OPEN, Gate::Lose],
];

/// Keep-alive gives a silent connection up within this.
const SILENCE_MAX: Duration =
    KEEP_ALIVE_INTERVAL.saturating_add(KEEP_ALIVE_TIMEOUT).saturating_add(Duration::from_secs(1));

/// What the system may hold of the server's connections.
const SERVER_BUFFER_BYTES: u32 = 128 << 10;

/// A server whose service is watched, and a road to it.
struct Faulty {
    service: Arc<Watched>,
    places: Places,
    server: String,
    link: Link,
    peers: GrpcPeers,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<io::Result<()>>,
}

impl Faulty {
    async fn start(service: Watched) -> Self {
        Self::start_in(Places::default(), service).await
    }

    async fn start_in(places: Places, service: Watched) -> Self {
        let service = Arc::new(service);
        let listener = link::listen(SERVER_BUFFER_BYTES);
        let server = listener.local_addr().expect("a bound port").to_string();
        let (stop, stopped) = oneshot::channel();
        let until = async { drop(stopped.await) };
        let serving = tokio::spawn(serve_node_in(places.clone(), listener, service.clone(), until));
        let link = Link::to(&server).await;
        Self { service, places, server, link, peers: peers(), stop, serving }
    }

    /// The server at the other end of the road.
    fn node(&self) -> Arc<dyn NodeService> {
        self.peers.node(&self.link.address)
    }

    /// From now on the road is silent, and nothing but time moves.
    fn fall_silent(&self, silence: [Gate; 2]) -> Instant {
        self.link.set(silence);
        pause();
        Instant::now()
    }

    /// Mends the road: the handle that met the silence reaches the server.
    async fn assert_reached_again(&self) {
        resume();
        self.link.set([OPEN, OPEN]);
        soon(greet(&*self.node())).await.expect("it is reached again");
        self.link.until_standing(1).await;
    }

    /// Waits until no connection stands and no call is under way.
    async fn until_left_alone(&self) {
        for (places, all) in
            [(&self.places.connections, CONNECTIONS_MAX), (&self.places.calls, CALLS_MAX)]
        {
            let all = u32::try_from(all).expect("a small number");
            drop(soon(places.acquire_many(all)).await.expect("they are never closed"));
            // A call of a connection that has just ended may still begin.
            settle().await;
        }
    }
}

/// The error is one of a peer that cannot be reached, and names it.
fn assert_lost(error: &Error, address: &str) {
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
    assert!(error.message.contains(address), "{error}");
}

fn peers() -> GrpcPeers {
    GrpcPeers::new(tokio::runtime::Handle::current())
}

/// A call that is answered at once.
async fn greet(node: &dyn NodeService) -> dfs_core::api::Result<()> {
    node.delete_chunks(context(), Vec::new()).await
}

fn whole() -> ReadRequest {
    ReadRequest { cluster: context().cluster, handle: HANDLE, frames: 0..u32::MAX }
}

/// A chunk of three short frames, so that faults can strike at every byte.
fn short_chunk() -> SampleChunk {
    let mut rng = Rng::new(15);
    let mut chunk = sample::chunk(context().cluster, HANDLE.0, Vec::new());
    let mut seal = SealBuilder::default();
    for (index, length) in (0..).zip([40, 50, 60]) {
        let raw = rng.bytes(length);
        let mut stored = Vec::new();
        frame::seal(Place { handle: HANDLE, index }, &raw, chunk.header.compression, &mut stored);
        seal.add(&raw, stored.len());
        chunk.frames.push(stored.into());
    }
    SampleChunk { seal: seal.finish(), ..chunk }
}

/// Lets everything run that can: paused time moves on when nothing else does.
async fn settle() {
    pause();
    sleep(Duration::from_millis(1)).await;
    resume();
}

/// Waits in paused time until `is_so`, and fails the test after `limit`.
async fn within(limit: Duration, what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() <= limit, "not within {limit:?}: {what}");
        sleep(Duration::from_millis(100)).await;
    }
}
