//! A chunk read over the simulated network: one request out, frames back.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;

use bytes::Bytes;
use dfs_core::api::{ChunkRead, FrameStream, NodeService, ReadRequest, Result};
use futures_util::stream::{self, StreamExt};
use tokio::sync::mpsc;

use super::call::Work;
use super::message::Message;
use super::path::{Broken, Path, Way};
use super::{CALL_DEADLINE, FRAMES_IN_FLIGHT_MAX, SILENCE_MAX};
use crate::host::Host;

const WHAT: &str = "read_chunk";

pub(super) async fn read_chunk(path: &Path, request: ReadRequest) -> Result<ChunkRead> {
    let (sender, receiver) = mpsc::channel(FRAMES_IN_FLIGHT_MAX);
    let (head_sender, head) = tokio::sync::oneshot::channel();
    let there = path.clone();
    let ask = |node: Arc<dyn NodeService>| async move {
        let ChunkRead { header, seal, frames } = match node.read_chunk(request).await {
            Ok(read) => read,
            Err(error) => {
                let _ = head_sender.send(Err(error));
                return Ok(());
            }
        };
        let _ = head_sender.send(Ok((header, seal)));
        pump(&there, frames, sender).await
    };
    let pump = path.begin(WHAT, Host::node, ask).await?;
    let head = match tokio::time::timeout(CALL_DEADLINE, head).await {
        Ok(Ok(head)) if !pump.process().has_ended() => head,
        Ok(_) => Err(path.reset()),
        Err(_) => Err(path.unavailable("no answer to read_chunk")),
    };
    let (header, seal) = path.answer(WHAT, head).await?;
    Ok(ChunkRead { header, seal, frames: arriving(path.clone(), receiver, pump) })
}

/// Sends frames from the node, for as long as somebody takes them.
async fn pump(
    path: &Path,
    mut frames: FrameStream,
    sender: mpsc::Sender<Result<Bytes>>,
) -> Result<()> {
    let mut silence = pin!(path.silence(path.caller()));
    while let Some(frame) = frames.next().await {
        tokio::select! {
            biased;
            sent = sender.send(frame) => if sent.is_err() {
                path.learn_of_end().await;
                return Err(path.reset());
            },
            () = &mut silence => return Err(path.silent()),
        }
    }
    Ok(())
}

/// The reader's end of a read.
struct Arriving {
    path: Path,
    receiver: mpsc::Receiver<Result<Bytes>>,
    silence: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// What runs on the node. Gone when the stream is over.
    pump: Option<Work<Result<()>>>,
}

fn arriving(
    path: Path,
    receiver: mpsc::Receiver<Result<Bytes>>,
    pump: Work<Result<()>>,
) -> FrameStream {
    let (watched, process) = (path.clone(), pump.process().clone());
    let silence = Box::pin(async move { watched.silence(&process).await });
    let state = Arriving { path, receiver, silence, pump: Some(pump) };
    stream::unfold(state, |mut state| async move {
        let frame = state.next().await?;
        if frame.is_err() {
            state.pump = None;
        }
        Some((frame, state))
    })
    .boxed()
}

impl Arriving {
    async fn next(&mut self) -> Option<Result<Bytes>> {
        let pump = self.pump.as_mut()?;
        let received = tokio::select! {
            biased;
            received = self.receiver.recv() => received,
            () = &mut self.silence => return Some(Err(self.path.silent())),
        };
        let Some(frame) = received else {
            // All was sent, or the node gave up, or its process is gone.
            let is_whole = matches!(pump.await, Ok(Ok(())));
            self.pump = None;
            return (!is_whole).then(|| Err(self.path.reset()));
        };
        if pump.process().has_ended() {
            // What a process said as it died was never sent.
            return Some(Err(self.path.reset()));
        }
        match self.path.travel(Way::Back, Message::of_read(&frame)).await {
            Ok(()) => Some(frame),
            Err(Broken::Lost) => {
                tokio::time::sleep(SILENCE_MAX).await;
                Some(Err(self.path.silent()))
            }
            Err(broken) => Some(Err(self.path.error_of(broken, WHAT).await)),
        }
    }
}
