//! One batch of records: put together, written in one piece, synced once,
//! taken into the index, answered.

use std::io;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::index::{Held, Place};
use super::pack::{Entry, PACK_BYTES_MAX, Pack, SMALL_PACK_BYTES_MAX, record_len, record_len_of};
use super::quarantine::unless_missing;
use super::{SmallDraft, Store, lock, path};
use crate::api::Result;
use crate::data::chunk::pack::{
    PACK_HEADER_BYTES, PackHeader, RECORD_HEADER_BYTES, RecordKind, encode_pack_header,
    encode_record,
};
use crate::env::{Access, File};
use crate::id::Handle;
use crate::limit::limit;
use crate::mark::{Mark, reached};
use crate::mutant::{Mutant, is_planted};

/// Records on their way into the current pack.
pub(super) struct Batch {
    pack: u32,
    at: u64,
    is_new: bool,
    salt: u64,
    bytes: Vec<u8>,
    chunks: Vec<(Box<SmallDraft>, Place, oneshot::Sender<Result<()>>)>,
    deletes: Vec<oneshot::Sender<Result<()>>>,
    /// Whether it has anything that must not be lost in a power cut.
    must_last: bool,
    tombstones: Vec<(Handle, u64)>,
}

impl Store {
    /// Writes, syncs, takes into the index, answers. Gives the buffer back.
    pub(super) fn write_batch(self: &Arc<Self>, entries: Vec<Entry>, buffer: Vec<u8>) -> Vec<u8> {
        let mut batch = self.begin_batch(buffer);
        for entry in entries {
            match entry {
                Entry::Chunk(draft, answer) => {
                    match self.check_room(batch.len() + record_len_of(draft.len())) {
                        Ok(()) => batch.add_chunk(self, draft, answer),
                        Err(error) => drop(answer.send(Err(error))),
                    }
                }
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
        if batch.is_empty() {
            return batch.answer_deletes();
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
        let has_open = open.is_some();
        let bytes_max = limit(PACK_BYTES_MAX, SMALL_PACK_BYTES_MAX);
        let open = open.filter(|(_, pack)| pack.len < bytes_max);
        if has_open && open.is_none() {
            reached(Mark::PackFull);
        }
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
            if !is_planted(Mutant::DropFileSync) {
                file.sync()?;
            }
            self.make_name_durable(batch.pack)?;
        }
        Ok(file)
    }

    /// A pack that began with tombstones only is named durably with its first
    /// chunk.
    fn make_name_durable(&self, number: u32) -> io::Result<()> {
        if lock(&self.packs.state).named != Some(number) && !is_planted(Mutant::DropDirSync) {
            self.env.disk.sync_dir(path::PACKS)?;
            lock(&self.packs.state).named = Some(number);
        }
        Ok(())
    }

    fn finish_batch(self: &Arc<Self>, mut batch: Batch, file: &Arc<dyn File>) -> Vec<u8> {
        self.note_appended(&batch);
        for (draft, place, answer) in std::mem::take(&mut batch.chunks) {
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
            // The claim first, so that whoever hears can write again at once.
            // Who waited may be gone; the chunk is held all the same.
            drop(draft);
            let _ = answer.send(verified);
        }
        batch.answer_deletes()
    }

    /// Takes note of what was written.
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
    fn fail_batch(&self, mut batch: Batch, error: &io::Error) -> Vec<u8> {
        let error = self.disk_error("cannot write to a pack", error);
        self.discard_failed(&batch);
        for (draft, _, answer) in std::mem::take(&mut batch.chunks) {
            drop(draft);
            let _ = answer.send(Err(error.clone()));
        }
        batch.answer_deletes()
    }

    /// Closes the pack of a batch that was not written well, and takes the
    /// batch out of it. What a failed sync leaves in memory looks written, to
    /// the next start too, and is on no disk.
    pub(super) fn discard_failed(&self, batch: &Batch) {
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
    }

    fn next_sequence(&self) -> u64 {
        let mut state = lock(&self.packs.state);
        state.sequence += 1;
        state.sequence
    }
}

impl Batch {
    fn add_chunk(
        &mut self,
        store: &Store,
        draft: Box<SmallDraft>,
        answer: oneshot::Sender<Result<()>>,
    ) {
        let parts = draft.parts.each_ref().map(|part| &part[..]);
        let sequence = store.next_sequence();
        let place = self.add_record(draft.header.handle, sequence, &parts);
        self.chunks.push((draft, place, answer));
        self.must_last = true;
    }

    /// Answers deleters, and gives the buffer back. What they deleted is gone
    /// from the index; if its tombstones were not written, a restart tells of
    /// it again, and it is deleted again.
    fn answer_deletes(self) -> Vec<u8> {
        for answer in self.deletes {
            let _ = answer.send(Ok(()));
        }
        self.bytes
    }

    /// From now on it is durable once it is written.
    pub(super) fn make_last(&mut self) {
        self.must_last = true;
    }

    /// Its bytes.
    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// True when it has no record.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == if self.is_new { PACK_HEADER_BYTES as u64 } else { 0 }
    }

    /// Adds the record of a chunk; says where it will lie.
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

    /// Adds a tombstone that has its number already.
    pub(super) fn keep_tombstone(&mut self, handle: Handle, sequence: u64) {
        let kind = RecordKind::Tombstone;
        encode_record(kind, handle, sequence, self.salt, &[], &mut self.bytes);
        self.tombstones.push((handle, sequence));
    }
}
