//! Short calls: taken from one stream, each run in a task of its own, and
//! answered together where they end together.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use dfs_core::api::{Error, Kind, Result};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use prost::Message;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use super::call::Calls;
use super::share;
use crate::grpc::error::to_failure;
use crate::grpc::limit::{SHORT_CALLS_MAX, STALL_TIMEOUT};
use crate::grpc::short::{self, ITEM_BYTES_MAX};
use crate::grpc::wire::short_answer::Reply;
use crate::grpc::wire::short_call::Ask;
use crate::grpc::wire::{ShortAnswer, ShortAnswers, ShortCall, ShortCalls, short_server};

/// What a role makes of a call.
pub(super) type Serve = Arc<dyn Fn(Ask) -> BoxFuture<'static, Result<Reply>> + Send + Sync>;

/// The generated service in front of a role.
pub(super) struct Adapter {
    serve: Serve,
    calls: Calls,
}

impl Adapter {
    pub(super) fn new(serve: Serve, calls: Calls) -> Self {
        Self { serve, calls }
    }
}

#[async_trait]
impl short_server::Short for Adapter {
    type CallsStream = BoxStream<'static, std::result::Result<ShortAnswers, Status>>;

    async fn calls(
        &self,
        request: Request<Streaming<ShortCalls>>,
    ) -> std::result::Result<Response<Self::CallsStream>, Status> {
        let (answers, ready) = mpsc::channel(SHORT_CALLS_MAX);
        let taking = take(request.into_inner(), self.serve.clone(), self.calls.clone(), answers);
        self.calls.continue_with(share::for_peer(share::peer(), taking));
        Ok(Response::new(in_batches(ready)))
    }
}

/// Sets calls going as they come, at most [`SHORT_CALLS_MAX`] at once, until
/// their caller goes or the server stops.
async fn take(
    mut messages: Streaming<ShortCalls>,
    serve: Serve,
    calls: Calls,
    answers: mpsc::Sender<ShortAnswer>,
) {
    let slots = Arc::new(Semaphore::new(SHORT_CALLS_MAX));
    loop {
        let message = tokio::select! {
            biased;
            () = answers.closed() => return,
            () = calls.stopping() => return,
            message = messages.message() => message,
        };
        let Ok(Some(message)) = message else { return };
        for ShortCall { number, ask } in message.calls {
            let slot = tokio::select! {
                biased;
                () = answers.closed() => return,
                () = calls.stopping() => return,
                slot = slots.clone().acquire_owned() => slot.expect("it is never closed"),
            };
            let answers = answers.clone();
            let result = ask.map(|ask| serve(ask));
            let call = async move {
                let none = || Error::new(Kind::Invalid, "the call is empty or of an unknown kind");
                result.ok_or_else(none)?.await
            };
            calls.start(call, move |result| async move {
                answer(&answers, number, result).await;
                drop(slot);
            });
        }
    }
}

/// Hands a call's answer on. A caller that takes nothing for too long loses
/// it, and hears so from its own clock.
async fn answer(answers: &mpsc::Sender<ShortAnswer>, number: u64, result: Result<Reply>) {
    let reply = result.unwrap_or_else(|error| Reply::Failure(to_failure(&error)));
    let answer = shortened(ShortAnswer { number, reply: Some(reply) });
    let Err(TrySendError::Full(answer)) = answers.try_send(answer) else { return };
    if timeout(STALL_TIMEOUT, answers.send(answer)).await.is_err() {
        tracing::debug!(number, "a caller takes no answers");
    }
}

/// An answer that is too long for any message is a failure of its call alone.
fn shortened(answer: ShortAnswer) -> ShortAnswer {
    let bytes = answer.encoded_len();
    if bytes <= ITEM_BYTES_MAX {
        return answer;
    }
    let text = format!("the answer has {bytes} bytes, at most {ITEM_BYTES_MAX} are allowed");
    let failure = to_failure(&Error::new(Kind::Invalid, text));
    ShortAnswer { number: answer.number, reply: Some(Reply::Failure(failure)) }
}

fn in_batches(
    ready: mpsc::Receiver<ShortAnswer>,
) -> BoxStream<'static, std::result::Result<ShortAnswers, Status>> {
    stream::unfold((ready, VecDeque::new()), |(mut ready, mut unsent)| async move {
        if unsent.is_empty() {
            unsent.push_back(ready.recv().await?);
        }
        while unsent.len() < SHORT_CALLS_MAX
            && let Ok(next) = ready.try_recv()
        {
            unsent.push_back(next);
        }
        let answers = short::batch(&mut unsent);
        Some((Ok(ShortAnswers { answers }), (ready, unsent)))
    })
    .boxed()
}
