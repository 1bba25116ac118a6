//! What is planned for the next calls, and the test's hands on it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

use super::MemoryDisk;
use super::injected::SWAPPED_FILES;
use super::tree::Tree;
use crate::rng::Rng;

/// A kind of call on the seam, for [`MemoryDisk::fail_next`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// `Disk::create`.
    Create,
    /// `Disk::open`.
    Open,
    /// `Disk::rename`.
    Rename,
    /// `Disk::remove`.
    Remove,
    /// `Disk::create_dir`.
    CreateDir,
    /// `Disk::list`.
    List,
    /// `Disk::sync_dir`.
    SyncDir,
    /// `Disk::space`.
    Space,
    /// `File::read_at`.
    Read,
    /// `File::write_at`.
    Write,
    /// `File::set_len`.
    SetLen,
    /// `File::sync`.
    Sync,
}

/// What was planned and has not happened yet, and how the volume stands.
pub(super) struct Faults {
    failures: Vec<Failure>,
    pub(super) lost_writes: Strikes,
    pub(super) flipped_reads: Strikes,
    pub(super) misdirected_writes: VecDeque<Landing>,
    pub(super) misdirected_reads: VecDeque<Landing>,
    /// Files that may not be opened.
    pub(super) closed: BTreeSet<String>,
    pub(super) is_read_only: bool,
    /// What is under the mount point while the volume is mounted, and the
    /// volume while it is not.
    pub(super) hidden: Option<Tree>,
    pub(super) is_unmounted: bool,
    /// Rises with each change of the mount: handles of an earlier one fail.
    pub(super) mount: u64,
    /// Decides what nobody named: which bit, which block.
    pub(super) rng: Rng,
}

struct Failure {
    call: Call,
    kind: io::ErrorKind,
    strikes: Strikes,
}

/// Which of the next calls a plan strikes.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Strikes {
    skipped: u32,
    left: u32,
}

/// Where a misdirected call goes.
#[derive(Debug, Clone)]
pub(super) enum Landing {
    /// Into this file, at this offset.
    At(String, u64),
    /// Wherever chance says.
    Drawn,
}

impl Faults {
    pub(super) fn new(disk: &str) -> Self {
        Self {
            failures: Vec::new(),
            lost_writes: Strikes::default(),
            flipped_reads: Strikes::default(),
            misdirected_writes: VecDeque::new(),
            misdirected_reads: VecDeque::new(),
            closed: BTreeSet::new(),
            is_read_only: false,
            hidden: None,
            is_unmounted: false,
            mount: 0,
            rng: Rng::derive(0, disk),
        }
    }

    /// Whether something is planned for a read beside its failure.
    pub(super) fn any_reads(&self) -> bool {
        self.flipped_reads.left > 0 || !self.misdirected_reads.is_empty()
    }

    /// The failure that is due at `call`, if one is.
    pub(super) fn take_failure(&mut self, call: Call) -> Option<io::Error> {
        if self.failures.is_empty() {
            return None;
        }
        let failure = self.failures.iter_mut().find(|failure| failure.call == call)?;
        let kind = failure.kind;
        let is_struck = failure.strikes.strike();
        if failure.strikes.left == 0 {
            self.failures.retain(|failure| failure.call != call);
        }
        let error = || io::Error::new(kind, format!("simulated I/O error: {}", call.failed()));
        is_struck.then(error)
    }
}

impl Strikes {
    /// One more call comes; whether it is struck.
    pub(super) fn strike(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        if self.skipped > 0 {
            self.skipped -= 1;
            return false;
        }
        self.left -= 1;
        true
    }
}

impl Call {
    /// The name of its failure, for messages and counts.
    pub(super) fn failed(self) -> &'static str {
        match self {
            Call::Create => "create failed",
            Call::Open => "open failed",
            Call::Rename => "rename failed",
            Call::Remove => "remove failed",
            Call::CreateDir => "create folder failed",
            Call::List => "list failed",
            Call::SyncDir => "sync folder failed",
            Call::Space => "space failed",
            Call::Read => "read failed",
            Call::Write => "write failed",
            Call::SetLen => "set length failed",
            Call::Sync => "sync failed",
        }
    }
}

impl MemoryDisk {
    /// The next `count` calls of this kind fail with an error of this kind
    /// (F10, F11), in place of what was planned for such calls before.
    ///
    /// A failed write may have written a part, from its start. A failed sync
    /// loses what was dirty (F9; with `StorageFull`, delayed allocation). All
    /// others change nothing.
    pub fn fail_next(&self, call: Call, kind: io::ErrorKind, count: u32) {
        self.fail_after(0, call, kind, count);
    }

    /// As [`MemoryDisk::fail_next`], once `skipped` such calls were let by.
    pub fn fail_after(&self, skipped: u32, call: Call, kind: io::ErrorKind, count: u32) {
        let failures = &mut self.state().faults.failures;
        failures.retain(|failure| failure.call != call);
        if count > 0 {
            failures.push(Failure { call, kind, strikes: Strikes { skipped, left: count } });
        }
    }

    /// The next `count` syncs of files fail, and lose what was dirty (F9).
    pub fn fail_next_syncs(&self, count: u32) {
        self.fail_next(Call::Sync, io::ErrorKind::Other, count);
    }

    /// Takes out of memory what a failed sync left there and no device has,
    /// as the kernel may at any time (F9). Without this, only a power cut
    /// shows the loss.
    pub fn drop_lost_pages(&self) {
        let state = &mut *self.state();
        state.tree.drop_lost_pages(&mut state.injected);
    }

    /// The next `count` writes say that they worked and change nothing (F8).
    pub fn lose_next_writes(&self, count: u32) {
        self.lose_writes_after(0, count);
    }

