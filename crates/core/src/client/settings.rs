//! What an operator may set on a client.

use std::time::Duration;

/// Patience. Memory has no setting: its bounds are in [`super::window`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    /// How long a call to the coordinator, or a chunk that no node hands out,
    /// is tried again before the whole fails.
    pub retry_for: Duration,
    /// How long one call to the coordinator may take before it counts as lost,
    /// where `retry_for` leaves that much.
    pub call_within: Duration,
    /// How long a copy may take to its first frame before the next source is
    /// asked as well.
    pub hedge_after: Duration,
    /// How long a stream may stand still before its node counts as failed.
    pub stall_after: Duration,
    /// How long a write may stand still before another node is asked to take
    /// the copy, and the copy is given up where the stripe can do without it.
    pub write_stall_after: Duration,
    /// How long a node may take to make a chunk durable after its last frame.
    pub seal_within: Duration,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            retry_for: Duration::from_secs(30),
            call_within: Duration::from_secs(10),
            hedge_after: Duration::from_millis(500),
            stall_after: Duration::from_secs(20),
            write_stall_after: Duration::from_secs(8),
            seal_within: Duration::from_secs(60),
        }
    }
}
