//! Opening a source, and not waiting for one that is slow while another may
//! answer.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, timeout};

use super::Reading;
use super::map::handle_of;
use super::parity::ParityReader;
use super::ranking::Origin;
use crate::api::{
    ChunkRead, CopyAt, Error, FrameStream, Kind, NodeService, ReadRequest, Result, StripeMap,
};
use crate::client::pace::Way;
use crate::data::frame::{self, FRAME_SIZE};
use crate::id::NodeId;
use crate::mark::{Mark, reached};
use crate::mutant::{Mutant, is_planted};

/// A wait is unusual, and another source is asked as well, when it is so many
/// times as long as with the other nodes.
const UNUSUAL_FACTOR: u32 = 8;
/// No wait shorter than this is unusual.
const UNUSUAL_MIN: Duration = Duration::from_millis(200);
/// A frame that takes no longer than this is no sign of a slow node.
const FAST_ENOUGH: Duration = Duration::from_millis(10);
/// A mid-stream pause of so many times `hedge_after` is one too long, where
/// there is somebody else to ask.
const PAUSES_MAX: u32 = 4;

/// Stored frames of one chunk from one source, in order.
pub(super) enum Frames<'a> {
    Copy(FrameStream),
    Parity(Box<ParityReader<'a>>),
}

/// A source that has given its first frame.
pub(super) struct Opened<'a> {
    pub(super) origin: Origin,
    pub(super) first: Bytes,
    pub(super) frames: Frames<'a>,
}

impl Frames<'_> {
    /// The next stored frame, within `patience`.
    pub(super) async fn next(&mut self, patience: Duration) -> Result<Bytes> {
        match self {
            Self::Copy(frames) => next_of(frames, patience).await,
            // It has its own patience with each of its sources.
            Self::Parity(reader) => reader.next_row().await,
        }
    }
}

/// The next frame of a node's stream, which must have one.
pub(super) async fn next_of(frames: &mut FrameStream, patience: Duration) -> Result<Bytes> {
    match timeout(patience, frames.next()).await {
        Ok(Some(frame)) => frame,
        Ok(None) => Err(Error::new(Kind::Unavailable, "it ended its stream early")),
        Err(_elapsed) => Err(Error::new(
            Kind::Unavailable,
            format!("it sent nothing for {} ms", patience.as_millis()),
        )),
    }
}

/// How long a stream may stand still.
pub(super) fn patience(reading: &Reading<'_>, has_others: bool) -> Duration {
    let settings = &reading.client.settings;
    let hasty = settings.hedge_after * PAUSES_MAX;
    if has_others { hasty.min(settings.stall_after) } else { settings.stall_after }
}

/// How long a frame of `node` may take before another source is asked as
/// well. That depends on how long the other nodes take.
pub(super) fn hedge_after(reading: &Reading<'_>, node: Option<&NodeId>) -> Duration {
    let longest = reading.client.settings.hedge_after;
    let expected = |node| reading.client.paces.expected(Way::Read, node, FRAME_SIZE);
    match node.and_then(expected) {
        // With a narrow line all nodes are slow, and asking twice makes it
        // worse.
        Some(expected) if expected > longest => expected.saturating_mul(2),
        Some(expected) => (expected * UNUSUAL_FACTOR).clamp(UNUSUAL_MIN.min(longest), longest),
        None => longest,
    }
}

/// How far one stream has fallen behind what the other nodes would take.
pub(super) struct Lag {
    node: Option<NodeId>,
    waited: Duration,
    expected: Duration,
    /// The shortest wait for a frame so far.
    fastest: Option<Duration>,
    /// Another source is asked when the stream is so far behind.
    allowed: Duration,
}

/// The next frame of a source, or another source that was faster.
pub(super) enum Next<'a> {
    Frame(Result<Bytes>),
    Overtaken(Box<Opened<'a>>),
}

impl Lag {
    pub(super) fn of(reading: &Reading<'_>, origin: &Origin) -> Self {
        let node = match origin {
            Origin::Copy(copy) => Some(copy.node.clone()),
            Origin::Parity => None,
        };
        let allowed = hedge_after(reading, node.as_ref());
        let (waited, expected) = (Duration::ZERO, Duration::ZERO);
        Self { node, waited, expected, fastest: None, allowed }
    }

