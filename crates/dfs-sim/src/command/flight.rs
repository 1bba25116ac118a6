//! Many files at once, within one bound on memory.

use std::sync::Arc;

use dfs_core::client::window::FRAMES_BYTES_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What all files in flight together may hold, in MiB. One large file takes
/// three quarters of it, so that small ones still pass.
const BUDGET_MIB: u32 = (FRAMES_BYTES_MAX >> 20) as u32 * 4 / 3;

/// The memory that files in flight share.
#[derive(Clone)]
pub(super) struct Budget(Arc<Semaphore>);

impl Budget {
    /// All of it free.
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET_MIB as usize)))
    }

    /// Waits for the room that a file of `size` bytes needs.
    pub(super) async fn room_for(&self, size: u64) -> OwnedSemaphorePermit {
        let acquired = self.0.clone().acquire_many_owned(mib_held(size)).await;
        acquired.expect("the budget is never closed")
    }
}

/// What the client holds of a file: its stored and raw frames and their
/// parity, up to its own bound.
fn mib_held(size: u64) -> u32 {
    let held = size.saturating_mul(3).min(FRAMES_BYTES_MAX);
    u32::try_from(held >> 20).map_or(BUDGET_MIB, |mib| mib + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_large_file_passes_and_two_wait_for_each_other() {
        assert_eq!(mib_held(0), 1);
        assert!(mib_held(u64::MAX) <= BUDGET_MIB);
        assert!(2 * mib_held(u64::MAX) > BUDGET_MIB);
        const { assert!(BUDGET_MIB <= 128) };
    }
}
