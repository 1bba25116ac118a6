//! Compaction: what still counts in a wasteful pack moves to the current one,
//! durably, and then the old pack goes. Records keep their sequence numbers,
//! so that a crash midway leaves two of one kind and no doubt.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::index::{Held, Place};
use super::pack::{BATCH_BYTES_MAX, SMALL_PACK_BYTES_MAX};
use super::pack_batch::Batch;
use super::quarantine::unless_missing;
use super::{Image, ImageError, Store, lock, path};
use crate::data::chunk::pack::{RECORD_HEADER_BYTES, decode_record_header};
use crate::id::Handle;
use crate::limit::limit;
use crate::mark::{Mark, reached};
use crate::mutant::{Mutant, is_planted};

/// A record that is on its way into another pack.
struct Move {
    handle: Handle,
    from: Held,
    to: Place,
}

impl Store {
    /// Empties pack `number` and removes it. One that cannot be emptied now
    /// is left alone until more of it is dead.
    pub(super) fn compact(self: &Arc<Self>, number: u32) {
        match self.try_compact(number) {
            Ok(()) => tracing::debug!(node = %self.node, number, "pack compacted"),
            Err(error) => {
                let _ = self.disk_error(&format!("cannot compact pack {number}"), &error);
                let mut state = lock(&self.packs.state);
                // Whatever failed, it may have been the current pack.
                state.current = None;
                if let Some(pack) = state.packs.get_mut(&number) {
                    pack.is_stuck = true;
                }
            }
        }
    }

    fn try_compact(self: &Arc<Self>, number: u32) -> io::Result<()> {
        let (salt, tombstones, is_first) = {
            let state = lock(&self.packs.state);
            let pack = state.packs.get(&number).ok_or(io::ErrorKind::NotFound)?;
            let is_first = state.packs.first_key_value().map(|it| *it.0) == Some(number);
            (pack.salt, pack.tombstones.clone(), is_first)
        };
        let mut batch = self.begin_batch(Vec::new());
        let mut moves = Vec::new();
        for (handle, offset, body_len) in self.packed_in(number) {
            let place = Place::Pack { pack: number, offset, body_len };
            let Some(from) = self.get(handle).filter(|held| held.place == place) else { continue };
            match self.read_record(number, salt, handle, offset, body_len) {
                Ok((sequence, body)) => {
                    let to = batch.add_record(handle, sequence, &[&body]);
                    moves.push(Move { handle, from, to });
                }
                Err(error) if error.is_unread() && !self.is_volume_there() => {
                    return Err(io::Error::other("its disk cannot be read"));
                }
                Err(error) => drop(self.condemn(handle, from, &error)),
            }
            if batch.len() >= limit(BATCH_BYTES_MAX, SMALL_PACK_BYTES_MAX / 4) {
                if is_planted(Mutant::CompactionLosesBatch) {
                    moves.clear();
                }
                batch = self.finish_moves(batch, std::mem::take(&mut moves))?;
            }
        }
        // What a tombstone buries lies in its own pack or in an earlier one.
        if !is_first {
            for (handle, sequence) in tombstones {
                batch.keep_tombstone(handle, sequence);
                if batch.len() >= limit(BATCH_BYTES_MAX, SMALL_PACK_BYTES_MAX / 4) {
                    batch = self.finish_moves(batch, std::mem::take(&mut moves))?;
                }
            }
        }
        self.finish_moves(batch, moves)?;
        reached(Mark::PackCompacted);
        self.remove_pack(number, salt)
    }

    fn packed_in(&self, number: u32) -> Vec<(Handle, u32, u32)> {
        self.index().in_pack(number)
    }

    /// Reads and checks one record: its sequence number and its body.
    fn read_record(
        &self,
        number: u32,
        salt: u64,
        handle: Handle,
        offset: u32,
        body_len: u32,
    ) -> Result<(u64, Bytes), ImageError> {
        let file = self.packs.file(&*self.env.disk, number)?;
        let mut head = [0; RECORD_HEADER_BYTES];
        file.read_at(u64::from(offset), &mut head)?;
        let sequence = decode_record_header(&head, salt)?.sequence;
        let base = u64::from(offset) + RECORD_HEADER_BYTES as u64;
        let image = Image::open(file, base, u64::from(body_len), &self.buffers)?;
        let cluster = image.header().cluster;
        let image = image.expect(cluster, handle)?;
        image.check_frames()?;
        Ok((sequence, image.bytes()?))
    }

    /// Makes what moved durable, tells the index, begins the next batch.
    fn finish_moves(&self, mut batch: Batch, moves: Vec<Move>) -> io::Result<Batch> {
        if batch.is_empty() {
            return Ok(batch);
        }
        if !is_planted(Mutant::DropCompactionSync) {
            batch.make_last();
        }
        self.append(&batch).inspect_err(|_| self.discard_failed(&batch))?;
        self.note_appended(&batch);
        for Move { handle, from, to } in moves {
            let mut index = self.index();
            if index.get(handle) == Some(from) {
                index.load(handle, Held { place: to, ..from });
            } else if let Place::Pack { pack, body_len, .. } = to {
                // Condemned or deleted meanwhile.
                drop(index);
                self.packs.mark_dead(pack, body_len);
            }
        }
        Ok(self.begin_batch(Vec::new()))
    }

    fn remove_pack(&self, number: u32, salt: u64) -> io::Result<()> {
        let disk = &*self.env.disk;
        lock(&self.packs.files).remove(&number);
        disk.remove(&path::pack(number, salt)).or_else(unless_missing)?;
        lock(&self.packs.state).packs.remove(&number);
        disk.sync_dir(path::PACKS)
    }
}
