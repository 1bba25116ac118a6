//! What must hold all the time, looked at while the run goes on. The end of a
//! run shows only what nothing has mended by then.

use std::collections::{BTreeMap, BTreeSet};

use dfs_core::api::{
    ChunkMap, ClusterStatus, CopyAt, Lookup, NodeState, NodeStatus, Reason, ReasonKind,
};
use dfs_core::catalog::Catalog;
use dfs_core::id::{ClusterId, Handle};

use super::hard::SMALL_LIMITS;
use super::state::Run;
use crate::cluster::file_name;
use crate::scenario::FaultKind;

/// Looks of the watcher between two that ask every node what it holds.
const LOOKS_PER_INVENTORY: u64 = 15;

/// How long a node may be called online that nobody can connect to: it is
/// called every 30 s, and cut off after two calls that failed.
const CUT_OFF_WITHIN_MS: u64 = 90_000;

/// A copy: its node and its handle.
type Copy = (String, Handle);

/// What the looks before have seen.
#[derive(Default)]
pub(super) struct Watched {
    looks: u64,
    /// When a layout last named each copy, in milliseconds.
    named_ms: BTreeMap<Copy, u64>,
    /// Copies that were deleted before any layout named them.
    deleted_unnamed: BTreeSet<Copy>,
    cluster: Option<ClusterId>,
    /// Since when nobody can connect to a node, while nothing else is wrong.
    deaf: Option<Deaf>,
}

/// A node that nobody can connect to.
struct Deaf {
    node: String,
    run: dfs_core::id::Run,
    troubles: u64,
    since_ms: u64,
}

