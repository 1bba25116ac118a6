//! Requests of clients: each is executed at most once, and its repeat gets
//! the first answer.
//!
//! A client number is one line of changes: its next request says that the
//! answer to the one before has arrived, so one row per number is enough. The
//! row is written in the same transaction as the change itself. Refusals are
//! kept as well: a delayed repeat of a removal that was refused must not
//! remove a file that another client stored since.
//!
//! Rows are dropped when they are old or too many. The numbers rise, so one
//! number (`forgotten`) is enough to refuse whatever may be a repeat of a
//! request whose row is gone.

use super::apply::Outcome;
use super::change::Change;
use super::command::{Command, Retention};
use super::record::{Answer, ClientRecord, Gone, UptimeRecord};
use super::refusal::{Reaction, Refusal};
use super::state::Catalog;
use super::{ANSWER_KEPT_S, REFUSED_TEXT_BYTES_MAX};
use crate::id::{ClientNumber, RequestId};
use crate::mutant::{Mutant, is_planted};

/// Rows that one request drops. More than one, so that their number falls
/// when the limit was lowered.
const DROPPED_PER_REQUEST_MAX: usize = 2;
/// Rows that one [`Command::KeepTime`] drops.
const DROPPED_PER_TICK_MAX: usize = 1000;

/// How far the noted running time may be behind when an answer is kept.
const UPTIME_BEHIND_MAX_S: u64 = 60;

/// What the catalog remembers of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recalled<'a> {
    /// It was never executed, and may be.
    New,
    /// A removal in several commands has taken so much so far.
    Open(Gone),
    /// It was answered.
    Answered(&'a Answer),
    /// It may be a repeat whose answer is no longer kept.
    Forgotten,
}

