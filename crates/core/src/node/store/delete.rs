//! Deleting chunks.

use std::io;
use std::sync::Arc;

use super::index::Place;
use super::quarantine::unless_missing;
use super::{Store, lock, path};
use crate::api::{Error, Kind, Result};
use crate::env::{Work, run};
use crate::id::Handle;

impl Store {
    /// Forgets chunks for good. Those that are unknown, or being written, are
    /// passed over. One that comes back after a power cut is told of again.
    pub(in crate::node) async fn delete(self: &Arc<Self>, handles: Vec<Handle>) -> Result<()> {
        let this = Arc::clone(self);
        let (in_packs, failed) = run(&*self.env.pool, Work::Disk, move || {
            let (mut in_packs, mut failed) = (Vec::new(), None);
            for handle in handles {
                match this.delete_file(handle) {
                    Ok(Some(in_pack)) => in_packs.push(in_pack),
                    Ok(None) => {}
                    Err(error) => failed = Some((handle, error)),
                }
            }
            (in_packs, failed)
        })
        .await;
        if !in_packs.is_empty() {
            self.delete_packed(in_packs).await?;
        }
        match failed {
            None => Ok(()),
            Some((handle, error)) => Err(Error::new(
                Kind::Internal,
                format!("node {} cannot delete chunk {handle}: {error}", self.node),
            )),
        }
    }

    /// Deletes a chunk that has a file of its own; gives back the handle of
    /// one that lies in a pack.
    fn delete_file(&self, handle: Handle) -> io::Result<Option<Handle>> {
        if lock(&self.claims).contains(&handle) {
            return Ok(None);
        }
        let Some(held) = self.get(handle) else { return Ok(None) };
        let path = match held.place {
            Place::Pack { .. } => return Ok(Some(handle)),
            Place::File => path::chunk(handle),
            Place::Quarantine => path::quarantine(handle),
        };
        {
            // The index first: a reader that finds the file gone must not take
            // it for lost.
            let mut index = self.index();
            if index.get(handle) != Some(held) {
                return Ok(None);
            }
            index.remove(handle);
        }
        if let Err(error) = self.env.disk.remove(&path).or_else(unless_missing) {
            // It is still there, and is reported again.
            let mut index = self.index();
            if index.get(handle).is_none() {
                index.put(handle, held);
            }
            return Err(error);
        }
        Ok(None)
    }
}
