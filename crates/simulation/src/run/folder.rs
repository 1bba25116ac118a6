//! Data folders on the wrong machines (F18): two nodes exchange theirs, or a
//! second process starts on a copy of one.
//!
//! Both faults wait for a quiet moment and keep other faults away: what would
//! strike a node then would strike another one's folder. Clients go on.

use std::time::Duration;

use tokio::time::Instant;

use super::second::{is_easy, until_calm};
use super::state::Run;
use super::strike;
use crate::cluster::start_node_on;
use crate::disk::MemoryDisk;
use crate::scenario::{Fault, FaultKind};
use crate::trace::{self, Trace};
use dfs_core::node::NodeSettings;

/// The longest time for which folders are displaced.
const LASTS_MAX: Duration = Duration::from_secs(60);
/// How long a node may take to refuse a folder that is not its own: a look of
/// the operator, and its start.
const REFUSES_WITHIN_MS: u64 = 5_000;
/// The port of the machine with the copy.
const PORT: u16 = 6000;

/// Folders that are not where they belong, and since when.
pub(super) enum Displaced {
    /// The folders of two nodes are exchanged.
    Swapped { nodes: [String; 2], since_ms: u64 },
    /// A second process runs on this machine.
    Copied { machine: String },
}

/// Waits for a quiet moment, displaces folders, and puts them back.
pub(super) async fn strike(run: &Run<'_>, number: usize, fault: &Fault, until: Instant) {
    let lasts = fault.lasts.map_or(Duration::ZERO, |lasts| lasts.0).min(LASTS_MAX);
    if run.scenario.beyond_tolerance || !is_easy(run) {
        return run.leave_out(number, fault, "nobody could say what is owed");
    }
    if fault.host == fault.to {
        return run.leave_out(number, fault, "a node has one folder to exchange");
    }
    let Some(nobody_works) = until_calm(run, until, lasts).await else {
        return run.leave_out(number, fault, "there was no quiet moment");
    };
    let from = strike::begin(run, number, fault);
    match fault.what {
        FaultKind::SwapFolders => {
            let nodes = [fault.host.clone(), fault.to.clone()];
            run.guard.borrow_mut().leave(&nodes);
            drop(nobody_works);
            run.swap(&nodes);
            let since_ms = trace::elapsed_ms();
            let swapped = Displaced::Swapped { nodes: nodes.clone(), since_ms };
            *run.displaced.borrow_mut() = Some(swapped);
            run.world.pass(lasts).await;
            run.put_folders_back();
            run.guard.borrow_mut().come_back(&nodes);
        }
        _ => {
            drop(nobody_works);
            run.double(number, &fault.host).await;
            run.world.pass(lasts).await;
            run.put_folders_back();
        }
    }
    {
        let mut guard = run.guard.borrow_mut();
        guard.is_reserved = false;
        guard.calm_down();
    }
    run.note_fault_steps(from);
    run.tell("fault", format!("{} is over", strike::describe(fault)));
}

impl Run<'_> {
    /// Stops two nodes and exchanges their folders. The operator starts them.
    fn swap(&self, nodes: &[String; 2]) {
        let [one, other] = nodes.each_ref().map(|node| self.world.host(node));
        one.kill();
        other.kill();
        let aside = MemoryDisk::new("aside", Trace::default());
        aside.copy_from(one.disk());
        one.disk().copy_from(other.disk());
        other.disk().copy_from(&aside);
    }

    /// Starts a second process of a node on a copy of its folder.
    async fn double(&self, number: usize, node: &str) {
        let machine = self.world.add_host(&format!("twin{number}"), PORT);
        machine.disk().copy_from(self.world.host(node).disk());
        let address = machine.address().to_owned();
        let settings = NodeSettings { address, ..self.cluster.node_settings(node) };
        let name = machine.name().to_owned();
        *self.displaced.borrow_mut() = Some(Displaced::Copied { machine: name });
        if let Err(refusal) = start_node_on(&machine, settings).await {
            self.tell("node", format!("the copy of {node} does not start: {refusal}"));
        }
    }

    /// Ends the displacement of folders, where there is one.
    pub(super) fn put_folders_back(&self) {
        match self.displaced.borrow_mut().take() {
            Some(Displaced::Swapped { nodes, .. }) => self.swap(&nodes),
            Some(Displaced::Copied { machine }) => self.world.host(&machine).kill(),
            None => {}
        }
    }

    /// I9: a node serves from no folder but its own.
    pub(super) fn see_folders(&self) {
        let displaced = self.displaced.borrow();
        let Some(Displaced::Swapped { nodes, since_ms }) = &*displaced else { return };
        if trace::elapsed_ms() < since_ms + REFUSES_WITHIN_MS {
            return;
        }
        let serves = |node: &&String| self.world.host(node).node().is_some();
        let serving = nodes.iter().find(serves).cloned();
        drop(displaced);
        if let Some(node) = serving {
            self.violates("I9", format!("{node} serves from the folder of another node"));
        }
    }
}
