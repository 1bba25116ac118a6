//! A PUT, as the coordinator sees it: begin, place, retarget, commit.

use std::collections::{BTreeMap, BTreeSet};

use super::request::{committed, other_request};
use super::role::Coordinator;
use super::survey::SLICE_PAUSE;
use super::upload::{OpenStripe, Upload};
use crate::api::{
    BeginPut, Commit, Committed, Error, Kind, Place, PutMode, Result, Retarget,
    STRIPES_PER_CALL_MAX, StripePlacement, Target, UploadGrant,
};
use crate::catalog::{
    Answer, Catalog, Command, FileRecord, Refusal, StoredFile, StripeRecord, Totals,
};
use crate::data::split::Split;
use crate::env::HardPlace;
use crate::id::{FileId, Handle, NodeIndex, RequestId};
use crate::limit::limit;
use crate::mark::{Mark, reached};
use crate::mutant::{Mutant, is_planted};
use crate::placement::{self, Layout, OneRequest, PlacementRequest};
use crate::policy::{PlacementStrategy, REPLICATION_MAX, StripeShape};

/// A node that failed a client's writes this often is passed over by the
/// rest of its upload.
const WRITE_FAILURES_MAX: u32 = 2;
/// Stripes of a new file whose copies are noted in one go.
const PROMISED_PER_STEP_MAX: usize = 1024;

impl Coordinator {
    /// See [`crate::api::CoordinatorService::begin_put`].
    pub(super) async fn begin_upload(&self, request: BeginPut) -> Result<UploadGrant> {
        self.check_hindrance()?;
        self.door.check_room()?;
        let replace = request.mode == PutMode::Replace;
        let check = |catalog: &Catalog| {
            catalog.check_new_name(&request.name, replace)?;
            Ok(catalog.cluster().expect("it was founded at the start").policy)
        };
        // That a name is free is told by no answer but the commit's; that it
        // is taken is told here.
        let spec = match self.door.peek(check) {
            Ok(spec) => spec,
            Err(_) => {
                self.door.read(check).await?.map_err(|refusal: Refusal| Error::from(refusal))?
            }
        };
        self.check_heard()?;
        let candidates = self.candidates();
        let policy = placement::resolve(&spec, &request.policy, candidates.len())?;
        let upload = FileId(self.numbers.draw(&self.door, 1).await?);
        let size = request.size;
        let created_ms = self.env.wall.now_ms();
        {
            let mut state = self.state();
            state.uploads.open(upload, request, policy, created_ms, self.now_ms())?;
        }
        let first = match size {
            Some(size) if size > 0 => {
                let data = Split::new(size, &policy).stripe_data(0);
                Some(self.place_stripe(upload, 0, data).await.inspect_err(|_| {
                    self.state().uploads.release(upload);
                })?)
            }
            _ => None,
        };
        // A placement that is impossible is told first: it names the fix.
        self.wait_to_lead().await.inspect_err(|_| self.state().uploads.release(upload))?;
        Ok(UploadGrant { context: self.context, upload, policy, first })
    }

    /// See [`crate::api::CoordinatorService::place`].
    pub(super) async fn place_stripes(&self, request: Place) -> Result<Vec<StripePlacement>> {
        if request.stripes.len() > STRIPES_PER_CALL_MAX {
            return Err(Error::new(
                Kind::Invalid,
                format!("at most {STRIPES_PER_CALL_MAX} stripes may be asked for at once"),
            ));
        }
        let members = self.member_indexes();
        {
            let now_ms = self.now_ms();
            let mut state = self.state();
            let upload = state.uploads.touch(request.upload, now_ms)?;
            if !request.stripes.is_empty() {
                upload.chunk_bytes_max = request.chunk_bytes_max;
            }
            for node in &request.failed {
                if let Some(index) = members.get(node) {
                    upload.failed.insert(*index, WRITE_FAILURES_MAX);
                }
            }
            for stripe in &request.sealed {
                upload.seal(request.upload, stripe, |node| members.get(node).copied())?;
            }
        }
        let mut placed = Vec::with_capacity(request.stripes.len());
        for (number, data) in (request.first_stripe..).zip(request.stripes) {
            let before = self.placed_before(request.upload, number, data)?;
            placed.push(match before {
                Some(stripe) => stripe,
                None => self.place_stripe(request.upload, number, data).await?,
            });
        }
        Ok(placed)
    }

    /// The placement of stripe `number`, when an earlier call placed it and
    /// its answer was lost; `None` when it is the next to be placed.
    fn placed_before(
        &self,
        upload: FileId,
        number: u32,
        data: u8,
    ) -> Result<Option<StripePlacement>> {
        let now_ms = self.now_ms();
        let stripe = self.state().uploads.touch(upload, now_ms)?.placed(number, data)?.cloned();
        Ok(stripe.map(|OpenStripe { first_handle, shape, targets }| StripePlacement {
            index: number,
            first_handle,
            shape,
            targets: targets.iter().map(|nodes| self.targets(nodes)).collect(),
        }))
    }

