//! The door: every change of the catalog is a command that comes in here.

use super::change::Change;
use super::check::check_spec;
use super::command::Command;
use super::record::{
    Answer, ClusterRecord, FileRecord, ForeignRange, MemberRecord, RunRecord, StripeRecord,
};
use super::refusal::Refusal;
use super::state::Catalog;
use super::undo::Undo;
use crate::catalog::NUMBERS_PER_BLOCK;
use crate::id::{Epoch, Handle, NodeIndex};
use crate::mark::{Mark, reached};
use crate::mutant::{Mutant, is_planted};
use crate::name::FileName;

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The member that [`Command::SetMember`] spoke of.
    pub member: Option<NodeIndex>,
    /// The files that went, replaced ones too: their chunks are garbage now.
    pub removed: Vec<RemovedFile>,
    /// The answer to [`Command::Requested`]: the first one, when the request
    /// is a repeat.
    pub answer: Option<Answer>,
}

/// A file that went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedFile {
    /// Its row.
    pub file: FileRecord,
    /// Its stripes.
    pub stripes: Vec<StripeRecord>,
}

impl Catalog {
    /// Does what `command` says, all or nothing, and appends to `changes`
    /// the rows that changed: none when everything is as it says already.
    ///
    /// # Errors
    /// [`Refusal`]; the catalog and `changes` are then as they were.
    pub fn apply(
        &mut self,
        command: &Command,
        changes: &mut Vec<Change>,
    ) -> Result<Outcome, Refusal> {
        self.apply_undoable(command, changes, &mut Vec::new())
    }

    /// The same, and appends to `undo` what [`Catalog::take_back`] needs to
    /// take it back.
    ///
    /// # Errors
    /// As [`Catalog::apply`].
    pub fn apply_undoable(
        &mut self,
        command: &Command,
        changes: &mut Vec<Change>,
        undo: &mut Vec<Undo>,
    ) -> Result<Outcome, Refusal> {
        let mut rows = Vec::new();
        let outcome = self.derive(command, &mut rows)?;
        for row in rows {
            undo.push(self.inverse(&row));
            changes.push(row.clone());
            self.enact(row);
        }
        Ok(outcome)
    }

    /// Checks `command` and says which rows it changes.
    pub(super) fn derive(
        &self,
        command: &Command,
        rows: &mut Vec<Change>,
    ) -> Result<Outcome, Refusal> {
        if let Command::Found { cluster, created_ms, policy, placement } = command {
            if let Some(present) = &self.cluster {
                return Err(Refusal::AlreadyFounded(present.cluster));
            }
            check_spec(policy)?;
            rows.push(Change::PutCluster(ClusterRecord {
                cluster: *cluster,
                created_ms: *created_ms,
                epoch: Epoch(0),
                next_number: 1,
                policy: *policy,
                placement: *placement,
                next_index: NodeIndex(0),
            }));
            return Ok(Outcome::default());
        }
        let cluster = self.cluster.as_ref().ok_or(Refusal::NotFounded)?;
        match command {
            Command::Found { .. } => Err(Refusal::AlreadyFounded(cluster.cluster)),
            Command::OpenRun { run, skip_to } => self.open_run(cluster, run, *skip_to, rows),
            Command::ReleaseForeign { start } => {
                if !self.foreign.contains_key(start) {
                    return Err(Refusal::NotForeign(*start));
                }
                rows.push(Change::DeleteForeign(*start));
                Ok(Outcome::default())
            }
            Command::SetPolicy { policy, placement } => {
                check_spec(policy)?;
                put_cluster(cluster, rows, |row| {
                    row.policy = *policy;
                    row.placement = *placement;
                })
            }
            Command::ReserveNumbers { next_number } => {
                let (proposed, current) = (*next_number, cluster.next_number);
                if proposed < current {
                    return Err(Refusal::NumbersFall { proposed, current });
                }
                put_cluster(cluster, rows, |row| row.next_number = proposed)
            }
            Command::SetMember { id, folder, address, zone, capacity, replaces } => {
                let known = self.member_by_id(id);
                let member = MemberRecord {
                    index: known.map_or(cluster.next_index, |known| known.index),
                    id: id.clone(),
                    folder: *folder,
                    address: address.clone(),
                    zone: zone.clone(),
                    capacity: *capacity,
                };
                self.set_member(cluster, known, member, *replaces, rows)
            }
            Command::CommitFile { file, stripes, replace } => {
                self.commit_file(file, stripes, *replace, rows)
            }
            Command::RemoveFiles { names } => self.remove_files(names, rows),
            Command::Rename { from, to, replace } => self.rename(from, to, *replace, rows),
            Command::SetCopies { handle, expected, copies } => {
                self.set_copies(*handle, expected, copies, rows)
            }
            Command::Requested { request, answer, command, retention } => {
                let next_number = cluster.next_number;
                self.answer_request(*request, answer, command, *retention, next_number, rows)
            }
            Command::KeepTime { retention } => {
                self.keep_time(*retention, rows);
                Ok(Outcome::default())
            }
        }
    }

