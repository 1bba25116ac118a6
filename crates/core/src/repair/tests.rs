//! Repair against a small model of a cluster: nodes hold copies, die, come
//! back and lose things; tasks are carried out to the letter.

mod steps;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::catalog::{ChunkRecord, StripeRecord};
use crate::data::digest::Digest;
use crate::id::{FileId, NodeId, SessionId};
use crate::placement::{PlacementRequest, choose, tolerance};
use crate::policy::{CHUNK_SIZE_DEFAULT, Compression, PlacementStrategy, PolicySpec};

/// What a node has of a chunk: whether it is good.
type Disk = BTreeMap<Handle, bool>;

struct World {
    standings: BTreeMap<NodeIndex, Standing>,
    disks: BTreeMap<NodeIndex, Disk>,
    stripes: BTreeMap<Handle, StripeRecord>,
    policy: Policy,
    running: BTreeMap<Handle, NodeIndex>,
    resting: BTreeSet<Handle>,
    avoided: BTreeSet<(Handle, NodeIndex)>,
    per_target_max: u32,
    tasks_max: usize,
}

impl World {
    fn new(nodes: u16, replication: u8, parity: &str) -> Self {
        let spec = PolicySpec {
            replication,
            parity: parity.parse().expect("a parity"),
            compression: Compression::Lz4,
            chunk_size: CHUNK_SIZE_DEFAULT,
        };
        let mut world = Self {
            standings: BTreeMap::new(),
            disks: BTreeMap::new(),
            stripes: BTreeMap::new(),
            policy: spec.resolve(usize::from(nodes)).expect("a policy"),
            running: BTreeMap::new(),
            resting: BTreeSet::new(),
            avoided: BTreeSet::new(),
            per_target_max: 1000,
            tasks_max: 1000,
        };
        (1..=nodes).for_each(|node| world.join(node));
        world
    }

    fn join(&mut self, node: u16) {
        self.standings.insert(NodeIndex(node), Standing::Here);
        self.disks.insert(NodeIndex(node), Disk::new());
    }

    fn set(&mut self, node: u16, standing: Standing) {
        self.standings.insert(NodeIndex(node), standing);
    }

    fn candidates(&self) -> Vec<Candidate> {
        let candidate = |(index, standing): (&NodeIndex, &Standing)| Candidate {
            index: *index,
            id: NodeId::new(format!("n{}", index.0)).expect("an id"),
            zone: None,
            capacity: 1 << 40,
            free: 1 << 40,
            is_writable: *standing == Standing::Here,
            note: None,
        };
        self.standings.iter().map(candidate).collect()
    }

    /// Stores stripes as a `put` does.
    fn put(&mut self, stripes: u64) {
        for key in 0..stripes {
            let layout = choose(&PlacementRequest {
                strategy: PlacementStrategy::RoundRobin,
                candidates: &self.candidates(),
                policy: &self.policy,
                shape: self.policy.full_shape(),
                key,
                chunk_bytes: 100,
                excluded: &BTreeSet::new(),
                allow_unsafe: true,
                is_strict: false,
            });
            self.store(1 + 100 * key, layout.expect("placed").copies);
        }
    }

    fn store(&mut self, first_handle: u64, copies: Vec<Vec<NodeIndex>>) {
        let shape = self.policy.full_shape();
        let chunk = |copies: Vec<NodeIndex>| ChunkRecord {
            digest: Digest([0; 32]),
            raw_len: 100,
            stored_len: 100,
            copies: copies.into(),
        };
        let first_handle = Handle(first_handle);
        let chunks = copies.into_iter().map(chunk).collect();
        let stripe = StripeRecord { first_handle, file: FileId(0), index: 0, shape, chunks };
        for (slot, chunk) in stripe.chunks.iter().enumerate() {
            for node in &chunk.copies {
                self.disks.entry(*node).or_default().insert(stripe.handle(slot), true);
            }
        }
        self.stripes.insert(first_handle, stripe);
    }

    fn copy_state(&self, node: NodeIndex, handle: Handle) -> CopyState {
        if self.standings.get(&node) == Some(&Standing::Unknown) {
            return CopyState::Unknown;
        }
        match self.disks.get(&node).and_then(|disk| disk.get(&handle)) {
            Some(true) => CopyState::Held,
            Some(false) => CopyState::Bad,
            None => CopyState::Missing,
        }
    }

