//! One chunk on its way from its nodes to the sink.
//!
//! It is asked for in runs of frames that there is room for, so that no
//! stream ever stands still because the sink is slow. A source that fails is
//! left for the next one from the first frame not yet handed on.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep};

use super::Reading;
use super::deliver::Piece;
use super::fetch::{self, Frames, Lag, Next, Opened};
use super::map::{self, ChunkTask};
use super::ranking::{self, Origin};
use crate::api::{CopyState, Error, Kind, NodeState};
use crate::client::call::Backoff;
use crate::client::window::GetWindow;
use crate::client::{ChunkNote, ClientError, NoteHow};
use crate::data::digest::Hasher;
use crate::data::frame::{self, Place};
use crate::env;
use crate::id::NodeId;

/// How often a chunk that fails its SHA-256 is fetched anew.
const DIGEST_FAILURES_MAX: u32 = 4;

/// Reads one chunk.
pub(super) struct Lane<'a> {
    reading: &'a Reading<'a>,
    task: ChunkTask,
    room: Arc<Semaphore>,
    window: GetWindow,
    pieces: mpsc::Sender<Piece>,
    /// The next frame to hand on.
    next: u32,
    /// Of the frames before `next`, where the chunk is read whole.
    hasher: Option<Hasher>,
    /// Bytes that were handed on.
    sent_bytes: u64,
    /// Copies that gave frames.
    givers: BTreeSet<NodeId>,
    /// Frames that were rebuilt, and from whom.
    rebuilt: u32,
    rebuilders: BTreeSet<NodeId>,
    note: Option<ChunkNote>,
    may_use_parity: bool,
    digest_failures: u32,
}

/// A chunk that was read.
pub(super) struct ChunkReport {
    /// Whether it was held to its SHA-256.
    pub(super) is_verified: bool,
    /// Where it came from, if not from its first choice.
    pub(super) note: Option<ChunkNote>,
}

/// Why a run of frames ended early.
enum Broken {
    /// The get is over.
    Fatal(ClientError),
    /// This source is; its copy and the reason are noted.
    Source,
    /// The chunk does not match its SHA-256.
    Digest,
}

impl<'a> Lane<'a> {
    pub(super) fn new(
        reading: &'a Reading<'a>,
        task: ChunkTask,
        room: Arc<Semaphore>,
        window: GetWindow,
        pieces: mpsc::Sender<Piece>,
    ) -> Self {
        Self {
            reading,
            room,
            window,
            pieces,
            next: task.frames().start,
            hasher: task.is_whole().then(Hasher::default),
            task,
            sent_bytes: 0,
            givers: BTreeSet::new(),
            rebuilt: 0,
            rebuilders: BTreeSet::new(),
            note: None,
            may_use_parity: true,
            digest_failures: 0,
        }
    }

    /// Hands all wanted bytes of the chunk on.
    pub(super) async fn run(mut self) -> Result<ChunkReport, ClientError> {
        let end = self.task.frames().end;
        let mut failing_since: Option<Instant> = None;
        let mut backoff = Backoff::new();
        while self.next < end {
            let before = self.next;
            let frames = self.frames_per_run(end - self.next);
            let room = self
                .room
                .clone()
                .acquire_many_owned(frames)
                .await
                .map_err(|_closed| ClientError::new(Kind::Internal, "the get is over"))?;
            let run = self.next..self.next + frames;
            if self.read_run(run, room).await? || self.next > before {
                failing_since = None;
                backoff = Backoff::new();
                continue;
            }
            let since = *failing_since.get_or_insert_with(Instant::now);
            self.look_again(since).await?;
            sleep(backoff.next(&*self.reading.client.env.random)).await;
        }
        if let Some(note) = &self.note {
            log(note, &self.reading.info.name);
        }
        Ok(ChunkReport { is_verified: self.task.is_whole(), note: self.note })
    }

