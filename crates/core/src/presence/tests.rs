use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const NODE: NodeIndex = NodeIndex(3);
const RUN: SessionId = SessionId(1);
const GRACE_MS: u64 = 10_000;
const MANY: usize = usize::MAX;

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
}

fn of(handles: &[u64]) -> Told {
    let mut told = Told::default();
    handles.iter().for_each(|handle| told.set(*handle, Some(true)));
    told
}

/// Pulls a whole inventory, as the coordinator does.
fn replace(
    presence: &mut Presence,
    node: NodeIndex,
    session: SessionId,
    version: u64,
    chunks: Vec<HeldChunk>,
    now_ms: u64,
) {
    let mut pulled = Pulled::default();
    chunks.chunks(2).for_each(|page| pulled.add(page.iter().copied()));
    while presence.carry_notes(node, &mut pulled) {}
    presence.replace(node, session, version, pulled, now_ms);
}

#[test]
fn nothing_is_missing_before_a_whole_inventory_was_heard() {
    let mut presence = Presence::default();
    let told = of(&[1, 2]);
    assert_eq!(presence.state(NODE, Handle(1)), CopyState::Unknown);
    let news = presence.hear(NODE, RUN, &told.digest(), None, 0);
    assert_eq!(news, None);
    assert_eq!(presence.state(NODE, Handle(9)), CopyState::Unknown);
    replace(&mut presence, NODE, RUN, told.version, told.all(), 0);
    assert_eq!(presence.state(NODE, Handle(1)), CopyState::Held);
    assert_eq!(presence.state(NODE, Handle(9)), CopyState::Missing);
    assert_eq!(presence.summary(NODE), Summary { chunks: 2, quarantined: 0, bytes: 30 });
}

#[test]
fn a_new_run_is_unknown_until_its_digest_is_the_known_one() {
    let mut presence = Presence::default();
    let mut told = of(&[1, 2]);
    presence.hear(NODE, RUN, &told.digest(), None, 0);
    replace(&mut presence, NODE, RUN, told.version, told.all(), 0);
    told.version = 0;
    told.log.clear();
    let mut lost_one = told.clone();
    lost_one.chunks.remove(&Handle(2));
    let again = SessionId(2);
    let news = presence.hear(NODE, again, &lost_one.digest(), None, 1);
    assert_eq!(news, None);
    assert_eq!(presence.state(NODE, Handle(1)), CopyState::Unknown);
    let news = presence.hear(NODE, SessionId(3), &told.digest(), None, 2);
    assert_eq!(news, Some(0));
    assert_eq!(presence.state(NODE, Handle(2)), CopyState::Held);
}

#[test]
fn a_pull_from_an_earlier_run_is_thrown_away() {
    let mut presence = Presence::default();
    let told = of(&[1]);
    presence.hear(NODE, SessionId(2), &told.digest(), None, 0);
    replace(&mut presence, NODE, RUN, 2, of(&[1, 2]).all(), 0);
    assert_eq!(presence.state(NODE, Handle(2)), CopyState::Unknown);
}

#[test]
fn pages_of_different_versions_become_whole_with_the_changes_since_the_first() {
    let mut presence = Presence::default();
    let mut told = of(&[1, 2, 3, 4]);
    presence.hear(NODE, RUN, &told.digest(), None, 0);
    let mut pages = told.all();
    pages.truncate(2);
    told.set(1, None);
    told.set(9, Some(true));
    told.set(3, Some(false));
    pages.extend(told.all().into_iter().filter(|chunk| chunk.handle > Handle(2)));
    replace(&mut presence, NODE, RUN, 4, pages, 0);
    assert_eq!(presence.state(NODE, Handle(1)), CopyState::Unknown);
    // The node was told nothing yet, cannot say, and is named the version.
    let news = presence.hear(NODE, RUN, &told.digest(), None, 1);
    assert_eq!(news, Some(4));
    let news = presence.hear(NODE, RUN, &told.digest(), Some(&told.since(4)), 2);
    assert_eq!(news, Some(7));
    assert_eq!(presence.state(NODE, Handle(1)), CopyState::Missing);
    assert_eq!(presence.state(NODE, Handle(3)), CopyState::Bad);
    assert_eq!(presence.summary(NODE).quarantined, 1);
}

