//! A disk in memory that keeps apart what is *live* and what is *durable*.
//!
//! Fault model, by the numbers of the store's list of faults:
//! - A power cut (F2) keeps what was synced. Of the rest, each 4 KiB block is
//!   kept, lost or torn by 512-byte sectors by itself (F3), whatever the order
//!   of writing, in one file or several (F4); each name that was not synced
//!   with its folder is new or old by itself, even when its file was synced. A
//!   file that was only renamed keeps at least one of its names.
//! - Every change is an *effect* with a number; the power can be cut at any
//!   (F1).
//! - The medium: ranges that cannot be read until they are written anew (F5),
//!   turned bits (F6), files swapped, planted or removed by somebody else
//!   (F7, F18, F21), a folder copied, or emptied (F18).
//! - The next calls: a read with a turned bit that the medium does not have
//!   (F6), a read or write that goes to the wrong place (F7), a write that is
//!   lost (F8), a sync that fails and loses what was dirty, after which a good
//!   one proves nothing (F9), an error of any kind from any kind of call (F10,
//!   F11).
//! - A file that cannot be opened (F25).
//! - A file whose name is taken away while it is open (F27).
//! - The volume: full (F10), read-only, not mounted, dead (F11).
//!
//! A lost or misdirected write shows at once: no page cache hides it. A folder
//! whose sync failed keeps its new names undecided, and a later sync settles
//! them. What took effect is counted, see [`MemoryDisk::faults_injected`].
//! Where chance decides it is the caller's, or the disk's own, which hangs on
//! its name and [`MemoryDisk::reseed_faults`] alone.
//!
//! Out of scope here: slow disks (F12), which are the pool's business.

mod device;
mod fault;
mod handle;
mod image;
mod injected;
mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dfs_core::env::Disk;
use dfs_core::id::LockPlace;

pub use fault::Call;

use crate::rng::Rng;
use crate::trace::Trace;
use device::State;
use fault::Faults;
use handle::DiskHandle;
use injected::Injected;
use tree::{Node, Tree};

/// What a disk holds when nothing else is said: 1 GiB.
pub const CAPACITY_DEFAULT_BYTES: u64 = 1 << 30;

/// A file that has no name any more.
#[derive(Debug)]
pub struct TakenAway(tree::Inode);

/// A simulated disk. Clones are the same disk.
///
/// Roles reach it through [`MemoryDisk::handle`]; the methods here are the
/// test's hands on the device.
#[derive(Clone)]
pub struct MemoryDisk(Arc<Mutex<State>>);

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
            others_bytes: 0,
            generation: 0,
            power_cuts: 0,
            folders: 0,
            is_on: true,
            is_dead: false,
            effects: 0,
            cut_at: None,
            on_power_cut: None,
            faults: Faults::new(name),
            injected: Injected::default(),
            on_effect: None,
            is_stopping: false,
            other_folders: BTreeMap::new(),
        })))
    }

    /// The disk as a process sees it, until the process is killed.
    #[must_use]
    pub fn handle(&self) -> Arc<dyn Disk> {
        Arc::new(DiskHandle::new(self.clone(), self.state().generation))
    }

    /// The place of the folder's lock, which its copy on another disk does not
    /// have, nor the folder itself after a power cut.
    #[must_use]
    pub fn lock_place(&self) -> LockPlace {
        let state = self.state();
        let mut boot = [0; 16];
        for (byte, of_name) in boot.iter_mut().zip(state.name.bytes()) {
            *byte = of_name;
        }
        boot[8..].copy_from_slice(&state.power_cuts.to_le_bytes());
        LockPlace { boot, device: 1, inode: state.folders }
    }

    /// The process is killed: its handles are dead, all bytes stay.
    pub fn detach(&self) {
        self.state().generation += 1;
    }

    /// The power was cut and is back: handles are dead, and what was not
    /// synced is kept, lost or torn as `rng` decides.
    pub fn crash(&self, rng: &mut Rng) {
        self.state().crash(rng);
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

    /// What is asked before each effect. On `false` it does not take place,
    /// its process is gone, and what is done on a power cut is done. The hook
    /// must not reach for this disk.
    pub fn on_effect(&self, hook: impl Fn(fmt::Arguments<'_>) -> bool + Send + Sync + 'static) {
        self.state().on_effect = Some(Box::new(hook));
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

    /// Bytes that still fit.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.state().free()
    }

    /// Bytes that fit in all, those of others included.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.state().capacity
    }

    /// Lets files of others take all but `free` bytes of what is left now.
    pub fn crowd(&self, free: u64) {
        let mut state = self.state();
        state.others_bytes = 0;
        state.others_bytes = state.free().saturating_sub(free);
    }

    /// The files of others are gone.
    pub fn uncrowd(&self) {
        self.state().others_bytes = 0;
    }

    /// While set, every call fails with an I/O error.
    pub fn set_dead(&self, is_dead: bool) {
        self.state().is_dead = is_dead;
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
        let mut state = self.state();
        if state.file(path).lock().image.flip(offset, bit) {
            state.injected.count(injected::FLIPPED_BIT);
        }
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

    /// Another folder of the same machine, by its absolute path.
    #[must_use]
    pub fn folder(&self, path: &str) -> MemoryDisk {
        self.state().folder(path)
    }

    /// Takes a file's name away while somebody has it open (F27), as when its
    /// folder is moved or removed. `None` when there is no such file.
    #[must_use]
    pub fn take_away(&self, path: &str) -> Option<TakenAway> {
        self.state().tree.take_away(path).map(TakenAway)
    }

    /// Puts a file back that was taken away.
    pub fn put_back(&self, path: &str, taken: TakenAway) {
        self.state().tree.put_back(path, taken.0);
    }

    /// Gives a file other bytes while somebody has it open, and leaves it the
    /// same file (F27): an operator's `cp` onto it. False when there is none.
    pub fn write_over(&self, path: &str, bytes: &[u8]) -> bool {
        self.state().tree.write_over(path, bytes)
    }

    /// Replaces all that is on this disk by a copy of all that is on
    /// `source`: a copied or swapped folder (F18). Handles die.
    pub fn copy_from(&self, source: &MemoryDisk) {
        let copy = source.state().tree.deep_clone();
        let mut state = self.state();
        state.generation += 1;
        state.folders += 1;
        state.tree = copy;
    }

    /// Takes all files away: an empty folder under a known name (F18).
    pub fn wipe(&self) {
        let mut state = self.state();
        state.generation += 1;
        state.folders += 1;
        state.faults.closed.clear();
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
            state.injected.count(injected::DEAD_DISK);
            return Err(io::Error::other("simulated I/O error: the disk does not answer"));
        }
        let result = act(&mut state);
        let is_stopping = std::mem::take(&mut state.is_stopping) || !state.is_on;
        let hook = if is_stopping { state.on_power_cut.clone() } else { None };
        drop(state);
        if let Some(hook) = hook {
            hook();
        }
        result
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
