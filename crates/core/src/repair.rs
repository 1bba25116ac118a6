//! What shall be rebuilt, from where, onto which node: a pure plan.

/// How many stripes are how well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StripeHealth {
    /// Every copy is there.
    pub full: u64,
    /// Copies are missing, and any one more node may go.
    pub degraded: u64,
    /// Readable, and one more loss may lose data.
    pub at_risk: u64,
    /// Not readable now: too much is on nodes that are not there.
    pub unavailable: u64,
    /// Not known yet: nodes have not told what they hold.
    pub unknown: u64,
}
