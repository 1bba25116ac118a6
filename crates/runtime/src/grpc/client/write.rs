//! Sending a chunk: its parts as messages, and a watch on their progress.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dfs_core::api::{Error, Kind, Result, WriteHeader, WritePart, WriteStream};
use futures_util::{Stream, StreamExt, future, stream};
use tokio::time::sleep;
use tonic::transport::Channel;

use super::peer::Peer;
use crate::grpc::body::{self, Bypass};
use crate::grpc::error::from_status;
use crate::grpc::limit::{SEAL_TIMEOUT, SHORT_FRAME_BYTES_MAX, STALL_TIMEOUT};
use crate::grpc::wire::node_client::NodeClient;
use crate::grpc::wire::short_answer::Reply;
use crate::grpc::wire::short_call::Ask;
use crate::grpc::wire::{self, write_chunk_request::Step};

/// How often the watch looks.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// What the sending side and its watch tell each other.
#[derive(Default)]
struct Progress {
    messages: AtomicU64,
    is_sealed: AtomicBool,
    /// Why the source ended early: it is the reason for the caller, whatever
    /// the node then says of a chunk without a seal.
    failure: Mutex<Option<Error>>,
}

/// Sends one chunk and waits until the node has it.
pub(super) async fn write_chunk(
    channel: Channel,
    peer: &Peer,
    header: WriteHeader,
    mut parts: WriteStream,
) -> Result<()> {
    if !may_be_whole(&header) {
        return write_in_steps(channel, peer, header, parts).await;
    }
    let first = parts.next().await;
    let second = match &first {
        Some(Ok(WritePart::Frame(frame))) if frame.len() <= SHORT_FRAME_BYTES_MAX => {
            parts.next().await
        }
        _ => None,
    };
    if let (Some(Ok(WritePart::Frame(frame))), Some(Ok(WritePart::Seal(seal)))) = (&first, &second)
    {
        let whole = wire::WriteWhole {
            header: Some(header.into()),
            frame: frame.clone(),
            seal: Some((*seal).into()),
        };
        let of = |reply| matches!(reply, Reply::Write(_)).then_some(());
        return peer.ask(SEAL_TIMEOUT, Ask::Write(whole), of).await;
    }
    let parts = stream::iter(first.into_iter().chain(second)).chain(parts).boxed();
    write_in_steps(channel, peer, header, parts).await
}

/// Whether the chunk is one of a file so small that each may be one short
/// frame.
fn may_be_whole(header: &WriteHeader) -> bool {
    let chunks = u64::from(header.chunk.shape.coding.data.max(1));
    header.chunk.file_size.is_some_and(|size| size <= chunks * SHORT_FRAME_BYTES_MAX as u64)
}

async fn write_in_steps(
    channel: Channel,
    peer: &Peer,
    header: WriteHeader,
    parts: WriteStream,
) -> Result<()> {
    let sending = Arc::new(Progress::default());
    let body = body::of_request(messages(header, parts, sending.clone()));
    let mut client = NodeClient::new(Bypass::send(channel, body));
    let answer = tokio::select! {
        biased;
        answer = client.write_chunk(stream::empty()) => answer,
        error = watch(&sending, peer) => return Err(error),
    };
    let failure = sending.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (failure, answer) {
        (Some(failure), _) => Err(failure),
        (None, Ok(_)) => Ok(()),
        (None, Err(status)) => Err(from_status(&status, peer.name())),
    }
}

fn messages(
    header: WriteHeader,
    parts: WriteStream,
    sending: Arc<Progress>,
) -> impl Stream<Item = wire::WriteChunkRequest> + Send + 'static {
    let counted = sending.clone();
    let steps = parts
        .scan(sending, |sending, part| {
            if let Err(error) = &part {
                let mut failure = sending.failure.lock().unwrap_or_else(PoisonError::into_inner);
                *failure = Some(error.clone());
            }
            if matches!(part, Ok(WritePart::Seal(_))) {
                sending.is_sealed.store(true, Ordering::Relaxed);
            }
            future::ready(part.ok())
        })
        .map(|part| match part {
            WritePart::Frame(frame) => Step::Frame(frame),
            WritePart::Waiting => Step::Waiting(wire::Waiting {}),
            WritePart::Seal(seal) => Step::Seal(seal.into()),
        });
    stream::once(future::ready(Step::Header(header.into()))).chain(steps).map(move |step| {
        counted.messages.fetch_add(1, Ordering::Relaxed);
        wire::WriteChunkRequest { step: Some(step) }
    })
}

/// Ends when nothing has moved for too long: before the seal a message,
/// after it the answer.
async fn watch(sending: &Progress, peer: &Peer) -> Error {
    let mut seen = 0;
    let mut still = Duration::ZERO;
    loop {
        sleep(WATCH_INTERVAL).await;
        let messages = sending.messages.load(Ordering::Relaxed);
        still = if messages == seen { still + WATCH_INTERVAL } else { Duration::ZERO };
        seen = messages;
        let is_sealed = sending.is_sealed.load(Ordering::Relaxed);
        if is_sealed && still >= SEAL_TIMEOUT {
            let text = format!("{} did not seal a chunk within {} s", peer.name(), still.as_secs());
            return Error::new(Kind::Unavailable, text);
        }
        if !is_sealed && still >= STALL_TIMEOUT {
            let text = format!("{} took nothing for {} s", peer.name(), still.as_secs());
            return Error::new(Kind::Unavailable, text);
        }
    }
}
