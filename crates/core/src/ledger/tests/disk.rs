//! A disk in memory with two images: what a running process sees, and what a
//! power cut leaves. It can be cut off at any effect.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::env::{Access, Disk, Entry, File, Place, Space};

const BLOCK_BYTES: usize = 512;

/// Clones are the same disk.
#[derive(Clone, Default)]
pub(super) struct TestDisk(Arc<Mutex<State>>);

#[derive(Clone, Default)]
struct State {
    files: Vec<Image>,
    live_names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    effects: u64,
    /// The effect at which power goes.
    cut_at: Option<u64>,
    /// The sync, counted from now, that fails.
    failing_sync: Option<u32>,
    capacity: Option<usize>,
}

#[derive(Clone, Default)]
struct Image {
    live: Vec<u8>,
    durable: Vec<u8>,
}

struct Open {
    disk: TestDisk,
    file: usize,
}

/// Numbers from a seed (SplitMix64).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn is_heads(&mut self) -> bool {
        self.next() >> 63 == 0
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is below a usize")
    }
}

impl TestDisk {
    /// Lets power go at that effect, counted from now.
    pub(super) fn cut_at(&self, effect: u64) {
        let mut state = self.state();
        state.cut_at = Some(state.effects + effect);
    }

    /// Effects so far.
    pub(super) fn effects(&self) -> u64 {
        self.state().effects
    }

    pub(super) fn fail_sync(&self, which: u32) {
        self.state().failing_sync = Some(which);
    }

    pub(super) fn set_capacity(&self, bytes: Option<usize>) {
        self.state().capacity = bytes;
    }

    /// A file's bytes as a running process sees them.
    pub(super) fn read(&self, path: &str) -> Vec<u8> {
        let state = self.state();
        state.files[state.live_names[path]].live.clone()
    }

    /// A disk with one file, all of it durable.
    pub(super) fn with(path: &str, bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        {
            let mut state = disk.state();
            state.files.push(Image { live: bytes.clone(), durable: bytes });
            state.live_names.insert(path.to_owned(), 0);
            state.durable_names.insert(path.to_owned(), 0);
        }
        disk
    }

    /// What is left after a power cut: of what was not synced, some blocks
    /// and some names, by chance.
    pub(super) fn after_power_cut(&self, seed: u64) -> Self {
        let mut chance = Chance(seed);
        let mut state = self.state().clone();
        for file in &mut state.files {
            file.durable = survivors(file, &mut chance);
            file.live = file.durable.clone();
        }
        let names: BTreeSet<String> =
            state.live_names.keys().chain(state.durable_names.keys()).cloned().collect();
        for name in names {
            let (live, durable) = (state.live_names.get(&name), state.durable_names.get(&name));
            if live != durable && chance.is_heads() {
                match live.copied() {
                    Some(file) => state.durable_names.insert(name, file),
                    None => state.durable_names.remove(&name),
                };
            }
        }
        state.live_names = state.durable_names.clone();
        state.cut_at = None;
        Self(Arc::new(Mutex::new(state)))
    }

    /// What the next process finds after this one was killed.
    pub(super) fn after_kill(&self) -> Self {
        let mut state = self.state().clone();
        state.cut_at = None;
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder panics")
    }

    fn effect(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.alive()?;
        state.effects += 1;
        if state.cut_at == Some(state.effects) {
            return Err(io::Error::other("power went"));
        }
        Ok(state)
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state();
        match state.cut_at {
            Some(end) if state.effects >= end => Err(io::Error::other("power is gone")),
            _ => Ok(state),
        }
    }
}

fn survivors(file: &Image, chance: &mut Chance) -> Vec<u8> {
    let mut kept = file.durable.clone();
    if file.live.len() != kept.len() && chance.is_heads() {
        kept.resize(file.live.len(), 0);
    }
    let blocks = kept.chunks_mut(BLOCK_BYTES).zip(file.live.chunks(BLOCK_BYTES));
    for (kept, live) in blocks {
        let len = kept.len().min(live.len());
        if kept[..len] != live[..len] && chance.is_heads() {
            kept[..len].copy_from_slice(&live[..len]);
        }
    }
    kept
}

impl Disk for TestDisk {
    fn create(&self, path: &str, _: Access) -> io::Result<Box<dyn File>> {
        let mut state = self.effect()?;
        if state.live_names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        state.files.push(Image::default());
        let file = state.files.len() - 1;
        state.live_names.insert(path.to_owned(), file);
        Ok(Box::new(Open { disk: self.clone(), file }))
    }

    fn open(&self, path: &str, _: Access) -> io::Result<Box<dyn File>> {
        let state = self.alive()?;
        let file = *state.live_names.get(path).ok_or(ErrorKind::NotFound)?;
        Ok(Box::new(Open { disk: self.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.effect()?;
        let file = state.live_names.remove(from).ok_or(ErrorKind::NotFound)?;
        state.live_names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.effect()?;
        state.live_names.remove(path).ok_or(ErrorKind::NotFound)?;
        Ok(())
    }

    fn create_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, _: &str) -> io::Result<Vec<Entry>> {
        Ok(Vec::new())
    }

    fn sync_dir(&self, _: &str) -> io::Result<()> {
        let mut state = self.effect()?;
        state.durable_names = state.live_names.clone();
        Ok(())
    }

    fn place(&self) -> io::Result<Place> {
        Ok(Place { device: 0, inode: 0 })
    }

    fn space(&self) -> io::Result<Space> {
        Ok(Space { total: 0, free: 0 })
    }
}

impl Open {
    fn grow(&self, state: &mut State, len: usize) -> io::Result<()> {
        if state.capacity.is_some_and(|capacity| len > capacity) {
            return Err(ErrorKind::StorageFull.into());
        }
        let live = &mut state.files[self.file].live;
        live.resize(live.len().max(len), 0);
        Ok(())
    }
}

impl File for Open {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.alive()?.files[self.file].live.len() as u64)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let state = self.disk.alive()?;
        let offset = usize::try_from(offset).expect("small files");
        let found = state.files[self.file].live.get(offset..offset + bytes.len());
        bytes.copy_from_slice(found.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.effect()?;
        let offset = usize::try_from(offset).expect("small files");
        self.grow(&mut state, offset + bytes.len())?;
        state.files[self.file].live[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.effect()?;
        let len = usize::try_from(len).expect("small files");
        self.grow(&mut state, len)?;
        state.files[self.file].live.truncate(len);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.effect()?;
        match state.failing_sync.as_mut() {
            Some(0) => {
                state.failing_sync = None;
                return Err(io::Error::other("the device failed"));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        let file = &mut state.files[self.file];
        file.durable = file.live.clone();
        Ok(())
    }
}
