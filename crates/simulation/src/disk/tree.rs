//! The names of a disk: as they are now, and as a power cut finds them.

mod crash;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::image::{BLOCK_SIZE, Image};
use super::injected::Injected;

/// A file, whatever its names.
#[derive(Debug, Clone)]
pub(super) struct Inode(Arc<Mutex<Body>>);

/// What a file is.
#[derive(Debug, Default, Clone)]
pub(super) struct Body {
    pub(super) image: Image,
    /// The live name that leads to it; only with one it takes space.
    name: Option<String>,
    /// Bytes for which space was taken ahead.
    allocated: u64,
    /// Tells it from every other file, for as long as one has it open.
    number: u64,
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
    /// Every name that is not the same in both, so that a sync or a power cut
    /// need not look at all others.
    unsynced: BTreeSet<String>,
    /// Bytes of live files, in whole blocks.
    used: u64,
    /// How many files were made.
    numbered: u64,
}

impl Inode {
    pub(super) fn lock(&self) -> MutexGuard<'_, Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn live_name(&self) -> Option<String> {
        self.lock().name.clone()
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
        if len < self.image.len() as u64 {
            self.allocated = self.allocated.min(len);
        }
        self.image.set_len(usize::try_from(len).expect("reserved before"));
        tree.used = tree.used - before + self.space();
    }

    fn space(&self) -> u64 {
        if self.name.is_some() { self.taken() } else { 0 }
    }

    /// The space that it takes under a name.
    fn taken(&self) -> u64 {
        in_blocks((self.image.len() as u64).max(self.allocated))
    }

    /// Takes space for its first `len` bytes.
    pub(super) fn allocate(&mut self, tree: &mut Tree, len: u64) {
        let before = self.space();
        self.allocated = self.allocated.max(len);
        tree.used = tree.used - before + self.space();
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Node {
    fn is_same(&self, other: &Node) -> bool {
        match (self, other) {
            (Node::Dir, Node::Dir) => true,
            (Node::File(a), Node::File(b)) => a.is_same(b),
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
        let number = self.next_number();
        let inode = Inode::new(Body { name: Some(path.to_owned()), number, ..Body::default() });
        self.set_live(path, Some(Node::File(inode.clone())));
        Ok(inode)
    }

    pub(super) fn create_dir(&mut self, path: &str) -> io::Result<()> {
        for above in ancestors(path).chain([path]) {
            match self.live.get(above) {
                Some(Node::Dir) => {}
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => self.set_live(above, Some(Node::Dir)),
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
            inode.lock().name = Some(to.to_owned());
            self.set_live(from, None);
            self.set_live(to, Some(Node::File(inode)));
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

    /// Whether a folder has names that its next sync makes durable.
    pub(super) fn is_unsynced(&self, path: &str) -> bool {
        self.unsynced_in(path).next().is_some()
    }

    /// Makes the names in a folder durable.
    pub(super) fn sync_dir(&mut self, path: &str) {
        let names: Vec<String> = self.unsynced_in(path).map(str::to_owned).collect();
        for name in names {
            // A file that was renamed away keeps a name: the new one becomes
            // durable together with the loss of the old one.
            if let Some(Node::File(moved)) = self.durable.get(&name)
                && !self.is_settled(&name)
                && let Some(now) = moved.live_name()
            {
                let node = Node::File(moved.clone());
                self.unsynced.remove(&now);
                self.durable.insert(now, node);
            }
            self.unsynced.remove(&name);
            match self.live.get(&name) {
                Some(node) => drop(self.durable.insert(name, node.clone())),
                None => drop(self.durable.remove(&name)),
            }
        }
    }

    /// All files with bytes but `inode`, with their lengths.
    pub(super) fn others(&self, inode: &Inode) -> Vec<(Inode, u64)> {
        let other = |node: &Node| match node {
            Node::File(file) if !file.is_same(inode) => {
                let len = file.lock().image.len() as u64;
                (len > 0).then(|| (file.clone(), len))
            }
            _ => None,
        };
        self.live.values().filter_map(other).collect()
    }

    /// See [`Image::drop_lost_pages`].
    pub(super) fn drop_lost_pages(&mut self, injected: &mut Injected) {
        for node in self.live.values() {
            if let Node::File(inode) = node {
                inode.lock().image.drop_lost_pages(injected);
            }
        }
    }

    /// Fails when a file that grows to `len` bytes does not fit.
    pub(super) fn reserve(&self, body: &Body, len: u64, capacity: u64) -> io::Result<()> {
        let grown = in_blocks(len).saturating_sub(body.taken());
        if grown > 0 && body.name.is_some() && self.used.saturating_add(grown) > capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    pub(super) fn plant(&mut self, path: &str, bytes: &[u8]) {
        let number = self.next_number();
        let mut body = Body { name: Some(path.to_owned()), number, ..Body::default() };
        body.image.write(0, bytes);
        body.image.sync();
        for above in ancestors(path) {
            self.live.insert(above.to_owned(), Node::Dir);
            self.durable.insert(above.to_owned(), Node::Dir);
            self.unsynced.remove(above);
        }
        self.unlink(path);
        self.used += body.space();
        let node = Node::File(Inode::new(body));
        self.live.insert(path.to_owned(), node.clone());
        self.durable.insert(path.to_owned(), node);
        self.unsynced.remove(path);
    }

    pub(super) fn unplant(&mut self, path: &str) {
        self.unlink(path);
        self.durable.remove(path);
        self.unsynced.remove(path);
    }

    /// Takes a file's name away, durably, and gives the file to whoever puts
    /// it back: a folder that was moved away. Who has it open goes on.
    pub(super) fn take_away(&mut self, path: &str) -> Option<Inode> {
        let inode = self.file(path)?;
        self.unplant(path);
        Some(inode)
    }

    /// Puts a file back that was taken away, durably.
    pub(super) fn put_back(&mut self, path: &str, inode: Inode) {
        self.unlink(path);
        {
            let mut body = inode.lock();
            body.name = Some(path.to_owned());
            self.used += body.space();
        }
        let node = Node::File(inode);
        self.live.insert(path.to_owned(), node.clone());
        self.durable.insert(path.to_owned(), node);
        self.unsynced.remove(path);
    }

    /// Gives a file other bytes, durably, while it stays the same file: `cp` onto
    /// it. Who has it open sees them. False when there is no such file.
    pub(super) fn write_over(&mut self, path: &str, bytes: &[u8]) -> bool {
        let Some(inode) = self.file(path) else { return false };
        let mut body = inode.lock();
        self.used -= body.space();
        body.image.set_len(bytes.len());
        body.image.write(0, bytes);
        body.image.sync();
        self.used += body.space();
        true
    }

    fn next_number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }

    /// A copy of what is live, as if it had been synced.
    pub(super) fn deep_clone(&self) -> Self {
        let names = self.live.iter().map(|(path, node)| (path.clone(), node.deep_clone()));
        let mut copy = Self { numbered: self.numbered, ..Self::default() };
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
        for (path, node) in &names {
            if let Node::File(inode) = node {
                let mut body = inode.lock();
                body.name = Some(path.clone());
                self.used += body.space();
            }
        }
        self.durable = names.clone();
        self.live = names;
        self.unsynced.clear();
    }

    /// Changes what a live name stands for.
    fn set_live(&mut self, path: &str, node: Option<Node>) {
        match node {
            Some(node) => drop(self.live.insert(path.to_owned(), node)),
            None => drop(self.live.remove(path)),
        }
        if self.is_settled(path) {
            self.unsynced.remove(path);
        } else {
            self.unsynced.insert(path.to_owned());
        }
    }

    /// Whether a name stands for the same after a power cut.
    fn is_settled(&self, path: &str) -> bool {
        match (self.live.get(path), self.durable.get(path)) {
            (Some(live), Some(durable)) => live.is_same(durable),
            (None, None) => true,
            _ => false,
        }
    }

    /// The paths of the unsynced names in one folder.
    fn unsynced_in(&self, path: &str) -> impl Iterator<Item = &str> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let from = self.unsynced.range(prefix.clone()..).map(String::as_str);
        let (start, len) = (prefix.clone(), prefix.len());
        from.take_while(move |path| path.starts_with(&start))
            .filter(move |path| !path[len..].contains('/'))
    }

    fn unlink(&mut self, path: &str) {
        if let Some(Node::File(inode)) = self.live.get(path).cloned() {
            let mut body = inode.lock();
            self.used -= body.space();
            body.name = None;
            drop(body);
            self.set_live(path, None);
        }
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
