//! A node that tells how often it was called, what it was sent, and what it
//! still holds.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use dfs_core::api::{
    Adopt, ChunkRead, Context, Error, HeldChunk, Hello, InventoryPage, Kind, NodeInfo, NodeService,
    ReadRequest, RebuildTask, Receipt, Result, WriteHeader, WritePart, WriteStream,
};
use dfs_core::data::chunk::ChunkSeal;
use dfs_core::id::Handle;
use dfs_simulation::sample::SampleChunk;
use futures_util::{StreamExt, future, stream};
use tokio::sync::{Semaphore, watch};

use super::super::soon;

/// What came of one write.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) header: WriteHeader,
    pub(super) frames: Vec<Bytes>,
    pub(super) end: Result<ChunkSeal>,
}

/// A count that a test can wait for.
pub(super) struct Count(watch::Sender<usize>);

impl Count {
    fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    fn add_one(&self) {
        self.0.send_modify(|count| *count += 1);
    }

    pub(super) fn get(&self) -> usize {
        *self.0.borrow()
    }

    pub(super) async fn until(&self, count: usize) {
        let mut now = self.0.subscribe();
        soon(now.wait_for(|now| *now >= count)).await.expect("it is counted here");
    }
}

/// One of the things that are under way, as long as it is held.
struct UnderWay(Arc<Count>);

impl UnderWay {
    fn begin(count: &Arc<Count>) -> Self {
        count.add_one();
        Self(count.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

/// The node.
pub(super) struct Watched {
    chunk: SampleChunk,
    /// Whether the chunk's first frame is handed out again and again.
    is_endless: bool,
    /// Whether it takes what is written to it.
    pub(super) takes_writes: bool,
    /// Frames that were asked of it.
    pub(super) frames_asked: Arc<Count>,
    /// Streams of frames that it holds.
    pub(super) reads: Arc<Count>,
    /// Frames that it took.
    pub(super) frames_taken: Count,
    writes: Mutex<Vec<Written>>,
    /// Calls that wait: inventories for a permit to be answered, and writes
    /// that are not taken for nothing.
    pub(super) waiting: Arc<Count>,
    pub(super) answers: Semaphore,
    /// Chunks on the first page that they answer with; others are empty.
    pub(super) page_chunks_first: usize,
    pages: Count,
}

impl Watched {
    /// Hands out `chunk`.
    pub(super) fn chunk(chunk: SampleChunk) -> Self {
        Self {
            chunk,
            is_endless: false,
            takes_writes: true,
            frames_asked: Arc::new(Count::new()),
            reads: Arc::new(Count::new()),
            frames_taken: Count::new(),
            writes: Mutex::default(),
            waiting: Arc::new(Count::new()),
            answers: Semaphore::new(0),
            page_chunks_first: 0,
            pages: Count::new(),
        }
    }

    /// Hands out the first frame of `chunk` as often as it is taken.
    pub(super) fn endless(mut chunk: SampleChunk) -> Self {
        chunk.frames.truncate(1);
        chunk.seal.frames = 64;
        Self { is_endless: true, ..Self::chunk(chunk) }
    }

    pub(super) fn writes(&self) -> Vec<Written> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl NodeService for Watched {
    async fn hello(&self) -> Result<Hello> {
        unreachable!("this test says no hello")
    }

    async fn release(&self, _: Context) -> Result<()> {
        unreachable!("this test releases no node")
    }

    async fn adopt(&self, _: Adopt) -> Result<NodeInfo> {
        Err(not_watched())
    }

    /// Takes all parts, or none.
    async fn write_chunk(&self, header: WriteHeader, mut parts: WriteStream) -> Result<()> {
        if !self.takes_writes {
            let _waits = UnderWay::begin(&self.waiting);
            return future::pending().await;
        }
        let mut frames = Vec::new();
        let end = loop {
            match parts.next().await {
                Some(Ok(WritePart::Frame(frame))) => {
                    frames.push(frame);
                    self.frames_taken.add_one();
                }
                Some(Ok(WritePart::Waiting)) => {}
                Some(Ok(WritePart::Seal(seal))) => break Ok(seal),
                Some(Err(error)) => break Err(error),
                None => break Err(Error::new(Kind::Invalid, "the stream ended without a seal")),
            }
        };
        let written = Written { header, frames, end: end.clone() };
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).push(written);
        end.map(drop)
    }

    async fn read_chunk(&self, _: ReadRequest) -> Result<ChunkRead> {
        let SampleChunk { header, seal, frames, .. } = self.chunk.clone();
        let frames = match self.is_endless {
            true => stream::iter(frames).cycle().boxed(),
            false => stream::iter(frames).boxed(),
        };
        let (held, asked) = (UnderWay::begin(&self.reads), self.frames_asked.clone());
        let frames = frames.map(move |frame| {
            let _held = &held;
            asked.add_one();
            Ok(frame)
        });
        Ok(ChunkRead { header, seal, frames: frames.boxed() })
    }

    /// Answers at once.
    async fn delete_chunks(&self, _: Context, _: Vec<Handle>) -> Result<()> {
        Ok(())
    }

    async fn rebuild_chunk(&self, _: Context, _: RebuildTask) -> Result<Receipt> {
        Err(not_watched())
    }

    /// Waits for a permit.
    async fn inventory(&self, _: Context, _: Option<Handle>) -> Result<InventoryPage> {
        let _waits = UnderWay::begin(&self.waiting);
        self.answers.acquire().await.expect("it is never closed").forget();
        let chunk = HeldChunk { handle: Handle(1), stored_bytes: 1, is_good: true };
        let chunks = if self.pages.get() == 0 { self.page_chunks_first } else { 0 };
        self.pages.add_one();
        Ok(InventoryPage { version: 1, chunks: vec![chunk; chunks], is_last: true })
    }

    /// Never answers.
    async fn verify_chunk(&self, _: Context, _: Handle) -> Result<Receipt> {
        future::pending().await
    }
}

fn not_watched() -> Error {
    Error::new(Kind::NotSupported, "nobody asks this here")
}
