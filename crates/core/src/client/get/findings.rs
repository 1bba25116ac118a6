//! What one get has found out about nodes and copies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::{BadCopy, Error, Kind};
use crate::client::NOTES_MAX;
use crate::client::pace::{Paces, Way};
use crate::id::{Handle, NodeId};

/// Troubles met so far, shared by all lanes: who failed one chunk is asked
/// last for the next.
#[derive(Default)]
pub(super) struct Findings {
    found: Mutex<Found>,
    /// Measured by all transfers of this client.
    paces: Arc<Paces>,
}

#[derive(Default)]
struct Found {
    nodes: BTreeMap<NodeId, NodeTrouble>,
    copies: BTreeMap<(Handle, NodeId), (Kind, String)>,
    bad: Vec<BadCopy>,
}

/// How a node let this get down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NodeTrouble {
    /// It answers, later than others.
    Slow,
    /// Others answered before it, and it has not answered yet.
    Silent,
    /// It did not answer, or broke off.
    Failed(String),
}

impl Findings {
    /// Nothing found yet.
    pub(super) fn new(paces: Arc<Paces>) -> Self {
        Self { found: Mutex::default(), paces }
    }

    /// Takes note of why a copy could not be read.
    pub(super) fn note(&self, handle: Handle, node: &NodeId, error: &Error) {
        let mut found = self.found();
        let reason = error.message.clone();
        match error.kind {
            Kind::Integrity => {
                if found.bad.len() < NOTES_MAX {
                    let reason = reason.clone();
                    found.bad.push(BadCopy { handle, node: node.clone(), reason });
                }
                found.copies.insert((handle, node.clone()), (error.kind, reason));
            }
            Kind::NotFound | Kind::Internal | Kind::NotSupported => {
                found.copies.insert((handle, node.clone()), (error.kind, reason));
            }
            _ => {
                found.nodes.insert(node.clone(), NodeTrouble::Failed(reason));
            }
        }
    }

    /// Takes note that a copy is not to be used again, without blaming it.
    pub(super) fn set_aside(&self, handle: Handle, node: &NodeId, reason: &str) {
        let why = (Kind::Integrity, reason.to_owned());
        self.found().copies.insert((handle, node.clone()), why);
    }

    /// Takes note of a node that others overtook.
    pub(super) fn note_slow(&self, node: &NodeId) {
        self.found().nodes.entry(node.clone()).or_insert(NodeTrouble::Slow);
    }

    /// Takes note of a node that did not answer before others did.
    pub(super) fn note_silent(&self, node: &NodeId) {
        self.found().nodes.entry(node.clone()).or_insert(NodeTrouble::Silent);
    }

    /// A node answered as it should.
    pub(super) fn note_good(&self, node: &NodeId) {
        let mut found = self.found();
        match found.nodes.get(node) {
            Some(NodeTrouble::Failed(_)) => drop(found.nodes.remove(node)),
            Some(NodeTrouble::Silent) => {
                found.nodes.insert(node.clone(), NodeTrouble::Slow);
            }
            Some(NodeTrouble::Slow) | None => {}
        }
    }

    /// How `node` let this get down so far.
    pub(super) fn node(&self, node: &NodeId) -> Option<NodeTrouble> {
        self.found().nodes.get(node).cloned()
    }

    /// Returns whether `node` gives frames much slower than others do, where
    /// this client has measured it.
    pub(super) fn is_slow(&self, node: &NodeId) -> Option<bool> {
        self.paces.judge(Way::Read, node)
    }

    /// The nodes that could not be read from, and why.
    pub(super) fn unreachable(&self) -> Vec<(NodeId, String)> {
        let found = self.found();
        let failed = found.nodes.iter().filter_map(|(node, trouble)| match trouble {
            NodeTrouble::Failed(reason) => Some((node.clone(), reason.clone())),
            NodeTrouble::Silent => Some((node.clone(), "it did not answer in time".to_owned())),
            NodeTrouble::Slow => None,
        });
        failed.collect()
    }

    /// Why this copy is not to be used.
    pub(super) fn copy(&self, handle: Handle, node: &NodeId) -> Option<String> {
        self.found().copies.get(&(handle, node.clone())).map(|(_, reason)| reason.clone())
    }

    /// What kind of answer ruled a copy out, if one did.
    pub(super) fn why_not(&self, handle: Handle, node: &NodeId) -> Option<Kind> {
        self.found().copies.get(&(handle, node.clone())).map(|(kind, _)| *kind)
    }

    /// The bad copies that were found.
    pub(super) fn take_bad(&self) -> Vec<BadCopy> {
        std::mem::take(&mut self.found().bad)
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
