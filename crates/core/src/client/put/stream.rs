//! A put whose source comes once and has no known length: chunk by chunk,
//! parity gathered in memory.
//!
//! The stored frames of a chunk are kept until its copies are durable, so
//! that a node that fails can be replaced. What is kept has a bound; a chunk
//! larger than that cannot be sent again, and a copy of it that fails is left
//! to repair.

mod chunk;
mod reader;

use std::collections::BTreeMap;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use self::chunk::{Finished, OpenChunk};
use self::reader::Reader;
use super::Written;
use super::row;
use super::stripe::sealed_chunk;
use super::upload::{PutError, Upload};
use crate::api::{Kind, SealedChunk, SealedStripe, StripePlacement};
use crate::client::{Progress, StreamSource};
use crate::data::chunk::SealBuilder;
use crate::data::frame::FRAME_SIZE;
use crate::data::stripe::{ParityAccumulator, RowAt};
use crate::env::{self, Work};
use crate::limit::limit;
use crate::policy::StripeShape;

/// Bytes of stored frames that are kept for sending a chunk again.
const KEPT_BYTES_MAX: u64 = 112 << 20;
/// Chunks whose copies are being made durable while another is read.
const FINISHING_MAX: usize = 8;

/// Reads the source to its end and writes all of it.
pub(super) async fn write(
    upload: &Upload<'_>,
    source: &mut dyn StreamSource,
    progress: &Progress,
) -> Result<Written, PutError> {
    let mut put = StreamPut {
        upload,
        progress,
        finishing: FuturesUnordered::new(),
        kept_bytes: 0,
        open: BTreeMap::new(),
        sealed: Vec::new(),
        size: 0,
    };
    let mut reader = Reader::new(upload, source);
    // A chunk may be smaller than a frame.
    let chunk_size = usize::try_from(upload.policy.chunk_size).unwrap_or(FRAME_SIZE);
    let mut ahead = reader.frame(chunk_size.min(FRAME_SIZE)).await?;
    let mut stripes: u32 = 0;
    while !ahead.is_empty() {
        ahead = put.stripe(stripes, &mut reader, ahead).await?;
        stripes += 1;
    }
    put.wait_for_all().await?;
    Ok(Written { size: put.size, stripes: stripes.into(), sealed: put.sealed })
}

struct StreamPut<'a> {
    upload: &'a Upload<'a>,
    progress: &'a Progress,
    finishing: FuturesUnordered<BoxFuture<'a, Result<Finished, PutError>>>,
    /// Stored bytes of the chunk being read and of those in `finishing`.
    kept_bytes: u64,
    /// Stripes some of whose chunks are not yet durable, by number.
    open: BTreeMap<u32, OpenStripe>,
    sealed: Vec<SealedStripe>,
    size: u64,
}

/// A stripe being written.
struct OpenStripe {
    placement: StripePlacement,
    /// Its chunks so far, by position in the code: data, a gap, parity.
    chunks: BTreeMap<usize, SealedChunk>,
    /// Data chunks in it, once its last was read.
    data: Option<u8>,
}

impl<'a> StreamPut<'a> {
    /// Writes stripe `index`, which begins with the raw frame `ahead`; gives the
    /// first frame of the next one, empty at the end.
    async fn stripe(
        &mut self,
        index: u32,
        reader: &mut Reader<'_>,
        mut ahead: Vec<u8>,
    ) -> Result<Vec<u8>, PutError> {
        let width = u8::try_from(self.upload.data_width()).expect("at most 32");
        self.close_stripes()?;
        let placed = self.place(index, width, reader, ahead.len()).await?;
        let [placement]: [StripePlacement; 1] = placed.try_into().map_err(|_| {
            PutError::failed(Kind::Internal, "one stripe was asked for and placed: this is a bug")
        })?;
        let stripe =
            OpenStripe { placement: placement.clone(), chunks: BTreeMap::new(), data: None };
        self.open.insert(index, stripe);
        let coding = self.upload.policy.coding;
        let mut parity =
            (coding.parity > 0).then(|| ParityAccumulator::new(placement.first_handle, coding));
        let mut data = 0;
        while data < usize::from(width) && !ahead.is_empty() {
            let chunk = OpenChunk::open(self.upload, &placement, data);
            (ahead, parity) = self.data_chunk(reader, chunk, ahead, parity).await?;
            data += 1;
        }
        if let Some(stripe) = self.open.get_mut(&index) {
            stripe.data = Some(u8::try_from(data).expect("at most the width"));
        }
        if let Some(parity) = parity {
            self.parity_chunks(&placement, parity).await?;
        }
        Ok(ahead)
    }

