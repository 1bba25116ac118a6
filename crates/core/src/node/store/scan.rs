//! What a node finds in its folder when it starts.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::buffer::BufferPool;
use super::image::is_newer;
use super::index::{Held, Index, Place};
use super::pack::{Packs, record_len};
use super::pack_scan::{PackFound, PacksFound, merge, scan_pack};
use super::quarantine::unless_missing;
use super::{Image, ImageError, Store, path};
use crate::env::{Access, Disk, Durability, Env, Work, run};
use crate::id::{ClusterId, FolderId, Handle, NodeId};

/// How many folders and packs are read at once.
const SCANS_MAX: usize = 8;

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::node) enum ScanError {
    /// The disk says no.
    #[error("{what}: {error}")]
    Disk {
        /// To what.
        what: String,
        /// Why.
        error: io::Error,
    },
    /// A later build wrote here.
    #[error("{path}: {error}")]
    Newer {
        /// Which file.
        path: String,
        /// What it says.
        error: ImageError,
    },
}

/// A chunk's file: its length, and what is wrong with it, if anything is.
struct FileFound {
    handle: Handle,
    len: u64,
    damage: Option<ImageError>,
}

/// A pack's number and salt.
type PackName = (u32, u64);
type Scan<T> = Result<T, ScanError>;

impl Store {
    /// Whether there is any chunk in a folder that was not opened yet.
    pub(in crate::node) fn has_chunks(disk: &dyn Disk) -> io::Result<bool> {
        for folder in [path::CHUNKS, path::PACKS, path::QUARANTINE] {
            match disk.list(folder) {
                Ok(list) if list.is_empty() => {}
                Ok(_) => return Ok(true),
                Err(error) => unless_missing(error)?,
            }
        }
        Ok(false)
    }

    /// Opens the store in `env`'s folder: makes what is missing, sweeps what
    /// a crash left, finds every chunk, puts bad ones into quarantine.
    pub(in crate::node) async fn open(
        env: Env,
        node: (NodeId, FolderId),
        durability: Durability,
        capacity_bytes: Option<u64>,
        cluster: Option<ClusterId>,
    ) -> Scan<Arc<Self>> {
        let buffers = BufferPool::default();
        let disk = Arc::clone(&env.disk);
        let (folders, packs) = run(&*env.pool, Work::Disk, move || prepare(&*disk)).await?;

        let files = stream::iter(folders.into_iter().map(|folder| {
            let (disk, buffers) = (Arc::clone(&env.disk), buffers.clone());
            let job = move || scan_folder(&*disk, &folder, cluster, &buffers);
            run(&*env.pool, Work::Disk, job)
        }))
        .buffered(SCANS_MAX)
        .try_collect::<Vec<Vec<FileFound>>>()
        .await?;

        let last = packs.iter().map(|pack| pack.0).max();
        let packs = stream::iter(packs.into_iter().map(|pack| {
            let (disk, buffers) = (Arc::clone(&env.disk), buffers.clone());
            let job = move || {
                let is_last = Some(pack.0) == last;
                match scan_pack(&*disk, pack, is_last, cluster, &buffers) {
                    // What is in it is missing, and is made anew elsewhere.
                    Err(error) if error.is_closed_to_us() => set_aside(&*disk, pack, &error),
                    Err(error) => Err(refuse(path::pack(pack.0, pack.1), error)),
                    Ok(found) => Ok(Some(found)),
                }
            };
            run(&*env.pool, Work::Disk, job)
        }))
        .buffered(SCANS_MAX)
        .try_collect::<Vec<Option<PackFound>>>()
        .await?;
        let packs = packs.into_iter().flatten().collect();

        let pool = Arc::clone(&env.pool);
        let job = move || {
            let files = files.into_iter().flatten().collect();
            assemble(env, node, durability, capacity_bytes, files, merge(packs))
        };
        run(&*pool, Work::Disk, job).await
    }
}

/// Makes the folders, sweeps drafts, lists folders of chunks and packs.
fn prepare(disk: &dyn Disk) -> Scan<(Vec<String>, Vec<PackName>)> {
    let failed = |what: &'static str| move |error| ScanError::Disk { what: what.to_owned(), error };
    for folder in [path::CHUNKS, path::PACKS, path::QUARANTINE, path::DRAFTS] {
        disk.create_dir(folder).map_err(failed("cannot make its folders"))?;
    }
    disk.sync_dir("").map_err(failed("cannot sync its folder"))?;
    for entry in disk.list(path::DRAFTS).map_err(failed("cannot list tmp"))? {
        disk.remove(&format!("{}/{}", path::DRAFTS, entry.name))
            .or_else(unless_missing)
            // A volume that was made read-only is served as it is.
            .or_else(unless_read_only)
            .map_err(failed("cannot sweep tmp"))?;
    }
    let folders = disk.list(path::CHUNKS).map_err(failed("cannot list chunks"))?;
    let folders = folders.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.name);
    let packs = disk.list(path::PACKS).map_err(failed("cannot list packs"))?;
    let packs = packs.iter().filter_map(|entry| path::parse_pack(&entry.name));
    Ok((folders.collect(), packs.collect()))
}

fn unless_read_only(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::ReadOnlyFilesystem { Ok(()) } else { Err(error) }
}

