//! In which order the sources of a chunk are asked.
//!
//! Every chunk has a *first choice* among its copies that depends on its
//! handle only, so that the chunks of a file are read from all their nodes.
//! Health comes before it: a copy that is sure to answer, then one that may,
//! then the rest of the stripe, then copies on nodes that are much slower than
//! others, then those on nodes that are said to be away.

use super::findings::{Findings, NodeTrouble};
use super::map::handle_of;
use crate::api::{CopyAt, CopyState, NodeState, StripeMap};
use crate::data::stripe::sources_needed;
use crate::id::Handle;
use crate::mutant::{Mutant, is_planted};

/// Something to read a chunk from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// One of its copies.
    Copy(CopyAt),
    /// The other chunks of its stripe.
    Parity,
}

/// Ranks below this one are asked before parity.
const RANK_PARITY: u8 = 4;

/// The copies of chunk `slot` in their own order, the first choice first.
fn in_own_order(map: &StripeMap, slot: usize) -> Vec<&CopyAt> {
    let mut copies: Vec<&CopyAt> =
        map.chunks.get(slot).map_or(&[][..], |chunk| &chunk.copies).iter().collect();
    copies.sort_by(|a, b| a.node.cmp(&b.node));
    if !copies.is_empty() {
        let turn = handle_of(map, slot).0 % copies.len() as u64;
        copies.rotate_left(usize::try_from(turn).expect("less than a length"));
    }
    copies
}

/// The copy of chunk `slot` that a get reads when all is well.
#[must_use]
pub fn first_choice(map: &StripeMap, slot: usize) -> Option<&CopyAt> {
    in_own_order(map, slot).into_iter().next()
}

/// The usable copies of chunk `slot`, best first, with their ranks.
pub(super) fn copies(map: &StripeMap, slot: usize, findings: &Findings) -> Vec<(u8, CopyAt)> {
    let handle = handle_of(map, slot);
    let mut ranked: Vec<(u8, CopyAt)> = in_own_order(map, slot)
        .into_iter()
        .filter_map(|copy| Some((rank(handle, copy, findings)?, copy.clone())))
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked
}

/// All sources of chunk `slot`, best first.
pub(super) fn origins(
    map: &StripeMap,
    slot: usize,
    may_use_parity: bool,
    findings: &Findings,
) -> Vec<Origin> {
    let ranked = copies(map, slot, findings);
    let before = ranked.iter().take_while(|(rank, _)| *rank < RANK_PARITY).count();
    let mut origins: Vec<Origin> = ranked.into_iter().map(|(_, copy)| Origin::Copy(copy)).collect();
    if may_use_parity && map.shape.coding.parity > 0 {
        origins.insert(before, Origin::Parity);
    }
    origins
}

/// True when, by all that is known, the chunk might be read in a while:
/// nodes that are not said to be away hold a copy, or enough of its stripe.
pub(super) fn has_hope(map: &StripeMap, slot: usize, findings: &Findings) -> bool {
    let is_there = |slot: usize| {
        let handle = handle_of(map, slot);
        map.chunks.get(slot).is_some_and(|chunk| {
            chunk.copies.iter().any(|copy| !is_away(copy) && is_usable(handle, copy, findings))
        })
    };
    let others = (0..map.chunks.len()).filter(|other| *other != slot && is_there(*other)).count();
    is_there(slot) || map.shape.coding.parity > 0 && others >= sources_needed(map.shape)
}

fn is_away(copy: &CopyAt) -> bool {
    matches!(copy.state, NodeState::Offline | NodeState::Absent | NodeState::NoVolume)
        || matches!(copy.presence, CopyState::Missing | CopyState::Bad)
}

fn is_usable(handle: Handle, copy: &CopyAt, findings: &Findings) -> bool {
    copy.presence != CopyState::Bad && findings.copy(handle, &copy.node).is_none()
}

/// How late a copy is asked; `None` when it is of no use.
fn rank(handle: Handle, copy: &CopyAt, findings: &Findings) -> Option<u8> {
    if !is_usable(handle, copy, findings) {
        return None;
    }
    if copy.presence == CopyState::Missing {
        return Some(8);
    }
    let trouble = findings.node(&copy.node);
    if let Some(NodeTrouble::Failed(_)) = trouble {
        return Some(7);
    }
    Some(match copy.state {
        NodeState::Offline => 6,
        NodeState::NoVolume | NodeState::CutOff | NodeState::Absent => 5,
        _ if is_slow(copy, findings) => 4,
        _ if trouble.is_some() => 3,
        NodeState::Suspect if is_planted(Mutant::NeverReadsSuspects) => return None,
        NodeState::Suspect => 2,
        NodeState::Unknown => 1,
        NodeState::Online => 0,
    })
}

/// What was measured here counts more than what others said.
fn is_slow(copy: &CopyAt, findings: &Findings) -> bool {
    findings.is_slow(&copy.node).unwrap_or(copy.is_slow)
}

