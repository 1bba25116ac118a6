//! redb's view of the disk seam: the ledger's file behind its head.
//!
//! While a file is being opened, what redb wants to write to it is held back
//! in memory. Only when all rows have been found good is it carried out, in
//! its order; a file that is refused stays as it is, byte for byte.
//!
//! Nothing is believed that was read only once: redb keeps the pages that it
//! has read and writes them back under new sums, where no check finds a bit
//! that only one read had turned.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use super::head::HEAD_BYTES;
use crate::env::File;
use crate::mutant::{Mutant, is_planted};

/// What may be held back, in bytes. Opening writes a few pages at most.
const HELD_BYTES_MAX: usize = 64 << 20;

/// How often the same bytes are read before two readings in a row agree.
const READINGS_MAX: u32 = 4;

/// The file, shared between redb and the ledger.
#[derive(Clone)]
pub(super) struct Backend {
    file: Arc<dyn File>,
    held: Arc<Mutex<Option<Held>>>,
}

/// What was not carried out yet.
#[derive(Default)]
struct Held {
    steps: Vec<Step>,
    bytes: usize,
}

enum Step {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
    Sync,
}

impl Backend {
    /// Every write goes to the file at once.
    pub(super) fn direct(file: Arc<dyn File>) -> Self {
        Self { file, held: Arc::default() }
    }

    /// Nothing goes to the file before [`Self::release`].
    pub(super) fn held(file: Arc<dyn File>) -> Self {
        Self { file, held: Arc::new(Mutex::new(Some(Held::default()))) }
    }

    /// Carries out what was held back; from then on, writes go to the file.
    /// When that fails, nothing goes to the file any more: what redb writes
    /// as it is closed belongs to pages that are not there.
    pub(super) fn release(&self) -> io::Result<()> {
        let mut held = self.lock();
        for step in held.iter().flat_map(|held| &held.steps) {
            match step {
                Step::Write { offset, bytes } => self.file.write_at(*offset, bytes)?,
                Step::SetLen(len) => self.file.set_len(*len)?,
                Step::Sync => self.file.sync()?,
            }
        }
        *held = None;
        Ok(())
    }

    /// From now on, no write goes to the file.
    pub(super) fn hold(&self) {
        self.lock().get_or_insert_default();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Held>> {
        // A holder that panicked left a list of whole steps behind.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn do_or_hold(&self, step: Step) -> io::Result<()> {
        let mut held = self.lock();
        let Some(held) = held.as_mut() else {
            return match step {
                Step::Write { offset, bytes } => self.file.write_at(offset, &bytes),
                Step::SetLen(len) => self.file.set_len(len),
                Step::Sync if is_planted(Mutant::DropLedgerSync) => Ok(()),
                Step::Sync => self.file.sync(),
            };
        };
        if let Step::Write { bytes, .. } = &step {
            held.bytes += bytes.len();
        }
        if held.bytes > HELD_BYTES_MAX {
            return Err(io::Error::other("opening it would rewrite more than it may"));
        }
        held.steps.push(step);
        Ok(())
    }
}

impl Held {
    /// The file's length once all is carried out.
    fn len(&self, len: u64) -> u64 {
        self.steps.iter().fold(len, |len, step| match step {
            Step::Write { offset, bytes } => len.max(offset.saturating_add(bytes.len() as u64)),
            Step::SetLen(len) => *len,
            Step::Sync => len,
        })
    }

    /// Lays what was held back over `bytes`, which were read at `offset`.
    fn overlay(&self, offset: u64, bytes: &mut [u8]) {
        let end = offset + bytes.len() as u64;
        for step in &self.steps {
            match step {
                Step::Write { offset: at, bytes: written } => {
                    let (from, to) = (offset.max(*at), end.min(at + written.len() as u64));
                    if from < to {
                        let target = within(offset, from, to);
                        bytes[target].copy_from_slice(&written[within(*at, from, to)]);
                    }
                }
                Step::SetLen(len) if *len < end => {
                    bytes[within(offset, offset.max(*len), end)].fill(0);
                }
                Step::SetLen(_) | Step::Sync => {}
            }
        }
    }
}

/// The indexes of `from..to` in bytes that begin at `start`.
fn within(start: u64, from: u64, to: u64) -> std::ops::Range<usize> {
    let index = |at: u64| usize::try_from(at - start).expect("it lies within bytes in memory");
    index(from)..index(to)
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(super::LEDGER_FILE)
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        let len = self.file.len()?;
        let len = self.lock().as_ref().map_or(len, |held| held.len(len));
        len.checked_sub(HEAD_BYTES)
            .ok_or_else(|| io::Error::new(ErrorKind::UnexpectedEof, "it ends within its head"))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = behind_head(offset)?;
        let held = self.lock();
        let Some(held) = held.as_ref() else { return read_surely(&*self.file, offset, out) };
        let len = self.file.len()?;
        let end = offset.saturating_add(out.len() as u64);
        if end > held.len(len) {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "it ends early"));
        }
        let (present, rest) =
            out.split_at_mut(within(offset, offset, end.min(len.max(offset))).end);
        read_surely(&*self.file, offset, present)?;
        rest.fill(0);
        held.overlay(offset, out);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.len()? == len {
            // Cutting a file to its own length would give its reserve back.
            return Ok(());
        }
        self.do_or_hold(Step::SetLen(behind_head(len)?))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.do_or_hold(Step::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = behind_head(offset)?;
        self.do_or_hold(Step::Write { offset, bytes: data.to_vec() })
    }
}

/// Fills `out` from `offset` on with what two readings in a row have given.
pub(super) fn read_surely(file: &dyn File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    file.read_at(offset, out)?;
    let mut again = vec![0; out.len()];
    for _ in 1..READINGS_MAX {
        file.read_at(offset, &mut again)?;
        if again == out {
            return Ok(());
        }
        out.copy_from_slice(&again);
    }
    Err(io::Error::other("the disk reads the same bytes differently each time"))
}

fn behind_head(offset: u64) -> io::Result<u64> {
    offset
        .checked_add(HEAD_BYTES)
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "an offset beyond any file"))
}
