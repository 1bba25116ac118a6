//! Taking back what was applied and did not become durable.

use super::change::Change;
use super::state::Catalog;
use crate::id::{Epoch, NodeIndex};

/// What takes one row back.
#[derive(Debug, Clone)]
pub struct Undo(Kind);

#[derive(Debug, Clone)]
enum Kind {
    /// Another row.
    Row(Change),
    /// The catalog was not founded.
    NotFounded,
    /// The run was not opened.
    NoRun(Epoch),
    /// The member was new.
    NoMember(NodeIndex),
    /// There was nothing to take back.
    Nothing,
}

impl Catalog {
    /// Returns what takes `row` back, if it is enacted next.
    pub(super) fn inverse(&self, row: &Change) -> Undo {
        let found = self.inverse_row(row);
        Undo(match (found, row) {
            (Some(row), _) => Kind::Row(row),
            (None, Change::PutCluster(_)) => Kind::NotFounded,
            (None, Change::PutRun(run)) => Kind::NoRun(run.run.epoch),
            (None, Change::PutMember(member)) => Kind::NoMember(member.index),
            (None, _) => Kind::Nothing,
        })
    }

    fn inverse_row(&self, row: &Change) -> Option<Change> {
        let member = |index: &NodeIndex| self.members.get(index).cloned();
        match row {
            Change::PutCluster(_) => self.cluster.clone().map(Change::PutCluster),
            Change::PutRun(run) => self.runs.get(&run.run.epoch).cloned().map(Change::PutRun),
            Change::PutForeign(range) => Some(match self.foreign.get(&range.start) {
                Some(old) => Change::PutForeign(*old),
                None => Change::DeleteForeign(range.start),
            }),
            Change::DeleteForeign(start) => {
                self.foreign.get(start).copied().map(Change::PutForeign)
            }
            Change::PutMember(new) => member(&new.index).map(Change::PutMember),
            Change::PutFile(file) => Some(match self.files.get(&file.id) {
                Some(old) => Change::PutFile(old.clone()),
                None => Change::DeleteFile(file.id),
            }),
            Change::DeleteFile(id) => self.files.get(id).cloned().map(Change::PutFile),
            Change::PutStripe(stripe) => Some(match self.stripes.get(&stripe.first_handle) {
                Some(old) => Change::PutStripe(old.clone()),
                None => Change::DeleteStripe(stripe.first_handle),
            }),
            Change::DeleteStripe(first) => self.stripes.get(first).cloned().map(Change::PutStripe),
            Change::PutUptime(_) => Some(Change::PutUptime(self.uptime)),
            Change::PutClient(client) => Some(match self.clients.get(&client.client) {
                Some(old) => Change::PutClient(old.clone()),
                None => Change::DeleteClient(client.client),
            }),
            Change::DeleteClient(client) => {
                self.clients.get(client).cloned().map(Change::PutClient)
            }
        }
    }

    /// Takes back what `undo` has collected, the last row first.
    pub fn take_back(&mut self, undo: Vec<Undo>) {
        for Undo(kind) in undo.into_iter().rev() {
            match kind {
                Kind::Row(row) => self.enact(row),
                Kind::NotFounded => self.cluster = None,
                Kind::NoRun(epoch) => drop(self.runs.remove(&epoch)),
                Kind::NoMember(index) => self.drop_member(index),
                Kind::Nothing => {}
            }
        }
    }
}
