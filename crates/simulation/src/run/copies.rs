//! What nodes really hold, beside what layouts name: looked at once a second,
//! past the network, for rules about single copies.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dfs_core::api::{Context, NodeService};
use dfs_core::catalog::Catalog;
use dfs_core::id::Handle;

use super::state::Run;
use crate::trace;

/// How often copies are looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// Copies up to which a cluster is looked at: a look walks over all of them.
const COPIES_MAX: usize = 4096;
/// How long a named copy is missing before a coordinator that deletes another
/// one must know it: heartbeats, their delays and verifications fit in.
const KNOWN_MISSING_MS: u64 = 40_000;

/// How often one copy may be made within [`MADE_WITHIN_MS`].
const MADE_MAX: usize = 4;
/// See [`MADE_MAX`].
const MADE_WITHIN_MS: u64 = 10_000;

/// A node's name and a chunk.
type Copy = (String, Handle);

/// One look at all copies.
#[derive(Default, Clone)]
struct Look {
    /// The nodes that must store each chunk.
    layouts: BTreeMap<Handle, BTreeSet<String>>,
    /// A reader of this cluster, once one is known.
    reader: Option<Context>,
    /// The good copies of the nodes that run.
    held: BTreeSet<Copy>,
    /// The bad ones.
    bad: BTreeSet<Copy>,
}

/// What was seen of copies so far.
#[derive(Default)]
struct Seen {
    /// When each copy was made lately.
    made: BTreeMap<Copy, Vec<u64>>,
    last: Look,
    /// Since when copies that layouts name are not there.
    missing_since_ms: BTreeMap<Copy, u64>,
}

impl Run<'_> {
    /// Looks at all copies for as long as the run goes on.
    pub(super) async fn watch_copies(&self) {
        let mut seen = Seen::default();
        loop {
            self.world.pass(INTERVAL).await;
            let deleted = self.world.net().take_deleted();
            let made = self.world.net().take_made();
            let Some(look) = self.look_at_copies(&seen.last).await else { continue };
            let now_ms = trace::elapsed_ms();
            if !self.scenario.beyond_tolerance {
                for (node, handle) in deleted {
                    self.check_deleted(&seen, &look, &(node, handle), now_ms);
                }
            }
            self.check_undamaged(&look);
            for copy in made {
                self.check_made(&mut seen, copy, now_ms);
            }
            seen.take(look, now_ms);
        }
    }

    /// I7: what is bad on a node that nothing ever damaged was bad when it was
    /// made. A repair may mend it before the end.
    fn check_undamaged(&self, look: &Look) {
        let guard = self.guard.borrow();
        let bad = look.bad.iter().find(|(node, _)| !guard.ever_tainted.contains(node));
        let Some((node, handle)) = bad else { return };
        let text = format!("the copy of chunk {handle} on {node} is bad, and nothing damaged it");
        drop(guard);
        self.violates("I7", text);
    }

    /// L2: a copy that is there and good is not made again and again.
    fn check_made(&self, seen: &mut Seen, copy: Copy, now_ms: u64) {
        let was_good = seen.last.held.contains(&copy);
        let (node, handle) = &copy;
        let times = seen.made.entry(copy.clone()).or_default();
        times.retain(|at_ms| now_ms - at_ms <= MADE_WITHIN_MS);
        times.push(now_ms);
        if times.len() > MADE_MAX && was_good {
            let times = times.len();
            self.violates(
                "L2",
                format!("chunk {handle} was made {times} times on {node} within 10 s"),
            );
        }
    }

    /// `None` where there are too many copies, or nothing can be asked.
    async fn look_at_copies(&self, last: &Look) -> Option<Look> {
        let (layouts, reader) = match self.cluster.coordinator_role() {
            Some(coordinator) => (layouts(&coordinator.catalog()), Some(coordinator.context())),
            None => (last.layouts.clone(), last.reader),
        };
        if layouts.values().map(BTreeSet::len).sum::<usize>() > COPIES_MAX {
            return None;
        }
        let mut look = Look { layouts, reader, held: BTreeSet::new(), bad: BTreeSet::new() };
        let context = reader?;
        for name in self.cluster.node_names() {
            let host = self.world.host(&name);
            let Some(node) = self.cluster.node_role(&name) else { continue };
            if !host.is_up() || host.is_paused() {
                continue;
            }
            let mut after = None;
            while let Ok(page) = node.inventory(context, after).await {
                for chunk in &page.chunks {
                    let copies = if chunk.is_good { &mut look.held } else { &mut look.bad };
                    copies.insert((name.clone(), chunk.handle));
                }
                after = page.chunks.last().map(|chunk| chunk.handle);
                if page.is_last || after.is_none() {
                    break;
                }
            }
        }
        Some(look)
    }

    /// I7: a good copy that the layout does not name is deleted only while all
    /// that the layout names are there.
    fn check_deleted(&self, seen: &Seen, look: &Look, copy: &Copy, now_ms: u64) {
        let (node, handle) = copy;
        let (before, after) = (seen.last.layouts.get(handle), look.layouts.get(handle));
        let (Some(before), Some(after)) = (before, after) else { return };
        if !seen.last.held.contains(copy) || before.contains(node) || after.contains(node) {
            return;
        }
        let is_missing = |named: &&String| {
            let key = ((*named).clone(), *handle);
            let since_ms = seen.missing_since_ms.get(&key);
            !look.held.contains(&key)
                && since_ms.is_some_and(|since_ms| now_ms - since_ms > KNOWN_MISSING_MS)
        };
        if let Some(named) = before.intersection(after).find(is_missing) {
            self.violates(
                "I7",
                format!(
                    "{node} was told to delete its good copy of chunk {handle}, while the copy \
                     that the layout names on {named} is missing"
                ),
            );
        }
    }
}

impl Seen {
    fn take(&mut self, look: Look, now_ms: u64) {
        let named = look
            .layouts
            .iter()
            .flat_map(|(handle, nodes)| nodes.iter().map(move |node| (node.clone(), *handle)));
        let missing: BTreeSet<Copy> = named.filter(|copy| !look.held.contains(copy)).collect();
        self.missing_since_ms.retain(|copy, _| missing.contains(copy));
        for copy in missing {
            self.missing_since_ms.entry(copy).or_insert(now_ms);
        }
        self.last = look;
    }
}

/// The nodes that must store each chunk.
fn layouts(catalog: &Catalog) -> BTreeMap<Handle, BTreeSet<String>> {
    let mut layouts = BTreeMap::new();
    for (stripe, _) in catalog.stripes() {
        for (slot, chunk) in stripe.chunks.iter().enumerate() {
            let members = chunk.copies.iter().filter_map(|node| catalog.member(*node));
            let nodes = members.map(|member| member.id.to_string()).collect();
            layouts.insert(stripe.handle(slot), nodes);
        }
    }
    layouts
}
