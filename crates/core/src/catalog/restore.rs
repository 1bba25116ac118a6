//! A catalog from its rows: all of them fit together, or there is none.

use super::change::Change;
use super::check::check_cluster;
use super::record::{
    ClientRecord, ClusterRecord, FileRecord, ForeignRange, MemberRecord, RunRecord, StripeRecord,
    UptimeRecord,
};
use super::refusal::Refusal;
use super::state::Catalog;
use crate::id::{ClientNumber, Epoch, FileId, Handle, NodeIndex, Run};

/// All rows of a catalog, in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// What the catalog knows of itself; `None` before it is founded.
    pub cluster: Option<ClusterRecord>,
    /// Its lineage; empty before a build that keeps one led it.
    pub runs: Vec<RunRecord>,
    /// Numbers that another copy may have handed out.
    pub foreign: Vec<ForeignRange>,
    /// The members.
    pub members: Vec<MemberRecord>,
    /// The files.
    pub files: Vec<FileRecord>,
    /// The stripes.
    pub stripes: Vec<StripeRecord>,
    /// How long coordinators have run; `None` where that was never noted.
    pub uptime: Option<UptimeRecord>,
    /// The last requests of clients.
    pub clients: Vec<ClientRecord>,
}

/// Rows that do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// The cluster's row breaks a rule.
    #[error("the cluster's row: {0}")]
    Cluster(Refusal),
    /// A run that does not follow on the one before.
    #[error("the row of run {0}: it does not follow on the run before it")]
    Run(Run),
    /// There are rows, but no cluster.
    #[error("there are members, files, stripes or clients, but no cluster's row")]
    NoCluster,
    /// A member breaks a rule.
    #[error("the row of member {}: {refusal}", .index.0)]
    Member {
        /// Which member.
        index: NodeIndex,
        /// Which rule.
        refusal: Refusal,
    },
    /// A member's index was never given out.
    #[error("the row of member {}: its index was never given out", .0.0)]
    UnknownIndex(NodeIndex),
    /// Two members of one name.
    #[error("the row of member {}: another member has its name", .0.0)]
    DoubleMember(NodeIndex),
    /// A file breaks a rule.
    #[error("the row of file {id}: {refusal}")]
    File {
        /// Which file.
        id: FileId,
        /// Which rule.
        refusal: Refusal,
    },
    /// A file names a stripe that is not there.
    #[error("the row of file {id}: its stripe {stripe} is not there")]
    NoStripe {
        /// Which file.
        id: FileId,
        /// Which stripe.
        stripe: Handle,
    },
    /// A client that no coordinator numbered, or one that is there twice.
    #[error("the row of client {}: it was never handed out, or is there twice", .0.0)]
    BadClient(ClientNumber),
    /// A stripe is there twice.
    #[error("the row of stripe {0}: there are two of it")]
    DoubleStripe(Handle),
    /// A stripe that no file names.
    #[error("the row of stripe {stripe}: file {file} does not name it")]
    Orphan {
        /// Which stripe.
        stripe: Handle,
        /// The file that it says it belongs to.
        file: FileId,
    },
}

impl Catalog {
    /// Makes a catalog from all its rows, checking each as if it came by a
    /// command, and that none is missing or left over.
    ///
    /// # Errors
    /// [`Misfit`] names the first row that does not fit.
    pub fn restore(rows: Rows) -> Result<Self, Misfit> {
        let mut catalog = Self::default();
        let Some(cluster) = rows.cluster else {
            let is_empty = rows.members.is_empty()
                && rows.files.is_empty()
                && rows.stripes.is_empty()
                && rows.runs.is_empty()
                && rows.foreign.is_empty()
                && rows.uptime.is_none()
                && rows.clients.is_empty();
            return if is_empty { Ok(catalog) } else { Err(Misfit::NoCluster) };
        };
        check_cluster(&cluster).map_err(Misfit::Cluster)?;
        let (next_index, epoch) = (cluster.next_index, cluster.epoch);
        let next_number = cluster.next_number;
        catalog.enact(Change::PutCluster(cluster));
        catalog.restore_runs(rows.runs, epoch)?;
        for range in rows.foreign {
            catalog.enact(Change::PutForeign(range));
        }
        for member in rows.members {
            catalog.restore_member(member, next_index)?;
        }
        if let Some(uptime) = rows.uptime {
            catalog.enact(Change::PutUptime(uptime));
        }
        for row in rows.clients {
            let client = row.client;
            if client.0 >= next_number || catalog.clients.contains_key(&client) {
                return Err(Misfit::BadClient(client));
            }
            catalog.enact(Change::PutClient(row));
        }
        let mut stripes = Loose::of(rows.stripes)?;
        for file in rows.files {
            catalog.restore_file(file, &mut stripes)?;
        }
        if let Some(record) = stripes.stripes.into_iter().flatten().next() {
            return Err(Misfit::Orphan { stripe: record.first_handle, file: record.file });
        }
        catalog.pack();
        Ok(catalog)
    }

