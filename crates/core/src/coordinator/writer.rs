//! The catalog's writer: applies the commands that wait, and makes them
//! durable together (group commit).
//!
//! It looks at what its ledger stands on: before each batch, after each commit,
//! and once a heartbeat when nothing comes. A ledger whose file is gone from
//! its path, or was written over, takes no further command. A ledger whose disk
//! is full takes none that grows it, and that is seen before the command is
//! applied.
//!
//! When a commit fails, the batch is taken back in memory, and the writer
//! ends. Nobody has been told of that batch. Its ledger is closed by then, so
//! that it can be opened again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::survey::SLICE_PAUSE;
use crate::api::{Error, Kind, Result};
use crate::catalog::{Catalog, Change, Command, Outcome, Refusal, Undo};
use crate::env::{self, Env, HardPlace, Publisher, Work};
use crate::health::HEARTBEAT_INTERVAL;
use crate::ledger::{Ledger, LedgerError, Looked};
use crate::limit::limit;
use crate::mark::{Mark, reached};
use crate::mutant::{Mutant, is_planted};

/// The most commands in one transaction.
const BATCH_COMMANDS_MAX: usize = 1024;
/// Rows after which others get at the catalog while a batch is applied.
const ROWS_PER_STEP_MAX: usize = 4096;
/// How long a commit may be delayed in a world that is hard there.
const COMMIT_DELAY_MAX_MS: u64 = 500;
/// What relaxed durability left behind is made durable when nothing came for
/// this long.
const RELAXED_SYNC_AFTER: Duration = Duration::from_secs(1);
/// A look is this long good enough to write to the ledger.
const LOOK_GOOD_FOR: Duration = Duration::from_millis(20);

/// The catalog and how many batches it holds.
pub(super) struct Applied {
    pub(super) catalog: Catalog,
    pub(super) batches: u64,
}

/// A command that waits, and where its answer goes.
pub(super) struct Proposal {
    pub(super) command: Command,
    pub(super) answer: oneshot::Sender<Result<Outcome>>,
}

/// How far the ledger is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// This many batches are durable.
    Durable(u64),
    /// The writer has ended, with this many durable batches; why.
    Ended {
        /// Batches that are durable, and still in memory.
        batches: u64,
        /// Why.
        reason: String,
    },
}

/// How others learn how far the ledger is, and what its last look found.
pub(super) struct Told {
    pub(super) progress: Publisher<Progress>,
    pub(super) position: Arc<AtomicU64>,
    pub(super) looked: Arc<Mutex<Looked>>,
    /// The start of the running call to the disk.
    pub(super) busy_since: Arc<Mutex<Option<Instant>>>,
}

/// Who proposed, and what came of it.
type Answer = (oneshot::Sender<Result<Outcome>>, std::result::Result<Outcome, Refusal>);

/// What is applied and not durable yet.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    undo: Vec<Undo>,
    answers: Vec<Answer>,
    /// Batches after it.
    batches: u64,
}

/// The writer and its ledger.
pub(super) struct Writer {
    pub(super) env: Env,
    pub(super) ledger: Ledger,
    pub(super) catalog: Arc<RwLock<Applied>>,
    pub(super) told: Told,
}

/// A command that was not applied, and never will be.
pub(super) fn not_done(reason: &str) -> Error {
    let text = format!("the coordinator's catalog takes nothing now: {reason}");
    Error::new(Kind::Unavailable, text)
}

/// Returns the report about a ledger that was moved, removed or written over.
pub(super) fn in_memory_only(lost: &str) -> String {
    format!(
        "THE CATALOG IS IN MEMORY ONLY: {lost}. Nothing is acknowledged, reads go on. Put the \
         folder back; or write the catalog to another folder with 'dfs-sim catalog rescue \
         FOLDER', and start the coordinator on that. Do not stop the coordinator before"
    )
}

/// The outcome of a command that was applied is not known.
pub(super) fn not_known(reason: &str) -> Error {
    let text = format!("the change was under way when its commit could not be confirmed: {reason}");
    Error::new(Kind::NotKnown, text)
}

