//! I10, the node's own side: a node keeps some room on its volume free of
//! chunks, so that deleting works on a full disk. A coordinator that does not
//! know yet that a node is full gives it chunks; the node itself must refuse
//! them.

use std::sync::Arc;

use super::path::Path;
use crate::host::Host;

/// A node keeps this part of its volume free of chunks.
const KEPT_PART: u64 = 64;
/// It keeps no more than this.
const KEPT_BYTES_MAX: u64 = 64 << 20;
/// Ends of images, folders and records of packs may take so much of it: each
/// of a few chunks that end at once takes a block or two.
const ENDS_BYTES_MAX: u64 = 64 << 10;

/// A chunk that a node is being given.
pub(super) struct Taking {
    path: Path,
    host: Option<Arc<Host>>,
    capacity: u64,
    used: u64,
    free: u64,
}

impl Path {
    /// The host that is called is given a chunk.
    pub(super) fn taking(&self) -> Taking {
        let host = self.host();
        let of = |read: fn(&Host) -> u64| host.as_deref().map_or(0, read);
        let capacity = of(|host| host.disk().capacity());
        let used = of(|host| host.disk().used());
        let free = of(|host| host.disk().free());
        Taking { path: self.clone(), host, capacity, used, free }
    }
}

impl Taking {
    /// The node says that it took the chunk, of so many bytes.
    pub(super) fn taken(self, bytes: u64) {
        let Some(host) = &self.host else { return };
        let (capacity, free) = (host.disk().capacity(), host.disk().free());
        let kept = (capacity / KEPT_PART).min(KEPT_BYTES_MAX);
        // The disk may have been filled by others meanwhile, and a chunk that
        // was there already takes nothing.
        let took = host.disk().used().saturating_sub(self.used);
        let is_same_disk = capacity == self.capacity && self.free.saturating_sub(took) == free;
        if is_same_disk && bytes > 0 && took >= bytes && free + ENDS_BYTES_MAX < kept {
            let to = &self.path.to().name;
            let text = format!(
                "{to} took a chunk of {bytes} bytes with {} bytes free, and has {free} left: it \
                 must keep {kept}",
                self.free
            );
            self.path.broke("I10", text);
        }
    }
}
