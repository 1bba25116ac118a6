//! A node in another process.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use dfs_core::api::{
    Adopt, ChunkRead, Context, Error, Hello, InventoryPage, Kind, NodeInfo, NodeService,
    ReadRequest, RebuildTask, Receipt, Result, WriteHeader, WriteStream,
};
use dfs_core::data::chunk::{ChunkHeader, ChunkSeal};
use dfs_core::id::Handle;
use futures_util::{StreamExt, stream};
use tokio::time::timeout;
use tonic::Response;
use tonic::transport::Channel;

use super::peer::{Line, Peer};
use super::write;
use crate::grpc::body::{Bypass, Passed, Received};
use crate::grpc::convert::{need, node};
use crate::grpc::error::from_status;
use crate::grpc::limit::{CALL_TIMEOUT, LONG_CALL_TIMEOUT, NODE_MESSAGE_BYTES_MAX, STALL_TIMEOUT};
use crate::grpc::wire::node_client::NodeClient;
use crate::grpc::wire::short_answer::Reply;
use crate::grpc::wire::short_call::Ask;
use crate::grpc::wire::{self, read_chunk_reply::Step};

/// The node that listens at some address.
pub struct NodeStub {
    peer: Peer,
}

impl NodeStub {
    pub(super) fn new(line: Line, address: &str) -> Self {
        Self { peer: Peer::new(line, "node", address) }
    }

    fn client(&self) -> Result<NodeClient<Channel>> {
        let client = NodeClient::new(self.peer.channel()?);
        Ok(client.max_decoding_message_size(NODE_MESSAGE_BYTES_MAX))
    }
}

impl NodeStub {
    /// Reads one frame by a short call.
    async fn read_frame(&self, request: ReadRequest) -> Result<ChunkRead> {
        let wanted = request.frames.clone();
        let of = |reply| match reply {
            Reply::Read(read) => Some(read),
            _ => None,
        };
        let read = self.peer.ask(CALL_TIMEOUT, Ask::Read(request.into()), of).await?;
        let (header, seal) = self.take_head(read.head.unwrap_or_default())?;
        if u32::from(read.frame.is_some()) != frames_in(&wanted, &seal) {
            return Err(self.peer.nonsense("it is not the one frame that was asked for"));
        }
        let frame = read.frame.map(|frame| self.peer.check_frame(frame)).transpose()?;
        Ok(ChunkRead { header, seal, frames: stream::iter(frame.map(Ok)).boxed() })
    }

    fn take_head(&self, head: wire::ReadHead) -> Result<(ChunkHeader, ChunkSeal)> {
        let header = self.peer.take(need("header", head.header))?;
        Ok((header, self.peer.take(need("seal", head.seal))?))
    }
}

/// How many frames of `wanted` the chunk has.
fn frames_in(wanted: &Range<u32>, seal: &ChunkSeal) -> u32 {
    wanted.end.min(seal.frames).saturating_sub(wanted.start)
}

#[async_trait]
impl NodeService for NodeStub {
    async fn hello(&self) -> Result<Hello> {
        let mut client = self.client()?;
        let call = client.hello(wire::HelloRequest {});
        self.peer.answer(CALL_TIMEOUT, call, TryInto::try_into).await
    }

    async fn release(&self, context: Context) -> Result<()> {
        let mut client = self.client()?;
        let call = client.release(wire::ReleaseRequest { context: Some(context.into()) });
        self.peer.answer(CALL_TIMEOUT, call, |_| Ok(())).await
    }

    async fn adopt(&self, request: Adopt) -> Result<NodeInfo> {
        let mut client = self.client()?;
        let request = wire::AdoptRequest::from(request);
        self.peer.answer(CALL_TIMEOUT, client.adopt(request), TryInto::try_into).await
    }

    async fn write_chunk(&self, header: WriteHeader, parts: WriteStream) -> Result<()> {
        write::write_chunk(self.peer.channel()?, &self.peer, header, parts).await
    }