    /// Places stripe `number`, the next one, with `data` data chunks.
    async fn place_stripe(&self, upload: FileId, number: u32, data: u8) -> Result<StripePlacement> {
        let (policy, is_strict, allow_unsafe, chunk_bytes, failed, slow) = {
            let now_ms = self.now_ms();
            let mut state = self.state();
            let mut slow = state.members.slow(now_ms);
            let upload = state.uploads.touch(upload, now_ms)?;
            slow.extend(&upload.slow);
            let (is_strict, allow_unsafe) = (
                upload.request.is_strict && !is_planted(Mutant::StrictIsNotStrict),
                upload.request.allow_unsafe || self.settings.allow_unsafe,
            );
            let failed = failed_nodes(upload);
            slow.extend(&failed);
            (upload.policy, is_strict, allow_unsafe, upload.chunk_bytes(), failed, slow)
        };
        let coding = policy.coding;
        if data == 0 || data > coding.data {
            return Err(Error::new(
                Kind::Invalid,
                format!("a stripe of this file has 1 to {} data chunks, not {data}", coding.data),
            ));
        }
        let shape = StripeShape { coding, data };
        let width = u64::from(coding.data) + u64::from(coding.parity);
        let first_handle = Handle(self.numbers.draw(&self.door, width).await?);
        let strategy = self.strategy();
        let candidates = self.candidates();
        let key = match strategy {
            PlacementStrategy::RoundRobin => {
                let mut state = self.state();
                state.rotation = state.rotation.wrapping_add(1);
                state.rotation
            }
            PlacementStrategy::Ring => first_handle.0,
        };
        let choose = |excluded: &BTreeSet<NodeIndex>, is_strict: bool| {
            placement::choose(&PlacementRequest {
                strategy,
                candidates: &candidates,
                policy: &policy,
                shape,
                key,
                chunk_bytes,
                excluded,
                allow_unsafe,
                is_strict,
            })
        };
        // Slow nodes are passed over where that costs no copy. What failed
        // this client may still be better than nothing.
        let mut layout: Layout = choose(&slow, true)
            .or_else(|_| choose(&failed, is_strict))
            .or_else(|_| choose(&BTreeSet::new(), is_strict))?;
        if self.env.is_hard(HardPlace::WorstPlacement) {
            // Without the first choice: worse, and complete all the same.
            let mut passed_over = failed.clone();
            passed_over.extend(layout.copies.iter().flatten().next());
            let other = choose(&passed_over, is_strict).ok();
            let is_complete = |other: &Layout| other.copies_missing <= layout.copies_missing;
            layout = other.filter(is_complete).unwrap_or(layout);
        }
        if !is_strict && self.env.is_hard(HardPlace::MinimalSet) {
            thin_out(&mut layout, shape, policy.promised_losses().min(1));
        }
        if is_planted(Mutant::PlaceTwiceOnOneNode)
            && let Some(first) = layout.copies.iter().flatten().next().copied()
        {
            layout.copies.iter_mut().flatten().for_each(|node| *node = first);
        }
        let targets = layout.copies.iter().map(|nodes| self.targets(nodes)).collect();
        let open = OpenStripe { first_handle, shape, targets: layout.copies };
        self.state().uploads.add_stripe(upload, number, open)?;
        Ok(StripePlacement { index: number, first_handle, shape, targets })
    }

    /// See [`crate::api::CoordinatorService::retarget`].
    pub(super) fn retarget_copy(&self, request: Retarget) -> Result<Option<Target>> {
        let candidates = self.candidates();
        let failed = self
            .door
            .peek(|catalog| catalog.member_by_id(&request.failed).map(|member| member.index));
        let Some(failed) = failed else {
            return Err(Error::new(
                Kind::Invalid,
                format!("there is no node {} in this cluster", request.failed),
            ));
        };
        tracing::warn!(
            node = %request.failed, chunk = %request.handle, reason = %request.reason,
            "a client could not write to a node"
        );
        let now_ms = self.now_ms();
        let chosen = {
            let mut state = self.state();
            let slow = state.members.slow(now_ms);
            let upload = state.uploads.touch(request.upload, now_ms)?;
            match request.is_slow {
                true => drop(upload.slow.insert(failed)),
                false => *upload.failed.entry(failed).or_default() += 1,
            }
            // One failure is enough here: another node is as near.
            let unwanted = upload.failed.keys().chain(&upload.slow).copied();
            let excluded: BTreeSet<NodeIndex> = unwanted.chain(slow).collect();
            let (chunk_bytes, policy) = (upload.chunk_bytes(), upload.policy);
            let (stripe, slot) = upload.open_chunk(request.handle)?;
            let before = stripe.targets[slot].clone();
            stripe.targets[slot].retain(|node| *node != failed);
            let chosen = placement::choose_one(&OneRequest {
                candidates: &candidates,
                policy: &policy,
                shape: stripe.shape,
                copies: &stripe.targets,
                slot,
                chunk_bytes,
                excluded: &excluded,
                preferred: &BTreeSet::new(),
                busy: &BTreeMap::new(),
                may_crowd: false,
            });
            stripe.targets[slot].extend(chosen);
            if chosen.is_some() {
                reached(Mark::WriteRetargeted);
            } else if request.is_slow {
                // It goes on where it is.
                stripe.targets[slot] = before;
            }
            chosen
        };
        Ok(chosen.and_then(|node| self.targets(&[node]).pop()))
    }

