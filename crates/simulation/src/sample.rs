//! Chunks and stripes as a client would make them, for tests of the nodes.

use bytes::Bytes;
use dfs_core::api::{
    Context, FrameStream, NodeService, ReadRequest, RebuildTask, Result, StripeMember, WriteHeader,
    WritePart, WriteStream,
};
use dfs_core::data::chunk::{ChunkHeader, ChunkSeal, SealBuilder};
use dfs_core::data::frame::{self, FRAME_SIZE, Place};
use dfs_core::data::stripe::{self, RowAt};
use dfs_core::id::{ClusterId, FileId, Handle, Run};
use dfs_core::name::FileName;
use dfs_core::policy::{Code, Coding, Compression, StripeShape};
use futures_util::StreamExt;
use futures_util::stream;

use crate::rng::Rng;

/// No parity: each chunk is a stripe of its own.
pub const PLAIN: Coding = Coding { code: Code::None, data: 1, parity: 0 };

/// A chunk with everything that is known of it.
#[derive(Debug, Clone)]
pub struct SampleChunk {
    /// What it is.
    pub header: ChunkHeader,
    /// Its stored frames.
    pub frames: Vec<Bytes>,
    /// Its lengths and digest.
    pub seal: ChunkSeal,
    /// Its raw bytes; of a parity chunk none.
    pub raw: Vec<u8>,
}

/// What a whole read gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeChunk {
    /// What the chunk is.
    pub header: ChunkHeader,
    /// Its lengths and digest.
    pub seal: ChunkSeal,
    /// Its stored frames.
    pub frames: Vec<Bytes>,
}

/// A cluster's context for tests that have no coordinator.
#[must_use]
pub fn context(cluster: u8, epoch: u64) -> Context {
    Context { cluster: ClusterId([cluster; 16]), run: Run::new(epoch, 1) }
}

/// Bytes of which about half can be compressed away.
#[must_use]
pub fn mixed_bytes(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut bytes = rng.bytes(len);
    for part in bytes.chunks_mut(64 << 10).skip(1).step_by(2) {
        part.fill(b'a');
    }
    bytes
}

/// One data chunk without parity.
#[must_use]
pub fn chunk(cluster: ClusterId, handle: u64, raw: Vec<u8>) -> SampleChunk {
    let mut chunks = stripe_of(cluster, handle, PLAIN, vec![raw]);
    chunks.remove(0)
}

/// The chunks of one stripe: data, then parity.
///
/// # Panics
/// When there are more data chunks than the code is wide.
#[must_use]
pub fn stripe_of(
    cluster: ClusterId,
    first_handle: u64,
    coding: Coding,
    raws: Vec<Vec<u8>>,
) -> Vec<SampleChunk> {
    let data = u8::try_from(raws.len()).expect("a stripe is narrow");
    let shape = StripeShape { coding, data };
    let file_size = raws.iter().map(|raw| raw.len() as u64).sum();
    let header = |position: u8| ChunkHeader {
        cluster,
        handle: Handle(first_handle + u64::from(position)),
        file: FileId(first_handle),
        name: FileName::new(format!("sample/{first_handle}")).expect("it keeps the rules"),
        file_size: Some(file_size),
        created_ms: crate::host::WALL_START_MS,
        stripe: 0,
        shape,
        position,
        replication: 1,
        compression: Compression::Lz4,
        chunk_size: 8 << 20,
        chunk_index: if position < coding.data { u64::from(position) } else { 0 },
    };
    let chunk_of = |(position, raw)| data_chunk(header(position), raw);
    let mut chunks: Vec<SampleChunk> = (0u8..).zip(raws).map(chunk_of).collect();
    let rows = chunks.iter().map(|chunk| chunk.frames.len()).max().unwrap_or(0);
    let mut parity = vec![(Vec::new(), SealBuilder::default()); usize::from(coding.parity)];
    for row in 0..rows {
        let index = u32::try_from(row).expect("few");
        let at = RowAt { first_handle: chunks[0].handle(), index };
        let frame = |chunk: &SampleChunk| chunk.frames.get(row).cloned().unwrap_or_default();
        let frames: Vec<Bytes> = chunks.iter().map(frame).collect();
        let slices: Vec<&[u8]> = frames.iter().map(AsRef::as_ref).collect();
        for (at, stored) in stripe::encode_row(at, coding, &slices).into_iter().enumerate() {
            parity[at].1.add_parity(&stored);
            parity[at].0.push(Bytes::from(stored));
        }
    }
    for (position, (frames, seal)) in (coding.data..).zip(parity) {
        let raw = Vec::new();
        chunks.push(SampleChunk { header: header(position), frames, seal: seal.finish(), raw });
    }
    chunks
}