    fn plan(&self) -> Vec<RepairTask> {
        let copy_state = |node, handle| self.copy_state(node, handle);
        let view = View { standings: &self.standings, copy_state: &copy_state };
        plan(
            self.stripes.values().map(|stripe| (stripe, &self.policy)),
            &view,
            &Limits {
                candidates: &self.candidates(),
                tasks_max: self.tasks_max,
                tasks_per_target_max: self.per_target_max,
                running: &self.running,
                is_resting: &|handle| self.resting.contains(&handle),
                is_avoided: &|handle, node| self.avoided.contains(&(handle, node)),
            },
        )
    }

    fn survey(&self) -> Survey {
        let copy_state = |node, handle| self.copy_state(node, handle);
        let view = View { standings: &self.standings, copy_state: &copy_state };
        let mut survey = Survey::default();
        // The short way to a whole stripe comes to the same as the long one.
        let mut health = StripeHealth::default();
        for stripe in self.stripes.values() {
            survey.look(stripe, &self.policy, &view);
            health.count(assess(stripe, &self.policy, &view).condition);
        }
        assert_eq!(survey.health(), health);
        survey
    }

    /// The copies that can be read, for each chunk.
    fn good(&self, stripe: &StripeRecord) -> Vec<Vec<NodeIndex>> {
        let is_good = |node: &NodeIndex, slot| {
            self.standings.get(node) == Some(&Standing::Here)
                && self.copy_state(*node, stripe.handle(slot)) == CopyState::Held
        };
        let good = |(slot, chunk): (usize, &ChunkRecord)| {
            chunk.copies.iter().copied().filter(|node| is_good(node, slot)).collect()
        };
        stripe.chunks.iter().enumerate().map(good).collect()
    }

    /// Does what a task says, and checks what repair may never do.
    fn carry_out(&mut self, task: &RepairTask) {
        let before = self.good(&self.stripes[&task.stripe]);
        let target_had = self.copy_state(task.target, task.handle);
        let stripe = self.stripes.get_mut(&task.stripe).expect("planned");
        assert_eq!(stripe.handle(task.slot), task.handle);
        assert_eq!(stripe.chunks[task.slot].copies.to_vec(), task.expected);
        assert_eq!(self.standings[&task.target], Standing::Here);
        assert!(
            !task.expected.contains(&task.target) || target_had != CopyState::Held,
            "the target has a good copy already: {task:?}"
        );
        let distinct: BTreeSet<_> = task.copies_after.iter().collect();
        assert_eq!(distinct.len(), task.copies_after.len(), "doubled: {task:?}");
        stripe.chunks[task.slot].copies = task.copies_after.clone().into();
        self.disks.entry(task.target).or_default().insert(task.handle, true);
        let stripe = &self.stripes[&task.stripe];
        let after = self.good(stripe);
        assert!(after[task.slot].len() > before[task.slot].len() - usize::from(task.is_move));
        assert!(tolerance(stripe.shape, &after) >= tolerance(stripe.shape, &before));
        // What the layout no longer names is trimmed some time.
        for (node, disk) in &mut self.disks {
            if self.standings.get(node) == Some(&Standing::Here)
                && !task.copies_after.contains(node)
            {
                disk.remove(&task.handle);
            }
        }
    }

    /// Plans and carries out until nothing is left to do.
    fn settle(&mut self) -> usize {
        let mut done = 0;
        for _ in 0..1000 {
            let tasks = self.plan();
            if tasks.is_empty() {
                return done;
            }
            done += tasks.len();
            tasks.iter().for_each(|task| self.carry_out(task));
        }
        panic!("repair does not come to an end");
    }

    fn health(&self) -> StripeHealth {
        self.survey().health()
    }
}

fn full(stripes: u64) -> StripeHealth {
    StripeHealth { full: stripes, ..StripeHealth::default() }
}

#[test]
fn a_whole_cluster_needs_nothing() {
    for (nodes, replication, parity) in
        [(3, 2, "xor"), (6, 1, "rs:4+2"), (3, 3, "none"), (1, 1, "none")]
    {
        let mut world = World::new(nodes, replication, parity);
        world.put(20);
        assert_eq!(world.plan(), []);
        assert_eq!(world.health(), full(20));
    }
}

