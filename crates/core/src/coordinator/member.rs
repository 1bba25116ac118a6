//! The members: who they are, whether they are there, and what they hold.
//!
//! Who belongs to the cluster is in the catalog. All else here is heard, and
//! heard anew after a restart.

use std::collections::{BTreeMap, BTreeSet};

use super::reach::Reach;
use super::role::Coordinator;
use crate::api::{CopyState, Error, Kind, NodeSpace, NodeState, Result, Target};
use crate::catalog::{Catalog, MemberRecord, StripeRecord};
use crate::health::{Health, OFFLINE_AFTER_MS};
use crate::id::{Handle, NodeId, NodeIndex, SessionId};
use crate::mutant::{Mutant, is_planted};
use crate::placement::Candidate;
use crate::policy::PlacementStrategy;
use crate::presence::{Known, Presence};

/// The most copies with another digest than the catalog that are remembered;
/// the others are found again.
const DIFFERING_MAX: usize = 1 << 16;
/// The most copies of a chunk that its layout does not name and that a reader
/// or a rebuild is told about.
const UNNAMED_MAX: usize = 8;
/// For how long clients' word that a node is slow counts; then it is used
/// like others again, and the next client finds out.
const SLOW_FOR_MS: u64 = 300_000;

/// All that is heard of the members.
pub(super) struct Members {
    pub(super) live: BTreeMap<NodeIndex, Live>,
    pub(super) presence: Presence,
    /// Addresses of `--nodes` from which a node answered.
    pub(super) answered: BTreeSet<String>,
    /// Copies that nodes promised, and when that was heard. A promise counts
    /// until the node tells of all that it held at a later moment. Nodes that
    /// are not heard say nothing about their copies, so their promises stand.
    promised: BTreeMap<(NodeIndex, Handle), u64>,
    /// Copies that are whole and have another digest than the catalog.
    differing: BTreeSet<(NodeIndex, Handle)>,
}

/// True once a node told what it held at a moment after a promise. When its
/// heartbeat arrived says nothing of that: it may have been under way for long.
fn is_over(live: &BTreeMap<NodeIndex, Live>, node: NodeIndex, since_ms: u64) -> bool {
    live.get(&node).is_some_and(|live| live.told_ms.is_some_and(|told_ms| told_ms > since_ms))
}

/// What is heard of one member.
pub(super) struct Live {
    pub(super) health: Health,
    pub(super) session: Option<SessionId>,
    pub(super) address: String,
    pub(super) space: NodeSpace,
    pub(super) version: String,
    pub(super) trouble: Option<String>,
    /// Why it obeys another run of a coordinator.
    pub(super) refuses: Option<String>,
    /// Why its disk keeps it from being adopted. It is readable all the same.
    pub(super) unadoptable: Option<String>,
    /// The last announcement under this id that was refused, and when.
    pub(super) refused: Option<(u64, String)>,
    pub(super) wants_inventory: bool,
    /// A moment before the latest at which what it held is known.
    pub(super) told_ms: Option<u64>,
    /// Whether it can be connected to.
    pub(super) reach: Reach,
    /// Until when clients' word that it is slow counts.
    pub(super) slow_until_ms: u64,
}