    /// All that fits at once, and half of the room at least.
    fn frames_per_run(&self, left: u32) -> u32 {
        let half = self.window.frames_per_chunk.div_ceil(2);
        let free = u32::try_from(self.room.available_permits()).unwrap_or(u32::MAX);
        free.max(half).min(self.window.frames_per_chunk).min(left)
    }

    /// Reads a run of frames from one source after the other. False when all
    /// of them failed.
    async fn read_run(
        &mut self,
        run: Range<u32>,
        mut room: OwnedSemaphorePermit,
    ) -> Result<bool, ClientError> {
        let reading = self.reading;
        let origins = ranking::origins(
            &self.task.map,
            self.task.slot,
            self.may_use_parity,
            &reading.findings,
        );
        let mut origins = VecDeque::from(origins);
        while self.next < run.end {
            let frames = self.next..run.end;
            let map = self.task.map.clone();
            let opened = fetch::open(reading, &map, self.task.slot, frames, &mut origins).await;
            let Some(opened) = opened else { return Ok(false) };
            match self.hand_on(opened, run.end, &mut room, &mut origins).await {
                Ok(()) | Err(Broken::Source) => {}
                Err(Broken::Fatal(error)) => return Err(error),
                Err(Broken::Digest) => {
                    self.begin_anew()?;
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }

    /// Checks and hands on frames up to `end`, of one source or of another
    /// that overtakes it.
    async fn hand_on(
        &mut self,
        opened: Opened<'a>,
        end: u32,
        room: &mut OwnedSemaphorePermit,
        origins: &mut VecDeque<Origin>,
    ) -> Result<(), Broken> {
        let Opened { mut origin, first, mut frames } = opened;
        let mut lag = Lag::of(self.reading, &origin);
        let mut first = Some(first);
        while self.next < end {
            let read = match first.take() {
                Some(first) => Ok(first),
                None => {
                    let map = self.task.map.clone();
                    let wanted = (&map, self.task.slot, self.next..end);
                    match lag.next(self.reading, (&origin, &mut frames), wanted, origins).await {
                        Next::Frame(read) => read,
                        Next::Overtaken(other) => {
                            let other = *other;
                            (origin, frames) = (other.origin, other.frames);
                            lag = Lag::of(self.reading, &origin);
                            Ok(other.first)
                        }
                    }
                }
            };
            let checked = match read {
                Ok(stored) => self.open_frame(stored).await,
                Err(error) => Err(error),
            };
            let raw = match checked {
                Ok(raw) => raw,
                Err(error) => {
                    self.note_failure(&origin, &error);
                    return Err(Broken::Source);
                }
            };
            self.note_origin(&origin, &frames);
            self.check_digest()?;
            self.send(raw, room).await?;
        }
        Ok(())
    }

    /// Checks one stored frame and takes its raw bytes into the hash.
    async fn open_frame(&mut self, stored: Bytes) -> Result<Bytes, Error> {
        let expected = self.task.frame_len(self.next);
        let place = Place { handle: self.task.handle(), index: self.next };
        let hasher = self.hasher.take();
        let buffers = self.reading.client.buffers.clone();
        let before = hasher.clone();
        let pool = &*self.reading.client.env.pool;
        let (opened, hasher) = env::run_over(pool, expected, move || {
            let mut raw = buffers.take();
            raw.reserve(expected);
            let opened = frame::open(place, &stored, &mut raw);
            if let Err(error) = opened {
                return (Err(error.to_string()), before);
            }
            if raw.len() != expected {
                return (Err(format!("frame has {} raw bytes, not {expected}", raw.len())), before);
            }
            let hasher = hasher.map(|mut hasher| {
                hasher.update(&raw);
                hasher
            });
            (Ok(buffers.share(raw)), hasher)
        })
        .await;
        self.hasher = hasher;
        opened.map_err(|message| Error::new(Kind::Integrity, message))
    }

    /// Before the last frame is handed on, the whole chunk must be right.
    fn check_digest(&mut self) -> Result<(), Broken> {
        if self.next + 1 < self.task.frames().end {
            return Ok(());
        }
        let Some(hasher) = self.hasher.take() else { return Ok(()) };
        let expected = self.task.map.chunks.get(self.task.slot).map(|chunk| chunk.digest);
        if Some(hasher.finish()) == expected { Ok(()) } else { Err(Broken::Digest) }
    }

    async fn send(&mut self, raw: Bytes, room: &mut OwnedSemaphorePermit) -> Result<(), Broken> {
        let (part, offset) = self.task.part(self.next);
        let bytes = raw.slice(part);
        let over = || Broken::Fatal(ClientError::new(Kind::Internal, "the output is closed"));
        let room = room.split(1).ok_or_else(over)?;
        self.next += 1;
        let size = bytes.len() as u64;
        self.pieces.send(Piece { offset, bytes, room }).await.map_err(|_closed| over())?;
        self.sent_bytes += size;
        self.reading.progress.add(size);
        Ok(())
    }

    /// After a wrong SHA-256: whoever gave the frames is not asked again, and
    /// the chunk is read anew, if what was handed on can be taken back.
    fn begin_anew(&mut self) -> Result<(), ClientError> {
        let reading = self.reading;
        let handle = self.task.handle();
        let wrong = "its frames do not match the chunk's SHA-256";
        tracing::warn!(chunk = %handle, from = ?self.givers, rebuilt = self.rebuilt, "{wrong}");
        match self.givers.first().filter(|_| self.givers.len() == 1 && self.rebuilt == 0) {
            Some(only) => {
                reading.findings.note(handle, only, &Error::new(Kind::Integrity, wrong));
            }
            None => {
                self.givers.iter().for_each(|node| reading.findings.set_aside(handle, node, wrong));
            }
        }
        self.may_use_parity &= self.rebuilt == 0;
        self.digest_failures += 1;
        let is_delivered = reading.is_ordered && self.sent_bytes > 0;
        if is_delivered || self.digest_failures == DIGEST_FAILURES_MAX {
            return Err(ClientError::new(
                Kind::Integrity,
                format!(
                    "chunk {} of {} does not match its SHA-256{}",
                    self.task.chunk,
                    reading.info.name,
                    if is_delivered {
                        ", which came out after most of it was written: what was written is \
                         not to be trusted; read it again"
                    } else {
                        ""
                    }
                ),
            ));
        }
        reading.progress.take_back(std::mem::take(&mut self.sent_bytes));
        self.next = self.task.frames().start;
        self.hasher = Some(Hasher::default());
        self.givers.clear();
        self.rebuilders.clear();
        self.rebuilt = 0;
        self.note = None;
        Ok(())
    }

    /// Every source failed. Asks where the chunk is by now, and whether there
    /// is any use in trying again.
    async fn look_again(&mut self, since: Instant) -> Result<(), ClientError> {
        let reading = self.reading;
        self.task.map = map::look_up_stripe(reading, self.task.stripe).await?;
        let is_long_enough = since.elapsed() >= reading.client.settings.retry_for;
        let has_hope = ranking::has_hope(&self.task.map, self.task.slot, &reading.findings);
        if has_hope && !is_long_enough {
            return Ok(());
        }
        Err(self.unreadable())
    }

    fn unreadable(&self) -> ClientError {
        let ChunkTask { map, slot, chunk, stripe, .. } = &self.task;
        let findings = &self.reading.findings;
        let mut is_away = false;
        let mut words = Vec::new();
        for (other, chunk_map) in map.chunks.iter().enumerate() {
            let handle = map::handle_of(map, other);
            for copy in &chunk_map.copies {
                let is_here = copy.state == NodeState::Online && copy.presence == CopyState::Held;
                let why_not = findings.why_not(handle, &copy.node);
                // Only damage that was seen here is a loss. That a node does not
                // have the copy is believed once the coordinator has heard it
                // too: the one that answered may stand on the wrong disk.
                let is_lost = why_not == Some(Kind::Integrity);
                // Of this chunk's own copies, each has failed somehow; a slow
                // node, too, has proved nothing.
                let has_failed =
                    other == *slot || why_not.is_some() || findings.node(&copy.node).is_some();
                let may_be_there = matches!(copy.presence, CopyState::Held | CopyState::Unknown);
                is_away |= !is_lost && may_be_there && (!is_here || has_failed);
                if other == *slot || !is_here || why_not.is_some() {
                    let why = ranking::reason(handle, copy, findings);
                    words.push(format!("{}: {why}", copy.node));
                }
            }
        }
        words.sort();
        words.dedup();
        let (kind, fix) = if is_away {
            (
                Kind::Unavailable,
                "start the nodes that are away, or wait for those that are slow, and try again",
            )
        } else {
            (Kind::Integrity, "too many of its copies are lost: restore it from elsewhere")
        };
        let name = &self.reading.info.name;
        let message = format!(
            "chunk {chunk} of {name} (stripe {stripe}) cannot be read ({}): {fix}",
            words.join("; ")
        );
        ClientError::new(kind, message)
    }

    fn note_failure(&self, origin: &Origin, error: &Error) {
        if let Origin::Copy(copy) = origin {
            self.reading.findings.note(self.task.handle(), &copy.node, error);
        }
        tracing::debug!(chunk = %self.task.handle(), ?origin, %error, "a source broke off");
    }

    /// Takes note of who gave the present frame, where it was not the first
    /// choice.
    fn note_origin(&mut self, origin: &Origin, frames: &Frames<'_>) {
        let findings = &self.reading.findings;
        let (chunk, handle) = (self.task.chunk, self.task.handle());
        let first = ranking::first_choice(&self.task.map, self.task.slot);
        let how = match (origin, frames) {
            (Origin::Copy(copy), _) => {
                self.givers.insert(copy.node.clone());
                let other = first.filter(|first| first.node != copy.node);
                let Some(first) = other.filter(|_| self.note.is_none()) else { return };
                NoteHow::OtherCopy {
                    node: copy.node.clone(),
                    instead_of: first.node.clone(),
                    why: ranking::reason(handle, first, findings),
                }
            }
            (Origin::Parity, Frames::Parity(reader)) => {
                self.rebuilt += 1;
                self.rebuilders.extend(reader.nodes().iter().cloned());
                let copies = self.task.map.chunks.get(self.task.slot);
                let mut why: Vec<String> = copies
                    .map_or(&[][..], |chunk| &chunk.copies)
                    .iter()
                    .map(|copy| {
                        format!("{}: {}", copy.node, ranking::reason(handle, copy, findings))
                    })
                    .collect();
                if why.is_empty() {
                    why.push("it has no copy".into());
                }
                NoteHow::Parity {
                    stripe: self.task.stripe,
                    rows: self.rebuilt,
                    nodes: self.rebuilders.iter().cloned().collect(),
                    why: why.join("; "),
                }
            }
            (Origin::Parity, Frames::Copy(_)) => return,
        };
        self.note = Some(ChunkNote { chunk, handle, how });
    }
}

fn log(note: &ChunkNote, file: &crate::name::FileName) {
    let (chunk, handle) = (note.chunk, note.handle);
    match &note.how {
        NoteHow::OtherCopy { node, instead_of, why } => {
            tracing::info!(%file, chunk, %handle, %node, %instead_of, why,
                "chunk read from another copy");
        }
        NoteHow::Parity { stripe, rows, nodes, why } => {
            let nodes: Vec<&str> = nodes.iter().map(|node| node.as_str()).collect();
            tracing::info!(%file, chunk, %handle, stripe, rows, nodes = nodes.join(","), why,
                "chunk rebuilt from parity");
        }
    }
}