impl Catalog {
    /// Returns what is remembered of a request.
    #[must_use]
    pub fn recall(&self, request: RequestId) -> Recalled<'_> {
        match self.clients.get(&request.client) {
            None if request.client <= self.uptime.forgotten => Recalled::Forgotten,
            None => Recalled::New,
            Some(row) if request.sequence > row.sequence => Recalled::New,
            Some(row) if request.sequence < row.sequence => Recalled::Forgotten,
            Some(ClientRecord { answer: Answer::Removing(gone), .. }) => Recalled::Open(*gone),
            Some(row) if is_lost(&row.answer) => Recalled::New,
            Some(row) => Recalled::Answered(&row.answer),
        }
    }

    /// How long coordinators have run on this catalog, in seconds.
    #[must_use]
    pub fn uptime_s(&self) -> u64 {
        self.uptime.uptime_s
    }

    /// How many clients' answers are kept.
    #[must_use]
    pub fn answers_kept(&self) -> usize {
        self.clients.len()
    }

    /// Derives what a request changes, and its answer.
    pub(super) fn answer_request(
        &self,
        request: RequestId,
        answer: &Answer,
        command: &Command,
        retention: Retention,
        next_number: u64,
        rows: &mut Vec<Change>,
    ) -> Result<Outcome, Refusal> {
        let is_nested = matches!(command, Command::Requested { .. });
        if request.client.0 == 0
            || request.client.0 >= next_number
            || request.sequence == 0
            || is_nested
        {
            return Err(Refusal::BadRequest(request));
        }
        let before = match self.recall(request) {
            Recalled::Answered(first) => {
                return Ok(Outcome { answer: Some(first.clone()), ..Outcome::default() });
            }
            Recalled::Forgotten => return Err(Refusal::Forgotten(request)),
            Recalled::Open(gone) => gone,
            Recalled::New => Gone::default(),
        };
        let (mut outcome, answer) = match self.derive(command, rows) {
            Ok(outcome) => {
                let gone = outcome.removed.iter().fold(before, |gone, removed| Gone {
                    files: gone.files + 1,
                    bytes: gone.bytes.saturating_add(removed.file.size),
                });
                let answer = match answer {
                    Answer::Removing(_) => Answer::Removing(gone),
                    Answer::Removed(_) => Answer::Removed(gone),
                    answer => answer.clone(),
                };
                (outcome, answer)
            }
            Err(refusal) => (Outcome::default(), refused(refusal)?),
        };
        outcome.answer = Some(answer.clone());
        let (client, sequence) = (request.client, request.sequence);
        let row = ClientRecord { client, sequence, used_s: retention.uptime_s, answer };
        let is_known = self.clients.contains_key(&client);
        let kept = self.clients.len() + usize::from(!is_known);
        let dropped =
            self.drop_answers(kept, retention, DROPPED_PER_REQUEST_MAX, Some(client), rows);
        // Without this, a start would count the row's age from too far back.
        if !dropped && retention.uptime_s >= self.uptime.uptime_s + UPTIME_BEHIND_MAX_S {
            rows.push(Change::PutUptime(UptimeRecord {
                uptime_s: retention.uptime_s,
                ..self.uptime
            }));
        }
        rows.push(Change::PutClient(row));
        Ok(outcome)
    }

    /// Derives what [`Command::KeepTime`] changes.
    pub(super) fn keep_time(&self, retention: Retention, rows: &mut Vec<Change>) {
        let dropped =
            self.drop_answers(self.clients.len(), retention, DROPPED_PER_TICK_MAX, None, rows);
        // Where nothing has to be kept, the time need not be.
        if !dropped && !self.clients.is_empty() && retention.uptime_s > self.uptime.uptime_s {
            let uptime = UptimeRecord { uptime_s: retention.uptime_s, ..self.uptime };
            rows.push(Change::PutUptime(uptime));
        }
    }

    /// Drops the answers that are the oldest of `kept`, as far as they are
    /// too old or too many. Never that of `spared`, whose row is being put.
    fn drop_answers(
        &self,
        kept: usize,
        retention: Retention,
        dropped_max: usize,
        spared: Option<ClientNumber>,
        rows: &mut Vec<Change>,
    ) -> bool {
        let answers_max = usize::try_from(retention.answers_max.max(1)).unwrap_or(usize::MAX);
        let too_many = kept.saturating_sub(answers_max);
        let is_old = |used_s: u64| retention.uptime_s.saturating_sub(used_s) >= ANSWER_KEPT_S;
        let oldest = self.clients_by_age.iter().filter(|(_, client)| Some(*client) != spared);
        let mut forgotten = self.uptime.forgotten;
        let mut dropped = 0;
        for (used_s, client) in oldest.take(dropped_max) {
            if dropped >= too_many && !is_old(*used_s) {
                break;
            }
            rows.push(Change::DeleteClient(*client));
            forgotten = forgotten.max(*client);
            dropped += 1;
        }
        if dropped > 0 {
            let uptime_s = self.uptime.uptime_s.max(retention.uptime_s);
            rows.push(Change::PutUptime(UptimeRecord { uptime_s, forgotten }));
        }
        dropped > 0
    }
}

/// Whether a planted bug loses this answer.
fn is_lost(answer: &Answer) -> bool {
    match answer {
        Answer::Stored(_) => is_planted(Mutant::CommitTwice),
        _ => is_planted(Mutant::ChangeTwice),
    }
}

/// The answer to a change that is refused for good.
///
/// # Errors
/// The refusal itself, where the same change may be granted later.
fn refused(refusal: Refusal) -> Result<Answer, Refusal> {
    let reaction = refusal.reaction();
    match reaction {
        Reaction::Retry | Reaction::StaleEpoch | Reaction::Forgotten => Err(refusal),
        _ => {
            let mut message = refusal.to_string();
            message.truncate(message.floor_char_boundary(REFUSED_TEXT_BYTES_MAX));
            Ok(Answer::Refused { reaction, message: message.into() })
        }
    }
}

#[cfg(test)]
mod tests;
