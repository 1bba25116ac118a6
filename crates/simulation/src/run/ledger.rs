//! The coordinator's ledger is taken away from under it while it runs, as when
//! its folder is moved, removed or unmounted. It comes back, or the operator
//! has the catalog written to another folder and starts the coordinator there.

use std::time::Duration;

use dfs_core::ledger::LEDGER_FILE;

use super::state::Run;
use crate::cluster::COORDINATOR;
use crate::disk::TakenAway;
use crate::rng::Rng;
use crate::trace;

/// How long the catalog may take to be written.
const RESCUE_TIME_MAX: Duration = Duration::from_secs(60);

/// A ledger that is gone from its path.
#[derive(Debug)]
pub(super) struct LostLedger {
    taken: TakenAway,
    since_ms: u64,
}

impl Run<'_> {
    /// Takes the ledger away for `lasts`, and brings it back or rescues it.
    pub(super) async fn lose_ledger(&self, number: usize, lasts: Duration) {
        let disk = self.world.host(COORDINATOR).disk().clone();
        // Another fault may have taken it already.
        let Some(taken) = disk.take_away(LEDGER_FILE) else {
            return self.world.pass(lasts).await;
        };
        let since_ms = trace::elapsed_ms();
        *self.lost_ledger.borrow_mut() = Some(LostLedger { taken, since_ms });
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

    /// Puts the ledger's file back at its path, where it was taken away.
    pub(super) fn put_ledger_back(&self) {
        if let Some(lost) = self.lost_ledger.borrow_mut().take() {
            self.world.host(COORDINATOR).disk().put_back(LEDGER_FILE, lost.taken);
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