#[test]
fn a_node_that_twice_cannot_say_what_changed_is_asked_for_everything() {
    let mut presence = Presence::default();
    let mut told = of(&[1]);
    presence.hear(NODE, RUN, &told.digest(), None, 0);
    replace(&mut presence, NODE, RUN, told.version, told.all(), 0);
    told.set(2, Some(true));
    assert_eq!(presence.hear(NODE, RUN, &told.digest(), None, 1), Some(1));
    assert_eq!(presence.state(NODE, Handle(1)), CopyState::Held, "known as of before");
    assert_eq!(presence.hear(NODE, RUN, &told.digest(), None, 2), None);
    assert_eq!(presence.state(NODE, Handle(1)), CopyState::Unknown);
}

#[test]
fn an_overtaken_heartbeat_changes_nothing() {
    let mut presence = Presence::default();
    let mut told = of(&[1]);
    let old = (told.digest(), told.since(0));
    told.set(2, Some(true));
    presence.hear(NODE, RUN, &told.digest(), None, 0);
    replace(&mut presence, NODE, RUN, told.version, told.all(), 0);
    let news = presence.hear(NODE, RUN, &old.0, Some(&old.1), 1);
    assert_eq!(news, Some(2));
    assert_eq!(presence.state(NODE, Handle(2)), CopyState::Held);
}

#[test]
fn destroying_needs_a_second_whole_inventory_one_grace_period_later() {
    let mut presence = Presence::default();
    let told = of(&[1, 2]);
    let is_wanted = |_, handle| handle == Handle(1);
    presence.hear(NODE, RUN, &told.digest(), None, 0);
    assert!(presence.destroyable(0, 0, MANY, is_wanted).is_empty(), "nothing is known yet");
    replace(&mut presence, NODE, RUN, told.version, told.all(), 0);
    assert!(presence.destroyable(1_000, GRACE_MS, MANY, is_wanted).is_empty());
    assert_eq!(presence.unwanted_bytes(), 20);
    assert!(
        presence.destroyable(60_000, GRACE_MS, MANY, is_wanted).is_empty(),
        "time alone is not enough"
    );
    presence.hear(NODE, RUN, &told.digest(), None, 10_999);
    assert!(
        presence.destroyable(60_000, GRACE_MS, MANY, is_wanted).is_empty(),
        "it came too early"
    );
    presence.hear(NODE, RUN, &told.digest(), None, 11_000);
    assert_eq!(presence.destroyable(11_000, GRACE_MS, MANY, is_wanted), [(NODE, Handle(2))]);
}

#[test]
fn without_a_grace_period_a_second_inventory_is_still_needed() {
    let mut presence = Presence::default();
    let told = of(&[1]);
    presence.hear(NODE, RUN, &told.digest(), None, 5);
    replace(&mut presence, NODE, RUN, told.version, told.all(), 5);
    for _ in 0..3 {
        assert!(presence.destroyable(5, 0, MANY, |_, _| false).is_empty());
    }
    presence.hear(NODE, RUN, &told.digest(), None, 5);
    assert_eq!(presence.destroyable(5, 0, MANY, |_, _| false).len(), 1);
}

#[test]
fn a_copy_that_was_wanted_in_between_waits_anew() {
    let mut presence = Presence::default();
    let told = of(&[1]);
    presence.hear(NODE, RUN, &told.digest(), None, 0);
    replace(&mut presence, NODE, RUN, told.version, told.all(), 0);
    presence.destroyable(0, GRACE_MS, MANY, |_, _| false);
    presence.destroyable(5_000, GRACE_MS, MANY, |_, _| true);
    presence.destroyable(9_000, GRACE_MS, MANY, |_, _| false);
    presence.hear(NODE, RUN, &told.digest(), None, 18_000);
    assert!(presence.destroyable(18_000, GRACE_MS, MANY, |_, _| false).is_empty());
    presence.hear(NODE, RUN, &told.digest(), None, 19_000);
    assert_eq!(presence.destroyable(19_000, GRACE_MS, MANY, |_, _| false).len(), 1);
}

