//! A coordinator that stood still (a suspended machine, `SIGSTOP`, a starved
//! CPU) heard nobody meanwhile. That is no news of the nodes: without care it
//! would wake up, find all of them silent, and begin to rebuild what they hold.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::role::Coordinator;

/// How often it is looked whether time passed as it should.
const TICK: Duration = Duration::from_secs(1);
/// What a tick may be late on a busy machine.
const LATE_MAX: Duration = Duration::from_secs(2);

impl Coordinator {
    /// Takes the coordinator's own standstills off the nodes' accounts, for
    /// as long as it runs.
    pub(super) async fn watch_for_stalls(self: Arc<Self>) {
        loop {
            let before = Instant::now();
            sleep(TICK).await;
            let late = before.elapsed().saturating_sub(TICK);
            if late > LATE_MAX {
                tracing::warn!("stood still for {late:?}; the nodes get as much time to be heard");
                let late_ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
                let now_ms = self.now_ms();
                self.state().members.excuse(late_ms, now_ms);
            }
        }
    }
}
