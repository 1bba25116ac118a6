//! Short calls: all those to one peer share one stream, and those that are
//! made while a message is under way go together in the next one.
//!
//! A call of its own costs both ends headers, trailers, a stream's state and
//! several wake-ups; for a file of a few KiB that is most of its cost.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dfs_core::api::{Error, Kind, Result};
use prost::Message;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::peer::Peer;
use crate::grpc::error::{from_failure, from_status};
use crate::grpc::limit::{CALL_TIMEOUT, COORDINATOR_MESSAGE_BYTES_MAX, SHORT_CALLS_MAX};
use crate::grpc::protocol::check_answer;
use crate::grpc::short;
use crate::grpc::wire::short_answer::Reply;
use crate::grpc::wire::short_call::Ask;
use crate::grpc::wire::short_client::ShortClient;
use crate::grpc::wire::{ShortAnswer, ShortAnswers, ShortCall, ShortCalls};

/// The way of short calls to one peer: a stream that is opened when it is
/// first needed, and again after it was lost.
pub(super) struct ShortWay {
    channel: Channel,
    runtime: Handle,
    asked: Mutex<Option<mpsc::Sender<Asked>>>,
}

/// A call and who waits for its answer.
struct Asked {
    ask: Ask,
    answer: oneshot::Sender<Result<Reply>>,
}

impl ShortWay {
    /// Must be called inside a runtime.
    pub(super) fn over(channel: Channel) -> Self {
        Self { channel, runtime: Handle::current(), asked: Mutex::default() }
    }

    /// Makes a call and waits for its reply.
    pub(super) async fn ask(&self, peer: &Peer, deadline: Duration, ask: Ask) -> Result<Reply> {
        let mut asking = Asking { short: self, way: self.open(peer), is_answered: false };
        let call = async {
            let (answer, answered) = oneshot::channel();
            let lost = || Error::new(Kind::Unavailable, lost_text(peer.name()));
            let sent = asking.way.send(Asked { ask, answer }).await;
            sent.map_err(|_closed| lost())?;
            answered.await.map_err(|_dropped| lost())?
        };
        let answer = timeout(deadline, call).await;
        asking.is_answered = answer.is_ok();
        answer.unwrap_or_else(|_elapsed| Err(peer.silent(deadline)))
    }

    fn open(&self, peer: &Peer) -> mpsc::Sender<Asked> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(way) = asked.as_ref().filter(|way| !way.is_closed()) {
            return way.clone();
        }
        let (way, waiting) = mpsc::channel(SHORT_CALLS_MAX);
        self.runtime.spawn(drive(self.channel.clone(), peer.name().to_owned(), waiting));
        *asked = Some(way.clone());
        way
    }

    /// Later calls go over a new stream; those under way keep theirs.
    fn leave(&self, way: &mpsc::Sender<Asked>) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.as_ref().is_some_and(|present| present.same_channel(way)) {
            *asked = None;
        }
    }
}

/// A call under way. What its caller gives up without an answer may never be
/// answered, and must not hold up those who come later.
struct Asking<'a> {
    short: &'a ShortWay,
    way: mpsc::Sender<Asked>,
    is_answered: bool,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.short.leave(&self.way);
        }
    }
}

/// Carries the calls that come in `asked` until there are no more, or the
/// stream is lost; then whoever still waits is told.
async fn drive(channel: Channel, peer: String, mut asked: mpsc::Receiver<Asked>) {
    let mut under_way = UnderWay { peer, next_number: 0, waiting: HashMap::new() };
    let Err(error) = carry(channel, &mut under_way, &mut asked).await else { return };
    asked.close();
    for (_, answer) in under_way.waiting {
        // Who asked may have gone.
        let _ = answer.send(Err(error.clone()));
    }
    while let Some(Asked { answer, .. }) = asked.recv().await {
        let _ = answer.send(Err(error.clone()));
    }
}