#[test]
fn a_sweep_is_bounded_and_goes_on_where_it_stopped() {
    let mut presence = Presence::default();
    let many = 3 * HANDLES_PER_SLICE_MAX as u64 + 10;
    let told = of(&(1..=many).collect::<Vec<_>>());
    for node in [NODE, NodeIndex(5)] {
        presence.hear(node, RUN, &told.digest(), None, 0);
        replace(&mut presence, node, RUN, told.version, told.all(), 0);
    }
    let mut pass = |now_ms| {
        let (mut seen, mut slices) = (std::collections::BTreeSet::new(), 0);
        loop {
            let looked = std::cell::Cell::new(0);
            let found = presence.destroyable(now_ms, 0, 500, |_, _| {
                looked.set(looked.get() + 1);
                false
            });
            assert!(looked.get() <= HANDLES_PER_SLICE_MAX && found.len() <= 500);
            seen.extend(found);
            slices += 1;
            if !presence.is_mid_sweep() {
                break;
            }
        }
        for node in [NODE, NodeIndex(5)] {
            presence.hear(node, RUN, &told.digest(), None, now_ms + 1);
        }
        (seen.len() as u64, slices)
    };
    assert_eq!(pass(0), (0, 7), "noted, slice by slice");
    assert_eq!(pass(1).0, 2 * many, "and then each is found once");
}

#[test]
fn a_grace_goes_on_through_an_inventory_that_is_pulled_anew() {
    let mut presence = Presence::default();
    let mut told = of(&[1, 2, 3]);
    presence.hear(NODE, RUN, &told.digest(), None, 0);
    replace(&mut presence, NODE, RUN, told.version, told.all(), 0);
    presence.destroyable(0, GRACE_MS, MANY, |_, _| false);
    // Another run of the node, without one of them.
    told.set(2, None);
    let again = SessionId(2);
    presence.hear(NODE, again, &told.digest(), None, 20_000);
    replace(&mut presence, NODE, again, told.version, told.all(), 20_000);
    assert_eq!(presence.unwanted_bytes(), 40, "what is not there takes nothing");
    let found = presence.destroyable(20_000, GRACE_MS, MANY, |_, _| false);
    assert_eq!(found, [(NODE, Handle(1)), (NODE, Handle(3))]);
}

#[test]
fn notes_that_changed_while_they_were_carried_over_begin_anew() {
    let mut presence = Presence::default();
    let told = of(&[1, 2]);
    presence.hear(NODE, RUN, &told.digest(), None, 0);
    replace(&mut presence, NODE, RUN, told.version, told.all(), 0);
    presence.destroyable(0, GRACE_MS, MANY, |_, _| false);
    let mut pulled = Pulled::default();
    pulled.add(told.all());
    assert!(!presence.carry_notes(NODE, &mut pulled));
    presence.destroyable(1, GRACE_MS, MANY, |_, handle| handle == Handle(1));
    presence.replace(NODE, RUN, told.version, pulled, 20_000);
    assert_eq!(presence.unwanted_bytes(), 0);
    assert!(presence.destroyable(20_000, GRACE_MS, MANY, |_, _| false).is_empty());
}

#[test]
fn a_copy_takes_few_bytes() {
    assert_eq!(size_of::<(Handle, pulled::Held)>(), 16);
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
            let news = presence.hear(NODE, RUN, &told.digest(), changes.as_ref(), now_ms);
            if news.is_none() {
                replace(presence, NODE, RUN, told.version, told.all(), now_ms);
            }
            if reply_arrives {
                acknowledged = news;
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
        prop_assert_eq!(presence.summary(NODE).bytes, bytes);
    }
}
