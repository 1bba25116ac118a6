//! The catalog's state, and the one place where it changes.

use std::collections::{BTreeMap, BTreeSet};

use super::change::Change;
use super::record::{
    ClientRecord, ClusterRecord, FileRecord, ForeignRange, MemberRecord, RunRecord, StripeRecord,
    UptimeRecord,
};
use crate::block_map::BlockMap;
use crate::id::{ClientNumber, Epoch, FileId, FolderId, Handle, NodeId, NodeIndex};
use crate::mutant::{Mutant, is_planted};
use crate::name::FileName;

/// All that is known of files, stripes and members. Empty until founded.
///
/// Sizes matter here, as there may be many millions of rows: names are
/// shared between the file and the index, and rows lie packed in blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    pub(super) cluster: Option<ClusterRecord>,
    pub(super) runs: BTreeMap<Epoch, RunRecord>,
    pub(super) foreign: BTreeMap<u64, ForeignRange>,
    pub(super) members: BTreeMap<NodeIndex, MemberRecord>,
    pub(super) indexes: BTreeMap<NodeId, NodeIndex>,
    pub(super) folders: BTreeMap<FolderId, NodeIndex>,
    pub(super) files: BlockMap<FileId, FileRecord>,
    pub(super) names: BlockMap<FileName, FileId>,
    pub(super) stripes: BlockMap<Handle, StripeRecord>,
    pub(super) totals: Totals,
    pub(super) uptime: UptimeRecord,
    pub(super) clients: BTreeMap<ClientNumber, ClientRecord>,
    /// The same clients, the one that asked longest ago first.
    pub(super) clients_by_age: BTreeSet<(u64, ClientNumber)>,
}

/// The space that files take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Files.
    pub files: u64,
    /// Stripes.
    pub stripes: u64,
    /// Data chunks.
    pub chunks: u64,
    /// Logical size: the bytes of the files.
    pub logical_bytes: u64,
    /// Stored size: data chunks once, compressed.
    pub stored_bytes: u64,
    /// Raw size: all copies and parity that the layouts name.
    pub raw_bytes: u64,
}

impl Totals {
    /// What one stripe takes; its file's own bytes are not in it.
    #[must_use]
    pub fn of_stripe(stripe: &StripeRecord) -> Self {
        let data = usize::from(stripe.shape.data);
        let stored = |chunk: &super::record::ChunkRecord| u64::from(chunk.stored_len);
        Self {
            files: 0,
            stripes: 1,
            chunks: u64::from(stripe.shape.data),
            logical_bytes: 0,
            stored_bytes: stripe.chunks.iter().take(data).map(stored).sum(),
            raw_bytes: (stripe.chunks.iter())
                .map(|chunk| stored(chunk).saturating_mul(chunk.copies.len() as u64))
                .sum(),
        }
    }

    /// What one file takes without its stripes.
    fn of_file(file: &FileRecord) -> Self {
        Self { files: 1, logical_bytes: file.size, ..Self::default() }
    }

    // Sizes are checked row by row, their sums are not: wrapping keeps adding
    // and taking away exact opposites whatever the rows say.
    pub(super) fn add(&mut self, other: Self) {
        self.each(other, u64::wrapping_add);
    }

    fn take_away(&mut self, other: Self) {
        self.each(other, u64::wrapping_sub);
    }

    fn each(&mut self, other: Self, step: fn(u64, u64) -> u64) {
        self.files = step(self.files, other.files);
        self.stripes = step(self.stripes, other.stripes);
        self.chunks = step(self.chunks, other.chunks);
        self.logical_bytes = step(self.logical_bytes, other.logical_bytes);
        self.stored_bytes = step(self.stored_bytes, other.stored_bytes);
        self.raw_bytes = step(self.raw_bytes, other.raw_bytes);
    }
}

impl Catalog {
    /// Changes the state by one row that has been checked. Nothing else does.
    pub(super) fn enact(&mut self, change: Change) {
        match change {
            Change::PutCluster(cluster) => self.cluster = Some(cluster),
            Change::PutRun(run) => drop(self.runs.insert(run.run.epoch, run)),
            Change::PutForeign(range) => drop(self.foreign.insert(range.start, range)),
            Change::DeleteForeign(start) => drop(self.foreign.remove(&start)),
            Change::PutMember(member) => self.put_member(member),
            Change::PutFile(file) => self.put_file(file),
            Change::DeleteFile(id) => self.delete_file(id),
            Change::PutStripe(stripe) => self.put_stripe(stripe),
            Change::DeleteStripe(first) => {
                if let Some(old) = self.stripes.remove(&first) {
                    self.totals.take_away(Totals::of_stripe(&old));
                }
            }
            Change::PutUptime(uptime) => self.uptime = uptime,
            Change::PutClient(client) => self.put_client(client),
            Change::DeleteClient(client) => {
                if let Some(old) = self.clients.remove(&client) {
                    self.clients_by_age.remove(&(old.used_s, client));
                }
            }
        }
    }

    fn put_client(&mut self, row: ClientRecord) {
        let (used_s, client) = (row.used_s, row.client);
        if let Some(old) = self.clients.insert(client, row) {
            self.clients_by_age.remove(&(old.used_s, client));
        }
        self.clients_by_age.insert((used_s, client));
    }

    fn put_member(&mut self, member: MemberRecord) {
        if let Some(old) = self.members.get(&member.index) {
            self.indexes.remove(&old.id);
            self.folders.remove(&old.folder);
        }
        self.indexes.insert(member.id.clone(), member.index);
        self.folders.insert(member.folder, member.index);
        self.members.insert(member.index, member);
    }

    /// Takes a member out, as if it had never joined.
    pub(super) fn drop_member(&mut self, index: NodeIndex) {
        if let Some(old) = self.members.remove(&index) {
            self.indexes.remove(&old.id);
            self.folders.remove(&old.folder);
        }
    }

    fn put_file(&mut self, file: FileRecord) {
        self.totals.add(Totals::of_file(&file));
        let (id, name) = (file.id, file.name.clone());
        // In its place: a file that was renamed moves no other row.
        if let Some(old) = self.files.insert(id, file) {
            self.names.remove(&old.name);
            if !is_planted(Mutant::WrongTally) {
                self.totals.take_away(Totals::of_file(&old));
            }
        }
        self.names.insert(name, id);
    }

    fn delete_file(&mut self, id: FileId) {
        if let Some(old) = self.files.remove(&id) {
            self.names.remove(&old.name);
            if !is_planted(Mutant::WrongTally) {
                self.totals.take_away(Totals::of_file(&old));
            }
        }
    }

    fn put_stripe(&mut self, stripe: StripeRecord) {
        self.totals.add(Totals::of_stripe(&stripe));
        if let Some(old) = self.stripes.insert(stripe.first_handle, stripe) {
            self.totals.take_away(Totals::of_stripe(&old));
        }
    }
}
