//! Where a file's chunks are, page by page, and which part of each is wanted.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::Reading;
use crate::api::{FileInfo, FileMap, Kind, Lookup, StripeMap};
use crate::client::{Client, ClientError};
use crate::data::frame::{self, FRAME_SIZE};
use crate::id::{FileId, Handle};
use crate::name::FileName;
use crate::policy::STRIPE_WIDTH_MAX;

/// Chunks that are looked up ahead. Most files are looked up whole before
/// their first byte is read, and then need the coordinator no more.
const CHUNKS_AHEAD_MAX: usize = 16_384;

/// The wanted part of one data chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChunkTask {
    /// Its number in the file.
    pub(super) chunk: u64,
    /// Its stripe's number in the file.
    pub(super) stripe: u32,
    /// Its place in the stripe.
    pub(super) slot: usize,
    /// Its stripe.
    pub(super) map: Arc<StripeMap>,
    /// Raw bytes of the chunk.
    pub(super) len: u64,
    /// Which of them are wanted.
    pub(super) wanted: Range<u64>,
    /// Where the first wanted one goes in the sink.
    pub(super) sink_offset: u64,
}

impl ChunkTask {
    /// The frames that hold what is wanted.
    pub(super) fn frames(&self) -> Range<u32> {
        let first = self.wanted.start / FRAME_SIZE as u64;
        frames_u32(first)..frames_u32(frame::count(self.wanted.end))
    }

    /// Raw bytes of frame `index` of the chunk.
    pub(super) fn frame_len(&self, index: u32) -> usize {
        let start = u64::from(index) * FRAME_SIZE as u64;
        let left = self.len.saturating_sub(start).min(FRAME_SIZE as u64);
        usize::try_from(left).expect("at most a frame")
    }

    /// Which raw bytes of frame `index` are wanted, and where they go.
    pub(super) fn part(&self, index: u32) -> (Range<usize>, u64) {
        let start = u64::from(index) * FRAME_SIZE as u64;
        let end = start + self.frame_len(index) as u64;
        let from = self.wanted.start.clamp(start, end);
        let to = self.wanted.end.clamp(from, end);
        let in_frame = |at: u64| usize::try_from(at - start).expect("at most a frame");
        (in_frame(from)..in_frame(to), self.sink_offset + (from - self.wanted.start))
    }

    /// True when every byte of the chunk is wanted.
    pub(super) fn is_whole(&self) -> bool {
        self.wanted == (0..self.len)
    }

    pub(super) fn handle(&self) -> Handle {
        handle_of(&self.map, self.slot)
    }
}

fn frames_u32(frames: u64) -> u32 {
    u32::try_from(frames).unwrap_or(u32::MAX)
}

/// The handle of chunk `slot` (data, then parity) of a stripe.
pub(super) fn handle_of(map: &StripeMap, slot: usize) -> Handle {
    Handle(map.first_handle.0 + u64::from(position_of(map, slot)))
}

/// The place in the code of chunk `slot` (data, then parity) of a stripe.
pub(super) fn position_of(map: &StripeMap, slot: usize) -> u8 {
    let data = usize::from(map.shape.data);
    let position =
        if slot < data { slot } else { usize::from(map.shape.coding.data) + slot - data };
    u8::try_from(position).expect("checked when the stripe came")
}

/// The chunks to read, in the order of the file, looked up ahead.
pub(super) struct Pages<'a> {
    client: &'a Client,
    info: FileInfo,
    range: Range<u64>,
    ready: VecDeque<ChunkTask>,
    /// The first stripe not looked up yet.
    next_stripe: u64,
    /// The first stripe not wanted any more.
    end_stripe: u64,
}

impl<'a> Pages<'a> {
    /// The chunks of `range`, which the file has; `first` is its first page.
    pub(super) fn new(
        reading: &Reading<'a>,
        first: FileMap,
        range: Range<u64>,
    ) -> Result<Self, ClientError> {
        let stripe_bytes = stripe_bytes(&reading.info);
        let mut pages = Self {
            client: reading.client,
            info: reading.info.clone(),
            next_stripe: range.start / stripe_bytes,
            end_stripe: if range.is_empty() { 0 } else { range.end.div_ceil(stripe_bytes) },
            range,
            ready: VecDeque::new(),
        };
        let skipped = usize::try_from(pages.next_stripe).unwrap_or(usize::MAX);
        let stripes: Vec<StripeMap> = first.stripes.into_iter().skip(skipped).collect();
        pages.take(stripes)?;
        Ok(pages)
    }

