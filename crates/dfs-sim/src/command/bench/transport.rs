//! What sending costs: the store's own gRPC between a client and a node that
//! neither checks nor keeps anything, and bare TCP beside it.

use std::io::{self, Read, Write};
use std::net::{TcpListener as StdListener, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::thread;

use async_trait::async_trait;
use bytes::Bytes;
use dfs_core::api::{
    Adopt, ChunkRead, Context, Error, Hello, InventoryPage, Kind, NodeInfo, NodeService,
    ReadRequest, RebuildTask, Receipt, Result, WriteHeader, WritePart, WriteStream,
};
use dfs_core::data::chunk::{ChunkHeader, ChunkSeal, SealBuilder};
use dfs_core::data::frame::{self, FRAME_SIZE, Place};
use dfs_core::env::Peers;
use dfs_core::id::{ClusterId, FileId, Handle, Run};
use dfs_core::name::FileName;
use dfs_core::policy::{Code, Coding, Compression, StripeShape};
use dfs_runtime::grpc::{self, GrpcPeers};
use futures_util::future::try_join_all;
use futures_util::{StreamExt, stream};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::budget::Data;
use super::limits::Cost;
use super::material;
use super::meter::Meter;
use super::result::Limit;

/// Frames of a chunk, as by default.
const FRAMES: u32 = 64;
/// Chunks sent and received, and how many at once.
const CHUNKS: usize = 12;
const CHUNKS_AT_ONCE: usize = 4;
/// Bytes of one write to bare TCP: those of one gRPC message.
const TCP_WRITE_BYTES: usize = FRAME_SIZE;
/// What is sent lies in so many buffers, as it does in a client: one alone
/// would be sent from the cache again and again.
const BUFFERS: usize = 64;

const HANDLE: Handle = Handle(7);
const CLUSTER: ClusterId = ClusterId([7; 16]);

/// Measures both ways.
pub(super) async fn measure() -> io::Result<Vec<Limit>> {
    let chunk = Arc::new(Chunk::make());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let service = Arc::new(Null(chunk.clone()));
    let serving = tokio::spawn(async move {
        grpc::serve_node(listener, service, async { drop(stopped.await) }).await
    });
    let peers = GrpcPeers::new(tokio::runtime::Handle::current());
    let node = peers.node(&address);
    // The connection is made, and the buffers.
    send(&*node, &chunk).await.map_err(io::Error::other)?;
    let sent = measured(|| send(&*node, &chunk)).await?;
    let received = measured(|| receive(&*node)).await?;
    drop(stop);
    serving.abort();
    let tcp = tokio::task::spawn_blocking(bare_tcp).await.map_err(io::Error::other)??;
    Ok(vec![
        sent.limit("send", "sending chunks over gRPC, both ends"),
        received.limit("receive", "receiving chunks over gRPC, both ends"),
        tcp.limit("tcp", "bare TCP, both ends"),
    ])
}

async fn measured<F: Future<Output = Result<()>>>(work: impl Fn() -> F) -> io::Result<Cost> {
    let meter = Meter::of_this_process();
    let (running, start) = (meter.begin(), Instant::now());
    for _ in 0..CHUNKS / CHUNKS_AT_ONCE {
        try_join_all((0..CHUNKS_AT_ONCE).map(|_| work())).await.map_err(io::Error::other)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let gb = (CHUNKS * FRAMES as usize * FRAME_SIZE) as f64 / 1e9;
    let cpu = running.end().client_cpu_seconds.unwrap_or(0.0);
    Ok(Cost { cpu_seconds_per_gb: cpu / gb, gb_per_second: gb / seconds })
}

async fn send(node: &dyn NodeService, chunk: &Arc<Chunk>) -> Result<()> {
    let frames = chunk.frames(0..FRAMES).map(|frame| Ok(WritePart::Frame(frame)));
    let frames: Vec<_> = frames.chain([Ok(WritePart::Seal(chunk.seal))]).collect();
    let header = WriteHeader {
        context: Context { cluster: CLUSTER, run: Run::new(1, 1) },
        chunk: chunk.header.clone(),
    };
    node.write_chunk(header, stream::iter(frames).boxed()).await
}

async fn receive(node: &dyn NodeService) -> Result<()> {
    let request = ReadRequest { cluster: CLUSTER, handle: HANDLE, frames: 0..FRAMES };
    let mut frames = node.read_chunk(request).await?.frames;
    while let Some(frame) = frames.next().await {
        frame?;
    }
    Ok(())
}

/// A chunk whose frames are alike, each in a buffer of its own.
struct Chunk {
    header: ChunkHeader,
    seal: ChunkSeal,
    buffers: Vec<Bytes>,
}

impl Chunk {
    fn make() -> Self {
        let raw = material::bytes(Data::Random, 1, FRAME_SIZE);
        let mut stored = Vec::new();
        frame::seal(Place { handle: HANDLE, index: 0 }, &raw, Compression::None, &mut stored);
        let mut seal = SealBuilder::default();
        (0..FRAMES).for_each(|_| seal.add(&raw, stored.len()));
        let coding = Coding { code: Code::None, data: 1, parity: 0 };
        let header = ChunkHeader {
            cluster: CLUSTER,
            handle: HANDLE,
            file: FileId(6),
            name: FileName::new("bench").expect("it keeps the rules"),
            file_size: None,
            created_ms: 0,
            stripe: 0,
            shape: StripeShape { coding, data: 1 },
            position: 0,
            replication: 1,
            compression: Compression::None,
            chunk_size: FRAMES << 20,
            chunk_index: 0,
        };
        let buffers = (0..BUFFERS).map(|_| Bytes::copy_from_slice(&stored)).collect();
        Self { header, seal: seal.finish(), buffers }
    }

    fn frames(&self, range: Range<u32>) -> impl Iterator<Item = Bytes> + Send + 'static {
        let buffers = self.buffers.clone();
        range.map(move |index| buffers[index as usize % BUFFERS].clone())
    }
}

/// A node that takes everything and gives always the same.
struct Null(Arc<Chunk>);

#[async_trait]
impl NodeService for Null {
    async fn hello(&self) -> Result<Hello> {
        refuse()
    }

    async fn release(&self, _: Context) -> Result<()> {
        refuse()
    }

    async fn write_chunk(&self, _: WriteHeader, mut parts: WriteStream) -> Result<()> {
        while let Some(part) = parts.next().await {
            part?;
        }
        Ok(())
    }

    async fn read_chunk(&self, request: ReadRequest) -> Result<ChunkRead> {
        let frames = stream::iter(self.0.frames(request.frames)).map(Ok).boxed();
        Ok(ChunkRead { header: self.0.header.clone(), seal: self.0.seal, frames })
    }

    async fn adopt(&self, _: Adopt) -> Result<NodeInfo> {
        refuse()
    }

    async fn delete_chunks(&self, _: Context, _: Vec<Handle>) -> Result<()> {
        refuse()
    }

    async fn rebuild_chunk(&self, _: Context, _: RebuildTask) -> Result<Receipt> {
        refuse()
    }

    async fn inventory(&self, _: Context, _: Option<Handle>) -> Result<InventoryPage> {
        refuse()
    }

    async fn verify_chunk(&self, _: Context, _: Handle) -> Result<Receipt> {
        refuse()
    }
}

fn refuse<T>() -> Result<T> {
    Err(Error::new(Kind::NotSupported, "this node only takes and gives"))
}

/// One connection, as fast as the system copies.
fn bare_tcp() -> io::Result<Cost> {
    let listener = StdListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let total = CHUNKS * FRAMES as usize * FRAME_SIZE;
    let meter = Meter::of_this_process();
    let (running, start) = (meter.begin(), Instant::now());
    thread::scope(|scope| -> io::Result<()> {
        let sending = scope.spawn(move || -> io::Result<()> {
            let mut stream = TcpStream::connect(address)?;
            let buffers = vec![vec![7; TCP_WRITE_BYTES]; BUFFERS];
            let writes = buffers.iter().cycle().take(total / TCP_WRITE_BYTES);
            writes.into_iter().try_for_each(|bytes| stream.write_all(bytes))
        });
        let (mut stream, _) = listener.accept()?;
        let mut bytes = vec![0; TCP_WRITE_BYTES];
        while stream.read(&mut bytes)? > 0 {}
        sending.join().expect("it does not panic")
    })?;
    let (seconds, gb) = (start.elapsed().as_secs_f64(), total as f64 / 1e9);
    let cpu = running.end().client_cpu_seconds.unwrap_or(0.0);
    Ok(Cost { cpu_seconds_per_gb: cpu / gb, gb_per_second: gb / seconds })
}