#[test]
fn copies_on_nodes_that_may_come_back_are_left_alone() {
    for standing in [Standing::Suspect, Standing::Unknown, Standing::Away] {
        let mut world = World::new(5, 2, "xor:2");
        world.put(20);
        world.set(2, standing);
        assert_eq!(world.plan(), [], "{standing:?}");
        assert_eq!(world.survey().waiting(), 0);
    }
}

#[test]
fn a_dead_node_is_made_good_elsewhere() {
    for (replication, parity) in [(2, "none"), (1, "xor:3"), (2, "xor:2"), (1, "rs:3+2")] {
        let mut world = World::new(7, replication, parity);
        world.put(21);
        world.set(2, Standing::Gone);
        let lost = world.survey().waiting();
        assert!(lost > 0);
        assert_eq!(world.settle() as u64, lost, "each lost copy is made once");
        assert_eq!(world.health(), full(21));
        let layouts = world.stripes.values().flat_map(|stripe| &stripe.chunks);
        assert!(layouts.into_iter().all(|chunk| !chunk.copies.contains(&NodeIndex(2))));
    }
}

/// One node is free for all stripes, and has its hands full: it is waited for,
/// since a copy that stands crowded elsewhere would have to move once more.
#[test]
fn a_target_with_its_hands_full_is_waited_for() {
    for (nodes, parity) in [(5_u16, "xor:3"), (7, "rs:4+2"), (3, "none")] {
        let mut world = World::new(nodes, 2 - u8::from(parity != "none"), parity);
        for stripe in 0..10 {
            let copies = (1..nodes).map(|node| vec![NodeIndex(node)]);
            let copies = match parity {
                "none" => vec![vec![NodeIndex(1), NodeIndex(2)]],
                _ => copies.collect(),
            };
            world.store(1 + 100 * stripe, copies);
        }
        world.per_target_max = 2;
        world.tasks_max = 16;
        world.set(2, Standing::Gone);
        assert_eq!(world.plan().len(), 2, "{parity}");
        assert_eq!(world.settle(), 10, "{parity}: each lost copy is made once");
        assert_eq!(world.health(), full(10), "{parity}");
    }
}

#[test]
fn the_founding_example_recovers_on_two_nodes() {
    let mut world = World::new(3, 2, "xor");
    world.put(9);
    world.set(1, Standing::Gone);
    world.settle();
    assert_eq!(world.health(), full(9), "two copies of each chunk, and parity on either");
}

#[test]
fn what_a_node_lost_is_rebuilt_where_it_was() {
    let mut world = World::new(5, 2, "none");
    world.put(5);
    world.disks.get_mut(&NodeIndex(3)).expect("a node").clear();
    let bad = *world.disks[&NodeIndex(4)].keys().next().expect("a copy");
    world.disks.get_mut(&NodeIndex(4)).expect("a node").insert(bad, false);
    let before = world.stripes.clone();
    let tasks = world.plan();
    assert!(tasks.iter().all(|task| task.target == NodeIndex(3) || task.handle == bad));
    world.settle();
    for (handle, stripe) in &before {
        let sorted = |stripe: &StripeRecord| {
            stripe.chunks[0].copies.iter().copied().collect::<BTreeSet<_>>()
        };
        assert_eq!(sorted(stripe), sorted(&world.stripes[handle]));
    }
}

#[test]
fn a_node_that_failed_at_a_chunk_is_avoided() {
    let mut world = World::new(5, 2, "none");
    world.put(1);
    let handle = Handle(1);
    let node = world.stripes[&handle].chunks[0].copies[0];
    world.disks.get_mut(&node).expect("a node").clear();
    world.avoided.insert((handle, node));
    let tasks = world.plan();
    assert_eq!(tasks.len(), 1);
    assert_ne!(tasks[0].target, node);
    world.resting.insert(handle);
    assert_eq!(world.plan(), []);
}

