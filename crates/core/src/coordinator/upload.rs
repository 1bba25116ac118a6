//! Uploads under way: what was placed for whom and is not yet a file.
//!
//! Kept in memory only. A coordinator that restarts knows none of them; what
//! they wrote is then garbage, and their clients begin anew.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{BeginPut, Error, Kind, Result, SealedStripe};
use crate::catalog::{ChunkRecord, StripeRecord};
use crate::data::split::Split;
use crate::id::{FileId, Handle, NodeId, NodeIndex};
use crate::mutant::{Mutant, is_planted};
use crate::policy::{Policy, StripeShape};

/// The most uploads at once.
pub(crate) const UPLOADS_MAX: usize = 16_384;
/// A client may begin another upload while it has fewer than so many times
/// what is free under way: alone two thirds of all, so that others find room.
const SHARE_FACTOR: usize = 2;
/// The most stripes of one upload that are placed and not yet sealed.
pub(crate) const OPEN_STRIPES_MAX: usize = 256;

/// The most stripes of one upload: 32 TiB in chunks of 64 MiB without a code.
const STRIPES_PER_UPLOAD_MAX: u32 = 1 << 19;
/// The most stripes of all uploads together; each takes some hundred bytes.
const STRIPES_MAX: usize = 1 << 20;

/// All uploads under way.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    uploads: BTreeMap<FileId, Upload>,
    /// First handle of every stripe of every upload, and its end.
    handles: BTreeMap<u64, u64>,
    /// The same first handles by their upload.
    handles_of: BTreeSet<(FileId, u64)>,
    /// Uploads that were taken out to become files.
    committing: BTreeSet<FileId>,
    /// How many uploads each client address has under way.
    by_client: BTreeMap<String, usize>,
}

/// One upload.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) request: BeginPut,
    pub(crate) policy: Policy,
    pub(crate) created_ms: u64,
    /// Nodes that the client could not write to, and how often it said so.
    pub(crate) failed: BTreeMap<NodeIndex, u32>,
    /// Nodes that it found slow.
    pub(crate) slow: BTreeSet<NodeIndex>,
    /// The longest chunk of the stripes asked for last, where that is known.
    pub(crate) chunk_bytes_max: Option<u64>,
    last_used_ms: u64,
    next_index: u32,
    open: BTreeMap<u32, OpenStripe>,
    sealed: BTreeMap<u32, StripeRecord>,
}

/// A stripe that was placed.
#[derive(Debug, Clone)]
pub(crate) struct OpenStripe {
    pub(crate) first_handle: Handle,
    pub(crate) shape: StripeShape,
    /// Data, then parity: the nodes that were named for each chunk.
    pub(crate) targets: Vec<Vec<NodeIndex>>,
}

impl Uploads {
    /// Takes a new upload in.
    pub(crate) fn open(
        &mut self,
        id: FileId,
        request: BeginPut,
        policy: Policy,
        created_ms: u64,
        now_ms: u64,
    ) -> Result<()> {
        if self.uploads.len() >= UPLOADS_MAX {
            return Err(Error::new(
                Kind::Unavailable,
                format!("{UPLOADS_MAX} uploads are under way, the most at once: try again later"),
            ));
        }
        self.check_share(request.from.as_deref())?;
        if let Some(client) = &request.from {
            *self.by_client.entry(client.clone()).or_default() += 1;
        }
        let upload = Upload {
            request,
            policy,
            created_ms,
            failed: BTreeMap::new(),
            slow: BTreeSet::new(),
            chunk_bytes_max: None,
            last_used_ms: now_ms,
            next_index: 0,
            open: BTreeMap::new(),
            sealed: BTreeMap::new(),
        };
        self.uploads.insert(id, upload);
        Ok(())
    }

