//! Where the bytes of a `put` come from: local files and standard input.

mod guard;
mod pieces;
mod walk;

use std::fs::{self, File as LocalFile};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use dfs_core::client::{Source, SourceCheck};
use dfs_core::env::File;
use tokio::task::spawn_blocking;

use self::guard::Guard;
use self::pieces::{PIECE_BYTES, Pieces, read_piece};
pub(super) use self::walk::{Found, Walked};
use super::closed::is_closed;
use crate::exit::{Code, Failure};

/// A file that uses no block of its disk and says that it is at most this
/// long may be made up when it is read: its length is not believed.
const DOUBTED_BYTES_MAX: u64 = 64 << 10;

/// Opens a local file as a source; one that cannot be read anywhere (a pipe)
/// becomes a stream.
///
/// # Errors
/// When it is a folder or cannot be opened.
pub(super) async fn open(path: &Path) -> Result<Source, Failure> {
    let path = path.to_owned();
    // A file on a network may take its time.
    let opened = spawn_blocking(move || open_now(&path)).await;
    opened.unwrap_or_else(|e| Err(Failure::new(Code::Other, e.to_string())))
}

fn open_now(path: &Path) -> Result<Source, Failure> {
    let refuse = |e: &io::Error| Failure::local("read", path, e);
    let kind = fs::metadata(path).map_err(|e| refuse(&e))?;
    if kind.is_dir() {
        return Err(Failure::usage(format!(
            "{} is a folder: add --recursive to store all that is in it",
            path.display()
        )));
    }
    if !kind.is_file() {
        return Ok(Source::Stream(Box::new(Pieces::at(path.to_owned()))));
    }
    let file = Arc::new(LocalFile::open(path).map_err(|e| refuse(&e))?);
    regular(file, path).map_err(|e| refuse(&e))
}

/// A regular file as a source. What its length says is believed only where
/// the file system keeps bytes for it; elsewhere the file is read to its end.
fn regular(file: Arc<LocalFile>, path: &Path) -> io::Result<Source> {
    let (guard, found) = Guard::on(file.clone(), Some(path))?;
    let len = found.len();
    let is_generated = is_generated(&file);
    let is_doubted = is_generated || len == 0 || (found.blocks() == 0 && len <= DOUBTED_BYTES_MAX);
    if !is_doubted {
        let check: Option<Arc<dyn SourceCheck>> = Some(Arc::new(guard.ending_at_len()));
        return Ok(Source::Seekable { file: Arc::new(ReadOnly::Local(file)), len, check });
    }
    // What the kernel makes up anew at each read is never at rest.
    let guard = (!is_generated).then_some(guard);
    let mut stream = FromStart { file, offset: 0 };
    let first = read_piece(&mut stream)?;
    let len = first.len() as u64;
    // A generated file without a byte may be one that could not be made up:
    // as a stream it replaces nothing.
    if len >= PIECE_BYTES as u64 || (len == 0 && is_generated) {
        let whole = io::Cursor::new(first).chain(stream);
        return Ok(Source::Stream(Box::new(Pieces::of(whole).guarded_by(guard))));
    }
    let check = guard.map(|guard| Arc::new(guard) as Arc<dyn SourceCheck>);
    Ok(Source::Seekable { file: Arc::new(ReadOnly::Memory(first)), len, check })
}

/// Reads a file from its start on; its own position is left alone.
struct FromStart {
    file: Arc<LocalFile>,
    offset: u64,
}

impl Read for FromStart {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(bytes, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// File systems whose files the kernel makes up when they are read: what they
/// say of their length is not true.
#[cfg(target_os = "linux")]
const GENERATED: [u64; 15] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x27_e0eb,   // cgroup
    0x6367_7270, // cgroup2
    0x7363_6673, // securityfs
    0x6265_6570, // configfs
    0x6165_676c, // pstore
    0xcafe_4a11, // bpf
    0xde5e_81e4, // efivarfs
    0xf97c_ff8c, // selinuxfs
    0x4341_5d53, // smackfs
    0x0765_5821, // resctrl
    0x4249_4e4d, // binfmt_misc
];

#[cfg(target_os = "linux")]
fn is_generated(file: &LocalFile) -> bool {
    // The type is 32 bits, in a word that may be signed.
    rustix::fs::fstatfs(file)
        .is_ok_and(|system| GENERATED.contains(&(system.f_type as u64 & 0xffff_ffff)))
}

#[cfg(not(target_os = "linux"))]
fn is_generated(_file: &LocalFile) -> bool {
    false
}

/// Standard input as a source.
///
/// # Errors
/// When it is closed or a folder.
pub(super) fn standard_input() -> Result<Source, Failure> {
    let refuse =
        |e: &io::Error| Failure::new(Code::Other, format!("cannot read standard input: {e}"));
    // The standard library takes an input that cannot be read for an empty
    // one: it is read by its descriptor instead.
    let input = io::stdin().as_fd().try_clone_to_owned().map_err(|e| refuse(&e))?;
    let input = LocalFile::from(input);
    let found = input.metadata().map_err(|e| refuse(&e))?;
    if is_closed(&input) {
        return Err(Failure::usage(
            "standard input is closed: there is nothing to store (feed it, such as COMMAND | \
             dfs-sim put -)",
        ));
    }
    if found.is_dir() {
        return Err(Failure::usage(
            "standard input is a folder: name the folder, with --recursive",
        ));
    }
    let guard = if found.is_file() && !is_generated(&input) {
        let same = Arc::new(input.try_clone().map_err(|e| refuse(&e))?);
        Some(Guard::on(same, None).map_err(|e| refuse(&e))?.0)
    } else {
        None
    };
    Ok(Source::Stream(Box::new(Pieces::of(input).guarded_by(guard))))
}

/// Bytes that are only read.
pub(super) enum ReadOnly {
    /// A local file.
    Local(Arc<LocalFile>),
    /// All of it, in memory.
    Memory(Bytes),
}

impl File for ReadOnly {
    fn len(&self) -> io::Result<u64> {
        match self {
            Self::Local(file) => Ok(file.metadata()?.len()),
            Self::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Local(file) => file.read_exact_at(bytes, offset),
            Self::Memory(all) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let found = from.checked_add(bytes.len()).and_then(|to| all.get(from..to));
                bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
