//! A chunk that no copy gives, rebuilt row by row from the others of its
//! stripe: one frame costs as many frames as the stripe has data chunks.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::SemaphorePermit;

use super::Reading;
use super::fetch::{frames_of, next_of, open_copy, patience};
use super::map::{handle_of, position_of};
use super::ranking;
use crate::api::{CopyAt, Error, FrameStream, Kind, Result, StripeMap};
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

    /// Reads frames of row `row` until there are enough of them.
    async fn gather(&mut self, row: u32, have: &mut BTreeMap<usize, Bytes>) -> Result<()> {
        loop {
            let missing = self.needed(row).saturating_sub(have.len());
            if missing == 0 {
                return Ok(());
            }
            self.activate(row, missing, have).await?;
            let patience = patience(self.reading, !self.spare.is_empty());
            let reads = self
                .active
                .iter_mut()
                .filter(|(slot, _)| !have.contains_key(slot))
                .map(|(slot, source)| async move {
                    (*slot, next_of(&mut source.frames, patience).await)
                });
            for (slot, read) in join_all(reads).await {
                match read {
                    Ok(stored) => {
                        have.insert(slot, stored);
                    }
                    Err(error) => self.drop_source(slot, &error),
                }
            }
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

    /// Opens streams until `missing` of them can give a frame of row `row`.
    async fn activate(
        &mut self,
        row: u32,
        missing: usize,
        have: &BTreeMap<usize, Bytes>,
    ) -> Result<()> {
        // A source whose chunk ends before this row has no more to give.
        let map = self.map.clone();
        self.active.retain(|slot, _| frames_of(&map, *slot) > row);
        loop {
            let giving = self.active.keys().filter(|slot| !have.contains_key(slot)).count();
            let Some(more) = missing.checked_sub(giving).filter(|more| *more > 0) else {
                return Ok(());
            };
            let chosen = self.choose(row, more);
            if chosen.is_empty() {
                return Err(self.too_few(row, have.len() + giving));
            }
            let range = row..self.frames.end;
            let opens = chosen.into_iter().map(|(slot, copy)| {
                let (reading, map, range) = (self.reading, &map, range.clone());
                async move {
                    let opened = open_copy(reading, map, slot, &copy, range).await;
                    (slot, copy, opened)
                }
            });
            for (slot, copy, opened) in join_all(opens).await {
                match opened {
                    Ok(frames) => {
                        if !self.nodes.contains(&copy.node) {
                            self.nodes.push(copy.node.clone());
                        }
                        self.active.insert(slot, Source { copy, frames });
                    }
                    Err(error) => self.note(slot, &copy, &error),
                }
            }
        }
    }

    /// Takes up to `count` copies of different chunks that have row `row` and
    /// are not being read.
    fn choose(&mut self, row: u32, count: usize) -> Vec<(usize, CopyAt)> {
        let mut chosen: Vec<(usize, CopyAt)> = Vec::new();
        let mut passed = VecDeque::new();
        while chosen.len() < count
            && let Some((slot, copy)) = self.spare.pop_front()
        {
            let is_taken =
                self.active.contains_key(&slot) || chosen.iter().any(|(other, _)| *other == slot);
            if is_taken {
                passed.push_back((slot, copy));
            } else if frames_of(&self.map, slot) > row {
                chosen.push((slot, copy));
            }
        }
        passed.append(&mut self.spare);
        self.spare = passed;
        chosen
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
