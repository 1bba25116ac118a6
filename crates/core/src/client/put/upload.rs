//! One upload: what is agreed with the coordinator, and what went wrong on
//! the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::timeout;

use super::{PutOptions, Written};
use crate::api::{
    Commit, Context, CoordinatorService, Error, Kind, NodeService, Place, Retarget, SealedStripe,
    StripePlacement, Target, UploadGrant, WriteHeader,
};
use crate::client::pace::Way;
use crate::client::{Client, ClientError, CopyLeft, CopyReplaced, Doubt, NOTES_MAX, PutSummary};
use crate::data::chunk::ChunkHeader;
use crate::env::Env;
use crate::id::{FileId, Handle, NodeId, NodeIndex};
use crate::mutant::{Mutant, is_planted};
use crate::placement;
use crate::policy::{Policy, StripeShape};

/// Why an upload ended without a file.
#[derive(Debug)]
pub(super) enum PutError {
    /// The coordinator or a node says that the upload is over; another may
    /// begin.
    Lost(Error),
    /// The put is over.
    Failed(ClientError),
    /// The stream had no byte, and would replace a file.
    EmptyStream,
}

impl PutError {
    pub(super) fn failed(kind: Kind, message: impl Into<String>) -> Self {
        Self::Failed(ClientError::new(kind, message))
    }
}

impl From<Error> for PutError {
    fn from(error: Error) -> Self {
        match error.kind {
            Kind::UnknownUpload | Kind::StaleEpoch => Self::Lost(error),
            _ => Self::Failed(error.into()),
        }
    }
}

/// An open upload. Dropped without [`Upload::commit`] or [`Upload::abort`]
/// (the put was cancelled), it is given up in the background.
pub(super) struct Upload<'a> {
    pub(super) client: &'a Client,
    pub(super) policy: Policy,
    id: FileId,
    context: Context,
    options: &'a PutOptions,
    pub(super) file_size: Option<u64>,
    created_ms: u64,
    trouble: Mutex<Trouble>,
    guard: AbortGuard,
}

/// Which copies did not go as planned.
#[derive(Default)]
struct Trouble {
    /// Nodes that are not to be used again by this upload.
    failed_nodes: BTreeSet<NodeId>,
    /// Nodes that are used only where no other can be.
    slow_nodes: BTreeSet<NodeId>,
    /// Nodes that will take the copy of another one, and were not sent it yet.
    replacements: BTreeMap<(Handle, NodeId), Target>,
    /// Nodes that could not be reached, and why.
    unreachable: BTreeMap<NodeId, String>,
    replaced: Vec<CopyReplaced>,
    left: Vec<CopyLeft>,
}

/// A node's refusal or silence, for one copy.
#[derive(Debug, Clone)]
pub(super) struct CopyFailure {
    pub(super) node: NodeId,
    pub(super) error: Error,
    /// True when it may still succeed.
    pub(super) is_slow: bool,
}

impl<'a> Upload<'a> {
    pub(super) fn new(
        client: &'a Client,
        grant: UploadGrant,
        options: &'a PutOptions,
        file_size: Option<u64>,
    ) -> (Self, Option<StripePlacement>) {
        let guard = AbortGuard {
            env: client.env.clone(),
            coordinator: client.coordinator.clone(),
            upload: Some(grant.upload),
        };
        let upload = Self {
            client,
            policy: grant.policy,
            id: grant.upload,
            context: grant.context,
            options,
            file_size,
            created_ms: client.env.wall.now_ms(),
            trouble: Mutex::default(),
            guard,
        };
        (upload, grant.first)
    }

    /// K: data chunks of a full stripe.
    pub(super) fn data_width(&self) -> usize {
        usize::from(self.policy.coding.data.max(1))
    }

    /// What begins the write of chunk `slot` (data, then parity) of a stripe.
    pub(super) fn header(&self, stripe: &StripePlacement, slot: usize) -> WriteHeader {
        let position = position(stripe.shape, slot);
        let is_data = slot < usize::from(stripe.shape.data);
        let chunks_before = u64::from(stripe.index) * self.data_width() as u64;
        let chunk = ChunkHeader {
            cluster: self.context.cluster,
            handle: Handle(stripe.first_handle.0 + u64::from(position)),
            file: self.id,
            name: self.options.name.clone(),
            file_size: self.file_size,
            created_ms: self.created_ms,
            stripe: stripe.index,
            shape: stripe.shape,
            position,
            replication: self.policy.replication,
            compression: self.policy.compression,
            chunk_size: self.policy.chunk_size,
            chunk_index: if is_data { chunks_before + slot as u64 } else { 0 },
        };
        WriteHeader { context: self.context, chunk }
    }

    pub(super) fn node(&self, target: &Target) -> Arc<dyn NodeService> {
        self.client.env.peers.node(&target.address)
    }

