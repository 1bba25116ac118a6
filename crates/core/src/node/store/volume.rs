//! Whether the node's disk is there, and well again.

use std::io;

use super::{Store, lock, path};
use crate::api::{Error, Kind};
use crate::env::Access;
use crate::node::identity::Identity;

/// The file that each look at the volume writes.
const LOOK: &str = "look";
/// What is written to find out whether a disk works again.
const PROBE: &[u8] = b"the disk of this node works";

impl Store {
    /// What the disk did last that it should not have done.
    pub(in crate::node) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// Whether the folder is still this node's. A volume that is not mounted
    /// any more, or a disk that reads nothing, says nothing of its chunks.
    pub(super) fn is_volume_there(&self) -> bool {
        Identity::is_still(&*self.env.disk, self.folder)
    }

    /// The error for a read that failed because of that.
    pub(super) fn volume_gone(&self) -> Error {
        let text =
            format!("the data folder of node {} cannot be read: is its disk mounted?", self.node);
        tracing::warn!("{text}");
        *lock(&self.trouble) = Some(text.clone());
        Error::new(Kind::Unavailable, text)
    }

    /// Writes a few bytes, durably. A disk that does not take them is in
    /// trouble; one that is full is not.
    pub(in crate::node) fn try_small_write(&self) {
        if let Err(error) = self.write_look() {
            // Notes the trouble, unless the disk is only full.
            let _ = self.disk_error("cannot write to its disk", &error);
        }
    }

    /// Returns true when a file outside the root of the data folder can be opened,
    /// or certainly does not exist.
    pub(in crate::node) fn opens_a_file(&self) -> bool {
        match self.env.disk.open(&format!("{}/{LOOK}", path::DRAFTS), Access::Random) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    fn write_look(&self) -> io::Result<()> {
        let disk = &*self.env.disk;
        let path = format!("{}/{LOOK}", path::DRAFTS);
        let file = match disk.open(&path, Access::Random) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk.create(&path, Access::Random)?
            }
            opened => opened?,
        };
        file.write_at(0, PROBE)?;
        file.sync()
    }

    /// Tries whether the disk takes, keeps and gives bytes. If so, whatever
    /// it did before is over: what failed was thrown away then.
    pub(in crate::node) fn probe(&self) {
        match self.try_probe() {
            Ok(()) => {
                if let Some(trouble) = lock(&self.trouble).take() {
                    tracing::info!(node = %self.node, trouble, "its disk works again");
                }
            }
            Err(error) => tracing::debug!(node = %self.node, %error, "its disk does not work yet"),
        }
    }

    fn try_probe(&self) -> io::Result<()> {
        if !self.is_volume_there() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let disk = &*self.env.disk;
        let path = format!("{}/probe", path::DRAFTS);
        disk.remove(&path).or_else(super::quarantine::unless_missing)?;
        let file = disk.create(&path, Access::Random)?;
        file.write_at(0, PROBE)?;
        file.sync()?;
        let mut found = [0; PROBE.len()];
        disk.open(&path, Access::Random)?.read_at(0, &mut found)?;
        disk.remove(&path)?;
        if found == PROBE { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}