    /// Refuses an upload of a client that has its share already: another one
    /// may begin while it has fewer than [`SHARE_FACTOR`] times what is free.
    fn check_share(&self, client: Option<&str>) -> Result<()> {
        let Some(client) = client else { return Ok(()) };
        let held = self.by_client.get(client).copied().unwrap_or(0);
        let free = UPLOADS_MAX.saturating_sub(self.uploads.len());
        if held < free.saturating_mul(SHARE_FACTOR) || held == 0 {
            return Ok(());
        }
        Err(Error::new(
            Kind::Unavailable,
            format!(
                "{held} uploads from {client} are under way, its share of {UPLOADS_MAX}: end some \
                 of them, or wait until those that were left alone lapse"
            ),
        ))
    }

    /// Takes an upload out of those that are under way.
    fn remove(&mut self, id: FileId) -> Option<Upload> {
        let upload = self.uploads.remove(&id)?;
        if let Some(client) = &upload.request.from
            && let Some(held) = self.by_client.get_mut(client)
        {
            *held = held.saturating_sub(1);
            if *held == 0 {
                self.by_client.remove(client);
            }
        }
        Some(upload)
    }

    /// The upload, which counts as used now.
    ///
    /// # Errors
    /// `Unavailable` while it is being committed, by a call that was made
    /// twice; `UnknownUpload`.
    pub(crate) fn touch(&mut self, id: FileId, now_ms: u64) -> Result<&mut Upload> {
        self.check_not_committing(id)?;
        let upload = self.uploads.get_mut(&id).ok_or_else(|| unknown(id))?;
        upload.last_used_ms = now_ms;
        Ok(upload)
    }

    /// Notes that stripe `index` of the file, the next one, was placed.
    ///
    /// # Errors
    /// `Unavailable` when a call that was made twice placed it meanwhile.
    pub(crate) fn add_stripe(&mut self, id: FileId, index: u32, stripe: OpenStripe) -> Result<()> {
        let upload = self.uploads.get_mut(&id).ok_or_else(|| unknown(id))?;
        if upload.open.len() >= OPEN_STRIPES_MAX {
            return Err(Error::new(
                Kind::Invalid,
                format!("an upload has at most {OPEN_STRIPES_MAX} unsealed stripes"),
            ));
        }
        let stripes_max = upload.request.size.map_or(STRIPES_PER_UPLOAD_MAX, |size| {
            let stripes = Split::new(size, &upload.policy).stripes();
            u32::try_from(stripes).unwrap_or(u32::MAX).min(STRIPES_PER_UPLOAD_MAX)
        });
        if index >= stripes_max {
            let message = format!(
                "stripe {index} is one too many: this upload has at most {stripes_max}; for a \
                 larger file use larger chunks (--chunk-size)"
            );
            return Err(Error::new(Kind::Invalid, message));
        }
        if self.handles.len() >= STRIPES_MAX {
            let message = format!(
                "{STRIPES_MAX} stripes of uploads are under way, the most at once: try again later"
            );
            return Err(Error::new(Kind::Unavailable, message));
        }
        if index != upload.next_index {
            let message = format!("stripe {index} was placed by another call: ask again");
            return Err(Error::new(Kind::Unavailable, message));
        }
        upload.next_index = index + 1;
        let coding = stripe.shape.coding;
        let end = stripe.first_handle.0 + u64::from(coding.data) + u64::from(coding.parity);
        self.handles.insert(stripe.first_handle.0, end);
        self.handles_of.insert((id, stripe.first_handle.0));
        upload.open.insert(index, stripe);
        Ok(())
    }

    /// Takes the upload out, with its sealed stripes, to become a file. Its
    /// handles stay guarded until [`Uploads::release`].
    pub(crate) fn take(&mut self, id: FileId) -> Result<(Upload, Vec<StripeRecord>)> {
        self.check_not_committing(id)?;
        let mut upload = self.remove(id).ok_or_else(|| unknown(id))?;
        self.committing.insert(id);
        let sealed = std::mem::take(&mut upload.sealed).into_values().collect();
        Ok((upload, sealed))
    }

