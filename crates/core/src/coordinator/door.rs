//! The one door of the catalog: commands go in, and are durable before they
//! are acknowledged.
//!
//! One task takes all commands that wait, applies them in order, writes the
//! rows that they changed in one transaction, and answers them together
//! (group commit). Readers see a command's effect as soon as it is applied,
//! so a reader's answer waits until what it saw is durable too: nothing that
//! a power cut can take back is ever told.
//!
//! When a commit fails, what was applied is ahead of what is durable, and
//! the door closes for good: no reads, no writes, until the process starts
//! anew from the ledger.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::survey::SLICE_PAUSE;
use crate::api::{Error, Kind, Result};
use crate::catalog::{Catalog, Change, Command, Outcome, Refusal};
use crate::env::{self, Env, HardPlace, Published, Publisher, Work};
use crate::ledger::Ledger;
use crate::limit::limit;
use crate::mark::{Mark, reached};
use crate::mutant::{Mutant, is_planted};

/// The most commands in one transaction.
const BATCH_COMMANDS_MAX: usize = 1024;
/// Rows after which others get at the catalog while a batch is applied.
const ROWS_PER_STEP_MAX: usize = 4096;
/// The most commands that wait; beyond it, proposers wait.
const QUEUE_COMMANDS_MAX: usize = 4096;

/// How long a commit may be delayed in a world that is hard there.
const COMMIT_DELAY_MAX_MS: u64 = 500;

/// What relaxed durability left behind is made durable when nothing came for
/// this long.
const RELAXED_SYNC_AFTER: Duration = Duration::from_secs(1);

/// Where commands go in and the catalog is read.
pub(crate) struct Door {
    catalog: Arc<RwLock<Applied>>,
    queue: mpsc::Sender<Proposal>,
    durable: Published<Durable>,
    /// The ledger's last durable commit.
    position: Arc<AtomicU64>,
}

/// The catalog and how many batches it holds.
struct Applied {
    catalog: Catalog,
    batches: u64,
}

/// A state of the catalog that was looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looked {
    batches: u64,
}

/// How far the ledger is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Durable {
    /// This many batches are durable.
    Batches(u64),
    /// A commit failed; why.
    Failed(String),
}

/// How others learn how far the ledger is.
struct Told {
    progress: Publisher<Durable>,
    position: Arc<AtomicU64>,
}

/// Who proposed, and what came of it.
type Answer = (oneshot::Sender<Result<Outcome>>, std::result::Result<Outcome, Refusal>);

struct Proposal {
    command: Command,
    answer: oneshot::Sender<Result<Outcome>>,
}

impl Door {
    /// Opens the door onto `catalog`, whose durable side is `ledger`.
    pub(crate) fn open(env: &Env, ledger: Ledger, catalog: Catalog) -> Self {
        let catalog = Arc::new(RwLock::new(Applied { catalog, batches: 0 }));
        let is_small = env.is_hard(HardPlace::SmallQueues);
        let (queue, waiting) = mpsc::channel(if is_small { 1 } else { QUEUE_COMMANDS_MAX });
        let progress = Publisher::new(Durable::Batches(0));
        let durable = progress.published();
        let position = Arc::new(AtomicU64::new(ledger.durable_position()));
        let told = Told { progress, position: position.clone() };
        env.spawn(commit_batches(env.clone(), ledger, catalog.clone(), waiting, told));
        Self { catalog, queue, durable, position }
    }

    /// The ledger's last durable commit.
    pub(crate) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Proposes a command; returns once it is durable.
    ///
    /// # Errors
    /// The catalog's refusal. When the door is closed: `Unavailable`, and the
    /// command was not executed; `NotKnown`, when it was applied and its
    /// commit failed: the next start may find it in the ledger or not.
    pub(crate) async fn submit(&self, command: Command) -> Result<Outcome> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Proposal { command, answer }).await.map_err(|_| self.closed())?;
        // Only the commands of a commit that failed are dropped without an answer.
        answered.await.map_err(|_| self.not_known())?
    }

    /// Reads the catalog; returns once what was read is durable.
    ///
    /// # Errors
    /// `Unavailable` when the door is closed.
    pub(crate) async fn read<T>(&self, look: impl FnOnce(&Catalog) -> T) -> Result<T> {
        let (seen, state) = self.look(look);
        self.settle(state).await?;
        Ok(seen)
    }

    /// Reads the catalog, a part of a longer read perhaps. What was read may
    /// be told once the state that it was read from is settled, or a later
    /// one.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Catalog) -> T) -> (T, Looked) {
        let applied = self.catalog.read().expect("no holder of the catalog panics");
        (look(&applied.catalog), Looked { batches: applied.batches })
    }

    /// Returns once a state is durable.
    ///
    /// # Errors
    /// `Unavailable` when the door is closed.
    pub(crate) async fn settle(&self, state: Looked) -> Result<()> {
        if is_planted(Mutant::ReadUndurable) {
            return Ok(());
        }
        self.wait_durable(state.batches).await
    }

    /// Reads the catalog for a decision of the coordinator's own, which tells
    /// nobody anything before a command of its own is durable.
    pub(crate) fn peek<T>(&self, look: impl FnOnce(&Catalog) -> T) -> T {
        look(&self.catalog.read().expect("no holder of the catalog panics").catalog)
    }

    /// How many batches of commands were applied: the catalog is the same for
    /// as long as this is.
    pub(crate) fn batches(&self) -> u64 {
        self.catalog.read().expect("no holder of the catalog panics").batches
    }

    /// Returns when the door has closed, with the reason.
    pub(crate) async fn failed(&self) -> String {
        let reason = |durable: &Durable| match durable {
            Durable::Failed(reason) => Some(reason.clone()),
            Durable::Batches(_) => None,
        };
        let failed = self.durable.until(reason).await;
        failed.unwrap_or_else(|_| "the catalog's writer is gone".to_owned())
    }

    async fn wait_durable(&self, batches: u64) -> Result<()> {
        let is_durable = |durable: &Durable| match durable {
            Durable::Batches(done) => (*done >= batches).then_some(true),
            Durable::Failed(_) => Some(false),
        };
        match self.durable.until(is_durable).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(self.closed()),
        }
    }

    fn closed(&self) -> Error {
        not_done(&self.reason())
    }

    fn not_known(&self) -> Error {
        let reason = self.reason();
        let text = format!("the change was under way when the catalog's commit failed: {reason}");
        Error::new(Kind::NotKnown, text)
    }

    fn reason(&self) -> String {
        self.durable.look(|durable| match durable {
            Durable::Failed(reason) => reason.clone(),
            Durable::Batches(_) => "it is stopping".to_owned(),
        })
    }
}

