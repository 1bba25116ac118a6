//! Making a lost copy anew: from another copy, else from its stripe.
//!
//! Every frame's sum is checked as it comes; the whole is read back from the
//! own disk and its SHA-256 compared with the catalog's before anybody sees
//! it. Memory: one row of frames.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;

use super::incoming::Incoming;
use super::pull::{Pace, Pull, PullFailed, Wanted};
use super::role::Node;
use crate::api::{Error, Kind, RebuildTask, Receipt, Result, StripeMember};
use crate::data::chunk::{ChunkSeal, SealBuilder};
use crate::data::frame::{self, FrameError, Place};
use crate::data::stripe::{RowAt, StripeError, rebuild_row, sources_needed};
use crate::env::{Work, run};
use crate::id::Handle;
use crate::mark::{Mark, reached};
use crate::policy::{REPLICATION_MAX, STRIPE_WIDTH_MAX};

/// At least this many places are taken by a rebuild, so that few run at once.
const SOURCES_COUNTED_MIN: usize = 8;

/// Why one way to rebuild did not work.
enum Failed {
    /// The sources are no good: another way may work.
    Sources(String),
    /// This node cannot do it now, whatever the sources.
    Here(Error),
}

impl Node {
    /// Comes to hold a chunk; says what it took.
    pub(super) async fn rebuild(&self, task: RebuildTask) -> Result<Receipt> {
        check(&task)?;
        let count = sources_needed(task.chunk.shape).max(SOURCES_COUNTED_MIN);
        let _turn = self.turn(&self.rebuild_sources, count).await?;
        if let Some(receipt) = self.held_already(&task).await {
            return Ok(receipt);
        }
        let handle = task.chunk.handle;
        let mut pace = Pace::new(task.bytes_per_second_max);
        let mut why = Vec::new();
        for address in &task.copies {
            match self.rebuild_from_copy(&task, address, &mut pace).await {
                Ok(seal) => return Ok(self.done(handle, seal, &pace, false)),
                Err(Failed::Here(error)) => return Err(error),
                Err(Failed::Sources(text)) => why.push(text),
            }
        }
        if !task.stripe.is_empty() {
            match self.rebuild_from_stripe(&task, &mut pace).await {
                Ok(seal) => return Ok(self.done(handle, seal, &pace, true)),
                Err(Failed::Here(error)) => return Err(error),
                Err(Failed::Sources(text)) => why.push(text),
            }
        }
        let why = if why.is_empty() { "no source was named".to_owned() } else { why.join("; ") };
        let text = format!("node {} cannot rebuild chunk {handle}: {why}", self.settings.id);
        Err(Error::new(Kind::Insufficient, text))
    }

    fn done(
        &self,
        handle: crate::id::Handle,
        seal: ChunkSeal,
        pace: &Pace,
        from_parity: bool,
    ) -> Receipt {
        let bytes_pulled = pace.bytes();
        reached(if from_parity { Mark::RebuildFromParity } else { Mark::RebuildFromCopy });
        tracing::debug!(node = %self.settings.id, chunk = %handle, bytes_pulled, from_parity,
            "rebuilt and verified");
        Receipt { handle, seal, bytes_pulled, from_parity }
    }

    /// The receipt of a copy that is here already and is as the order says. A
    /// copy with another digest stays as it is until a verified copy with the
    /// digest of the order takes its place: the order may be wrong.
    async fn held_already(&self, task: &RebuildTask) -> Option<Receipt> {
        let (cluster, handle, digest) = (task.chunk.cluster, task.chunk.handle, task.digest);
        if !self.store.has_good(handle) {
            return None;
        }
        let (store, id) = (Arc::clone(&self.store), self.settings.id.clone());
        self.on_disk(move || {
            let image = store.open_image(cluster, handle).ok()?;
            store.verify(&image).ok()?;
            let found = image.seal().digest;
            if found != digest {
                tracing::warn!(node = %id, chunk = %handle, %found, ordered = %digest,
                    "an order names another SHA-256 than this copy has; the copy stays until \
                     one with that SHA-256 is here");
                return None;
            }
            Some(Receipt { handle, seal: image.seal(), bytes_pulled: 0, from_parity: false })
        })
        .await
    }

