//! One open file: its length, its staged end, and the two ways to it.

use std::fs::File as OsFile;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dfs_core::env::{Access, File};
use rustix::fs::{Advice, OFlags, fadvise};
use rustix::io::Errno;

use super::aligned::{DIRECT_SIZE, READ_SIZE, align_down, align_up, with_buffer};
use super::name_error;
use super::quota::Quota;
use super::staged::{Staged, Ways};

/// Shorter reads go through the page cache: headers, footers, records.
const DIRECT_READ_BYTES_MIN: usize = 128 << 10;
/// Without direct writes, write-behind begins after so many bytes.
const WRITE_BEHIND_BYTES: u64 = 8 << 20;

/// A handle on an open file.
pub(super) struct RealFile {
    shared: Arc<Shared>,
}

/// What all handles of one file share.
pub(super) struct Shared {
    plain: OsFile,
    /// Past the page cache, where the access and the file system allow it.
    direct: Option<OsFile>,
    access: Access,
    quota: Quota,
    state: Mutex<State>,
}

struct State {
    len: u64,
    staged: Option<Staged>,
    /// Bytes below this are on their way to the device (without `direct`).
    written_behind: u64,
    /// A sync failed, or bytes that were taken could not be written: nothing
    /// may pretend from now on that they are there.
    is_failed: bool,
    /// Its name is gone, and the account has its bytes back.
    is_removed: bool,
}

impl RealFile {
    pub(super) fn new(plain: OsFile, access: Access, quota: Quota) -> io::Result<Self> {
        Shared::new(plain, access, quota).map(|shared| Self { shared: Arc::new(shared) })
    }

