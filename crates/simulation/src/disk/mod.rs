//! A disk in memory that keeps apart what is *live* and what is *durable*.
//!
//! Fault model:
//! - A power cut keeps what was synced. Of the rest, each 4 KiB block is
//!   kept, lost or torn by itself, and each name that was not synced with its
//!   folder is new or old by itself, even when its file was synced. A file
//!   that was only renamed keeps at least one of its names.
//! - Every change is an *effect* with a number; the power can be cut at any.
//! - Scripted: failed syncs (which lose what was dirty), lost writes,
//!   unreadable ranges, turned bits, planted files, a full or a dead disk.
//!
//! Out of scope here: slow disks, which are the pool's business.

mod handle;
mod image;
mod tree;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dfs_core::data::digest::crc32c;
use dfs_core::env::Disk;

use crate::rng::Rng;
use crate::trace::Trace;
use handle::DiskHandle;
use tree::{Node, Tree};

/// What a disk holds when nothing else is said: 1 GiB.
pub const CAPACITY_DEFAULT_BYTES: u64 = 1 << 30;

/// A simulated disk. Clones are the same disk.
///
/// Roles reach it through [`MemoryDisk::handle`]; the methods here are the
/// test's hands on the device.
#[derive(Clone)]
pub struct MemoryDisk(Arc<Mutex<State>>);

struct State {
    name: String,
    trace: Trace,
    tree: Tree,
    capacity: u64,
    /// Handles of an earlier generation are dead: their process is.
    generation: u64,
    is_on: bool,
    is_dead: bool,
    effects: u64,
    cut_at: Option<u64>,
    on_power_cut: Option<Arc<dyn Fn() + Send + Sync>>,
    sync_failures: u32,
    writes_to_lose: u32,
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::new("disk", Trace::default())
    }
}

impl MemoryDisk {
    /// An empty disk that writes its effects to `trace` under `name`.
    #[must_use]
    pub fn new(name: &str, trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(State {
            name: name.to_owned(),
            trace,
            tree: Tree::default(),
            capacity: CAPACITY_DEFAULT_BYTES,
            generation: 0,
            is_on: true,
            is_dead: false,
            effects: 0,
            cut_at: None,
            on_power_cut: None,
            sync_failures: 0,
            writes_to_lose: 0,
        })))
    }

    /// The disk as a process sees it, until the process is killed.
    #[must_use]
    pub fn handle(&self) -> Arc<dyn Disk> {
        Arc::new(DiskHandle::new(self.clone(), self.state().generation))
    }

    /// The process is killed: its handles are dead, all bytes stay.
    pub fn detach(&self) {
        self.state().generation += 1;
    }

    /// The power was cut and is back: handles are dead, and what was not
    /// synced is kept, lost or torn as `rng` decides.
    pub fn crash(&self, rng: &mut Rng) {
        let mut state = self.state();
        state.generation += 1;
        state.is_on = true;
        state.cut_at = None;
        state.tree.crash(rng);
    }

    /// Cuts the power just before effect number `effect` (see
    /// [`MemoryDisk::effects`]) would take place. [`MemoryDisk::crash`]
    /// brings it back.
    pub fn cut_power_at(&self, effect: u64) {
        self.state().cut_at = Some(effect);
    }

    /// What is done when the power is cut at an effect.
    pub fn on_power_cut(&self, hook: impl Fn() + Send + Sync + 'static) {
        self.state().on_power_cut = Some(Arc::new(hook));
    }

    /// How many effects there were: creations, writes, cuts, syncs, renames,
    /// removals.
    #[must_use]
    pub fn effects(&self) -> u64 {
        self.state().effects
    }

    /// False from a power cut to the next [`MemoryDisk::crash`].
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.state().is_on
    }

    /// Sets how many bytes fit in all.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    /// Bytes that are used, in whole blocks.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state().tree.used()
    }

    /// While set, every call fails with an I/O error.
    pub fn set_dead(&self, is_dead: bool) {
        self.state().is_dead = is_dead;
    }

    /// The next `count` syncs of files fail, and lose what was dirty (F9).
    pub fn fail_next_syncs(&self, count: u32) {
        self.state().sync_failures = count;
    }

    /// The next `count` writes say that they worked and change nothing (F8).
    pub fn lose_next_writes(&self, count: u32) {
        self.state().writes_to_lose = count;
    }

    /// Makes a range of a file unreadable until it is written anew (F5).
    ///
    /// # Panics
    /// When there is no such file.
    pub fn make_unreadable(&self, path: &str, range: Range<u64>) {
        self.state().file(path).lock().image.make_unreadable(range);
    }

    /// Turns one bit of a file, silently (F6).
    ///
    /// # Panics
    /// When there is no such file.
    pub fn flip(&self, path: &str, offset: u64, bit: u8) {
        self.state().file(path).lock().image.flip(offset, bit);
    }

    /// All files with their lengths in bytes, in order of path.
    #[must_use]
    pub fn files(&self) -> Vec<(String, u64)> {
        self.state().tree.files()
    }

    /// A file's bytes as they are now.
    #[must_use]
    pub fn read_file(&self, path: &str) -> Option<Vec<u8>> {
        let inode = self.state().tree.file(path)?;
        let bytes = inode.lock().image.bytes().to_vec();
        Some(bytes)
    }

    /// Puts a file there, durably, with the folders above it, over whatever
    /// has that name: an operator's hand, or a misdirected write (F7).
    pub fn plant_file(&self, path: &str, bytes: &[u8]) {
        self.state().tree.plant(path, bytes);
    }

    /// Takes a file away, durably: an operator's hand (F21).
    pub fn unplant_file(&self, path: &str) {
        self.state().tree.unplant(path);
    }

    /// Replaces all that is on this disk by a copy of all that is on
    /// `source`: a copied or swapped folder (F18). Handles die.
    pub fn copy_from(&self, source: &MemoryDisk) {
        let copy = source.state().tree.deep_clone();
        let mut state = self.state();
        state.generation += 1;
        state.tree = copy;
    }

    /// Takes all files away: an empty folder under a known name (F18).
    pub fn wipe(&self) {
        let mut state = self.state();
        state.generation += 1;
        state.tree = Tree::default();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a call of a process on the device.
    fn call<T>(
        &self,
        generation: u64,
        act: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.state();
        let was_on = state.is_on;
        if !was_on || state.generation != generation {
            return Err(io::Error::other("simulated I/O error: the process is gone"));
        }
        if state.is_dead {
            return Err(io::Error::other("simulated I/O error: the disk does not answer"));
        }
        let result = act(&mut state);
        let hook = if state.is_on { None } else { state.on_power_cut.clone() };
        drop(state);
        if let Some(hook) = hook {
            hook();
        }
        result
    }
}