#[test]
fn a_good_copy_that_the_layout_forgot_is_taken_up_again() {
    let mut world = World::new(6, 2, "none");
    world.put(1);
    let handle = Handle(1);
    world.disks.get_mut(&NodeIndex(5)).expect("a node").insert(handle, true);
    let node = world.stripes[&handle].chunks[0].copies[0];
    world.set(node.0, Standing::Gone);
    assert_eq!(world.plan()[0].target, NodeIndex(5));
}

#[test]
fn the_fewest_spares_come_first_and_limits_are_kept() {
    let mut world = World::new(8, 3, "none");
    world.put(16);
    world.set(1, Standing::Gone);
    world.set(2, Standing::Gone);
    world.tasks_max = 4;
    let tasks = world.plan();
    let spares: Vec<_> = tasks.iter().map(|task| task.spares).collect();
    assert_eq!(spares, [Some(0); 4], "stripes that lost two copies before those that lost one");
    world.tasks_max = 100;
    world.per_target_max = 1;
    let targets: Vec<_> = world.plan().iter().map(|task| task.target).collect();
    assert_eq!(targets.len(), targets.iter().collect::<BTreeSet<_>>().len());
    assert_eq!(targets.len(), 6, "each of the six that are left has one");
}

#[test]
fn a_chunk_that_is_being_rebuilt_is_not_planned_again() {
    let mut world = World::new(7, 1, "rs:3+2");
    world.put(1);
    world.set(1, Standing::Gone);
    world.set(2, Standing::Gone);
    let tasks = world.plan();
    assert_eq!(tasks.len(), 2);
    assert_ne!(tasks[0].target, tasks[1].target, "two chunks of a stripe do not meet");
    world.running.insert(tasks[0].handle, tasks[0].target);
    let rest = world.plan();
    assert_eq!(rest.len(), 1);
    assert_eq!((rest[0].handle, rest[0].target), (tasks[1].handle, tasks[1].target));
}

#[test]
fn a_degraded_put_waits_for_the_missing_node_and_is_completed_on_it() {
    let mut world = World::new(6, 1, "rs:4+2");
    world.set(6, Standing::Away);
    world.put(6);
    assert_eq!(world.survey().waiting(), 6);
    assert_eq!(world.plan(), [], "every node that is here has a chunk of each stripe");
    world.set(6, Standing::Here);
    assert_eq!(world.settle(), 6);
    assert_eq!(world.health(), full(6));
}

#[test]
fn when_nobody_is_expected_back_copies_crowd_and_later_spread_again() {
    let mut world = World::new(6, 1, "rs:4+2");
    world.put(6);
    world.set(6, Standing::Gone);
    world.set(5, Standing::Gone);
    assert_eq!(world.health(), StripeHealth { at_risk: 6, ..StripeHealth::default() });
    world.settle();
    assert_eq!(world.health(), StripeHealth { degraded: 6, ..StripeHealth::default() });
    assert_eq!(world.survey().waiting(), 0);
    world.join(7);
    world.join(8);
    assert_eq!(world.settle(), 12, "one move to each new node for each stripe");
    assert_eq!(world.health(), full(6));
}

#[test]
fn what_nothing_is_left_of_is_counted_and_not_tried() {
    let mut world = World::new(4, 1, "none");
    world.put(4);
    world.set(1, Standing::Gone);
    assert_eq!(world.plan(), []);
    let survey = world.survey();
    assert_eq!((survey.waiting(), survey.unrecoverable()), (1, 1));
    assert_eq!(survey.health(), StripeHealth { full: 3, unreachable: 1, ..full(0) });
    world.set(1, Standing::Here);
    assert_eq!(world.health(), full(4));
}

#[test]
fn data_on_a_node_that_is_away_is_unreachable_and_data_that_its_node_lost_is_lost() {
    let mut world = World::new(4, 1, "none");
    world.put(4);
    for standing in [Standing::Away, Standing::Gone] {
        world.set(1, standing);
        let survey = world.survey();
        assert_eq!(survey.health(), StripeHealth { full: 3, unreachable: 1, ..full(0) });
        assert_eq!(survey.files_affected(Condition::Unreachable), 1);
        assert_eq!(survey.files_affected(Condition::Lost), 0);
    }
    world.set(1, Standing::Here);
    world.disks.insert(NodeIndex(1), Disk::new());
    let survey = world.survey();
    assert_eq!(survey.health(), StripeHealth { full: 3, lost: 1, ..full(0) });
    assert_eq!(survey.files_affected(Condition::Lost), 1);
}