    async fn read_chunk(&self, request: ReadRequest) -> Result<ChunkRead> {
        if request.frames.len() == 1 {
            return self.read_frame(request).await;
        }
        let mut client = NodeClient::new(Bypass::receive(self.peer.channel()?));
        let wanted = request.frames.clone();
        let call = async {
            let mut answer = client.read_chunk(wire::ReadChunkRequest::from(request)).await?;
            let passed = Passed::take(answer.extensions_mut().remove());
            // The metadata stays: the protocol's number is in it.
            let (metadata, _, extensions) = answer.into_parts();
            Ok(Response::from_parts(metadata, passed, extensions))
        };
        let body = self.peer.answer(CALL_TIMEOUT, call, Ok).await?;
        let messages = Received::of_response(body, NODE_MESSAGE_BYTES_MAX);
        let mut reading = Reading { peer: self.peer.clone(), messages, frames_left: 0 };
        let Some(Step::Head(head)) = reading.step().await? else {
            return Err(self.peer.nonsense("a chunk's head comes first"));
        };
        let (header, seal) = self.take_head(head)?;
        reading.frames_left = frames_in(&wanted, &seal);
        let frames = stream::unfold(Some(reading), |reading| async {
            let mut reading = reading?;
            let frame = reading.frame().await.transpose()?;
            let goes_on = frame.is_ok();
            Some((frame, goes_on.then_some(reading)))
        });
        Ok(ChunkRead { header, seal, frames: frames.boxed() })
    }

    async fn delete_chunks(&self, context: Context, handles: Vec<Handle>) -> Result<()> {
        let mut client = self.client()?;
        let call = client.delete_chunks(node::delete_request(context, handles));
        self.peer.answer(CALL_TIMEOUT, call, |_| Ok(())).await
    }

    async fn rebuild_chunk(&self, context: Context, task: RebuildTask) -> Result<Receipt> {
        let mut client = self.client()?;
        let call = client.rebuild_chunk(node::rebuild_request(context, task));
        self.peer.answer(LONG_CALL_TIMEOUT, call, TryInto::try_into).await
    }

    async fn inventory(&self, context: Context, after: Option<Handle>) -> Result<InventoryPage> {
        let mut client = self.client()?;
        let context = Some(context.into());
        let request = wire::InventoryRequest { context, after: after.map(|it| it.0) };
        self.peer.answer(CALL_TIMEOUT, client.inventory(request), TryInto::try_into).await
    }

    async fn verify_chunk(&self, context: Context, handle: Handle) -> Result<Receipt> {
        let mut client = self.client()?;
        let context = Some(context.into());
        let request = wire::VerifyChunkRequest { context, handle: handle.0 };
        self.peer.answer(LONG_CALL_TIMEOUT, client.verify_chunk(request), TryInto::try_into).await
    }
}

/// A chunk on its way in.
struct Reading {
    peer: Peer,
    messages: Received<wire::ReadChunkReply>,
    /// Frames that were asked for, are there, and have not come yet.
    frames_left: u32,
}

impl Reading {
    async fn frame(&mut self) -> Result<Option<Bytes>> {
        match self.step().await? {
            Some(Step::Frame(frame)) => {
                let left = self.frames_left.checked_sub(1);
                self.frames_left =
                    left.ok_or_else(|| self.peer.nonsense("more frames came than were asked for"))?;
                self.peer.check_frame(frame).map(Some)
            }
            Some(Step::Head(_)) => Err(self.peer.nonsense("a chunk has one head")),
            None if self.frames_left > 0 => {
                let rule = format!("{} frames are missing at the end", self.frames_left);
                Err(self.peer.nonsense(&rule))
            }
            None => Ok(None),
        }
    }

    /// The next message's content; `None` at the end of the stream.
    async fn step(&mut self) -> Result<Option<Step>> {
        let message = timeout(STALL_TIMEOUT, self.messages.message()).await.map_err(|_| {
            let (peer, waited) = (self.peer.name(), STALL_TIMEOUT.as_secs());
            Error::new(Kind::Unavailable, format!("{peer} sent nothing for {waited} s"))
        })?;
        match message.map_err(|status| from_status(&status, self.peer.name()))? {
            None => Ok(None),
            Some(wire::ReadChunkReply { step: Some(step) }) => Ok(Some(step)),
            Some(_) => Err(self.peer.nonsense("a message is empty or of an unknown kind")),
        }
    }
}
