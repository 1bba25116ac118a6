//! What clients read: where chunks are, listings, sizes.

use super::namespace::not_found;
use super::role::{Coordinator, State};
use crate::api::{
    ChunkMap, CopyAt, CopyState, ENTRIES_PER_PAGE_MAX, Error, FileInfo, FileMap, Kind, List,
    ListEntry, ListPage, Lookup, NodeState, Result, STRIPES_PER_CALL_MAX, StripeMap, Usage,
};
use crate::catalog::{Catalog, ChunkRecord, FileRecord, Listed, StripeRecord};
use crate::id::FileId;
use crate::placement;

impl Coordinator {
    /// See [`crate::api::CoordinatorService::lookup`].
    pub(super) async fn look_up(&self, request: Lookup) -> Result<FileMap> {
        let name = &request.name;
        let now_ms = self.now_ms();
        let found = self.door.read(|catalog| {
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
            let stripes = catalog.stripes_of(file, first).take(STRIPES_PER_CALL_MAX);
            Ok(FileMap {
                context: self.context,
                info: info(catalog, &state, file, now_ms),
                stripes: stripes.map(|stripe| map(catalog, &state, stripe, now_ms)).collect(),
            })
        });
        found.await?
    }

    /// One file of `catalog`, in short.
    pub(super) fn info_by_id(&self, catalog: &Catalog, id: FileId) -> Option<FileInfo> {
        let file = catalog.file_by_id(id)?;
        Some(info(catalog, &self.state(), file, self.now_ms()))
    }

    /// See [`crate::api::CoordinatorService::list`].
    pub(super) async fn list_names(&self, request: List) -> Result<ListPage> {
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let limit = limit.clamp(1, ENTRIES_PER_PAGE_MAX);
        let now_ms = self.now_ms();
        self.door
            .read(|catalog| {
                let after = request.after.as_deref();
                let page = catalog.list(&request.prefix, after, limit, request.by_folder);
                let state = self.state();
                let entry = |listed: Listed<'_>| match listed {
                    Listed::File(file) => ListEntry::File(info(catalog, &state, file, now_ms)),
                    Listed::Folder { prefix, files, bytes } => {
                        ListEntry::Folder { prefix, files, bytes }
                    }
                };
                ListPage { entries: page.entries.into_iter().map(entry).collect(), next: page.next }
            })
            .await
    }

    /// See [`crate::api::CoordinatorService::usage`].
    pub(super) async fn usage_under(&self, prefix: String) -> Result<Usage> {
        let totals = self.door.read(|catalog| catalog.usage(&prefix)).await?;
        Ok(Usage {
            files: totals.files,
            chunks: totals.chunks,
            logical_bytes: totals.logical_bytes,
            stored_bytes: totals.stored_bytes,
            raw_bytes: totals.raw_bytes,
        })
    }
}

fn info(catalog: &Catalog, state: &State, file: &FileRecord, now_ms: u64) -> FileInfo {
    let totals = catalog.file_totals(file);
    let mut worst: Option<i32> = None;
    let mut copies_missing = 0;
    for stripe in catalog.stripes_of(file, 0) {
        let there = state.members.copies_there(stripe, now_ms);
        let spares = placement::tolerance(stripe.shape, &there).map_or(-1, i32::from);
        worst = Some(worst.map_or(spares, |worst| worst.min(spares)));
        copies_missing += file.policy.copies_missing(stripe.shape, &there);
    }
    FileInfo {
        name: file.name.clone(),
        id: file.id,
        size: file.size,
        policy: file.policy,
        created_ms: file.created_ms,
        stripes: u32::try_from(file.stripes.len()).unwrap_or(u32::MAX),
        chunks: u32::try_from(totals.chunks).unwrap_or(u32::MAX),
        stored_bytes: totals.stored_bytes,
        raw_bytes: totals.raw_bytes,
        // An empty file has nothing to lose: it lives in the catalog.
        spares: worst.unwrap_or(i32::from(crate::policy::REPLICATION_MAX)),
        copies_missing,
    }
}

fn map(catalog: &Catalog, state: &State, stripe: &StripeRecord, now_ms: u64) -> StripeMap {
    let chunk = |(slot, chunk): (usize, &ChunkRecord)| {
        let handle = stripe.handle(slot);
        let mut copies: Vec<CopyAt> = (chunk.copies.iter())
            .filter_map(|index| {
                let member = catalog.member(*index)?;
                Some(CopyAt {
                    node: member.id.clone(),
                    address: member.address.clone(),
                    state: state.members.state(*index, now_ms),
                    presence: state.members.copy_state(*index, handle),
                })
            })
            .collect();
        // Readers of different chunks begin with different nodes.
        let turn = usize::try_from(handle.0 % copies.len().max(1) as u64).unwrap_or(0);
        copies.rotate_left(turn);
        copies.sort_by_key(|copy| (presence_rank(copy.presence), state_rank(copy.state)));
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
        NodeState::Offline | NodeState::Absent => 3,
    }
}
