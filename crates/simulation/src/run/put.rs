//! Puts, and what must be true of one that is acknowledged or refused.

use std::time::Duration;

use dfs_core::api::{Kind, PutMode};
use dfs_core::client::{ClientError, Progress, PutOptions, PutSummary};
use dfs_core::mark::{Mark, reached};
use dfs_core::units::{ByteSize, Span};

use super::state::Run;
use crate::cluster::{options, seekable};
use crate::history::Outcome;
use crate::host::Host;
use crate::scenario::{Act, Op};

/// The file that is stored when all is over.
const PUT_AT_THE_END: &str = "at-the-end";
/// How often that is tried: where life is hard, a put may fail by chance.
const TRIES_AT_THE_END_MAX: u32 = 5;
/// Of so many puts, one is strict.
const STRICT_ONE_OF: usize = 8;

impl Run<'_> {
    pub(super) async fn put(&self, host: &Host, op: &Op, mode: PutMode) {
        let len = usize::try_from(op.size.map_or(0, |size| size.0)).expect("fits into memory");
        let version = self.new_version(len);
        let bytes = self.content(version);
        let begun = self.history.borrow_mut().begin(&op.name, Some(version));
        let was_tainted = !self.guard.borrow().tainted.is_empty();
        let was_well = self.guard.borrow().all_well_since();
        let ledger_lost_ms = self.ledger_lost_since_ms();
        let ledger_full_ms = self.known_full_since_ms();
        let client = self.client(host);
        let is_strict = version % STRICT_ONE_OF == STRICT_ONE_OF - 1;
        let how = PutOptions { mode, is_strict, ..options(&op.name) };
        let running =
            host.spawn(async move { client.put(seekable(&bytes), how, &Progress::new()).await });
        let result: Result<PutSummary, ClientError> = match running.await {
            Ok(result) => result,
            Err(_ended) => Err(ClientError::new(Kind::NotKnown, "the client was killed")),
        };
        if let Ok(summary) = &result
            && summary.copies_missing > 0
        {
            if is_strict {
                let text = format!("a strict put of {} lacks copies", op.name);
                self.violates("I4", text);
            }
            reached(Mark::PutDegraded);
            self.thin.borrow_mut().insert(version);
            if was_tainted || !self.guard.borrow().tainted.is_empty() {
                self.history.borrow_mut().mark_fragile(begun);
            }
        }
        let outcome = match &result {
            Ok(_) => Outcome::Acknowledged,
            Err(error) if error.kind == Kind::NotKnown => Outcome::Unclear,
            // Every other failure promises that nothing is or will be stored.
            Err(_) => Outcome::Refused,
        };
        let is_expected = matches!(
            &result,
            Err(error) if matches!(error.kind, Kind::Exists | Kind::Superseded)
        );
        if let Err(error) = &result
            && !is_expected
            && self.scenario.hard.is_empty()
            && was_well.is_some()
            && was_well == self.guard.borrow().all_well_since()
        {
            let text = format!("{} cannot be stored, and nothing is wrong: {error}", op.name);
            self.violates("L1", text);
        }
        if outcome == Outcome::Acknowledged {
            self.check_ledger_there(&op.name, ledger_lost_ms);
            self.check_ledger_room(&op.name, ledger_full_ms);
            self.see_zones(&op.name).await;
        }
        self.note(op, &format_args!("{len} bytes as version {version}"), &result.map(drop));
        self.end_change(op.act, begun, outcome, is_expected);
    }

    /// Stores a file when all is over: then there is no reason not to take it.
    pub(super) async fn put_at_the_end(&self) {
        let op = Op {
            client: 1,
            after: Span::default(),
            act: Act::Replace,
            name: PUT_AT_THE_END.to_owned(),
            size: Some(ByteSize(100 << 10)),
            offset: None,
            len: None,
        };
        let before = self.ended_well(Act::Replace);
        for _ in 0..TRIES_AT_THE_END_MAX {
            let host = self.client_machine(op.client);
            self.put(&host, &op, PutMode::Replace).await;
            if self.ended_well(Act::Replace) > before || self.has_failed() {
                return;
            }
            self.world.pass(Duration::from_secs(5)).await;
        }
        // Where nodes say of chunks that they wrote that they did not, and no
        // other node is there, no number of tries is enough.
        if !self.scenario.hard.iter().any(|place| place == "fail-after-write") {
            self.violates("L1", format!("{PUT_AT_THE_END} cannot be stored, and all has healed"));
        }
    }
}
