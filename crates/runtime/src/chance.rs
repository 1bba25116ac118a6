//! The operating system's random bytes and its time of day.

use dfs_core::env::{Random, WallClock};

/// Random bytes of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system has random bytes once it has started");
    }
}

/// The time of day of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemWallClock;

impl WallClock for SystemWallClock {
    #[allow(clippy::disallowed_methods, reason = "this is the seam that the others use")]
    fn now_ms(&self) -> u64 {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // A clock before 1970 shows as 1970: it decides nothing.
        since_1970.map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX))
    }
}
