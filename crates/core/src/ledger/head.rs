//! The first 4 KiB of the ledger's file, before redb's own bytes: what the
//! file is, and which commit was acknowledged last.
//!
//! ```text
//!    0  magic "DFSCATLG"
//!    8  format version, u32
//!   12  CRC32C of bytes 0..12, u32
//!  512  mark 0: commit, u64; CRC32C of the mark's number (u8) and it, u32
//! 1024  mark 1: the same
//! ```
//!
//! All numbers are little-endian, all other bytes 0. A commit's mark is
//! written once redb has made the commit durable, over the older of the two,
//! and becomes durable with the next sync: so a mark is never ahead of the
//! commits in the file, unless the file lost one.

use std::io::{self, ErrorKind};

use super::backend::read_surely;
use super::error::LedgerError;
use super::{FORMAT_VERSION, LEDGER_FILE};
use crate::data::digest::crc32c;
use crate::env::File;

/// Where redb's own bytes begin.
pub(super) const HEAD_BYTES: u64 = 4096;

const MAGIC: &[u8; 8] = b"DFSCATLG";
const MARK_BYTES: usize = 12;
const MARK_OFFSETS: [u64; 2] = [512, 1024];

/// The marks of a file, as far as they can be read.
pub(super) struct Head {
    version: u32,
    marks: [Option<u64>; 2],
}

impl Head {
    /// Writes the head of a new file, with commit 0 in both marks.
    pub(super) fn create(file: &dyn File) -> Result<(), LedgerError> {
        let mut bytes = vec![0; usize::try_from(HEAD_BYTES).expect("4096 fits")];
        bytes[..16].copy_from_slice(&start(FORMAT_VERSION));
        let write = LedgerError::io("writing its head");
        file.write_at(0, &bytes).map_err(&write)?;
        for slot in 0..2 {
            write_mark(file, slot, 0)?;
        }
        Ok(())
    }

    /// Reads and checks the head.
    pub(super) fn read(file: &dyn File) -> Result<Self, LedgerError> {
        let read = LedgerError::io("reading its head");
        let len = file.len().map_err(&read)?;
        if len <= HEAD_BYTES {
            return Err(LedgerError::damaged(format!("it ends after {len} bytes")));
        }
        let mut start = [0; 16];
        read_surely(file, 0, &mut start).map_err(&read)?;
        let (said, sum) = start.split_at(12);
        if !said.starts_with(MAGIC) {
            return Err(LedgerError::damaged(format!("it does not begin as a {LEDGER_FILE} does")));
        }
        if sum != crc32c(&[said]).to_le_bytes() {
            return Err(LedgerError::damaged("its head fails its checksum"));
        }
        let version = said.last_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        match version {
            1..=FORMAT_VERSION => {}
            0 => return Err(LedgerError::damaged("its format version is 0")),
            found => return Err(LedgerError::NewerFormat { found }),
        }
        let read = LedgerError::io("reading its last commit");
        let marks = [read_mark(file, 0).map_err(&read)?, read_mark(file, 1).map_err(&read)?];
        if marks == [None, None] {
            return Err(LedgerError::damaged("both marks of its last commit fail their checksum"));
        }
        Ok(Self { version, marks })
    }

    /// Raises the version of an earlier format to this build's, durably.
    /// Returns the earlier one. Builds of the earlier format refuse the file
    /// from now on, before they meet a table that they do not know.
    pub(super) fn upgrade(&mut self, file: &dyn File) -> Result<Option<u32>, LedgerError> {
        if self.version == FORMAT_VERSION {
            return Ok(None);
        }
        // These bytes lie in one sector, which devices write whole.
        let write = LedgerError::io("raising its format version");
        file.write_at(0, &start(FORMAT_VERSION)).map_err(&write)?;
        file.sync().map_err(&write)?;
        Ok(Some(std::mem::replace(&mut self.version, FORMAT_VERSION)))
    }

    /// The file's format.
    pub(super) fn version(&self) -> u32 {
        self.version
    }

    /// The last commit that the file is known to have held.
    pub(super) fn last_commit(&self) -> u64 {
        self.marks.iter().flatten().copied().max().unwrap_or(0)
    }

    /// Returns true when the file still holds both marks as written, and its last
    /// byte. False means that the file was written over or cut short. Blocks.
    ///
    /// # Errors
    /// Whatever the device says.
    pub(super) fn stands_in(&self, file: &dyn File) -> io::Result<bool> {
        let mut last = [0];
        let marks = file
            .read_at(file.len()?.saturating_sub(1), &mut last)
            .and_then(|()| Ok([read_mark(file, 0)?, read_mark(file, 1)?]));
        match marks {
            Ok(marks) => Ok(marks == self.marks),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes the last mark again and makes it durable. When this fails, a commit
    /// would fail too. Blocks.
    pub(super) fn try_disk(&self, file: &dyn File) -> Result<(), LedgerError> {
        let slot = usize::from(self.marks[1] > self.marks[0]);
        if let Some(commit) = self.marks[slot] {
            write_mark(file, slot, commit)?;
        }
        file.sync().map_err(LedgerError::io("trying its disk"))
    }

    /// Notes that `commit` is durable.
    pub(super) fn mark(&mut self, file: &dyn File, commit: u64) -> Result<(), LedgerError> {
        // A mark that cannot be read counts as the oldest.
        let slot = if self.marks[0] <= self.marks[1] { 0 } else { 1 };
        write_mark(file, slot, commit)?;
        self.marks[slot] = Some(commit);
        Ok(())
    }
}

/// The first bytes of a file of format `version`.
fn start(version: u32) -> [u8; 16] {
    let mut start = [0; 16];
    start[..8].copy_from_slice(MAGIC);
    start[8..12].copy_from_slice(&version.to_le_bytes());
    let sum = crc32c(&[&start[..12]]);
    start[12..].copy_from_slice(&sum.to_le_bytes());
    start
}

fn write_mark(file: &dyn File, slot: usize, commit: u64) -> Result<(), LedgerError> {
    let mut bytes = [0; MARK_BYTES];
    bytes[..8].copy_from_slice(&commit.to_le_bytes());
    bytes[8..].copy_from_slice(&mark_sum(slot, commit).to_le_bytes());
    file.write_at(MARK_OFFSETS[slot], &bytes).map_err(LedgerError::io("marking a commit"))
}

/// The mark in `slot`; `None` when it was torn or damaged.
fn read_mark(file: &dyn File, slot: usize) -> io::Result<Option<u64>> {
    let mut bytes = [0; MARK_BYTES];
    read_surely(file, MARK_OFFSETS[slot], &mut bytes)?;
    let (commit, sum) = bytes.split_at(8);
    let commit = commit.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    Ok((sum == mark_sum(slot, commit).to_le_bytes()).then_some(commit))
}

fn mark_sum(slot: usize, commit: u64) -> u32 {
    let slot = u8::try_from(slot).expect("there are two marks");
    crc32c(&[&[slot], &commit.to_le_bytes()])
}
