//! What happens to a chunk that is not as it was written: it is kept aside,
//! told of, and never served again.

use std::io;
use std::sync::Arc;

use super::index::{Held, Place};
use super::{Image, ImageError, Store, path};
use crate::api::{Error, Result};
use crate::data::chunk::ChunkHeader;
use crate::data::chunk::pack::RECORD_HEADER_BYTES;
use crate::data::digest::Digest;
use crate::env::{Access, File};
use crate::id::Handle;
use crate::mark::{Mark, reached};
use crate::mutant::{Mutant, is_planted};

impl Store {
    /// Puts the chunk of an opened image into quarantine; says why.
    pub(super) fn condemn_image(self: &Arc<Self>, image: &Image, error: &ImageError) -> Error {
        let handle = image.header().handle;
        match self.get(handle).filter(|held| held.is_good) {
            Some(held) => self.condemn(handle, held, error),
            // Deleted, or condemned by another reader, in the meantime.
            None => self.is_bad(handle, error),
        }
    }

    /// Puts a chunk into quarantine; says why. One that could not be read is
    /// left alone while nothing else can be read either.
    pub(super) fn condemn(
        self: &Arc<Self>,
        handle: Handle,
        held: Held,
        reason: &ImageError,
    ) -> Error {
        if reason.is_unread() && !self.is_volume_there() {
            return self.volume_gone();
        }
        // Who writes the chunk anew puts it in this one's place: then the file
        // stays, since the move could hit the new one.
        let claim = self.claim(handle).ok();
        // The index first: a reader that finds the file gone while it moves
        // looks here again, and must not take it for lost.
        let bad = Held { is_good: false, ..held };
        if !self.index().replace(handle, held, bad) {
            // Deleted, replaced, or condemned by another reader meanwhile.
            return self.is_bad(handle, reason);
        }
        tracing::info!(node = %self.node, chunk = %handle, "put into quarantine: {reason}");
        let moved = match held.place {
            Place::File if claim.is_none() => Ok(()),
            Place::File => self.move_aside(handle),
            Place::Pack { pack, offset, body_len } => {
                self.copy_aside(handle, pack, offset, body_len)
            }
            Place::Quarantine => Ok(()),
        };
        let place = match (&moved, held.place) {
            (Err(_), Place::File) => Place::File,
            (Ok(()), Place::File) if claim.is_none() => Place::File,
            _ => Place::Quarantine,
        };
        if let Err(error) = moved.or_else(unless_missing) {
            // It is not served all the same; a restart finds it bad anew.
            let _ = self.disk_error(&format!("cannot keep bad chunk {handle} aside"), &error);
        }
        {
            let mut index = self.index();
            if index.get(handle) == Some(bad) {
                index.load(handle, Held { place, ..bad });
            } else if index.get(handle).is_none() {
                // Deleted while it moved.
                drop(index);
                self.discard_quarantined(handle);
            }
        }
        reached(Mark::CopyQuarantined);
        if let Place::Pack { pack, body_len, .. } = held.place {
            self.retire(pack, body_len, handle);
        }
        self.is_bad(handle, reason)
    }

    /// Forgets a chunk whose file is gone without our doing.
    pub(super) fn vanished(&self, handle: Handle, held: Held) -> Error {
        let mut index = self.index();
        if index.get(handle) == Some(held) {
            index.remove(handle);
            tracing::warn!(node = %self.node, chunk = %handle,
                "is gone from the disk without our doing");
        }
        drop(index);
        self.not_found(handle)
    }

    /// Moves a chunk's file into quarantine.
    pub(super) fn move_aside(&self, handle: Handle) -> io::Result<()> {
        let disk = &*self.env.disk;
        disk.rename(&path::chunk(handle), &path::quarantine(handle))?;
        disk.sync_dir(path::QUARANTINE)?;
        disk.sync_dir(&path::chunk_folder(handle))
    }

    /// Copies what can be read of a chunk in a pack into quarantine.
    fn copy_aside(&self, handle: Handle, pack: u32, offset: u32, body_len: u32) -> io::Result<()> {
        let disk = &*self.env.disk;
        let mut body = self.buffers.take(body_len as usize);
        let base = u64::from(offset) + RECORD_HEADER_BYTES as u64;
        let read = self.packs.file(disk, pack)?.read_at(base, body.as_mut_slice());
        let path = path::quarantine(handle);
        disk.remove(&path).or_else(unless_missing)?;
        let file = disk.create(&path, Access::Random)?;
        // Where nothing can be read, an empty file still says that it is bad.
        if read.is_ok() {
            file.write_at(0, body.as_ref())?;
        }
        file.sync()?;
        disk.sync_dir(path::QUARANTINE)
    }

    /// Removes the bad copy that a good one has taken the place of.
    pub(super) fn discard_quarantined(&self, handle: Handle) {
        let removed = self.env.disk.remove(&path::quarantine(handle));
        if let Err(error) = removed.or_else(unless_missing) {
            // The next start finds the good one and removes it then.
            tracing::debug!(node = %self.node, chunk = %handle, "bad copy stays: {error}");
        }
    }

    /// Whether the image of `len` bytes at `base` in `file` reads back as the
    /// chunk that it shall be.
    pub(super) fn check_written(
        &self,
        file: Arc<dyn File>,
        (base, len): (u64, u64),
        header: &ChunkHeader,
        digest: Digest,
    ) -> Result<()> {
        if is_planted(Mutant::RepairFromUnverified) {
            return Ok(());
        }
        let handle = header.handle;
        let found = Image::open(file, base, len, &self.buffers)
            .and_then(|image| image.expect(header.cluster, handle))
            .and_then(|image| image.verify().map(|()| image.seal().digest))
            .map_err(|error| self.is_bad(handle, error))?;
        if found == digest {
            return Ok(());
        }
        Err(self.is_bad(handle, format!("its SHA-256 is {found}, it shall be {digest}")))
    }
}

/// For a file that shall not be there: that it is not is fine.
pub(super) fn unless_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
