//! Chunks in the making. Until one is published nobody sees it; one that is
//! dropped before leaves nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::index::{Held, Place};
use super::quarantine::unless_missing;
use super::{Claim, Store, lock, path};
use crate::api::{Error, Kind, Result};
use crate::data::chunk::{ChunkError, ChunkHeader, ChunkSeal, ImageBuilder};
use crate::data::frame::FrameError;
use crate::env::{Access, File, Work};
use crate::id::Handle;
use crate::mutant::{Mutant, is_planted};

/// A chunk that is being written into a file of its own.
pub(in crate::node) struct Draft {
    store: Arc<Store>,
    /// Nobody else writes this handle until the last job with it is done.
    _claim: Claim,
    header: ChunkHeader,
    builder: ImageBuilder,
    path: String,
    file: Arc<dyn File>,
    written_bytes: u64,
    is_published: bool,
}

/// A whole image of at most one frame, in memory, on its way into a pack.
pub(in crate::node) struct SmallDraft {
    _claim: Claim,
    /// What it is.
    pub(super) header: ChunkHeader,
    /// Its digest, when it is to be read back before it is believed.
    pub(super) expected: Option<ChunkSeal>,
    /// Its bytes.
    pub(super) parts: [Bytes; 3],
}

impl Draft {
    /// Makes the file.
    pub(in crate::node) fn begin(claim: Claim, header: ChunkHeader) -> Result<Self> {
        let store = Arc::clone(claim.store());
        let (builder, head) =
            ImageBuilder::new(&header).map_err(|error| refusal(&header, &error))?;
        store.check_room(head.len() as u64)?;
        let number = store.draft_count.fetch_add(1, Ordering::Relaxed);
        let path = path::draft(header.handle, number);
        let file = store.env.disk.create(&path, Access::Sequential).map_err(|error| {
            store.disk_error(&format!("cannot begin chunk {}", header.handle), &error)
        })?;
        let mut draft = Self {
            store,
            _claim: claim,
            header,
            builder,
            path,
            file: Arc::from(file),
            written_bytes: 0,
            is_published: false,
        };
        draft.write(&head)?;
        Ok(draft)
    }

    /// Checks and writes the next stored frame.
    pub(in crate::node) fn append(&mut self, stored: &[u8]) -> Result<()> {
        self.builder.add(stored).map_err(|error| refusal(&self.header, &error))?;
        self.store.check_room(stored.len() as u64)?;
        self.write(stored)
    }

    /// Checks `seal` against the frames and makes the image whole and durable.
    pub(in crate::node) fn finish(&mut self, seal: &ChunkSeal) -> Result<()> {
        let footer =
            self.builder.clone().finish(seal).map_err(|error| refusal(&self.header, &error))?;
        self.write(&footer)?;
        if self.store.is_strict() && !is_planted(Mutant::DropFileSync) {
            self.file.sync().map_err(|error| self.failed("sync", &error))?;
        }
        Ok(())
    }

    /// Reads the finished image back and checks it against `seal`.
    pub(in crate::node) fn read_back(&self, seal: &ChunkSeal) -> Result<()> {
        let disk = &*self.store.env.disk;
        let file = disk
            .open(&self.path, Access::Sequential)
            .map_err(|error| self.failed("read back", &error))?;
        let span = (0, self.written_bytes);
        self.store.check_written(Arc::from(file), span, &self.header, seal.digest)
    }

    /// Gives the finished image its name, durably, and takes it into the
    /// index. What was there in its place, and was bad, goes.
    pub(in crate::node) fn publish(mut self) -> Result<()> {
        let handle = self.header.handle;
        self.make_folder().map_err(|error| self.failed("make a folder for", &error))?;
        let disk = &*self.store.env.disk;
        disk.rename(&self.path, &path::chunk(handle))
            .map_err(|error| self.failed("name", &error))?;
        self.is_published = true;
        self.unreserve();
        if self.store.is_strict()
            && !is_planted(Mutant::DropDirSync)
            && let Err(error) = disk.sync_dir(&path::chunk_folder(handle))
        {
            // Nobody was told of it, so nobody may find it.
            let _ = disk.remove(&path::chunk(handle)).or_else(unless_missing);
            return Err(self.failed("sync the folder of", &error));
        }
        let held = Held { place: Place::File, stored_bytes: self.written_bytes, is_good: true };
        let before = self.store.index().put(handle, held);
        self.store.replaced(handle, before, held.place);
        Ok(())
    }

