//! The copies of one chunk on their way: one write stream each.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::upload::{CopyFailure, Upload};
use crate::api::{
    Error, Kind, Result, Target, WRITE_RENEWAL_INTERVAL, WriteHeader, WritePart, WriteStream,
};
use crate::data::chunk::ChunkSeal;
use crate::env::Env;
use crate::id::NodeId;

/// Sends one chunk to several nodes at once, each frame shared by all.
///
/// Dropped before [`ChunkWriter::finish`], its streams end without a seal and
/// leave nothing on their nodes.
pub(super) struct ChunkWriter {
    copies: Vec<CopyWriter>,
    seal_within: Duration,
}

/// Who holds a chunk now and who does not.
#[derive(Default)]
pub(super) struct Holders {
    pub(super) nodes: Vec<NodeId>,
    pub(super) failures: Vec<CopyFailure>,
}

impl ChunkWriter {
    /// Opens a stream to each of `targets`, with room for `queue_frames`
    /// frames in front of each.
    pub(super) fn open(
        upload: &Upload<'_>,
        header: &WriteHeader,
        targets: &[Target],
        queue_frames: usize,
    ) -> Self {
        let settings = &upload.client.settings;
        let copies = targets
            .iter()
            .map(|target| CopyWriter::open(upload, header.clone(), target, queue_frames))
            .collect();
        Self { copies, seal_within: settings.seal_within }
    }

    /// True while some stream still takes frames.
    pub(super) fn is_alive(&self) -> bool {
        self.copies.iter().any(|copy| copy.parts.is_some())
    }

    /// Hands `part` to every stream that still takes some; waits for the
    /// slowest, and gives up those that stand still.
    pub(super) async fn send(&mut self, part: &WritePart) {
        join_all(self.copies.iter_mut().map(|copy| copy.send(part.clone()))).await;
    }

    /// Sends the seal and waits until each node has made the chunk durable,
    /// or failed to.
    pub(super) async fn finish(mut self, seal: ChunkSeal) -> Holders {
        self.send(&WritePart::Seal(seal)).await;
        self.close().await
    }

    /// Ends the streams and asks each node what became of its copy.
    pub(super) async fn close(self) -> Holders {
        let within = self.seal_within;
        let answers = self.copies.into_iter().map(|copy| copy.answer(within));
        let mut holders = Holders::default();
        for (node, answer) in join_all(answers).await {
            match answer {
                Ok(()) => holders.nodes.push(node),
                Err(error) => holders.failures.push(CopyFailure { node, error }),
            }
        }
        holders
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
    /// The way into the stream; `None` once it is over.
    parts: Option<mpsc::Sender<WritePart>>,
    answer: oneshot::Receiver<Result<()>>,
    stall_after: Duration,
    stalled: bool,
}

impl CopyWriter {
    fn open(
        upload: &Upload<'_>,
        header: WriteHeader,
        target: &Target,
        queue_frames: usize,
    ) -> Self {
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
            parts: Some(parts),
            answer,
            stall_after: upload.client.settings.stall_after,
            stalled: false,
        }
    }

    async fn send(&mut self, part: WritePart) {
        let Some(parts) = &self.parts else { return };
        match timeout(self.stall_after, parts.send(part)).await {
            Ok(Ok(())) => {}
            // The call is over; its answer says why.
            Ok(Err(_closed)) => self.parts = None,
            Err(_elapsed) => {
                self.parts = None;
                self.stalled = true;
            }
        }
    }

    async fn answer(self, within: Duration) -> (NodeId, Result<()>) {
        let Self { node, parts, answer, stall_after, stalled } = self;
        drop(parts);
        if stalled {
            let message = format!("{node} took no data for {} s", stall_after.as_secs());
            return (node, Err(Error::new(Kind::Unavailable, message)));
        }
        let result = match timeout(within, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_dropped)) => {
                let message = format!("the write to {node} was given up");
                Err(Error::new(Kind::Unavailable, message))
            }
            Err(_elapsed) => Err(not_durable(&node, within)),
        };
        (node, result)
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
