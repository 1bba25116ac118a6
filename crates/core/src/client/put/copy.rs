//! The copies of one chunk on their way: one write stream each.
//!
//! A copy that holds the others back is set aside in mid-chunk: at once when
//! another node takes it, a little later when the stripe can do without it. A copy
//! whose peers are durable and that is not yet counts as *late*: another node
//! gets it too, and the first of the two counts. See [`super::super::pace`]
//! for the sources of the method.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::{self, FuturesUnordered};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::upload::{CopyFailure, Upload};
use crate::api::{
    Error, Kind, Result, StripePlacement, Target, WRITE_RENEWAL_INTERVAL, WriteHeader, WritePart,
    WriteStream,
};
use crate::client::pace::{Way, Writing};
use crate::data::chunk::ChunkSeal;
use crate::env::Env;
use crate::id::{Handle, NodeId};
use crate::mark::{Mark, reached};
use crate::mutant::{Mutant, is_planted};

/// Another node is looked for when a copy is so far behind its peers.
const LAG_MAX: Duration = Duration::from_millis(1500);
/// A copy that no other node takes is given up when it is so far behind its
/// peers and the stripe can do without it. Repair makes it later.
const LAG_WITHOUT_MAX: Duration = Duration::from_millis(2000);
/// A copy lags only when it takes so many times as long as its peers.
const LAG_FACTOR: u32 = 4;
/// How long the coordinator may take to name another node for a copy.
const ASK_WITHIN: Duration = Duration::from_secs(5);
/// A copy is late no sooner than so long after its seal, and no sooner than
/// so many times what its peers took.
const LATE_MIN: Duration = Duration::from_secs(3);
/// See [`LATE_MIN`].
const LATE_FACTOR: u32 = 4;

/// A copy whose node has not answered yet: its slot, its node, its answer.
pub(super) type Sending<'a> = (usize, NodeId, BoxFuture<'a, Result<()>>);

/// What became of copies that were sent.
#[derive(Default)]
pub(super) struct Settled<'a> {
    pub(super) holders: Vec<(usize, NodeId)>,
    pub(super) failures: Vec<(usize, CopyFailure)>,
    /// Named in `failures` too, though they may still succeed.
    pub(super) late: Vec<Sending<'a>>,
}

/// Sends one chunk to several nodes at once, each frame shared by all.
///
/// Dropped before [`ChunkWriter::finish`], its streams end without a seal and
/// leave nothing on their nodes.
pub(super) struct ChunkWriter<'a> {
    upload: &'a Upload<'a>,
    slot: usize,
    copies: Vec<CopyWriter>,
}

impl<'a> ChunkWriter<'a> {
    /// Opens a stream to each of `targets` for chunk `slot` of a stripe, with
    /// room for `queue_frames` frames in front of each.
    pub(super) fn open(
        upload: &'a Upload<'a>,
        stripe: &StripePlacement,
        slot: usize,
        targets: &[Target],
        queue_frames: usize,
    ) -> Self {
        let header = upload.header(stripe, slot);
        let shared = Arc::new(stripe.clone());
        let planned = stripe.targets.get(slot).map_or(&[][..], Vec::as_slice);
        let open = |target: &Target| {
            // A replacement is there because the copy is needed.
            let is_planned = planned.contains(target);
            let stripe = is_planned.then(|| shared.clone());
            CopyWriter::open(upload, header.clone(), target, queue_frames, stripe)
        };
        Self { upload, slot, copies: targets.iter().map(open).collect() }
    }

    /// True while some stream still takes frames.
    pub(super) fn is_alive(&self) -> bool {
        self.copies.iter().any(|copy| copy.parts.is_some())
    }

    /// Hands `part` to every stream that still takes some; waits for the
    /// slowest, and sets those aside that hold the others back.
    pub(super) async fn send(&mut self, part: &WritePart) {
        let upload = self.upload;
        join_all(self.copies.iter_mut().map(|copy| copy.send(upload, part.clone()))).await;
    }

    /// Takes out the copies that were set aside since another node takes them.
    pub(super) fn take_replaced(&mut self) -> Vec<(usize, CopyFailure)> {
        let slot = self.slot;
        let replaced = self.copies.extract_if(.., |copy| copy.is_replaced);
        let failure = |copy: CopyWriter| {
            let error = copy.given_up?;
            Some((slot, CopyFailure { node: copy.node, error, is_slow: false }))
        };
        replaced.filter_map(failure).collect()
    }