/// A command that was not applied, and never will be.
fn not_done(reason: &str) -> Error {
    let text = format!("the coordinator's catalog takes nothing any more: {reason}");
    Error::new(Kind::Unavailable, text)
}

/// Applies proposals, as many as shall be in one go; the number of batches
/// after that.
fn apply_some(
    catalog: &RwLock<Applied>,
    proposals: &mut impl Iterator<Item = Proposal>,
    changes: &mut Vec<Change>,
    answers: &mut Vec<Answer>,
) -> u64 {
    let mut applied = catalog.write().expect("no holder of the catalog panics");
    let rows_before = changes.len();
    let answers_before = answers.len();
    while changes.len() < rows_before + limit(ROWS_PER_STEP_MAX, 2)
        && let Some(Proposal { command, answer }) = proposals.next()
    {
        let before = changes.len();
        let outcome = applied.catalog.apply(&command, changes);
        if is_planted(Mutant::ResurrectDeleted) && is_removal(&command) {
            let goes =
                |row: &Change| matches!(row, Change::DeleteFile(_) | Change::DeleteStripe(_));
            let kept: Vec<_> = changes.drain(before..).filter(|row| !goes(row)).collect();
            changes.extend(kept);
        }
        answers.push((answer, outcome));
    }
    applied.batches += u64::from(answers.len() > answers_before);
    applied.batches
}

fn is_removal(command: &Command) -> bool {
    match command {
        Command::RemoveFiles { .. } => true,
        Command::Requested { command, .. } => is_removal(command),
        _ => false,
    }
}

/// The writer: one batch after the other, until the queue is gone or a
/// commit failed.
async fn commit_batches(
    env: Env,
    mut ledger: Ledger,
    catalog: Arc<RwLock<Applied>>,
    mut waiting: mpsc::Receiver<Proposal>,
    told: Told,
) {
    let mut batch = Vec::new();
    let mut is_behind = false;
    loop {
        let is_alone = env.is_hard(HardPlace::CommitAlone);
        let batch_max = if is_alone { 1 } else { limit(BATCH_COMMANDS_MAX, 4) };
        let next = waiting.recv_many(&mut batch, batch_max);
        let is_idle = match timeout(RELAXED_SYNC_AFTER, next).await {
            Ok(0) => return,
            Ok(_) => false,
            Err(_) => true,
        };
        if is_idle && !is_behind {
            continue;
        }
        let mut changes = Vec::new();
        let mut answers = Vec::with_capacity(batch.len());
        let mut proposals = batch.drain(..).peekable();
        let mut batches = 0;
        while is_idle || proposals.peek().is_some() {
            // Who sees only a part of the commands waits for all of them, as
            // the ledger gets them in one transaction.
            if batches > 0 {
                reached(Mark::DoorSecondStep);
            }
            let rows = changes.len();
            batches = apply_some(&catalog, &mut proposals, &mut changes, &mut answers);
            if rows > 0 && is_planted(Mutant::BatchLosesRows) {
                changes.truncate(rows);
            }
            if proposals.peek().is_none() {
                break;
            }
            tokio::time::sleep(SLICE_PAUSE).await;
        }
        drop(proposals);
        if env.is_hard(HardPlace::DelayCommit) {
            let delay_ms = env.random.next_u64() % COMMIT_DELAY_MAX_MS;
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
        if is_planted(Mutant::AcknowledgeEarly) {
            for (answer, outcome) in answers.drain(..) {
                let _ = answer.send(outcome.map_err(Error::from));
            }
            // What acknowledges early has its commit still to do.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        is_behind = !is_idle && (is_behind || !changes.is_empty());
        let (returned, committed) = if changes.is_empty() && !is_idle {
            (ledger, Ok(()))
        } else {
            env::run(&*env.pool, Work::Disk, move || {
                // Only relaxed durability leaves something for an idle moment.
                let committed = if is_idle { ledger.sync() } else { ledger.commit(&changes) };
                (ledger, committed)
            })
            .await
        };
        ledger = returned;
        if let Err(error) = committed {
            tracing::error!(%error, "the catalog could not be made durable");
            // Those who wait learn it from the closed door, not from here:
            // whether their command will be there after a start is unknown.
            reached(Mark::LedgerFailed);
            let reason = error.to_string();
            told.progress.set(Durable::Failed(reason.clone()));
            // Those that only waited were never applied, and hear just that.
            waiting.close();
            while let Ok(Proposal { answer, .. }) = waiting.try_recv() {
                let _ = answer.send(Err(not_done(&reason)));
            }
            return;
        }
        told.position.store(ledger.durable_position(), Ordering::Relaxed);
        told.progress.set(Durable::Batches(batches));
        for (answer, outcome) in answers {
            // A proposer that gave up waiting does not undo the command.
            let _ = answer.send(outcome.map_err(Error::from));
        }
    }
}
