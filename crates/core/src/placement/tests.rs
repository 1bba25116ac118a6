//! What placements keep, whatever they are asked for.

mod choice;
mod order;
mod property;
mod sentence;

use std::collections::BTreeSet;

use super::*;
use crate::policy::{CHUNK_SIZE_DEFAULT, Compression, ParitySpec};

pub(super) const GIB: u64 = 1 << 30;

pub(super) fn spec(replication: u8, parity: &str) -> PolicySpec {
    PolicySpec {
        replication,
        parity: parity.parse::<ParitySpec>().expect("a parity"),
        compression: Compression::Lz4,
        chunk_size: CHUNK_SIZE_DEFAULT,
    }
}

pub(super) fn policy(replication: u8, parity: &str, nodes: usize) -> Policy {
    spec(replication, parity).resolve(nodes).expect("a policy")
}

/// Members n1, n2 and so on, equal and there.
pub(super) fn members(count: u16) -> Vec<Candidate> {
    (1..=count)
        .map(|number| Candidate {
            index: NodeIndex(number),
            id: NodeId::new(format!("n{number}")).expect("an id"),
            zone: None,
            capacity: 100 * GIB,
            free: 100 * GIB,
            is_writable: true,
            note: None,
        })
        .collect()
}

pub(super) fn lose(candidates: &mut [Candidate], numbers: &[u16]) {
    for candidate in candidates.iter_mut().filter(|c| numbers.contains(&c.index.0)) {
        candidate.is_writable = false;
        candidate.note = Some("offline for 3m".to_owned());
    }
}

/// A request as most are; tests change what they are about.
pub(super) struct Wish<'a> {
    pub(super) strategy: PlacementStrategy,
    pub(super) candidates: &'a [Candidate],
    pub(super) policy: Policy,
    pub(super) data: u8,
    pub(super) key: u64,
    pub(super) chunk_bytes: u64,
    pub(super) excluded: BTreeSet<NodeIndex>,
    pub(super) allow_unsafe: bool,
    pub(super) is_strict: bool,
}

impl<'a> Wish<'a> {
    pub(super) fn new(candidates: &'a [Candidate], policy: Policy) -> Self {
        Self {
            strategy: PlacementStrategy::RoundRobin,
            candidates,
            policy,
            data: policy.coding.data,
            key: 0,
            chunk_bytes: 1 << 20,
            excluded: BTreeSet::new(),
            allow_unsafe: false,
            is_strict: false,
        }
    }

    pub(super) fn shape(&self) -> StripeShape {
        StripeShape { coding: self.policy.coding, data: self.data }
    }

    pub(super) fn choose(&self) -> Result<Layout, PlacementError> {
        choose(&PlacementRequest {
            strategy: self.strategy,
            candidates: self.candidates,
            policy: &self.policy,
            shape: self.shape(),
            key: self.key,
            chunk_bytes: self.chunk_bytes,
            excluded: &self.excluded,
            allow_unsafe: self.allow_unsafe,
            is_strict: self.is_strict,
        })
    }

    pub(super) fn refusal(&self) -> String {
        match self.choose() {
            Err(PlacementError::TooFewNodes(text)) => text,
            other => panic!("expected too few nodes, got {other:?}"),
        }
    }
}

pub(super) fn numbers(copies: &[Vec<NodeIndex>]) -> Vec<Vec<u16>> {
    copies.iter().map(|nodes| nodes.iter().map(|node| node.0).collect()).collect()
}