impl Members {
    /// The members of a catalog, none of them heard.
    pub(super) fn new<'a>(members: impl Iterator<Item = &'a MemberRecord>) -> Self {
        let live = members.map(|member| (member.index, Live::new(0, &member.address))).collect();
        Self {
            live,
            presence: Presence::default(),
            answered: BTreeSet::new(),
            promised: BTreeMap::new(),
            differing: BTreeSet::new(),
        }
    }

    pub(super) fn get(&self, node: NodeIndex) -> Option<&Live> {
        self.live.get(&node)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeIndex, &Live)> {
        self.live.iter().map(|(index, live)| (*index, live))
    }

    /// Takes `ms` of silence off every node's account.
    pub(super) fn excuse(&mut self, ms: u64, now_ms: u64) {
        for live in self.live.values_mut() {
            live.health.excuse(ms, now_ms);
        }
    }

    /// A member as a candidate for new copies.
    pub(super) fn candidate(&self, member: &MemberRecord, now_ms: u64) -> Candidate {
        let live = self.get(member.index);
        let is_online = self.state(member.index, now_ms) == NodeState::Online;
        let is_well = live.is_some_and(|live| live.why_not_well().is_none());
        Candidate {
            index: member.index,
            id: member.id.clone(),
            zone: member.zone.clone(),
            capacity: member.capacity,
            free: live.map_or(0, |live| live.space.free),
            is_writable: is_online && is_well,
            note: live.and_then(|live| note(live, now_ms)),
        }
    }

    /// Notes where a member listens.
    pub(super) fn note_address(&mut self, node: NodeIndex, address: &str, now_ms: u64) {
        let live = self.live.entry(node).or_insert_with(|| Live::new(now_ms, address));
        if live.address != address {
            address.clone_into(&mut live.address);
            live.reach = Reach::default();
        }
    }

    /// What is known of a node.
    pub(super) fn state(&self, node: NodeIndex, now_ms: u64) -> NodeState {
        self.live.get(&node).map_or(NodeState::Unknown, |live| live.health.state(now_ms))
    }

    /// True while clients find a node much slower than others.
    pub(super) fn is_slow(&self, node: NodeIndex, now_ms: u64) -> bool {
        self.live.get(&node).is_some_and(|live| live.is_slow(now_ms))
    }

    /// The nodes that clients find much slower than others.
    pub(super) fn slow(&self, now_ms: u64) -> BTreeSet<NodeIndex> {
        self.live.iter().filter(|(_, live)| live.is_slow(now_ms)).map(|(index, _)| *index).collect()
    }

    /// Notes how fast clients find a node.
    pub(super) fn note_speed(&mut self, node: NodeIndex, is_slow: bool, now_ms: u64) {
        if let Some(live) = self.live.get_mut(&node) {
            live.slow_until_ms = if is_slow { now_ms.saturating_add(SLOW_FOR_MS) } else { 0 };
        }
    }

    /// What is known of a copy.
    pub(super) fn copy_state(&self, node: NodeIndex, handle: Handle) -> CopyState {
        let state = match self.presence.state(node, handle) {
            // The node told of the copy that the proved one took the place of.
            CopyState::Bad
                if self.is_promised(node, handle) && !is_planted(Mutant::RepairAgain) =>
            {
                CopyState::Held
            }
            CopyState::Missing if self.is_promised(node, handle) => CopyState::Held,
            state => state,
        };
        match state {
            CopyState::Held if self.differing.contains(&(node, handle)) => CopyState::Bad,
            state => state,
        }
    }

    /// Notes a copy that is whole and has another digest than the catalog. Its
    /// node calls it good; here it counts as bad, until it is made anew.
    pub(super) fn note_differing(&mut self, node: NodeIndex, handle: Handle) {
        if self.differing.len() < DIFFERING_MAX && !is_planted(Mutant::TrustOwnDigest) {
            self.differing.insert((node, handle));
        }
    }

    /// The number of such copies.
    pub(super) fn differing(&self) -> usize {
        self.differing.len()
    }

    /// What all that is known of copies comes to, and whether promises are
    /// open.
    pub(super) fn known_copies(&self) -> (Known, bool) {
        (self.presence.known(), !self.promised.is_empty())
    }

    fn is_promised(&self, node: NodeIndex, handle: Handle) -> bool {
        let since = self.promised.get(&(node, handle));
        since.is_some_and(|since_ms| !is_over(&self.live, node, *since_ms))
    }

    /// Notes copies that their nodes promised to a client.
    pub(super) fn note_promised(&mut self, stripes: &[StripeRecord], now_ms: u64) {
        for stripe in stripes {
            for (slot, chunk) in stripe.chunks.iter().enumerate() {
                for node in &chunk.copies {
                    self.promised.insert((*node, stripe.handle(slot)), now_ms);
                }
            }
        }
    }

    /// Notes one copy that its node has just proved to hold.
    pub(super) fn note_proved(&mut self, node: NodeIndex, handle: Handle, now_ms: u64) {
        self.promised.insert((node, handle), now_ms);
        self.differing.remove(&(node, handle));
    }

    /// Forgets promises and differing copies that no longer count.
    pub(super) fn forget_promises(&mut self) {
        let live = &self.live;
        self.promised.retain(|(node, _), since_ms| !is_over(live, *node, *since_ms));
        // One that its node has not told of yet is remembered all the same.
        let (presence, promised) = (&self.presence, &self.promised);
        self.differing.retain(|copy| {
            let state = presence.state(copy.0, copy.1);
            promised.contains_key(copy) || !matches!(state, CopyState::Missing | CopyState::Bad)
        });
    }

    /// Returns the nodes that hold a good copy of a chunk that its layout does
    /// not name, and that readers can reach, at most [`UNNAMED_MAX`]. After an
    /// older catalog was put back these may be the only copies left.
    pub(super) fn unnamed(
        &self,
        handle: Handle,
        named: &[NodeIndex],
        now_ms: u64,
    ) -> Vec<NodeIndex> {
        let holds = |node: &NodeIndex| {
            !named.contains(node)
                && self.presence.state(*node, handle) == CopyState::Held
                && !self.differing.contains(&(*node, handle))
                && self.is_readable(*node, now_ms)
        };
        self.live.keys().copied().filter(holds).take(UNNAMED_MAX).collect()
    }

    /// True while readers can reach the node.
    fn is_readable(&self, node: NodeIndex, now_ms: u64) -> bool {
        matches!(self.state(node, now_ms), NodeState::Online | NodeState::Suspect)
    }

    /// Returns the copies of [`Self::copies_there`] and, for each chunk that
    /// lacks a named copy, those that the layout does not name.
    pub(super) fn sources_there(&self, stripe: &StripeRecord, now_ms: u64) -> Vec<Vec<NodeIndex>> {
        let mut there = self.copies_there(stripe, now_ms);
        for (slot, (chunk, nodes)) in stripe.chunks.iter().zip(&mut there).enumerate() {
            if nodes.len() < chunk.copies.len() {
                nodes.extend(self.unnamed(stripe.handle(slot), &chunk.copies, now_ms));
            }
        }
        there
    }

    /// True when every copy that a layout names is reported good by a node
    /// that is online and adopted. One that is not adopted may be told to
    /// delete it by the run that it obeys.
    pub(super) fn are_all_there(&self, handle: Handle, named: &[NodeIndex], now_ms: u64) -> bool {
        named.iter().all(|node| {
            self.presence.state(*node, handle) == CopyState::Held
                && !self.differing.contains(&(*node, handle))
                && self.state(*node, now_ms) == NodeState::Online
                && self.get(*node).is_some_and(|live| live.unadoptable.is_none())
        })
    }

    /// For each chunk of a stripe, the nodes that can give it now: present,
    /// good, on a node that is not gone.
    pub(super) fn copies_there(&self, stripe: &StripeRecord, now_ms: u64) -> Vec<Vec<NodeIndex>> {
        let is_there = |handle, node: &NodeIndex| {
            let held = self.copy_state(*node, handle);
            matches!(held, CopyState::Held | CopyState::Unknown) && self.is_readable(*node, now_ms)
        };
        let chunk = |(slot, chunk): (usize, &crate::catalog::ChunkRecord)| {
            let handle = stripe.handle(slot);
            chunk.copies.iter().copied().filter(|node| is_there(handle, node)).collect()
        };
        stripe.chunks.iter().enumerate().map(chunk).collect()
    }
}

