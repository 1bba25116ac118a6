//! Handing a chunk out.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::role::Node;
use super::store::{Image, Store};
use crate::api::{ChunkRead, Error, FrameStream, Kind, ReadRequest, Result};
use crate::env::{Env, Work, run};

/// Frames that are read ahead of the reader.
const FRAMES_AHEAD_MAX: usize = 1;
/// A reader that takes nothing for this long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

impl Node {
    /// Opens a chunk and streams the frames asked for.
    pub(super) async fn hand_out(&self, request: ReadRequest) -> Result<ChunkRead> {
        let ReadRequest { cluster, handle, frames } = request;
        let turn = self.turn(&self.reads, 1).await?;
        let store = Arc::clone(&self.store);
        let (image, first) = self
            .on_disk(move || {
                let image = store.open_image(cluster, handle)?;
                let end = frames.end.min(image.seal().frames);
                let rest = frames.start.min(end)..end;
                // A single frame, as small chunks have, needs no second hop.
                let first = match rest.len() {
                    1 => Some(store.read_frame(&image, rest.start)?),
                    _ => None,
                };
                Ok::<_, Error>((Arc::new(image), (first, rest)))
            })
            .await?;
        let (header, seal) = (image.header().clone(), image.seal());
        let frames = match first {
            (Some(frame), _) => stream::once(async move {
                let _turn = turn;
                Ok(frame)
            })
            .boxed(),
            (None, rest) if rest.is_empty() => stream::empty().boxed(),
            (None, rest) => {
                let (sender, receiver) = mpsc::channel(FRAMES_AHEAD_MAX);
                let (env, store) = (self.env.clone(), Arc::clone(&self.store));
                let count = rest.len();
                self.env.spawn(async move {
                    let _turn = turn;
                    read_ahead(&env, &store, &image, rest, &sender).await;
                });
                receive(receiver, count)
            }
        };
        Ok(ChunkRead { header, seal, frames })
    }
}

/// Reads frames one by one and sends them on, until one is bad or nobody
/// takes them any more.
async fn read_ahead(
    env: &Env,
    store: &Arc<Store>,
    image: &Arc<Image>,
    frames: Range<u32>,
    sender: &mpsc::Sender<Result<Bytes>>,
) {
    for index in frames {
        let (store, image) = (Arc::clone(store), Arc::clone(image));
        let job = move || store.read_frame(&image, index);
        let frame = run(&*env.pool, Work::Disk, job).await;
        let is_last = frame.is_err();
        let sent = timeout(SILENCE_MAX, sender.send(frame)).await;
        if is_last || !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

/// The frames that come through `receiver`; an error where fewer than `count`
/// come, so that nobody takes a part for the whole.
fn receive(receiver: mpsc::Receiver<Result<Bytes>>, count: usize) -> FrameStream {
    stream::unfold((receiver, count), |(mut receiver, count)| async move {
        if count == 0 {
            return None;
        }
        let frame = receiver.recv().await.unwrap_or_else(|| {
            let text = "the node gave up handing the chunk out: ask again, or elsewhere";
            Err(Error::new(Kind::Unavailable, text))
        });
        let left = if frame.is_ok() { count - 1 } else { 0 };
        Some((frame, (receiver, left)))
    })
    .boxed()
}
