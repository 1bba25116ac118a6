//! The one door of the catalog: commands go in, and are durable before they
//! are acknowledged.
//!
//! The writer behind it ([`Writer`]) commits many commands together. Readers
//! see a command's effect as soon as it is applied, so a reader's answer waits
//! until what it saw is durable too: nothing that a power cut can take back is
//! ever told.
//!
//! When a commit fails, the writer takes its batch back and ends. The door
//! then takes no command any more; readers go on with what is durable. The
//! process opens the ledger again, with a new door.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::writer::{Applied, Progress, Proposal, Told, Writer, not_done, not_known};
use crate::api::{Error, Kind, Result};
use crate::catalog::{Catalog, Command, Outcome};
use crate::env::{Env, HardPlace, Place, Published, Publisher};
use crate::ledger::{Ledger, Looked};
use crate::mutant::{Mutant, is_planted};

/// The most commands that wait; beyond it, proposers wait.
const QUEUE_COMMANDS_MAX: usize = 4096;
/// The time that a client's read waits until the state that it saw is durable.
/// Clients wait longer for an answer, so they receive the reason.
const READ_WAIT_MAX: Duration = Duration::from_secs(4);
/// A call to the disk that takes longer than this is reported.
const SLOW_AFTER: Duration = Duration::from_secs(3);
/// The report about such a call.
const SLOW_DISK: &str = "the disk of the coordinator's catalog does not finish a commit";

/// Where commands go in and the catalog is read.
pub(crate) struct Door {
    catalog: Arc<RwLock<Applied>>,
    queue: mpsc::Sender<Proposal>,
    progress: Published<Progress>,
    /// The ledger's last durable commit.
    position: Arc<AtomicU64>,
    /// What the writer found at its last look at the ledger.
    looked: Arc<Mutex<Looked>>,
    /// The start of the writer's running call to the disk.
    busy_since: Arc<Mutex<Option<Instant>>>,
    /// The place of the ledger's file.
    place: Option<Place>,
}

/// A state of the catalog that was looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    batches: u64,
}

impl Door {
    /// Opens the door onto `catalog`, whose durable side is `ledger`. `looked`
    /// is what its first look found.
    pub(crate) fn open(env: &Env, ledger: Ledger, looked: Looked, catalog: Catalog) -> Self {
        let catalog = Arc::new(RwLock::new(Applied { catalog, batches: 0 }));
        let is_small = env.is_hard(HardPlace::SmallQueues);
        let (queue, waiting) = mpsc::channel(if is_small { 1 } else { QUEUE_COMMANDS_MAX });
        let publisher = Publisher::new(Progress::Durable(0));
        let progress = publisher.published();
        let position = Arc::new(AtomicU64::new(ledger.durable_position()));
        let looked = Arc::new(Mutex::new(looked));
        let place = ledger.place();
        let busy_since = Arc::default();
        let told = Told {
            progress: publisher,
            position: position.clone(),
            looked: looked.clone(),
            busy_since: Arc::clone(&busy_since),
        };
        let writer = Writer { env: env.clone(), ledger, catalog: catalog.clone(), told };
        env.spawn(writer.run(waiting));
        Self { catalog, queue, progress, position, looked, busy_since, place }
    }