    /// Waits for the next frame. A stream that falls too far behind its peers
    /// is raced against the next of `origins`; what was overtaken is noted as
    /// slow.
    pub(super) async fn next<'a>(
        &mut self,
        reading: &'a Reading<'a>,
        source: (&Origin, &mut Frames<'a>),
        wanted: (&Arc<StripeMap>, usize, Range<u32>),
        origins: &mut VecDeque<Origin>,
    ) -> Next<'a> {
        let (origin, frames) = source;
        let (map, slot, range) = wanted;
        let started = Instant::now();
        let patience = patience(reading, !origins.is_empty());
        let behind = self.waited.saturating_sub(self.expected);
        let limit = self.allowed.saturating_sub(behind);
        let mut waiting = std::pin::pin!(frames.next(patience));
        let may_hedge = !origins.is_empty() && !is_planted(Mutant::HedgeFirstFrameOnly);
        let read = tokio::select! {
            biased;
            read = &mut waiting => Some(read),
            () = sleep(limit), if may_hedge => None,
        };
        if let Some(read) = read {
            self.note(reading, started.elapsed(), &read);
            return Next::Frame(read);
        }
        let mut others = origins.clone();
        let opened = tokio::select! {
            biased;
            read = &mut waiting => {
                // It was worth waiting for: the next race begins later.
                self.allowed = self.allowed.saturating_mul(2) + started.elapsed();
                self.note(reading, started.elapsed(), &read);
                return Next::Frame(read);
            }
            opened = open(reading, map, slot, range, &mut others) => opened,
        };
        let Some(opened) = opened else {
            let read = waiting.await;
            self.note(reading, started.elapsed(), &read);
            return Next::Frame(read);
        };
        if let Some(node) = &self.node {
            reading.findings.note_slow(node);
            reading.client.paces.note(Way::Read, node, 0, started.elapsed());
        }
        reached(Mark::ReadOvertaken);
        // Still the last resort.
        others.push_back(origin.clone());
        *origins = others;
        Next::Overtaken(Box::new(opened))
    }

    fn note(&mut self, reading: &Reading<'_>, waited: Duration, read: &Result<Bytes>) {
        let (Some(node), Ok(frame)) = (&self.node, read) else { return };
        let paces = &reading.client.paces;
        self.waited += waited;
        // Where no other node is known, the stream is compared with itself.
        let fastest = self.fastest.unwrap_or(waited).min(waited);
        self.fastest = Some(fastest);
        let expected = paces.expected(Way::Read, node, frame.len());
        self.expected += expected.unwrap_or(fastest.max(FAST_ENOUGH).min(waited));
        paces.note(Way::Read, node, frame.len(), waited);
    }
}

/// Opens the first of `origins` that gives a frame of chunk `slot`. When one
/// fails, the next is asked at once; when one is slow, the next is asked as
/// well. Those that were tried are taken off `origins`.
pub(super) async fn open<'a>(
    reading: &'a Reading<'a>,
    map: &Arc<StripeMap>,
    slot: usize,
    frames: Range<u32>,
    origins: &mut VecDeque<Origin>,
) -> Option<Opened<'a>> {
    let handle = handle_of(map, slot);
    let mut asked: Vec<(Origin, Instant)> = Vec::new();
    let mut racing = FuturesUnordered::new();
    let mut ask_next = true;
    let mut patience = reading.client.settings.hedge_after;
    loop {
        if std::mem::take(&mut ask_next)
            && let Some(origin) = origins.pop_front()
        {
            if let Origin::Copy(copy) = &origin {
                patience = hedge_after(reading, Some(&copy.node));
            }
            asked.push((origin.clone(), Instant::now()));
            racing.push(open_one(reading, map.clone(), slot, frames.clone(), origin));
        }
        if racing.is_empty() {
            return None;
        }
        tokio::select! {
            biased;
            Some((origin, opened)) = racing.next() => match opened {
                Ok(opened) => {
                    if matches!(origin, Origin::Parity) {
                        reached(Mark::ReadFromParity);
                    }
                    note_overtaken(reading, &asked, &origin);
                    return Some(opened);
                }
                Err(error) => {
                    if let Origin::Copy(copy) = &origin {
                        reading.findings.note(handle, &copy.node, &error);
                    }
                    tracing::debug!(chunk = %handle, ?origin, %error, "a source failed");
                    asked.retain(|(other, _)| *other != origin);
                    if !origins.is_empty() {
                        reached(Mark::ReadFailedOver);
                    }
                    ask_next = true;
                }
            },
            () = sleep(patience), if !origins.is_empty() => {
                reached(Mark::ReadHedged);
                ask_next = true;
            }
        }
    }
}

