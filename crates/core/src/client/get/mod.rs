//! Get: look up, read several chunks at once, hand on what passed its sums.

mod deliver;
mod fetch;
mod findings;
mod lane;
mod map;
mod parity;
mod ranking;

pub use ranking::first_choice;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, join_all, try_join};
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Semaphore, mpsc};

use self::deliver::Piece;
use self::findings::Findings;
use self::lane::{ChunkReport, Lane};
use self::map::Pages;
use super::window::{GetWindow, PARITY_FRAMES_MAX};
use super::{ChunkNote, Client, ClientError, GetSummary, NOTES_MAX, NoteHow, Progress, Sink};
use crate::api::{BadCopy, FileInfo, FileMap, Kind};
use crate::id::{ClusterId, NodeId};
use crate::name::FileName;

/// What all lanes of one get share.
struct Reading<'a> {
    client: &'a Client,
    progress: &'a Progress,
    info: FileInfo,
    cluster: ClusterId,
    findings: Findings,
    /// Frames that degraded reads may hold.
    parity_frames: Semaphore,
    /// Nodes that the coordinator takes for slow.
    slow: BTreeSet<NodeId>,
    /// Whether bytes that were handed on can still be replaced.
    is_ordered: bool,
}

pub(super) async fn get(
    client: &Client,
    name: &FileName,
    range: Option<Range<u64>>,
    sink: &mut dyn Sink,
    progress: &Progress,
) -> Result<GetSummary, ClientError> {
    let first = map::look_up(client, name, None, 0).await?;
    let size = first.info.size;
    let range = range.unwrap_or(0..size);
    if range.start > 0 && range.start >= size {
        let text = format!(
            "the range begins at byte {}, beyond the end of {name}, which has {size} bytes (0 is \
             the first)",
            range.start
        );
        return Err(ClientError::new(Kind::Invalid, text));
    }
    let range = range.start.min(size)..range.end.min(size);
    let bytes = range.end.saturating_sub(range.start);
    progress.begin(bytes);
    let reading = Reading {
        client,
        progress,
        info: first.info.clone(),
        cluster: first.context.cluster,
        findings: Findings::new(client.paces.clone()),
        parity_frames: Semaphore::new(PARITY_FRAMES_MAX as usize),
        slow: slow_in(&first),
        is_ordered: sink.is_ordered(),
    };
    let may_be_old = first.may_be_old;
    let pages = Pages::new(&reading, first, range)?;
    let read = read(&reading, pages, sink).await;
    let bad = reading.findings.take_bad();
    report(client, &bad).await;
    client.tell_of_nodes(&reading.slow, reading.findings.unreachable()).await;
    Ok(GetSummary { may_be_old, ..read?.into_summary(reading.info, bytes, bad) })
}

/// The nodes of a page that the coordinator takes for slow.
fn slow_in(page: &FileMap) -> BTreeSet<NodeId> {
    let chunks = page.stripes.iter().flat_map(|stripe| &stripe.chunks);
    let copies = chunks.flat_map(|chunk| &chunk.copies);
    copies.filter(|copy| copy.is_slow).map(|copy| copy.node.clone()).collect()
}

/// Reads all chunks and hands their bytes to `sink`, both at once.
async fn read(
    reading: &Reading<'_>,
    pages: Pages<'_>,
    sink: &mut dyn Sink,
) -> Result<Tally, ClientError> {
    let longest = u64::from(reading.info.policy.chunk_size).min(reading.info.size);
    let window = GetWindow::plan(longest);
    // Room for every piece that may wait, so that handing one on never blocks.
    let capacity = window.chunks * window.frames_per_chunk as usize;
    let (pieces, queue) = mpsc::channel(capacity);
    let reads = read_chunks(reading, pages, window, pieces);
    let writes = deliver::deliver(sink, queue);
    let (tally, ()) = try_join(reads, writes).await?;
    Ok(tally)
}

/// Reads chunk after chunk, as many at once as the window has.
async fn read_chunks(
    reading: &Reading<'_>,
    mut pages: Pages<'_>,
    window: GetWindow,
    pieces: mpsc::Sender<Piece>,
) -> Result<Tally, ClientError> {
    pages.fill().await?;
    let mut rooms: Vec<Arc<Semaphore>> = (0..window.chunks)
        .map(|_| Arc::new(Semaphore::new(window.frames_per_chunk as usize)))
        .collect();
    let mut running = FuturesUnordered::new();
    let mut fetching: Option<BoxFuture<'_, Result<FileMap, ClientError>>> = None;
    let mut tally = Tally::default();
    loop {
        while let Some(room) = rooms.pop() {
            let Some(task) = pages.next_chunk() else {
                rooms.push(room);
                break;
            };
            let lane = Lane::new(reading, task, room.clone(), window, pieces.clone());
            running.push(async move { (lane.run().await, room) });
        }
        if fetching.is_none() && pages.is_low() {
            fetching = Some(Box::pin(pages.request()?));
        }
        tokio::select! {
            biased;
            Some((report, room)) = running.next(), if !running.is_empty() => {
                tally.add(report?);
                rooms.push(room);
            }
            Some(page) = next_page(&mut fetching), if fetching.is_some() => {
                fetching = None;
                pages.take(page?.stripes)?;
            }
            else => return Ok(tally),
        }
    }
}

async fn next_page(
    fetching: &mut Option<BoxFuture<'_, Result<FileMap, ClientError>>>,
) -> Option<Result<FileMap, ClientError>> {
    match fetching {
        Some(page) => Some(page.await),
        None => None,
    }
}

/// Tells the coordinator what was found bad. Best effort: whoever reads the
/// copy next finds the same, and so does the node's scrub.
async fn report(client: &Client, bad: &[BadCopy]) {
    let reports = bad.iter().map(|copy| {
        client.call_once(move |coordinator| {
            let copy = copy.clone();
            async move { coordinator.report_bad(copy).await }
        })
    });
    for told in join_all(reports).await {
        if let Err(error) = told {
            tracing::debug!(%error, "a bad copy could not be reported");
        }
    }
}

/// What the chunks read so far came to.
#[derive(Default)]
struct Tally {
    chunks: u64,
    chunks_verified: u64,
    from_other_copy: u64,
    from_parity: u64,
    notes: Vec<ChunkNote>,
}

impl Tally {
    fn add(&mut self, report: ChunkReport) {
        self.chunks += 1;
        self.chunks_verified += u64::from(report.is_verified);
        let Some(note) = report.note else { return };
        match &note.how {
            NoteHow::OtherCopy { .. } => self.from_other_copy += 1,
            NoteHow::Parity { .. } => self.from_parity += 1,
        }
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note);
        }
    }

    fn into_summary(mut self, info: FileInfo, bytes: u64, bad: Vec<BadCopy>) -> GetSummary {
        // Lanes end in any order.
        self.notes.sort();
        GetSummary {
            info,
            bytes,
            chunks: self.chunks,
            chunks_verified: self.chunks_verified,
            from_other_copy: self.from_other_copy,
            from_parity: self.from_parity,
            notes: self.notes,
            bad,
            may_be_old: false,
        }
    }
}