    fn check_not_committing(&self, id: FileId) -> Result<()> {
        if !self.committing.contains(&id) {
            return Ok(());
        }
        let message = format!("upload {id} is being committed: ask again");
        Err(Error::new(Kind::Unavailable, message))
    }

    /// Puts back what [`Uploads::take`] took.
    pub(crate) fn put_back(&mut self, id: FileId, mut upload: Upload, sealed: Vec<StripeRecord>) {
        upload.sealed = sealed.into_iter().map(|stripe| (stripe.index, stripe)).collect();
        if let Some(client) = &upload.request.from {
            *self.by_client.entry(client.clone()).or_default() += 1;
        }
        self.uploads.insert(id, upload);
        self.committing.remove(&id);
    }

    /// Gives an upload up, unless it is just becoming a file: a client that
    /// lost patience with its commit takes nothing back.
    pub(crate) fn abandon(&mut self, id: FileId) {
        if !self.committing.contains(&id) {
            self.release(id);
        }
    }

    /// Ends the guard over an upload's handles.
    pub(crate) fn release(&mut self, id: FileId) {
        drop(self.remove(id));
        self.committing.remove(&id);
        let of_upload = (id, 0)..=(id, u64::MAX);
        let firsts: Vec<_> = self.handles_of.range(of_upload).copied().collect();
        for entry in firsts {
            self.handles_of.remove(&entry);
            self.handles.remove(&entry.1);
        }
    }

    /// Whether a live upload may still need the chunk.
    pub(crate) fn guards(&self, handle: Handle) -> bool {
        let below = self.handles.range(..=handle.0).next_back();
        let unguarded = u64::from(is_planted(Mutant::GuardOneShort));
        below.is_some_and(|(_, end)| handle.0 + unguarded < *end)
    }

    /// Ends uploads that were left alone for longer than `idle_max_ms`.
    pub(crate) fn lapse(&mut self, now_ms: u64, idle_max_ms: u64) -> Vec<FileId> {
        let idle = |upload: &Upload| now_ms.saturating_sub(upload.last_used_ms) > idle_max_ms;
        let lapsed: Vec<FileId> =
            self.uploads.iter().filter(|(_, upload)| idle(upload)).map(|(id, _)| *id).collect();
        for id in &lapsed {
            self.release(*id);
        }
        lapsed
    }
}

impl Upload {
    /// Stripe `number`, which must be one that was placed with `data` data
    /// chunks and not sealed, or the next to be placed (`None`).
    ///
    /// # Errors
    /// `Invalid` when it is neither.
    pub(crate) fn placed(&self, number: u32, data: u8) -> Result<Option<&OpenStripe>> {
        let open = self.open.get(&number).filter(|stripe| stripe.shape.data == data);
        if open.is_none() && number != self.next_index {
            let message = format!(
                "stripe {number} was asked for with {data} data chunks, the next is stripe {}",
                self.next_index
            );
            return Err(Error::new(Kind::Invalid, message));
        }
        Ok(open)
    }

    /// The open stripe that `handle` belongs to, and the slot of the chunk.
    pub(crate) fn open_chunk(&mut self, handle: Handle) -> Result<(&mut OpenStripe, usize)> {
        for stripe in self.open.values_mut() {
            if let Some(slot) = stripe.slot(handle) {
                return Ok((stripe, slot));
            }
        }
        Err(Error::new(Kind::Invalid, format!("chunk {handle} is not open in this upload")))
    }

