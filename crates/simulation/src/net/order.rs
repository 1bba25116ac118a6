//! Orders, as seen from outside: each carries the epoch of whoever gives it,
//! and a process that has heeded a newer one must heed no older one that
//! arrives later.

use dfs_core::api::Result;
use dfs_core::id::Epoch;

use super::Net;
use super::path::{Path, Place};
use crate::task::TaskGroup;

/// An order that has arrived at a process.
pub(super) struct Order {
    net: Net,
    to: Place,
    process: Option<TaskGroup>,
    what: &'static str,
    epoch: Epoch,
    heeded: Option<Epoch>,
}

/// The newest epoch of the orders that the process of a host has heeded.
pub(super) struct Heeded {
    process: TaskGroup,
    epoch: Epoch,
}

impl Path {
    /// An order has arrived; to be called in the process that it is given to.
    pub(super) fn order(&self, what: &'static str, epoch: Epoch) -> Order {
        let (net, to) = (self.net().clone(), self.to().clone());
        let process = self.host().map(|host| host.tasks());
        let heeded = process.as_ref().and_then(|process| net.heeded(&to, process));
        Order { net, to, process, what, epoch, heeded }
    }
}

impl Order {
    /// It was answered.
    pub(super) fn answered<T>(self, result: Result<T>) -> Result<T> {
        let Self { net, to, process, what, epoch, heeded } = self;
        let Some(process) = process.filter(|_| result.is_ok()) else { return result };
        match heeded {
            Some(newest) if epoch < newest => net.note_stale(format!(
                "{} heeded {what} of epoch {epoch} after an order of epoch {newest}",
                to.name
            )),
            _ => net.note_heeded(&to, process, epoch),
        }
        result
    }
}

impl Net {
    /// Orders that were heeded and came from an epoch that was over, since
    /// this was asked last.
    #[must_use]
    pub fn take_stale(&self) -> Vec<String> {
        std::mem::take(&mut self.state().stale)
    }

    fn heeded(&self, to: &Place, process: &TaskGroup) -> Option<Epoch> {
        let state = self.state();
        let heeded = state.heeded.get(&to.number)?;
        heeded.process.is(process).then_some(heeded.epoch)
    }

    fn note_heeded(&self, to: &Place, process: TaskGroup, epoch: Epoch) {
        let before = self.heeded(to, &process);
        let epoch = before.map_or(epoch, |before| before.max(epoch));
        self.state().heeded.insert(to.number, Heeded { process, epoch });
    }

    fn note_stale(&self, text: String) {
        self.state().stale.push(text);
    }
}
