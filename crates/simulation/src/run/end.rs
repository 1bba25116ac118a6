//! When all is over: every fault ends, every process runs, and then all that
//! was acknowledged must be there, whole, in as many copies as the policy
//! names, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dfs_core::api::{FileMap, List, Lookup, NodeStatus};
use dfs_core::env::Durability;
use dfs_core::id::Handle;
use dfs_core::ledger::Ledger;
use dfs_core::presence::HeldChunk;

use super::UPLOAD_IDLE_MAX;
use super::state::Run;
use super::strike;
use super::watch::seconds;
use crate::cluster::{COORDINATOR, file_name};
use crate::disk::MemoryDisk;
use crate::oracle;
use crate::trace::{self, Trace};

/// Time that everything may take to heal beside the repair delay: until nodes
/// are heard, failed rebuilds rest, and copies are made.
const HEAL_TIME_MAX: Duration = Duration::from_secs(420);
/// Time until what nothing refers to is gone, beside grace and idle uploads.
const SWEEP_TIME_MAX: Duration = Duration::from_secs(120);
/// How often it is looked.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// What a beyond-tolerance run gets to come up again.
const COME_UP_TIME: Duration = Duration::from_secs(90);
/// How often a file that cannot be read is tried again before it is lost.
const LAST_READS_MAX: u32 = 2;
/// How long a quiet cluster is listened to.
const QUIET_TIME: Duration = Duration::from_secs(60);
/// Events a second that a quiet cluster may make for each node: a heartbeat
/// every three seconds is a message each way and what the disk is asked.
const QUIET_EVENTS_PER_NODE: u64 = 4;
/// Files of which all subsets of nodes are tried, and all bytes are read.
const FILES_READ_MAX: usize = 2_000;
/// Nodes up to which all subsets are tried.
const NODES_TRIED_MAX: usize = 10;