    /// Checks a stripe that the client says is sealed, and keeps it.
    ///
    /// # Errors
    /// `Invalid` when it is not as it was placed.
    pub(crate) fn seal(
        &mut self,
        file: FileId,
        stripe: &SealedStripe,
        index_of: impl Fn(&NodeId) -> Option<NodeIndex>,
    ) -> Result<()> {
        let wrong = |what: &str| {
            Error::new(Kind::Invalid, format!("sealed stripe {}: {what}", stripe.index))
        };
        if self.sealed.contains_key(&stripe.index) {
            // Told twice: the first answer was lost on its way.
            return Ok(());
        }
        let open =
            self.open.get(&stripe.index).ok_or_else(|| wrong("was not placed in this upload"))?;
        if open.first_handle != stripe.first_handle || open.shape.coding != stripe.shape.coding {
            return Err(wrong("has another handle or code than it was placed with"));
        }
        let data = stripe.shape.data;
        if data == 0 || data > open.shape.data || stripe.chunks.len() != stripe.shape.chunks() {
            return Err(wrong("has more or fewer chunks than it was placed with"));
        }
        let chunk_size = u64::from(self.policy.chunk_size);
        let mut chunks = Vec::with_capacity(stripe.chunks.len());
        for (slot, chunk) in stripe.chunks.iter().enumerate() {
            if slot < usize::from(data) && (chunk.raw_len == 0 || chunk.raw_len > chunk_size) {
                return Err(wrong("has a chunk that is empty or above the chunk size"));
            }
            let fits = |bytes: u64| u32::try_from(bytes).map_err(|_| wrong("has a huge chunk"));
            let mut copies = Vec::with_capacity(chunk.holders.len());
            for holder in &chunk.holders {
                let node = index_of(holder).ok_or_else(|| wrong("names an unknown node"))?;
                if !copies.contains(&node) {
                    copies.push(node);
                }
            }
            copies.sort_unstable();
            chunks.push(ChunkRecord {
                digest: chunk.digest,
                raw_len: fits(chunk.raw_len)?,
                stored_len: fits(chunk.stored_len)?,
                copies: copies.into(),
            });
        }
        let record = StripeRecord {
            first_handle: stripe.first_handle,
            file,
            index: stripe.index,
            shape: stripe.shape,
            chunks: chunks.into(),
        };
        self.open.remove(&stripe.index);
        self.sealed.insert(stripe.index, record);
        Ok(())
    }

    /// The most that one of its chunks can have, in bytes.
    pub(crate) fn chunk_bytes(&self) -> u64 {
        let longest = match self.request.size {
            Some(size) => Split::new(size, &self.policy).chunk_len(0),
            None => u64::from(self.policy.chunk_size),
        };
        self.chunk_bytes_max.map_or(longest, |known| known.min(longest))
    }

    /// Stripes that were placed and not sealed.
    pub(crate) fn open_stripes(&self) -> usize {
        self.open.len()
    }
}

impl OpenStripe {
    fn slot(&self, handle: Handle) -> Option<usize> {
        let position = usize::try_from(handle.0.checked_sub(self.first_handle.0)?).ok()?;
        let (data, width) = (usize::from(self.shape.data), usize::from(self.shape.coding.data));
        let slot = match position {
            position if position < data => position,
            position if position < width => return None,
            position => position - width + data,
        };
        (slot < self.targets.len()).then_some(slot)
    }
}

