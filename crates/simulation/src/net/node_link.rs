//! A node's service over the simulated network.

use async_trait::async_trait;
use bytes::Bytes;
use dfs_core::api::{
    Adopt, ChunkRead, Context, Error, FrameStream, InventoryPage, Kind, NodeInfo, NodeService,
    ReadRequest, RebuildTask, Receipt, Result, WriteHeader, WritePart, WriteStream,
};
use dfs_core::data::digest::crc32c;
use dfs_core::id::Handle;
use futures_util::stream::{self, StreamExt};
use tokio::sync::mpsc;

use super::path::{Lost, Path, Way};
use super::{CALL_DEADLINE, LONG_CALL_DEADLINE, SILENCE_MAX};
use crate::host::Host;
use crate::task::EndsWithCaller;

/// Frames on their way at once, in each direction of a stream.
const FRAMES_IN_FLIGHT_MAX: usize = 2;

/// See the module's text.
pub(super) struct NodeLink(Path);

impl NodeLink {
    pub(super) fn new(path: Path) -> Self {
        Self(path)
    }
}

#[async_trait]
impl NodeService for NodeLink {
    async fn adopt(&self, request: Adopt) -> Result<NodeInfo> {
        let ask = |node: std::sync::Arc<dyn NodeService>| async move { node.adopt(request).await };
        self.0.call("adopt", CALL_DEADLINE, Host::node, ask).await
    }

    async fn write_chunk(&self, header: WriteHeader, mut parts: WriteStream) -> Result<()> {
        let what = "write_chunk";
        let (sender, receiver) = mpsc::channel(FRAMES_IN_FLIGHT_MAX);
        let ask = |node: std::sync::Arc<dyn NodeService>| async move {
            node.write_chunk(header, into_stream(receiver)).await
        };
        let mut task = self.0.begin(what, Host::node, ask).await?;
        let forward = async {
            while let Some(part) = parts.next().await {
                self.0.travel(Way::Out, &describe(&part)).await?;
                if sender.send(part).await.is_err() {
                    break;
                }
            }
            Ok::<(), Lost>(())
        };
        let sent = tokio::select! {
            biased;
            answer = &mut task => {
                let answer = answer.unwrap_or_else(|_| Err(self.0.reset()));
                return self.0.answer(what, answer).await;
            }
            sent = forward => sent,
        };
        if sent == Err(Lost) {
            // Half open: both ends find out by themselves.
            tokio::time::sleep(SILENCE_MAX).await;
            let _ = sender.try_send(Err(self.0.unavailable("the stream was silent")));
            task.let_go();
            return Err(self.0.unavailable("the stream was silent"));
        }
        drop(sender);
        let answer = self.0.wait(what, CALL_DEADLINE, task).await;
        self.0.answer(what, answer).await
    }

    async fn read_chunk(&self, request: ReadRequest) -> Result<ChunkRead> {
        let what = "read_chunk";
        let (sender, receiver) = mpsc::channel(FRAMES_IN_FLIGHT_MAX);
        let (head_sender, head) = tokio::sync::oneshot::channel();
        let ask = |node: std::sync::Arc<dyn NodeService>| async move {
            let ChunkRead { header, seal, mut frames } = match node.read_chunk(request).await {
                Ok(read) => read,
                Err(error) => {
                    let _ = head_sender.send(Err(error));
                    return Ok(());
                }
            };
            let _ = head_sender.send(Ok((header, seal)));
            while let Some(frame) = frames.next().await {
                if sender.send(frame).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let pump = self.0.begin(what, Host::node, ask).await?;
        let head = match tokio::time::timeout(CALL_DEADLINE, head).await {
            Ok(Ok(head)) => head,
            Ok(Err(_)) => Err(self.0.reset()),
            Err(_) => Err(self.0.unavailable("no answer to read_chunk")),
        };
        let (header, seal) = self.0.answer(what, head).await?;
        let frames = receive(ReadState { path: self.0.clone(), receiver, pump: Some(pump) });
        Ok(ChunkRead { header, seal, frames })
    }

    async fn delete_chunks(&self, context: Context, handles: Vec<Handle>) -> Result<()> {
        let ask = |node: std::sync::Arc<dyn NodeService>| async move {
            node.delete_chunks(context, handles).await
        };
        self.0.call("delete_chunks", CALL_DEADLINE, Host::node, ask).await
    }

    async fn rebuild_chunk(&self, context: Context, task: RebuildTask) -> Result<Receipt> {
        let ask = |node: std::sync::Arc<dyn NodeService>| async move {
            node.rebuild_chunk(context, task).await
        };
        self.0.call("rebuild_chunk", LONG_CALL_DEADLINE, Host::node, ask).await
    }

    async fn inventory(&self, context: Context, after: Option<Handle>) -> Result<InventoryPage> {
        let ask = |node: std::sync::Arc<dyn NodeService>| async move {
            node.inventory(context, after).await
        };
        self.0.call("inventory", CALL_DEADLINE, Host::node, ask).await
    }

    async fn verify_chunk(&self, context: Context, handle: Handle) -> Result<Receipt> {
        let ask = |node: std::sync::Arc<dyn NodeService>| async move {
            node.verify_chunk(context, handle).await
        };
        self.0.call("verify_chunk", LONG_CALL_DEADLINE, Host::node, ask).await
    }
}

/// A read that goes on: the pump runs on the node, the stream here.
struct ReadState {
    path: Path,
    receiver: mpsc::Receiver<Result<Bytes>>,
    /// Gone when the stream is over.
    pump: Option<EndsWithCaller<Result<()>>>,
}

fn receive(state: ReadState) -> FrameStream {
    stream::unfold(state, |mut state| async move {
        let pump = state.pump.as_mut()?;
        let received = state.receiver.recv().await;
        let Some(frame) = received else {
            // All was sent, or the node's process is gone.
            let ended = pump.await;
            state.pump = None;
            return ended.err().map(|_| (Err(state.path.reset()), state));
        };
        let text = match &frame {
            Ok(bytes) => format!("frame {} bytes {:08x}", bytes.len(), crc32c(&[bytes])),
            Err(error) => format!("frame: {error}"),
        };
        match state.path.travel(Way::Back, &text).await {
            Ok(()) => {
                if frame.is_err() {
                    state.pump = None;
                }
                Some((frame, state))
            }
            Err(Lost) => {
                tokio::time::sleep(SILENCE_MAX).await;
                state.pump = None;
                Some((Err(state.path.unavailable("the stream was silent")), state))
            }
        }
    })
    .boxed()
}

fn into_stream(receiver: mpsc::Receiver<Result<WritePart>>) -> WriteStream {
    stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|part| (part, receiver))
    })
    .boxed()
}

fn describe(part: &Result<WritePart>) -> String {
    match part {
        Ok(WritePart::Frame(bytes)) => {
            format!("frame {} bytes {:08x}", bytes.len(), crc32c(&[bytes]))
        }
        Ok(WritePart::Seal(seal)) => format!("seal of {} frames {}", seal.frames, seal.digest),
        Err(Error { kind: Kind::Unavailable, .. }) => "the writer went away".to_owned(),
        Err(error) => format!("the writer gave up: {error}"),
    }
}