    async fn rebuild_from_copy(
        &self,
        task: &RebuildTask,
        address: &str,
        pace: &mut Pace,
    ) -> std::result::Result<ChunkSeal, Failed> {
        let wanted = wanted(task);
        let mut pull = Pull::open(&self.env, address, wanted, 0).await?;
        let seal = pull.seal();
        let claim = self.store.claim(wanted.handle)?;
        let mut incoming = Incoming::new(&self.env, claim, task.chunk.clone());
        while let Some(frame) = pull.next().await? {
            pace.came(frame.len()).await;
            incoming = incoming.push(frame).await?;
        }
        incoming.seal(seal, true).await?;
        Ok(seal)
    }

    async fn rebuild_from_stripe(
        &self,
        task: &RebuildTask,
        pace: &mut Pace,
    ) -> std::result::Result<ChunkSeal, Failed> {
        let shape = task.chunk.shape;
        let position = task.chunk.position;
        // A stripe's handles follow each other by position.
        let first_handle = Handle(task.chunk.handle.0.wrapping_sub(u64::from(position)));
        let mut sources = Sources::new(self, task);
        sources.fill(0).await?;
        let claim = self.store.claim(task.chunk.handle)?;
        let mut incoming = Incoming::new(&self.env, claim, task.chunk.clone());
        let mut builder = SealBuilder::default();
        for row in 0..task.chunk.frames_max() {
            if sources.are_done(row) {
                break;
            }
            let (frame, next) = loop {
                let frames = sources.row(row, pace).await?;
                let at = RowAt { first_handle, index: row };
                let mut builder = builder.clone();
                let job = move || {
                    let row: Vec<(u8, &[u8])> =
                        frames.iter().map(|(position, frame)| (*position, &frame[..])).collect();
                    let stored = rebuild_row(at, shape, &row, position)?;
                    if let Some(stored) = &stored {
                        add(&mut builder, at.place(position), stored)
                            .map_err(|error| StripeError::Rebuilt { position, error })?;
                    }
                    Ok((stored, builder))
                };
                match run(&*self.env.pool, Work::Cpu, job).await {
                    Ok(rebuilt) => break rebuilt,
                    Err(error) => sources.drop_bad(row, &error).await?,
                }
            };
            builder = next;
            let Some(frame) = frame else { break };
            incoming = incoming.push(Bytes::from(frame)).await?;
        }
        let seal = builder.finish();
        if seal.digest != task.digest {
            return Err(Failed::Sources(format!(
                "its stripe gives a chunk of SHA-256 {}, it shall be {}",
                seal.digest, task.digest
            )));
        }
        incoming.seal(seal, true).await?;
        Ok(seal)
    }
}

/// The chunks of a stripe that a lost one is being rebuilt from.
struct Sources<'a> {
    node: &'a Node,
    task: &'a RebuildTask,
    /// Where else to ask, by member; each address is asked once.
    untried: Vec<(&'a StripeMember, &'a str)>,
    pulling: Vec<Source<'a>>,
    why: Vec<String>,
}

struct Source<'a> {
    member: &'a StripeMember,
    pull: Pull,
    /// Its frame of the present row; kept while others are replaced.
    frame: Option<(u32, Bytes)>,
}

impl<'a> Sources<'a> {
    fn new(node: &'a Node, task: &'a RebuildTask) -> Self {
        // First one copy of each member, then their further copies.
        let copies_max = task.stripe.iter().map(|member| member.copies.len()).max();
        let mut untried = Vec::new();
        for copy in 0..copies_max.unwrap_or(0) {
            let others = task.stripe.iter();
            for member in others.filter(|member| member.position != task.chunk.position) {
                untried.extend(member.copies.get(copy).map(|address| (member, address.as_str())));
            }
        }
        Self { node, task, untried, pulling: Vec::new(), why: Vec::new() }
    }

    /// Opens sources at `row` until there are enough.
    async fn fill(&mut self, row: u32) -> std::result::Result<(), Failed> {
        let needed = sources_needed(self.task.chunk.shape);
        while self.pulling.len() < needed {
            let is_new = |(member, _): &(&StripeMember, &str)| !self.is_pulling(member.position);
            let Some(next) = self.untried.iter().position(is_new) else {
                return Err(Failed::Sources(format!(
                    "its stripe needs {needed} chunks, {} can be read ({})",
                    self.pulling.len(),
                    self.why.join("; ")
                )));
            };
            let (member, address) = self.untried.remove(next);
            let wanted = Wanted {
                cluster: self.task.chunk.cluster,
                handle: member.handle,
                digest: member.digest,
            };
            match Pull::open(&self.node.env, address, wanted, row).await {
                Ok(pull) => self.pulling.push(Source { member, pull, frame: None }),
                Err(PullFailed(text)) => self.why.push(text),
            }
        }
        Ok(())
    }