    pub(super) fn next_chunk(&mut self) -> Option<ChunkTask> {
        self.ready.pop_front()
    }

    /// True when it is time to look up more.
    pub(super) fn is_low(&self) -> bool {
        self.has_more() && self.ready.len() < CHUNKS_AHEAD_MAX / 2
    }

    /// Looks up all that there is room for.
    pub(super) async fn fill(&mut self) -> Result<(), ClientError> {
        while self.has_more() && self.ready.len() < CHUNKS_AHEAD_MAX {
            let page = self.request()?.await?;
            self.take(page.stripes)?;
        }
        Ok(())
    }

    /// Asks for one page more; its stripes are for [`Pages::take`].
    pub(super) fn request(
        &self,
    ) -> Result<impl Future<Output = Result<FileMap, ClientError>> + use<'a>, ClientError> {
        let stripe = self.stripe_number()?;
        let client = self.client;
        let name = self.info.name.clone();
        let version = self.info.id;
        Ok(async move {
            let page = look_up(client, &name, Some(version), stripe).await?;
            if page.stripes.is_empty() {
                return Err(broken(&page.info, "fewer than the file is long"));
            }
            Ok(page)
        })
    }

    /// Takes the next stripes of the file.
    pub(super) fn take(&mut self, stripes: Vec<StripeMap>) -> Result<(), ClientError> {
        for map in stripes {
            if !self.has_more() {
                break;
            }
            self.take_stripe(map)?;
            self.next_stripe += 1;
        }
        Ok(())
    }

    fn has_more(&self) -> bool {
        self.next_stripe < self.end_stripe
    }

    fn stripe_number(&self) -> Result<u32, ClientError> {
        u32::try_from(self.next_stripe).map_err(|_| broken(&self.info, "too many"))
    }

    fn take_stripe(&mut self, map: StripeMap) -> Result<(), ClientError> {
        check(&self.info, self.next_stripe, &map)?;
        let stripe = self.stripe_number()?;
        let map = Arc::new(map);
        let mut start = self.next_stripe * stripe_bytes(&self.info);
        let first_chunk = self.next_stripe * u64::from(self.info.policy.coding.data.max(1));
        for slot in 0..usize::from(map.shape.data) {
            let len = map.chunks[slot].raw_len;
            let from = self.range.start.clamp(start, start + len);
            let to = self.range.end.clamp(from, start + len);
            if from < to {
                self.ready.push_back(ChunkTask {
                    chunk: first_chunk + slot as u64,
                    stripe,
                    slot,
                    map: map.clone(),
                    len,
                    wanted: from - start..to - start,
                    sink_offset: from - self.range.start,
                });
            }
            start += len;
        }
        Ok(())
    }
}

/// Looks up a page of a file's stripes; of one version, where it is given.
pub(super) async fn look_up(
    client: &Client,
    name: &FileName,
    version: Option<FileId>,
    first_stripe: u32,
) -> Result<FileMap, ClientError> {
    let ask = |version| {
        let request = Lookup { name: name.clone(), version, first_stripe };
        client.call(move |coordinator| {
            let request = request.clone();
            async move { coordinator.lookup(request).await }
        })
    };
    let error = match ask(version).await {
        Ok(map) if version.is_none_or(|version| version == map.info.id) => return Ok(map),
        Ok(_) => return Err(replaced(name)),
        Err(error) => error,
    };
    if version.is_none() || error.kind != Kind::NotFound {
        return Err(error.into());
    }
    match ask(None).await {
        Ok(_) => Err(replaced(name)),
        Err(error) if error.kind == Kind::NotFound => {
            Err(ClientError::new(Kind::NotFound, format!("{name} was removed while it was read")))
        }
        Err(error) => Err(error.into()),
    }
}

