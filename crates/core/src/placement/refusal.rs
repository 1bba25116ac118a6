//! Why a stripe has no place, and what would help.

use super::spread::{Spot, Spread};
use super::{PlacementRequest, attempt};
use crate::id::NodeIndex;
use crate::policy::{BadPolicy, Code, Coding, Policy};

/// Why nothing was chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// The policy itself is out of bounds.
    #[error(transparent)]
    Policy(#[from] BadPolicy),
    /// There are too few nodes. The text says which rule was found broken and
    /// the nearest fixes.
    #[error("{0}")]
    TooFewNodes(String),
    /// There are nodes enough, and too few of them have room.
    #[error("{0}")]
    NoSpace(String),
}

/// The most nodes that a message asks for.
const NODES_ASKED_MAX: u16 = 1024;

pub(super) fn of(request: &PlacementRequest<'_>) -> PlacementError {
    let with_room = PlacementRequest { chunk_bytes: 0, ..*request };
    if request.chunk_bytes > 0 && attempt(&with_room).is_some() {
        return PlacementError::NoSpace(no_space(request));
    }
    PlacementError::TooFewNodes(too_few(request))
}

fn too_few(request: &PlacementRequest<'_>) -> String {
    let policy = request.policy;
    let needed = nodes_needed(policy).max(1);
    let (present, missing) = split(request);
    // Some of those that count here may be gone, and not missed yet: it is not
    // said that they are there.
    let mut text = format!("{} needs {}, not {present}", short_name(policy), nodes(needed));
    if !missing.is_empty() {
        text.push_str(&format!(" ({})", missing.join(", ")));
    }
    let more = usize::from(needed).saturating_sub(present);
    text.push_str(&match more {
        0 | 1 => ": start one more".to_owned(),
        _ => format!(": start {more} more"),
    });
    if let Some(other) = other_policy(policy, present) {
        text.push_str(&format!(", or choose {}", short_name(&other)));
    }
    let lenient = PlacementRequest { is_strict: false, ..*request };
    if request.is_strict && attempt(&lenient).is_some() {
        text.push_str(", or store it degraded, without --strict");
    }
    text
}

fn no_space(request: &PlacementRequest<'_>) -> String {
    let bytes = request.chunk_bytes;
    let full: Vec<String> = request
        .candidates
        .iter()
        .filter(|candidate| candidate.is_writable && candidate.free < bytes)
        .map(|candidate| format!("{} has {}", candidate.id, size(candidate.free)))
        .collect();
    let needed = nodes_needed(request.policy).max(1);
    let (present, missing) = split(request);
    let detail = if full.is_empty() {
        format!("{} have room, but not for all of its copies", nodes_of(present))
    } else {
        [&full[..], &missing[..]].concat().join(", ")
    };
    let away = if missing.is_empty() { "" } else { " bring back what is away," };
    format!(
        "{} needs {} with {} free ({detail}): free some space,{away} or add a node",
        short_name(request.policy),
        nodes(needed),
        size(bytes),
    )
}

/// How many members can be written to, and what the others are.
fn split(request: &PlacementRequest<'_>) -> (usize, Vec<String>) {
    let mut present = 0;
    let mut missing = Vec::new();
    for candidate in request.candidates {
        if candidate.is_writable && !request.excluded.contains(&candidate.index) {
            present += 1;
        } else {
            let note = candidate.note.as_deref().unwrap_or("cannot be written to");
            missing.push(format!("{} {note}", candidate.id));
        }
    }
    (present, missing)
}

/// The fewest nodes on which a whole stripe of `policy` keeps its promise.
fn nodes_needed(policy: &Policy) -> u16 {
    let first = u16::from(policy.replication);
    (first..NODES_ASKED_MAX).find(|count| is_kept(policy, *count)).unwrap_or(NODES_ASKED_MAX)
}

fn is_kept(policy: &Policy, nodes: u16) -> bool {
    let spots: Vec<Spot> = (0..nodes)
        .map(|index| Spot { index: NodeIndex(index), domain: NodeIndex(index), room: u32::MAX })
        .collect();
    let promised = policy.promised_losses();
    let spread = Spread::best(&spots, policy.full_shape(), policy, promised);
    spread.is_complete() && spread.tolerated >= Some(promised)
}

/// The nearest policy that `present` nodes can keep: fewer data chunks a
/// stripe, else no parity, and fewer copies where it must be.
fn other_policy(policy: &Policy, present: usize) -> Option<Policy> {
    let present = u16::try_from(present).unwrap_or(u16::MAX);
    let narrower = (1..policy.coding.data).rev().map(|data| {
        let coding = Coding { data, ..policy.coding };
        Policy { coding, ..*policy }
    });
    let fewer = (1..=policy.replication).rev().map(|replication| {
        let coding = Coding { code: Code::None, data: 1, parity: 0 };
        Policy { replication, coding, ..*policy }
    });
    narrower.chain(fewer).find(|other| other != policy && is_kept(other, present))
}

/// `rs:4+2`, `R=3`, or `R=2 xor:4`.
fn short_name(policy: &Policy) -> String {
    match (policy.replication, policy.coding.code) {
        (copies, Code::None) => format!("R={copies}"),
        (1, _) => policy.coding.to_string(),
        (copies, _) => format!("R={copies} {}", policy.coding),
    }
}

fn nodes(count: u16) -> String {
    nodes_of(usize::from(count))
}

fn nodes_of(count: usize) -> String {
    if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") }
}

/// `12 MiB`, rounded down so that no more is claimed than there is; at least
/// two digits, or exact.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut unit) = (bytes, 0);
    while unit + 1 < UNITS.len()
        && (value >= 10 << 10 || value > 0 && value.is_multiple_of(1 << 10))
    {
        value >>= 10;
        unit += 1;
    }
    format!("{value} {}", UNITS[unit])
}