    /// Asks for room for stripes of so many data chunks each, from number
    /// `first_stripe` on, and tells what is sealed.
    pub(super) async fn place(
        &self,
        first_stripe: u32,
        stripes: Vec<u8>,
        sealed: Vec<SealedStripe>,
    ) -> Result<Vec<StripePlacement>, PutError> {
        self.place_short(first_stripe, stripes, sealed, None).await
    }

    /// As [`Upload::place`], for stripes whose chunks are at most
    /// `chunk_bytes_max` long.
    pub(super) async fn place_short(
        &self,
        first_stripe: u32,
        stripes: Vec<u8>,
        sealed: Vec<SealedStripe>,
        chunk_bytes_max: Option<u64>,
    ) -> Result<Vec<StripePlacement>, PutError> {
        let failed = self.trouble().failed_nodes.iter().cloned().collect();
        let wanted = stripes.clone();
        let upload = self.id;
        let request = Place { upload, first_stripe, stripes, sealed, failed, chunk_bytes_max };
        let placed = self
            .client
            .call(|coordinator| {
                let request = request.clone();
                async move { coordinator.place(request).await }
            })
            .await?;
        if placed.len() != wanted.len() {
            return Err(nonsense("another number of stripes than was asked for"));
        }
        for (number, (stripe, data)) in (first_stripe..).zip(placed.iter().zip(wanted)) {
            self.check_placement(stripe, number, data)?;
        }
        Ok(placed)
    }

    /// A placement is used only when it is of the shape that was asked for.
    pub(super) fn check_placement(
        &self,
        stripe: &StripePlacement,
        number: u32,
        data: u8,
    ) -> Result<(), PutError> {
        let shape = StripeShape { coding: self.policy.coding, data };
        if stripe.index != number || stripe.shape != shape || stripe.targets.len() != shape.chunks()
        {
            return Err(nonsense("another stripe than was asked for"));
        }
        Ok(())
    }

    /// Asks for another node for each copy that failed. Gives the chunk slots
    /// and their new targets; what no node takes is left to repair.
    pub(super) async fn retarget(
        &self,
        stripe: &StripePlacement,
        failures: Vec<(usize, CopyFailure)>,
    ) -> Result<Vec<(usize, Vec<Target>)>, PutError> {
        let mut open: BTreeMap<usize, Vec<Target>> = BTreeMap::new();
        for (slot, failure) in failures {
            if failure.error.kind == Kind::StaleEpoch {
                return Err(PutError::Lost(failure.error));
            }
            let handle = Handle(stripe.first_handle.0 + u64::from(position(stripe.shape, slot)));
            let CopyFailure { node: failed, error, is_slow } = failure;
            let reason = error.message;
            if error.kind == Kind::Unavailable && !is_slow {
                self.trouble().unreachable.insert(failed.clone(), reason.clone());
            }
            let known = self.trouble().replacements.remove(&(handle, failed.clone()));
            let target = match known {
                Some(target) => Some(target),
                None => self.name_another(handle, &failed, &reason, is_slow).await?,
            };
            let mut trouble = self.trouble();
            match target {
                Some(target) => {
                    let replacement = target.node.clone();
                    tracing::info!(chunk = %handle, node = %failed, %reason, %replacement,
                        "a copy failed, another node takes it");
                    let note = CopyReplaced { handle, failed, reason, replacement };
                    push_bounded(&mut trouble.replaced, note);
                    open.entry(slot).or_default().push(target);
                }
                None => {
                    tracing::warn!(chunk = %handle, node = %failed, %reason,
                        "a copy failed, no other node can take it");
                    push_bounded(&mut trouble.left, CopyLeft { handle, failed, reason });
                }
            }
        }
        Ok(open.into_iter().collect())
    }

    /// Looks for another node for a copy whose node is slow, and remembers it
    /// for [`Upload::retarget`].
    pub(super) async fn ask_another(
        &self,
        handle: Handle,
        slow: &NodeId,
        reason: &str,
        is_slow: bool,
    ) -> Result<Option<Target>, Error> {
        let target = self.name_another(handle, slow, reason, is_slow).await?;
        if let Some(target) = &target {
            self.trouble().replacements.insert((handle, slow.clone()), target.clone());
        }
        Ok(target)
    }

    async fn name_another(
        &self,
        handle: Handle,
        failed: &NodeId,
        reason: &str,
        is_slow: bool,
    ) -> Result<Option<Target>, Error> {
        {
            let mut trouble = self.trouble();
            let nodes = if is_slow { &mut trouble.slow_nodes } else { &mut trouble.failed_nodes };
            nodes.insert(failed.clone());
        }
        let request = Retarget {
            upload: self.id,
            handle,
            failed: failed.clone(),
            reason: reason.to_owned(),
            is_slow,
        };
        self.client
            .call(|coordinator| {
                let request = request.clone();
                async move { coordinator.retarget(request).await }
            })
            .await
    }

