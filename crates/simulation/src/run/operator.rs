//! What an operator does: starts what died, replaces what is lost for good,
//! has a damaged node looked through.

use std::sync::Arc;
use std::time::Duration;

use dfs_core::api::{
    ClusterStatus, Context, Error, Kind, NodeService, NodeState, NodeStatus, Receipt, Result,
};
use dfs_core::id::Handle;
use dfs_core::node::NodeSettings;

use super::state::Run;
use crate::cluster::COORDINATOR;
use crate::host::Host;
use crate::trace;

/// How often the operator looks at the machines.
const ROUND: Duration = Duration::from_secs(1);
/// How long a damaged node may refuse to start before it is replaced.
const REFUSES_MAX_MS: u64 = 30_000;
/// How long things must stay settled to count as that.
const STEADY_TIME: Duration = Duration::from_secs(8);
/// How often it is looked whether a node is mended.
const MEND_ROUND: Duration = Duration::from_secs(1);
/// How long a stopping node may take to say so.
const LEAVE_WAIT_MAX: Duration = Duration::from_secs(10);

impl Run<'_> {
    /// Keeps every process running that no fault holds down.
    pub(super) async fn operate(&self) {
        loop {
            for name in self.hosts() {
                let is_held = self.held.borrow().get(&name).is_some_and(|faults| *faults > 0);
                if is_held || self.world.host(&name).is_up() {
                    continue;
                }
                if name == COORDINATOR {
                    self.start_coordinator().await;
                } else if name.starts_with('n') {
                    self.start_node(&name).await;
                }
            }
            self.world.pass(ROUND).await;
        }
    }

    async fn start_coordinator(&self) {
        match self.cluster.try_start_coordinator().await {
            Ok(()) => {
                self.refusals.borrow_mut().remove(COORDINATOR);
                self.tell("node", "the coordinator is started".to_owned());
            }
            Err(refusal) => self.note_refusal(COORDINATOR, refusal),
        }
    }

    async fn start_node(&self, name: &str) {
        let replaces = self.replaced.borrow().contains(name);
        let settings = self.cluster.node_settings(name);
        let settings = NodeSettings { replace: replaces, ..settings };
        match self.cluster.try_start_node(name, settings).await {
            Ok(()) => {
                self.refusals.borrow_mut().remove(name);
                let how = if replaces { " with an empty disk, as a replacement" } else { "" };
                self.tell("node", format!("{name} is started{how}"));
            }
            Err(refusal) => {
                self.note_refusal(name, refusal);
                self.replace_if_damaged(name);
            }
        }
    }

    fn note_refusal(&self, host: &str, refusal: String) {
        self.world.trace().event(host, format_args!("does not start: {refusal}"));
        self.world.host(host).kill();
        let mut refusals = self.refusals.borrow_mut();
        let since = refusals.get(host).map_or_else(trace::elapsed_ms, |(_, since)| *since);
        let is_news = refusals.insert(host.to_owned(), (refusal.clone(), since)).is_none();
        drop(refusals);
        if is_news {
            self.tell("node", format!("{host} does not start: {refusal}"));
        }
    }

    /// A node whose disk was damaged and that does not start for a while gets
    /// a new disk, as its own message advises.
    fn replace_if_damaged(&self, name: &str) {
        let since = self.refusals.borrow().get(name).map(|(_, since)| *since);
        let is_closed = self.world.host(name).disk().has_closed_files();
        let refusals = self.refusals.borrow();
        let refusal = refusals.get(name).map(|(refusal, _)| refusal.clone()).unwrap_or_default();
        drop(refusals);
        if is_closed && refusal.contains("cannot open") {
            self.violates("L1", format!("{name} does not start for one file: {refusal}"));
        }
        let is_due = since.is_some_and(|since| trace::elapsed_ms() - since >= REFUSES_MAX_MS);
        if is_due && self.guard.borrow().tainted.contains(name) {
            let host = self.world.host(name);
            host.disk().plan_no_faults();
            host.disk().wipe();
            self.replaced.borrow_mut().insert(name.to_owned());
        }
    }

    /// Tells a node to stop politely.
    pub(super) async fn let_leave(&self, name: &str) {
        let host = self.world.host(name);
        let (Some(node), true) = (self.cluster.node_role(name), host.is_up()) else { return };
        let machine = Arc::downgrade(&host);
        let leaving = host.spawn(async move {
            node.leave().await;
            if let Some(host) = machine.upgrade() {
                host.end("it was told to stop");
            }
        });
        let _ = tokio::time::timeout(LEAVE_WAIT_MAX, leaving).await;
    }

    /// A new node joins.
    pub(super) async fn join(&self) {
        let name = self.cluster.add_joining_node();
        self.tell("node", format!("{name} joins"));
    }

    /// Every stripe has all its copies, and every node is there and well.
    pub(super) async fn is_settled(&self) -> bool {
        self.status().await.is_some_and(|status| is_settled(&status))
    }

    /// The same, for a while.
    pub(super) async fn is_settled_for_a_while(&self) -> bool {
        let since = tokio::time::Instant::now();
        while self.is_settled().await {
            if since.elapsed() >= STEADY_TIME {
                return true;
            }
            self.world.pass(MEND_ROUND).await;
        }
        false
    }

    /// Looks through a node that may be damaged until it holds no damage and
    /// all that was lost is rebuilt.
    pub(super) async fn mend(&self, name: &str) {
        let host = self.world.host(name);
        host.disk().plan_no_faults();
        // A start looks at what is there; what was only in memory is gone.
        host.kill();
        loop {
            self.world.pass(MEND_ROUND).await;
            let is_held = self.held.borrow().get(name).is_some_and(|faults| *faults > 0);
            let is_whole = !is_held
                && self.is_settled().await
                && self.verify(name).await.is_some()
                && self.is_settled_for_a_while().await;
            if is_whole {
                break;
            }
        }
        self.guard.borrow_mut().clear(name);
        self.replaced.borrow_mut().remove(name);
        self.tell("node", format!("{name} was looked through, and holds no damage"));
    }

    /// Verifies every chunk that a node says it holds, on the node itself.
    /// How many there are and how many were bad; `None` when it cannot be said.
    pub(super) async fn verify(&self, name: &str) -> Option<(u64, u64)> {
        let context = self.context().await?;
        let node = self.world.host(name).node()?;
        let (mut verified, mut bad) = (0, 0);
        let mut after = None;
        loop {
            let page = node.inventory(context, after).await.ok()?;
            for held in page.chunks.iter().filter(|held| held.is_good) {
                match verified_by(&self.world.host(name), &node, context, held.handle).await {
                    Ok(receipt) if self.differs(&receipt) => {
                        self.report_differing(name, held.handle).await;
                    }
                    Ok(_) => verified += 1,
                    Err(error) if error.kind == Kind::Integrity => bad += 1,
                    Err(error) if error.kind == Kind::NotFound => {}
                    Err(error) => {
                        let trace = self.world.trace();
                        trace.event(name, format_args!("is not verified: {error}"));
                        return None;
                    }
                }
            }
            after = page.chunks.last().map(|held| held.handle);
            if page.is_last || after.is_none() {
                return Some((verified, bad));
            }
        }
    }

    /// The coordinator's cluster and epoch.
    pub(super) async fn context(&self) -> Option<Context> {
        let status = self.status().await?;
        Some(Context { cluster: status.cluster, run: status.run })
    }
}

/// Has a process verify one of its chunks; what it works on ends with it.
pub(super) async fn verified_by(
    host: &Host,
    node: &Arc<dyn NodeService>,
    context: Context,
    handle: Handle,
) -> Result<Receipt> {
    let node = Arc::clone(node);
    let work = async move { node.verify_chunk(context, handle).await };
    host.spawn(work).await.unwrap_or_else(|ended| {
        Err(Error::new(Kind::Unavailable, format!("{} has ended: {ended}", host.name())))
    })
}

fn is_settled(status: &ClusterStatus) -> bool {
    let health = status.health;
    let is_well = |node: &NodeStatus| {
        node.state == NodeState::Online && node.quarantined == 0 && node.trouble.is_none()
    };
    health.lacking() + status.repair.waiting + status.repair.running == 0
        && status.nodes.iter().all(is_well)
}