impl State {
    /// Counts an effect and notes it, unless the power is cut at it.
    fn effect(&mut self, what: fmt::Arguments<'_>) -> io::Result<()> {
        if self.cut_at == Some(self.effects) {
            self.is_on = false;
            self.trace.event(&self.name, format_args!("power cut before: {what}"));
            return Err(io::Error::other("simulated I/O error: power cut"));
        }
        self.effects += 1;
        self.trace.event(&self.name, what);
        Ok(())
    }

    fn create(&mut self, path: &str) -> io::Result<tree::Inode> {
        self.effect(format_args!("create {path}"))?;
        self.tree.create(path)
    }

    fn write(
        &mut self,
        path: &str,
        inode: &tree::Inode,
        offset: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        let sum = crc32c(&[bytes]);
        let len = bytes.len();
        self.effect(format_args!("write {path} at {offset} {len} bytes {sum:08x}"))?;
        let mut file = inode.lock();
        let end = offset.saturating_add(len as u64);
        self.tree.reserve(&file, end, self.capacity)?;
        if self.writes_to_lose > 0 {
            self.writes_to_lose -= 1;
            let grown = (file.image.len() as u64).max(end);
            file.set_len(&mut self.tree, grown);
        } else {
            file.write(&mut self.tree, offset, bytes);
        }
        Ok(())
    }

    fn set_len(&mut self, path: &str, inode: &tree::Inode, len: u64) -> io::Result<()> {
        self.effect(format_args!("cut {path} to {len} bytes"))?;
        let mut file = inode.lock();
        self.tree.reserve(&file, len, self.capacity)?;
        file.set_len(&mut self.tree, len);
        Ok(())
    }

    fn sync(&mut self, path: &str, inode: &tree::Inode) -> io::Result<()> {
        self.effect(format_args!("sync {path}"))?;
        if self.sync_failures > 0 {
            self.sync_failures -= 1;
            inode.lock().image.fail_sync();
            return Err(io::Error::other("simulated I/O error: sync failed"));
        }
        inode.lock().image.sync();
        Ok(())
    }

    fn file(&self, path: &str) -> tree::Inode {
        self.tree.file(path).unwrap_or_else(|| {
            let files: BTreeSet<String> =
                self.tree.files().into_iter().map(|(path, _)| path).collect();
            panic!("{} has no file {path}; it has {files:?}", self.name)
        })
    }
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let dirs = state.tree.live().values().filter(|node| matches!(node, Node::Dir)).count();
        f.debug_struct("MemoryDisk")
            .field("name", &state.name)
            .field("dirs", &dirs)
            .field("files", &state.tree.files())
            .finish()
    }
}