    pub(super) fn on(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Shared {
    pub(super) fn new(plain: OsFile, access: Access, quota: Quota) -> io::Result<Self> {
        let len = plain.metadata()?.len();
        let direct = match access {
            Access::Sequential => open_direct(&plain),
            Access::Random => None,
        };
        let state =
            State { len, staged: None, written_behind: len, is_failed: false, is_removed: false };
        Ok(Self { plain, direct, access, quota, state: Mutex::new(state) })
    }

    pub(super) fn len(&self) -> u64 {
        self.lock().len
    }

    /// The file lost its name: its bytes are given back.
    pub(super) fn remove(&self) {
        let mut state = self.lock();
        if !state.is_removed {
            state.is_removed = true;
            self.quota.give(state.len);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside can only come from an impossible slice; what the
        // state says stays true of the file.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ways(&self) -> Option<Ways<'_>> {
        let direct = self.direct.as_ref()?;
        Some(Ways { plain: &self.plain, direct })
    }

    /// Brings the staged end into the file.
    fn flush(&self, state: &mut State) -> io::Result<()> {
        if let (Some(ways), Some(staged)) = (self.ways(), &mut state.staged) {
            let flushed = staged.flush(&ways);
            state.is_failed |= flushed.is_err();
            flushed?;
        }
        Ok(())
    }

    fn append_staged(&self, ways: &Ways<'_>, state: &mut State, bytes: &[u8]) -> io::Result<()> {
        let mut staged = match state.staged.take() {
            Some(staged) => staged,
            None => Staged::begin(ways, state.len)?,
        };
        let appended = staged.append(ways, bytes);
        state.is_failed |= appended.is_err();
        state.staged = Some(staged);
        appended
    }

    fn write_behind(&self, state: &mut State, end: u64) {
        let behind = state.written_behind;
        if self.access == Access::Sequential && end >= behind + WRITE_BEHIND_BYTES {
            // Starts to write dirty pages and drops clean ones; only a hint.
            let length = std::num::NonZeroU64::new(end - behind);
            let _ = fadvise(&self.plain, behind, length, Advice::DontNeed);
            state.written_behind = end;
        }
    }

    fn read_directly(&self, direct: &OsFile, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut offset = offset;
        for piece in bytes.chunks_mut(READ_SIZE) {
            let end = offset + piece.len() as u64;
            let start = align_down(offset);
            let span = usize::try_from(align_up(end) - start).expect("little more than a piece");
            let skipped = usize::try_from(offset - start).expect("less than one block");
            with_buffer(|buffer| {
                let area = &mut buffer.as_mut_slice()[..span];
                let found = direct.read_at(area, start).unwrap_or(0);
                match area.get(skipped..skipped + piece.len()) {
                    Some(wanted) if found >= skipped + piece.len() => {
                        piece.copy_from_slice(wanted);
                        Ok(())
                    }
                    // Refused, failed or cut short: the other way either
                    // gives the bytes or the reason why not.
                    _ => self.plain.read_exact_at(piece, offset),
                }
            })?;
            offset = end;
        }
        Ok(())
    }
}

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.shared.len())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let shared = &*self.shared;
        {
            let mut state = shared.lock();
            let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= state.len);
            let Some(end) = end else {
                let text = format!("{} bytes at {offset} of {}", bytes.len(), state.len);
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            };
            if state.staged.as_ref().is_some_and(|staged| staged.hides(end)) {
                shared.flush(&mut state)?;
            }
        }
        match &shared.direct {
            Some(direct) if bytes.len() >= DIRECT_READ_BYTES_MIN => {
                shared.read_directly(direct, offset, bytes)
            }
            _ => shared.plain.read_exact_at(bytes, offset),
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let shared = &*self.shared;
        let mut state = shared.lock();
        refuse_failed(&state)?;
        let end = offset.checked_add(bytes.len() as u64);
        let end = end.ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let growth = end.saturating_sub(state.len);
        if !state.is_removed {
            shared.quota.take(growth)?;
        }

        let at_end = state.staged.as_ref().map_or(state.len, Staged::end) == offset;
        let written = match shared.ways() {
            Some(ways) if at_end => shared.append_staged(&ways, &mut state, bytes),
            // Large pieces in any order, as a get brings them.
            Some(ways) if is_aligned(offset) && bytes.len() >= DIRECT_SIZE => {
                shared.flush(&mut state).and_then(|()| {
                    state.staged = None;
                    write_directly(&ways, offset, bytes)
                })
            }
            _ => shared.flush(&mut state).and_then(|()| {
                state.staged = None;
                shared.plain.write_all_at(bytes, offset)
            }),
        };
        match written {
            Ok(()) => {
                state.len = state.len.max(end);
                if shared.direct.is_none() {
                    shared.write_behind(&mut state, end);
                }
                Ok(())
            }
            Err(error) => {
                // Part of it may be there; the file itself knows its length.
                let len = shared.plain.metadata().map_or(state.len, |it| it.len());
                let len = len.clamp(state.len, state.len + growth);
                if !state.is_removed {
                    shared.quota.give(state.len + growth - len);
                }
                state.len = len;
                Err(name_error(read_only(error, Errno::BADF), &"write"))
            }
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let shared = &*self.shared;
        let mut state = shared.lock();
        refuse_failed(&state)?;
        shared.flush(&mut state)?;
        state.staged = None;
        let growth = len.saturating_sub(state.len);
        if !state.is_removed {
            shared.quota.take(growth)?;
        }
        let changed = shared.plain.set_len(len);
        if !state.is_removed {
            shared.quota.give(if changed.is_ok() { state.len.saturating_sub(len) } else { growth });
        }
        changed.map_err(|error| name_error(read_only(error, Errno::INVAL), &"set length"))?;
        state.len = len;
        state.written_behind = state.written_behind.min(len);
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn allocate(&self, len: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        let _state = self.shared.lock();
        fallocate(&self.shared.plain, FallocateFlags::KEEP_SIZE, 0, len)
            .map_err(|error| name_error(error.into(), &"taking space ahead"))
    }

    fn sync(&self) -> io::Result<()> {
        let shared = &*self.shared;
        let mut state = shared.lock();
        refuse_failed(&state)?;
        shared.flush(&mut state)?;
        // The device is waited for without the lock, so that readers go on;
        // bytes that come meanwhile are not part of this promise.
        drop(state);
        let synced = shared.plain.sync_data();
        let mut state = shared.lock();
        if let Err(error) = synced {
            state.is_failed = true;
            return Err(name_error(error, &"sync"));
        }
        if shared.access == Access::Sequential && shared.direct.is_none() {
            let _ = fadvise(&shared.plain, 0, None, Advice::DontNeed);
            state.written_behind = state.len;
        }
        Ok(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Nobody promised these bytes, but who opens the file again while the
        // machine runs shall find them.
        let mut state = self.lock();
        if !state.is_removed && !state.is_failed {
            let flushed = self.flush(&mut state);
            if let Err(error) = flushed {
                tracing::warn!(%error, "the end of a file that was never synced is lost");
            }
        }
    }
}

fn is_aligned(offset: u64) -> bool {
    offset == align_down(offset)
}

/// Writes past the page cache what fills whole blocks, and the rest through
/// it. `offset` is aligned.
fn write_directly(ways: &Ways<'_>, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let mut offset = offset;
    for piece in bytes.chunks(READ_SIZE) {
        let aligned = usize::try_from(align_down(piece.len() as u64)).expect("a piece is short");
        let (whole, rest) = piece.split_at(aligned);
        let written = with_buffer(|buffer| {
            let area = &mut buffer.as_mut_slice()[..aligned];
            area.copy_from_slice(whole);
            ways.direct.write_all_at(area, offset)
        });
        if written.is_err() {
            // Refused or failed: the other way does it, or gives the reason.
            ways.plain.write_all_at(whole, offset)?;
        }
        ways.plain.write_all_at(rest, offset + aligned as u64)?;
        offset += piece.len() as u64;
    }
    Ok(())
}

/// A file on a read-only volume is open for reading only. The system does not
/// say so of a write to it, it `says` something else.
fn read_only(error: io::Error, says: Errno) -> io::Error {
    if error.raw_os_error() == Some(says.raw_os_error()) {
        return io::ErrorKind::ReadOnlyFilesystem.into();
    }
    error
}

fn refuse_failed(state: &State) -> io::Result<()> {
    if state.is_failed {
        return Err(io::Error::other(
            "an earlier write or sync of this file failed: what it held is not known, write it anew",
        ));
    }
    Ok(())
}

/// The same file past the page cache; `None` where that is not possible.
fn open_direct(plain: &OsFile) -> Option<OsFile> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let flags = i32::try_from(OFlags::DIRECT.bits()).ok()?;
    let path = format!("/proc/self/fd/{}", plain.as_raw_fd());
    let open =
        |write| std::fs::OpenOptions::new().read(true).write(write).custom_flags(flags).open(&path);
    open(true).or_else(|_| open(false)).ok()
}
