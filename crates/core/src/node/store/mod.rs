//! What a node keeps: chunks as files of their own, small ones in packs, bad
//! ones in quarantine.
//!
//! Calls here block and are made from jobs of the pool. A job that changes
//! the disk changes the index too, so that nobody who stops waiting for it
//! can part the two. No chunk is in the index before it is durable.

mod buffer;
mod compact;
mod delete;
mod draft;
mod image;
mod index;
mod pack;
mod pack_batch;
mod pack_scan;
mod path;
mod quarantine;
mod scan;
mod volume;

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::buffer::BufferPool;
use self::image::is_missing;
use self::index::{Held, Index, Place};
use self::pack::Packs;
use crate::api::{
    Error, InventoryChanges, InventoryDigest, InventoryPage, Kind, NodeSpace, Result,
};
use crate::data::chunk::pack::RECORD_HEADER_BYTES;
use crate::env::{Access, Durability, Env};
use crate::id::{ClusterId, FolderId, Handle, NodeId};
use crate::mutant::{Mutant, is_planted};

pub(super) use self::draft::{Draft, SmallDraft};
pub(super) use self::image::{Image, ImageError};
pub(super) use self::scan::ScanError;

/// Space that is not given to chunks, so that deleting and the identity file
/// work on a full disk: this part of the volume, at most
/// [`SPACE_RESERVE_BYTES_MAX`].
const SPACE_RESERVE_PART: u64 = 64;
/// How often a chunk is looked for that moves to another pack meanwhile.
const PLACES_TRIED_MAX: usize = 3;
/// The most bytes that are kept free.
const SPACE_RESERVE_BYTES_MAX: u64 = 64 << 20;

/// The chunks of one node.
pub(super) struct Store {
    env: Env,
    node: NodeId,
    folder: FolderId,
    durability: Durability,
    capacity_bytes: Option<u64>,
    index: Mutex<Index>,
    packs: Packs,
    /// Handles that are being written.
    claims: Mutex<BTreeSet<Handle>>,
    /// Bytes of drafts, which the index does not know yet.
    draft_bytes: AtomicU64,
    draft_count: AtomicU64,
    chunk_folders: Mutex<BTreeSet<u8>>,
    buffers: BufferPool,
    trouble: Mutex<Option<String>>,
}

/// The right to write a handle; nobody else has it meanwhile.
pub(super) struct Claim {
    store: Arc<Store>,
    handle: Handle,
}

impl Store {
    fn new(
        env: Env,
        (node, folder): (NodeId, FolderId),
        durability: Durability,
        capacity_bytes: Option<u64>,
        index: Index,
        packs: Packs,
    ) -> Self {
        Self {
            env,
            node,
            folder,
            durability,
            capacity_bytes,
            index: Mutex::new(index),
            packs,
            claims: Mutex::default(),
            draft_bytes: AtomicU64::new(0),
            draft_count: AtomicU64::new(0),
            chunk_folders: Mutex::default(),
            buffers: BufferPool::default(),
            trouble: Mutex::default(),
        }
    }

    /// Opens chunk `handle` of `cluster` for reading. What cannot be read is
    /// put into quarantine.
    pub(super) fn open_image(
        self: &Arc<Self>,
        cluster: ClusterId,
        handle: Handle,
    ) -> Result<Image> {
        for _ in 0..PLACES_TRIED_MAX {
            let held = self.get(handle).ok_or_else(|| self.not_found(handle))?;
            if !held.is_good {
                return Err(self.is_bad(handle, "it was found bad before and is kept aside"));
            }
            let opened = match self.read_image(held.place, cluster, handle) {
                // What only one read got wrong is no reason to give a copy up.
                Err(error) if !is_missing(&error) => self.read_image(held.place, cluster, handle),
                opened => opened,
            };
            return match opened {
                Ok(image) => Ok(image),
                // It was moved, or deleted, while it was looked for.
                Err(_) if self.get(handle) != Some(held) => continue,
                Err(error) if error.is_unread() && !self.is_volume_there() => {
                    Err(self.volume_gone())
                }
                Err(error) if is_missing(&error) => Err(self.vanished(handle, held)),
                // This file cannot be opened, and others can: the copy is bad.
                Err(error) if error.is_closed_to_us() => Err(self.condemn(handle, held, &error)),
                Err(ImageError::Open(error)) => {
                    Err(self.disk_error(&format!("cannot open chunk {handle}"), &error))
                }
                Err(error) => Err(self.condemn(handle, held, &error)),
            };
        }
        let text = format!("chunk {handle} on node {} is on the move: ask again", self.node);
        Err(Error::new(Kind::Unavailable, text))
    }

    fn read_image(
        &self,
        place: Place,
        cluster: ClusterId,
        handle: Handle,
    ) -> std::result::Result<Image, ImageError> {
        let image = match place {
            Place::File => {
                let file = self.env.disk.open(&path::chunk(handle), Access::Sequential);
                let file = file.map_err(ImageError::Open)?;
                let len = file.len()?;
                Image::open(Arc::from(file), 0, len, &self.buffers)?
            }
            Place::Pack { pack, offset, body_len } => {
                let base = u64::from(offset) + RECORD_HEADER_BYTES as u64;
                let file = self.packs.file(&*self.env.disk, pack).map_err(ImageError::Open)?;
                Image::open(file, base, u64::from(body_len), &self.buffers)?
            }
            Place::Quarantine => return Err(ImageError::Open(io::ErrorKind::NotFound.into())),
        };
        image.expect(cluster, handle)
    }