    /// See [`crate::api::CoordinatorService::commit`].
    pub(super) async fn commit_upload(&self, request: Commit) -> Result<Committed> {
        let id = request.upload;
        self.wait_to_lead().await?;
        if let Some(committed) = self.committed_before(&request).await? {
            // The answer to the first commit was lost on its way.
            return Ok(committed);
        }
        let (upload, stripes) = match self.take_upload(&request) {
            // A call that was made twice may have made it a file meanwhile.
            Err(error) if error.kind == Kind::UnknownUpload => {
                return self.committed_before(&request).await?.ok_or(error);
            }
            taken => taken?,
        };
        let allow_unsafe = upload.request.allow_unsafe || self.settings.allow_unsafe;
        if let Err(error) = check_complete(&upload, &stripes, request.size, allow_unsafe) {
            self.state().uploads.put_back(id, upload, stripes);
            return Err(error);
        }
        let file = FileRecord {
            id,
            name: upload.request.name.clone(),
            size: request.size,
            policy: upload.policy,
            created_ms: upload.created_ms,
            stripes: stripes.iter().map(|stripe| stripe.first_handle).collect(),
        };
        let answer = Answer::Stored(Box::new(stored_file(&file, &stripes)));
        let replace = upload.request.mode == PutMode::Replace;
        let command = Command::CommitFile { file, stripes, replace };
        self.submit_upload(id, request.request, answer, command).await
    }

    /// Submits the commit of an upload, and ends its guard when that is over,
    /// whether or not the caller still waits.
    async fn submit_upload(
        &self,
        id: FileId,
        request: Option<RequestId>,
        answer: Answer,
        command: Command,
    ) -> Result<Committed> {
        let stopping = || Error::new(Kind::Unavailable, "the coordinator is stopping".to_owned());
        let coordinator = self.me.upgrade().ok_or_else(stopping)?;
        let (sender, outcome) = tokio::sync::oneshot::channel();
        self.env.spawn(async move {
            coordinator.note_promised(&command).await;
            let outcome = coordinator.submit_change(request, answer, command).await;
            {
                let mut state = coordinator.state();
                state.uploads.release(id);
                // Before the client is told: it may ask for the status next.
                if let Ok(Answer::Stored(file)) = &outcome
                    && file.copies_missing > 0
                {
                    state.thin_files.note(file.spares);
                }
            }
            // Who asked may be gone.
            let _ = sender.send(outcome);
        });
        match outcome.await.map_err(|_| stopping())?? {
            Answer::Stored(file) => Ok(committed(*file)),
            other => Err(other_request(&other)),
        }
    }

    /// Notes the copies of a file that is about to be: its holders said so,
    /// their heartbeats will confirm it.
    async fn note_promised(&self, command: &Command) {
        let Command::CommitFile { stripes, .. } = command else { return };
        let now_ms = self.now_ms();
        let mut slices = stripes.chunks(limit(PROMISED_PER_STEP_MAX, 1)).peekable();
        while let Some(slice) = slices.next() {
            self.state().members.note_promised(slice, now_ms);
            if slices.peek().is_some() {
                reached(Mark::PromisedSecondSlice);
                tokio::time::sleep(SLICE_PAUSE).await;
            }
        }
    }

    /// Takes an upload out, with its last stripes, to become a file.
    fn take_upload(&self, request: &Commit) -> Result<(Upload, Vec<StripeRecord>)> {
        let id = request.upload;
        let members = self.member_indexes();
        let now_ms = self.now_ms();
        let mut state = self.state();
        let upload = state.uploads.touch(id, now_ms)?;
        for stripe in &request.sealed {
            upload.seal(id, stripe, |node| members.get(node).copied())?;
        }
        state.uploads.take(id)
    }