impl Run<'_> {
    /// Looks at everything that can be looked at from outside.
    pub(super) async fn see_invariants(&self, watched: &mut Watched, now_ms: u64) {
        self.see_deletions(watched);
        self.see_folders();
        let Some(catalog) = self.catalog() else { return };
        let named = named(&catalog);
        for copy in &named {
            let is_new = watched.named_ms.insert(copy.clone(), now_ms).is_none();
            if is_new && watched.deleted_unnamed.contains(copy) {
                self.see_named_after_deletion(copy);
            }
        }
        self.see_tally(&catalog);
        watched.looks += 1;
        if watched.looks.is_multiple_of(LOOKS_PER_INVENTORY) {
            self.see_proofs(&named).await;
        }
    }

    /// I8: a copy is deleted only when no layout has named it for the grace.
    fn see_deletions(&self, watched: &mut Watched) {
        let deletions = self.world.net().take_deletions();
        if self.guard.borrow().is_reserved {
            // Of two catalogs each names other chunks: see `second`. Later,
            // copies may be named that were made anew since.
            return;
        }
        let grace_ms = self.scenario.cluster.delete_grace.as_millis();
        for deleted in deletions {
            for handle in deleted.handles {
                let copy = (deleted.node.clone(), handle);
                let Some(named_ms) = watched.named_ms.get(&copy) else {
                    watched.deleted_unnamed.insert(copy);
                    continue;
                };
                if deleted.told_ms < named_ms + grace_ms {
                    let told_ms = deleted.told_ms.saturating_sub(*named_ms);
                    self.violates(
                        "I8",
                        format!(
                            "{} was told to delete chunk {handle}, and told last of it {told_ms} \
                             ms after a layout named it: it must do so after the grace of \
                             {grace_ms} ms",
                            deleted.node
                        ),
                    );
                }
                let since_ms = deleted.at_ms.saturating_sub(*named_ms);
                if since_ms < grace_ms {
                    self.violates(
                        "I8",
                        format!(
                            "{} was told to delete chunk {handle}, which a layout named \
                             {since_ms} ms before: the grace is {grace_ms} ms",
                            deleted.node
                        ),
                    );
                }
            }
        }
    }

    /// I8: no copy is deleted that an upload under way needs. A copy that was
    /// made anew since is another one.
    fn see_named_after_deletion(&self, (node, handle): &Copy) {
        if !self.world.net().was_made(node, *handle) {
            let text = format!(
                "{node} was told to delete chunk {handle}, and the upload that wrote it named it \
                 afterwards"
            );
            self.violates("I8", text);
        }
    }

    /// I5: a coordinator that starts again serves the cluster that it served.
    pub(super) fn see_cluster(&self, watched: &mut Watched) {
        let Some(coordinator) = self.cluster.coordinator_role() else { return };
        let cluster = coordinator.context().cluster;
        let before = *watched.cluster.get_or_insert(cluster);
        if before != cluster {
            watched.cluster = Some(cluster);
            let text = format!("the coordinator began cluster {cluster} in place of {before}");
            self.violates("I5", text);
        }
    }

    /// I14: a node that nobody can connect to is called cut off in time.
    /// Looked at while nothing else goes wrong.
    pub(super) fn see_deaf(&self, watched: &mut Watched, status: &ClusterStatus, now_ms: u64) {
        let deaf = self.only_deaf();
        let troubles = self.guard.borrow().troubles();
        let Some(node) = deaf.filter(|_| has_usual_heartbeats(&self.scenario.hard)) else {
            watched.deaf = None;
            return;
        };
        let is_same =
            |seen: &Deaf| seen.node == node && seen.run == status.run && seen.troubles == troubles;
        if !watched.deaf.as_ref().is_some_and(is_same) {
            watched.deaf = Some(Deaf { node, run: status.run, troubles, since_ms: now_ms });
            return;
        }
        let for_ms = watched.deaf.as_ref().map_or(0, |seen| now_ms - seen.since_ms);
        let is_online = |other: &NodeStatus| {
            other.id.as_str() == node && matches!(other.state, NodeState::Online)
        };
        if for_ms > CUT_OFF_WITHIN_MS && status.nodes.iter().any(is_online) {
            let text =
                format!("{node} is called online, and nobody can connect to it for {for_ms} ms");
            self.violates("I14", text);
        }
    }

    /// The node that nobody can connect to, where that is all that is wrong
    /// with the links.
    fn only_deaf(&self) -> Option<String> {
        let faults = self.link_faults.borrow();
        let mut faults = faults.values();
        let (only, other) = (faults.next()?, faults.next());
        let is_so = only.what == FaultKind::Deaf && other.is_none() && only.host.starts_with('n');
        is_so.then(|| only.host.clone())
    }

    /// I4: while nothing ever went wrong, no loss of one zone makes a file
    /// unreadable whose chunks have copies enough for two zones each.
    pub(super) async fn see_zones(&self, name: &str) {
        let cluster = &self.scenario.cluster;
        // Most hard places make a node refuse or the coordinator choose others.
        let is_free = self.scenario.hard.iter().all(|place| place == SMALL_LIMITS);
        let is_untroubled = || self.guard.borrow().troubles() == 0;
        if cluster.zones.len() < 2 || !is_free || !is_untroubled() {
            return;
        }
        let Some(coordinator) = self.coordinator() else { return };
        let lookup = Lookup { name: file_name(name), version: None, first_stripe: 0 };
        let Ok(map) = coordinator.lookup(lookup).await else { return };
        let zone_of = |node: &str| {
            let number = node.strip_prefix('n').and_then(|rest| rest.parse::<usize>().ok());
            number.map(|number| cluster.zones[(number - 1) % cluster.zones.len()].as_str())
        };
        for stripe in &map.stripes {
            let data = stripe.chunks.iter().take(usize::from(stripe.shape.data));
            if data.clone().any(|chunk| chunk.copies.len() < 2) {
                continue;
            }
            for zone in &cluster.zones {
                let is_elsewhere =
                    |copy: &CopyAt| zone_of(copy.node.as_str()) != Some(zone.as_str());
                let survives = |chunk: &&ChunkMap| chunk.copies.iter().any(is_elsewhere);
                let left = stripe.chunks.iter().filter(survives).count();
                if left < usize::from(stripe.shape.data) && is_untroubled() {
                    let text = format!(
                        "the loss of zone {zone} leaves {left} chunks of a stripe of {name} that \
                         needs {}, and there are {} zones",
                        stripe.shape.data,
                        cluster.zones.len()
                    );
                    return self.violates("I4", text);
                }
            }
        }
    }

    /// I5: the sums that the catalog keeps are those of its files.
    fn see_tally(&self, catalog: &Catalog) {
        let kept = catalog.totals();
        let (mut files, mut bytes) = (0, 0);
        for file in catalog.files_under("") {
            files += 1;
            bytes += file.size;
        }
        if (kept.files, kept.logical_bytes) != (files, bytes) {
            let (kept_files, kept_bytes) = (kept.files, kept.logical_bytes);
            self.violates(
                "I5",
                format!(
                    "the catalog counts {kept_files} files of {kept_bytes} bytes, \
                     and holds {files} of {bytes} bytes"
                ),
            );
        }
    }

    /// I7: a layout names a copy only once its node has proved that it holds
    /// it. Looked at while nothing was destroyed.
    async fn see_proofs(&self, named: &BTreeSet<Copy>) {
        if !self.nothing_is_destroyed() {
            return;
        }
        let Some(status) = self.status().await else { return };
        let is_older = |reason: &Reason| reason.kind == ReasonKind::OlderCatalog;
        if status.verdict.reasons.iter().any(is_older) {
            // Its nodes heed a newer catalog, and may have deleted since.
            return;
        }
        let is_online = |node: &&NodeStatus| node.state == NodeState::Online;
        for node in status.nodes.iter().filter(is_online).map(|node| node.id.to_string()) {
            let host = self.world.host(&node);
            // A node may stand on another folder than its own: on an empty
            // mount point its coordinator refuses it.
            if !host.is_up() || host.is_paused() || host.disk().is_unmounted() {
                continue;
            }
            let Some(held) = self.held_by(&node).await else { continue };
            // Named before and after the node was asked.
            let Some(catalog) = self.catalog() else { return };
            let still = self::named(&catalog);
            let is_lacking = |copy: &&Copy| copy.0 == node && !held.contains(&copy.1);
            let lacking: Vec<&Copy> =
                named.intersection(&still).filter(is_lacking).take(3).collect();
            if !lacking.is_empty() && self.nothing_is_destroyed() && host.is_up() {
                let text = format!("layouts name copies that {node} does not hold: {lacking:?}");
                self.violates("I7", text);
                return;
            }
        }
    }

    fn nothing_is_destroyed(&self) -> bool {
        let guard = self.guard.borrow();
        !self.scenario.beyond_tolerance
            && guard.tainted.is_empty()
            && !guard.is_hurt
            && self.replaced.borrow().is_empty()
    }

    fn catalog(&self) -> Option<Catalog> {
        self.coordinator()?;
        Some(self.cluster.coordinator_role()?.catalog())
    }
}

/// True where no hard place holds up heartbeats, calls or answers.
fn has_usual_heartbeats(hard: &[String]) -> bool {
    hard.iter().all(|place| place == SMALL_LIMITS)
}

/// The copies that layouts name.
fn named(catalog: &Catalog) -> BTreeSet<Copy> {
    let mut named = BTreeSet::new();
    for (stripe, _) in catalog.stripes() {
        for (slot, chunk) in stripe.chunks.iter().enumerate() {
            for member in chunk.copies.iter().filter_map(|node| catalog.member(*node)) {
                named.insert((member.id.to_string(), stripe.handle(slot)));
            }
        }
    }
    named
}