    /// Asks for room for stripe `index`, of which `ahead_bytes` were read.
    ///
    /// Where the end of the stream is near, no more room is asked for than
    /// what is left takes. It is looked for only where there is too little
    /// room for whole chunks.
    async fn place(
        &mut self,
        index: u32,
        width: u8,
        reader: &mut Reader<'_>,
        ahead_bytes: usize,
    ) -> Result<Vec<StripePlacement>, PutError> {
        let told = std::mem::take(&mut self.sealed);
        let left = |reader: &Reader<'_>| reader.left().map(|left| left + ahead_bytes as u64);
        let known = left(reader);
        let placed = self.upload.place_short(index, vec![width], told, known).await;
        let Err(PutError::Failed(error)) = placed else { return placed };
        if known.is_some() || !matches!(error.kind, Kind::Insufficient | Kind::NoSpace) {
            return Err(PutError::Failed(error));
        }
        reader.look_ahead().await?;
        match left(reader) {
            // What was sealed was told before the room was found too little.
            known @ Some(_) => self.upload.place_short(index, vec![width], Vec::new(), known).await,
            None => Err(PutError::Failed(error)),
        }
    }

    /// Writes one data chunk, and lets it be made durable in the background.
    async fn data_chunk(
        &mut self,
        reader: &mut Reader<'_>,
        mut chunk: OpenChunk<'a>,
        mut ahead: Vec<u8>,
        mut parity: Option<ParityAccumulator>,
    ) -> Result<(Vec<u8>, Option<ParityAccumulator>), PutError> {
        let chunk_size = u64::from(self.upload.policy.chunk_size);
        let mut row: u32 = 0;
        let mut seal = SealBuilder::default();
        let mut read_bytes = 0;
        while !ahead.is_empty() {
            let size = ahead.len();
            read_bytes += size as u64;
            let left = chunk_size.saturating_sub(read_bytes);
            let is_last = left == 0 || size < FRAME_SIZE;
            let limit = if is_last { chunk_size } else { left }.min(FRAME_SIZE as u64);
            let limit = usize::try_from(limit).expect("at most a frame");
            let step = async {
                let sealing =
                    seal_row(self.upload, ahead, seal, parity, chunk.slot, chunk.row(row));
                let send = async {
                    let (stored, seal, parity) = sealing.await;
                    chunk.send(stored).await;
                    Ok((seal, parity))
                };
                futures_util::future::try_join(send, reader.frame(limit)).await
            };
            let done = drive(step, &mut self.finishing, &mut self.open, &mut self.kept_bytes);
            ((seal, parity), ahead) = done.await?;
            row += 1;
            self.progress.add(size as u64);
            self.keep_within_bound(&mut chunk).await?;
            if is_last {
                break;
            }
        }
        self.size += read_bytes;
        while self.finishing.len() >= limit(FINISHING_MAX, 1) {
            self.wait_for_one().await?;
        }
        self.finishing.push(Box::pin(chunk.finish(seal.finish())));
        Ok((ahead, parity))
    }

    /// Makes room for what the chunk keeps: by waiting for earlier chunks, or,
    /// where there are none, by no longer being able to send it again.
    async fn keep_within_bound(&mut self, chunk: &mut OpenChunk<'a>) -> Result<(), PutError> {
        self.kept_bytes += chunk.take_newly_kept();
        while self.kept_bytes > KEPT_BYTES_MAX {
            if self.finishing.is_empty() {
                self.kept_bytes -= chunk.forget();
                break;
            }
            self.wait_for_one().await?;
        }
        Ok(())
    }

