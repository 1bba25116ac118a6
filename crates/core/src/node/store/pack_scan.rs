//! Reading a pack from start to end, when the node starts: which records are
//! in it, and which of them are whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::buffer::BufferPool;
use super::image::is_newer;
use super::pack::{Pack, record_len};
use super::{Image, ImageError, path};
use crate::data::chunk::pack::{
    PACK_HEADER_BYTES, RECORD_ALIGNMENT, RECORD_HEADER_BYTES, RecordHeader, RecordKind,
    decode_pack_header, find,
};
use crate::env::{Access, Disk, File};
use crate::id::{ClusterId, Handle};
use crate::mutant::{Mutant, is_planted};

/// How much of a pack is searched for records at once, in bytes.
const WINDOW_BYTES: u64 = 256 << 10;
/// What is passed over, in bytes, where the disk cannot read.
const SECTOR_BYTES: u64 = 4096;
/// Records up to this length are read whole, longer ones only in the last
/// pack: what a crash tore is there.
const WHOLE_BYTES_MAX: u32 = 64 << 10;

/// What a pack has.
pub(super) struct PackFound {
    /// Its number.
    pub(super) number: u32,
    /// Its salt.
    pub(super) salt: u64,
    /// Bytes up to the end of the last good record.
    pub(super) len: u64,
    /// Whether it can be appended to.
    pub(super) is_clean: bool,
    /// Its chunks and tombstones, in order.
    pub(super) records: Vec<RecordFound>,
}

/// A record in a pack.
pub(super) struct RecordFound {
    /// What it says of itself.
    pub(super) header: RecordHeader,
    /// Where it begins.
    pub(super) offset: u32,
    /// What is wrong with its body, if anything is.
    pub(super) damage: Option<ImageError>,
}

/// Where one record of a chunk lies.
#[derive(Debug)]
pub(super) struct PackedChunk {
    pub(super) pack: u32,
    pub(super) offset: u32,
    pub(super) body_len: u32,
    pub(super) sequence: u64,
    pub(super) damage: Option<ImageError>,
}

/// Which records count, of all packs.
pub(super) struct PacksFound {
    /// The packs.
    pub(super) packs: BTreeMap<u32, Pack>,
    /// The record of each chunk that counts.
    pub(super) chunks: BTreeMap<Handle, PackedChunk>,
    /// The highest sequence number.
    pub(super) sequence: u64,
    /// Whether the last pack can be appended to.
    pub(super) is_clean: bool,
}

/// Reads pack `number`. Of the last pack, a torn end is cut off, if it is sure
/// to be one: two readings must agree, and the disk must have read all of it.
pub(super) fn scan_pack(
    disk: &dyn Disk,
    (number, salt): (u32, u64),
    is_last: bool,
    cluster: Option<ClusterId>,
    buffers: &BufferPool,
) -> Result<PackFound, ImageError> {
    let file: Arc<dyn File> =
        Arc::from(disk.open(&path::pack(number, salt), Access::Random).map_err(ImageError::Open)?);
    let file_len = file.len().map_err(ImageError::Open)?;
    check_version(&*file, file_len)?;
    let scan = Scan { file, file_len, number, salt, is_last, cluster, buffers };
    let mut first = scan.read()?;
    if !first.is_doubtful(file_len) {
        if is_last {
            first.found.drop_torn_end(&*scan.file, file_len);
        }
        return Ok(first.found);
    }
    // What only one reading got wrong is neither damage nor a torn end.
    let second = scan.read()?;
    let is_sure = first.is_all_read && second.is_all_read && first.found.len == second.found.len;
    let mut found = if second.worth() >= first.worth() { second.found } else { first.found };
    if is_last && is_sure {
        found.drop_torn_end(&*scan.file, file_len);
    } else if is_last {
        found.is_clean = false;
    }
    Ok(found)
}

/// How a pack is read.
struct Scan<'a> {
    file: Arc<dyn File>,
    file_len: u64,
    number: u32,
    salt: u64,
    is_last: bool,
    cluster: Option<ClusterId>,
    buffers: &'a BufferPool,
}

/// One reading of a pack.
struct Reading {
    found: PackFound,
    /// Whether the disk read all that was asked of it.
    is_all_read: bool,
}

