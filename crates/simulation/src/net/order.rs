//! Orders, as seen from outside: each carries the run that gives it. A process
//! that has heeded an order of one run must heed none of an earlier run, and
//! none of another run with the same number, that arrives later.

use dfs_core::api::{Kind, Result};
use dfs_core::id::Run;
use dfs_core::mark::{Mark, reached};

use super::Net;
use super::path::{Path, Place};
use crate::task::TaskGroup;

/// An order that has arrived at a process.
pub(super) struct Order {
    net: Net,
    to: Place,
    process: Option<TaskGroup>,
    what: &'static str,
    run: Run,
    heeded: Option<Run>,
}

/// The newest run of the orders that the process of a host has heeded.
pub(super) struct Heeded {
    process: TaskGroup,
    run: Run,
}

impl Path {
    /// An order has arrived; to be called in the process that it is given to.
    pub(super) fn order(&self, what: &'static str, run: Run) -> Order {
        let (net, to) = (self.net().clone(), self.to().clone());
        let process = self.host().map(|host| host.tasks());
        let heeded = process.as_ref().and_then(|process| net.heeded(&to, process));
        Order { net, to, process, what, run, heeded }
    }
}

impl Order {
    /// It was answered.
    pub(super) fn answered<T>(self, result: Result<T>) -> Result<T> {
        let Self { net, to, process, what, run, heeded } = self;
        if matches!(&result, Err(error) if error.kind == Kind::StaleEpoch) {
            reached(Mark::StaleRefused);
        }
        let Some(process) = process.filter(|_| result.is_ok()) else { return result };
        match heeded {
            Some(newest) if run != newest && run.epoch <= newest.epoch => net.note_stale(format!(
                "{} heeded {what} of run {run} after an order of run {newest}",
                to.name
            )),
            _ => net.note_heeded(&to, process, run),
        }
        result
    }
}

impl Net {
    /// Orders that were heeded and came from a run that was over, since
    /// this was asked last.
    #[must_use]
    pub fn take_stale(&self) -> Vec<String> {
        std::mem::take(&mut self.state().stale)
    }

    fn heeded(&self, to: &Place, process: &TaskGroup) -> Option<Run> {
        let state = self.state();
        let heeded = state.heeded.get(&to.number)?;
        heeded.process.is(process).then_some(heeded.run)
    }

    fn note_heeded(&self, to: &Place, process: TaskGroup, run: Run) {
        let before = self.heeded(to, &process);
        let run = before.map_or(run, |before| before.max(run));
        self.state().heeded.insert(to.number, Heeded { process, run });
    }

    fn note_stale(&self, text: String) {
        self.state().stale.push(text);
    }
}