    /// Replaces the targets of a stripe that let this client down before,
    /// where others can take the copies. A node that stood still is not used
    /// again; a slow one is, where there is no other.
    pub(super) async fn avoid(
        &self,
        stripe: &StripePlacement,
    ) -> Result<Vec<(usize, Vec<Target>)>, PutError> {
        let mut open = Vec::new();
        for (slot, targets) in stripe.targets.iter().enumerate() {
            let handle = Handle(stripe.first_handle.0 + u64::from(position(stripe.shape, slot)));
            let mut kept = Vec::new();
            for target in targets {
                let node = &target.node;
                let (has_failed, is_slow) = {
                    let trouble = self.trouble();
                    (trouble.failed_nodes.contains(node), trouble.slow_nodes.contains(node))
                };
                let is_slow = is_slow || self.client.paces.is_slow(Way::Write, node);
                if !has_failed && !is_slow {
                    kept.push(target.clone());
                    continue;
                }
                let reason = format!("{node} was slow or stood still before");
                let other = self.name_another(handle, node, &reason, !has_failed).await?;
                match other {
                    Some(other) => {
                        let (failed, replacement) = (node.clone(), other.node.clone());
                        let note = CopyReplaced { handle, failed, reason, replacement };
                        push_bounded(&mut self.trouble().replaced, note);
                        kept.push(other);
                    }
                    None if has_failed => {
                        let left = CopyLeft { handle, failed: node.clone(), reason };
                        push_bounded(&mut self.trouble().left, left);
                    }
                    None => kept.push(target.clone()),
                }
            }
            open.push((slot, kept));
        }
        Ok(open)
    }

    /// Notes that a node stood still: it is not used again by this upload.
    pub(super) fn note_stalled(&self, node: &NodeId) {
        self.trouble().failed_nodes.insert(node.clone());
    }

    /// Notes that a copy became durable after all.
    pub(super) fn note_kept(&self, stripe: &StripePlacement, slot: usize, node: &NodeId) {
        let handle = Handle(stripe.first_handle.0 + u64::from(position(stripe.shape, slot)));
        let is_it = |of: Handle, failed: &NodeId| of == handle && failed == node;
        let mut trouble = self.trouble();
        trouble.left.retain(|left| !is_it(left.handle, &left.failed));
        trouble.replaced.retain(|other| !is_it(other.handle, &other.failed));
    }

    /// True when the stripe can be stored without the copies on `node`, and on
    /// those that failed before.
    pub(super) fn can_do_without(&self, stripe: &StripePlacement, node: &NodeId) -> bool {
        if self.options.is_strict {
            return false;
        }
        if is_planted(Mutant::GivesUpWhatItNeeds) {
            return true;
        }
        let trouble = self.trouble();
        let is_left =
            |target: &&Target| target.node != *node && !trouble.failed_nodes.contains(&target.node);
        let names = |targets: &Vec<Target>| {
            targets.iter().filter(is_left).map(|target| target.node.clone()).collect()
        };
        let holders: Vec<Vec<NodeId>> = stripe.targets.iter().map(names).collect();
        self.is_enough(stripe.shape, &holders)
    }

    /// True when a stripe that these nodes hold can lose any one more node,
    /// where its policy promises that.
    pub(super) fn is_enough(&self, shape: StripeShape, holders: &[Vec<NodeId>]) -> bool {
        placement::tolerance(shape, &indexed(holders)) >= Some(self.required())
    }

    fn required(&self) -> u8 {
        let promised = self.policy.replication.saturating_sub(1).max(self.policy.coding.parity);
        if self.options.allow_unsafe { 0 } else { promised.min(1) }
    }

    /// Decides whether a stripe that these nodes hold may be left so: whether
    /// it can lose any one more node, where its policy promises that.
    pub(super) fn accept(
        &self,
        stripe: &StripePlacement,
        shape: StripeShape,
        holders: &[Vec<NodeId>],
    ) -> Result<(), PutError> {
        let copies_wanted = |slot: usize| {
            let is_data = slot < usize::from(shape.data);
            if is_data { usize::from(self.policy.replication) } else { 1 }
        };
        let missing: usize = holders
            .iter()
            .enumerate()
            .map(|(slot, nodes)| copies_wanted(slot).saturating_sub(nodes.len()))
            .sum();
        if missing == 0 {
            return Ok(());
        }
        let explain = |rule: &str, fix: &str| {
            let failed = self.failures_in_words();
            let copies = if missing == 1 { "copy" } else { "copies" };
            PutError::failed(
                Kind::Insufficient,
                format!(
                    "stripe {}: {missing} {copies} found no node{failed}; {rule}: {fix}",
                    stripe.index
                ),
            )
        };
        if self.options.is_strict && !is_planted(Mutant::StrictIsNotStrict) {
            let fix = "bring back the nodes that are away or make room on those that are full, or put \
                       without --strict and let repair complete it";
            return Err(explain("--strict takes no fewer copies than the policy names", fix));
        }
        let required = self.required();
        let fix = "bring back the nodes that are away, make room on those that are full, or choose a \
                   policy for fewer nodes";
        match placement::tolerance(shape, &indexed(holders)) {
            Some(tolerated) if tolerated >= required => Ok(()),
            Some(_) => Err(explain("a put must be able to lose any one more node", fix)),
            None => Err(explain("what was written could not be read back", fix)),
        }
    }

