//! What a power cut makes of the names.

use std::collections::BTreeMap;

use super::{Node, Tree, ancestors};
use crate::disk::injected::{Injected, LOST_NAME};
use crate::rng::Rng;

impl Tree {
    /// The power was cut: decides name by name, then file by file.
    pub(in crate::disk) fn crash(&mut self, rng: &mut Rng, injected: &mut Injected) {
        let mut is_new = BTreeMap::new();
        for path in &std::mem::take(&mut self.unsynced) {
            is_new.insert(path.clone(), rng.chance(1, 2));
        }
        let mut chosen = BTreeMap::new();
        let mut has_lost_dirs = false;
        for path in is_new.keys() {
            let live = self.live.get(path);
            let is_kept = self.is_kept(path, &is_new);
            if !is_kept {
                injected.count(LOST_NAME);
                has_lost_dirs |= matches!(live, Some(Node::Dir));
            }
            // A file that comes to have two names becomes two files.
            let node = if is_kept { live } else { self.durable.get(path) };
            chosen.insert(path.clone(), node.map(Node::deep_clone));
        }
        let mut names = std::mem::take(&mut self.live);
        for (path, node) in chosen {
            match node {
                Some(node) => drop(names.insert(path, node)),
                None => drop(names.remove(&path)),
            }
        }
        if has_lost_dirs {
            names = without_orphans(names, injected);
        }
        for node in names.values() {
            if let Node::File(inode) = node {
                inode.lock().image.crash(rng, injected);
            }
        }
        self.settle(names);
    }

    /// Whether an unsynced name comes out as it is now. Not where its file
    /// was moved away and its new name is lost: that would be both.
    fn is_kept(&self, path: &str, is_new: &BTreeMap<String, bool>) -> bool {
        let is_lost = |name: String| is_new.get(&name) == Some(&false);
        let loses_both = match self.durable.get(path) {
            Some(Node::File(inode)) if !self.live.contains_key(path) => {
                inode.live_name().is_some_and(is_lost)
            }
            _ => false,
        };
        is_new[path] && !loses_both
    }
}

/// The names of which all folders above are there; the others are lost.
fn without_orphans(
    names: BTreeMap<String, Node>,
    injected: &mut Injected,
) -> BTreeMap<String, Node> {
    let mut kept = BTreeMap::new();
    // A folder comes before what is in it.
    for (path, node) in names {
        let is_dir = |above| matches!(kept.get(above), Some(Node::Dir));
        if ancestors(&path).all(is_dir) {
            kept.insert(path, node);
        } else {
            injected.count(LOST_NAME);
        }
    }
    kept
}
