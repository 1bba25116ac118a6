//! A node behind gRPC.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dfs_core::api::{
    ChunkRead, Error, FrameStream, Kind, NodeService, ReadRequest, Result, WriteHeader, WritePart,
    WriteStream,
};
use dfs_core::data::chunk::ChunkSeal;
use dfs_core::data::frame::STORED_MAX;
use dfs_core::id::Handle;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, future, stream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::call::{Calls, checked, not_taken, well_formed};
use super::share::Turns;
use super::short::Serve;
use crate::grpc::body::{self, Passed, Received};
use crate::grpc::convert::{Checked, need, node};
use crate::grpc::error::{from_status, to_status};
use crate::grpc::limit::{
    FRAMES_READ_AHEAD, NODE_MESSAGE_BYTES_MAX, SHORT_FRAME_BYTES_MAX, STALL_TIMEOUT,
};
use crate::grpc::wire::short_answer::Reply;
use crate::grpc::wire::short_call::Ask;
use crate::grpc::wire::{self, node_server, read_chunk_reply, write_chunk_request};

type Answer<T> = std::result::Result<Response<T>, Status>;

/// How the writer is called in an error's text.
const WRITER: &str = "the writer of this chunk";

/// The generated service in front of the role.
pub(super) struct Adapter {
    service: Arc<dyn NodeService>,
    calls: Calls,
    turns: Arc<Turns>,
}

impl Adapter {
    pub(super) fn new(service: Arc<dyn NodeService>, calls: Calls) -> Self {
        Self { service, calls, turns: Arc::default() }
    }
}

#[async_trait]
impl node_server::Node for Adapter {
    type ReadChunkStream = BoxStream<'static, std::result::Result<wire::ReadChunkReply, Status>>;

    async fn adopt(&self, request: Request<wire::AdoptRequest>) -> Answer<wire::NodeInfo> {
        let request = checked(request.into_inner().try_into())?;
        let service = self.service.clone();
        self.calls.answer(async move { service.adopt(request).await }, Into::into).await
    }

    async fn hello(&self, _: Request<wire::HelloRequest>) -> Answer<wire::HelloReply> {
        let service = self.service.clone();
        self.calls.answer(async move { service.hello().await }, Into::into).await
    }

    async fn release(&self, request: Request<wire::ReleaseRequest>) -> Answer<wire::ReleaseReply> {
        let context = checked(need("context", request.into_inner().context))?;
        let service = self.service.clone();
        let call = async move { service.release(context).await };
        self.calls.answer(call, |()| wire::ReleaseReply {}).await
    }

    async fn write_chunk(
        &self,
        mut request: Request<Streaming<wire::WriteChunkRequest>>,
    ) -> Answer<wire::WriteChunkReply> {
        let body = Passed::take(request.extensions_mut().remove());
        let messages = Received::of_request(body, NODE_MESSAGE_BYTES_MAX);
        let mut incoming = Incoming { messages };
        let (header, parts) = match incoming.step().await.map_err(|error| to_status(&error))? {
            Some(write_chunk_request::Step::Header(header)) => {
                (checked(header.try_into())?, incoming.into_parts())
            }
            _ => return Err(to_status(&out_of_place("a chunk's header comes first"))),
        };
        let service = self.service.clone();
        let turns = self.turns.clone();
        let call = async move {
            let _turn = turns.next().await;
            service.write_chunk(header, parts).await
        };
        self.calls.answer(call, |()| wire::WriteChunkReply {}).await
    }

    async fn read_chunk(
        &self,
        request: Request<wire::ReadChunkRequest>,
    ) -> Answer<Self::ReadChunkStream> {
        let request: ReadRequest = checked(request.into_inner().try_into())?;
        let service = self.service.clone();
        let read = self.calls.run(async move { service.read_chunk(request).await });
        let body = body::of_response(self.send(read.await?));
        let mut response = Response::new(stream::empty().boxed());
        response.extensions_mut().insert(Passed::by(body));
        Ok(response)
    }

