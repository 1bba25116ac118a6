//! Usage and status.

use dfs_core::api::{
    ClusterStatus, NodeStatus, Promise, Reason, ReasonKind, RepairStatus, Stored, StripeHealth,
    Unknown, Usage, Verdict, Word,
};
use dfs_core::id::{Handle, Run};
use dfs_core::verdict::REASONS_MAX;

use super::super::limit::NODES_MAX;
use super::super::wire;
use super::{
    BadMessage, Checked, address, bad, byte, cluster, id_bytes, list, need, node_id, text, wires,
    zone,
};

impl From<Usage> for wire::UsageReply {
    fn from(usage: Usage) -> Self {
        Self {
            files: usage.files,
            chunks: usage.chunks,
            logical_bytes: usage.logical_bytes,
            stored_bytes: usage.stored_bytes,
            raw_bytes: usage.raw_bytes,
        }
    }
}

impl TryFrom<wire::UsageReply> for Usage {
    type Error = BadMessage;

    fn try_from(wire: wire::UsageReply) -> Checked<Self> {
        Ok(Self {
            files: wire.files,
            chunks: wire.chunks,
            logical_bytes: wire.logical_bytes,
            stored_bytes: wire.stored_bytes,
            raw_bytes: wire.raw_bytes,
        })
    }
}

impl From<Promise> for wire::Promise {
    fn from(promise: Promise) -> Self {
        Self {
            nodes_lost_max: promise.nodes_lost_max.map(u32::from),
            zones_lost_max: promise.zones_lost_max.map(u32::from),
            sentence: promise.sentence,
        }
    }
}

impl TryFrom<wire::Promise> for Promise {
    type Error = BadMessage;

    fn try_from(wire: wire::Promise) -> Checked<Self> {
        let count = |field, value: Option<u32>| value.map(|it| byte(field, it)).transpose();
        Ok(Self {
            nodes_lost_max: count("promise.nodes_lost_max", wire.nodes_lost_max)?,
            zones_lost_max: count("promise.zones_lost_max", wire.zones_lost_max)?,
            sentence: text(wire.sentence),
        })
    }
}

impl From<Word> for wire::Word {
    fn from(word: Word) -> Self {
        match word {
            Word::AllWell => Self::AllWell,
            Word::Degraded => Self::Degraded,
            Word::NotKnownYet => Self::NotKnownYet,
            Word::AtRisk => Self::AtRisk,
            Word::Unreachable => Self::Unreachable,
            Word::Lost => Self::Lost,
        }
    }
}

impl TryFrom<wire::Word> for Word {
    type Error = BadMessage;

    fn try_from(wire: wire::Word) -> Checked<Self> {
        match wire {
            wire::Word::AllWell => Ok(Self::AllWell),
            wire::Word::Degraded => Ok(Self::Degraded),
            wire::Word::NotKnownYet => Ok(Self::NotKnownYet),
            wire::Word::AtRisk => Ok(Self::AtRisk),
            wire::Word::Unreachable => Ok(Self::Unreachable),
            wire::Word::Lost => Ok(Self::Lost),
            wire::Word::Unspecified => bad("verdict.word", "is not a known one"),
        }
    }
}

impl From<Reason> for wire::Reason {
    fn from(reason: Reason) -> Self {
        Self {
            kind: reason.kind.name().to_owned(),
            node: reason.node.map(|node| node.to_string()),
            count: reason.count,
            sentence: reason.sentence,
        }
    }
}

impl TryFrom<wire::Reason> for Reason {
    type Error = BadMessage;

    fn try_from(wire: wire::Reason) -> Checked<Self> {
        Ok(Self {
            kind: match ReasonKind::named(&wire.kind) {
                Some(kind) => kind,
                None => return bad("reason.kind", "is not a known one"),
            },
            node: wire.node.map(|it| node_id("reason.node", it)).transpose()?,
            count: wire.count,
            sentence: text(wire.sentence),
        })
    }
}

impl From<Verdict> for wire::Verdict {
    fn from(verdict: Verdict) -> Self {
        let word = wire::Word::from(verdict.word).into();
        Self { word, reasons: wires(verdict.reasons) }
    }
}

impl TryFrom<wire::Verdict> for Verdict {
    type Error = BadMessage;

    fn try_from(wire: wire::Verdict) -> Checked<Self> {
        Ok(Self {
            word: wire.word().try_into()?,
            reasons: list("reasons", wire.reasons, REASONS_MAX)?,
        })
    }
}

impl From<Stored> for wire::Stored {
    fn from(stored: Stored) -> Self {
        Self { spares_min: stored.spares_min, files: stored.files, sentence: stored.sentence }
    }
}

impl From<wire::Stored> for Stored {
    fn from(wire: wire::Stored) -> Self {
        Self { spares_min: wire.spares_min, files: wire.files, sentence: text(wire.sentence) }
    }
}

impl From<NodeStatus> for wire::NodeStatus {
    fn from(node: NodeStatus) -> Self {
        Self {
            id: node.id.to_string(),
            address: node.address,
            zone: node.zone,
            state: wire::NodeState::from(node.state).into(),
            heard_ms_ago: node.heard_ms_ago,
            space: Some(node.space.into()),
            chunks: node.chunks,
            quarantined: node.quarantined,
            version: node.version,
            trouble: node.trouble,
            is_slow: node.is_slow,
        }
    }
}