    fn make_folder(&self) -> io::Result<()> {
        let handle = self.header.handle;
        let number = (handle.0 & 0xff) as u8;
        if lock(&self.store.chunk_folders).contains(&number) {
            return Ok(());
        }
        self.store.env.disk.create_dir(&path::chunk_folder(handle))?;
        self.store.env.disk.sync_dir(path::CHUNKS)?;
        lock(&self.store.chunk_folders).insert(number);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let len = bytes.len() as u64;
        self.store.draft_bytes.fetch_add(len, Ordering::Relaxed);
        let at = self.written_bytes;
        self.written_bytes += len;
        self.file.write_at(at, bytes).map_err(|error| self.failed("write", &error))
    }

    fn failed(&self, what: &str, error: &io::Error) -> Error {
        self.store.disk_error(&format!("cannot {what} chunk {}", self.header.handle), error)
    }

    fn unreserve(&self) {
        self.store.draft_bytes.fetch_sub(self.written_bytes, Ordering::Relaxed);
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.is_published {
            return;
        }
        self.unreserve();
        let (store, path) = (Arc::clone(&self.store), std::mem::take(&mut self.path));
        let remove = move || {
            // What stays is swept at the next start.
            if let Err(error) = store.env.disk.remove(&path).or_else(unless_missing) {
                tracing::debug!(node = %store.node, path, "draft stays: {error}");
            }
        };
        self.store.env.pool.execute(Work::Disk, Box::new(remove));
    }
}

impl SmallDraft {
    /// The image of a chunk of at most one frame.
    pub(in crate::node) fn new(
        claim: Claim,
        header: ChunkHeader,
        frame: Option<Bytes>,
        seal: &ChunkSeal,
    ) -> Result<Self> {
        let refused = |error: ChunkError| refusal(&header, &error);
        let (mut builder, head) = ImageBuilder::new(&header).map_err(refused)?;
        let frame = frame.unwrap_or_default();
        if !frame.is_empty() {
            builder.add(&frame).map_err(refused)?;
        }
        let footer = builder.finish(seal).map_err(refused)?;
        let parts = [head.into(), frame, footer.into()];
        Ok(Self { _claim: claim, header, expected: None, parts })
    }

    /// The same, to be read back and checked before it is believed.
    pub(in crate::node) fn must_read_back(mut self, seal: ChunkSeal) -> Self {
        self.expected = Some(seal);
        self
    }

    /// Bytes of the image.
    pub(super) fn len(&self) -> u64 {
        self.parts.iter().map(|part| part.len() as u64).sum()
    }
}

impl Store {
    /// Sees to what a new good copy, which lies at `now`, took the place of.
    pub(super) fn replaced(&self, handle: Handle, before: Option<Held>, now: Place) {
        match before.map(|held| held.place) {
            Some(Place::Quarantine) => self.discard_quarantined(handle),
            Some(Place::Pack { pack, body_len, .. }) => self.packs.mark_dead(pack, body_len),
            // A bad file that could not be moved aside, or one with another
            // digest. A start would prefer it to the pack: its end is durable.
            Some(Place::File) if now != Place::File => {
                let disk = &*self.env.disk;
                let _ = disk.remove(&path::chunk(handle));
                let _ = disk.sync_dir(&path::chunk_folder(handle));
            }
            Some(Place::File) | None => {}
        }
    }
}

/// The answer to a writer whose chunk breaks a rule.
fn refusal(header: &ChunkHeader, error: &ChunkError) -> Error {
    let kind = match error {
        ChunkError::Frame { error: FrameError::Checksum { .. }, .. } => Kind::Integrity,
        _ => Kind::Invalid,
    };
    Error::new(kind, format!("chunk {} is refused: {error}", header.handle))
}
