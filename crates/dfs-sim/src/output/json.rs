//! Answers for machines. One object a command, with `schema_version`; sizes
//! are integers in bytes (`_bytes`), durations integers in milliseconds (`_ms`),
//! points in time RFC 3339.

use std::io;
use std::time::Duration;

use dfs_core::api::{Condition, CopyState, FileInfo, NodeState, NodeStatus, Reason, Usage};
use dfs_core::policy::Policy;
use serde_json::{Value, json};

use super::time::rfc3339;
use crate::exit::Failure;

/// Rises when a field goes or changes its meaning; new fields may come.
pub(crate) const SCHEMA_VERSION: u32 = 3;

/// Writes the answer.
///
/// # Errors
/// None, as [`super::line`].
pub(crate) fn print(command: &str, answer: Value) -> io::Result<()> {
    let mut whole = json!({ "schema_version": SCHEMA_VERSION, "command": command });
    if let (Value::Object(whole), Value::Object(answer)) = (&mut whole, answer) {
        whole.extend(answer);
    }
    super::line(escaped(&whole.to_string()))
}

/// Writes an object as a note, for an answer whose standard output is taken.
pub(crate) fn note(object: &Value) {
    super::write_note(&escaped(&object.to_string()));
}

/// JSON whose strings have no character as it is that acts on a terminal:
/// JSON lets those above ASCII stand.
fn escaped(json: &str) -> String {
    let escaped = |c: char| {
        if super::acts(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }
    };
    json.chars().map(escaped).collect()
}

/// A duration, for a key that ends in `_ms`.
pub(crate) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A failure, as the answer. `outcome` is there only where the change may
/// have been made all the same.
pub(crate) fn failure(failure: &Failure) -> Value {
    let mut error = json!({
        "kind": failure.code.word(),
        "exit_code": failure.code as u8,
        "message": failure.whole(),
    });
    if failure.is_not_known {
        error["outcome"] = json!("not_known");
    }
    json!({ "error": error })
}

/// A file.
pub(crate) fn file(info: &FileInfo) -> Value {
    json!({
        "name": info.name.as_str(),
        "version": info.id.0,
        "created": rfc3339(info.created_ms),
        "logical_bytes": info.size,
        "stored_bytes": info.stored_bytes,
        "raw_bytes": info.raw_bytes,
        "policy": policy(&info.policy),
        "chunks": info.chunks,
        "stripes": info.stripes,
        "spares": (info.stripes > 0).then_some(info.spares),
        "copies_missing": info.copies_missing,
        "state": condition(info.condition),
        "is_degraded": info.copies_missing > 0,
    })
}

/// A reason of the verdict.
pub(crate) fn reason(reason: &Reason) -> Value {
    json!({
        "kind": reason.kind.name(),
        "node": reason.node.as_ref().map(dfs_core::id::NodeId::as_str),
        "count": reason.count,
        "sentence": reason.sentence,
    })
}

/// A policy.
pub(crate) fn policy(policy: &Policy) -> Value {
    json!({
        "replication": policy.replication,
        "parity": policy.coding.to_string(),
        "parity_data": policy.coding.data,
        "parity_chunks": policy.coding.parity,
        "compression": policy.compression.to_string(),
        "chunk_size_bytes": policy.chunk_size,
    })
}

/// Returns the space that files take.
pub(crate) fn usage(usage: &Usage) -> Value {
    json!({
        "files": usage.files,
        "chunks": usage.chunks,
        "logical_bytes": usage.logical_bytes,
        "stored_bytes": usage.stored_bytes,
        "raw_bytes": usage.raw_bytes,
    })
}

/// A node. `now_ms` is the coordinator's clock.
pub(crate) fn node(node: &NodeStatus, now_ms: u64) -> Value {
    json!({
        "id": node.id.as_str(),
        "address": node.address,
        "zone": node.zone,
        "state": node_state(node.state),
        "heard": node.heard_ms_ago.map(|ago| rfc3339(now_ms.saturating_sub(ago))),
        "total_bytes": node.space.total,
        "free_bytes": node.space.free,
        "used_bytes": node.space.used,
        "chunks": node.chunks,
        "quarantined": node.quarantined,
        "version": node.version,
        "trouble": node.trouble,
        "slow": node.is_slow,
    })
}

/// One word for a node's state.
pub(crate) fn node_state(state: NodeState) -> &'static str {
    match state {
        NodeState::Unknown => "unknown",
        NodeState::Online => "online",
        NodeState::Suspect => "suspect",
        NodeState::Offline => "offline",
        NodeState::Absent => "absent",
        NodeState::NoVolume => "no-volume",
        NodeState::CutOff => "cut-off",
    }
}

/// One word for the state of a stripe or a file.
pub(crate) fn condition(condition: Condition) -> &'static str {
    match condition {
        Condition::Full => "full",
        Condition::Degraded => "degraded",
        Condition::AtRisk => "at_risk",
        Condition::Unknown => "unknown",
        Condition::Unreachable => "unreachable",
        Condition::Lost => "lost",
    }
}

/// One word for a copy's state.
pub(crate) fn copy_state(state: CopyState) -> &'static str {
    match state {
        CopyState::Unknown => "unknown",
        CopyState::Held => "held",
        CopyState::Bad => "bad",
        CopyState::Missing => "missing",
    }
}