    /// As [`MemoryDisk::lose_next_writes`], once `skipped` writes were let by.
    pub fn lose_writes_after(&self, skipped: u32, count: u32) {
        self.state().faults.lost_writes = Strikes { skipped, left: count };
    }

    /// Each of the next `count` reads returns one turned bit; the medium is
    /// as it was (F6). Chance that hangs on this disk alone chooses the bit.
    pub fn flip_next_reads(&self, count: u32) {
        self.flip_reads_after(0, count);
    }

    /// As [`MemoryDisk::flip_next_reads`], once `skipped` reads were let by.
    pub fn flip_reads_after(&self, skipped: u32, count: u32) {
        self.state().faults.flipped_reads = Strikes { skipped, left: count };
    }

    /// Each of the next `count` writes lands in another file, or at another
    /// offset of its own where there is no other: its place keeps what it
    /// had, and what is cut off at the end of the other file is lost (F7). A
    /// write that has nowhere else to go is let by.
    pub fn misdirect_next_writes(&self, count: u32) {
        self.state().faults.misdirected_writes = drawn(count);
    }

    /// The next write lands in file `path` at `offset` (F7).
    ///
    /// # Panics
    /// When there is no such file.
    pub fn misdirect_next_write(&self, path: &str, offset: u64) {
        let mut state = self.state();
        drop(state.file(path));
        state.faults.misdirected_writes.push_back(Landing::At(path.to_owned(), offset));
    }

    /// Each of the next `count` reads returns bytes of another file, or of
    /// another offset; beyond that file's end, zeros (F7). A read that has
    /// nowhere else to go is let by.
    pub fn misdirect_next_reads(&self, count: u32) {
        self.state().faults.misdirected_reads = drawn(count);
    }

    /// The next read returns bytes of file `path` at `offset` (F7).
    ///
    /// # Panics
    /// When there is no such file.
    pub fn misdirect_next_read(&self, path: &str, offset: u64) {
        let mut state = self.state();
        drop(state.file(path));
        state.faults.misdirected_reads.push_back(Landing::At(path.to_owned(), offset));
    }

    /// Gives each of two files the other's bytes, durably (F7, F18): each is
    /// whole, under the wrong name.
    ///
    /// # Panics
    /// When one of them is not there.
    pub fn swap_files(&self, one: &str, other: &str) {
        let mut state = self.state();
        let bytes = |path| state.file(path).lock().image.bytes().to_vec();
        let (first, second) = (bytes(one), bytes(other));
        state.tree.plant(one, &second);
        state.tree.plant(other, &first);
        state.injected.count(SWAPPED_FILES);
    }

    /// While set, all that would change something fails with
    /// `ReadOnlyFilesystem`, and reads go on (F11): a volume that the kernel
    /// made read-only after an error. What was dirty then is lost at its
    /// sync. Files are opened as ever, though the seam opens them for writing
    /// too; where that is refused, see [`Call::Open`].
    pub fn set_read_only(&self, is_read_only: bool) {
        self.state().faults.is_read_only = is_read_only;
    }

    /// While set, the volume is not mounted (F11): in its place is the folder
    /// under the mount point, empty at first, which can be written to. What
    /// is written there is hidden once the volume is back, and is there again
    /// the next time. A file that was open across a change gives I/O errors
    /// for good.
    pub fn set_unmounted(&self, is_unmounted: bool) {
        let state = &mut *self.state();
        if state.faults.is_unmounted == is_unmounted {
            return;
        }
        state.faults.is_unmounted = is_unmounted;
        state.faults.mount += 1;
        let hidden = state.faults.hidden.take().unwrap_or_default();
        state.faults.hidden = Some(std::mem::replace(&mut state.tree, hidden));
    }

    /// From now on a file cannot be opened (F25), as after `chmod 000`. It can
    /// be renamed and removed, and whoever has it open goes on.
    pub fn close_file(&self, path: &str) {
        self.state().faults.closed.insert(path.to_owned());
    }

    /// True while some file cannot be opened.
    #[must_use]
    pub fn has_closed_files(&self) -> bool {
        !self.state().faults.closed.is_empty()
    }

    /// Forgets every fault that was planned and has not struck: the volume
    /// is there, can be written to, and answers. What was damaged stays so.
    pub fn plan_no_faults(&self) {
        self.set_read_only(false);
        self.set_unmounted(false);
        self.set_dead(false);
        self.uncrowd();
        let faults = &mut self.state().faults;
        faults.failures.clear();
        (faults.lost_writes, faults.flipped_reads) = (Strikes::default(), Strikes::default());
        faults.misdirected_writes.clear();
        faults.misdirected_reads.clear();
    }

    /// Whether [`MemoryDisk::set_read_only`] is in force.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.state().faults.is_read_only
    }

    /// Whether [`MemoryDisk::set_unmounted`] took the volume away.
    #[must_use]
    pub fn is_unmounted(&self) -> bool {
        self.state().faults.is_unmounted
    }

    /// Makes chance choose other bits and places than it would.
    pub fn reseed_faults(&self, seed: u64) {
        let mut state = self.state();
        state.faults.rng = Rng::derive(seed, &state.name);
    }

    /// How often each kind of fault took effect on this disk so far: reads
    /// that returned a turned bit, writes that were lost, blocks and names
    /// that a power cut took back, and so on.
    #[must_use]
    pub fn faults_injected(&self) -> BTreeMap<&'static str, u64> {
        self.state().injected.by_kind()
    }
}

fn drawn(count: u32) -> VecDeque<Landing> {
    (0..count).map(|_| Landing::Drawn).collect()
}