    /// The answer to a commit that was executed before.
    ///
    /// # Errors
    /// The refusal that the request got before; `Forgotten`.
    async fn committed_before(&self, request: &Commit) -> Result<Option<Committed>> {
        match self.answered_before(request.request).await? {
            Some(Answer::Stored(file)) => return Ok(Some(committed(*file))),
            Some(other) => return Err(other_request(&other)),
            None => {}
        }
        // A client without request ids knows its upload only by its file.
        let id = request.upload;
        if self.door.peek(|catalog| catalog.file_by_id(id).is_none()) {
            return Ok(None);
        }
        let Some(counting) = self.door.read(|catalog| self.count(catalog, id)).await? else {
            return Ok(None);
        };
        let info = self.finish(counting).await?;
        Ok(Some(Committed { copies_missing: info.copies_missing, info }))
    }
}

/// What is kept of a file that is about to be stored, for a repeat of its
/// commit. The holders have just said that they have the copies.
fn stored_file(file: &FileRecord, stripes: &[StripeRecord]) -> StoredFile {
    let mut stored = StoredFile {
        id: file.id,
        name: file.name.clone(),
        size: file.size,
        policy: file.policy,
        created_ms: file.created_ms,
        stripes: u32::try_from(stripes.len()).unwrap_or(u32::MAX),
        chunks: 0,
        stored_bytes: 0,
        raw_bytes: 0,
        // An empty file has nothing to lose: it lives in the catalog.
        spares: i32::from(REPLICATION_MAX),
        copies_missing: 0,
    };
    for stripe in stripes {
        let copies: Vec<_> = stripe.chunks.iter().map(|chunk| &chunk.copies).collect();
        let spares = placement::tolerance(stripe.shape, &copies).map_or(-1, i32::from);
        stored.spares = stored.spares.min(spares);
        stored.copies_missing += file.policy.copies_missing(stripe.shape, &copies);
        let totals = Totals::of_stripe(stripe);
        stored.chunks = stored.chunks.saturating_add(u32::from(stripe.shape.data));
        stored.stored_bytes += totals.stored_bytes;
        stored.raw_bytes += totals.raw_bytes;
    }
    stored
}

fn failed_nodes(upload: &Upload) -> BTreeSet<NodeIndex> {
    let failed = upload.failed.iter().filter(|(_, times)| **times >= WRITE_FAILURES_MAX);
    failed.map(|(node, _)| *node).collect()
}

/// Leaves as many copies to repair as can be, as long as any `required` nodes
/// may be lost.
fn thin_out(layout: &mut Layout, shape: StripeShape, required: u8) {
    for slot in 0..layout.copies.len() {
        while let Some(node) = layout.copies[slot].pop() {
            if placement::tolerance(shape, &layout.copies) < Some(required) {
                layout.copies[slot].push(node);
                break;
            }
        }
    }
}

/// Whether the stripes are the whole file and each can be acknowledged.
///
/// Every stripe must survive the loss of any one more node, unless the
/// policy itself promises none, or the caller took that risk.
fn check_complete(
    upload: &Upload,
    stripes: &[StripeRecord],
    size: u64,
    allow_unsafe: bool,
) -> Result<()> {
    let name = upload.request.name.as_str();
    if upload.open_stripes() > 0 {
        return Err(Error::new(
            Kind::Invalid,
            format!("{name:?} has {} stripes that are not sealed", upload.open_stripes()),
        ));
    }
    let policy = &upload.policy;
    let required = if allow_unsafe { 0 } else { policy.promised_losses().min(1) };
    for stripe in stripes {
        let copies: Vec<_> = stripe.chunks.iter().map(|chunk| &chunk.copies).collect();
        let tolerated = placement::tolerance(stripe.shape, &copies);
        if tolerated.is_none_or(|losses| losses < required) {
            return Err(Error::new(
                Kind::Insufficient,
                format!(
                    "stripe {} of {name:?} could not be stored so that any one more node may be \
                     lost: bring nodes back and put it again",
                    stripe.index
                ),
            ));
        }
        let is_strict = upload.request.is_strict && !is_planted(Mutant::StrictIsNotStrict);
        if is_strict && policy.copies_missing(stripe.shape, &copies) > 0 {
            return Err(Error::new(
                Kind::Insufficient,
                format!(
                    "stripe {} of {name:?} has fewer copies than {policy} names, and --strict \
                     refuses that: bring nodes back, or put it without --strict",
                    stripe.index
                ),
            ));
        }
    }
    let raw_len = |stripe: &StripeRecord| {
        let data = stripe.chunks.iter().take(usize::from(stripe.shape.data));
        data.map(|chunk| u64::from(chunk.raw_len)).sum::<u64>()
    };
    let stored: u64 = stripes.iter().map(raw_len).sum();
    if stored != size {
        return Err(Error::new(
            Kind::Invalid,
            format!("{name:?} has {size} bytes by its commit, its chunks have {stored}"),
        ));
    }
    Ok(())
}
