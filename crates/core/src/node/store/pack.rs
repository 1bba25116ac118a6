//! Packs: small chunks, appended to shared files with one sync for many.
//!
//! Whoever brings a record puts it into the queue. If nobody is writing, it
//! sets a job going that writes all that waits in one piece, syncs once,
//! takes the records into the index, answers, and looks again. That job is
//! the only one that appends, so the order of records is that of the index.
//!
//! A pack in which a write or a sync failed is never appended to again, and
//! nothing of that batch is acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::index::{Held, Place};
use super::quarantine::unless_missing;
use super::{SmallDraft, Store, lock, path};
use crate::api::{Error, Kind, Result};
use crate::data::chunk::pack::{
    PACK_HEADER_BYTES, PackHeader, RECORD_ALIGNMENT, RECORD_HEADER_BYTES, RecordKind,
    encode_pack_header, encode_record,
};
use crate::env::{Access, Disk, File, Work};
use crate::id::Handle;

/// A pack that has come to this length is closed.
const PACK_BYTES_MAX: u64 = 64 << 20;
/// A pack of which more than half is dead is closed from this length on, so
/// that it can be compacted.
const PACK_CLOSE_EARLY_BYTES_MIN: u64 = 4 << 20;
/// The most bytes written in one piece.
pub(super) const BATCH_BYTES_MAX: u64 = 8 << 20;
/// The most queue entries in one batch.
const BATCH_ENTRIES_MAX: usize = 1024;
/// The most packs whose files are kept open.
const FILES_OPEN_MAX: usize = 64;

/// All packs and the queue before them.
#[derive(Default)]
pub(super) struct Packs {
    queue: Mutex<Queue>,
    pub(super) state: Mutex<State>,
    pub(super) files: Mutex<BTreeMap<u32, Arc<dyn File>>>,
}

/// What waits to be written. Bounded by the writers and deleters in flight.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Entry>,
    is_draining: bool,
}

enum Entry {
    /// A chunk. Answered once it is durable, and refused if it does not read
    /// back where it shall.
    Chunk(SmallDraft, oneshot::Sender<Result<()>>),
    /// Chunks to forget. Answered once that is written, durable or not.
    Delete(Vec<Handle>, oneshot::Sender<Result<()>>),
    /// A record that is not in the index any more shall not come back.
    Retire(Handle),
}

/// The packs that there are.
#[derive(Default)]
pub(super) struct State {
    /// By number, which is the order of their making.
    pub(super) packs: BTreeMap<u32, Pack>,
    /// The one that is appended to.
    pub(super) current: Option<u32>,
    /// The pack whose name was made durable last.
    named: Option<u32>,
    next_number: u32,
    next_sequence: u64,
}

/// One pack file.
#[derive(Debug, Clone)]
pub(super) struct Pack {
    /// Random bits in its name and in its records' sums.
    pub(super) salt: u64,
    /// Its bytes.
    pub(super) len: u64,
    /// Of these, bytes that nobody needs: chunks that do not count any more,
    /// damage, the pack's header.
    pub(super) dead_bytes: u64,
    /// The tombstones in it, with their sequence numbers. They are needed as
    /// long as there are packs before this one.
    pub(super) tombstones: Vec<(Handle, u64)>,
    /// A compaction of it failed; it is tried again when more of it is dead.
    pub(super) is_stuck: bool,
}

/// Records on their way into the current pack.
pub(super) struct Batch {
    pack: u32,
    at: u64,
    is_new: bool,
    salt: u64,
    bytes: Vec<u8>,
    chunks: Vec<(SmallDraft, Place, oneshot::Sender<Result<()>>)>,
    deletes: Vec<oneshot::Sender<Result<()>>>,
    /// Whether it has anything that must not be lost in a power cut.
    must_last: bool,
    tombstones: Vec<(Handle, u64)>,
}

impl Packs {
    /// The packs that the scan found. The last one is appended to if
    /// `is_clean`: if nothing in it is damaged.
    pub(super) fn resume(packs: BTreeMap<u32, Pack>, next_sequence: u64, is_clean: bool) -> Self {
        let last = packs.last_key_value().map(|(&number, pack)| (number, pack.len));
        let current = last.filter(|&(_, len)| is_clean && len < PACK_BYTES_MAX).map(|it| it.0);
        let next_number = last.map_or(0, |(number, _)| number.saturating_add(1));
        let state = State { packs, current, named: None, next_number, next_sequence };
        Self { state: Mutex::new(state), ..Self::default() }
    }