impl TryFrom<wire::NodeStatus> for NodeStatus {
    type Error = BadMessage;

    fn try_from(wire: wire::NodeStatus) -> Checked<Self> {
        Ok(Self {
            state: wire.state().try_into()?,
            id: node_id("node.id", wire.id)?,
            address: address("node.address", wire.address)?,
            zone: wire.zone.map(|it| zone("node.zone", it)).transpose()?,
            heard_ms_ago: wire.heard_ms_ago,
            space: need("node.space", wire.space)?,
            chunks: wire.chunks,
            quarantined: wire.quarantined,
            version: text(wire.version),
            trouble: wire.trouble.map(text),
            is_slow: wire.is_slow,
        })
    }
}

impl From<StripeHealth> for wire::StripeHealth {
    fn from(health: StripeHealth) -> Self {
        Self {
            full: health.full,
            degraded: health.degraded,
            at_risk: health.at_risk,
            unreachable: health.unreachable,
            unknown: health.unknown,
            lost: health.lost,
        }
    }
}

impl TryFrom<wire::StripeHealth> for StripeHealth {
    type Error = BadMessage;

    fn try_from(wire: wire::StripeHealth) -> Checked<Self> {
        Ok(Self {
            full: wire.full,
            degraded: wire.degraded,
            at_risk: wire.at_risk,
            unreachable: wire.unreachable,
            unknown: wire.unknown,
            lost: wire.lost,
        })
    }
}

impl From<RepairStatus> for wire::RepairStatus {
    fn from(repair: RepairStatus) -> Self {
        Self {
            waiting: repair.waiting,
            running: repair.running,
            done: repair.done,
            moved: repair.moved,
            pulled_bytes: repair.bytes_pulled,
            failed: repair.failed,
            begins_in_s: repair.begins_in_s,
        }
    }
}

impl TryFrom<wire::RepairStatus> for RepairStatus {
    type Error = BadMessage;

    fn try_from(wire: wire::RepairStatus) -> Checked<Self> {
        Ok(Self {
            waiting: wire.waiting,
            running: wire.running,
            done: wire.done,
            moved: wire.moved,
            bytes_pulled: wire.pulled_bytes,
            failed: wire.failed,
            begins_in_s: wire.begins_in_s,
        })
    }
}

impl From<ClusterStatus> for wire::StatusReply {
    fn from(status: ClusterStatus) -> Self {
        Self {
            cluster: id_bytes(&status.cluster.0),
            epoch: status.run.epoch.0,
            tag: status.run.tag.0,
            leased: status.leased,
            counted: status.counted,
            makes_no_changes: status.makes_no_changes,
            kept_handles: (status.kept_handles.into_iter())
                .map(|(first, end)| wire::HandleRange { first: first.0, end: end.0 })
                .collect(),
            version: status.version,
            now_ms: status.now_ms,
            uptime_s: status.uptime_s,
            policy: Some(status.policy.into()),
            placement: wire::PlacementStrategy::from(status.placement).into(),
            is_relaxed: status.is_relaxed,
            promise: Some(status.promise.into()),
            nodes: wires(status.nodes),
            usage: Some(status.usage.into()),
            health: Some(status.health.into()),
            repair: Some(status.repair.into()),
            garbage_bytes: status.garbage_bytes,
            verdict: Some(status.verdict.into()),
            stored: Some(status.stored.into()),
            nodes_expected: status.nodes_expected,
            unknown_copies: status.unknown.copies,
            unknown_bytes: status.unknown.bytes,
        }
    }
}

impl TryFrom<wire::StatusReply> for ClusterStatus {
    type Error = BadMessage;

    fn try_from(wire: wire::StatusReply) -> Checked<Self> {
        Ok(Self {
            cluster: cluster("cluster", &wire.cluster)?,
            placement: wire.placement().try_into()?,
            run: Run::new(wire.epoch, wire.tag),
            leased: wire.leased,
            counted: wire.counted,
            makes_no_changes: wire.makes_no_changes.map(text),
            kept_handles: (wire.kept_handles.into_iter())
                .map(|range| (Handle(range.first), Handle(range.end)))
                .collect(),
            unknown: Unknown { copies: wire.unknown_copies, bytes: wire.unknown_bytes },
            version: text(wire.version),
            now_ms: wire.now_ms,
            uptime_s: wire.uptime_s,
            policy: need("policy", wire.policy)?,
            is_relaxed: wire.is_relaxed,
            promise: need("promise", wire.promise)?,
            nodes: list("nodes", wire.nodes, NODES_MAX)?,
            usage: need("usage", wire.usage)?,
            health: need("health", wire.health)?,
            repair: need("repair", wire.repair)?,
            garbage_bytes: wire.garbage_bytes,
            verdict: match wire.verdict {
                Some(verdict) => verdict.try_into()?,
                // A coordinator of an earlier build gives none.
                None => Verdict { word: Word::NotKnownYet, reasons: Vec::new() },
            },
            stored: wire.stored.map(Into::into).unwrap_or_default(),
            nodes_expected: wire.nodes_expected,
        })
    }
}
