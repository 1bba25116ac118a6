//! What clients read: where chunks are, listings, sizes.
//!
//! What walks over many files or stripes does so in steps, between which
//! others get at the catalog: such an answer is not of one moment.

use std::collections::BTreeMap;

use super::namespace::not_found;
use super::role::{Coordinator, State};
use super::survey::{SLICE_PAUSE, copy_state};
use crate::api::{
    ChunkMap, Condition, CopyAt, CopyState, ENTRIES_PER_PAGE_MAX, Error, FileInfo, FileMap, Kind,
    List, ListEntry, ListPage, Lookup, NodeState, Result, STRIPES_PER_CALL_MAX, StripeMap, Usage,
};
use crate::catalog::{Catalog, ChunkRecord, FileRecord, Listed, Listing, StripeRecord, Totals};
use crate::id::{FileId, NodeIndex};
use crate::limit::limit;
use crate::mark::{Mark, reached};
use crate::mutant::{Mutant, is_planted};
use crate::placement;
use crate::repair::{Standing, View, assess};

/// Files and stripes that are walked in one go, while others wait.
const ROWS_PER_STEP_MAX: usize = 4096;
/// Stripes whose copies are looked at in one go.
const STRIPES_PER_STEP_MAX: usize = 1024;

impl Coordinator {
    /// See [`crate::api::CoordinatorService::lookup`].
    pub(super) async fn look_up(&self, request: Lookup) -> Result<FileMap> {
        self.check_answers()?;
        let name = &request.name;
        let now_ms = self.now_ms();
        let found = self.door.read_soon(|catalog| {
            let file = catalog.file(name).ok_or_else(|| not_found(name))?;
            if let Some(version) = request.version
                && version != file.id
            {
                return Err(Error::new(
                    Kind::NotFound,
                    format!("{:?} was replaced while it was read: read it again", name.as_str()),
                ));
            }
            let state = self.state();
            let first = usize::try_from(request.first_stripe).unwrap_or(usize::MAX);
            let page_max = limit(STRIPES_PER_CALL_MAX, 2);
            if first > 0 {
                reached(Mark::LookupSecondPage);
            }
            let is_late = first > 0 && is_planted(Mutant::LookupSkipsOne);
            let begin = if is_late { first + 1 } else { first };
            let stripes = catalog.stripes_of(file, begin).take(page_max);
            let stripes = stripes.map(|stripe| map(catalog, &state, stripe, now_ms)).collect();
            // How the file is was told with its first stripes: counting it
            // with every page would cost the square of its length.
            let until = if first == 0 { usize::MAX } else { first + page_max };
            let mut counting = Counting::new(file, first, until);
            counting.go_on(catalog, &state, &self.standings(&state), file, now_ms);
            Ok((counting, stripes))
        });
        let (counting, stripes) = found.await??;
        let info = self.finish(counting).await?;
        let may_be_old = self.may_be_old().await;
        Ok(FileMap { context: self.context, may_be_old, info, stripes })
    }

    /// Begins to tell of file `id` in short, where `catalog` has it.
    pub(super) fn count(&self, catalog: &Catalog, id: FileId) -> Option<Counting> {
        let file = catalog.file_by_id(id)?;
        let mut counting = Counting::new(file, 0, usize::MAX);
        let (state, now_ms) = (self.state(), self.now_ms());
        counting.go_on(catalog, &state, &self.standings(&state), file, now_ms);
        Some(counting)
    }

