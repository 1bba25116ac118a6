use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const NODE: NodeIndex = NodeIndex(3);
const RUN: SessionId = SessionId(1);
const GRACE_MS: u64 = 10_000;

/// A node that keeps count of itself, as a real one does.
#[derive(Default, Clone)]
struct Told {
    version: u64,
    chunks: BTreeMap<Handle, bool>,
    log: Vec<(u64, Handle)>,
}

impl Told {
    fn set(&mut self, handle: u64, goodness: Option<bool>) {
        self.version += 1;
        self.log.push((self.version, Handle(handle)));
        match goodness {
            Some(is_good) => self.chunks.insert(Handle(handle), is_good),
            None => self.chunks.remove(&Handle(handle)),
        };
    }

    fn held(&self, handle: Handle) -> Option<HeldChunk> {
        let is_good = *self.chunks.get(&handle)?;
        Some(HeldChunk { handle, stored_bytes: handle.0 * 10, is_good })
    }

    fn all(&self) -> Vec<HeldChunk> {
        self.chunks.keys().filter_map(|handle| self.held(*handle)).collect()
    }

    fn digest(&self) -> InventoryDigest {
        InventoryDigest {
            version: self.version,
            chunks: self.chunks.len() as u64,
            quarantined: self.chunks.values().filter(|good| !**good).count() as u64,
            fingerprint: self.all().iter().fold(0, |all, chunk| all ^ fingerprint(chunk)),
        }
    }

    fn since(&self, since: u64) -> InventoryChanges {
        let touched: std::collections::BTreeSet<Handle> =
            self.log.iter().filter(|(version, _)| *version > since).map(|(_, h)| *h).collect();
        let (held, gone) = touched.into_iter().partition(|h| self.chunks.contains_key(h));
        let held: Vec<Handle> = held;
        InventoryChanges { since, held: held.iter().filter_map(|h| self.held(*h)).collect(), gone }
    }

    fn pull(&self) -> Pull {
        let mut pull = Pull::default();
        assert!(pull.page(self.version, &self.all()));
        pull
    }
}

fn of(handles: &[u64]) -> Told {
    let mut told = Told::default();
    handles.iter().for_each(|handle| told.set(*handle, Some(true)));
    told
}

#[test]
fn nothing_is_missing_before_a_whole_inventory_was_heard() {
    let mut presence = Presence::default();
    let told = of(&[1, 2]);
    assert_eq!(presence.state(NODE, Handle(1)), CopyState::Unknown);
    let news = presence.heartbeat(NODE, RUN, &told.digest(), None, 0);
    assert_eq!(news, News { known_version: None, needs_inventory: true });
    assert_eq!(presence.state(NODE, Handle(9)), CopyState::Unknown);
    presence.replace_all(NODE, RUN, told.pull(), 0);
    assert_eq!(presence.state(NODE, Handle(1)), CopyState::Held);
    assert_eq!(presence.state(NODE, Handle(9)), CopyState::Missing);
    assert_eq!((presence.chunks(NODE), presence.bytes(NODE)), (2, 30));
}

#[test]
fn a_new_run_is_unknown_until_its_digest_is_the_known_one() {
    let mut presence = Presence::default();
    let mut told = of(&[1, 2]);
    presence.heartbeat(NODE, RUN, &told.digest(), None, 0);
    presence.replace_all(NODE, RUN, told.pull(), 0);
    told.version = 0;
    told.log.clear();
    let mut lost_one = told.clone();
    lost_one.chunks.remove(&Handle(2));
    let again = SessionId(2);
    let news = presence.heartbeat(NODE, again, &lost_one.digest(), None, 1);
    assert!(news.needs_inventory);
    assert_eq!(presence.state(NODE, Handle(1)), CopyState::Unknown);
    let news = presence.heartbeat(NODE, SessionId(3), &told.digest(), None, 2);
    assert_eq!(news, News { known_version: Some(0), needs_inventory: false });
    assert_eq!(presence.state(NODE, Handle(2)), CopyState::Held);
}

#[test]
fn a_pull_from_an_earlier_run_is_thrown_away() {
    let mut presence = Presence::default();
    let told = of(&[1]);
    presence.heartbeat(NODE, SessionId(2), &told.digest(), None, 0);
    presence.replace_all(NODE, RUN, of(&[1, 2]).pull(), 0);
    assert_eq!(presence.state(NODE, Handle(2)), CopyState::Unknown);
}