    /// The open file of pack `number`.
    pub(super) fn file(&self, disk: &dyn Disk, number: u32) -> io::Result<Arc<dyn File>> {
        if let Some(file) = lock(&self.files).get(&number) {
            return Ok(Arc::clone(file));
        }
        let salt = lock(&self.state).packs.get(&number).map(|pack| pack.salt);
        let salt = salt.ok_or(io::ErrorKind::NotFound)?;
        let file: Arc<dyn File> = Arc::from(disk.open(&path::pack(number, salt), Access::Random)?);
        self.keep_open(number, &file);
        Ok(file)
    }

    fn keep_open(&self, number: u32, file: &Arc<dyn File>) {
        let mut files = lock(&self.files);
        if files.len() >= FILES_OPEN_MAX {
            files.pop_first();
        }
        files.insert(number, Arc::clone(file));
    }

    /// Bytes that packs take beside the chunks in them.
    pub(super) fn dead_bytes(&self) -> u64 {
        let waste = |pack: &Pack| pack.dead_bytes + pack.tombstone_bytes();
        lock(&self.state).packs.values().map(waste).sum()
    }

    /// A record of pack `number` does not count any more.
    pub(super) fn mark_dead(&self, number: u32, body_len: u32) {
        if let Some(pack) = lock(&self.state).packs.get_mut(&number) {
            pack.dead_bytes += record_len(body_len);
            pack.is_stuck = false;
        }
    }

    /// A pack of which more than half is not needed. The current one is closed
    /// for it where that is worth the while.
    fn next_to_compact(&self) -> Option<u32> {
        let mut state = lock(&self.state);
        let (first, current) = (state.packs.keys().next().copied(), state.current);
        let wasteful = state.packs.iter().find(|(number, pack)| {
            let is_open = Some(**number) == current;
            let is_worth_closing = pack.len >= PACK_CLOSE_EARLY_BYTES_MIN;
            let is_first = Some(**number) == first && !is_open;
            !pack.is_stuck && (!is_open || is_worth_closing) && pack.is_wasteful(is_first)
        });
        let number = *wasteful?.0;
        state.current = current.filter(|&current| current != number);
        Some(number)
    }
}

impl Pack {
    fn is_wasteful(&self, is_first: bool) -> bool {
        let tombstone_bytes = if is_first { self.tombstone_bytes() } else { 0 };
        (self.dead_bytes + tombstone_bytes) * 2 > self.len
    }

    /// Bytes of its tombstones.
    pub(super) fn tombstone_bytes(&self) -> u64 {
        self.tombstones.len() as u64 * record_len(0)
    }
}

impl Store {
    /// Writes a small chunk into a pack; returns once it is durable and held.
    pub(in crate::node) async fn put_small(self: &Arc<Self>, draft: SmallDraft) -> Result<()> {
        self.check_room(record_len_of(draft.len()))?;
        let (sender, receiver) = oneshot::channel();
        self.submit(Entry::Chunk(draft, sender));
        receiver.await.unwrap_or_else(|_| Err(self.is_stopping()))
    }

    /// Deletes chunks that lie in packs.
    pub(super) async fn delete_packed(self: &Arc<Self>, handles: Vec<Handle>) -> Result<()> {
        let (sender, receiver) = oneshot::channel();
        self.submit(Entry::Delete(handles, sender));
        receiver.await.unwrap_or_else(|_| Err(self.is_stopping()))
    }

    /// A record was found bad: it does not count any more, and shall not come
    /// back at the next start.
    pub(super) fn retire(self: &Arc<Self>, number: u32, body_len: u32, handle: Handle) {
        self.packs.mark_dead(number, body_len);
        self.submit(Entry::Retire(handle));
    }

    fn is_stopping(&self) -> Error {
        Error::new(Kind::Unavailable, format!("node {} is stopping", self.node))
    }

    fn submit(self: &Arc<Self>, entry: Entry) {
        {
            let mut queue = lock(&self.packs.queue);
            queue.waiting.push_back(entry);
            if queue.is_draining {
                return;
            }
            queue.is_draining = true;
        }
        let this = Arc::clone(self);
        self.env.pool.execute(Work::Disk, Box::new(move || this.drain()));
    }

    /// Writes batch after batch until nothing waits and no pack is wasteful.
    fn drain(self: &Arc<Self>) {
        let mut buffer = Vec::new();
        loop {
            let entries = {
                let mut queue = lock(&self.packs.queue);
                let entries = take_batch(&mut queue.waiting);
                let is_idle = entries.is_empty() && self.packs.next_to_compact().is_none();
                queue.is_draining = !is_idle;
                if is_idle {
                    return;
                }
                entries
            };
            if !entries.is_empty() {
                buffer = self.write_batch(entries, std::mem::take(&mut buffer));
            } else if let Some(number) = self.packs.next_to_compact() {
                self.compact(number);
            }
        }
    }