    async fn delete_chunks(
        &self,
        request: Request<wire::DeleteChunksRequest>,
    ) -> Answer<wire::DeleteChunksReply> {
        let (context, handles) = checked(node::deletion(request.into_inner()))?;
        let service = self.service.clone();
        let call = async move { service.delete_chunks(context, handles).await };
        self.calls.answer(call, |()| wire::DeleteChunksReply {}).await
    }

    async fn rebuild_chunk(
        &self,
        request: Request<wire::RebuildChunkRequest>,
    ) -> Answer<wire::Receipt> {
        let (context, task) = checked(node::rebuild(request.into_inner()))?;
        let service = self.service.clone();
        let call = async move { service.rebuild_chunk(context, task).await };
        self.calls.answer(call, Into::into).await
    }

    async fn inventory(
        &self,
        request: Request<wire::InventoryRequest>,
    ) -> Answer<wire::InventoryReply> {
        let request = request.into_inner();
        let context = checked(need("context", request.context))?;
        let service = self.service.clone();
        let call = async move { service.inventory(context, request.after.map(Handle)).await };
        self.calls.answer(call, Into::into).await
    }

    async fn verify_chunk(
        &self,
        request: Request<wire::VerifyChunkRequest>,
    ) -> Answer<wire::Receipt> {
        let request = request.into_inner();
        let context = checked(need("context", request.context))?;
        let service = self.service.clone();
        let call = async move { service.verify_chunk(context, Handle(request.handle)).await };
        self.calls.answer(call, Into::into).await
    }
}

impl Adapter {
    /// Sends what is read. A task of its own takes the frames, so that a
    /// reader that takes none for a while loses the stream and nothing of the
    /// node is held for it.
    fn send(&self, read: ChunkRead) -> <Self as node_server::Node>::ReadChunkStream {
        use read_chunk_reply::Step;
        let reply = |step| Ok(wire::ReadChunkReply { step: Some(step) });
        let head = head_of(&read);
        let (sender, frames) = mpsc::channel(FRAMES_READ_AHEAD);
        let (end, ended) = oneshot::channel();
        self.calls.continue_with(async move {
            // The reader may have gone.
            let _ = end.send(pump(read.frames, sender).await);
        });
        let failure = stream::once(ended).filter_map(|end| future::ready(failure(end)));
        let frames = ReceiverStream::new(frames).map(move |frame| reply(Step::Frame(frame)));
        let failure = failure.map(|error| Err(to_status(&error)));
        stream::once(async move { reply(Step::Head(head)) }).chain(frames).chain(failure).boxed()
    }
}

fn head_of(read: &ChunkRead) -> wire::ReadHead {
    wire::ReadHead { header: Some(read.header.clone().into()), seal: Some(read.seal.into()) }
}

/// The short calls that a node takes.
pub(super) fn short(service: Arc<dyn NodeService>) -> Serve {
    Arc::new(move |ask| {
        let service = service.clone();
        let reply = async move {
            match ask {
                Ask::Write(whole) => write_whole(&*service, whole).await,
                Ask::Read(request) => read_frame(&*service, request).await,
                _ => Err(not_taken("node")),
            }
        };
        reply.boxed()
    })
}

/// Writes a chunk that came at once.
async fn write_whole(service: &dyn NodeService, whole: wire::WriteWhole) -> Result<Reply> {
    let wire::WriteWhole { header, frame, seal } = whole;
    let header: WriteHeader = well_formed(need("header", header))?;
    let seal: ChunkSeal = well_formed(need("seal", seal))?;
    if frame.len() > SHORT_FRAME_BYTES_MAX {
        return Err(out_of_place("a frame in one message is short"));
    }
    let parts = [Ok(WritePart::Frame(frame)), Ok(WritePart::Seal(seal))];
    service.write_chunk(header, stream::iter(parts).boxed()).await?;
    Ok(Reply::Write(wire::WriteChunkReply {}))
}

