//! A chunk written over the simulated network: frames out, one answer back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dfs_core::api::{NodeService, Result, WriteHeader, WritePart, WriteStream};
use futures_util::stream::{self, StreamExt};
use tokio::sync::mpsc;

use super::message::Message;
use super::path::{Broken, Path, Way};
use super::{CALL_DEADLINE, FRAMES_IN_FLIGHT_MAX, SILENCE_MAX};
use crate::host::Host;

const WHAT: &str = "write_chunk";

/// What goes out in a write. A stream that closes without its end was broken.
enum Piece {
    Part(Result<WritePart>),
    End,
}

pub(super) async fn write_chunk(
    path: &Path,
    header: WriteHeader,
    mut parts: WriteStream,
) -> Result<()> {
    let (sender, receiver) = mpsc::channel(FRAMES_IN_FLIGHT_MAX);
    let arriving = arriving(path.clone(), receiver);
    let (ordering, run) = (path.clone(), header.context.run);
    let ask = |node: Arc<dyn NodeService>| async move {
        let (order, taking) = (ordering.order(WHAT, run), ordering.taking());
        let bytes = Arc::new(AtomicU64::new(0));
        let answer = node.write_chunk(header, counted(arriving, bytes.clone())).await;
        if answer.is_ok() {
            taking.taken(bytes.load(Ordering::Relaxed));
        }
        order.answered(answer)
    };
    let mut work = path.begin(WHAT, Host::node, ask).await?;
    let forward = async {
        while let Some(part) = parts.next().await {
            path.travel(Way::Out, Message::of_write(&part)).await?;
            if sender.send(Piece::Part(part)).await.is_err() {
                return Ok(());
            }
        }
        // The node may have heard enough.
        let _ = sender.send(Piece::End).await;
        Ok(())
    };
    let process = work.process().clone();
    let broken = tokio::select! {
        biased;
        answer = &mut work => {
            let answer = answer.unwrap_or_else(|_| Err(path.reset()));
            return path.answer(WHAT, answer).await;
        }
        sent = forward => sent.err(),
        () = path.silence(&process) => {
            work.let_go();
            return Err(path.silent());
        }
    };
    let error = match broken {
        None => {
            let answer = path.wait(WHAT, CALL_DEADLINE, work).await;
            return path.answer(WHAT, answer).await;
        }
        Some(Broken::Lost) => {
            tokio::time::sleep(SILENCE_MAX).await;
            path.silent()
        }
        Some(broken) => path.error_of(broken, WHAT).await,
    };
    // The node hears that the stream broke, and cleans up by itself.
    work.let_go();
    drop(sender);
    Err(error)
}

/// Counts the bytes of the frames that arrive.
fn counted(parts: WriteStream, bytes: Arc<AtomicU64>) -> WriteStream {
    let count = move |part: &Result<WritePart>| {
        if let Ok(WritePart::Frame(frame)) = part {
            bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
        }
    };
    parts.inspect(count).boxed()
}

/// The node's end of a write.
struct Arriving {
    path: Path,
    receiver: mpsc::Receiver<Piece>,
    silence: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_over: bool,
}

fn arriving(path: Path, receiver: mpsc::Receiver<Piece>) -> WriteStream {
    let watched = path.clone();
    let silence = Box::pin(async move { watched.silence(watched.caller()).await });
    let state = Arriving { path, receiver, silence, is_over: false };
    stream::unfold(state, |mut state| async move {
        let part = state.next().await?;
        Some((part, state))
    })
    .boxed()
}

impl Arriving {
    async fn next(&mut self) -> Option<Result<WritePart>> {
        if self.is_over {
            return None;
        }
        let error = tokio::select! {
            biased;
            piece = self.receiver.recv() => match piece {
                Some(Piece::Part(part)) => return Some(part),
                Some(Piece::End) => {
                    self.is_over = true;
                    return None;
                }
                None if self.path.is_cut() => {
                    (&mut self.silence).await;
                    self.path.silent()
                }
                None => self.path.reset(),
            },
            () = &mut self.silence => self.path.silent(),
        };
        self.is_over = true;
        Some(Err(error))
    }
}