    /// Writes, syncs, takes into the index, answers. Gives the buffer back.
    fn write_batch(self: &Arc<Self>, entries: Vec<Entry>, buffer: Vec<u8>) -> Vec<u8> {
        let mut batch = self.begin_batch(buffer);
        for entry in entries {
            match entry {
                Entry::Chunk(draft, answer) => batch.add_chunk(self, draft, answer),
                Entry::Delete(handles, answer) => {
                    for handle in handles {
                        if self.forget_packed(handle) {
                            batch.add_tombstone(self, handle);
                        }
                    }
                    batch.deletes.push(answer);
                }
                Entry::Retire(handle) => {
                    batch.must_last = true;
                    batch.add_tombstone(self, handle);
                }
            }
        }
        match self.append(&batch) {
            Ok(file) => self.finish_batch(batch, &file),
            Err(error) => self.fail_batch(batch, &error),
        }
    }

    /// Removes a chunk in a pack from the index; true when it was there.
    fn forget_packed(&self, handle: Handle) -> bool {
        if lock(&self.claims).contains(&handle) {
            return false;
        }
        let mut index = self.index();
        let Some(Held { place: Place::Pack { pack, body_len, .. }, .. }) = index.get(handle) else {
            return false;
        };
        index.remove(handle);
        drop(index);
        self.packs.mark_dead(pack, body_len);
        true
    }

    /// A batch for the end of the current pack, or for a new one.
    pub(super) fn begin_batch(&self, mut bytes: Vec<u8>) -> Batch {
        bytes.clear();
        let mut state = lock(&self.packs.state);
        let open = state.current.and_then(|number| Some((number, state.packs.get(&number)?)));
        let open = open.filter(|(_, pack)| pack.len < PACK_BYTES_MAX);
        let (pack, at, salt, is_new) = match open {
            Some((number, pack)) => (number, pack.len, pack.salt, false),
            None => {
                let number = state.next_number;
                state.next_number = number.saturating_add(1);
                (number, 0, self.env.random.next_u64(), true)
            }
        };
        drop(state);
        if is_new {
            let header = PackHeader { number: u64::from(pack), salt };
            bytes.extend_from_slice(&encode_pack_header(&header));
        }
        let (chunks, deletes, tombstones) = (Vec::new(), Vec::new(), Vec::new());
        Batch { pack, at, is_new, salt, bytes, chunks, deletes, must_last: false, tombstones }
    }

    /// Puts a batch's bytes on disk, durably if they must last.
    pub(super) fn append(&self, batch: &Batch) -> io::Result<Arc<dyn File>> {
        let disk = &*self.env.disk;
        let file = if batch.is_new {
            let path = path::pack(batch.pack, batch.salt);
            Arc::from(disk.create(&path, Access::Random)?)
        } else {
            self.packs.file(disk, batch.pack)?
        };
        if batch.is_new {
            self.packs.keep_open(batch.pack, &file);
        }
        file.write_at(batch.at, &batch.bytes)?;
        if self.is_strict() && batch.must_last {
            file.sync()?;
            self.make_name_durable(batch.pack)?;
        }
        Ok(file)
    }

    /// A pack that began with tombstones only is named durably with its first
    /// chunk.
    fn make_name_durable(&self, number: u32) -> io::Result<()> {
        if lock(&self.packs.state).named != Some(number) {
            self.env.disk.sync_dir(path::PACKS)?;
            lock(&self.packs.state).named = Some(number);
        }
        Ok(())
    }

    fn finish_batch(self: &Arc<Self>, batch: Batch, file: &Arc<dyn File>) -> Vec<u8> {
        self.note_appended(&batch);
        for (draft, place, answer) in batch.chunks {
            let Place::Pack { pack, offset, body_len } = place else { continue };
            let handle = draft.header.handle;
            let span = (u64::from(offset) + RECORD_HEADER_BYTES as u64, u64::from(body_len));
            let verified = draft.expected.map_or(Ok(()), |seal| {
                self.check_written(Arc::clone(file), span, &draft.header, seal.digest)
            });
            if verified.is_ok() {
                let stored_bytes = record_len(body_len);
                let before = self.index().put(handle, Held { place, stored_bytes, is_good: true });
                self.replaced(handle, before, place);
            } else {
                self.retire(pack, body_len, handle);
            }
            // Who waited may be gone; the chunk is held all the same.
            let _ = answer.send(verified);
        }
        for answer in batch.deletes {
            let _ = answer.send(Ok(()));
        }
        batch.bytes
    }