fn unknown(id: FileId) -> Error {
    Error::new(
        Kind::UnknownUpload,
        format!(
            "upload {id} is not known: it was left alone for too long, or the coordinator restarted"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{PolicyOverrides, PutMode};
    use crate::name::FileName;
    use crate::policy::{Code, Coding, Compression};

    /// An upload of `size` bytes, in chunks of 1 MiB, one a stripe.
    fn upload(uploads: &mut Uploads, id: u64, size: Option<u64>) {
        begin(uploads, id, size, None).expect("there is room");
    }

    fn begin(uploads: &mut Uploads, id: u64, size: Option<u64>, from: Option<&str>) -> Result<()> {
        let coding = Coding { code: Code::None, data: 1, parity: 0 };
        let policy =
            Policy { replication: 1, coding, compression: Compression::None, chunk_size: 1 << 20 };
        let request = BeginPut {
            name: FileName::new("a").expect("a name"),
            size,
            policy: PolicyOverrides::default(),
            mode: PutMode::IfAbsent,
            is_strict: false,
            allow_unsafe: false,
            from: from.map(str::to_owned),
        };
        uploads.open(FileId(id), request, policy, 0, 0)
    }

    fn stripe(first_handle: u64) -> OpenStripe {
        let coding = Coding { code: Code::None, data: 1, parity: 0 };
        OpenStripe {
            first_handle: Handle(first_handle),
            shape: StripeShape { coding, data: 1 },
            targets: vec![vec![NodeIndex(0)]],
        }
    }

    #[test]
    fn stripes_without_end_are_refused() {
        let sealed = |index, first_handle| SealedStripe {
            index,
            first_handle: Handle(first_handle),
            shape: stripe(0).shape,
            chunks: vec![crate::api::SealedChunk {
                digest: crate::data::digest::Digest([0; 32]),
                raw_len: 1,
                stored_len: 1,
                holders: Vec::new(),
            }],
        };
        let mut uploads = Uploads::default();
        let mut handle = 0;
        // One of a known size has as many as its bytes fill, one of an unknown
        // size a fixed number, and all together have so many.
        let per_upload = u64::from(STRIPES_PER_UPLOAD_MAX);
        for (id, size, stripes) in
            [(1, Some((5 << 20) + 1), 6), (2, None, per_upload), (3, Some(u64::MAX), 524_282)]
        {
            upload(&mut uploads, id, size);
            let mut index = 0;
            let refused = loop {
                handle += 1;
                if let Err(error) = uploads.add_stripe(FileId(id), index, stripe(handle)) {
                    break error;
                }
                let upload = uploads.touch(FileId(id), 0).expect("it is known");
                upload.seal(FileId(id), &sealed(index, handle), |_| None).expect("as placed");
                index += 1;
            };
            assert_eq!(u64::from(index), stripes, "{refused}");
            let is_full = uploads.handles.len() >= STRIPES_MAX;
            assert_eq!(refused.kind == Kind::Unavailable, is_full, "{refused}");
        }
        uploads.release(FileId(2));
        uploads.add_stripe(FileId(3), 524_282, stripe(handle)).expect("there is room again");
    }

    #[test]
    fn no_client_takes_the_uploads_of_all() {
        let mut uploads = Uploads::default();
        let (greedy, modest) = (Some("10.0.0.1"), Some("10.0.0.2"));
        let mut ids = 0;
        let refused = loop {
            if let Err(refused) = begin(&mut uploads, ids, None, greedy) {
                break refused;
            }
            ids += 1;
        };
        assert_eq!(refused.kind, Kind::Unavailable);
        assert!(refused.message.contains("from 10.0.0.1"), "{refused}");
        assert_eq!(ids, 10_923, "two thirds of all");
        for other in 0..100 {
            let id = ids + other;
            begin(&mut uploads, id, None, modest).expect("another client is served");
        }
        let (upload, sealed) = uploads.take(FileId(0)).expect("it is known");
        uploads.put_back(FileId(0), upload, sealed);
        for id in 0..ids {
            uploads.release(FileId(id));
        }
        assert_eq!(uploads.by_client.get("10.0.0.1"), None, "nothing is kept of it");
        begin(&mut uploads, ids + 100, None, greedy).expect("there is room again");
    }

    #[test]
    fn an_upload_that_is_being_committed_is_not_given_up() {
        let (id, handle) = (FileId(1), Handle(7));
        let mut uploads = Uploads::default();
        upload(&mut uploads, id.0, None);
        uploads.add_stripe(id, 0, stripe(handle.0)).expect("the next stripe");
        let (upload, sealed) = uploads.take(id).expect("it is known");
        uploads.abandon(id);
        assert!(uploads.guards(handle), "its chunks are still wanted");
        uploads.put_back(id, upload, sealed);
        uploads.abandon(id);
        assert!(!uploads.guards(handle), "now nobody wants them");
    }
}
