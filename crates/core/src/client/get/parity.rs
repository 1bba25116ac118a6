//! A chunk that no copy gives, rebuilt row by row from the others of its
//! stripe: one frame costs as many frames as the stripe has data chunks.
//!
//! Any K of the other chunks do. So a source that is late costs a short wait,
//! and then another chunk of the stripe is read beside it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, sleep};

use super::Reading;
use super::fetch::{frames_of, hedge_after, next_of, open_copy, patience};
use super::map::{handle_of, position_of};
use super::ranking;
use crate::api::{CopyAt, Error, FrameStream, Kind, Result, StripeMap};
use crate::client::pace::Way;
use crate::client::window::PARITY_FRAMES_MAX;
use crate::data::stripe::{self, RowAt, StripeError, sources_needed};
use crate::env::{self, Work};
use crate::id::NodeId;

/// Frames that one source stream is reckoned to hold: in it, in its queue.
const FRAMES_PER_SOURCE: u32 = 3;

/// Rebuilds a run of frames of one chunk.
pub(super) struct ParityReader<'a> {
    reading: &'a Reading<'a>,
    map: Arc<StripeMap>,
    wanted: usize,
    frames: Range<u32>,
    /// Other chunks of the stripe, and their copies, that were not asked yet.
    spare: VecDeque<(usize, CopyAt)>,
    /// The streams that give one frame a row, by slot.
    active: BTreeMap<usize, Source>,
    /// Who gave frames so far.
    nodes: Vec<NodeId>,
    _room: SemaphorePermit<'a>,
}

/// A source that is to be asked for a row.
struct Chosen {
    slot: usize,
    copy: CopyAt,
    /// Its stream, where one is open at that row.
    frames: Option<FrameStream>,
}

/// The sources that are asked for one row.
type Asking<'a> = FuturesUnordered<BoxFuture<'a, (usize, CopyAt, Result<(Bytes, FrameStream)>)>>;

/// One other chunk of the stripe being read.
struct Source {
    copy: CopyAt,
    frames: FrameStream,
}

impl<'a> ParityReader<'a> {
    /// Waits for room, and prepares to rebuild `frames` of chunk `wanted`.
    pub(super) async fn open(
        reading: &'a Reading<'a>,
        map: Arc<StripeMap>,
        wanted: usize,
        frames: Range<u32>,
    ) -> Result<Self> {
        let sources = u32::try_from(sources_needed(map.shape)).unwrap_or(u32::MAX);
        let held = sources.saturating_mul(FRAMES_PER_SOURCE).clamp(1, PARITY_FRAMES_MAX);
        let room = reading
            .parity_frames
            .acquire_many(held)
            .await
            .map_err(|_closed| Error::new(Kind::Internal, "the get is over"))?;
        let mut spare: Vec<(u8, usize, CopyAt)> = (0..map.chunks.len())
            .filter(|slot| *slot != wanted)
            .flat_map(|slot| {
                let copies = ranking::copies(&map, slot, &reading.findings);
                copies.into_iter().map(move |(rank, copy)| (rank, slot, copy))
            })
            .collect();
        spare.sort_by_key(|(rank, slot, _)| (*rank, *slot));
        let spare = spare.into_iter().map(|(_, slot, copy)| (slot, copy)).collect();
        let (active, nodes) = (BTreeMap::new(), Vec::new());
        Ok(Self { reading, map, wanted, frames, spare, active, nodes, _room: room })
    }

    /// Who gave frames so far.
    pub(super) fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// The next stored frame of the wanted chunk.
    pub(super) async fn next_row(&mut self) -> Result<Bytes> {
        let row = self.frames.start;
        let mut have: BTreeMap<usize, Bytes> = BTreeMap::new();
        loop {
            self.gather(row, &mut have).await?;
            match self.rebuild(row, &have).await {
                Ok(Some(stored)) => {
                    self.frames.start += 1;
                    return Ok(stored.into());
                }
                Ok(None) => return Err(undecodable("the row is empty")),
                Err(StripeError::Source { position, error }) => {
                    self.leave_out(position, &error.to_string(), &mut have)?;
                }
                Err(StripeError::Mismatch { position, .. }) => {
                    self.leave_out(position, "its frame does not fit its row", &mut have)?;
                }
                Err(error) => return Err(undecodable(&error.to_string())),
            }
        }
    }

    /// Reads frames of row `row` until there are enough of them. While some
    /// are late, spare chunks of the stripe are asked as well.
    async fn gather(&mut self, row: u32, have: &mut BTreeMap<usize, Bytes>) -> Result<()> {
        let reading = self.reading;
        let mut asking: Asking<'a> = FuturesUnordered::new();
        let mut asked: BTreeMap<usize, CopyAt> = BTreeMap::new();
        let mut hedges = 0;
        loop {
            let missing = self.needed(row).saturating_sub(have.len());
            if missing == 0 {
                break;
            }
            while asking.len() < missing + hedges {
                let Some(source) = self.next_source(row, have, &asked) else { break };
                asked.insert(source.slot, source.copy.clone());
                asking.push(Box::pin(self.ask(row, source)));
            }
            if asking.len() < missing {
                return Err(self.too_few(row, have.len() + asking.len()));
            }
            tokio::select! {
                biased;
                Some((slot, copy, read)) = asking.next() => {
                    asked.remove(&slot);
                    match read {
                        Ok((stored, frames)) => {
                            have.insert(slot, stored);
                            if !self.nodes.contains(&copy.node) {
                                self.nodes.push(copy.node.clone());
                            }
                            self.active.insert(slot, Source { copy, frames });
                        }
                        Err(error) => self.note(slot, &copy, &error),
                    }
                }
                () = sleep(hedge_after(reading, None)), if hedges < self.spare.len() => hedges += 1,
            }
        }
        // What is late is the last resort from now on. A stream that was not
        // asked for this row stands at it, and must not give it as the next.
        for (slot, copy) in asked {
            reading.findings.note_silent(&copy.node);
            self.spare.push_back((slot, copy));
        }
        let idle: Vec<usize> =
            self.active.keys().copied().filter(|slot| !have.contains_key(slot)).collect();
        for slot in idle {
            if let Some(source) = self.active.remove(&slot) {
                self.spare.push_front((slot, source.copy));
            }
        }
        Ok(())
    }