/// Looks at every chunk file in one folder: header, footer, length, name.
fn scan_folder(
    disk: &dyn Disk,
    folder: &str,
    cluster: Option<ClusterId>,
    buffers: &BufferPool,
) -> Scan<Vec<FileFound>> {
    let folder = format!("{}/{folder}", path::CHUNKS);
    let list = disk
        .list(&folder)
        .map_err(|error| ScanError::Disk { what: format!("cannot list {folder}"), error })?;
    let mut found = Vec::with_capacity(list.len());
    for entry in list {
        let path = format!("{folder}/{}", entry.name);
        let handle = path::parse_chunk(&entry.name);
        let Some(handle) = handle.filter(|&handle| path::chunk(handle) == path) else {
            tracing::warn!(path, "not a file of this store; left alone");
            continue;
        };
        let check = || check_file(disk, &path, entry.len, cluster, handle, buffers);
        let damage = check().or_else(|_| check()).err();
        match damage {
            Some(error @ ImageError::Open(_)) if !error.is_closed_to_us() => {
                return Err(refuse(path, error));
            }
            Some(error) if is_newer(&error) => return Err(refuse(path, error)),
            damage => found.push(FileFound { handle, len: entry.len, damage }),
        }
    }
    Ok(found)
}

fn check_file(
    disk: &dyn Disk,
    path: &str,
    len: u64,
    cluster: Option<ClusterId>,
    handle: Handle,
    buffers: &BufferPool,
) -> Result<(), ImageError> {
    let file = Arc::from(disk.open(path, Access::Random).map_err(ImageError::Open)?);
    let image = Image::open(file, 0, len, buffers)?;
    let expected = cluster.unwrap_or(image.header().cluster);
    image.expect(expected, handle).map(drop)
}

/// Builds the store of what was found, and puts bad chunks into quarantine.
fn assemble(
    env: Env,
    node: (NodeId, FolderId),
    durability: Durability,
    capacity_bytes: Option<u64>,
    files: Vec<FileFound>,
    packed: PacksFound,
) -> Scan<Arc<Store>> {
    let mut index = Index::default();
    let mut damaged = BTreeMap::new();
    let PacksFound { packs, chunks, sequence, is_clean } = packed;
    let mut superseded = Vec::new();
    for (handle, chunk) in chunks {
        let place =
            Place::Pack { pack: chunk.pack, offset: chunk.offset, body_len: chunk.body_len };
        let stored_bytes = record_len(chunk.body_len);
        index.load(handle, Held { place, stored_bytes, is_good: true });
        if let Some(error) = chunk.damage {
            damaged.insert(handle, error);
        }
    }
    for FileFound { handle, len, damage } in files {
        let held = Held { place: Place::File, stored_bytes: len, is_good: true };
        let other = index.get(handle);
        match (damage, other) {
            // Bad, and there is another one: leave that.
            (Some(_), Some(_)) if !damaged.contains_key(&handle) => continue,
            (damage, other) => {
                index.load(handle, held);
                damaged.remove(&handle);
                damage.and_then(|error| damaged.insert(handle, error));
                superseded.extend(other);
            }
        }
    }
    let packs = Packs::resume(packs, sequence, is_clean);
    let store = Arc::new(Store::new(env, node, durability, capacity_bytes, index, packs));
    for held in superseded {
        if let Place::Pack { pack, body_len, .. } = held.place {
            store.packs.mark_dead(pack, body_len);
        }
    }
    store.load_quarantine(&damaged)?;
    for (handle, error) in damaged {
        if let Some(held) = store.get(handle) {
            drop(store.condemn(handle, held, &error));
        }
    }
    Ok(store)
}

impl Store {
    /// Takes note of what is in quarantine, and removes from it what a good
    /// copy has replaced.
    fn load_quarantine(&self, damaged: &BTreeMap<Handle, ImageError>) -> Scan<()> {
        let list = self.env.disk.list(path::QUARANTINE).map_err(|error| ScanError::Disk {
            what: "cannot list quarantine".to_owned(),
            error,
        })?;
        for entry in list {
            let Some(handle) = path::parse_chunk(&entry.name) else { continue };
            if self.get(handle).is_some() {
                if !damaged.contains_key(&handle) {
                    self.discard_quarantined(handle);
                }
                continue;
            }
            let held = Held { place: Place::Quarantine, stored_bytes: entry.len, is_good: false };
            self.index().load(handle, held);
        }
        Ok(())
    }
}

/// Moves a pack that cannot be opened into the quarantine folder.
fn set_aside(
    disk: &dyn Disk,
    (number, salt): PackName,
    error: &ImageError,
) -> Scan<Option<PackFound>> {
    let path = path::pack(number, salt);
    tracing::warn!(path, "this pack {error}: it is kept aside, and its chunks are made anew");
    let failed = |error| ScanError::Disk { what: format!("cannot keep {path} aside"), error };
    disk.rename(&path, &path::quarantined_pack(number, salt))
        .and_then(|()| disk.sync_dir(path::QUARANTINE))
        .and_then(|()| disk.sync_dir(path::PACKS))
        // It stays where it is, and the other packs are served.
        .or_else(unless_read_only)
        .map_err(failed)?;
    Ok(None)
}

fn refuse(path: String, error: ImageError) -> ScanError {
    match error {
        ImageError::Open(error) => ScanError::Disk { what: format!("cannot open {path}"), error },
        error => ScanError::Newer { path, error },
    }
}