    fn open_run(
        &self,
        cluster: &ClusterRecord,
        run: &RunRecord,
        skip_to: Option<u64>,
        rows: &mut Vec<Change>,
    ) -> Result<Outcome, Refusal> {
        let (epoch, current) = (run.run.epoch, cluster.epoch);
        let last = self.runs.last_key_value().map(|(_, last)| last.first_position);
        if epoch <= current || last.is_some_and(|last| run.first_position <= last) {
            return Err(Refusal::StaleEpoch { epoch, current });
        }
        let next_number = skip_to.unwrap_or(cluster.next_number);
        if next_number < cluster.next_number {
            let (proposed, current) = (next_number, cluster.next_number);
            return Err(Refusal::NumbersFall { proposed, current });
        }
        if skip_to.is_some() {
            // The last block that this copy knows of may have been in use in
            // the later one too.
            let start = cluster.next_number.saturating_sub(NUMBERS_PER_BLOCK);
            let (end, since_ms) = (next_number, run.started_ms);
            rows.push(Change::PutForeign(ForeignRange { start, end, since_ms }));
        }
        rows.push(Change::PutRun(run.clone()));
        put_cluster(cluster, rows, |row| {
            row.epoch = epoch;
            row.next_number = next_number;
        })
    }

    fn set_member(
        &self,
        cluster: &ClusterRecord,
        known: Option<&MemberRecord>,
        member: MemberRecord,
        replaces: bool,
        rows: &mut Vec<Change>,
    ) -> Result<Outcome, Refusal> {
        self.check_member(&member)?;
        if let Some(known) = known
            && known.folder != member.folder
            && !replaces
        {
            let (known, found) = (known.folder, member.folder);
            return Err(Refusal::OtherFolder { id: member.id, known, found });
        }
        let outcome = Outcome { member: Some(member.index), ..Outcome::default() };
        if known == Some(&member) {
            return Ok(outcome);
        }
        if known.is_none() {
            let next = (cluster.next_index.0.checked_add(1))
                .ok_or_else(|| Refusal::TooManyMembers { id: member.id.clone() })?;
            put_cluster(cluster, rows, |row| row.next_index = NodeIndex(next))?;
        }
        rows.push(Change::PutMember(member));
        Ok(outcome)
    }

    fn commit_file(
        &self,
        file: &FileRecord,
        stripes: &[StripeRecord],
        replace: bool,
        rows: &mut Vec<Change>,
    ) -> Result<Outcome, Refusal> {
        let mut outcome = Outcome::default();
        self.check_file(file, stripes)?;
        self.check_name(&file.name, None)?;
        if let Some(old) = self.file(&file.name) {
            if !replace {
                return Err(Refusal::Exists(file.name.clone()));
            }
            if old.id > file.id {
                let (name, id, newer) = (file.name.clone(), file.id, old.id);
                return Err(Refusal::Superseded { name, id, newer });
            }
            self.remove_file(old, rows, &mut outcome);
        }
        rows.extend(stripes.iter().cloned().map(Change::PutStripe));
        rows.push(Change::PutFile(file.clone()));
        Ok(outcome)
    }

