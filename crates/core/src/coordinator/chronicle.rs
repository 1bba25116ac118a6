//! What happens to nodes and to repair, told in the log: nodes by name,
//! repair by its sums.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::role::Coordinator;
use crate::api::{NodeState, RepairStatus};
use crate::id::{NodeId, NodeIndex};

/// How often it is looked what changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What was told last.
#[derive(Debug, Default)]
struct Chronicle {
    nodes: BTreeMap<NodeId, NodeState>,
    /// The counts with which the repair under way began, and when.
    repair: Option<(RepairStatus, u64)>,
    last: RepairStatus,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    /// A node is no longer as it was.
    Node { id: NodeId, was: NodeState, is: NodeState },
    /// Copies are being made.
    RepairBegun { waiting: u64 },
    /// Nothing is left that can be made.
    RepairEnded { made: u64, moved: u64, failed: u64, bytes_pulled: u64, took_ms: u64 },
}

impl Chronicle {
    /// What happened since the last look.
    fn look(
        &mut self,
        nodes: BTreeMap<NodeId, NodeState>,
        repair: RepairStatus,
        now_ms: u64,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        for (id, is) in &nodes {
            let was = self.nodes.get(id).copied().unwrap_or(NodeState::Unknown);
            if was != *is {
                events.push(Event::Node { id: id.clone(), was, is: *is });
            }
        }
        self.nodes = nodes;
        let has_moved = |since: &RepairStatus| {
            (repair.done, repair.moved, repair.failed) != (since.done, since.moved, since.failed)
        };
        let is_going = repair.running > 0;
        match self.repair {
            None if is_going || has_moved(&self.last) => {
                let waiting = repair.waiting + repair.running + repair.done - self.last.done;
                events.push(Event::RepairBegun { waiting });
                self.repair = Some((self.last, now_ms));
            }
            Some((begun, since_ms)) if !is_going && !has_moved(&self.last) => {
                events.push(Event::RepairEnded {
                    made: repair.done - begun.done,
                    moved: repair.moved - begun.moved,
                    failed: repair.failed - begun.failed,
                    bytes_pulled: repair.bytes_pulled - begun.bytes_pulled,
                    took_ms: now_ms.saturating_sub(since_ms),
                });
                self.repair = None;
            }
            _ => {}
        }
        self.last = repair;
        events
    }
}

impl Event {
    fn tell(&self) {
        match self {
            Self::Node { id, was, is } => match is {
                NodeState::Online if *was == NodeState::Unknown => {
                    tracing::info!(node = %id, "a node is online");
                }
                NodeState::Online => tracing::info!(node = %id, "a node is back"),
                NodeState::Suspect => {
                    tracing::warn!(node = %id, "a node is suspect: it misses heartbeats")
                }
                NodeState::Offline => tracing::warn!(node = %id, "a node is offline"),
                NodeState::Absent => tracing::info!(node = %id, "a node said that it stops"),
                NodeState::NoVolume => tracing::warn!(node = %id, "a node has lost its volume"),
                NodeState::CutOff => tracing::warn!(node = %id, "a node cannot be connected to"),
                NodeState::Unknown => {}
            },
            Self::RepairBegun { waiting } => {
                tracing::info!(copies_missing = waiting, "repair has begun");
            }
            Self::RepairEnded { made, moved, failed, bytes_pulled, took_ms } => tracing::info!(
                copies_made = made,
                copies_moved = moved,
                attempts_failed = failed,
                bytes_pulled,
                took = ?Duration::from_millis(*took_ms),
                "repair has ended"
            ),
        }
    }
}

impl Coordinator {
    /// Tells what happens for as long as the coordinator runs.
    pub(super) async fn chronicle(self: Arc<Self>) {
        let mut chronicle = Chronicle::default();
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let now_ms = self.now_ms();
            let (nodes, repair) = self.door.peek(|catalog| {
                let state = self.state();
                let nodes = catalog.members();
                let nodes = nodes.map(|it| (it.id.clone(), state.members.state(it.index, now_ms)));
                (nodes.collect(), self.repair_status(&state))
            });
            for event in chronicle.look(nodes, repair, now_ms) {
                event.tell();
            }
        }
    }

    /// The name of a member, for people.
    pub(super) fn node_name(&self, node: NodeIndex) -> String {
        let name = |catalog: &crate::catalog::Catalog| Some(catalog.member(node)?.id.to_string());
        self.door.peek(name).unwrap_or_else(|| format!("number {}", node.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(states: [NodeState; 2]) -> BTreeMap<NodeId, NodeState> {
        let name = |number: usize| NodeId::new(format!("n{number}")).expect("a name");
        (1..).map(name).zip(states).collect()
    }

    #[test]
    fn each_change_of_a_node_is_told_once_and_by_its_name() {
        use NodeState::{Absent, Offline, Online, Suspect};
        let mut chronicle = Chronicle::default();
        let mut told = Vec::new();
        for states in [
            [Online, Online],
            [Online, Suspect],
            [Online, Suspect],
            [Absent, Offline],
            [Online, Online],
        ] {
            for event in chronicle.look(nodes(states), RepairStatus::default(), 0) {
                let Event::Node { id, was, is } = event else { panic!("no repair") };
                told.push((id.to_string(), was, is));
            }
        }
        let expected = [
            ("n1", NodeState::Unknown, Online),
            ("n2", NodeState::Unknown, Online),
            ("n2", Online, Suspect),
            ("n1", Online, Absent),
            ("n2", Suspect, Offline),
            ("n1", Absent, Online),
            ("n2", Offline, Online),
        ];
        assert_eq!(told, expected.map(|(id, was, is)| (id.to_owned(), was, is)));
    }

    #[test]
    fn a_repair_is_told_at_its_begin_and_with_its_sums_at_its_end() {
        let at = |waiting, running, done, moved| RepairStatus {
            waiting,
            running,
            done,
            moved,
            bytes_pulled: 10 * done,
            ..RepairStatus::default()
        };
        let mut chronicle = Chronicle::default();
        let mut told = Vec::new();
        let steps = [
            at(0, 0, 5, 0),
            at(0, 0, 5, 0),
            at(20, 4, 5, 0),
            at(10, 4, 15, 0),
            at(0, 0, 28, 1),
            at(0, 0, 28, 1),
            at(0, 0, 28, 1),
        ];
        for (second, status) in (0..).zip(steps) {
            told.extend(chronicle.look(BTreeMap::new(), status, 1000 * second));
        }
        let expected = [
            // Before the first look something was made already.
            Event::RepairBegun { waiting: 5 },
            Event::RepairEnded { made: 5, moved: 0, failed: 0, bytes_pulled: 50, took_ms: 1000 },
            Event::RepairBegun { waiting: 24 },
            Event::RepairEnded { made: 23, moved: 1, failed: 0, bytes_pulled: 230, took_ms: 3000 },
        ];
        assert_eq!(told, expected);
    }
}