    fn is_pulling(&self, position: u8) -> bool {
        self.pulling.iter().any(|source| source.member.position == position)
    }

    /// True when no source has row `row`.
    fn are_done(&self, row: u32) -> bool {
        self.pulling.iter().all(|source| source.pull.seal().frames <= row)
    }

    /// Row `row` of enough chunks; what fails is replaced by what is left.
    async fn row(
        &mut self,
        row: u32,
        pace: &mut Pace,
    ) -> std::result::Result<Vec<(u8, Bytes)>, Failed> {
        loop {
            self.fill(row).await?;
            let pulls = self.pulling.iter_mut().map(|source| source.pull_row(row));
            let mut pulled = 0;
            let mut failed = Vec::new();
            for (at, came) in join_all(pulls).await.into_iter().enumerate() {
                match came {
                    Ok(bytes) => pulled += bytes,
                    Err(PullFailed(text)) => failed.push((at, text)),
                }
            }
            pace.came(pulled).await;
            if failed.is_empty() {
                let frame = |source: &Source<'_>| source.frame.as_ref().map(|it| it.1.clone());
                let frames = self.pulling.iter();
                return Ok(frames
                    .map(|source| (source.member.position, frame(source).unwrap_or_default()))
                    .collect());
            }
            for (at, text) in failed.into_iter().rev() {
                self.pulling.remove(at);
                self.why.push(text);
            }
        }
    }

    /// Leaves out the source that `error` names, or gives up.
    async fn drop_bad(&mut self, row: u32, error: &StripeError) -> std::result::Result<(), Failed> {
        let (StripeError::Source { position, .. } | StripeError::Mismatch { position, .. }) = error
        else {
            return Err(Failed::Sources(format!("row {row} of its stripe: {error}")));
        };
        self.why.push(format!("row {row}: {error}"));
        self.pulling.retain(|source| source.member.position != *position);
        self.fill(row).await
    }
}

impl Source<'_> {
    /// Pulls the frame of row `row`, unless it is here; empty where the chunk
    /// has no such row. Says how many bytes came.
    async fn pull_row(&mut self, row: u32) -> std::result::Result<usize, PullFailed> {
        if self.frame.as_ref().is_some_and(|(at, _)| *at == row) {
            return Ok(0);
        }
        let frame = self.pull.next().await?.unwrap_or_default();
        let len = frame.len();
        self.frame = Some((row, frame));
        Ok(len)
    }
}

/// Takes a rebuilt frame into the seal.
fn add(
    builder: &mut SealBuilder,
    place: Place,
    stored: &[u8],
) -> std::result::Result<(), FrameError> {
    let checked = frame::check(place, stored)?;
    let mut scratch = Vec::new();
    builder.add(frame::content(&checked, &mut scratch)?, stored.len());
    Ok(())
}

fn wanted(task: &RebuildTask) -> Wanted {
    Wanted { cluster: task.chunk.cluster, handle: task.chunk.handle, digest: task.digest }
}

/// Refuses a task that no coordinator gives.
fn check(task: &RebuildTask) -> Result<()> {
    let refuse = |text: String| {
        Err(Error::new(Kind::Invalid, format!("chunk {}: {text}", task.chunk.handle)))
    };
    if let Err(error) = task.chunk.validate() {
        return refuse(error.to_string());
    }
    let copies_max = usize::from(REPLICATION_MAX);
    let has_too_many = |copies: &Vec<String>| copies.len() > copies_max;
    let members = &task.stripe;
    if has_too_many(&task.copies) || members.iter().any(|member| has_too_many(&member.copies)) {
        return refuse(format!("more than {copies_max} copies are named"));
    }
    if members.len() > usize::from(STRIPE_WIDTH_MAX) {
        return refuse(format!("{} chunks of one stripe are named", members.len()));
    }
    Ok(())
}

impl From<PullFailed> for Failed {
    fn from(PullFailed(text): PullFailed) -> Self {
        Self::Sources(text)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        match error.kind {
            // What came is not what it shall be.
            Kind::Integrity | Kind::Invalid => Self::Sources(error.message),
            _ => Self::Here(error),
        }
    }
}