async fn carry(
    channel: Channel,
    under_way: &mut UnderWay,
    asked: &mut mpsc::Receiver<Asked>,
) -> Result<()> {
    let (messages, outgoing) = mpsc::channel::<ShortCalls>(1);
    let mut client =
        ShortClient::new(channel).max_decoding_message_size(COORDINATOR_MESSAGE_BYTES_MAX);
    let opened = timeout(CALL_TIMEOUT, client.calls(ReceiverStream::new(outgoing))).await;
    let opened = opened.map_err(|_| {
        let text = format!("{} did not answer within {} s", under_way.peer, CALL_TIMEOUT.as_secs());
        Error::new(Kind::Unavailable, text)
    })?;
    let opened = opened.map_err(|status| from_status(&status, &under_way.peer))?;
    check_answer(opened.metadata(), &under_way.peer)?;
    let mut answers: Streaming<ShortAnswers> = opened.into_inner();
    let mut incoming = Vec::new();
    let mut unsent: VecDeque<ShortCall> = VecDeque::new();
    let mut is_over = false;
    while !is_over || !under_way.waiting.is_empty() {
        tokio::select! {
            biased;
            message = answers.message() => match message {
                Ok(Some(message)) => under_way.take(message)?,
                Ok(None) => return Err(Error::new(Kind::Unavailable, lost_text(&under_way.peer))),
                Err(status) => return Err(from_status(&status, &under_way.peer)),
            },
            Ok(room) = messages.reserve(), if !unsent.is_empty() => {
                room.send(ShortCalls { calls: short::batch(&mut unsent) });
            }
            count = asked.recv_many(&mut incoming, SHORT_CALLS_MAX),
                if unsent.is_empty() && !is_over =>
            {
                is_over = count == 0;
                unsent.extend(incoming.drain(..).filter_map(|asked| under_way.begin(asked)));
            }
            () = under_way.abandoned(), if is_over => return Ok(()),
        }
    }
    Ok(())
}

/// The calls of one stream that have no answer yet.
struct UnderWay {
    peer: String,
    next_number: u64,
    waiting: HashMap<u64, oneshot::Sender<Result<Reply>>>,
}

impl UnderWay {
    /// Returns when nobody waits for any answer any more.
    async fn abandoned(&mut self) {
        for answer in self.waiting.values_mut() {
            answer.closed().await;
        }
    }

    /// A call's message, unless nobody waits for its answer any more, or it is
    /// too long to be sent to anybody.
    fn begin(&mut self, Asked { ask, answer }: Asked) -> Option<ShortCall> {
        if answer.is_closed() {
            return None;
        }
        let call = ShortCall { number: self.next_number, ask: Some(ask) };
        if call.encoded_len() > short::ITEM_BYTES_MAX {
            let text = format!(
                "a message to {} would have {} bytes, at most {} are allowed",
                self.peer,
                call.encoded_len(),
                short::ITEM_BYTES_MAX
            );
            let _ = answer.send(Err(Error::new(Kind::Invalid, text)));
            return None;
        }
        self.next_number += 1;
        self.waiting.insert(call.number, answer);
        Some(call)
    }

    /// # Errors
    /// `Internal` for answers that nobody can make sense of.
    fn take(&mut self, message: ShortAnswers) -> Result<()> {
        for ShortAnswer { number, reply } in message.answers {
            let reply = match reply {
                Some(Reply::Failure(failure)) => Err(from_failure(&failure)),
                Some(reply) => Ok(reply),
                None => return Err(nonsense(&self.peer, "an answer is empty")),
            };
            let Some(answer) = self.waiting.remove(&number) else {
                return Err(nonsense(&self.peer, "an answer to no call"));
            };
            // Who asked may have gone.
            let _ = answer.send(reply);
        }
        Ok(())
    }
}

fn lost_text(peer: &str) -> String {
    format!("cannot reach {peer}: the connection was lost")
}

fn nonsense(peer: &str, rule: &str) -> Error {
    Error::new(Kind::Internal, format!("{peer} answered what is not well-formed: {rule}"))
}
