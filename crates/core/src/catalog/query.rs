//! What can be asked of a catalog.

use std::ops::Bound;

use super::record::{ClusterRecord, FileRecord, MemberRecord, StripeRecord};
use super::state::{Catalog, Totals};
use crate::id::{FileId, FolderId, Handle, NodeId, NodeIndex};
use crate::name::FileName;
use crate::policy::Policy;

impl Catalog {
    /// What the catalog knows of itself; `None` before it is founded.
    #[must_use]
    pub fn cluster(&self) -> Option<&ClusterRecord> {
        self.cluster.as_ref()
    }

    /// The members, by index.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &MemberRecord> {
        self.members.values()
    }

    /// A member by its index.
    #[must_use]
    pub fn member(&self, index: NodeIndex) -> Option<&MemberRecord> {
        self.members.get(&index)
    }

    /// A member by its name.
    #[must_use]
    pub fn member_by_id(&self, id: &NodeId) -> Option<&MemberRecord> {
        self.members.get(self.indexes.get(id)?)
    }

    /// A member by its data folder.
    #[must_use]
    pub fn member_by_folder(&self, folder: FolderId) -> Option<&MemberRecord> {
        self.members.get(self.folders.get(&folder)?)
    }

    /// The file of that name.
    #[must_use]
    pub fn file(&self, name: &FileName) -> Option<&FileRecord> {
        self.file_by_id(*self.names.get(name)?)
    }

    /// The file of that id.
    #[must_use]
    pub fn file_by_id(&self, id: FileId) -> Option<&FileRecord> {
        self.files.get(&id)
    }

    /// The files whose names start with `prefix`, in order of name.
    pub fn files_under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a FileRecord> {
        self.named_from(Bound::Included(prefix))
            .take_while(move |(name, _)| name.as_str().starts_with(prefix))
            .map(|(_, file)| file)
    }

    /// The stripe whose first handle is `first`.
    #[must_use]
    pub fn stripe(&self, first: Handle) -> Option<&StripeRecord> {
        self.stripes.get(&first)
    }

    /// The stripes of a file from number `from` on, in order.
    pub fn stripes_of<'a>(
        &'a self,
        file: &'a FileRecord,
        from: usize,
    ) -> impl Iterator<Item = &'a StripeRecord> {
        file.stripes.iter().skip(from).filter_map(|first| self.stripe(*first))
    }

    /// The chunk of that handle: its stripe, and which of its chunks it is
    /// (data, then parity). Handles in a gap have none.
    #[must_use]
    pub fn chunk(&self, handle: Handle) -> Option<(&StripeRecord, usize)> {
        let (_, stripe) = self.stripes.at_or_below(&handle)?;
        let slot = stripe.slot(handle)?;
        Some((stripe, slot))
    }

    /// All stripes with the policies of their files, in order of handle.
    pub fn stripes(&self) -> impl Iterator<Item = (&StripeRecord, &Policy)> {
        self.stripes_after(None)
    }

    /// The stripes behind `after` with the policies of their files, in order
    /// of handle, so that a long walk can be made in steps.
    pub fn stripes_after(
        &self,
        after: Option<Handle>,
    ) -> impl Iterator<Item = (&StripeRecord, &Policy)> {
        let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.stripes.iter_from(from);
        rows.filter_map(|(_, stripe)| Some((stripe, &self.file_by_id(stripe.file)?.policy)))
    }

    /// Returns the space that all files take. It is kept up to date and costs nothing.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// What one file takes.
    #[must_use]
    pub fn file_totals(&self, file: &FileRecord) -> Totals {
        let mut totals = Totals { files: 1, logical_bytes: file.size, ..Totals::default() };
        for stripe in self.stripes_of(file, 0) {
            totals.add(Totals::of_stripe(stripe));
        }
        totals
    }

    /// What the files whose names start with `prefix` take; walks them,
    /// except for `""`.
    #[must_use]
    pub fn usage(&self, prefix: &str) -> Totals {
        let mut totals = Totals::default();
        let rest = self.usage_on(prefix, None, &mut totals, usize::MAX);
        debug_assert!(rest.is_none(), "no walk is that long");
        totals
    }

    /// The same in steps: adds what the files behind `after` take to `totals`
    /// and stops once it walked `rows_max` files and stripes. Returns the last
    /// file, to go on behind it; `None` when there are no more.
    pub fn usage_on(
        &self,
        prefix: &str,
        after: Option<&FileName>,
        totals: &mut Totals,
        rows_max: usize,
    ) -> Option<FileName> {
        if prefix.is_empty() {
            *totals = self.totals;
            return None;
        }
        let from = after.map_or(Bound::Included(prefix), |name| Bound::Excluded(name.as_str()));
        let mut rows = 0;
        for (name, file) in self.named_from(from) {
            if !name.as_str().starts_with(prefix) {
                break;
            }
            totals.add(self.file_totals(file));
            rows += 1 + file.stripes.len();
            if rows >= rows_max {
                return Some(name.clone());
            }
        }
        None
    }

    /// Names and files from `from` on, in order of name.
    pub(super) fn named_from<'a>(
        &'a self,
        from: Bound<&str>,
    ) -> impl Iterator<Item = (&'a FileName, &'a FileRecord)> + use<'a> {
        let rows = self.names.iter_from(from);
        rows.filter_map(|(name, id)| Some((name, self.file_by_id(*id)?)))
    }
}

impl StripeRecord {
    /// Which chunk of this stripe (data, then parity) has `handle`.
    #[must_use]
    pub fn slot(&self, handle: Handle) -> Option<usize> {
        let position = usize::try_from(handle.0.checked_sub(self.first_handle.0)?).ok()?;
        let (width, data) = (usize::from(self.shape.coding.data), usize::from(self.shape.data));
        let slot = match position {
            position if position < data => position,
            position if position < width => return None,
            position => position - width + data,
        };
        (slot < self.chunks.len()).then_some(slot)
    }

    /// The highest handle that this stripe takes up.
    #[must_use]
    pub fn last_handle(&self) -> Handle {
        let coding = self.shape.coding;
        let width = u64::from(coding.data) + u64::from(coding.parity);
        Handle(self.first_handle.0.saturating_add(width.saturating_sub(1)))
    }
}