    /// Sends the seal, and asks each node what became of its copy.
    pub(super) fn finish(self, seal: ChunkSeal) -> Vec<Sending<'a>> {
        self.end(Some(seal))
    }

    /// Ends the streams without a seal.
    pub(super) fn close(self) -> Vec<Sending<'a>> {
        self.end(None)
    }

    fn end(self, seal: Option<ChunkSeal>) -> Vec<Sending<'a>> {
        let Self { upload, slot, copies } = self;
        let within = upload.client.settings.seal_within;
        let end = |mut copy: CopyWriter| {
            let node = copy.node.clone();
            let answer = async move {
                if let Some(seal) = seal {
                    copy.send(upload, WritePart::Seal(seal)).await;
                }
                copy.answer(within).await
            };
            (slot, node, answer.boxed())
        };
        copies.into_iter().map(end).collect()
    }
}

/// Waits until each copy is durable, failed, or late in comparison with the
/// others.
pub(super) async fn settle<'a>(upload: &Upload<'_>, sends: Vec<Sending<'a>>) -> Settled<'a> {
    let started = Instant::now();
    let settings = &upload.client.settings;
    let mut settled = Settled::default();
    let mut waiting: FuturesUnordered<_> = sends.into_iter().map(in_doubt).collect();
    let mut late_at = started + settings.write_stall_after;
    loop {
        tokio::select! {
            biased;
            Some((slot, node, answer)) = waiting.next() => match answer {
                Ok(()) => {
                    upload.client.paces.note(Way::Write, &node, 0, started.elapsed());
                    let patience = (started.elapsed() * LATE_FACTOR).max(LATE_MIN);
                    late_at = late_at.min(started + patience);
                    settled.holders.push((slot, node));
                }
                Err(error) => {
                    let failure = CopyFailure { node, error, is_slow: false };
                    settled.failures.push((slot, failure));
                }
            },
            () = sleep_until(late_at), if !waiting.is_empty() => break,
            else => return settled,
        }
    }
    for doubt in waiting {
        reached(Mark::WriteLate);
        let (slot, node) = (doubt.slot, doubt.node.clone());
        let waited = started.elapsed();
        upload.client.paces.note(Way::Write, &node, 0, waited);
        let error = Error::new(
            Kind::Unavailable,
            format!("{node} did not make a chunk durable within {} ms", waited.as_millis()),
        );
        settled.failures.push((slot, CopyFailure { node, error, is_slow: true }));
        settled.late.push((doubt.slot, doubt.node, doubt.answer));
    }
    settled
}

/// An answer that is waited for and can be handed on unanswered.
struct InDoubt<'a> {
    slot: usize,
    node: NodeId,
    answer: BoxFuture<'a, Result<()>>,
}

fn in_doubt(sending: Sending<'_>) -> InDoubt<'_> {
    let (slot, node, answer) = sending;
    InDoubt { slot, node, answer }
}

impl Future for InDoubt<'_> {
    type Output = (usize, NodeId, Result<()>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.answer.poll_unpin(cx));
        Poll::Ready((self.slot, self.node.clone(), answer))
    }
}

/// Copies that are late. Others were asked to take them; the first counts.
pub(super) struct Doubts<'a>(FuturesUnordered<InDoubt<'a>>);

impl<'a> Doubts<'a> {
    pub(super) fn none() -> Self {
        Self(FuturesUnordered::new())
    }

    pub(super) fn add(&mut self, late: Vec<Sending<'a>>) {
        self.0.extend(late.into_iter().map(in_doubt));
    }

