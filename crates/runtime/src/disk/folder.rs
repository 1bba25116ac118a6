//! The folder of one process: its lock, its names, its space.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use dfs_core::env::{Access, Disk, Entry, File, Place, Space};
use dfs_core::id::LockPlace;

use super::file::{RealFile, Shared};
use super::name_error;
use super::quota::Quota;

/// The file whose lock says that a process uses the folder.
const LOCK_NAME: &str = "lock";

/// A folder on a real file system, locked while this lives.
pub struct RealDisk {
    root: PathBuf,
    quota: Quota,
    /// Open files by device and inode, so that all handles of one agree.
    open: Mutex<HashMap<FileKey, Weak<Shared>>>,
    lock: fs::File,
}

type FileKey = (u64, u64);

impl RealDisk {
    /// Takes `root` into use, and makes it where it is missing. With
    /// `quota_bytes`, the files in it may have so many bytes together.
    ///
    /// # Errors
    /// `ResourceBusy` when another process uses the folder; others, with the
    /// folder's name.
    pub fn open(root: impl Into<PathBuf>, quota_bytes: Option<u64>) -> io::Result<Self> {
        let root = root.into();
        let named = |error| name_error(error, &root.display());
        fs::create_dir_all(&root).map_err(named)?;
        let lock = lock(&root)?;
        sync_parent(&root).map_err(named)?;
        let quota = match quota_bytes {
            None => Quota::none(),
            Some(bytes_max) => Quota::new(bytes_max, used_bytes(&root).map_err(named)?),
        };
        Ok(Self { root, quota, open: Mutex::default(), lock })
    }

    /// Where the folder is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The real path of `path`, which may be `""` for the root.
    fn folder(&self, path: &str) -> io::Result<PathBuf> {
        if path.is_empty() {
            return Ok(self.root.clone());
        }
        let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        if !path.split('/').all(is_plain) || path == LOCK_NAME {
            let text = format!("{path:?} is not a path inside the data folder");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(self.root.join(path))
    }

    fn file(&self, path: &str) -> io::Result<PathBuf> {
        if path.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file needs a name"));
        }
        self.folder(path)
    }

    fn lock_open(&self) -> MutexGuard<'_, HashMap<FileKey, Weak<Shared>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self, file: fs::File, access: Access) -> io::Result<Box<dyn File>> {
        let key = key(&file.metadata()?);
        let mut open = self.lock_open();
        if let Some(shared) = open.get(&key).and_then(Weak::upgrade) {
            return Ok(Box::new(RealFile::on(shared)));
        }
        let shared = Arc::new(Shared::new(file, access, self.quota.clone())?);
        // Dead entries go when the table is about to grow.
        if open.len() == open.capacity() {
            open.retain(|_, shared| shared.strong_count() > 0);
        }
        open.insert(key, Arc::downgrade(&shared));
        Ok(Box::new(RealFile::on(shared)))
    }

    fn live(&self, metadata: &fs::Metadata) -> Option<Arc<Shared>> {
        self.lock_open().get(&key(metadata)).and_then(Weak::upgrade)
    }

    /// The bytes of a file that lost its name are given back.
    fn forget(&self, metadata: &fs::Metadata) {
        match self.live(metadata) {
            Some(shared) => shared.remove(),
            None if metadata.is_file() => self.quota.give(metadata.len()),
            None => {}
        }
    }
}

impl Disk for RealDisk {
    fn lock_place(&self) -> Option<LockPlace> {
        let metadata = self.lock.metadata().ok()?;
        Some(LockPlace { boot: boot_id()?, device: metadata.dev(), inode: metadata.ino() })
    }

    fn create(&self, path: &str, access: Access) -> io::Result<Box<dyn File>> {
        let real = self.file(path)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(real);
        let file = file.map_err(|error| name_error(error, &path))?;
        self.opened(file, access).map_err(|error| name_error(error, &path))
    }

