//! Heartbeats and leaving.

use dfs_core::api::{
    CHANGES_PER_HEARTBEAT_MAX, Heartbeat, HeartbeatReply, InventoryChanges, InventoryDigest,
    NodeSpace,
};
use dfs_core::id::{ClusterId, Handle, NodeId, SessionId};

use super::super::wire;
use super::{
    BadMessage, Checked, bounded, cluster, id_bytes, list, maybe, need, node_id, text, wires,
};

impl From<NodeSpace> for wire::NodeSpace {
    fn from(space: NodeSpace) -> Self {
        Self { total_bytes: space.total, free_bytes: space.free, used_bytes: space.used }
    }
}

impl TryFrom<wire::NodeSpace> for NodeSpace {
    type Error = BadMessage;

    fn try_from(wire: wire::NodeSpace) -> Checked<Self> {
        Ok(Self { total: wire.total_bytes, free: wire.free_bytes, used: wire.used_bytes })
    }
}

impl From<InventoryDigest> for wire::InventoryDigest {
    fn from(digest: InventoryDigest) -> Self {
        Self {
            version: digest.version,
            chunks: digest.chunks,
            quarantined: digest.quarantined,
            fingerprint: digest.fingerprint,
        }
    }
}

impl TryFrom<wire::InventoryDigest> for InventoryDigest {
    type Error = BadMessage;

    fn try_from(wire: wire::InventoryDigest) -> Checked<Self> {
        Ok(Self {
            version: wire.version,
            chunks: wire.chunks,
            quarantined: wire.quarantined,
            fingerprint: wire.fingerprint,
        })
    }
}

impl From<InventoryChanges> for wire::InventoryChanges {
    fn from(changes: InventoryChanges) -> Self {
        Self {
            since: changes.since,
            held: wires(changes.held),
            gone: changes.gone.into_iter().map(|it| it.0).collect(),
        }
    }
}

impl TryFrom<wire::InventoryChanges> for InventoryChanges {
    type Error = BadMessage;

    fn try_from(wire: wire::InventoryChanges) -> Checked<Self> {
        let count = wire.held.len().saturating_add(wire.gone.len());
        bounded("changes", count, CHANGES_PER_HEARTBEAT_MAX)?;
        Ok(Self {
            since: wire.since,
            held: list("changes.held", wire.held, CHANGES_PER_HEARTBEAT_MAX)?,
            gone: wire.gone.into_iter().map(Handle).collect(),
        })
    }
}

impl From<Heartbeat> for wire::HeartbeatRequest {
    fn from(heartbeat: Heartbeat) -> Self {
        Self {
            info: Some(heartbeat.info.into()),
            joins: heartbeat.joins,
            space: Some(heartbeat.space.into()),
            digest: Some(heartbeat.digest.into()),
            changes: heartbeat.changes.map(Into::into),
            trouble: heartbeat.trouble,
            allegiance: Some(heartbeat.allegiance.into()),
            confirms: heartbeat.confirms,
            is_volume_gone: heartbeat.is_volume_gone,
            refuses: heartbeat.refuses,
        }
    }
}

impl TryFrom<wire::HeartbeatRequest> for Heartbeat {
    type Error = BadMessage;

    fn try_from(wire: wire::HeartbeatRequest) -> Checked<Self> {
        Ok(Self {
            info: need("info", wire.info)?,
            joins: wire.joins,
            space: need("space", wire.space)?,
            digest: need("digest", wire.digest)?,
            changes: maybe(wire.changes)?,
            trouble: wire.trouble.map(text),
            allegiance: need("allegiance", wire.allegiance)?,
            confirms: wire.confirms,
            is_volume_gone: wire.is_volume_gone,
            refuses: wire.refuses.map(text),
        })
    }
}

impl From<HeartbeatReply> for wire::HeartbeatReply {
    fn from(reply: HeartbeatReply) -> Self {
        Self {
            context: Some(reply.context.into()),
            known_version: reply.known_version,
            answer: reply.answer,
            position: reply.position,
            numbers_end: reply.numbers_end,
        }
    }
}

impl TryFrom<wire::HeartbeatReply> for HeartbeatReply {
    type Error = BadMessage;

    fn try_from(wire: wire::HeartbeatReply) -> Checked<Self> {
        Ok(Self {
            context: need("context", wire.context)?,
            known_version: wire.known_version,
            answer: wire.answer,
            position: wire.position,
            numbers_end: wire.numbers_end,
        })
    }
}

pub(crate) fn leave_request(
    cluster: ClusterId,
    node: NodeId,
    session: SessionId,
) -> wire::LeaveRequest {
    wire::LeaveRequest { cluster: id_bytes(&cluster.0), node: node.to_string(), session: session.0 }
}

pub(crate) fn leaving(wire: wire::LeaveRequest) -> Checked<(ClusterId, NodeId, SessionId)> {
    Ok((cluster("cluster", &wire.cluster)?, node_id("node", wire.node)?, SessionId(wire.session)))
}