    /// Writes the parity chunks of a stripe whose data chunks were all read,
    /// and waits until the whole stripe is durable: its parity is the bulk of
    /// what a stream holds, and two stripes of it would be too much.
    async fn parity_chunks(
        &mut self,
        placement: &StripePlacement,
        parity: ParityAccumulator,
    ) -> Result<(), PutError> {
        let pool = &*self.upload.client.env.pool;
        let coded = env::run(pool, Work::Cpu, move || {
            let sealed = |frames: Vec<Vec<u8>>| {
                let mut seal = SealBuilder::default();
                frames.iter().for_each(|stored| seal.add_parity(stored));
                (frames, seal.finish())
            };
            parity.finish().into_iter().map(sealed).collect::<Vec<_>>()
        })
        .await;
        for (number, (frames, seal)) in coded.into_iter().enumerate() {
            let slot = self.upload.data_width() + number;
            let mut chunk = OpenChunk::open(self.upload, placement, slot);
            self.finishing.push(Box::pin(async move {
                for stored in frames {
                    chunk.send(stored.into()).await;
                }
                // Parity is held in full anyway, and not counted twice.
                chunk.take_newly_kept();
                Ok(Finished { kept_bytes: 0, ..chunk.finish(seal).await? })
            }));
        }
        self.wait_for_all().await?;
        self.close_stripe(placement.index)
    }

    async fn wait_for_all(&mut self) -> Result<(), PutError> {
        while !self.finishing.is_empty() {
            self.wait_for_one().await?;
        }
        self.close_stripes()
    }

    async fn wait_for_one(&mut self) -> Result<(), PutError> {
        if let Some(finished) = self.finishing.next().await {
            note(finished?, &mut self.open, &mut self.kept_bytes);
        }
        Ok(())
    }

    /// Takes note of all stripes as sealed whose chunks are all durable. Few
    /// are open at once.
    fn close_stripes(&mut self) -> Result<(), PutError> {
        let open: Vec<u32> = self.open.keys().copied().collect();
        open.into_iter().try_for_each(|index| self.close_stripe(index))
    }

    /// Takes note of a stripe as sealed when all its chunks are durable.
    fn close_stripe(&mut self, index: u32) -> Result<(), PutError> {
        let Some(stripe) = self.open.get(&index) else { return Ok(()) };
        let Some(data) = stripe.data else { return Ok(()) };
        let shape = StripeShape { coding: self.upload.policy.coding, data };
        if stripe.chunks.len() < shape.chunks() {
            return Ok(());
        }
        let stripe = self.open.remove(&index).expect("it was there a line ago");
        let chunks: Vec<SealedChunk> = stripe.chunks.into_values().collect();
        let holders: Vec<_> = chunks.iter().map(|chunk| chunk.holders.clone()).collect();
        self.upload.accept(&stripe.placement, shape, &holders)?;
        let first_handle = stripe.placement.first_handle;
        self.sealed.push(SealedStripe { index, first_handle, shape, chunks });
        Ok(())
    }
}

/// Drives `step` to its end, and the chunks in `finishing` along with it.
async fn drive<T>(
    step: impl Future<Output = Result<T, PutError>>,
    finishing: &mut FuturesUnordered<BoxFuture<'_, Result<Finished, PutError>>>,
    open: &mut BTreeMap<u32, OpenStripe>,
    kept_bytes: &mut u64,
) -> Result<T, PutError> {
    let mut step = std::pin::pin!(step);
    loop {
        tokio::select! {
            biased;
            done = &mut step => return done,
            Some(finished) = finishing.next(), if !finishing.is_empty() => {
                note(finished?, open, kept_bytes);
            }
        }
    }
}

/// Takes note of a chunk that is as durable as it will be.
fn note(finished: Finished, open: &mut BTreeMap<u32, OpenStripe>, kept_bytes: &mut u64) {
    let Finished { stripe, slot, seal, holders, kept_bytes: freed } = finished;
    *kept_bytes = kept_bytes.saturating_sub(freed);
    if let Some(stripe) = open.get_mut(&stripe) {
        stripe.chunks.insert(slot, sealed_chunk(seal, holders));
    }
}

/// Hashes, compresses and sums one raw frame, and adds it to its row's parity.
async fn seal_row(
    upload: &Upload<'_>,
    raw: Vec<u8>,
    mut seal: SealBuilder,
    mut parity: Option<ParityAccumulator>,
    slot: usize,
    at: RowAt,
) -> (bytes::Bytes, SealBuilder, Option<ParityAccumulator>) {
    let compression = upload.policy.compression;
    let buffers = upload.client.buffers.clone();
    env::run(&*upload.client.env.pool, Work::Cpu, move || {
        let position = u8::try_from(slot).expect("a stripe is at most 32 chunks wide");
        let stored = row::seal_frame(at.place(position), &raw, compression, &mut seal, &buffers);
        buffers.give_back(raw);
        if let Some(parity) = &mut parity {
            parity.add(position, at.index, &stored);
        }
        (stored, seal, parity)
    })
    .await
}
