//! Whether a local file and a stored one are the same, so that `--update` may
//! pass over it.
//!
//! The store keeps no times of local files. By times, a local file is taken
//! for the same when it has the same size and was last changed before the
//! stored one was stored (`put`), or after (`get`). Two machines gave these
//! times, so they count only as far as [`clocks`] says; where they prove
//! nothing, contents decide. By content, every byte of it is hashed and
//! compared with the SHA-256 of the stored chunks.

mod clocks;

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use dfs_core::api::{Error, FileMap, Kind, Lookup};
use dfs_core::data::digest::{Digest, Hasher};
use dfs_core::name::FileName;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use clocks::{Changed, Clocks, Told};

use crate::console::{Cluster, Console};
use crate::exit::{Code, Failure};
use crate::output::time;

/// How it is found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// By size and times, as far as these prove something.
    Times,
    /// By size and SHA-256.
    Content,
}

/// Which way the file is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// From here into the store.
    Put,
    /// From the store to here.
    Get,
}

/// Compares local files with stored ones.
pub(super) struct Comparison<'a> {
    cluster: &'a Cluster,
    console: &'a Console,
    by: By,
    way: Way,
    /// Compared at the first need.
    clocks: OnceCell<Clocks>,
}

impl<'a> Comparison<'a> {
    /// Nothing is asked yet.
    pub(super) fn new(
        cluster: &'a Cluster,
        console: &'a Console,
        is_by_content: bool,
        way: Way,
    ) -> Self {
        let by = if is_by_content { By::Content } else { By::Times };
        Self { cluster, console, by, way, clocks: OnceCell::new() }
    }

    /// Whether the file at `path` is the stored one of that name.
    ///
    /// # Errors
    /// When the coordinator cannot be asked, or the file cannot be read.
    pub(super) async fn is_same(&self, name: &FileName, path: &Path) -> Result<bool, Failure> {
        let found = match fs::symlink_metadata(path) {
            Ok(found) if self.way == Way::Put && found.is_symlink() => fs::metadata(path),
            found => found,
        };
        let found = match found {
            Ok(found) if found.is_file() => found,
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Failure::local("look at", path, &error)),
        };
        let Some(map) = look_up(self.cluster, name, 0).await? else { return Ok(false) };
        if found.len() != map.info.size {
            return Ok(false);
        }
        if self.by == By::Times {
            let clocks = self.clocks.get_or_try_init(|| self.compare_clocks()).await?;
            match clocks.tell(changed(&found), map.info.created_ms, self.way) {
                Told::Same => return Ok(true),
                Told::Differs => return Ok(false),
                Told::Nothing => {}
            }
        }
        let chunks = chunks(self.cluster, name, map).await?;
        let owned = path.to_owned();
        let compared = spawn_blocking(move || has_content(&owned, &chunks)).await;
        let compared = compared.map_err(|e| Failure::new(Code::Other, e.to_string()))?;
        compared.map_err(|e| Failure::local("read", path, &e))
    }

    async fn compare_clocks(&self) -> Result<Clocks, Failure> {
        let clocks = Clocks::compare(self.cluster).await?;
        if let Some(apart_ms) = clocks.apart_ms() {
            let apart = time::span(Duration::from_millis(apart_ms));
            self.console.note(format!(
                "the clocks of this machine and the coordinator are {apart} apart: --update reads \
                 files of the same size and compares their SHA-256"
            ));
        }
        Ok(clocks)
    }
}

fn changed(found: &Metadata) -> Changed {
    let ms = |seconds: i64, nanos: i64| seconds.saturating_mul(1000) + nanos / 1_000_000;
    Changed {
        modified_ms: ms(found.mtime(), found.mtime_nsec()),
        changed_ms: ms(found.ctime(), found.ctime_nsec()),
    }
}

/// The file's map from a stripe on; `None` when there is no such file.
async fn look_up(
    cluster: &Cluster,
    name: &FileName,
    first_stripe: u32,
) -> Result<Option<FileMap>, Failure> {
    let asked = cluster.client.call(|coordinator| {
        let lookup = Lookup { name: name.clone(), version: None, first_stripe };
        async move { coordinator.lookup(lookup).await }
    });
    match asked.await {
        Ok(map) => Ok(Some(map)),
        Err(Error { kind: Kind::NotFound, .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Length and digest of each of the file's data chunks, in order.
async fn chunks(
    cluster: &Cluster,
    name: &FileName,
    first: FileMap,
) -> Result<Vec<(u64, Digest)>, Failure> {
    let (version, stripes) = (first.info.id, first.info.stripes);
    let mut chunks = Vec::new();
    let mut seen = 0_u32;
    let mut page = Some(first);
    while let Some(map) = page.take() {
        if map.info.id != version || map.stripes.is_empty() {
            break;
        }
        for stripe in &map.stripes {
            let data = stripe.chunks.iter().take(usize::from(stripe.shape.data));
            chunks.extend(data.map(|chunk| (chunk.raw_len, chunk.digest)));
        }
        seen = seen.saturating_add(u32::try_from(map.stripes.len()).unwrap_or(u32::MAX));
        if seen < stripes {
            page = look_up(cluster, name, seen).await?;
        }
    }
    Ok(chunks)
}

/// Whether the file is these chunks and nothing more.
fn has_content(path: &Path, chunks: &[(u64, Digest)]) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    for (raw_len, digest) in chunks {
        let mut hasher = Hasher::default();
        let mut left = *raw_len;
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let read = file.read(&mut buffer[..room])?;
            if read == 0 {
                return Ok(false);
            }
            hasher.update(&buffer[..read]);
            left -= read as u64;
        }
        if hasher.finish() != *digest {
            return Ok(false);
        }
    }
    Ok(file.read(&mut buffer[..1])? == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_compared_to_its_last_byte() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        let chunks = |parts: &[&[u8]]| -> Vec<(u64, Digest)> {
            parts.iter().map(|part| (part.len() as u64, Digest::of(part))).collect()
        };
        fs::write(&path, "abcdef").expect("a file");
        let is_same = |parts: &[&[u8]]| has_content(&path, &chunks(parts)).expect("it is read");
        assert!(is_same(&[b"abc", b"def"]) && is_same(&[b"abcdef"]));
        assert!(!is_same(&[b"abc", b"deg"]) && !is_same(&[b"abc"]));
        assert!(!is_same(&[b"abcdef", b"g"]) && !is_same(&[]));
    }
}
