//! Changes under a request id: each is made at most once, and its repeat gets
//! the first answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::role::Coordinator;
use crate::api::{Committed, Condition, Error, FileInfo, Kind, Result};
use crate::catalog::StoredFile;
use crate::catalog::{ANSWERS_MAX, Answer, Catalog, Command, Gone, Recalled, Refusal, Retention};
use crate::id::{ClientNumber, RequestId};

/// How often old answers are dropped and the running time is noted.
const KEEP_TIME_EVERY: Duration = Duration::from_secs(60);

impl Coordinator {
    /// See [`crate::api::CoordinatorService::client_number`].
    pub(super) async fn number_client(&self) -> Result<ClientNumber> {
        self.wait_to_lead().await?;
        self.numbers.draw(&self.door, 1).await.map(ClientNumber)
    }

    /// Makes a change and returns its answer: the first one, where `request`
    /// was answered before.
    ///
    /// # Errors
    /// The refusal, which is kept like any other answer; `Forgotten`.
    pub(super) async fn submit_change(
        &self,
        request: Option<RequestId>,
        answer: Answer,
        command: Command,
    ) -> Result<Answer> {
        let Some(request) = request else {
            let outcome = self.change(command).await?;
            let add = |gone: Gone| {
                outcome.removed.iter().fold(gone, |gone, removed| Gone {
                    files: gone.files + 1,
                    bytes: gone.bytes.saturating_add(removed.file.size),
                })
            };
            return Ok(match answer {
                Answer::Removing(gone) => Answer::Removing(add(gone)),
                Answer::Removed(gone) => Answer::Removed(add(gone)),
                answer => answer,
            });
        };
        let (command, retention) = (Box::new(command), self.retention());
        let command = Command::Requested { request, answer, command, retention };
        match self.change(command).await?.answer {
            Some(Answer::Refused { reaction, message }) => {
                Err(Error::new(reaction.into(), message))
            }
            Some(answer) => Ok(answer),
            None => Err(Error::new(Kind::Internal, format!("request {request} has no answer"))),
        }
    }

    /// The answer that a request got before; `None` when it may be executed.
    ///
    /// # Errors
    /// The refusal that it got; `Forgotten`.
    pub(super) async fn answered_before(
        &self,
        request: Option<RequestId>,
    ) -> Result<Option<Answer>> {
        let Some(request) = request else { return Ok(None) };
        let recall = |catalog: &Catalog| match catalog.recall(request) {
            Recalled::New | Recalled::Open(_) => Ok(None),
            Recalled::Answered(answer) => Ok(Some(answer.clone())),
            Recalled::Forgotten => Err(Error::from(Refusal::Forgotten(request))),
        };
        // Most are new, and then nothing is told that a reader has to wait for.
        if self.door.peek(recall) == Ok(None) {
            return Ok(None);
        }
        match self.door.read(recall).await?? {
            Some(Answer::Refused { reaction, message }) => {
                Err(Error::new(reaction.into(), message))
            }
            answer => Ok(answer),
        }
    }

    /// Drops old answers and notes the running time, for as long as the
    /// coordinator runs.
    pub(super) async fn keep_time(self: Arc<Self>) {
        loop {
            sleep(KEEP_TIME_EVERY).await;
            let command = Command::KeepTime { retention: self.retention() };
            if let Err(error) = self.change(command).await {
                tracing::debug!(%error, "the running time could not be noted");
            }
        }
    }

    fn retention(&self) -> Retention {
        let uptime_s = self.uptime_before_s.saturating_add(self.now_ms() / 1000);
        Retention { uptime_s, answers_max: ANSWERS_MAX }
    }
}

/// The answer to a commit, from what is kept of it.
pub(super) fn committed(file: StoredFile) -> Committed {
    let copies_missing = file.copies_missing;
    let info = FileInfo {
        name: file.name,
        id: file.id,
        size: file.size,
        policy: file.policy,
        created_ms: file.created_ms,
        stripes: file.stripes,
        chunks: file.chunks,
        stored_bytes: file.stored_bytes,
        raw_bytes: file.raw_bytes,
        spares: file.spares,
        // As it was when it was stored: every stripe could be read then.
        condition: match (copies_missing, file.spares) {
            (0, _) => Condition::Full,
            (_, ..=0) => Condition::AtRisk,
            _ => Condition::Degraded,
        },
        copies_missing,
    };
    Committed { info, copies_missing }
}

/// A request id that its client used for two different changes.
pub(super) fn other_request(answer: &Answer) -> Error {
    let what = match answer {
        Answer::Removing(_) | Answer::Removed(_) => "a removal",
        Answer::Renamed => "a renaming",
        Answer::Stored(_) => "a commit",
        Answer::Refused { .. } => "a change that was refused",
    };
    Error::new(Kind::Invalid, format!("this request id was used for {what} before"))
}
