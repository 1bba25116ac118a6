//! One file's bytes: as they are now, and what a power cut would bring back.

use std::collections::BTreeMap;
use std::io;
use std::ops::{Range, RangeInclusive};

use super::injected::{Injected, LOST_BLOCK, LOST_LENGTH, TORN_BLOCK};
use crate::rng::Rng;

/// What is written back, and lost, as one: a page.
pub(super) const BLOCK_SIZE: usize = 4096;
/// What a torn write is torn into.
const SECTOR_SIZE: usize = 512;

/// The live bytes of a file, and of every block that was written since the
/// last sync what the device has in its stead.
#[derive(Debug, Default, Clone)]
pub(super) struct Image {
    live: Vec<u8>,
    durable_len: usize,
    /// The lengths that a power cut may leave, from each change of the length
    /// since the last sync: a cut leaves one, a growing write any on its way.
    lengths: Vec<RangeInclusive<usize>>,
    /// What the device has of blocks that were written since.
    dirty: BTreeMap<usize, Vec<u8>>,
    /// Blocks whose writeback failed: the live bytes look well, and no later
    /// sync writes them again.
    doomed: BTreeMap<usize, Vec<u8>>,
    /// Ranges that the device cannot read until they are written anew.
    unreadable: Vec<Range<u64>>,
}

impl Image {
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.live
    }

    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        if self.unreadable.iter().any(|bad| bad.start < end && offset < bad.end) {
            return Err(io::Error::other("simulated I/O error: unreadable sector"));
        }
        let range = usize_range(offset, end);
        let Some(found) = self.live.get(range) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        bytes.copy_from_slice(found);
        Ok(())
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let range = usize_range(offset, offset.saturating_add(bytes.len() as u64));
        self.touch(range.start.min(self.live.len())..range.end);
        if self.live.len() < range.end {
            self.lengths.push(self.live.len()..=range.end);
            self.live.resize(range.end, 0);
        }
        self.live[range.clone()].copy_from_slice(bytes);
        self.unreadable
            .retain(|bad| bad.end <= range.start as u64 || range.end as u64 <= bad.start);
    }

    pub(super) fn set_len(&mut self, len: usize) {
        self.touch(len.min(self.live.len())..len.max(self.live.len()));
        self.lengths.push(len..=len);
        self.live.resize(len, 0);
    }

    pub(super) fn sync(&mut self) {
        self.dirty.clear();
        self.lengths.clear();
        self.durable_len = self.live.len();
    }

    /// A sync that failed: what was dirty is clean and lost (F9).
    pub(super) fn fail_sync(&mut self) {
        self.doomed.append(&mut self.dirty);
    }

    /// True when a sync has nothing to do.
    pub(super) fn is_clean(&self) -> bool {
        self.dirty.is_empty() && self.lengths.is_empty()
    }

    /// Forgets the live bytes whose writeback failed.
    pub(super) fn drop_lost_pages(&mut self, injected: &mut Injected) {
        for (block, before) in std::mem::take(&mut self.doomed) {
            if self.restore(block, &before, |_| true) {
                injected.count(LOST_BLOCK);
            }
        }
    }

    /// Takes the power away: each block that was not synced is kept, lost or
    /// torn, and the length is any that it had since.
    pub(super) fn crash(&mut self, rng: &mut Rng, injected: &mut Injected) {
        if self.is_clean() && self.doomed.is_empty() {
            return;
        }
        let lengths = std::mem::take(&mut self.lengths);
        let len = match lengths.get(to_usize(rng.below(lengths.len() as u64 + 1))) {
            None => self.durable_len,
            Some(range) => {
                // All of it half the time: an end that was never synced and is
                // there all the same is as hard on a reader as a torn one.
                let span = (range.end() - range.start()) as u64;
                let is_whole = rng.chance(1, 2);
                range.start() + to_usize(if is_whole { span } else { rng.below(span + 1) })
            }
        };
        if len != self.live.len() {
            injected.count(LOST_LENGTH);
        }
        self.live.resize(self.live.len().max(self.durable_len).max(len), 0);
        for (block, before) in std::mem::take(&mut self.dirty) {
            let (is_changed, kind) = match rng.below(8) {
                0..=3 => (self.restore(block, &before, |_| true), LOST_BLOCK),
                4 => {
                    let kept = rng.next_u64();
                    (self.restore(block, &before, |sector| kept >> sector & 1 == 0), TORN_BLOCK)
                }
                _ => continue,
            };
            if is_changed {
                injected.count(kind);
            }
        }
        self.drop_lost_pages(injected);
        self.live.truncate(len);
        self.durable_len = len;
    }

    /// Turns one bit, on the device and in memory; true when there is one.
    pub(super) fn flip(&mut self, offset: u64, bit: u8) -> bool {
        let byte = self.live.get_mut(to_usize(offset));
        byte.map(|byte| *byte ^= 1 << (bit % 8)).is_some()
    }

    /// What the device has from `offset`, whoever asks; zeros beyond the end.
    pub(super) fn read_raw(&self, offset: u64, bytes: &mut [u8]) {
        let start = to_usize(offset).min(self.live.len());
        let found = &self.live[start..self.live.len().min(start + bytes.len())];
        bytes[..found.len()].copy_from_slice(found);
        bytes[found.len()..].fill(0);
    }

    /// Writes onto the device past the file system, which does not know: no
    /// longer than the file is, and with no way back.
    pub(super) fn write_raw(&mut self, offset: u64, bytes: &[u8]) {
        let start = to_usize(offset).min(self.live.len());
        let end = self.live.len().min(start + bytes.len());
        self.live[start..end].copy_from_slice(&bytes[..end - start]);
    }

    pub(super) fn make_unreadable(&mut self, range: Range<u64>) {
        self.unreadable.push(range);
    }

    /// Keeps what the device has of the blocks that `range` is going to
    /// change, unless that is kept already.
    fn touch(&mut self, range: Range<usize>) {
        for block in range.start / BLOCK_SIZE..range.end.div_ceil(BLOCK_SIZE) {
            if let Some(before) = self.doomed.remove(&block) {
                self.dirty.entry(block).or_insert(before);
            } else if !self.dirty.contains_key(&block) {
                let start = (block * BLOCK_SIZE).min(self.live.len());
                let end = (start + BLOCK_SIZE).min(self.live.len());
                self.dirty.insert(block, self.live[start..end].to_vec());
            }
        }
    }

    /// Puts back the sectors of `block` that `is_lost` names; true when that
    /// changed a byte.
    fn restore(&mut self, block: usize, before: &[u8], is_lost: impl Fn(usize) -> bool) -> bool {
        let start = (block * BLOCK_SIZE).min(self.live.len());
        let end = (start + BLOCK_SIZE).min(self.live.len());
        let mut is_changed = false;
        for (sector, now) in self.live[start..end].chunks_mut(SECTOR_SIZE).enumerate() {
            if is_lost(sector) {
                let old = before.get(sector * SECTOR_SIZE..).unwrap_or_default();
                let known = old.len().min(now.len());
                is_changed |= now[..known] != old[..known] || now[known..].iter().any(|b| *b != 0);
                now[..known].copy_from_slice(&old[..known]);
                now[known..].fill(0);
            }
        }
        is_changed
    }
}