    fn remove_files(&self, names: &[FileName], rows: &mut Vec<Change>) -> Result<Outcome, Refusal> {
        let mut outcome = Outcome::default();
        let mut ids: Vec<_> = names.iter().filter_map(|name| self.names.get(name)).collect();
        // A name that is given twice goes once.
        ids.sort_unstable();
        ids.dedup();
        for file in ids.into_iter().filter_map(|id| self.file_by_id(*id)) {
            self.remove_file(file, rows, &mut outcome);
        }
        Ok(outcome)
    }

    fn rename(
        &self,
        from: &FileName,
        to: &FileName,
        replace: bool,
        rows: &mut Vec<Change>,
    ) -> Result<Outcome, Refusal> {
        let mut outcome = Outcome::default();
        let file = self.file(from).ok_or_else(|| Refusal::NotFound(from.clone()))?;
        if from == to {
            return Ok(outcome);
        }
        self.check_name(to, Some(file.id))?;
        if let Some(old) = self.file(to) {
            if !replace {
                return Err(Refusal::Exists(to.clone()));
            }
            self.remove_file(old, rows, &mut outcome);
        }
        rows.push(Change::PutFile(FileRecord { name: to.clone(), ..file.clone() }));
        Ok(outcome)
    }

    fn set_copies(
        &self,
        handle: Handle,
        expected: &[NodeIndex],
        copies: &[NodeIndex],
        rows: &mut Vec<Change>,
    ) -> Result<Outcome, Refusal> {
        let (stripe, slot) = self.chunk(handle).ok_or(Refusal::NoChunk(handle))?;
        let chunk = stripe.chunks.get(slot).ok_or(Refusal::NoChunk(handle))?;
        if !same_nodes(&chunk.copies, expected) {
            reached(Mark::LayoutRefused);
            if !is_planted(Mutant::SecondRepairWins) {
                return Err(Refusal::LayoutChanged(handle));
            }
        }
        if copies.is_empty() {
            return Err(Refusal::NoCopies(handle));
        }
        self.check_copies(handle, copies)?;
        if !same_nodes(&chunk.copies, copies) {
            let mut stripe = stripe.clone();
            if let Some(chunk) = stripe.chunks.get_mut(slot) {
                chunk.copies = copies.into();
            }
            rows.push(Change::PutStripe(stripe));
        }
        Ok(Outcome::default())
    }

    fn remove_file(&self, file: &FileRecord, rows: &mut Vec<Change>, outcome: &mut Outcome) {
        let stripes: Vec<_> = self.stripes_of(file, 0).cloned().collect();
        rows.push(Change::DeleteFile(file.id));
        rows.extend(stripes.iter().map(|stripe| Change::DeleteStripe(stripe.first_handle)));
        outcome.removed.push(RemovedFile { file: file.clone(), stripes });
    }
}

/// Puts the cluster's row with an edit, unless that changes nothing.
fn put_cluster(
    cluster: &ClusterRecord,
    rows: &mut Vec<Change>,
    edit: impl FnOnce(&mut ClusterRecord),
) -> Result<Outcome, Refusal> {
    let mut row = cluster.clone();
    edit(&mut row);
    if row != *cluster {
        rows.push(Change::PutCluster(row));
    }
    Ok(Outcome::default())
}

/// Whether two layouts name the same nodes, in whatever order.
fn same_nodes(one: &[NodeIndex], other: &[NodeIndex]) -> bool {
    let sorted = |nodes: &[NodeIndex]| {
        let mut nodes = nodes.to_vec();
        nodes.sort_unstable();
        nodes
    };
    sorted(one) == sorted(other)
}
