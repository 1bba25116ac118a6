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
    /// Nodes that may hold copies have not told yet.
    Unknown,
    /// Not readable now; enough copies are on nodes that are away.
    Unreachable,
    /// Not to be rebuilt from any copy that exists.
    Lost,
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
        None if may_come_back(stripe, view) => Condition::Unreachable,
        None => Condition::Lost,
        Some(spares) if missing == 0 && spares >= policy.promised_losses() => Condition::Full,
        Some(0) => Condition::AtRisk,
        Some(_) => Condition::Degraded,
    };
    let count = |copies: usize| u32::try_from(copies).unwrap_or(u32::MAX);
    Assessment { condition, spares, copies_missing: count(missing), copies_unknown: count(unknown) }
}

/// True when a stripe can be read again once every node that is away is back.
fn may_come_back(stripe: &StripeRecord, view: &View<'_>) -> bool {
    let chunk = |(slot, chunk): (usize, &crate::catalog::ChunkRecord)| {
        let handle = stripe.handle(slot);
        let nodes = chunk.copies.iter().copied();
        let named: Vec<_> = nodes.filter(|node| view.may_exist(*node, handle)).collect();
        match named.is_empty() {
            true => view.unnamed_anywhere(handle).into_iter().collect(),
            false => named,
        }
    };
    let existing: Vec<Vec<NodeIndex>> = stripe.chunks.iter().enumerate().map(chunk).collect();
    tolerance(stripe.shape, &existing).is_some()
}

impl StripeHealth {
    /// All stripes.
    #[must_use]
    pub fn stripes(&self) -> u64 {
        self.lacking() + self.full
    }

    /// Stripes that are not full, or not known to be.
    #[must_use]
    pub fn lacking(&self) -> u64 {
        self.degraded + self.at_risk + self.unreachable + self.unknown + self.lost
    }

    /// Counts one more stripe.
    pub fn count(&mut self, condition: Condition) {
        *match condition {
            Condition::Full => &mut self.full,
            Condition::Degraded => &mut self.degraded,
            Condition::AtRisk => &mut self.at_risk,
            Condition::Unreachable => &mut self.unreachable,
            Condition::Lost => &mut self.lost,
            Condition::Unknown => &mut self.unknown,
        } += 1;
    }
}