fn replaced(name: &FileName) -> ClientError {
    // Another try reads the new version.
    ClientError::new(
        Kind::Unavailable,
        format!("{name} was replaced while it was read: read it again"),
    )
}

/// Stripe `map` as the catalog has it now.
pub(super) async fn look_up_stripe(
    reading: &Reading<'_>,
    stripe: u32,
) -> Result<Arc<StripeMap>, ClientError> {
    let info = &reading.info;
    let page = look_up(reading.client, &info.name, Some(info.id), stripe).await?;
    let map = page.stripes.into_iter().next().ok_or_else(|| broken(info, "one fewer"))?;
    check(info, u64::from(stripe), &map)?;
    Ok(Arc::new(map))
}

fn stripe_bytes(info: &FileInfo) -> u64 {
    let width = u64::from(info.policy.coding.data.max(1));
    width * u64::from(info.policy.chunk_size.max(1))
}

/// What the coordinator says must fit together before a byte is read by it.
fn check(info: &FileInfo, stripe: u64, map: &StripeMap) -> Result<(), ClientError> {
    let coding = map.shape.coding;
    let width = u16::from(coding.data) + u16::from(coding.parity);
    let is_shape = coding == info.policy.coding
        && (1..=coding.data).contains(&map.shape.data)
        && width <= u16::from(STRIPE_WIDTH_MAX)
        && map.chunks.len() == map.shape.chunks()
        && map.first_handle.0 <= u64::MAX - u64::from(STRIPE_WIDTH_MAX);
    if !is_shape {
        return Err(broken(info, "one of another shape"));
    }
    let data = &map.chunks[..usize::from(map.shape.data)];
    let is_sized =
        data.iter().all(|chunk| (1..=u64::from(info.policy.chunk_size)).contains(&chunk.raw_len));
    let found: u64 = data.iter().map(|chunk| chunk.raw_len.min(u64::from(u32::MAX))).sum();
    let start = stripe.saturating_mul(stripe_bytes(info));
    let expected = info.size.saturating_sub(start).min(stripe_bytes(info));
    if !is_sized || found != expected {
        return Err(broken(info, "one of another length"));
    }
    Ok(())
}

fn broken(info: &FileInfo, what: &str) -> ClientError {
    ClientError::new(
        Kind::Integrity,
        format!("the catalog's stripes of {} do not add up: it names {what}", info.name),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::{Code, Coding, StripeShape};

    fn task(len: u64, wanted: Range<u64>) -> ChunkTask {
        let coding = Coding { code: Code::None, data: 1, parity: 0 };
        let shape = StripeShape { coding, data: 1 };
        let map = StripeMap { first_handle: Handle(7), shape, chunks: Vec::new() };
        let map = Arc::new(map);
        ChunkTask { chunk: 0, stripe: 0, slot: 0, map, len, wanted, sink_offset: 1000 }
    }

    proptest! {
        #[test]
        fn the_parts_of_the_frames_are_the_wanted_bytes_and_no_frame_is_read_in_vain(
            len in 1..5 * FRAME_SIZE as u64,
            from in 0..5 * FRAME_SIZE as u64,
            size in 1..5 * FRAME_SIZE as u64,
        ) {
            let from = from.min(len - 1);
            let to = (from + size).min(len);
            let task = task(len, from..to);
            let mut next = from;
            for index in task.frames() {
                let (part, offset) = task.part(index);
                prop_assert!(!part.is_empty());
                prop_assert!(part.end <= task.frame_len(index));
                let start = u64::from(index) * FRAME_SIZE as u64 + part.start as u64;
                prop_assert_eq!(start, next);
                prop_assert_eq!(offset, 1000 + start - from);
                next += part.len() as u64;
            }
            prop_assert_eq!(next, to);
        }
    }

    #[test]
    fn only_a_chunk_that_is_read_whole_counts_as_whole() {
        assert!(task(10, 0..10).is_whole());
        assert!(!task(10, 0..9).is_whole());
        assert!(!task(10, 1..10).is_whole());
    }
}