    /// Reads frame `index` of an opened chunk. A chunk that has a bad frame
    /// is put into quarantine.
    pub(super) fn read_frame(self: &Arc<Self>, image: &Image, index: u32) -> Result<bytes::Bytes> {
        self.twice(image, |image| image.frame(index))
    }

    /// Reads a whole opened chunk and checks every sum. A chunk that fails is
    /// put into quarantine.
    pub(super) fn verify(self: &Arc<Self>, image: &Image) -> Result<()> {
        self.twice(image, Image::verify)
    }

    /// Reads from an image, and where that fails once more from the disk: what
    /// only one read got wrong is no reason to give a copy up.
    fn twice<T>(
        self: &Arc<Self>,
        image: &Image,
        read: impl Fn(&Image) -> std::result::Result<T, ImageError>,
    ) -> Result<T> {
        if let Ok(value) = read(image) {
            return Ok(value);
        }
        let (cluster, handle) = (image.header().cluster, image.header().handle);
        let again = self.open_image(cluster, handle)?;
        read(&again).map_err(|error| self.condemn_image(image, &error))
    }

    /// The right to write `handle`, unless somebody has it.
    pub(super) fn claim(self: &Arc<Self>, handle: Handle) -> Result<Claim> {
        if !lock(&self.claims).insert(handle) {
            let text = format!("node {}: chunk {handle} is being written already", self.node);
            return Err(Error::new(Kind::Unavailable, text));
        }
        Ok(Claim { store: Arc::clone(self), handle })
    }

    /// Whether the chunk is held and good.
    pub(super) fn has_good(&self, handle: Handle) -> bool {
        self.get(handle).is_some_and(|held| held.is_good)
    }

    fn get(&self, handle: Handle) -> Option<Held> {
        self.index().get(handle)
    }

    /// A page of the inventory.
    pub(super) fn inventory(&self, after: Option<Handle>) -> InventoryPage {
        self.index().page(after)
    }

    /// The inventory in short, and what changed since `version`.
    pub(super) fn inventory_since(
        &self,
        version: Option<u64>,
    ) -> (InventoryDigest, Option<InventoryChanges>) {
        let index = self.index();
        (index.digest(), version.and_then(|version| index.changes_since(version)))
    }

    /// The node's space.
    pub(super) fn space(&self) -> io::Result<NodeSpace> {
        let volume = self.env.disk.space()?;
        let used = self.index().used_bytes();
        let taken = used + self.packs.dead_bytes() + self.draft_bytes.load(Ordering::Relaxed);
        let reserve = (volume.total / SPACE_RESERVE_PART).min(SPACE_RESERVE_BYTES_MAX);
        let on_volume = volume.free.saturating_sub(reserve);
        let Some(capacity) = self.capacity_bytes else {
            return Ok(NodeSpace { total: volume.total, free: on_volume, used });
        };
        let free = capacity.saturating_sub(taken).min(on_volume);
        Ok(NodeSpace { total: capacity.min(volume.total), free, used })
    }

    /// Refuses to take `bytes` more where there is no room for them.
    fn check_room(&self, bytes: u64) -> Result<()> {
        let space =
            self.space().map_err(|error| self.disk_error("cannot tell its space", &error))?;
        if space.free >= bytes || is_planted(Mutant::NodeIgnoresRoom) {
            return Ok(());
        }
        Err(Error::new(
            Kind::NoSpace,
            format!(
                "node {} is full: {bytes} bytes are needed, {} of {} are free; \
                 delete files, or add a node",
                self.node, space.free, space.total
            ),
        ))
    }

    /// The error for a disk call that failed; notes it where it means that
    /// the disk is not well.
    fn disk_error(&self, what: &str, error: &io::Error) -> Error {
        let text = format!("node {} {what}: {error}", self.node);
        let is_full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        if is_full {
            return Error::new(Kind::NoSpace, text);
        }
        tracing::warn!("{text}");
        *lock(&self.trouble) = Some(text.clone());
        Error::new(Kind::Internal, text)
    }

    fn not_found(&self, handle: Handle) -> Error {
        Error::new(Kind::NotFound, format!("node {} does not hold chunk {handle}", self.node))
    }

    fn is_bad(&self, handle: Handle, reason: impl std::fmt::Display) -> Error {
        let text = format!("chunk {handle} on node {} is bad: {reason}", self.node);
        Error::new(Kind::Integrity, text)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.index)
    }

    fn is_strict(&self) -> bool {
        self.durability == Durability::Strict
    }
}

impl Claim {
    /// Where the handle is to be written.
    pub(super) fn store(&self) -> &Arc<Store> {
        &self.store
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.store.claims).remove(&self.handle);
    }
}

/// The value, also where a job panicked with it in hand: each change of it
/// is whole before the lock is let go.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