impl Writer {
    /// Writes one batch after the other, until the queue is gone or a commit
    /// failed.
    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Proposal>) {
        let mut proposals = Vec::new();
        let mut is_behind = false;
        let mut looked_at = Instant::now();
        loop {
            let is_alone = self.env.is_hard(HardPlace::CommitAlone);
            let batch_max = if is_alone { 1 } else { limit(BATCH_COMMANDS_MAX, 4) };
            let next = waiting.recv_many(&mut proposals, batch_max);
            let is_idle = match timeout(RELAXED_SYNC_AFTER, next).await {
                Ok(0) => return,
                Ok(_) => false,
                Err(_) => true,
            };
            let looks_before = match is_idle {
                true => looked_at.elapsed() >= HEARTBEAT_INTERVAL,
                false => looked_at.elapsed() > LOOK_GOOD_FOR,
            };
            if looks_before {
                let was_lost = self.told.look().lost.is_some();
                let (writer, tried) = self.look(is_idle).await;
                self = writer;
                looked_at = Instant::now();
                if let Err(error) = tried {
                    tracing::error!(%error, "the disk of the catalog takes nothing");
                    return self.end(waiting, Batch::default(), error.to_string()).await;
                }
                if was_lost && self.told.look().lost.is_none() {
                    let reason = "its file is back at its path, and is opened again".to_owned();
                    return self.end(waiting, Batch::default(), reason).await;
                }
            }
            if is_idle && !is_behind {
                continue;
            }
            self.refuse_some(&mut proposals);
            let batch = self.apply(proposals.drain(..)).await;
            is_behind = !is_idle && (is_behind || !batch.changes.is_empty());
            let (batch, committed) = if batch.changes.is_empty() && !is_idle {
                (batch, Ok(()))
            } else {
                looked_at = Instant::now();
                let (writer, batch, committed) = self.commit(batch, is_idle).await;
                self = writer;
                (batch, committed)
            };
            if let Err(error) = committed {
                tracing::error!(%error, "the catalog could not be made durable");
                reached(Mark::LedgerFailed);
                return self.end(waiting, batch, error.to_string()).await;
            }
            self.tell(batch);
        }
    }

    /// Answers what may not be applied now.
    fn refuse_some(&self, proposals: &mut Vec<Proposal>) {
        let Looked { lost, full } = self.told.look();
        if lost.is_none() && full.is_none() {
            return;
        }
        let applies_first = is_planted(Mutant::AppliesBeforeReserve);
        let refusal = |command: &Command| match (&lost, &full) {
            (Some(lost), _) => Some(not_done(&in_memory_only(lost))),
            (None, Some(full)) if command.grows() && !applies_first => {
                Some(Error::new(Kind::NoSpace, full.clone()))
            }
            _ => None,
        };
        let mut kept = Vec::with_capacity(proposals.len());
        for proposal in proposals.drain(..) {
            match refusal(&proposal.command) {
                // A proposer that gave up waiting needs no answer.
                Some(error) => drop(proposal.answer.send(Err(error))),
                None => kept.push(proposal),
            }
        }
        *proposals = kept;
    }

    /// Applies a batch in steps: others get at the catalog in between.
    async fn apply(&self, proposals: impl Iterator<Item = Proposal>) -> Batch {
        let mut proposals = proposals.peekable();
        let mut batch = Batch::default();
        loop {
            // Who sees only a part of the commands waits for all of them, as
            // the ledger gets them in one transaction.
            let rows = batch.changes.len();
            apply_some(&self.catalog, &mut proposals, &mut batch);
            if rows > 0 && is_planted(Mutant::BatchLosesRows) {
                batch.changes.truncate(rows);
            }
            if proposals.peek().is_none() {
                break;
            }
            tokio::time::sleep(SLICE_PAUSE).await;
            reached(Mark::DoorSecondStep);
        }
        if self.env.is_hard(HardPlace::DelayCommit) {
            let delay_ms = self.env.random.next_u64() % COMMIT_DELAY_MAX_MS;
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
        if is_planted(Mutant::AcknowledgeEarly) {
            for (answer, outcome) in batch.answers.drain(..) {
                let _ = answer.send(outcome.map_err(Error::from));
            }
            // What acknowledges early has its commit still to do.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        if let Some(full) = self.told.look().full
            && is_planted(Mutant::AppliesBeforeReserve)
        {
            batch.changes.clear();
            for (answer, _) in batch.answers.drain(..) {
                let _ = answer.send(Err(Error::new(Kind::NoSpace, full.clone())));
            }
        }
        batch
    }

    /// Makes a batch durable and looks at the ledger; blocks in the pool.
    async fn commit(
        mut self,
        batch: Batch,
        is_idle: bool,
    ) -> (Self, Batch, std::result::Result<(), LedgerError>) {
        let pool = self.env.pool.clone();
        self.told.note_busy(true);
        let (writer, batch, committed) = env::run(&*pool, Work::Disk, move || {
            // A commit into a file that was written over would write a valid
            // mark there, and hide the loss from the next look.
            self.look_now();
            if self.told.look().lost.is_some() {
                return (self, batch, Ok(()));
            }
            // Only relaxed durability leaves something for an idle moment.
            let committed = match is_idle {
                true => self.ledger.sync(),
                false => self.ledger.commit(&batch.changes),
            };
            // Nothing is acknowledged that may be in a file that no start
            // finds.
            self.look_now();
            (self, batch, committed)
        })
        .await;
        writer.told.note_busy(false);
        (writer, batch, committed)
    }

    /// Looks at the ledger, and tries its disk where no commit does.
    async fn look(mut self, is_idle: bool) -> (Self, std::result::Result<(), LedgerError>) {
        let pool = self.env.pool.clone();
        self.told.note_busy(true);
        let (writer, tried) = env::run(&*pool, Work::Disk, move || {
            self.look_now();
            let is_tried = is_idle && self.told.look().lost.is_none();
            let tried = if is_tried { self.ledger.try_disk() } else { Ok(()) };
            (self, tried)
        })
        .await;
        writer.told.note_busy(false);
        (writer, tried)
    }

    fn look_now(&mut self) {
        let looked = self.ledger.look(&*self.env.disk);
        let before = std::mem::replace(&mut *self.told.lock(), looked.clone());
        match (&before.lost, &looked.lost) {
            (None, Some(lost)) => tracing::error!(
                "THE CATALOG IS IN MEMORY ONLY: {lost}. Nothing is acknowledged from now on. Write \
                 the catalog to another folder with 'dfs-sim catalog rescue FOLDER' before this \
                 process is stopped"
            ),
            (Some(_), None) => tracing::info!("the catalog's file is back at its path"),
            _ => {}
        }
        match (&before.full, &looked.full) {
            (None, Some(full)) => tracing::warn!("takes no new files: {full}"),
            (Some(_), None) => tracing::info!("takes new files again: its disk has room"),
            _ => {}
        }
    }

    /// Answers those whose commands are durable.
    fn tell(&self, batch: Batch) {
        self.told.position.store(self.ledger.durable_position(), Ordering::Relaxed);
        self.told.progress.set(Progress::Durable(batch.batches));
        let lost = self.told.look().lost;
        for (answer, outcome) in batch.answers {
            let outcome = match &lost {
                Some(lost) => Err(not_known(lost)),
                None => outcome.map_err(Error::from),
            };
            // A proposer that gave up waiting does not undo the command.
            let _ = answer.send(outcome);
        }
    }

    /// Takes back what was applied, closes the ledger, and answers everybody.
    async fn end(self, mut waiting: mpsc::Receiver<Proposal>, batch: Batch, reason: String) {
        let batches = self.told.durable_batches();
        {
            let mut applied = self.catalog.write().expect("no holder of the catalog panics");
            applied.catalog.take_back(batch.undo);
            applied.batches = batches;
        }
        let (ledger, pool) = (self.ledger, self.env.pool.clone());
        env::run(&*pool, Work::Disk, move || drop(ledger)).await;
        // Those who wait learn it from the closed door, not from here:
        // whether their command will be there after a start is unknown.
        self.told.progress.set(Progress::Ended { batches, reason: reason.clone() });
        drop(batch.answers);
        // Those that only waited were never applied, and hear just that.
        waiting.close();
        while let Ok(Proposal { answer, .. }) = waiting.try_recv() {
            let _ = answer.send(Err(not_done(&reason)));
        }
    }
}

impl Told {
    fn lock(&self) -> std::sync::MutexGuard<'_, Looked> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) -> Looked {
        self.lock().clone()
    }

    fn note_busy(&self, is_busy: bool) {
        let since = is_busy.then(Instant::now);
        *self.busy_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn durable_batches(&self) -> u64 {
        self.progress.published().look(|progress| match progress {
            Progress::Durable(batches) | Progress::Ended { batches, .. } => *batches,
        })
    }
}

/// Applies proposals, as many as may be applied in one go.
fn apply_some(
    catalog: &RwLock<Applied>,
    proposals: &mut impl Iterator<Item = Proposal>,
    batch: &mut Batch,
) {
    let Batch { changes, undo, answers, batches } = batch;
    let mut applied = catalog.write().expect("no holder of the catalog panics");
    let rows_before = changes.len();
    let answers_before = answers.len();
    while changes.len() < rows_before + limit(ROWS_PER_STEP_MAX, 2)
        && let Some(Proposal { command, answer }) = proposals.next()
    {
        let before = changes.len();
        let outcome = applied.catalog.apply_undoable(&command, changes, undo);
        if is_planted(Mutant::ResurrectDeleted) && is_removal(&command) {
            let goes =
                |row: &Change| matches!(row, Change::DeleteFile(_) | Change::DeleteStripe(_));
            let kept: Vec<_> = changes.drain(before..).filter(|row| !goes(row)).collect();
            changes.extend(kept);
        }
        answers.push((answer, outcome));
    }
    applied.batches += u64::from(answers.len() > answers_before);
    *batches = applied.batches;
}

fn is_removal(command: &Command) -> bool {
    match command {
        Command::RemoveFiles { .. } => true,
        Command::Requested { command, .. } => is_removal(command),
        _ => false,
    }
}
