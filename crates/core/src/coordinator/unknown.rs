//! Chunks on nodes that the catalog does not know, and that no sweep touches:
//! those of handles that a later copy of this catalog may have handed out, and
//! those of handles that nobody was given. They are shown, and kept until an
//! operator releases them.

use std::ops::Range;

use super::role::Coordinator;
use crate::api::{
    Error, HeldChunk, Kind, ListUnknown, Result, UNKNOWN_COUNTED_MAX, UNKNOWN_PER_PAGE_MAX,
    Unknown, UnknownCopy, UnknownPage,
};
use crate::catalog::{Catalog, Command, MemberRecord};
use crate::id::Handle;
use crate::limit::limit;
use crate::presence::Presence;

/// The handles that are kept, and all that were not handed out.
fn ranges(catalog: &Catalog) -> Vec<Range<Handle>> {
    let handed_out = catalog.cluster().map_or(0, |cluster| cluster.next_number);
    let kept = catalog.foreign().map(|range| range.start..range.end.min(handed_out));
    kept.chain(std::iter::once(handed_out..u64::MAX))
        .map(|it| Handle(it.start)..Handle(it.end))
        .collect()
}

/// The unknown copies of one node behind `after`, in order.
fn on<'a>(
    catalog: &'a Catalog,
    presence: &'a Presence,
    member: &MemberRecord,
    after: Option<Handle>,
) -> impl Iterator<Item = HeldChunk> + 'a {
    let node = member.index;
    let first = after.map_or(0, |after| after.0.saturating_add(1));
    let held = ranges(catalog).into_iter().flat_map(move |range| {
        let start = range.start.max(Handle(first));
        presence.held_in(node, start..range.end.max(start))
    });
    held.filter(|chunk| catalog.chunk(chunk.handle).is_none())
}

impl Coordinator {
    /// How many there are, and what they take.
    pub(super) fn unknown(&self) -> Unknown {
        self.door.peek(|catalog| {
            let state = self.state();
            let (presence, uploads) = (&state.members.presence, &state.uploads);
            let members = catalog.members();
            let copies = members.flat_map(|member| on(catalog, presence, member, None));
            let copies = copies.filter(|chunk| !uploads.guards(chunk.handle));
            let mut sum = Unknown::default();
            for chunk in copies.take(usize::try_from(UNKNOWN_COUNTED_MAX).unwrap_or(usize::MAX)) {
                sum.copies += 1;
                sum.bytes += chunk.stored_bytes;
            }
            sum
        })
    }

    /// See [`crate::api::CoordinatorService::list_unknown`].
    pub(super) async fn unknown_page(&self, request: ListUnknown) -> Result<UnknownPage> {
        let page_max = limit(UNKNOWN_PER_PAGE_MAX, 2);
        let list = |catalog: &Catalog| {
            let state = self.state();
            let (presence, uploads) = (&state.members.presence, &state.uploads);
            let mut members: Vec<&MemberRecord> = catalog.members().collect();
            members.sort_by(|one, other| one.id.cmp(&other.id));
            let mut page = UnknownPage::default();
            for member in members {
                let after = match &request.after {
                    Some((node, _)) if member.id < *node => continue,
                    Some((node, handle)) if member.id == *node => Some(*handle),
                    _ => None,
                };
                for chunk in on(catalog, presence, member, after) {
                    if uploads.guards(chunk.handle) {
                        continue;
                    }
                    if page.copies.len() >= page_max {
                        page.has_more = true;
                        return page;
                    }
                    page.copies.push(UnknownCopy {
                        node: member.id.clone(),
                        address: member.address.clone(),
                        handle: chunk.handle,
                        stored_bytes: chunk.stored_bytes,
                        is_good: chunk.is_good,
                    });
                }
            }
            page
        };
        self.door.read_soon(list).await
    }

    /// See [`crate::api::CoordinatorService::release_kept`].
    pub(super) async fn release_kept_handles(&self, first: Handle, end: Handle) -> Result<()> {
        let is_kept = |catalog: &Catalog| {
            catalog.foreign().any(|range| (range.start, range.end) == (first.0, end.0))
        };
        if !self.door.read(is_kept).await? {
            let text = format!(
                "no kept range of handles goes from {first} to {end}: `status --json` lists the \
                 ranges as kept_handles"
            );
            return Err(Error::new(Kind::NotFound, text));
        }
        self.change(Command::ReleaseForeign { start: first.0 }).await?;
        tracing::warn!(%first, %end, "the operator released kept handles: chunks in that range \
            that no file needs are deleted after the grace period");
        Ok(())
    }
}