    /// Reads the frame of row `row` of one source.
    fn ask(
        &self,
        row: u32,
        source: Chosen,
    ) -> impl Future<Output = (usize, CopyAt, Result<(Bytes, FrameStream)>)> + Send + use<'a> {
        let (reading, map) = (self.reading, self.map.clone());
        let range = row..self.frames.end;
        let patience = patience(reading, !self.spare.is_empty());
        async move {
            let Chosen { slot, copy, frames } = source;
            let started = Instant::now();
            let read = async {
                let mut frames = match frames {
                    Some(frames) => frames,
                    None => open_copy(reading, &map, slot, &copy, range).await?,
                };
                let stored = next_of(&mut frames, patience).await?;
                Ok((stored, frames))
            };
            let read = read.await;
            if let Ok((stored, _)) = &read {
                let waited = started.elapsed();
                reading.client.paces.note(Way::Read, &copy.node, stored.len(), waited);
            }
            (slot, copy, read)
        }
    }

    /// How many chunks must be read for row `row`: those that have no such
    /// row are known without.
    fn needed(&self, row: u32) -> usize {
        let data = usize::from(self.map.shape.data);
        let known = (0..data)
            .filter(|slot| *slot != self.wanted && frames_of(&self.map, *slot) <= row)
            .count();
        sources_needed(self.map.shape).saturating_sub(known)
    }

    /// Takes a source for row `row`: a stream that stands there, else the best
    /// spare copy of a chunk that has such a row and is not being read.
    fn next_source(
        &mut self,
        row: u32,
        have: &BTreeMap<usize, Bytes>,
        asked: &BTreeMap<usize, CopyAt>,
    ) -> Option<Chosen> {
        let is_free = |slot: usize, map: &StripeMap| {
            !have.contains_key(&slot) && !asked.contains_key(&slot) && frames_of(map, slot) > row
        };
        let open = self.active.keys().copied().find(|slot| is_free(*slot, &self.map));
        if let Some(slot) = open {
            let Source { copy, frames } = self.active.remove(&slot)?;
            return Some(Chosen { slot, copy, frames: Some(frames) });
        }
        let place = self.spare.iter().position(|(slot, _)| is_free(*slot, &self.map))?;
        let (slot, copy) = self.spare.remove(place)?;
        Some(Chosen { slot, copy, frames: None })
    }

    // Streams may move between threads but not be shared: hence `&mut`.
    async fn rebuild(
        &mut self,
        row: u32,
        have: &BTreeMap<usize, Bytes>,
    ) -> std::result::Result<Option<Vec<u8>>, StripeError> {
        let shape = self.map.shape;
        let wanted = position_of(&self.map, self.wanted);
        let at = RowAt { first_handle: self.map.first_handle, index: row };
        let mut available: Vec<(u8, Bytes)> = (0..usize::from(shape.data))
            .filter(|slot| *slot != self.wanted && frames_of(&self.map, *slot) <= row)
            .map(|slot| (position_of(&self.map, slot), Bytes::new()))
            .collect();
        available.extend(
            have.iter().map(|(slot, stored)| (position_of(&self.map, *slot), stored.clone())),
        );
        env::run(&*self.reading.client.env.pool, Work::Cpu, move || {
            let available: Vec<(u8, &[u8])> =
                available.iter().map(|(position, stored)| (*position, &**stored)).collect();
            stripe::rebuild_row(at, shape, &available, wanted)
        })
        .await
    }

    /// Leaves a chunk out that gave a bad frame.
    fn leave_out(
        &mut self,
        position: u8,
        why: &str,
        have: &mut BTreeMap<usize, Bytes>,
    ) -> Result<()> {
        let slot = have.keys().copied().find(|slot| position_of(&self.map, *slot) == position);
        let slot = slot.ok_or_else(|| undecodable(why))?;
        have.remove(&slot);
        self.drop_source(slot, &Error::new(Kind::Integrity, why));
        Ok(())
    }

    fn drop_source(&mut self, slot: usize, error: &Error) {
        if let Some(source) = self.active.remove(&slot) {
            self.note(slot, &source.copy, error);
        }
    }

    fn note(&self, slot: usize, copy: &CopyAt, error: &Error) {
        let handle = handle_of(&self.map, slot);
        tracing::debug!(chunk = %handle, node = %copy.node, %error, "a stripe's chunk failed");
        self.reading.findings.note(handle, &copy.node, error);
    }

    fn too_few(&self, row: u32, found: usize) -> Error {
        let needed = self.needed(row);
        Error::new(
            Kind::Unavailable,
            format!("its stripe gives {found} of the {needed} other chunks that it takes"),
        )
    }
}

fn undecodable(why: &str) -> Error {
    Error::new(Kind::Integrity, format!("its stripe does not rebuild it: {why}"))
}