    pub(super) fn note_appended(&self, batch: &Batch) {
        let mut state = lock(&self.packs.state);
        let header_bytes = PACK_HEADER_BYTES as u64;
        let pack = state.packs.entry(batch.pack).or_insert(Pack {
            salt: batch.salt,
            len: 0,
            dead_bytes: header_bytes,
            tombstones: Vec::new(),
            is_stuck: false,
        });
        pack.len = batch.at + batch.bytes.len() as u64;
        pack.tombstones.extend_from_slice(&batch.tombstones);
        state.current = Some(batch.pack);
    }

    /// Closes the pack for good, and tells all that nothing was kept.
    fn fail_batch(&self, batch: Batch, error: &io::Error) -> Vec<u8> {
        let error = self.disk_error("cannot write to a pack", error);
        let disk = &*self.env.disk;
        let mut state = lock(&self.packs.state);
        state.current = None;
        drop(state);
        if batch.is_new {
            lock(&self.packs.files).remove(&batch.pack);
            let removed = disk.remove(&path::pack(batch.pack, batch.salt));
            if let Err(error) = removed.or_else(unless_missing) {
                tracing::debug!(node = %self.node, "a failed pack stays: {error}");
            }
        } else if let Ok(file) = self.packs.file(disk, batch.pack) {
            // The next scan needs not search for the end.
            let _ = file.set_len(batch.at);
        }
        for (_, _, answer) in batch.chunks {
            let _ = answer.send(Err(error.clone()));
        }
        for answer in batch.deletes {
            // They are gone from the index; after a restart they may be told
            // of again, and deleted again.
            let _ = answer.send(Ok(()));
        }
        batch.bytes
    }

    fn next_sequence(&self) -> u64 {
        let mut state = lock(&self.packs.state);
        state.next_sequence += 1;
        state.next_sequence
    }
}

impl Batch {
    fn add_chunk(&mut self, store: &Store, draft: SmallDraft, answer: oneshot::Sender<Result<()>>) {
        let parts = draft.parts.each_ref().map(|part| &part[..]);
        let sequence = store.next_sequence();
        let place = self.add_record(draft.header.handle, sequence, &parts);
        self.chunks.push((draft, place, answer));
        self.must_last = true;
    }

    /// From now on it is durable once it is written.
    pub(super) fn make_last(&mut self) {
        self.must_last = true;
    }

    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// True when it has no record.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == if self.is_new { PACK_HEADER_BYTES as u64 } else { 0 }
    }

    pub(super) fn add_record(&mut self, handle: Handle, sequence: u64, body: &[&[u8]]) -> Place {
        let offset = self.at + self.bytes.len() as u64;
        let body_len: usize = body.iter().map(|part| part.len()).sum();
        encode_record(RecordKind::Chunk, handle, sequence, self.salt, body, &mut self.bytes);
        Place::Pack {
            pack: self.pack,
            offset: u32::try_from(offset).expect("a pack is closed long before 4 GiB"),
            body_len: u32::try_from(body_len).expect("a small draft has one frame"),
        }
    }

    fn add_tombstone(&mut self, store: &Store, handle: Handle) {
        self.keep_tombstone(handle, store.next_sequence());
    }

    pub(super) fn keep_tombstone(&mut self, handle: Handle, sequence: u64) {
        let kind = RecordKind::Tombstone;
        encode_record(kind, handle, sequence, self.salt, &[], &mut self.bytes);
        self.tombstones.push((handle, sequence));
    }
}

fn take_batch(waiting: &mut VecDeque<Entry>) -> Vec<Entry> {
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while entries.len() < BATCH_ENTRIES_MAX && bytes < BATCH_BYTES_MAX {
        let Some(entry) = waiting.pop_front() else { break };
        bytes += match &entry {
            Entry::Chunk(draft, _) => record_len_of(draft.len()),
            Entry::Delete(handles, _) => handles.len() as u64 * record_len(0),
            Entry::Retire(_) => record_len(0),
        };
        entries.push(entry);
    }
    entries
}

/// Bytes of the record whose body has `body_len`.
pub(super) fn record_len(body_len: u32) -> u64 {
    record_len_of(u64::from(body_len))
}

fn record_len_of(body_len: u64) -> u64 {
    (RECORD_HEADER_BYTES as u64 + body_len).next_multiple_of(RECORD_ALIGNMENT)
}
