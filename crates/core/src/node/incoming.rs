//! A chunk that is coming in, frame by frame, from a client or from peers.
//!
//! One of at most one frame stays in memory until its seal, and goes into a
//! pack where it is short; a longer one is written as it comes. Dropped before
//! its seal, it leaves nothing.

use std::sync::Arc;

use bytes::Bytes;

use super::store::{Claim, Draft, SmallDraft, Store};
use crate::api::{Error, Result};
use crate::data::chunk::{ChunkHeader, ChunkSeal};
use crate::env::{Env, Work, run, run_over};
use crate::limit::limit;
use crate::mark::{Mark, reached};

/// A stored frame that is longer than this gets a file of its own: writing it
/// past the page cache saves more than sharing a sync does. Measured with
/// files of 1 MiB.
const PACKED_BYTES_MAX: usize = 512 << 10;

/// A chunk of which some frames have come.
pub(super) struct Incoming {
    env: Env,
    store: Arc<Store>,
    came: Came,
}

enum Came {
    /// At most one frame.
    Little(Claim, ChunkHeader, Option<Bytes>),
    /// More.
    Much(Draft),
}

impl Incoming {
    /// Nothing of chunk `header` has come yet.
    pub(super) fn new(env: &Env, claim: Claim, header: ChunkHeader) -> Self {
        let store = Arc::clone(claim.store());
        Self { env: env.clone(), store, came: Came::Little(claim, header, None) }
    }

    /// Checks and takes the next stored frame.
    pub(super) async fn push(self, frame: Bytes) -> Result<Self> {
        let Self { env, store, came } = self;
        let came = match came {
            Came::Little(claim, header, None) => Came::Little(claim, header, Some(frame)),
            Came::Little(claim, header, Some(first)) => {
                let job = move || {
                    let mut draft = Draft::begin(claim, header)?;
                    draft.append(&first)?;
                    draft.append(&frame)?;
                    Ok::<_, Error>(Came::Much(draft))
                };
                run(&*env.pool, Work::Disk, job).await?
            }
            Came::Much(mut draft) => {
                let job = move || draft.append(&frame).map(|()| Came::Much(draft));
                run(&*env.pool, Work::Disk, job).await?
            }
        };
        Ok(Self { env, store, came })
    }

    /// Makes the chunk whole, durable and visible. With `must_read_back` it
    /// is first read from the disk and checked against the seal's digest.
    pub(super) async fn seal(self, seal: ChunkSeal, must_read_back: bool) -> Result<()> {
        let Self { env, store, came } = self;
        match came {
            Came::Little(claim, header, Some(frame))
                if frame.len() > limit(PACKED_BYTES_MAX, 16 << 10) =>
            {
                reached(Mark::ChunkOfItsOwnFile);
                let job = move || {
                    let mut draft = Draft::begin(claim, header)?;
                    draft.append(&frame)?;
                    publish(draft, seal, must_read_back)
                };
                run(&*env.pool, Work::Disk, job).await
            }
            Came::Little(claim, header, frame) => {
                let bytes = frame.as_ref().map_or(0, Bytes::len);
                let job = move || SmallDraft::new(claim, header, frame, &seal);
                let mut draft = run_over(&*env.pool, bytes, job).await?;
                if must_read_back {
                    draft = draft.must_read_back(seal);
                }
                store.put_small(draft).await
            }
            Came::Much(draft) => {
                let job = move || publish(draft, seal, must_read_back);
                run(&*env.pool, Work::Disk, job).await
            }
        }
    }
}

fn publish(mut draft: Draft, seal: ChunkSeal, must_read_back: bool) -> Result<()> {
    draft.finish(&seal)?;
    if must_read_back {
        draft.read_back(&seal)?;
    }
    draft.publish()
}