/// Why a copy was not read, in words.
pub(super) fn reason(handle: Handle, copy: &CopyAt, findings: &Findings) -> String {
    if let Some(reason) = findings.copy(handle, &copy.node) {
        return reason;
    }
    match copy.presence {
        CopyState::Bad => return "its copy is bad".into(),
        CopyState::Missing => return "it does not hold its copy".into(),
        CopyState::Held | CopyState::Unknown => {}
    }
    match (findings.node(&copy.node), copy.state) {
        (Some(NodeTrouble::Failed(reason)), _) => reason,
        (_, NodeState::Offline) => "it is offline".into(),
        (_, NodeState::Absent) => "it was stopped".into(),
        (_, NodeState::NoVolume) => "its volume is gone".into(),
        (_, NodeState::CutOff) => "the coordinator cannot connect to it".into(),
        (_, NodeState::Suspect) => "it missed heartbeats".into(),
        (_, NodeState::Unknown) => "it was not heard yet".into(),
        (_, NodeState::Online) if is_slow(copy, findings) => "it is much slower than others".into(),
        (_, NodeState::Online) => "it was slow to answer".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ChunkMap, Error, Kind};
    use crate::data::digest::Digest;
    use crate::id::NodeId;
    use crate::policy::{Code, Coding, StripeShape};

    fn node(name: &str) -> NodeId {
        NodeId::new(name).expect("a good name")
    }

    fn copy(name: &str, state: NodeState) -> CopyAt {
        let address = format!("{name}:1");
        CopyAt { node: node(name), address, state, presence: CopyState::Held, is_slow: false }
    }

    fn map(first_handle: u64, copies: Vec<CopyAt>) -> StripeMap {
        let coding = Coding { code: Code::Xor, data: 2, parity: 1 };
        let chunk =
            |copies| ChunkMap { digest: Digest([0; 32]), raw_len: 1, stored_len: 1, copies };
        StripeMap {
            first_handle: Handle(first_handle),
            shape: StripeShape { coding, data: 2 },
            chunks: vec![
                chunk(copies),
                chunk(vec![copy("x", NodeState::Online)]),
                chunk(vec![copy("y", NodeState::Online)]),
            ],
        }
    }

    fn order(map: &StripeMap, findings: &Findings) -> Vec<String> {
        origins(map, 0, true, findings)
            .into_iter()
            .map(|origin| match origin {
                Origin::Copy(copy) => copy.node.to_string(),
                Origin::Parity => "parity".into(),
            })
            .collect()
    }

    #[test]
    fn chunks_take_turns_among_their_copies() {
        let all = || ["c", "a", "b"].map(|name| copy(name, NodeState::Online)).to_vec();
        let none = Findings::default();
        assert_eq!(order(&map(9, all()), &none), ["a", "b", "c", "parity"]);
        assert_eq!(order(&map(10, all()), &none), ["b", "c", "a", "parity"]);
        assert_eq!(order(&map(11, all()), &none), ["c", "a", "b", "parity"]);
    }

    #[test]
    fn what_is_sure_to_answer_comes_before_turns_and_what_is_away_after_parity() {
        let copies = vec![
            copy("a", NodeState::Offline),
            copy("b", NodeState::Suspect),
            copy("c", NodeState::Online),
            copy("d", NodeState::Absent),
        ];
        let map = map(12, copies);
        assert_eq!(order(&map, &Findings::default()), ["c", "b", "parity", "d", "a"]);
        assert_eq!(first_choice(&map, 0).map(|copy| copy.node.clone()), Some(node("a")));
    }

    #[test]
    fn a_node_that_failed_is_asked_late_and_a_bad_copy_never_again() {
        let copies = ["a", "b", "c"].map(|name| copy(name, NodeState::Online)).to_vec();
        let map = map(9, copies);
        let findings = Findings::default();
        findings.note(Handle(1), &node("a"), &Error::new(Kind::Unavailable, "gone"));
        findings.note(Handle(9), &node("b"), &Error::new(Kind::Integrity, "flipped"));
        assert_eq!(order(&map, &findings), ["c", "parity", "a"]);
        assert_eq!(findings.take_bad().len(), 1);
        assert_eq!(reason(Handle(9), &copy("b", NodeState::Online), &findings), "flipped");
    }

    #[test]
    fn a_node_that_others_found_slow_is_asked_after_parity() {
        let mut copies = ["a", "b", "c"].map(|name| copy(name, NodeState::Online)).to_vec();
        copies[0].is_slow = true;
        let map = map(9, copies);
        assert_eq!(order(&map, &Findings::default()), ["b", "c", "parity", "a"]);
    }

    #[test]
    fn there_is_no_hope_when_too_much_is_away() {
        let none = Findings::default();
        let mut map = map(9, vec![copy("a", NodeState::Offline)]);
        assert!(has_hope(&map, 0, &none), "two of three chunks of the stripe are there");
        map.chunks[1].copies[0].state = NodeState::Offline;
        assert!(!has_hope(&map, 0, &none));
        map.chunks[0].copies[0].state = NodeState::Suspect;
        assert!(has_hope(&map, 0, &none));
        findings_bad(&none);
        assert!(!has_hope(&map, 0, &none));
    }

    fn findings_bad(findings: &Findings) {
        findings.note(Handle(9), &node("a"), &Error::new(Kind::Integrity, "flipped"));
    }
}