impl Scan<'_> {
    fn read(&self) -> Result<Reading, ImageError> {
        let (number, salt) = (self.number, self.salt);
        let len = PACK_HEADER_BYTES as u64;
        let found = PackFound { number, salt, len, is_clean: true, records: Vec::new() };
        let mut reading = Reading { found, is_all_read: true };
        let found = &mut reading.found;
        let mut at = len;
        while let Some((offset, header)) = self.next_record(at, &mut reading.is_all_read) {
            let end = offset + header.record_len();
            let Ok(offset) = u32::try_from(offset) else { break };
            at = u64::from(offset) + RECORD_ALIGNMENT;
            if end > self.file_len {
                // Cut off: never finished, never acknowledged.
                continue;
            }
            let damage = self.check(offset, &header).err();
            if let Some(error) = damage {
                if is_newer(&error) {
                    return Err(error);
                }
                reading.is_all_read &= !error.is_unread();
                // Its own length may be right, or a later record may lie inside.
                found.records.push(RecordFound { header, offset, damage: Some(error) });
                continue;
            }
            found.records.push(RecordFound { header, offset, damage: None });
            found.len = end;
            at = end;
        }
        Ok(reading)
    }

    /// Checks the body of a record, if it is one that is read whole.
    fn check(&self, offset: u32, header: &RecordHeader) -> Result<(), ImageError> {
        let is_read = header.body_len <= WHOLE_BYTES_MAX || self.is_last;
        let (RecordKind::Chunk, true, Some(cluster)) = (header.kind, is_read, self.cluster) else {
            return Ok(());
        };
        let base = u64::from(offset) + RECORD_HEADER_BYTES as u64;
        Image::open(Arc::clone(&self.file), base, u64::from(header.body_len), self.buffers)
            .and_then(|image| image.expect(cluster, header.handle))
            .and_then(|image| image.check_frames())
    }

    /// Finds the next good record header from `at` on. What cannot be read is
    /// passed over as damage is, and told of.
    fn next_record(&self, mut at: u64, is_all_read: &mut bool) -> Option<(u64, RecordHeader)> {
        // Mostly it is just here.
        let mut window_bytes = RECORD_HEADER_BYTES as u64;
        while at + RECORD_HEADER_BYTES as u64 <= self.file_len {
            let len = window_bytes.min(self.file_len - at);
            let mut window = self.buffers.take(usize::try_from(len).expect("at most WINDOW_BYTES"));
            if self.file.read_at(at, window.as_mut_slice()).is_err() {
                *is_all_read = false;
                at = (at + 1).next_multiple_of(SECTOR_BYTES);
                window_bytes = SECTOR_BYTES;
                continue;
            }
            if let Some((offset, header)) = find(window.as_ref(), self.salt) {
                return Some((at + offset as u64, header));
            }
            at = (at + len).next_multiple_of(RECORD_ALIGNMENT);
            window_bytes = WINDOW_BYTES;
        }
        None
    }
}

impl Reading {
    /// Whether anything is not as a pack that was closed well is.
    fn is_doubtful(&self, file_len: u64) -> bool {
        let is_damaged = |record: &RecordFound| record.damage.is_some();
        !self.is_all_read || self.found.len != file_len || self.found.records.iter().any(is_damaged)
    }

    /// More records that are whole are worth more.
    fn worth(&self) -> (usize, u64) {
        let is_whole = |record: &&RecordFound| record.damage.is_none();
        (self.found.records.iter().filter(is_whole).count(), self.found.len)
    }
}

impl PackFound {
    /// What is not whole after the last good record was torn by a crash, and
    /// never acknowledged: it is cut off, so that what follows stands well.
    fn drop_torn_end(&mut self, file: &dyn File, file_len: u64) {
        let last = self.records.last().map(|record| u64::from(record.offset));
        let is_cut = is_planted(Mutant::CutLastRecord);
        self.len = last.filter(|_| is_cut).unwrap_or(self.len);
        let end = self.len;
        self.records.retain(|record| u64::from(record.offset) < end);
        let cut = if file_len == end { Ok(()) } else { file.set_len(end) };
        self.is_clean = cut.and_then(|()| file.sync()).is_ok();
    }
}

/// Refuses a pack of a later format. Damage is no reason: the salt is in the
/// pack's name too.
fn check_version(file: &dyn File, file_len: u64) -> Result<(), ImageError> {
    let mut head = [0; PACK_HEADER_BYTES];
    if file_len < head.len() as u64 || file.read_at(0, &mut head).is_err() {
        return Ok(());
    }
    match decode_pack_header(&head).map_err(ImageError::from) {
        Err(error) if is_newer(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Decides which records count: the newest of each chunk, a good one before
/// a bad one, none that a later tombstone names.
pub(super) fn merge(found: Vec<PackFound>) -> PacksFound {
    let mut buried: BTreeMap<Handle, u64> = BTreeMap::new();
    let mut sequence = 0;
    for record in found.iter().flat_map(|pack| &pack.records) {
        sequence = sequence.max(record.header.sequence);
        if record.header.kind == RecordKind::Tombstone {
            let latest = buried.entry(record.header.handle).or_default();
            *latest = (*latest).max(record.header.sequence);
        }
    }
    let is_clean = found.last().is_some_and(|pack| pack.is_clean);
    let mut packs = BTreeMap::new();
    let mut chunks: BTreeMap<Handle, PackedChunk> = BTreeMap::new();
    for PackFound { number, salt, len, records, .. } in found {
        let mut tombstones = Vec::new();
        for RecordFound { header, offset, damage } in records {
            let RecordHeader { kind, handle, sequence, body_len } = header;
            if kind == RecordKind::Tombstone {
                tombstones.push((handle, sequence));
                continue;
            }
            let is_buried = buried.get(&handle).is_some_and(|&later| later > sequence);
            let packed = PackedChunk { pack: number, offset, body_len, sequence, damage };
            let is_better = chunks.get(&handle).is_none_or(|other| packed.is_better(other));
            if !is_buried && is_better {
                chunks.insert(handle, packed);
            }
        }
        packs.insert(number, Pack { salt, len, dead_bytes: 0, tombstones, is_stuck: false });
    }
    let mut live: BTreeMap<u32, u64> = BTreeMap::new();
    for chunk in chunks.values() {
        *live.entry(chunk.pack).or_default() += record_len(chunk.body_len);
    }
    for (number, pack) in &mut packs {
        let live = live.get(number).copied().unwrap_or_default();
        pack.dead_bytes = pack.len.saturating_sub(live + pack.tombstone_bytes());
    }
    PacksFound { packs, chunks, sequence, is_clean }
}

impl PackedChunk {
    fn is_better(&self, other: &Self) -> bool {
        (self.damage.is_none(), self.sequence) >= (other.damage.is_none(), other.sequence)
    }
}
