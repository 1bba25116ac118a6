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

use super::{SmallDraft, Store, lock, path};
use crate::api::{Error, Kind, Result};
use crate::data::chunk::pack::{RECORD_ALIGNMENT, RECORD_HEADER_BYTES};
use crate::env::{Access, Disk, File, HardPlace, Work};
use crate::id::Handle;
use crate::limit::limit;

/// A pack that has come to this length is closed.
pub(super) const PACK_BYTES_MAX: u64 = 64 << 20;
/// A pack of which more than half is dead is closed from this length on, so
/// that it can be compacted.
const PACK_CLOSE_EARLY_BYTES_MIN: u64 = 4 << 20;
/// The same in a world with small limits.
pub(super) const SMALL_PACK_BYTES_MAX: u64 = 24 << 10;
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

/// What somebody wants written.
pub(super) enum Entry {
    /// A chunk. Answered once it is durable, and refused if it does not read
    /// back where it shall.
    Chunk(Box<SmallDraft>, oneshot::Sender<Result<()>>),
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
    pub(super) named: Option<u32>,
    /// The number of the next pack.
    pub(super) next_number: u32,
    /// The highest number of a record.
    pub(super) sequence: u64,
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

impl Packs {
    /// The packs that the scan found. The last one is appended to if
    /// `is_clean`: if nothing in it is damaged.
    pub(super) fn resume(packs: BTreeMap<u32, Pack>, sequence: u64, is_clean: bool) -> Self {
        let last = packs.last_key_value().map(|(&number, pack)| (number, pack.len));
        let current = last
            .filter(|&(_, len)| is_clean && len < limit(PACK_BYTES_MAX, SMALL_PACK_BYTES_MAX))
            .map(|it| it.0);
        let next_number = last.map_or(0, |(number, _)| number.saturating_add(1));
        let state = State { packs, current, named: None, next_number, sequence };
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

    pub(super) fn keep_open(&self, number: u32, file: &Arc<dyn File>) {
        let mut files = lock(&self.files);
        if files.len() >= limit(FILES_OPEN_MAX, 2) {
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
            let is_worth_closing =
                pack.len >= limit(PACK_CLOSE_EARLY_BYTES_MIN, SMALL_PACK_BYTES_MAX / 4);
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
        let (sender, receiver) = oneshot::channel();
        self.submit(Entry::Chunk(Box::new(draft), sender));
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
                let is_small = self.env.is_hard(HardPlace::SmallQueues);
                let entries_max = if is_small { 1 } else { BATCH_ENTRIES_MAX };
                let entries = take_batch(&mut queue.waiting, entries_max);
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
}

fn take_batch(waiting: &mut VecDeque<Entry>, entries_max: usize) -> Vec<Entry> {
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while entries.len() < entries_max && bytes < limit(BATCH_BYTES_MAX, SMALL_PACK_BYTES_MAX / 4) {
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

/// As [`record_len`].
pub(super) fn record_len_of(body_len: u64) -> u64 {
    (RECORD_HEADER_BYTES as u64 + body_len).next_multiple_of(RECORD_ALIGNMENT)
}