    /// See [`crate::api::CoordinatorService::list`].
    pub(super) async fn list_names(&self, request: List) -> Result<ListPage> {
        self.check_answers()?;
        let asked = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let entries_max = asked.clamp(1, limit(ENTRIES_PER_PAGE_MAX, 3));
        if request.after.is_some() {
            reached(Mark::ListSecondPage);
        }
        let mut listing =
            Listing::new(&request.prefix, request.after.as_deref(), request.by_folder);
        let mut lines = Vec::new();
        let seen = loop {
            let room = entries_max - lines.len();
            let (some, seen) =
                self.door.look(|catalog| self.list_some(catalog, &mut listing, room));
            lines.extend(some);
            if lines.len() >= entries_max || listing.is_done() {
                break seen;
            }
            reached(Mark::ListSecondStep);
            tokio::time::sleep(SLICE_PAUSE).await;
        };
        if request.after.is_some() && lines.len() > 1 && is_planted(Mutant::ListingSkipsOne) {
            lines.remove(0);
        }
        self.door.settle_soon(seen).await?;
        let mut entries = Vec::with_capacity(lines.len());
        for line in lines {
            entries.push(match line {
                Line::File(counting) => ListEntry::File(self.finish(*counting).await?),
                Line::Folder { prefix, files, bytes } => ListEntry::Folder { prefix, files, bytes },
            });
        }
        let next = match entries.last().filter(|_| !listing.is_done()) {
            Some(ListEntry::File(info)) => Some(info.name.as_str().to_owned()),
            Some(ListEntry::Folder { prefix, .. }) => Some(prefix.clone()),
            None => None,
        };
        Ok(ListPage { entries, next, may_be_old: self.may_be_old().await })
    }

    /// Goes on with a listing, `entries_max` lines at most.
    fn list_some(&self, catalog: &Catalog, listing: &mut Listing, entries_max: usize) -> Vec<Line> {
        let now_ms = self.now_ms();
        let listed = catalog.list_on(listing, entries_max, limit(ROWS_PER_STEP_MAX, 2));
        let state = self.state();
        let standings = self.standings(&state);
        let line = |listed| match listed {
            Listed::File(file) => {
                let mut counting = Counting::new(file, 0, usize::MAX);
                counting.go_on(catalog, &state, &standings, file, now_ms);
                Line::File(Box::new(counting))
            }
            Listed::Folder { prefix, files, bytes } => Line::Folder { prefix, files, bytes },
        };
        listed.into_iter().map(line).collect()
    }

    /// See [`crate::api::CoordinatorService::usage`].
    pub(super) async fn usage_under(&self, prefix: String) -> Result<Usage> {
        self.check_answers()?;
        let (mut totals, mut after) = (Totals::default(), None);
        let seen = loop {
            let (last, seen) = self.door.look(|catalog| {
                catalog.usage_on(&prefix, after.as_ref(), &mut totals, limit(ROWS_PER_STEP_MAX, 2))
            });
            if last.is_none() {
                break seen;
            }
            after = last;
            tokio::time::sleep(SLICE_PAUSE).await;
        };
        self.door.settle_soon(seen).await?;
        Ok(Usage {
            files: totals.files,
            chunks: totals.chunks,
            logical_bytes: totals.logical_bytes,
            stored_bytes: totals.stored_bytes,
            raw_bytes: totals.raw_bytes,
        })
    }

    /// Counts what is left of a file, step by step. One that goes meanwhile
    /// is told as far as it was counted.
    pub(super) async fn finish(&self, mut counting: Counting) -> Result<FileInfo> {
        while !counting.is_done() {
            tokio::time::sleep(SLICE_PAUSE).await;
            let now_ms = self.now_ms();
            let (is_there, seen) = self.door.look(|catalog| {
                let file = catalog.file_by_id(counting.info.id);
                let state = self.state();
                let standings = self.standings(&state);
                file.map(|file| counting.go_on(catalog, &state, &standings, file, now_ms)).is_some()
            });
            self.door.settle_soon(seen).await?;
            if !is_there {
                break;
            }
        }
        Ok(counting.info)
    }
}

/// One line of a listing, and what is left to count of it.
enum Line {
    File(Box<Counting>),
    Folder { prefix: String, files: u64, bytes: u64 },
}

/// A file in short, as far as its stripes were counted.
pub(super) struct Counting {
    info: FileInfo,
    /// The next stripe to be counted, and the end.
    next: usize,
    until: usize,
    /// Whether a stripe was counted.
    has_some: bool,
}

impl Counting {
    /// Nothing of the file's stripes `next..until` counted yet.
    fn new(file: &FileRecord, next: usize, until: usize) -> Self {
        let info = FileInfo {
            name: file.name.clone(),
            id: file.id,
            size: file.size,
            policy: file.policy,
            created_ms: file.created_ms,
            stripes: u32::try_from(file.stripes.len()).unwrap_or(u32::MAX),
            chunks: 0,
            stored_bytes: 0,
            raw_bytes: 0,
            // An empty file has nothing to lose: it lives in the catalog.
            spares: i32::from(crate::policy::REPLICATION_MAX),
            copies_missing: 0,
            condition: Condition::Full,
        };
        Self { info, next, until: until.min(file.stripes.len()), has_some: false }
    }

