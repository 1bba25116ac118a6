//! What the device does at each call: the effect, or the fault in its place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::Arc;

use dfs_core::data::digest::crc32c;

use super::MemoryDisk;
use super::fault::{Call, Faults, Landing};
use super::image::BLOCK_SIZE;
use super::injected::{
    CLOSED_FILE, FLIPPED_READ, Injected, LOST_WRITE, MISDIRECTED_READ, MISDIRECTED_WRITE, NO_SPACE,
    POWER_CUT, READ_ONLY, STALE_HANDLE, UNREADABLE_READ,
};
use super::tree::{Inode, Node, Tree};
use crate::rng::Rng;
use crate::trace::Trace;

/// The file that a node writes with each look at its volume.
const PROBE_PATH: &str = "tmp/look";

/// See [`MemoryDisk::on_effect`](super::MemoryDisk::on_effect).
pub(super) type OnEffect = Box<dyn Fn(fmt::Arguments<'_>) -> bool + Send + Sync>;

/// A disk, behind its lock.
pub(super) struct State {
    pub(super) name: String,
    pub(super) trace: Trace,
    pub(super) tree: Tree,
    pub(super) capacity: u64,
    /// What files of others take of it.
    pub(super) others_bytes: u64,
    /// Handles of an earlier generation are dead: their process is.
    pub(super) generation: u64,
    /// How often its machine lost its power.
    pub(super) power_cuts: u64,
    /// How often its folder was replaced by another one.
    pub(super) folders: u64,
    pub(super) is_on: bool,
    pub(super) is_dead: bool,
    pub(super) effects: u64,
    pub(super) cut_at: Option<u64>,
    pub(super) on_power_cut: Option<Arc<dyn Fn() + Send + Sync>>,
    pub(super) on_effect: Option<OnEffect>,
    /// The process was stopped at an effect, and is to be told.
    pub(super) is_stopping: bool,
    pub(super) faults: Faults,
    pub(super) injected: Injected,
    /// Other folders of its machine, by path, each on a disk of its own.
    pub(super) other_folders: BTreeMap<String, MemoryDisk>,
}

impl State {
    /// The power is back: what was not synced is kept, lost or torn.
    pub(super) fn crash(&mut self, rng: &mut Rng) {
        self.generation += 1;
        self.power_cuts += 1;
        self.is_on = true;
        self.cut_at = None;
        self.tree.crash(rng, &mut self.injected);
        if let Some(hidden) = &mut self.faults.hidden {
            hidden.crash(rng, &mut self.injected);
        }
    }

    pub(super) fn create(&mut self, path: &str) -> io::Result<Inode> {
        self.change(Call::Create, format_args!("create {path}"))?;
        self.tree.create(path)
    }

    pub(super) fn open(&mut self, path: &str) -> io::Result<Inode> {
        self.fail(Call::Open)?;
        if self.faults.closed.contains(path) {
            self.injected.count(CLOSED_FILE);
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        match self.tree.live().get(path) {
            Some(Node::File(inode)) => Ok(inode.clone()),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.change(Call::Rename, format_args!("rename {from} to {to}"))?;
        self.tree.rename(from, to)?;
        // A mode stays with its file.
        match self.faults.closed.remove(from) {
            true => self.faults.closed.insert(to.to_owned()),
            false => self.faults.closed.remove(to),
        };
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &str) -> io::Result<()> {
        self.change(Call::Remove, format_args!("remove {path}"))?;
        self.tree.remove(path)?;
        self.faults.closed.remove(path);
        Ok(())
    }

    pub(super) fn create_dir(&mut self, path: &str) -> io::Result<()> {
        self.effect(format_args!("create folder {path}"))?;
        // A folder that is there needs no change, also on a read-only volume.
        if !matches!(self.tree.live().get(path), Some(Node::Dir)) {
            self.check_writable()?;
        }
        self.fail(Call::CreateDir)?;
        self.tree.create_dir(path)
    }

    pub(super) fn sync_dir(&mut self, path: &str) -> io::Result<()> {
        self.tree.check_dir(path)?;
        self.effect(format_args!("sync folder {path:?}"))?;
        if self.tree.is_unsynced(path) {
            self.check_writable()?;
        }
        self.fail(Call::SyncDir)?;
        self.tree.sync_dir(path);
        Ok(())
    }

    pub(super) fn read(&mut self, inode: &Inode, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.fail(Call::Read)?;
        let read = inode.lock().image.read(offset, bytes);
        if let Err(error) = read {
            if error.kind() == io::ErrorKind::Other {
                self.injected.count(UNREADABLE_READ);
            }
            return Err(error);
        }
        if bytes.is_empty() || !self.faults.any_reads() {
            return Ok(());
        }
        if let Some(landing) = self.faults.misdirected_reads.front().cloned()
            && let Some((elsewhere, at)) = self.land(landing, inode, offset)
        {
            self.faults.misdirected_reads.pop_front();
            elsewhere.lock().image.read_raw(at, bytes);
            self.injected.count(MISDIRECTED_READ);
        }
        if self.faults.flipped_reads.strike() {
            let bit = self.faults.rng.below(bytes.len() as u64 * 8);
            let at = usize::try_from(bit / 8).expect("it lies within bytes in memory");
            bytes[at] ^= 1 << (bit % 8);
            self.injected.count(FLIPPED_READ);
        }
        Ok(())
    }

    pub(super) fn write(
        &mut self,
        path: &str,
        inode: &Inode,
        offset: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        let sum = crc32c(&[bytes]);
        let len = bytes.len();
        self.effect(format_args!("write {path} at {offset} {len} bytes {sum:08x}"))?;
        self.check_writable()?;
        // Faults that strike single calls are meant for what is stored.
        let is_probe = path == PROBE_PATH;
        let failure = if is_probe { Ok(()) } else { self.fail(Call::Write) };
        // Of a failed write, any first part may be there.
        let part = if failure.is_ok() { len as u64 } else { self.faults.rng.below(len as u64 + 1) };
        let bytes = &bytes[..usize::try_from(part).expect("a part of bytes in memory")];
        let written = if is_probe {
            self.reserve(inode, offset.saturating_add(part))
                .map(|()| inode.lock().write(&mut self.tree, offset, bytes))
        } else {
            self.write_bytes(inode, offset, bytes)
        };
        failure.and(written)
    }

    fn write_bytes(&mut self, inode: &Inode, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        self.reserve(inode, end)?;
        let is_lost = if self.faults.lost_writes.strike() {
            self.injected.count(LOST_WRITE);
            true
        } else {
            self.write_elsewhere(inode, offset, bytes)
        };
        let mut file = inode.lock();
        if is_lost {
            // The length is the file system's, and kept elsewhere.
            let grown = (file.image.len() as u64).max(end);
            file.set_len(&mut self.tree, grown);
        } else {
            file.write(&mut self.tree, offset, bytes);
        }
        Ok(())
    }

    /// Writes to the wrong place where that was planned; true when it did.
    fn write_elsewhere(&mut self, inode: &Inode, offset: u64, bytes: &[u8]) -> bool {
        let Some(landing) = self.faults.misdirected_writes.front().cloned() else { return false };
        let Some((elsewhere, at)) = self.land(landing, inode, offset) else { return false };
        self.faults.misdirected_writes.pop_front();
        elsewhere.lock().image.write_raw(at, bytes);
        self.injected.count(MISDIRECTED_WRITE);
        true
    }

    pub(super) fn set_len(&mut self, path: &str, inode: &Inode, len: u64) -> io::Result<()> {
        self.change(Call::SetLen, format_args!("cut {path} to {len} bytes"))?;
        self.reserve(inode, len)?;
        inode.lock().set_len(&mut self.tree, len);
        Ok(())
    }

    /// Takes space ahead, which no power cut takes back.
    pub(super) fn allocate(&mut self, path: &str, inode: &Inode, len: u64) -> io::Result<()> {
        self.effect(format_args!("take {len} bytes for {path}"))?;
        self.check_writable()?;
        self.reserve(inode, len)?;
        inode.lock().allocate(&mut self.tree, len);
        Ok(())
    }

    /// Another folder of the machine.
    pub(super) fn folder(&mut self, path: &str) -> MemoryDisk {
        let (name, trace) = (format!("{}:{path}", self.name), self.trace.clone());
        let make = || MemoryDisk::new(&name, trace);
        self.other_folders.entry(path.to_owned()).or_insert_with(make).clone()
    }

    pub(super) fn sync(&mut self, path: &str, inode: &Inode) -> io::Result<()> {
        self.effect(format_args!("sync {path}"))?;
        let mut file = inode.lock();
        let writable = if file.image.is_clean() { Ok(()) } else { self.check_writable() };
        let passes = path == PROBE_PATH;
        let failure = if passes { Ok(()) } else { self.fail(Call::Sync) };
        if let Err(error) = writable.and(failure) {
            file.image.fail_sync();
            return Err(error);
        }
        file.image.sync();
        Ok(())
    }

    /// Refuses a handle from before the mount changed.
    pub(super) fn check_mount(&mut self, mount: u64) -> io::Result<()> {
        if mount == self.faults.mount {
            return Ok(());
        }
        self.injected.count(STALE_HANDLE);
        Err(io::Error::other("simulated I/O error: the volume of this file is gone"))
    }

    /// Fails where that was planned for this call.
    pub(super) fn fail(&mut self, call: Call) -> io::Result<()> {
        match self.faults.take_failure(call) {
            None => Ok(()),
            Some(error) => {
                self.injected.count(call.failed());
                Err(error)
            }
        }
    }

    pub(super) fn file(&self, path: &str) -> Inode {
        self.tree.file(path).unwrap_or_else(|| {
            let files: BTreeSet<String> =
                self.tree.files().into_iter().map(|(path, _)| path).collect();
            panic!("{} has no file {path}; it has {files:?}", self.name)
        })
    }

    /// An effect that a read-only volume refuses.
    fn change(&mut self, call: Call, what: fmt::Arguments<'_>) -> io::Result<()> {
        self.effect(what)?;
        self.check_writable()?;
        self.fail(call)
    }

    /// Counts an effect and notes it, unless the power is cut at it.
    fn effect(&mut self, what: fmt::Arguments<'_>) -> io::Result<()> {
        if self.cut_at == Some(self.effects) {
            self.is_on = false;
            self.injected.count(POWER_CUT);
            self.trace.event(&self.name, format_args!("power cut before: {what}"));
            return Err(io::Error::other("simulated I/O error: power cut"));
        }
        if self.on_effect.as_ref().is_some_and(|hook| !hook(what)) {
            self.generation += 1;
            self.is_stopping = true;
            return Err(io::Error::other("simulated I/O error: the process is gone"));
        }
        self.effects += 1;
        self.trace.event(&self.name, what);
        Ok(())
    }

    fn check_writable(&mut self) -> io::Result<()> {
        if !self.faults.is_read_only {
            return Ok(());
        }
        self.injected.count(READ_ONLY);
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    /// Bytes that still fit.
    pub(super) fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.tree.used().saturating_add(self.others_bytes))
    }

    fn reserve(&mut self, inode: &Inode, len: u64) -> io::Result<()> {
        let reserved =
            self.tree.reserve(&inode.lock(), len, self.capacity.saturating_sub(self.others_bytes));
        if reserved.is_err() {
            self.injected.count(NO_SPACE);
        }
        reserved
    }

    /// The place of a misdirected call on `inode` at `offset`; `None` where
    /// there is no other than its own.
    fn land(&mut self, landing: Landing, inode: &Inode, offset: u64) -> Option<(Inode, u64)> {
        if let Landing::At(path, at) = landing
            && let Some(file) = self.tree.file(&path)
        {
            return Some((file, at));
        }
        let rng = &mut self.faults.rng;
        let block = BLOCK_SIZE as u64;
        let others: Vec<(Inode, u64)> = self.tree.others(inode);
        if !others.is_empty() {
            let at = usize::try_from(rng.below(others.len() as u64)).expect("an index");
            let (file, len) = others[at].clone();
            let keeps_offset = offset < len && rng.chance(1, 2);
            let at = if keeps_offset { offset } else { rng.below(len.div_ceil(block)) * block };
            return Some((file, at));
        }
        let blocks = (inode.lock().image.len() as u64).div_ceil(block);
        let own = offset / block;
        if blocks < 2 || own >= blocks {
            return None;
        }
        let other = (own + 1 + rng.below(blocks - 1)) % blocks;
        Some((inode.clone(), other * block + offset % block))
    }
}