    /// Runs `pass`, which sends to other nodes one copy for each slot in
    /// `wanted`, to its end; or until late copies are durable in place of all
    /// of them, which end up in `holders`.
    pub(super) async fn race<T>(
        &mut self,
        (upload, stripe): (&Upload<'_>, &StripePlacement),
        pass: impl Future<Output = T>,
        mut wanted: Vec<usize>,
        holders: &mut Vec<(usize, NodeId)>,
    ) -> Option<T> {
        let mut pass = pin!(pass);
        loop {
            tokio::select! {
                biased;
                done = &mut pass => return Some(done),
                Some((slot, node, answer)) = self.0.next(), if !self.0.is_empty() => {
                    if answer.is_err() {
                        continue;
                    }
                    upload.note_kept(stripe, slot, &node);
                    holders.push((slot, node));
                    if let Some(place) = wanted.iter().position(|other| *other == slot) {
                        wanted.swap_remove(place);
                    }
                    if wanted.is_empty() {
                        return None;
                    }
                }
            }
        }
    }

    /// Waits for copies that no other node takes: for long where the stripe
    /// needs them.
    pub(super) async fn wait(
        mut self,
        (upload, stripe): (&Upload<'_>, &StripePlacement),
        is_needed: impl Fn(&[(usize, NodeId)]) -> bool,
        holders: &mut Vec<(usize, NodeId)>,
    ) {
        let settings = &upload.client.settings;
        let started = Instant::now();
        while !self.0.is_empty() {
            let within = match is_needed(holders) {
                true => settings.seal_within,
                false => settings.write_stall_after.saturating_sub(LATE_MIN),
            };
            tokio::select! {
                biased;
                Some((slot, node, answer)) = self.0.next() => if answer.is_ok() {
                    upload.note_kept(stripe, slot, &node);
                    holders.push((slot, node));
                },
                () = sleep_until(started + within) => return,
            }
        }
    }
}

/// Sends one chunk of one frame to `target`, and waits until it is durable
/// there.
pub(super) async fn send_whole(
    upload: &Upload<'_>,
    header: WriteHeader,
    target: &Target,
    frame: Bytes,
    seal: ChunkSeal,
) -> Result<()> {
    let parts = [Ok(WritePart::Frame(frame)), Ok(WritePart::Seal(seal))];
    let node = upload.node(target);
    let writing = node.write_chunk(header, stream::iter(parts).boxed());
    let within = upload.client.settings.seal_within;
    timeout(within, writing).await.unwrap_or_else(|_elapsed| Err(not_durable(&target.node, within)))
}

fn not_durable(node: &NodeId, within: Duration) -> Error {
    let message = format!("{node} did not make a chunk durable within {} s", within.as_secs());
    Error::new(Kind::Unavailable, message)
}

/// One write stream.
struct CopyWriter {
    node: NodeId,
    handle: Handle,
    /// The way into the stream; `None` once it is over.
    parts: Option<mpsc::Sender<WritePart>>,
    answer: oneshot::Receiver<Result<()>>,
    /// Why it was given up, where it was.
    given_up: Option<Error>,
    /// Whether another node was looked for.
    is_asked: bool,
    /// Whether another node takes the copy.
    is_replaced: bool,
    /// The stripe, where the copy is one that was planned for it: it may be
    /// stored without this one.
    planned: Option<Arc<StripePlacement>>,
    /// How long this stream was waited for, and what its peers would take.
    waited: Duration,
    expected: Duration,
    /// Counts it among the streams to its node.
    _writing: Writing,
}

impl CopyWriter {
    fn open(
        upload: &Upload<'_>,
        header: WriteHeader,
        target: &Target,
        queue_frames: usize,
        planned: Option<Arc<StripePlacement>>,
    ) -> Self {
        let handle = header.chunk.handle;
        let (parts, queue) = mpsc::channel(queue_frames);
        let (answered, answer) = oneshot::channel();
        let node = upload.node(target);
        let env: &Env = &upload.client.env;
        env.spawn(async move {
            let mut answered = answered;
            let result = tokio::select! {
                biased;
                result = node.write_chunk(header, stream_of(queue)) => result,
                // Nobody waits for this copy any more.
                () = answered.closed() => return,
            };
            let _ = answered.send(result);
        });
        Self {
            node: target.node.clone(),
            handle,
            parts: Some(parts),
            answer,
            given_up: None,
            is_asked: false,
            is_replaced: false,
            planned,
            waited: Duration::ZERO,
            expected: Duration::ZERO,
            _writing: upload.client.paces.write_to(&target.node),
        }
    }

    async fn send(&mut self, upload: &Upload<'_>, part: WritePart) {
        let Some(parts) = self.parts.clone() else { return };
        let bytes = match &part {
            WritePart::Frame(frame) => frame.len(),
            WritePart::Waiting | WritePart::Seal(_) => 0,
        };
        let paces = &upload.client.paces;
        let expected = paces.expected_write(&self.node, bytes);
        let started = Instant::now();
        let mut sending = pin!(parts.send(part));
        loop {
            let mut limit = self.limit(upload, expected);
            let asking = async {
                sleep_until(started + limit.after).await;
                if self.is_asked {
                    return None;
                }
                let (node, reason) = (&self.node, limit.reason(&self.node));
                let asking = upload.ask_another(self.handle, node, &reason, true);
                timeout(ASK_WITHIN, asking).await.ok()?.ok()?
            };
            let target = tokio::select! {
                biased;
                sent = &mut sending => {
                    if sent.is_err() {
                        // The call is over; its answer says why.
                        self.parts = None;
                    }
                    break;
                }
                target = asking => target,
            };
            if target.is_none() && !self.is_asked {
                self.is_asked = true;
                continue;
            }
            // Another copy of the stripe may have been given up meanwhile.
            if target.is_none() && limit.is_lag && !self.can_do_without(upload) {
                continue;
            }
            if target.is_none() {
                upload.note_stalled(&self.node);
            }
            if limit.is_lag {
                paces.note_lagged(&self.node);
            }
            reached(Mark::WriteSetAside);
            limit.after = started.elapsed();
            self.parts = None;
            self.is_replaced = target.is_some();
            self.given_up = Some(Error::new(Kind::Unavailable, limit.reason(&self.node)));
            break;
        }
        let waited = started.elapsed();
        self.waited += waited;
        self.expected += expected.unwrap_or(waited);
        paces.note_written(&self.node, bytes, waited);
    }

    /// How long the stream may take now, for a part that takes its peers
    /// `expected`: until another node is looked for or, when that was in
    /// vain, until the copy is given up.
    fn limit(&self, upload: &Upload<'_>, expected: Option<Duration>) -> Limit {
        let settings = &upload.client.settings;
        let is_patient = self.is_asked && !self.can_do_without(upload);
        let stall = if is_patient { settings.stall_after } else { settings.write_stall_after };
        let stalls = Limit { after: stall, is_lag: false };
        let Some(expected) = expected.filter(|_| !is_patient) else { return stalls };
        let is_hasty = !is_planted(Mutant::WaitsForWhatItCanDoWithout);
        let lag_max = match self.is_asked {
            true if is_hasty => LAG_WITHOUT_MAX,
            true => settings.write_stall_after,
            false => LAG_MAX,
        };
        let expected = self.expected + expected;
        let lags = (expected + lag_max).max(expected * LAG_FACTOR).saturating_sub(self.waited);
        if lags >= stall || is_planted(Mutant::NeverSetsAside) {
            return stalls;
        }
        Limit { after: lags, is_lag: true }
    }

    /// True when the stripe can be stored without this copy, after all that
    /// went wrong so far.
    fn can_do_without(&self, upload: &Upload<'_>) -> bool {
        let is_enough = |stripe| upload.can_do_without(stripe, &self.node);
        self.planned.as_deref().is_some_and(is_enough)
    }

    async fn answer(self, within: Duration) -> Result<()> {
        let Self { node, parts, answer, given_up, _writing, .. } = self;
        drop(parts);
        if let Some(error) = given_up {
            return Err(error);
        }
        match timeout(within, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_dropped)) => {
                let message = format!("the write to {node} was given up");
                Err(Error::new(Kind::Unavailable, message))
            }
            Err(_elapsed) => Err(not_durable(&node, within)),
        }
    }
}

/// How long a part may take on its way into a stream.
struct Limit {
    after: Duration,
    /// True when its peers are that much faster; else it stands still.
    is_lag: bool,
}

impl Limit {
    fn reason(&self, node: &NodeId) -> String {
        match self.is_lag {
            true => format!("{node} takes data much slower than other nodes"),
            false => format!("{node} took no data for {} ms", self.after.as_millis()),
        }
    }
}

/// The parts as they come. While none comes, the source is slow and not the
/// client: the node must not take its silence for an end.
fn stream_of(queue: mpsc::Receiver<WritePart>) -> WriteStream {
    stream::unfold(queue, |mut queue| async move {
        let part = match timeout(WRITE_RENEWAL_INTERVAL, queue.recv()).await {
            Ok(part) => part?,
            Err(_elapsed) => WritePart::Waiting,
        };
        Some((Ok(part), queue))
    })
    .boxed()
}
