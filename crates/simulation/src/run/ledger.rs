//! The coordinator's ledger is taken away from under it while it runs, as when
//! its folder is moved, removed or unmounted, or it is written over. It comes
//! back, or the operator has the catalog written to another folder and starts
//! the coordinator there.

use std::time::Duration;

use dfs_core::ledger::LEDGER_FILE;

use super::state::Run;
use crate::cluster::COORDINATOR;
use crate::disk::TakenAway;
use crate::rng::Rng;
use crate::trace;

/// How long the catalog may take to be written.
const RESCUE_TIME_MAX: Duration = Duration::from_secs(60);

/// A ledger keeps this part of its volume in reserve.
const RESERVE_PART: u64 = 64;
/// The least and the most that it keeps.
const RESERVE_BYTES: (u64, u64) = (1 << 20, 16 << 20);
/// How long the room on the coordinator's disk must be less than half of the
/// reserve before the coordinator must know it: it looks once a heartbeat.
const FULL_KNOWN_MS: u64 = 15_000;

/// A ledger that no start would find.
#[derive(Debug)]
pub(super) struct LostLedger {
    how: Lost,
    since_ms: u64,
}

/// How a ledger was lost, and what brings it back.
#[derive(Debug)]
enum Lost {
    /// It is gone from its path.
    TakenAway(TakenAway),
    /// Other bytes stand in the same file; these stood there before.
    WrittenOver(Vec<u8>),
}

impl Run<'_> {
    /// Takes the ledger away for `lasts`, or writes over it, and brings it back
    /// or rescues it.
    pub(super) async fn lose_ledger(&self, number: usize, lasts: Duration) {
        let disk = self.world.host(COORDINATOR).disk().clone();
        // Another fault may have taken it already.
        if self.lost_ledger.borrow().is_some() {
            return self.world.pass(lasts).await;
        }
        let mut rng = Rng::derive(self.world.seed(), &format!("way to lose the ledger {number}"));
        let how = match rng.chance(1, 2) {
            true => disk.take_away(LEDGER_FILE).map(Lost::TakenAway),
            false => disk.read_file(LEDGER_FILE).map(|bytes| {
                disk.write_over(LEDGER_FILE, &vec![0; bytes.len()]);
                Lost::WrittenOver(bytes)
            }),
        };
        let Some(how) = how else { return self.world.pass(lasts).await };
        let since_ms = trace::elapsed_ms();
        *self.lost_ledger.borrow_mut() = Some(LostLedger { how, since_ms });
        self.world.pass(lasts / 2).await;
        let mut rng = Rng::derive(self.world.seed(), &format!("ledger and start {number}"));
        if rng.chance(1, 2) {
            // The next start finds an empty folder, and must not begin anew.
            self.world.host(COORDINATOR).kill();
        }
        self.world.pass(lasts - lasts / 2).await;
        let mut rng = Rng::derive(self.world.seed(), &format!("ledger {number}"));
        if rng.chance(1, 2) && self.rescue(number).await {
            *self.lost_ledger.borrow_mut() = None;
        } else {
            self.put_ledger_back();
        }
    }

    /// Puts the ledger's file back as it was, where it was lost.
    pub(super) fn put_ledger_back(&self) {
        let host = self.world.host(COORDINATOR);
        match self.lost_ledger.borrow_mut().take().map(|lost| lost.how) {
            None => {}
            Some(Lost::TakenAway(taken)) => host.disk().put_back(LEDGER_FILE, taken),
            Some(Lost::WrittenOver(bytes)) => {
                // A process that had it open writes nothing into it any more.
                host.kill();
                host.disk().write_over(LEDGER_FILE, &bytes);
            }
        }
    }

    /// Since when the ledger is gone, where it is.
    pub(super) fn ledger_lost_since_ms(&self) -> Option<u64> {
        self.lost_ledger.borrow().as_ref().map(|lost| lost.since_ms)
    }

    /// A change that was asked for while the ledger was gone, since
    /// `lost_since_ms`, was acknowledged.
    pub(super) fn check_ledger_there(&self, what: &str, lost_since_ms: Option<u64>) {
        if lost_since_ms.is_some() && lost_since_ms == self.ledger_lost_since_ms() {
            self.violates(
                "I1",
                format!("{what} was acknowledged, and no start would find the ledger"),
            );
        }
    }

    /// Looks at the room on the coordinator's disk.
    pub(super) fn see_ledger_room(&self) {
        let host = self.world.host(COORDINATOR);
        let (least, most) = RESERVE_BYTES;
        let reserve = (host.disk().capacity() / RESERVE_PART).clamp(least, most);
        // One that does not run looks at nothing.
        let runs = host.is_up() && !host.is_paused();
        let is_full = runs && host.disk().free() < reserve / 2;
        let mut since_ms = self.ledger_full_since_ms.borrow_mut();
        *since_ms = is_full.then(|| since_ms.unwrap_or_else(trace::elapsed_ms));
    }

    /// Since when the coordinator must know that its disk is full, where it is.
    pub(super) fn known_full_since_ms(&self) -> Option<u64> {
        // It may have room again since the last look.
        self.see_ledger_room();
        let since_ms = *self.ledger_full_since_ms.borrow();
        since_ms.filter(|since_ms| trace::elapsed_ms() > since_ms + FULL_KNOWN_MS)
    }

    /// I10: a put that began while the coordinator had to know that its disk
    /// is full, since `full_since_ms`, was acknowledged: removals may not find
    /// the room that is kept for them.
    pub(super) fn check_ledger_room(&self, what: &str, full_since_ms: Option<u64>) {
        if full_since_ms.is_some() && full_since_ms == self.known_full_since_ms() {
            let text = format!("{what} was stored, and the coordinator's disk is full");
            self.violates("I10", text);
        }
    }

    /// Has the catalog written elsewhere, and puts that in the coordinator's
    /// folder. False when the coordinator does not answer.
    async fn rescue(&self, number: usize) -> bool {
        let Some(coordinator) = self.coordinator() else { return false };
        let folder = format!("/rescued-{number}");
        let rescue = tokio::time::timeout(RESCUE_TIME_MAX, coordinator.rescue(folder.clone()));
        let rescued = match rescue.await {
            Ok(Ok(rescued)) => rescued,
            Ok(Err(error)) => {
                self.tell("node", format!("the catalog is not rescued: {error}"));
                return false;
            }
            Err(_) => return false,
        };
        let host = self.world.host(COORDINATOR);
        host.kill();
        host.disk().copy_from(&host.disk().folder(&folder));
        self.tell("node", format!("the catalog of {} files is rescued", rescued.files));
        true
    }
}
