//! The node's look at its own volume, with every heartbeat.
//!
//! A volume that was unmounted, or a folder that was removed or replaced, must
//! be noticed by the node that lost it and not by the next reader. A look
//! compares the device and inode of the folder with those at the start, opens
//! the identity file, and writes a few bytes. A volume that is gone is
//! reported with the next heartbeat; the coordinator then counts its copies
//! as away. A look never delays a heartbeat by more than [`LOOK_WAIT_MAX`].

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::identity::IDENTITY_FILE;
use super::role::Node;
use super::store::Store;
use crate::api::{Error, Kind, Result};
use crate::env::{Access, Disk, Place};
use crate::mutant::{Mutant, is_planted};

/// How long a heartbeat waits for a look.
const LOOK_WAIT_MAX: Duration = Duration::from_secs(1);
/// A look that takes longer than this is trouble with the disk.
const LOOK_TIME_MAX: Duration = Duration::from_secs(30);

/// What the node knows of its volume.
pub(super) struct VolumeWatch {
    /// The place of the folder at the start; `None` where the disk cannot
    /// tell, and then places are not compared.
    place: Option<Place>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Why the volume counts as gone.
    gone: Option<String>,
    /// When the look began that goes on now.
    looking_since: Option<Instant>,
}

impl VolumeWatch {
    /// Watches the folder of `disk`, which is there now.
    pub(super) fn new(disk: &dyn Disk) -> Self {
        Self { place: disk.place().ok(), state: Mutex::default() }
    }

    /// True while the volume is gone.
    pub(super) fn is_gone(&self) -> bool {
        self.state().gone.is_some()
    }

    /// What is wrong with the volume, in words.
    pub(super) fn trouble(&self) -> Option<String> {
        let state = self.state();
        let slow_for = state.looking_since.map(|since| since.elapsed());
        let is_slow = slow_for.is_some_and(|time| time > LOOK_TIME_MAX);
        let slow = || format!("its disk has not answered for {} s", LOOK_TIME_MAX.as_secs());
        state.gone.clone().or_else(|| is_slow.then(slow))
    }

    /// Refuses new chunks while the volume is gone: they would land on the
    /// bare mount point.
    pub(super) fn check_takes_chunks(&self) -> Result<()> {
        match &self.state().gone {
            None => Ok(()),
            Some(gone) => Err(Error::new(Kind::Unavailable, format!("no chunk is taken: {gone}"))),
        }
    }

    /// Checks that the folder is still the one of the start; blocks for as
    /// long as one `stat` takes.
    fn check_place(&self, store: &Store, disk: &dyn Disk) -> Result<()> {
        if let (Some(before), Ok(now)) = (self.place, disk.place())
            && before == now
        {
            return Ok(());
        }
        let Some(gone) = self.why_gone(store, disk) else { return Ok(()) };
        let text = format!("the chunk was not taken: {gone}");
        self.state().gone = Some(gone);
        Err(Error::new(Kind::Unavailable, text))
    }

    /// Looks at the volume; blocks.
    fn look(&self, store: &Store, disk: &dyn Disk) {
        let gone = self.why_gone(store, disk);
        let is_there = gone.is_none();
        let before = std::mem::replace(&mut self.state().gone, gone.clone());
        match (&before, &gone) {
            (None, Some(gone)) => tracing::warn!("{gone}"),
            (Some(_), None) => tracing::info!("the volume of the data folder is back"),
            _ => {}
        }
        if is_there {
            store.try_small_write();
        }
    }

    fn why_gone(&self, store: &Store, disk: &dyn Disk) -> Option<String> {
        let fix = "mount its volume, or restore the folder, and start the node again";
        match (self.place, disk.place()) {
            (Some(before), Ok(now)) if before != now => {
                return Some(format!("another folder stands in place of the data folder: {fix}"));
            }
            (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Some(format!("the data folder is gone: {fix}"));
            }
            _ => {}
        }
        match disk.open(IDENTITY_FILE, Access::Random) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Some(format!("the data folder has lost its file {IDENTITY_FILE}: {fix}"))
            }
            // When only this file fails to open, chunks can still be read.
            // When a file of another folder fails too, no chunk can be read.
            Err(error) if !store.opens_a_file() => {
                Some(format!("the data folder cannot be read ({error}): {fix}"))
            }
            _ => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Checks, before a chunk is acknowledged, that the volume is still there.
    ///
    /// # Errors
    /// `Unavailable` when it is gone.
    pub(super) async fn check_volume(&self) -> Result<()> {
        if is_planted(Mutant::NeverLooksAtVolume) {
            return Ok(());
        }
        let (volume, store) = (Arc::clone(&self.volume), Arc::clone(&self.store));
        let disk = Arc::clone(&self.env.disk);
        self.on_disk(move || volume.check_place(&store, &*disk)).await
    }

    /// Looks at the volume, for as long as a heartbeat may wait. A look that
    /// takes longer goes on by itself, and no second one begins meanwhile.
    pub(super) async fn look_at_volume(self: &Arc<Self>) {
        if is_planted(Mutant::NeverLooksAtVolume) {
            return;
        }
        {
            let mut state = self.volume.state();
            if state.looking_since.is_some() {
                return;
            }
            state.looking_since = Some(Instant::now());
        }
        let (ended, end) = oneshot::channel();
        let node = Arc::clone(self);
        self.env.spawn(async move {
            let (volume, store) = (Arc::clone(&node.volume), Arc::clone(&node.store));
            let disk = Arc::clone(&node.env.disk);
            node.on_disk(move || volume.look(&store, &*disk)).await;
            node.volume.state().looking_since = None;
            // The heartbeat may have stopped waiting.
            let _ = ended.send(());
        });
        let _ = timeout(LOOK_WAIT_MAX, end).await;
    }
}