    /// The ledger's last durable commit.
    pub(crate) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Proposes a command; returns once it is durable.
    ///
    /// # Errors
    /// The catalog's refusal. `NoSpace` when it would grow a ledger whose disk
    /// is full. `Unavailable` when the door is closed or the ledger's file is
    /// gone; in all these cases the command was not executed. `NotKnown` when
    /// it was applied and its commit failed: the next start may find it in the
    /// ledger or not.
    pub(crate) async fn submit(&self, command: Command) -> Result<Outcome> {
        let (answer, answered) = oneshot::channel();
        self.queue
            .send(Proposal { command, answer })
            .await
            .map_err(|_| not_done(&self.reason()))?;
        // Only the commands of a commit that failed are dropped without an answer.
        answered.await.map_err(|_| not_known(&self.reason()))?
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
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Catalog) -> T) -> (T, Seen) {
        let applied = self.catalog.read().expect("no holder of the catalog panics");
        (look(&applied.catalog), Seen { batches: applied.batches })
    }

    /// Returns once a state is durable.
    ///
    /// # Errors
    /// `Unavailable` when the door is closed.
    pub(crate) async fn settle(&self, state: Seen) -> Result<()> {
        if is_planted(Mutant::ReadUndurable) {
            return Ok(());
        }
        self.wait_durable(state.batches).await
    }

    /// Reads for a client like [`Self::read`], with a time limit.
    ///
    /// # Errors
    /// As [`Self::settle_soon`].
    pub(crate) async fn read_soon<T>(&self, look: impl FnOnce(&Catalog) -> T) -> Result<T> {
        let (seen, state) = self.look(look);
        self.settle_soon(state).await?;
        Ok(seen)
    }

    /// Waits for a client like [`Self::settle`], with a time limit.
    ///
    /// # Errors
    /// `Unavailable` when the door is closed, and when the disk does not
    /// finish a commit within [`READ_WAIT_MAX`].
    pub(crate) async fn settle_soon(&self, state: Seen) -> Result<()> {
        timeout(READ_WAIT_MAX, self.settle(state)).await.unwrap_or_else(|_| {
            let text = format!("{SLOW_DISK}: what was read may be taken back, so nothing is told");
            Err(Error::new(Kind::Unavailable, text))
        })
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
    pub(crate) async fn ended(&self) -> String {
        let reason = |progress: &Progress| match progress {
            Progress::Ended { reason, .. } => Some(reason.clone()),
            Progress::Durable(_) => None,
        };
        let ended = self.progress.until(reason).await;
        ended.unwrap_or_else(|_| "the catalog's writer is gone".to_owned())
    }

    /// Why the door has closed, where it has.
    pub(crate) fn why_closed(&self) -> Option<String> {
        self.progress.look(|progress| match progress {
            Progress::Ended { reason, .. } => Some(reason.clone()),
            Progress::Durable(_) => None,
        })
    }

    /// Why the ledger's open file is not the one at its path any more, where
    /// that is so.
    pub(crate) fn why_lost(&self) -> Option<String> {
        self.looked().lost
    }

    /// True while commands can become durable where a start finds them.
    pub(crate) fn stands(&self) -> bool {
        self.why_lost().is_none() && self.why_closed().is_none()
    }

    /// Why the catalog may not grow, where that is so.
    pub(crate) fn why_full(&self) -> Option<String> {
        self.looked().full
    }

    /// Refuses what would make the catalog grow, before any work is done for
    /// it.
    ///
    /// # Errors
    /// `NoSpace`.
    pub(crate) fn check_room(&self) -> Result<()> {
        match self.why_full() {
            Some(full) if !is_planted(Mutant::AppliesBeforeReserve) => {
                Err(Error::new(Kind::NoSpace, full))
            }
            _ => Ok(()),
        }
    }

    /// The place of the ledger's file; `None` where the disk cannot tell.
    pub(crate) fn place(&self) -> Option<Place> {
        self.place
    }

    /// Notes what the process found when it looked at the ledger of a writer
    /// that has ended.
    pub(crate) fn note_lost(&self, lost: Option<String>) {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner).lost = lost;
    }

    fn looked(&self) -> Looked {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn wait_durable(&self, seen: u64) -> Result<()> {
        let is_durable = |progress: &Progress| match progress {
            Progress::Durable(batches) => (*batches >= seen).then_some(true),
            // What was seen above that was taken back.
            Progress::Ended { batches, .. } => Some(*batches >= seen),
        };
        match self.progress.until(is_durable).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(not_done(&self.reason())),
        }
    }

    /// Waits a short time until every applied batch is durable. Returns a report
    /// when a call to the disk takes long.
    pub(crate) async fn why_slow(&self) -> Option<String> {
        let applied = self.batches();
        let is_caught_up = |progress: &Progress| match progress {
            Progress::Durable(batches) => (*batches >= applied).then_some(()),
            // The closed door has a reason of its own.
            Progress::Ended { .. } => Some(()),
        };
        // A report about a slow disk must not wait for that disk.
        let _ = timeout(SLOW_AFTER, self.progress.until(is_caught_up)).await;
        let busy_since = *self.busy_since.lock().unwrap_or_else(PoisonError::into_inner);
        let busy_for = busy_since.map(|since| since.elapsed()).filter(|time| *time >= SLOW_AFTER);
        busy_for.map(|time| {
            let seconds = time.as_secs();
            format!(
                "{SLOW_DISK} (for {seconds} s): changes wait for it, reads too. Look at that disk"
            )
        })
    }

    fn reason(&self) -> String {
        self.why_closed().unwrap_or_else(|| "it is stopping".to_owned())
    }
}