fn data_chunk(header: ChunkHeader, raw: Vec<u8>) -> SampleChunk {
    let mut seal = SealBuilder::default();
    let mut frames = Vec::new();
    for (index, part) in (0..).zip(raw.chunks(FRAME_SIZE)) {
        let mut stored = Vec::new();
        frame::seal(Place { handle: header.handle, index }, part, header.compression, &mut stored);
        seal.add(part, stored.len());
        frames.push(Bytes::from(stored));
    }
    SampleChunk { header, frames, seal: seal.finish(), raw }
}

impl SampleChunk {
    /// Its handle.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.header.handle
    }

    /// Its frames and its seal, as a writer sends them.
    #[must_use]
    pub fn parts(&self) -> Vec<Result<WritePart>> {
        let frames = self.frames.iter().cloned().map(|frame| Ok(WritePart::Frame(frame)));
        frames.chain([Ok(WritePart::Seal(self.seal))]).collect()
    }

    /// Writes it to a node.
    ///
    /// # Errors
    /// What the node says.
    pub async fn write_to(&self, node: &dyn NodeService, context: Context) -> Result<()> {
        let header = WriteHeader { context, chunk: self.header.clone() };
        node.write_chunk(header, as_stream(self.parts())).await
    }

    /// The order to come to hold it, from `copies` or from the rest of its
    /// stripe, each with the addresses that hold it.
    #[must_use]
    pub fn rebuild_task(
        &self,
        copies: Vec<String>,
        others: &[(&SampleChunk, Vec<String>)],
    ) -> RebuildTask {
        let member = |(chunk, copies): &(&SampleChunk, Vec<String>)| StripeMember {
            position: chunk.header.position,
            handle: chunk.handle(),
            digest: chunk.seal.digest,
            copies: copies.clone(),
        };
        RebuildTask {
            chunk: self.header.clone(),
            digest: self.seal.digest,
            copies,
            stripe: others.iter().map(member).collect(),
            bytes_per_second_max: 0,
        }
    }

    /// What a read of the whole chunk must give.
    #[must_use]
    pub fn whole(&self) -> WholeChunk {
        WholeChunk { header: self.header.clone(), seal: self.seal, frames: self.frames.clone() }
    }
}

/// Parts as a stream.
#[must_use]
pub fn as_stream(parts: Vec<Result<WritePart>>) -> WriteStream {
    stream::iter(parts).boxed()
}

/// Reads a whole chunk.
///
/// # Errors
/// What the node says, at once or in the middle.
pub async fn read_whole(
    node: &dyn NodeService,
    cluster: ClusterId,
    handle: Handle,
) -> Result<WholeChunk> {
    let request = ReadRequest { cluster, handle, frames: 0..u32::MAX };
    let read = node.read_chunk(request).await?;
    let frames = collect(read.frames).await?;
    Ok(WholeChunk { header: read.header, seal: read.seal, frames })
}

/// All frames of a stream.
///
/// # Errors
/// The first that the stream gives.
pub async fn collect(mut frames: FrameStream) -> Result<Vec<Bytes>> {
    let mut all = Vec::new();
    while let Some(frame) = frames.next().await {
        all.push(frame?);
    }
    Ok(all)
}