/// Those that were asked before the winner and have not answered are slow.
fn note_overtaken(reading: &Reading<'_>, asked: &[(Origin, Instant)], winner: &Origin) {
    for (origin, since) in asked.iter().take_while(|(origin, _)| origin != winner) {
        if let Origin::Copy(copy) = origin {
            reading.findings.note_silent(&copy.node);
            reading.client.paces.note(Way::Read, &copy.node, 0, since.elapsed());
        }
    }
    if let Origin::Copy(copy) = winner {
        reading.findings.note_good(&copy.node);
    }
}

async fn open_one<'a>(
    reading: &'a Reading<'a>,
    map: Arc<StripeMap>,
    slot: usize,
    frames: Range<u32>,
    origin: Origin,
) -> (Origin, Result<Opened<'a>>) {
    let started = Instant::now();
    let opened = match &origin {
        Origin::Copy(copy) => open_copy(reading, &map, slot, copy, frames).await.map(Frames::Copy),
        Origin::Parity => ParityReader::open(reading, map, slot, frames)
            .await
            .map(|reader| Frames::Parity(Box::new(reader))),
    };
    let first = match opened {
        Ok(mut frames) => {
            let first = frames.next(reading.client.settings.stall_after).await;
            first.map(|first| (first, frames))
        }
        Err(error) => Err(error),
    };
    if let (Origin::Copy(copy), Ok((first, _))) = (&origin, &first) {
        reading.client.paces.note(Way::Read, &copy.node, first.len(), started.elapsed());
    }
    let opened = first.map(|(first, frames)| Opened { origin: origin.clone(), first, frames });
    (origin, opened)
}

/// Opens a copy, and checks that it is what the catalog says it is.
pub(super) async fn open_copy(
    reading: &Reading<'_>,
    map: &StripeMap,
    slot: usize,
    copy: &CopyAt,
    frames: Range<u32>,
) -> Result<FrameStream> {
    let handle = handle_of(map, slot);
    let node: Arc<dyn NodeService> = reading.client.env.peers.node(&copy.address);
    let request = ReadRequest { cluster: reading.cluster, handle, frames };
    let limit = reading.client.settings.stall_after;
    let read = timeout(limit, node.read_chunk(request)).await.map_err(|_elapsed| {
        Error::new(Kind::Unavailable, format!("it did not answer within {} s", limit.as_secs()))
    })??;
    check_identity(reading, map, slot, &read)?;
    Ok(read.frames)
}

/// A right checksum under a wrong name is as bad as a wrong checksum.
fn check_identity(
    reading: &Reading<'_>,
    map: &StripeMap,
    slot: usize,
    read: &ChunkRead,
) -> Result<()> {
    let ChunkRead { header, seal, .. } = read;
    let chunk = map.chunks.get(slot).ok_or_else(|| mismatch("slot"))?;
    if header.cluster != reading.cluster {
        return Err(mismatch("cluster"));
    }
    if header.handle != handle_of(map, slot) {
        return Err(mismatch("handle"));
    }
    if header.file != reading.info.id {
        return Err(mismatch("file"));
    }
    if seal.digest != chunk.digest {
        return Err(mismatch("SHA-256"));
    }
    if seal.raw_len != chunk.raw_len || seal.stored_len != chunk.stored_len {
        return Err(mismatch("length"));
    }
    if seal.frames != frames_of(map, slot) {
        return Err(mismatch("number of frames"));
    }
    Ok(())
}

/// Frames that chunk `slot` has: a parity chunk as many as the longest data
/// chunk of its stripe.
pub(super) fn frames_of(map: &StripeMap, slot: usize) -> u32 {
    let data = usize::from(map.shape.data);
    let of_data = |slot: usize| map.chunks.get(slot).map_or(0, |chunk| frame::count(chunk.raw_len));
    let frames =
        if slot < data { of_data(slot) } else { (0..data).map(of_data).max().unwrap_or(0) };
    u32::try_from(frames).unwrap_or(u32::MAX)
}

fn mismatch(what: &str) -> Error {
    Error::new(Kind::Integrity, format!("its copy has another {what} than the catalog"))
}