    /// Every row, in an order in which they make the catalog anew.
    pub fn rows(&self) -> impl Iterator<Item = Change> {
        let uptime = self.uptime;
        (self.cluster.iter().cloned().map(Change::PutCluster))
            .chain(self.runs.values().cloned().map(Change::PutRun))
            .chain(self.foreign.values().copied().map(Change::PutForeign))
            .chain(self.members.values().cloned().map(Change::PutMember))
            .chain((uptime != UptimeRecord::default()).then_some(Change::PutUptime(uptime)))
            .chain(self.clients.values().cloned().map(Change::PutClient))
            .chain(self.stripes.iter().map(|(_, stripe)| Change::PutStripe(stripe.clone())))
            .chain(self.files.iter().map(|(_, file)| Change::PutFile(file.clone())))
    }

    /// Takes the lineage in. Its last run is the cluster's latest; there is
    /// none where no build has written one yet.
    fn restore_runs(&mut self, mut runs: Vec<RunRecord>, latest: Epoch) -> Result<(), Misfit> {
        runs.sort_unstable_by_key(|run| run.run.epoch);
        let mut before: Option<&RunRecord> = None;
        for (place, run) in runs.iter().enumerate() {
            let rises = before.is_none_or(|before| {
                before.run.epoch < run.run.epoch && before.first_position < run.first_position
            });
            let is_last = place + 1 == runs.len();
            if !rises || (is_last && run.run.epoch != latest) {
                return Err(Misfit::Run(run.run));
            }
            before = Some(run);
        }
        for run in runs {
            self.enact(Change::PutRun(run));
        }
        Ok(())
    }

    fn restore_member(
        &mut self,
        member: MemberRecord,
        next_index: NodeIndex,
    ) -> Result<(), Misfit> {
        let index = member.index;
        if index >= next_index {
            return Err(Misfit::UnknownIndex(index));
        }
        if self.members.contains_key(&index) || self.indexes.contains_key(&member.id) {
            return Err(Misfit::DoubleMember(index));
        }
        self.check_member(&member).map_err(|refusal| Misfit::Member { index, refusal })?;
        self.enact(Change::PutMember(member));
        Ok(())
    }

    fn restore_file(&mut self, file: FileRecord, stripes: &mut Loose) -> Result<(), Misfit> {
        let id = file.id;
        let own: Vec<StripeRecord> = (file.stripes.iter())
            .map(|first| stripes.take(*first).ok_or(Misfit::NoStripe { id, stripe: *first }))
            .collect::<Result<_, _>>()?;
        let taken = self.file(&file.name).map(|_| Refusal::Exists(file.name.clone()));
        (taken.map_or(Ok(()), Err))
            .and_then(|()| self.check_file(&file, &own))
            .and_then(|()| self.check_name(&file.name, None))
            .map_err(|refusal| Misfit::File { id, refusal })?;
        for stripe in own {
            self.enact(Change::PutStripe(stripe));
        }
        self.enact(Change::PutFile(file));
        Ok(())
    }

    /// Builds the index of names anew, whose rows came in no order: made from
    /// sorted rows, its blocks are full.
    fn pack(&mut self) {
        self.names = std::mem::take(&mut self.names).into_iter().collect();
    }
}

/// Stripes that no file has claimed yet, in order of handle. A list, as there
/// may be many millions, which are claimed once each.
struct Loose {
    firsts: Vec<Handle>,
    /// As many; what was claimed is gone.
    stripes: Vec<Option<StripeRecord>>,
    /// Behind the one that was claimed last: most likely the next.
    next: usize,
}

impl Loose {
    fn of(mut stripes: Vec<StripeRecord>) -> Result<Self, Misfit> {
        // As they come from a ledger, they are in order already.
        stripes.sort_by_key(|stripe| stripe.first_handle);
        let double = |pair: &[StripeRecord]| match pair {
            [one, next] if one.first_handle == next.first_handle => Some(one.first_handle),
            _ => None,
        };
        match stripes.windows(2).find_map(double) {
            Some(first) => Err(Misfit::DoubleStripe(first)),
            None => Ok(Self {
                firsts: stripes.iter().map(|stripe| stripe.first_handle).collect(),
                stripes: stripes.into_iter().map(Some).collect(),
                next: 0,
            }),
        }
    }

    fn take(&mut self, first: Handle) -> Option<StripeRecord> {
        let place = match self.firsts.get(self.next) {
            Some(next) if *next == first => self.next,
            _ => self.firsts.binary_search(&first).ok()?,
        };
        self.next = place + 1;
        self.stripes.get_mut(place)?.take()
    }
}
