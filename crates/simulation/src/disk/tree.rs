//! The names of a disk: as they are now, and as a power cut finds them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::image::{BLOCK_SIZE, Image};
use crate::rng::Rng;

/// A file, whatever its names.
#[derive(Debug, Clone)]
pub(super) struct Inode(Arc<Mutex<Body>>);

/// What a file is.
#[derive(Debug, Default, Clone)]
pub(super) struct Body {
    pub(super) image: Image,
    /// Whether a live name leads to it; only then it takes space.
    is_linked: bool,
}

/// What a name stands for.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Dir,
    File(Inode),
}

/// All names of a disk.
#[derive(Debug, Default)]
pub(super) struct Tree {
    live: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    /// Bytes of live files, in whole blocks.
    used: u64,
}

impl Inode {
    pub(super) fn lock(&self) -> MutexGuard<'_, Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new(body: Body) -> Self {
        Self(Arc::new(Mutex::new(body)))
    }
}

impl Body {
    pub(super) fn write(&mut self, tree: &mut Tree, offset: u64, bytes: &[u8]) {
        let before = self.space();
        self.image.write(offset, bytes);
        tree.used = tree.used - before + self.space();
    }

    pub(super) fn set_len(&mut self, tree: &mut Tree, len: u64) {
        let before = self.space();
        self.image.set_len(usize::try_from(len).expect("reserved before"));
        tree.used = tree.used - before + self.space();
    }

    fn space(&self) -> u64 {
        if self.is_linked { in_blocks(self.image.len() as u64) } else { 0 }
    }
}

impl Node {
    fn is_same(&self, other: &Node) -> bool {
        match (self, other) {
            (Node::Dir, Node::Dir) => true,
            (Node::File(a), Node::File(b)) => Arc::ptr_eq(&a.0, &b.0),
            _ => false,
        }
    }
}