impl Run<'_> {
    /// Heals everything and checks it.
    pub(super) async fn end(&self) {
        strike::end_all(self);
        self.tell("check", "every fault is over; now all is checked".to_owned());
        let over_ms = trace::elapsed_ms();
        if self.scenario.beyond_tolerance {
            self.world.pass(COME_UP_TIME).await;
            return self.read_what_is_left().await;
        }
        self.heal().await;
        self.tally.borrow_mut().healed_after_ms = trace::elapsed_ms() - over_ms;
        self.tell("check", format!("healed {} later", seconds(trace::elapsed_ms() - over_ms)));
        self.check_all().await;
        if self.has_failed() {
            return;
        }
        self.put_at_the_end().await;
        if self.has_failed() {
            return;
        }
        // Nothing of that may live in memory only.
        self.tell("check", "every machine loses its power at once".to_owned());
        for name in self.hosts() {
            self.world.host(&name).crash();
        }
        self.settle().await;
        self.read_all().await;
        self.check_listed().await;
    }

    async fn check_all(&self) {
        self.says_that_all_is_well().await;
        self.read_all().await;
        self.check_listed().await;
        let Some(maps) = self.layouts().await else { return };
        self.check_layouts(&maps).await;
        self.check_digests().await;
        self.check_ledger().await;
        self.check_space(&maps).await;
        self.check_quiet().await;
    }

    /// L1: everything is there again in bounded time, and holds no damage.
    async fn heal(&self) {
        self.settle().await;
        if self.has_failed() {
            return;
        }
        let tainted = self.guard.borrow().tainted.clone();
        for name in self.cluster.node_names() {
            self.verify_at_the_end(&name, tainted.contains(&name)).await;
        }
        self.settle().await;
        if !self.has_failed() {
            let mut guard = self.guard.borrow_mut();
            guard.tainted.clear();
            self.replaced.borrow_mut().clear();
            guard.all_is_well();
        }
    }

    async fn verify_at_the_end(&self, name: &str, may_be_damaged: bool) {
        if may_be_damaged {
            // As after any damage: what is only in memory counts for nothing.
            self.world.host(name).kill();
            self.settle().await;
        }
        for _ in 0..10 {
            if let Some((verified, bad)) = self.verify(name).await {
                self.tally.borrow_mut().verified += verified;
                if bad > 0 && !may_be_damaged {
                    self.violates(
                        "I1",
                        format!("{bad} chunks of {name} are bad, and nothing damaged them"),
                    );
                }
                return;
            }
            self.world.pass(LOOK_INTERVAL).await;
        }
        self.violates("L1", format!("{name} cannot be looked through"));
    }

    async fn settle(&self) {
        let started = tokio::time::Instant::now();
        let time_max = self.scenario.cluster.repair_after.0 + HEAL_TIME_MAX;
        while started.elapsed() < time_max {
            if self.is_settled_for_a_while().await {
                return;
            }
            self.world.pass(LOOK_INTERVAL).await;
        }
        let status = self.status().await;
        let refusals = self.refusals.borrow().clone();
        let nodes = status.as_ref().map(|status| {
            let of = |node: &NodeStatus| {
                format!("{} {:?} {} bad {:?}", node.id, node.state, node.quarantined, node.trouble)
            };
            status.nodes.iter().map(of).collect::<Vec<_>>()
        });
        let data = status.map(|status| (status.health, status.repair));
        self.violates(
            "L1",
            format!(
                "not healed in {time_max:?}: {data:?}, {nodes:?}, refused to start: {refusals:?}"
            ),
        );
    }

    async fn read_all(&self) {
        let names: Vec<String> = self.history.borrow().names().map(str::to_owned).collect();
        let step = names.len().div_ceil(FILES_READ_MAX).max(1);
        for name in names.iter().step_by(step) {
            if self.has_failed() {
                return;
            }
            self.read_at_the_end(name).await;
        }
    }

    /// Reads all files when more may have been destroyed than the policy
    /// survives. A file is lost when it still cannot be read after every
    /// process was up for a while.
    async fn read_what_is_left(&self) {
        self.read_all().await;
        for _ in 0..LAST_READS_MAX {
            let unread: Vec<String> = self.lost.borrow().iter().cloned().collect();
            if unread.is_empty() || self.has_failed() {
                break;
            }
            self.world.pass(COME_UP_TIME).await;
            for name in unread {
                self.read_at_the_end(&name).await;
            }
        }
        let lost = self.lost.borrow().len();
        if lost > 0 {
            self.tell("data", format!("{lost} files cannot be read any more: they are lost"));
        }
    }

    async fn check_listed(&self) {
        let Some(coordinator) = self.coordinator() else { return };
        let began = self.history.borrow_mut().tick();
        let (mut entries, mut after) = (Vec::new(), None);
        loop {
            let list = List { prefix: String::new(), after, limit: 1000, by_folder: false };
            let Ok(page) = coordinator.list(list).await else { return };
            entries.extend(page.entries);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let ended = self.history.borrow_mut().tick();
        self.check_listing(&entries, began, ended);
    }

    /// The layout of every file.
    async fn layouts(&self) -> Option<Vec<FileMap>> {
        let coordinator = self.coordinator()?;
        let names: Vec<String> = self.history.borrow().names().map(str::to_owned).collect();
        let mut maps = Vec::new();
        for name in names {
            let (mut whole, mut first_stripe): (Option<FileMap>, u32) = (None, 0);
            loop {
                let lookup = Lookup { name: file_name(&name), version: None, first_stripe };
                let Ok(map) = coordinator.lookup(lookup).await else { break };
                let count = map.stripes.len();
                match &mut whole {
                    None => whole = Some(map),
                    Some(whole) => whole.stripes.extend(map.stripes),
                }
                first_stripe += u32::try_from(count).expect("a page is short");
                if count == 0 {
                    break;
                }
            }
            maps.extend(whole);
        }
        Some(maps)
    }

    /// I4: copies are where they must be.
    async fn check_layouts(&self, maps: &[FileMap]) {
        let Some(status) = self.status().await else { return };
        let nodes = self.cluster.node_names();
        // Status tells what new files get now; those that were stored while
        // nodes were away are owed what the policy names.
        let promised = usize::from(status.promise.nodes_lost_max.unwrap_or(0));
        let promised = promised.min(self.scenario.cluster.tolerance());
        let zones_promised =
            status.promise.zones_lost_max.unwrap_or(0) > 0 && !self.guard.borrow().was_anyone_away;
        let mut ways_to_lose: Vec<BTreeSet<String>> = Vec::new();
        if nodes.len() <= NODES_TRIED_MAX {
            ways_to_lose = oracle::subsets(&nodes);
            ways_to_lose.retain(|lost| !lost.is_empty() && lost.len() <= promised);
        }
        for zone in self.scenario.cluster.zones.iter().filter(|_| zones_promised) {
            let in_zone = |node: &&NodeStatus| node.zone.as_ref() == Some(zone);
            let lost = status.nodes.iter().filter(in_zone);
            ways_to_lose.push(lost.map(|node| node.id.to_string()).collect());
        }
        for map in maps {
            for stripe in &map.stripes {
                for chunk in &stripe.chunks {
                    let on: BTreeSet<&str> =
                        chunk.copies.iter().map(|copy| copy.node.as_str()).collect();
                    if on.len() != chunk.copies.len() {
                        self.violates(
                            "I4",
                            format!("two copies of one chunk of {} are on one node", map.info.name),
                        );
                    }
                }
            }
            if map.info.copies_missing > 0 {
                self.violates("L1", format!("{} still lacks copies", map.info.name));
            }
            let all: BTreeSet<String> = nodes.iter().cloned().collect();
            for lost in &ways_to_lose {
                let up = all.difference(lost).cloned().collect();
                if !oracle::is_readable(map, &up) {
                    self.violates("I4", format!("{} would be lost with {lost:?}", map.info.name));
                    return;
                }
            }
        }
    }

    /// I5: what the ledger holds is what the coordinator serves.
    async fn check_ledger(&self) {
        let Some(coordinator) = self.cluster.coordinator_role() else {
            return self.violates("L1", "the coordinator does not run".to_owned());
        };
        let live = coordinator.catalog();
        let copy = MemoryDisk::new("copy", Trace::default());
        copy.copy_from(self.world.host(COORDINATOR).disk());
        match Ledger::open(&*copy.handle(), Durability::Strict) {
            Ok((_, loaded)) if loaded == live => {}
            Ok(_) => {
                self.violates("I5", "the ledger holds another catalog than is served".to_owned())
            }
            Err(error) => self.violates("I5", format!("the ledger cannot be loaded: {error}")),
        }
    }

    /// I8: nodes hold what the layouts name, and in time nothing else.
    async fn check_space(&self, maps: &[FileMap]) {
        let mut wanted: BTreeMap<String, BTreeSet<Handle>> = BTreeMap::new();
        for stripe in maps.iter().flat_map(|map| &map.stripes) {
            for (slot, chunk) in stripe.chunks.iter().enumerate() {
                let position = match slot.checked_sub(usize::from(stripe.shape.data)) {
                    Some(parity) => usize::from(stripe.shape.coding.data) + parity,
                    None => slot,
                };
                let handle = Handle(stripe.first_handle.0 + position as u64);
                for copy in &chunk.copies {
                    wanted.entry(copy.node.to_string()).or_default().insert(handle);
                }
            }
        }
        let nothing = BTreeSet::new();
        let started = tokio::time::Instant::now();
        let grace = self.scenario.cluster.delete_grace.0;
        let time_max = grace + UPLOAD_IDLE_MAX + SWEEP_TIME_MAX;
        loop {
            let mut wrong = Vec::new();
            for name in self.cluster.node_names() {
                let wanted = wanted.get(&name).unwrap_or(&nothing);
                let held = self.held_by(&name).await.unwrap_or_default();
                let lacking = wanted.difference(&held).count();
                if lacking > 0 {
                    self.violates("I8", format!("{name} lacks {lacking} chunks that files need"));
                    return;
                }
                let useless: Vec<&Handle> = held.difference(wanted).take(3).collect();
                if !useless.is_empty() {
                    wrong.push(format!("{name}: {useless:?}"));
                }
            }
            if wrong.is_empty() {
                return;
            }
            if started.elapsed() >= time_max {
                self.violates("I8", format!("chunks that no file needs stay: {wrong:?}"));
                return;
            }
            self.world.pass(LOOK_INTERVAL).await;
        }
    }

    /// L2: a cluster with nothing to do says little.
    async fn check_quiet(&self) {
        let before = self.world.trace().events();
        self.world.pass(QUIET_TIME).await;
        let events = self.world.trace().events() - before;
        let nodes = self.cluster.node_names().len() as u64;
        let events_max = (nodes + 1) * QUIET_EVENTS_PER_NODE * QUIET_TIME.as_secs();
        if events > events_max {
            self.violates(
                "L2",
                format!(
                    "{events} events in {QUIET_TIME:?} of quiet, at most {events_max} are right"
                ),
            );
        }
    }

    /// What a node says it holds.
    pub(super) async fn held_by(&self, name: &str) -> Option<BTreeSet<Handle>> {
        let held = self.inventory_of(name).await?;
        Some(held.into_iter().map(|chunk| chunk.handle).collect())
    }

    /// The chunks of which a node holds a good copy.
    pub(super) async fn good_on(&self, name: &str) -> Option<BTreeSet<Handle>> {
        let held = self.inventory_of(name).await?;
        let good = held.into_iter().filter(|chunk| chunk.is_good);
        Some(good.map(|chunk| chunk.handle).collect())
    }

    async fn inventory_of(&self, name: &str) -> Option<Vec<HeldChunk>> {
        let context = self.context().await?;
        let node = self.world.host(name).node()?;
        let (mut held, mut after) = (Vec::new(), None);
        loop {
            let page = node.inventory(context, after).await.ok()?;
            held.extend(&page.chunks);
            after = page.chunks.last().map(|chunk| chunk.handle);
            if page.is_last || after.is_none() {
                return Some(held);
            }
        }
    }
}
