//! What the wire does with what no honest peer would send, and with peers
//! that fall silent, stop, or are not what they seem.

mod convert;
mod faulty;
mod hostile;
mod lost;
mod short;

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use dfs_core::api::{
    Adopt, ChunkRead, Context, Error, Hello, InventoryPage, Kind, NodeInfo, NodeService,
    ReadRequest, RebuildTask, Receipt, Result, WriteHeader, WritePart, WriteStream,
};
use dfs_core::env::Peers;
use dfs_core::id::Handle;
use dfs_simulation::sample::{self, SampleChunk};
use futures_util::{StreamExt, future, stream};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::client::GrpcPeers;
use super::server::serve_node;

/// What a [`Scripted`] node does when it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    /// Takes every chunk and hands out one of three frames for any handle.
    Serve,
    /// Refuses a chunk before it has read any of it.
    RefuseWrites,
    /// Hands out frames without end to whoever takes them.
    ReadForEver,
    /// Never answers.
    Hang,
    /// Has a bug.
    Panic,
}

/// A service without a role: the transport is what is tested.
struct Scripted {
    script: Script,
    /// How each write ended.
    writes: Mutex<Vec<Result<()>>>,
}

impl Scripted {
    fn new(script: Script) -> Arc<Self> {
        Arc::new(Self { script, writes: Mutex::default() })
    }

    fn writes(&self) -> Vec<Result<()>> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn take(&self, mut parts: WriteStream) -> Result<()> {
        while let Some(part) = parts.next().await {
            if matches!(part?, WritePart::Seal(_)) {
                return Ok(());
            }
        }
        Err(Error::new(Kind::Invalid, "the stream ended without a seal"))
    }
}

#[async_trait]
impl NodeService for Scripted {
    async fn hello(&self) -> Result<Hello> {
        unreachable!("this test says no hello")
    }

    async fn release(&self, _: Context) -> Result<()> {
        unreachable!("this test releases no node")
    }

    async fn adopt(&self, _: Adopt) -> Result<NodeInfo> {
        Err(Error::new(Kind::NotSupported, "not in this script"))
    }

    async fn write_chunk(&self, _: WriteHeader, parts: WriteStream) -> Result<()> {
        match self.script {
            Script::Hang => future::pending().await,
            Script::Panic => panic!("the bug of this script"),
            Script::RefuseWrites => Err(Error::new(Kind::StaleEpoch, "epoch 4 is over")),
            Script::Serve | Script::ReadForEver => {
                let result = self.take(parts).await;
                self.writes.lock().unwrap_or_else(PoisonError::into_inner).push(result.clone());
                result
            }
        }
    }

    async fn read_chunk(&self, _: ReadRequest) -> Result<ChunkRead> {
        let SampleChunk { header, mut seal, frames, .. } = three_frames();
        let frames = match self.script {
            Script::ReadForEver => {
                seal.frames = 64;
                let frame = frames[0].clone();
                stream::repeat_with(move || Ok(frame.clone())).boxed()
            }
            Script::Panic => {
                let good = stream::iter(frames.into_iter().take(1).map(Ok));
                good.chain(stream::poll_fn(|_| panic!("the bug of this script"))).boxed()
            }
            _ => stream::iter(frames.into_iter().map(Ok)).boxed(),
        };
        Ok(ChunkRead { header, seal, frames })
    }

    async fn delete_chunks(&self, _: Context, _: Vec<Handle>) -> Result<()> {
        Ok(())
    }

    async fn rebuild_chunk(&self, _: Context, _: RebuildTask) -> Result<Receipt> {
        Err(Error::new(Kind::NotSupported, "not in this script"))
    }

    async fn inventory(&self, _: Context, _: Option<Handle>) -> Result<InventoryPage> {
        match self.script {
            Script::Hang => future::pending().await,
            Script::Panic => panic!("the bug of this script"),
            _ => Ok(InventoryPage { version: 1, chunks: Vec::new(), is_last: true }),
        }
    }

    async fn verify_chunk(&self, _: Context, _: Handle) -> Result<Receipt> {
        Err(Error::new(Kind::NotSupported, "not in this script"))
    }
}

/// A server with a scripted node, and the way to it.
struct Served {
    service: Arc<Scripted>,
    address: String,
    peers: GrpcPeers,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<io::Result<()>>,
}

impl Served {
    async fn start(script: Script) -> Self {
        let (listener, address) = listen().await;
        let service = Scripted::new(script);
        let (stop, stopped) = oneshot::channel();
        let serving = serve_node(listener, service.clone(), async { drop(stopped.await) });
        let serving = tokio::spawn(serving);
        let peers = GrpcPeers::new(tokio::runtime::Handle::current());
        Self { service, address, peers, stop, serving }
    }

    fn node(&self) -> Arc<dyn NodeService> {
        self.peers.node(&self.address)
    }

    /// Another caller is served as if nothing had happened.
    async fn assert_well(&self) {
        let peers = GrpcPeers::new(tokio::runtime::Handle::current());
        let node = peers.node(&self.address);
        let page = node.inventory(context(), None).await.expect("others are served");
        assert!(page.is_last);
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound port").to_string();
    (listener, address)
}

fn context() -> Context {
    sample::context(1, 5)
}

fn three_frames() -> SampleChunk {
    let bytes = dfs_simulation::rng::Rng::new(3).bytes(2_500_000);
    sample::chunk(context().cluster, 7, bytes)
}

/// Fails the test when `work` hangs for good.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    let patience = std::time::Duration::from_secs(60);
    tokio::time::timeout(patience, work).await.expect("it does not hang")
}