#[test]
fn pages_of_different_versions_become_whole_with_the_changes_since_the_first() {
    let mut presence = Presence::default();
    let mut told = of(&[1, 2, 3, 4]);
    presence.heartbeat(NODE, RUN, &told.digest(), None, 0);
    let mut pull = Pull::default();
    let all = told.all();
    assert!(pull.page(told.version, &all[..2]));
    told.set(1, None);
    told.set(9, Some(true));
    told.set(3, Some(false));
    let later: Vec<_> = told.all().into_iter().filter(|c| c.handle > Handle(2)).collect();
    assert!(pull.page(told.version, &later));
    presence.replace_all(NODE, RUN, pull, 0);
    assert_eq!(presence.state(NODE, Handle(1)), CopyState::Unknown);
    // The node was told nothing yet, cannot say, and is named the version.
    let news = presence.heartbeat(NODE, RUN, &told.digest(), None, 1);
    assert_eq!(news, News { known_version: Some(4), needs_inventory: false });
    let news = presence.heartbeat(NODE, RUN, &told.digest(), Some(&told.since(4)), 2);
    assert_eq!(news, News { known_version: Some(7), needs_inventory: false });
    assert_eq!(presence.state(NODE, Handle(1)), CopyState::Missing);
    assert_eq!(presence.state(NODE, Handle(3)), CopyState::Bad);
    assert_eq!(presence.quarantined(NODE), 1);
}

#[test]
fn a_node_that_twice_cannot_say_what_changed_is_asked_for_everything() {
    let mut presence = Presence::default();
    let mut told = of(&[1]);
    presence.heartbeat(NODE, RUN, &told.digest(), None, 0);
    presence.replace_all(NODE, RUN, told.pull(), 0);
    told.set(2, Some(true));
    assert!(!presence.heartbeat(NODE, RUN, &told.digest(), None, 1).needs_inventory);
    assert_eq!(presence.state(NODE, Handle(1)), CopyState::Held, "known as of before");
    assert!(presence.heartbeat(NODE, RUN, &told.digest(), None, 2).needs_inventory);
    assert_eq!(presence.state(NODE, Handle(1)), CopyState::Unknown);
}

#[test]
fn an_overtaken_heartbeat_changes_nothing() {
    let mut presence = Presence::default();
    let mut told = of(&[1]);
    let old = (told.digest(), told.since(0));
    told.set(2, Some(true));
    presence.heartbeat(NODE, RUN, &told.digest(), None, 0);
    presence.replace_all(NODE, RUN, told.pull(), 0);
    let news = presence.heartbeat(NODE, RUN, &old.0, Some(&old.1), 1);
    assert_eq!(news, News { known_version: Some(2), needs_inventory: false });
    assert_eq!(presence.state(NODE, Handle(2)), CopyState::Held);
}

#[test]
fn pages_out_of_order_are_refused() {
    let chunks = of(&[1, 2]).all();
    let mut pull = Pull::default();
    assert!(pull.page(1, &chunks));
    assert!(!pull.page(1, &chunks[1..]));
}

#[test]
fn a_claim_counts_as_held_until_the_inventory_had_time_to_tell() {
    let mut presence = Presence::default();
    let mut told = of(&[1]);
    presence.heartbeat(NODE, RUN, &told.digest(), None, 0);
    presence.replace_all(NODE, RUN, told.pull(), 0);
    presence.claim(NODE, Handle(2), 1_000);
    presence.claim(NODE, Handle(3), 1_000);
    presence.heartbeat(NODE, RUN, &told.digest(), None, 3_000);
    assert_eq!(presence.state(NODE, Handle(2)), CopyState::Held);
    told.set(2, Some(true));
    presence.heartbeat(NODE, RUN, &told.digest(), Some(&told.since(1)), 14_000);
    assert_eq!(presence.state(NODE, Handle(2)), CopyState::Held);
    assert_eq!(presence.state(NODE, Handle(3)), CopyState::Missing);
}

