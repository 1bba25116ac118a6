//! Appending past the page cache: bytes gather in an aligned buffer and go
//! to the disk in direct writes of 1 MiB.
//!
//! The last, unaligned block cannot be written directly. A flush writes it
//! through the page cache and keeps it in the buffer; the next direct write
//! goes over it. The kernel keeps both ways coherent.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::aligned::{ALIGNMENT, Aligned, DIRECT_SIZE, align_down};

/// The end of a file that is being appended to.
pub(super) struct Staged {
    buffer: Aligned,
    /// Where the buffer begins in the file; aligned.
    base: u64,
    /// Bytes in the buffer.
    filled: usize,
    /// Of these, how many the file has already.
    flushed: usize,
}

/// The two ways to one file.
pub(super) struct Ways<'a> {
    pub(super) plain: &'a File,
    pub(super) direct: &'a File,
}

impl Staged {
    /// Begins to append at `end`, the file's length.
    pub(super) fn begin(ways: &Ways<'_>, end: u64) -> io::Result<Self> {
        let base = align_down(end);
        let filled = usize::try_from(end - base).expect("less than one block");
        let mut buffer = Aligned::new();
        ways.plain.read_exact_at(&mut buffer.as_mut_slice()[..filled], base)?;
        Ok(Self { buffer, base, filled, flushed: filled })
    }

    /// Where the next byte comes to stand.
    pub(super) fn end(&self) -> u64 {
        self.base + self.filled as u64
    }

    /// True when a read of what lies below `end` would miss bytes.
    pub(super) fn hides(&self, end: u64) -> bool {
        self.flushed < self.filled && end > self.base + self.flushed as u64
    }

    /// Takes `bytes` at the end.
    pub(super) fn append(&mut self, ways: &Ways<'_>, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = bytes.len().min(DIRECT_SIZE - self.filled);
            let (now, later) = bytes.split_at(taken);
            self.buffer.as_mut_slice()[self.filled..self.filled + taken].copy_from_slice(now);
            self.filled += taken;
            bytes = later;
            if self.filled == DIRECT_SIZE {
                self.write_directly(ways, 0, DIRECT_SIZE)?;
                self.base += DIRECT_SIZE as u64;
                self.filled = 0;
                self.flushed = 0;
            }
        }
        Ok(())
    }

    /// Brings all bytes into the file (not yet onto the device).
    pub(super) fn flush(&mut self, ways: &Ways<'_>) -> io::Result<()> {
        if self.flushed == self.filled {
            return Ok(());
        }
        let from = self.flushed - self.flushed % ALIGNMENT;
        let whole_blocks = self.filled - self.filled % ALIGNMENT;
        if whole_blocks > from {
            self.write_directly(ways, from, whole_blocks)?;
        }
        let tail = &self.buffer.as_slice()[whole_blocks..self.filled];
        ways.plain.write_all_at(tail, self.base + whole_blocks as u64)?;
        self.flushed = self.filled;
        Ok(())
    }

    fn write_directly(&self, ways: &Ways<'_>, from: usize, to: usize) -> io::Result<()> {
        let bytes = &self.buffer.as_slice()[from..to];
        let offset = self.base + from as u64;
        match ways.direct.write_all_at(bytes, offset) {
            // Some file systems take the flag and refuse the write; a short
            // write leaves an unaligned rest.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                ways.plain.write_all_at(bytes, offset)
            }
            written => written,
        }
    }
}