fn to_usize(n: u64) -> usize {
    usize::try_from(n).expect("simulated files fit into memory")
}

fn usize_range(start: u64, end: u64) -> Range<usize> {
    to_usize(start)..to_usize(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crashed(image: &Image, seed: u64) -> Vec<u8> {
        let mut image = image.clone();
        image.crash(&mut Rng::new(seed), &mut Injected::default());
        image.live
    }

    #[test]
    fn synced_bytes_outlive_every_crash() {
        let mut image = Image::default();
        image.write(0, &[7; 10_000]);
        image.sync();
        for seed in 0..50 {
            assert_eq!(crashed(&image, seed), [7; 10_000]);
        }
    }

    #[test]
    fn unsynced_blocks_are_lost_kept_and_torn_one_by_one() {
        let mut image = Image::default();
        image.write(0, &[1; 3 * BLOCK_SIZE]);
        image.sync();
        image.write(0, &[2; 3 * BLOCK_SIZE]);
        let outcomes: Vec<Vec<u8>> = (0..200).map(|seed| crashed(&image, seed)).collect();
        let has = |outcome: fn(&[u8]) -> bool| outcomes.iter().any(|bytes| outcome(bytes));
        assert!(outcomes.iter().flatten().all(|byte| matches!(byte, 1 | 2)));
        assert!(has(|bytes| bytes.iter().all(|b| *b == 1)), "all lost");
        assert!(has(|bytes| bytes.iter().all(|b| *b == 2)), "all kept");
        assert!(has(|bytes| bytes[0] == 1 && bytes[BLOCK_SIZE] == 2), "a later block alone");
        let is_torn = |block: &[u8]| block.contains(&1) && block.contains(&2);
        assert!(outcomes.iter().any(|bytes| bytes.chunks(BLOCK_SIZE).any(is_torn)), "torn");
    }

    #[test]
    fn an_unsynced_cut_may_come_back() {
        let mut image = Image::default();
        image.write(0, &[5; 9000]);
        image.sync();
        image.set_len(100);
        let outcomes: Vec<Vec<u8>> = (0..50).map(|seed| crashed(&image, seed)).collect();
        assert!(outcomes.iter().any(|bytes| bytes.len() == 100));
        assert!(outcomes.iter().any(|bytes| *bytes == [5; 9000]));
    }

    #[test]
    fn after_a_failed_sync_a_good_one_proves_nothing() {
        let mut image = Image::default();
        image.write(0, &[1; BLOCK_SIZE]);
        image.sync();
        image.write(0, &[2; BLOCK_SIZE]);
        image.fail_sync();
        image.sync();
        assert_eq!(crashed(&image, 1), [1; BLOCK_SIZE], "the page was clean, and lost");
        image.write(0, &[3; BLOCK_SIZE]);
        image.sync();
        assert_eq!(crashed(&image, 1), [3; BLOCK_SIZE], "written anew, it counts");
    }
}