    fn failures_in_words(&self) -> String {
        let trouble = self.trouble();
        match trouble.left.last() {
            Some(left) => format!(" ({}: {})", left.failed, left.reason),
            None => String::new(),
        }
    }

    /// Tells the coordinator which nodes were slow or could not be reached.
    pub(super) async fn tell_of_nodes(&self) {
        let unreachable = std::mem::take(&mut self.trouble().unreachable);
        self.client.tell_of_nodes(&BTreeSet::new(), unreachable.into_iter().collect()).await;
    }

    /// Makes the file visible.
    pub(super) async fn commit(mut self, written: Written) -> Result<PutSummary, PutError> {
        // From here on the file may be visible: nothing may be given up.
        self.guard.upload = None;
        let name = &self.options.name;
        let (what, look) = (format!("{name} was stored"), format!("dfs-sim stat {name}"));
        let commit =
            Commit { upload: self.id, size: written.size, sealed: written.sealed, request: None };
        let answer = self
            .client
            .change(Doubt { what: &what, look: &look }, |coordinator, request| {
                let commit = Commit { request: Some(request), ..commit.clone() };
                async move { coordinator.commit(commit).await }
            })
            .await;
        let committed = match answer {
            Ok(committed) => committed,
            // The only answer after which the put begins anew: this commit
            // was not executed and never will be.
            Err(error) if error.kind == Kind::UnknownUpload => return Err(PutError::Lost(error)),
            Err(error) if error.kind == Kind::NotKnown => {
                return Err(PutError::Failed(error.into()));
            }
            Err(error) => {
                self.abort().await;
                return Err(PutError::Failed(error.into()));
            }
        };
        let mut trouble = self.trouble();
        Ok(PutSummary {
            file: committed.info,
            copies_missing: committed.copies_missing,
            stripes: written.stripes,
            replaced: std::mem::take(&mut trouble.replaced),
            left_to_repair: std::mem::take(&mut trouble.left),
            restarts: 0,
        })
    }

    /// Gives the upload up. Best effort: it also lapses by itself.
    pub(super) async fn abort(mut self) {
        self.guard.upload = None;
        let id = self.id;
        let aborted =
            self.client.call_once(|coordinator| async move { coordinator.abort(id).await }).await;
        if let Err(error) = aborted {
            tracing::debug!(%error, upload = %id, "the upload could not be given up; it lapses");
        }
    }

    fn trouble(&self) -> std::sync::MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives an upload up when its put is cancelled.
struct AbortGuard {
    env: Env,
    coordinator: Arc<dyn CoordinatorService>,
    upload: Option<FileId>,
}

impl Drop for AbortGuard {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        let coordinator = self.coordinator.clone();
        self.env.spawn(async move {
            // Nobody waits for the answer; without it the upload lapses.
            let _ = timeout(ABORT_WITHIN, coordinator.abort(upload)).await;
        });
    }
}

const ABORT_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);

/// The place in the code of chunk `slot` (data, then parity) of a stripe.
fn position(shape: StripeShape, slot: usize) -> u8 {
    let data = usize::from(shape.data);
    let position = if slot < data { slot } else { usize::from(shape.coding.data) + slot - data };
    u8::try_from(position).expect("a stripe is at most 32 chunks wide")
}

/// Numbers in place of names, as the tolerance wants them.
fn indexed(holders: &[Vec<NodeId>]) -> Vec<Vec<NodeIndex>> {
    let names: BTreeSet<&NodeId> = holders.iter().flatten().collect();
    let numbers: BTreeMap<&NodeId, NodeIndex> =
        names.into_iter().zip((0..=u16::MAX).map(NodeIndex)).collect();
    holders.iter().map(|nodes| nodes.iter().map(|node| numbers[node]).collect()).collect()
}

fn nonsense(what: &str) -> PutError {
    PutError::failed(Kind::Internal, format!("the coordinator placed {what}: this is a bug"))
}

fn push_bounded<T>(list: &mut Vec<T>, item: T) {
    if list.len() < NOTES_MAX {
        list.push(item);
    }
}