impl Live {
    fn new(now_ms: u64, address: &str) -> Self {
        Self {
            health: Health::new(now_ms),
            session: None,
            address: address.to_owned(),
            space: NodeSpace::default(),
            version: String::new(),
            trouble: None,
            refuses: None,
            unadoptable: None,
            refused: None,
            wants_inventory: false,
            told_ms: None,
            reach: Reach::default(),
            slow_until_ms: 0,
        }
    }

    /// Why the node takes no chunks and no orders, though it is heard.
    pub(super) fn why_not_well(&self) -> Option<&String> {
        self.trouble.as_ref().or(self.unadoptable.as_ref()).or(self.refuses.as_ref())
    }

    /// True while clients find the node much slower than others.
    pub(super) fn is_slow(&self, now_ms: u64) -> bool {
        now_ms < self.slow_until_ms
    }
}

impl Coordinator {
    /// The members as candidates for new copies.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let now_ms = self.now_ms();
        let members: Vec<MemberRecord> =
            self.door.peek(|catalog| catalog.members().cloned().collect());
        let state = self.state();
        members.iter().map(|member| state.members.candidate(member, now_ms)).collect()
    }

    /// The members' short numbers by name.
    pub(super) fn member_indexes(&self) -> BTreeMap<NodeId, NodeIndex> {
        let pair = |member: &MemberRecord| (member.id.clone(), member.index);
        self.door.peek(|catalog| catalog.members().map(pair).collect())
    }

    /// Nodes with their addresses.
    pub(super) fn targets(&self, nodes: &[NodeIndex]) -> Vec<Target> {
        self.door.peek(|catalog| {
            let member = |index: &NodeIndex| catalog.member(*index);
            let target = |member: &MemberRecord| Target {
                node: member.id.clone(),
                address: member.address.clone(),
            };
            nodes.iter().filter_map(member).map(target).collect()
        })
    }

    /// How nodes are chosen in this cluster.
    pub(super) fn strategy(&self) -> PlacementStrategy {
        let of = |catalog: &Catalog| catalog.cluster().map(|cluster| cluster.placement);
        self.door.peek(of).unwrap_or(self.settings.placement)
    }

    /// Refuses, for a little while after a start, what needs to know which
    /// nodes are there.
    pub(super) fn check_heard(&self) -> Result<()> {
        let now_ms = self.now_ms();
        let state = self.state();
        let (known, heard) = state.members.iter().fold((0, 0), |(known, heard), (_, live)| {
            (known + 1, heard + usize::from(live.health.heard_ms().is_some()))
        });
        let expected = known.max(self.settings.nodes.len());
        if heard < expected && now_ms <= OFFLINE_AFTER_MS {
            return Err(Error::new(
                Kind::Unavailable,
                format!(
                    "the coordinator has just started and has heard {heard} of {expected} nodes: try again in a moment"
                ),
            ));
        }
        Ok(())
    }
}

/// Why a node cannot be written to, for messages.
fn note(live: &Live, now_ms: u64) -> Option<String> {
    let since = |since_ms: u64| match now_ms.saturating_sub(since_ms) / 1000 {
        seconds if seconds < 120 => format!("{seconds}s"),
        seconds if seconds < 7200 => format!("{}m", seconds / 60),
        seconds => format!("{}h", seconds / 3600),
    };
    let gone_ms = live.health.gone_since_ms(now_ms);
    match (live.health.state(now_ms), gone_ms) {
        (NodeState::Online, _) => live.why_not_well().cloned(),
        (NodeState::Suspect, _) => Some("suspect".to_owned()),
        (NodeState::Unknown, _) => Some("not heard yet".to_owned()),
        (NodeState::Offline, gone) => Some(format!("offline for {}", since(gone.unwrap_or(0)))),
        (NodeState::Absent, gone) => Some(format!("stopped {} ago", since(gone.unwrap_or(0)))),
        (NodeState::NoVolume, gone) => {
            Some(format!("without its volume for {}", since(gone.unwrap_or(0))))
        }
        (NodeState::CutOff, gone) => Some(format!("cut-off for {}", since(gone.unwrap_or(0)))),
    }
}