#[test]
fn destroying_needs_a_second_whole_inventory_one_grace_period_later() {
    let mut presence = Presence::default();
    let told = of(&[1, 2]);
    let is_wanted = |_, handle| handle == Handle(1);
    presence.heartbeat(NODE, RUN, &told.digest(), None, 0);
    assert!(presence.destroyable(0, 0, is_wanted).is_empty(), "nothing is known yet");
    presence.replace_all(NODE, RUN, told.pull(), 0);
    assert!(presence.destroyable(1_000, GRACE_MS, is_wanted).is_empty());
    assert_eq!(presence.unwanted_bytes(), 20);
    assert!(
        presence.destroyable(60_000, GRACE_MS, is_wanted).is_empty(),
        "time alone is not enough"
    );
    presence.heartbeat(NODE, RUN, &told.digest(), None, 10_999);
    assert!(presence.destroyable(60_000, GRACE_MS, is_wanted).is_empty(), "it came too early");
    presence.heartbeat(NODE, RUN, &told.digest(), None, 11_000);
    assert_eq!(presence.destroyable(11_000, GRACE_MS, is_wanted), [(NODE, Handle(2))]);
}

#[test]
fn a_copy_that_was_wanted_in_between_waits_anew() {
    let mut presence = Presence::default();
    let told = of(&[1]);
    presence.heartbeat(NODE, RUN, &told.digest(), None, 0);
    presence.replace_all(NODE, RUN, told.pull(), 0);
    presence.destroyable(0, GRACE_MS, |_, _| false);
    presence.destroyable(5_000, GRACE_MS, |_, _| true);
    presence.destroyable(9_000, GRACE_MS, |_, _| false);
    presence.heartbeat(NODE, RUN, &told.digest(), None, 18_000);
    assert!(presence.destroyable(18_000, GRACE_MS, |_, _| false).is_empty());
    presence.heartbeat(NODE, RUN, &told.digest(), None, 19_000);
    assert_eq!(presence.destroyable(19_000, GRACE_MS, |_, _| false).len(), 1);
}

#[test]
fn a_sweep_is_bounded_and_goes_on_where_it_stopped() {
    let mut presence = Presence::default();
    let many = DESTROYED_PER_SWEEP_MAX as u64 + 10;
    let told = of(&(1..=many).collect::<Vec<_>>());
    for node in [NODE, NodeIndex(5)] {
        presence.heartbeat(node, RUN, &told.digest(), None, 0);
        presence.replace_all(node, RUN, told.pull(), 0);
    }
    presence.destroyable(0, 0, |_, _| false);
    for node in [NODE, NodeIndex(5)] {
        presence.heartbeat(node, RUN, &told.digest(), None, 1);
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let found = presence.destroyable(1, 0, |_, _| false);
        assert!(found.len() <= DESTROYED_PER_SWEEP_MAX);
        seen.extend(found);
    }
    assert_eq!(seen.len() as u64, 2 * many);
}

#[test]
fn a_copy_takes_few_bytes() {
    // A B-tree leaf of eleven entries is at least half full.
    assert!(2 * size_of::<(Handle, inventory::Held)>() < 100);
}

proptest! {
    #[test]
    fn heartbeats_that_arrive_or_not_lead_to_what_the_node_holds(
        steps in prop::collection::vec(
            (1_u64..12, prop::option::of(any::<bool>()), any::<bool>(), any::<bool>()), 1..60),
    ) {
        let mut presence = Presence::default();
        let mut told = Told::default();
        let mut acknowledged = None;
        let mut now_ms = 0;
        let mut beat = |told: &Told, reply_arrives: bool, presence: &mut Presence| {
            now_ms += 3_000;
            let changes = acknowledged.map(|since| told.since(since));
            let news = presence.heartbeat(NODE, RUN, &told.digest(), changes.as_ref(), now_ms);
            if news.needs_inventory {
                presence.replace_all(NODE, RUN, told.pull(), now_ms);
            }
            if reply_arrives {
                acknowledged = news.known_version;
            }
        };
        for (handle, goodness, arrives, reply_arrives) in steps {
            told.set(handle, goodness);
            if arrives {
                beat(&told, reply_arrives, &mut presence);
            }
        }
        for _ in 0..3 {
            beat(&told, true, &mut presence);
        }
        for handle in (1..12).map(Handle) {
            let expected = match told.chunks.get(&handle) {
                Some(true) => CopyState::Held,
                Some(false) => CopyState::Bad,
                None => CopyState::Missing,
            };
            prop_assert_eq!(presence.state(NODE, handle), expected);
        }
        let bytes: u64 = told.chunks.keys().map(|handle| handle.0 * 10).sum();
        prop_assert_eq!(presence.bytes(NODE), bytes);
    }
}
