//! Removals and renamings, and whether their answers tell the truth.

use dfs_core::api::{Error, Kind, PutMode, Remove, Rename};
use dfs_core::client::Doubt;

use super::state::Run;
use crate::cluster::file_name;
use crate::history::{Begun, Moment, Outcome};
use crate::host::Host;
use crate::scenario::Op;
use crate::task::Ended;

impl Run<'_> {
    pub(super) async fn remove(&self, host: &Host, op: &Op) {
        let begun = self.history.borrow_mut().begin(&op.name, None);
        let began = self.history.borrow_mut().tick();
        let ledger_lost_ms = self.ledger_lost_since_ms();
        let client = self.client(host);
        let path = op.name.clone();
        let running = host.spawn(async move {
            let doubt = Doubt { what: "it was removed", look: "ls" };
            client
                .change(doubt, |coordinator, request| {
                    let (path, request) = (path.clone(), Some(request));
                    let remove = Remove { path, is_recursive: false, is_dry_run: false, request };
                    async move { coordinator.remove(remove).await }
                })
                .await
        });
        let result = flatten(running.await);
        if matches!(&result, Err(error) if error.kind == Kind::NoSpace) {
            self.violates("I10", format!("{} cannot be removed for want of space", op.name));
        }
        let (outcome, is_expected) = changed(&result);
        if result.is_ok() {
            self.check_ledger_there(&format!("the removal of {}", op.name), ledger_lost_ms);
        }
        self.note(op, &"", &result.as_ref().map(drop));
        self.end_change(op.act, begun, outcome, is_expected);
        self.check_refusal(&op.name, began, &result);
    }

    /// Gives a file a name that no other call uses, so that what is under it
    /// is known but for which version was moved.
    pub(super) async fn rename(&self, host: &Host, op: &Op) {
        let (to, begun, began, going, moved) = {
            let mut history = self.history.borrow_mut();
            let begun = history.begin(&op.name, None);
            let began = history.tick();
            let to = format!("moved/{began}");
            // What is put under the old name meanwhile may be moved too: the
            // new name is open even when there is no content yet.
            let going = history.begin(&to, None);
            let versions = history.versions(&op.name);
            let moved: Vec<Begun> =
                versions.iter().map(|version| history.begin(&to, Some(*version))).collect();
            (to, begun, began, going, moved)
        };
        let client = self.client(host);
        let (from, onto) = (file_name(&op.name), file_name(&to));
        let running = host.spawn(async move {
            let doubt = Doubt { what: "it was renamed", look: "ls" };
            client
                .change(doubt, |coordinator, request| {
                    let (from, to, request) = (from.clone(), onto.clone(), Some(request));
                    let rename = Rename { from, to, mode: PutMode::IfAbsent, request };
                    async move { coordinator.rename(rename).await }
                })
                .await
        });
        let result = flatten(running.await);
        if matches!(&result, Err(error) if error.kind == Kind::Exists) {
            self.violates("I15", format!("{to} is said to exist, and no other call uses it"));
        }
        let (outcome, is_expected) = changed(&result);
        self.note(op, &format_args!("to {to}"), &result);
        if outcome != Outcome::Unclear {
            self.history.borrow_mut().end(going, Outcome::Refused);
        }
        self.end_move(op, &to, began, moved, outcome);
        self.end_change(op.act, begun, outcome, is_expected);
        self.check_refusal(&op.name, began, &result);
    }

    /// Checks that a change which is refused because its file is not there
    /// tells the truth: that at some moment since it began there was none. A
    /// repeat of a change that was made must not say so.
    fn check_refusal<T>(&self, name: &str, began: Moment, result: &Result<T, Error>) {
        if !matches!(result, Err(error) if error.kind == Kind::NotFound) {
            return;
        }
        let ended = self.history.borrow_mut().tick();
        let allowed = self.history.borrow().allowed(name, began, ended);
        if !allowed.absent {
            let text = format!("{name} is said not to be there; right is {allowed:?}");
            self.violates("I15", text);
        }
    }

    /// A rename that began at `began` ended: any content may have been moved
    /// that was under the old name at some moment meanwhile.
    fn end_move(&self, op: &Op, to: &str, began: u64, mut moved: Vec<Begun>, outcome: Outcome) {
        let mut history = self.history.borrow_mut();
        let ended = history.tick();
        let allowed = history.allowed(&op.name, began, ended).versions;
        let versions = history.versions(&op.name);
        for late in versions.iter().skip(moved.len()) {
            let begun = history.begin_late(to, Some(*late), began);
            moved.push(begun);
        }
        for (version, moved) in versions.iter().zip(moved) {
            let may_be = allowed.contains(version);
            history.end(moved, if may_be { outcome } else { Outcome::Refused });
        }
    }
}

/// Returns an answer that a client which was killed did not hear as *not known*.
pub(super) fn flatten<T>(result: Result<Result<T, Error>, Ended>) -> Result<T, Error> {
    result.unwrap_or_else(|ended| Err(Error::new(Kind::NotKnown, ended.to_string())))
}

/// What the answer to a removal or a renaming says of its effect, and whether
/// it is a plain no.
fn changed<T>(result: &Result<T, Error>) -> (Outcome, bool) {
    match result {
        Ok(_) => (Outcome::Acknowledged, false),
        // Every failure but this one promises that there is no effect.
        Err(error) if error.kind == Kind::NotKnown => (Outcome::Unclear, false),
        Err(error) => {
            (Outcome::Refused, matches!(error.kind, Kind::NotFound | Kind::Invalid | Kind::Exists))
        }
    }
}