    fn open(&self, path: &str, access: Access) -> io::Result<Box<dyn File>> {
        let real = self.file(path)?;
        let file = OpenOptions::new().read(true).write(true).open(&real).or_else(|error| {
            // What lies on a volume that was made read-only can still be read.
            match error.kind() {
                io::ErrorKind::ReadOnlyFilesystem => OpenOptions::new().read(true).open(&real),
                _ => Err(error),
            }
        });
        let file = file.map_err(|error| name_error(error, &path))?;
        self.opened(file, access).map_err(|error| name_error(error, &path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (real_from, real_to) = (self.file(from)?, self.file(to)?);
        let moved = fs::symlink_metadata(&real_from).map_err(|error| name_error(error, &from))?;
        let replaced = fs::symlink_metadata(&real_to).ok();
        fs::rename(&real_from, &real_to)
            .map_err(|error| name_error(error, &format!("{from} to {to}")))?;
        if let Some(replaced) = replaced.filter(|it| key(it) != key(&moved)) {
            self.forget(&replaced);
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let real = self.file(path)?;
        let named = |error| name_error(error, &path);
        let metadata = fs::symlink_metadata(&real).map_err(named)?;
        fs::remove_file(&real).map_err(named)?;
        self.forget(&metadata);
        Ok(())
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        let real = self.folder(path)?;
        fs::create_dir_all(real).map_err(|error| name_error(error, &path))
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let real = self.folder(path)?;
        let named = |error| name_error(error, &path);
        let mut entries = Vec::new();
        for entry in fs::read_dir(real).map_err(named)? {
            let entry = entry.map_err(named)?;
            // A name that is not text is not ours.
            let Ok(name) = entry.file_name().into_string() else { continue };
            if path.is_empty() && name == LOCK_NAME {
                continue;
            }
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed since the folder was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(named(error)),
            };
            let is_dir = metadata.is_dir();
            let len = match self.live(&metadata) {
                Some(shared) => shared.len(),
                None if is_dir => 0,
                None => metadata.len(),
            };
            entries.push(Entry { name, is_dir, len });
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let real = self.folder(path)?;
        sync_folder(&real).map_err(|error| name_error(error, &path))
    }

    fn place(&self) -> io::Result<Place> {
        let metadata = fs::metadata(&self.root)?;
        Ok(Place { device: metadata.dev(), inode: metadata.ino() })
    }

    fn place_of(&self, path: &str) -> io::Result<Place> {
        let metadata = fs::metadata(self.file(path)?).map_err(|error| name_error(error, &path))?;
        Ok(Place { device: metadata.dev(), inode: metadata.ino() })
    }

    fn new_folder(&self, path: &str) -> io::Result<Box<dyn Disk>> {
        let root = Path::new(path);
        let refused = |kind, why: &str| Err(io::Error::new(kind, format!("{path}: {why}")));
        if !root.is_absolute() {
            return refused(io::ErrorKind::InvalidInput, "give the whole path, from / on");
        }
        match fs::read_dir(root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(name_error(error, &path)),
            // A file system that was just made has this folder.
            Ok(mut entries) => {
                let is_foreign = |entry: io::Result<fs::DirEntry>| {
                    entry.is_ok_and(|entry| entry.file_name() != "lost+found")
                };
                if entries.any(is_foreign) {
                    let kind = io::ErrorKind::DirectoryNotEmpty;
                    return refused(kind, "the folder is not empty: name a new one");
                }
            }
        }
        Ok(Box::new(Self::open(root, None)?))
    }

    fn space(&self) -> io::Result<Space> {
        let volume = rustix::fs::statvfs(&self.root)
            .map_err(|error| name_error(error.into(), &self.root.display()))?;
        let total = volume.f_blocks.saturating_mul(volume.f_frsize);
        // A volume that counts its files and has none left takes nothing new.
        let takes_files = volume.f_files == 0 || volume.f_favail > 0;
        let free = match takes_files {
            true => volume.f_bavail.saturating_mul(volume.f_frsize),
            false => 0,
        };
        Ok(match self.quota.room() {
            None => Space { total, free: free.min(total) },
            Some((bytes_max, left)) => {
                let total = total.min(bytes_max);
                Space { total, free: free.min(left).min(total) }
            }
        })
    }
}

fn key(metadata: &fs::Metadata) -> FileKey {
    (metadata.dev(), metadata.ino())
}

/// Locks `root` for this process, and writes its id for others to read.
fn lock(root: &Path) -> io::Result<fs::File> {
    let path = root.join(LOCK_NAME);
    let named = |error| name_error(error, &path.display());
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
    let (mut file, is_read_only) = match options.open(&path) {
        Ok(file) => (file, false),
        // A lock needs no writing: what lies on a volume that was made
        // read-only can still be served.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            (OpenOptions::new().read(true).open(&path).map_err(named)?, true)
        }
        Err(error) => return Err(named(error)),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.take(20).read_to_string(&mut holder);
            let holder = match holder.trim().parse::<u32>() {
                Ok(pid) => format!("process {pid}"),
                Err(_) => "another process".to_owned(),
            };
            let text = format!(
                "the data folder {} is in use by {holder}: stop it, or choose another folder",
                root.display()
            );
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
        }
        Err(fs::TryLockError::Error(error)) => return Err(named(error)),
    }
    if is_read_only {
        return Ok(file);
    }
    file.set_len(0).map_err(named)?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(named)?;
    Ok(file)
}

/// The boot of this machine, as Linux names it; `None` where nothing does.
fn boot_id() -> Option<[u8; 16]> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = text.trim().chars().filter(|digit| *digit != '-').collect();
    u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes)
}

/// Bytes of all files under `root`, its lock not counted.
fn used_bytes(root: &Path) -> io::Result<u64> {
    let mut used = 0u64;
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if folder != root || entry.file_name() != LOCK_NAME {
                used = used.saturating_add(metadata.len());
            }
        }
    }
    Ok(used)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// Makes the folder's own name durable, where its parent may be opened.
fn sync_parent(root: &Path) -> io::Result<()> {
    let absolute = std::path::absolute(root)?;
    match absolute.parent().map(sync_folder) {
        Some(Err(error)) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
        _ => Ok(()),
    }
}