/// Reads one frame; then nothing of the node is held for its reader any more.
async fn read_frame(service: &dyn NodeService, request: wire::ReadChunkRequest) -> Result<Reply> {
    let request: ReadRequest = well_formed(request.try_into())?;
    if request.frames.len() != 1 {
        let text = format!("{} frames are asked for in a short call", request.frames.len());
        return Err(Error::new(Kind::Invalid, text));
    }
    let mut read = service.read_chunk(request).await?;
    let frame = timeout(STALL_TIMEOUT, read.frames.next()).await.map_err(|_| {
        let text = format!("no frame could be read for {} s", STALL_TIMEOUT.as_secs());
        Error::new(Kind::Unavailable, text)
    })?;
    let head = Some(head_of(&read));
    Ok(Reply::Read(wire::ReadFrame { head, frame: frame.transpose()? }))
}

/// Takes frames and hands them on, until there are no more or nobody is there
/// to take them.
async fn pump(mut frames: FrameStream, sender: mpsc::Sender<Bytes>) -> Result<()> {
    let stalled = |what: &str| {
        let text = format!("{what} for {} s", STALL_TIMEOUT.as_secs());
        Error::new(Kind::Unavailable, text)
    };
    loop {
        let frame = tokio::select! {
            biased;
            () = sender.closed() => return Ok(()),
            frame = timeout(STALL_TIMEOUT, frames.next()) => frame,
        };
        let Some(frame) = frame.map_err(|_| stalled("no frame could be read"))? else {
            return Ok(());
        };
        match timeout(STALL_TIMEOUT, sender.send(frame?)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Ok(()),
            Err(_) => return Err(stalled("the reader of this chunk took no frame")),
        }
    }
}

/// Why a stream of frames is not whole, if it is not: the reader must not
/// take its end for the chunk's.
fn failure(end: std::result::Result<Result<()>, oneshot::error::RecvError>) -> Option<Error> {
    end.unwrap_or_else(|_dropped| {
        let text = "the node gave up handing this chunk out; its log may say more";
        Err(Error::new(Kind::Unavailable, text))
    })
    .err()
}

/// A chunk on its way in.
struct Incoming {
    messages: Received<wire::WriteChunkRequest>,
}

impl Incoming {
    /// The parts after the header. After an error or the seal nothing follows.
    fn into_parts(self) -> WriteStream {
        stream::unfold(Some(self), |incoming| async {
            let mut incoming = incoming?;
            let part = incoming.part().await.transpose()?;
            let goes_on = matches!(part, Ok(WritePart::Frame(_) | WritePart::Waiting));
            Some((part, goes_on.then_some(incoming)))
        })
        .boxed()
    }

    async fn part(&mut self) -> Result<Option<WritePart>> {
        match self.step().await? {
            Some(write_chunk_request::Step::Frame(frame)) if frame.len() > STORED_MAX => {
                let text = format!("a frame has {} bytes, at most {STORED_MAX}", frame.len());
                Err(out_of_place(&text))
            }
            Some(write_chunk_request::Step::Frame(frame)) => Ok(Some(WritePart::Frame(frame))),
            Some(write_chunk_request::Step::Waiting(_)) => Ok(Some(WritePart::Waiting)),
            Some(write_chunk_request::Step::Seal(seal)) => {
                let seal: Checked<_> = seal.try_into();
                let seal = seal.map_err(|bad| out_of_place(&bad.to_string()))?;
                Ok(Some(WritePart::Seal(seal)))
            }
            Some(write_chunk_request::Step::Header(_)) => {
                Err(out_of_place("a chunk has one header"))
            }
            None => Ok(None),
        }
    }

    /// The next message's content; `None` at the end of the stream.
    async fn step(&mut self) -> Result<Option<write_chunk_request::Step>> {
        let message = timeout(STALL_TIMEOUT, self.messages.message()).await.map_err(|_| {
            let text = format!("{WRITER} sent nothing for {} s", STALL_TIMEOUT.as_secs());
            Error::new(Kind::Unavailable, text)
        })?;
        match message.map_err(|status| from_status(&status, WRITER))? {
            None => Ok(None),
            Some(wire::WriteChunkRequest { step: Some(step) }) => Ok(Some(step)),
            Some(_) => Err(out_of_place("a message is empty or of an unknown kind")),
        }
    }
}

fn out_of_place(rule: &str) -> Error {
    Error::new(Kind::Invalid, format!("the chunk's stream is not well-formed: {rule}"))
}