    fn is_done(&self) -> bool {
        self.next >= self.until
    }

    /// Counts more stripes, as many as shall be in one go.
    fn go_on(
        &mut self,
        catalog: &Catalog,
        state: &State,
        standings: &BTreeMap<NodeIndex, Standing>,
        file: &FileRecord,
        now_ms: u64,
    ) {
        let copy_state = copy_state(state);
        let view = View { standings, copy_state: &copy_state };
        let until = self.until.min(self.next.saturating_add(limit(STRIPES_PER_STEP_MAX, 1)));
        let stripes = until.saturating_sub(self.next);
        for stripe in catalog.stripes_of(file, self.next).take(stripes) {
            let there = state.members.copies_there(stripe, now_ms);
            let spares = placement::tolerance(stripe.shape, &there).or_else(|| {
                // Copies that the layout does not name can be read, and are
                // not counted on beyond that.
                let sources = state.members.sources_there(stripe, now_ms);
                placement::tolerance(stripe.shape, &sources).map(|_| 0)
            });
            let spares = spares.map_or(-1, i32::from);
            let info = &mut self.info;
            info.spares = if self.has_some { info.spares.min(spares) } else { spares };
            self.has_some = true;
            info.condition = info.condition.max(assess(stripe, &file.policy, &view).condition);
            info.copies_missing += file.policy.copies_missing(stripe.shape, &there);
            let totals = Totals::of_stripe(stripe);
            info.chunks = info.chunks.saturating_add(u32::from(stripe.shape.data));
            info.stored_bytes += totals.stored_bytes;
            info.raw_bytes += totals.raw_bytes;
        }
        self.next = until;
    }
}

fn map(catalog: &Catalog, state: &State, stripe: &StripeRecord, now_ms: u64) -> StripeMap {
    let chunk = |(slot, chunk): (usize, &ChunkRecord)| {
        let handle = stripe.handle(slot);
        let copy = |index: &NodeIndex| {
            let member = catalog.member(*index)?;
            Some(CopyAt {
                node: member.id.clone(),
                address: member.address.clone(),
                state: state.members.state(*index, now_ms),
                presence: state.members.copy_state(*index, handle),
                is_slow: state.members.is_slow(*index, now_ms),
            })
        };
        let mut copies: Vec<CopyAt> = chunk.copies.iter().filter_map(copy).collect();
        // Readers of different chunks begin with different nodes.
        let turn = usize::try_from(handle.0 % copies.len().max(1) as u64).unwrap_or(0);
        copies.rotate_left(turn);
        copies.sort_by_key(|copy| (presence_rank(copy.presence), state_rank(copy.state)));
        let is_there = |copy: &CopyAt| {
            presence_rank(copy.presence) == 0
                && matches!(copy.state, NodeState::Online | NodeState::Suspect)
        };
        if !copies.iter().all(is_there) {
            // Good copies that the layout does not name come after the named
            // ones that can be read, and before those that cannot.
            let unnamed = state.members.unnamed(handle, &chunk.copies, now_ms);
            let readable = copies.iter().take_while(|copy| is_there(copy)).count();
            copies.splice(readable..readable, unnamed.iter().filter_map(copy));
        }
        ChunkMap {
            digest: chunk.digest,
            raw_len: u64::from(chunk.raw_len),
            stored_len: u64::from(chunk.stored_len),
            copies,
        }
    };
    StripeMap {
        first_handle: stripe.first_handle,
        shape: stripe.shape,
        chunks: stripe.chunks.iter().enumerate().map(chunk).collect(),
    }
}

fn presence_rank(presence: CopyState) -> u8 {
    match presence {
        CopyState::Held | CopyState::Unknown => 0,
        CopyState::Missing => 1,
        CopyState::Bad => 2,
    }
}

fn state_rank(state: NodeState) -> u8 {
    match state {
        NodeState::Online => 0,
        NodeState::Suspect => 1,
        NodeState::Unknown => 2,
        NodeState::CutOff => 3,
        NodeState::Offline | NodeState::Absent | NodeState::NoVolume => 4,
    }
}
