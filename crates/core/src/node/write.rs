//! Taking a chunk from a client.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::try_join;
use tokio::time::{sleep, timeout};

use super::incoming::Incoming;
use super::role::Node;
use super::store::Claim;
use crate::api::{Error, Kind, Result, WRITE_RENEWAL_INTERVAL, WritePart, WriteStream};
use crate::data::chunk::{ChunkHeader, ChunkSeal};
use crate::id::Handle;

/// A writer that sends nothing for this long is given up: one whose source is
/// slow says so more often.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const _: () = assert!(2 * WRITE_RENEWAL_INTERVAL.as_secs() < SILENCE_MAX.as_secs());

/// How often a write looks whether another write of its chunk has ended.
const CLAIM_PAUSE: Duration = Duration::from_millis(50);
/// Looks after which it is refused: 5 s.
const CLAIM_TRIES_MAX: u32 = 100;

impl Node {
    /// Takes one chunk; returns once it is durable.
    pub(super) async fn take(&self, header: ChunkHeader, mut parts: WriteStream) -> Result<()> {
        let _turn = self.turn(&self.writes, 1).await?;
        let handle = header.handle;
        header.validate().map_err(|error| {
            Error::new(Kind::Invalid, format!("chunk {handle} is refused: {error}"))
        })?;
        let claim = self.claim_when_free(handle).await?;
        if self.store.has_good(handle) {
            return self.take_again(header, parts).await;
        }
        let mut incoming = Incoming::new(&self.env, claim, header);
        let mut part = next_part(&mut parts).await?;
        loop {
            match part {
                // A frame is written while the next one comes.
                WritePart::Frame(frame) => {
                    (incoming, part) =
                        try_join(incoming.push(frame), next_part(&mut parts)).await?;
                }
                WritePart::Waiting => part = next_part(&mut parts).await?,
                WritePart::Seal(seal) => {
                    incoming.seal(seal, false).await?;
                    // A volume that was unmounted since the last look let the
                    // chunk land on its bare mount point.
                    return self.check_volume().await;
                }
            }
        }
    }

    /// The right to write a chunk, once another write of it has ended. A write
    /// that is sent twice at once is no failure of this node: refused, it would
    /// make the client pass the node over for the rest of its upload.
    async fn claim_when_free(&self, handle: Handle) -> Result<Claim> {
        for _ in 0..CLAIM_TRIES_MAX {
            if let Ok(claim) = self.store.claim(handle) {
                return Ok(claim);
            }
            sleep(CLAIM_PAUSE).await;
        }
        self.store.claim(handle)
    }

    /// Hears a writer out whose chunk is here already: it may have missed the
    /// answer. What is here is read before it is vouched for again.
    async fn take_again(&self, header: ChunkHeader, mut parts: WriteStream) -> Result<()> {
        let handle = header.handle;
        let seal = last_part(&header, &mut parts).await?;
        let store = Arc::clone(&self.store);
        let found = self
            .on_disk(move || {
                let image = store.open_image(header.cluster, handle)?;
                store.verify(&image)?;
                Ok::<_, Error>(image.seal().digest)
            })
            .await?;
        if found == seal.digest {
            return Ok(());
        }
        let text = format!("node {} holds another chunk {handle} already", self.settings.id);
        Err(Error::new(Kind::Exists, text))
    }
}

async fn last_part(header: &ChunkHeader, parts: &mut WriteStream) -> Result<ChunkSeal> {
    let mut frames = 0;
    while frames <= header.frames_max() {
        match next_part(parts).await? {
            WritePart::Seal(seal) => return Ok(seal),
            WritePart::Frame(_) => frames += 1,
            WritePart::Waiting => {}
        }
    }
    let text = format!("chunk {} is refused: it has too many frames", header.handle);
    Err(Error::new(Kind::Invalid, text))
}

async fn next_part(parts: &mut WriteStream) -> Result<WritePart> {
    match timeout(SILENCE_MAX, parts.next()).await {
        Ok(Some(part)) => part,
        Ok(None) => Err(Error::new(Kind::Unavailable, "the chunk's stream ended without a seal")),
        Err(_) => Err(Error::new(
            Kind::Unavailable,
            format!("the client sent nothing for {} s", SILENCE_MAX.as_secs()),
        )),
    }
}
