//! How one stripe is.

use super::{Standing, StripeHealth, View};
use crate::catalog::StripeRecord;
use crate::id::NodeIndex;
use crate::placement::tolerance;
use crate::policy::Policy;
use crate::presence::CopyState;

/// How a stripe is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Every copy is there, and the layout keeps the policy's promise.
    Full,
    /// Something is wanting, and any one more node may go.
    Degraded,
    /// Readable, and one more loss may lose data.
    AtRisk,
    /// Not readable now.
    Unavailable,
    /// Nodes that may hold copies have not told yet.
    Unknown,
}

/// How a stripe is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assessment {
    /// In a word.
    pub condition: Condition,
    /// How many more nodes may go; `None` when it cannot be read now.
    pub spares: Option<u8>,
    /// Copies that the policy names and that are not there.
    pub copies_missing: u32,
    /// Copies of which nothing is known yet.
    pub copies_unknown: u32,
}

/// Says how `stripe` is for readers, by the copies on nodes that are there.
#[must_use]
pub fn assess(stripe: &StripeRecord, policy: &Policy, view: &View<'_>) -> Assessment {
    let mut there: Vec<Vec<NodeIndex>> = Vec::with_capacity(stripe.chunks.len());
    let (mut missing, mut unknown) = (0, 0);
    for (slot, chunk) in stripe.chunks.iter().enumerate() {
        let handle = stripe.handle(slot);
        let mut held = Vec::with_capacity(chunk.copies.len());
        let mut untold = 0;
        for node in &chunk.copies {
            let standing = view.standing(*node);
            match (view.copy_state)(*node, handle) {
                CopyState::Held if standing.is_readable() => held.push(*node),
                CopyState::Unknown if standing.is_readable() => untold += 1,
                CopyState::Unknown | CopyState::Held if standing == Standing::Unknown => {
                    untold += 1;
                }
                _ => {}
            }
        }
        missing += policy.copies_of(stripe.shape, slot).saturating_sub(held.len() + untold);
        unknown += untold;
        there.push(held);
    }
    let spares = tolerance(stripe.shape, &there);
    let condition = match spares {
        _ if unknown > 0 => Condition::Unknown,
        None if view.is_readable_anyhow(stripe, &there) => Condition::AtRisk,
        None => Condition::Unavailable,
        Some(spares) if missing == 0 && spares >= policy.promised_losses() => Condition::Full,
        Some(0) => Condition::AtRisk,
        Some(_) => Condition::Degraded,
    };
    let count = |copies: usize| u32::try_from(copies).unwrap_or(u32::MAX);
    Assessment { condition, spares, copies_missing: count(missing), copies_unknown: count(unknown) }
}

impl StripeHealth {
    /// All stripes.
    #[must_use]
    pub fn stripes(&self) -> u64 {
        self.full + self.degraded + self.at_risk + self.unavailable + self.unknown
    }

    /// Counts one more stripe.
    pub fn count(&mut self, condition: Condition) {
        *match condition {
            Condition::Full => &mut self.full,
            Condition::Degraded => &mut self.degraded,
            Condition::AtRisk => &mut self.at_risk,
            Condition::Unavailable => &mut self.unavailable,
            Condition::Unknown => &mut self.unknown,
        } += 1;
    }
}