#[test]
fn stripes_are_unknown_until_their_nodes_have_told() {
    let mut world = World::new(3, 2, "none");
    world.put(3);
    (1..=3).for_each(|node| world.set(node, Standing::Unknown));
    assert_eq!(world.health(), StripeHealth { unknown: 3, ..full(0) });
    (1..=2).for_each(|node| world.set(node, Standing::Here));
    assert_eq!(world.health(), StripeHealth { full: 1, unknown: 2, ..full(0) });
    world.set(3, Standing::Away);
    assert_eq!(world.health(), StripeHealth { full: 1, at_risk: 2, ..full(0) });
}

#[test]
fn a_standing_follows_from_health() {
    let mut health = Health::new(0);
    assert_eq!(Standing::of(&health, 12_000, 60_000), Standing::Unknown);
    assert_eq!(Standing::of(&health, 72_000, 60_000), Standing::Away, "it had its time");
    assert_eq!(Standing::of(&health, 72_001, 60_000), Standing::Gone);
    health.heard(80_000, SessionId(1));
    for (now_ms, standing) in [
        (80_000, Standing::Here),
        (86_001, Standing::Suspect),
        (92_001, Standing::Away),
        (152_000, Standing::Away),
        (152_001, Standing::Gone),
    ] {
        assert_eq!(Standing::of(&health, now_ms, 60_000), standing, "at {now_ms}");
    }
    // Without a repair delay a suspect node is still not given up.
    assert_eq!(Standing::of(&health, 90_000, 0), Standing::Suspect);
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Set(u16, Standing),
    Lose(u16, u64),
    Rot(u16, u64),
    Join,
    Repair,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let standing = prop::sample::select(vec![
        Standing::Here,
        Standing::Suspect,
        Standing::Away,
        Standing::Gone,
    ]);
    let event = prop_oneof![
        4 => (1_u16..8, standing).prop_map(|(node, standing)| Event::Set(node, standing)),
        2 => (1_u16..8, any::<u64>()).prop_map(|(node, which)| Event::Lose(node, which)),
        2 => (1_u16..8, any::<u64>()).prop_map(|(node, which)| Event::Rot(node, which)),
        1 => Just(Event::Join),
        4 => Just(Event::Repair),
    ];
    prop::collection::vec(event, 0..24)
}

proptest! {
    #[test]
    fn repair_never_makes_it_worse_and_comes_to_an_end(
        nodes in 3_u16..8,
        replication in 1_u8..4,
        parity in prop::sample::select(vec!["none", "xor:2", "xor", "rs:2+2", "rs:4+2"]),
        events in events(),
    ) {
        let mut world = World::new(nodes, replication, parity);
        world.put(5);
        let mut next = 8;
        for event in events {
            match event {
                Event::Set(node, standing) if node <= nodes => world.set(node, standing),
                Event::Lose(node, which) | Event::Rot(node, which) if node <= nodes => {
                    let disk = world.disks.get_mut(&NodeIndex(node)).expect("a node");
                    let count = disk.len().max(1);
                    let handle = disk.keys().nth(which as usize % count).copied();
                    if let Some(handle) = handle {
                        match event {
                            Event::Rot(..) => disk.insert(handle, false),
                            _ => disk.remove(&handle),
                        };
                    }
                }
                Event::Join => {
                    world.join(next);
                    next += 1;
                }
                Event::Repair => world.plan().iter().for_each(|task| world.carry_out(task)),
                _ => {}
            }
        }
        // All come back, and there are nodes enough.
        for node in 1..=nodes {
            world.set(node, Standing::Here);
        }
        let wide = u16::from(replication) * u16::from(world.policy.coding.data) + 4;
        (next..next + wide).for_each(|node| world.join(node));
        world.settle();
        let survey = world.survey();
        let health = survey.health();
        prop_assert_eq!(survey.waiting(), survey.unrecoverable());
        prop_assert_eq!(health.full + health.lacking(), 5);
        if survey.unrecoverable() == 0 {
            prop_assert_eq!(health, full(5));
        }
    }
}