impl Tree {
    pub(super) fn live(&self) -> &BTreeMap<String, Node> {
        &self.live
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn files(&self) -> Vec<(String, u64)> {
        let len = |(path, node): (&String, &Node)| match node {
            Node::Dir => None,
            Node::File(inode) => Some((path.clone(), inode.lock().image.len() as u64)),
        };
        self.live.iter().filter_map(len).collect()
    }

    pub(super) fn file(&self, path: &str) -> Option<Inode> {
        match self.live.get(path) {
            Some(Node::File(inode)) => Some(inode.clone()),
            _ => None,
        }
    }

    pub(super) fn create(&mut self, path: &str) -> io::Result<Inode> {
        self.check_parent(path)?;
        if self.live.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = Inode::new(Body { is_linked: true, ..Body::default() });
        self.live.insert(path.to_owned(), Node::File(inode.clone()));
        Ok(inode)
    }

    pub(super) fn create_dir(&mut self, path: &str) -> io::Result<()> {
        for above in ancestors(path).chain([path]) {
            match self.live.get(above) {
                Some(Node::Dir) => {}
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => drop(self.live.insert(above.to_owned(), Node::Dir)),
            }
        }
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let inode = self.file(from).ok_or(io::ErrorKind::NotFound)?;
        self.check_parent(to)?;
        if matches!(self.live.get(to), Some(Node::Dir)) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if from != to {
            self.unlink(to);
            self.live.remove(from);
            self.live.insert(to.to_owned(), Node::File(inode));
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &str) -> io::Result<()> {
        match self.live.get(path) {
            Some(Node::File(_)) => self.unlink(path),
            Some(Node::Dir) => return Err(io::ErrorKind::IsADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        Ok(())
    }

    pub(super) fn check_dir(&self, path: &str) -> io::Result<()> {
        match self.live.get(path) {
            _ if path.is_empty() => Ok(()),
            Some(Node::Dir) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The live names in a folder, with what they stand for.
    pub(super) fn children(&self, path: &str) -> impl Iterator<Item = (&str, &Node)> {
        in_folder(&self.live, path)
    }

    /// Makes the names in a folder durable.
    pub(super) fn sync_dir(&mut self, path: &str) {
        let paths = |names: &BTreeMap<String, Node>| -> BTreeSet<String> {
            in_folder(names, path).map(|(name, _)| join(path, name)).collect()
        };
        for name in &paths(&self.durable) | &paths(&self.live) {
            // A file that was renamed away keeps a name: the new one becomes
            // durable together with the loss of the old one.
            if let Some(Node::File(moved)) = self.durable.get(&name)
                && !self.live.get(&name).is_some_and(|node| node.is_same(&self.durable[&name]))
                && let Some(now) = self.live_name_of(moved)
            {
                let node = Node::File(moved.clone());
                self.durable.insert(now, node);
            }
            match self.live.get(&name) {
                Some(node) => drop(self.durable.insert(name, node.clone())),
                None => drop(self.durable.remove(&name)),
            }
        }
    }

    /// Fails when a file that grows to `len` bytes does not fit.
    pub(super) fn reserve(&self, body: &Body, len: u64, capacity: u64) -> io::Result<()> {
        let grown = in_blocks(len).saturating_sub(in_blocks(body.image.len() as u64));
        if grown > 0 && body.is_linked && self.used.saturating_add(grown) > capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// The power was cut: decides name by name, then file by file.
    pub(super) fn crash(&mut self, rng: &mut Rng) {
        let all: BTreeSet<String> = self.live.keys().chain(self.durable.keys()).cloned().collect();
        let mut is_new = BTreeMap::new();
        for path in &all {
            let is_settled = match (self.live.get(path), self.durable.get(path)) {
                (Some(live), Some(durable)) => live.is_same(durable),
                _ => false,
            };
            is_new.insert(path.clone(), is_settled || rng.chance(1, 2));
        }
        let mut after = BTreeMap::new();
        for path in all {
            let durable = self.durable.get(&path);
            let lost_both = match durable {
                Some(Node::File(inode)) if is_new[&path] && !self.live.contains_key(&path) => {
                    self.live_name_of(inode).is_some_and(|name| !is_new[&name])
                }
                _ => false,
            };
            let chosen = if is_new[&path] && !lost_both { self.live.get(&path) } else { durable };
            if let Some(node) = chosen {
                let node = node.deep_clone();
                after.insert(path, node);
            }
        }
        let dirs: BTreeSet<String> = after
            .iter()
            .filter(|(_, node)| matches!(node, Node::Dir))
            .map(|(path, _)| path.clone())
            .collect();
        after.retain(|path, _| ancestors(path).all(|above| dirs.contains(above)));
        for node in after.values() {
            if let Node::File(inode) = node {
                inode.lock().image.crash(rng);
            }
        }
        self.settle(after);
    }

    pub(super) fn plant(&mut self, path: &str, bytes: &[u8]) {
        let mut body = Body { is_linked: true, ..Body::default() };
        body.image.write(0, bytes);
        body.image.sync();
        for above in ancestors(path) {
            self.live.insert(above.to_owned(), Node::Dir);
            self.durable.insert(above.to_owned(), Node::Dir);
        }
        self.unlink(path);
        self.used += body.space();
        let node = Node::File(Inode::new(body));
        self.live.insert(path.to_owned(), node.clone());
        self.durable.insert(path.to_owned(), node);
    }

    pub(super) fn unplant(&mut self, path: &str) {
        self.unlink(path);
        self.durable.remove(path);
    }

    /// A copy of what is live, as if it had been synced.
    pub(super) fn deep_clone(&self) -> Self {
        let names = self.live.iter().map(|(path, node)| (path.clone(), node.deep_clone()));
        let mut copy = Self::default();
        copy.settle(names.collect());
        for node in copy.live.values() {
            if let Node::File(inode) = node {
                inode.lock().image.sync();
            }
        }
        copy
    }

    fn settle(&mut self, names: BTreeMap<String, Node>) {
        self.used = 0;
        for node in names.values() {
            if let Node::File(inode) = node {
                let mut body = inode.lock();
                body.is_linked = true;
                self.used += body.space();
            }
        }
        self.durable = names.clone();
        self.live = names;
    }

    fn unlink(&mut self, path: &str) {
        if let Some(Node::File(inode)) = self.live.remove(path) {
            let mut body = inode.lock();
            self.used -= body.space();
            body.is_linked = false;
        }
    }

    fn live_name_of(&self, inode: &Inode) -> Option<String> {
        if !inode.lock().is_linked {
            return None;
        }
        let wanted = Node::File(inode.clone());
        self.live.iter().find(|(_, node)| node.is_same(&wanted)).map(|(path, _)| path.clone())
    }

    fn check_parent(&self, path: &str) -> io::Result<()> {
        match path.rsplit_once('/') {
            Some((parent, _)) => self.check_dir(parent),
            None => Ok(()),
        }
    }
}

impl Node {
    fn deep_clone(&self) -> Self {
        match self {
            Node::Dir => Node::Dir,
            Node::File(inode) => Node::File(Inode::new(inode.lock().clone())),
        }
    }
}

fn in_blocks(len: u64) -> u64 {
    len.next_multiple_of(BLOCK_SIZE as u64)
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The folders above a path, the highest first.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// The names in one folder, without its path.
fn in_folder<'a>(
    names: &'a BTreeMap<String, Node>,
    path: &str,
) -> impl Iterator<Item = (&'a str, &'a Node)> {
    let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
    names
        .range(prefix.clone()..)
        .take_while({
            let prefix = prefix.clone();
            move |(path, _)| path.starts_with(&prefix)
        })
        .map(move |(path, node)| (&path[prefix.len()..], node))
        .filter(|(name, _)| !name.contains('/'))
}
