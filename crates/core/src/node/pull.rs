//! Reading a chunk from a peer, for rebuilding: identity first, then frames,
//! at a bounded pace.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep_until, timeout};

use crate::api::{ChunkRead, FrameStream, ReadRequest};
use crate::data::chunk::ChunkSeal;
use crate::data::digest::Digest;
use crate::env::Env;
use crate::id::{ClusterId, Handle};

/// How long a peer may take to answer.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a peer may take for one frame.
const FRAME_WAIT_MAX: Duration = Duration::from_secs(20);

/// Which chunk is to be read, and what it must be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) cluster: ClusterId,
    pub(super) handle: Handle,
    pub(super) digest: Digest,
}

/// A chunk that a peer is handing out.
pub(super) struct Pull {
    address: String,
    seal: ChunkSeal,
    next_frame: u32,
    frames: FrameStream,
}

/// Why a peer's chunk cannot be had, in a sentence with its address.
#[derive(Debug)]
pub(super) struct PullFailed(pub(super) String);

impl Pull {
    /// Asks the node at `address` for a chunk, from frame `first` on, and
    /// refuses what is not the chunk that is wanted.
    pub(super) async fn open(
        env: &Env,
        address: &str,
        wanted: Wanted,
        first: u32,
    ) -> Result<Self, PullFailed> {
        let Wanted { cluster, handle, digest } = wanted;
        let failed = |text: String| PullFailed(format!("chunk {handle} at {address}: {text}"));
        let peer = env.peers.node(address);
        let request = ReadRequest { cluster, handle, frames: first..u32::MAX };
        let answer = timeout(ANSWER_WAIT_MAX, peer.read_chunk(request)).await;
        let ChunkRead { header, seal, frames } = answer
            .map_err(|_| failed(format!("no answer within {} s", ANSWER_WAIT_MAX.as_secs())))?
            .map_err(|error| failed(error.message))?;
        if header.handle != handle || header.cluster != cluster {
            return Err(failed(format!("another chunk came, {}", header.handle)));
        }
        if seal.digest != digest {
            return Err(failed(format!("its SHA-256 is {}, it shall be {digest}", seal.digest)));
        }
        Ok(Self { address: address.to_owned(), seal, next_frame: first, frames })
    }

    /// What the peer says of the chunk.
    pub(super) fn seal(&self) -> ChunkSeal {
        self.seal
    }

    /// The next stored frame, not checked yet; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, PullFailed> {
        if self.next_frame >= self.seal.frames {
            return Ok(None);
        }
        let failed = |text: String| PullFailed(format!("{}: {text}", self.address));
        let frame = timeout(FRAME_WAIT_MAX, self.frames.next())
            .await
            .map_err(|_| failed(format!("no frame for {} s", FRAME_WAIT_MAX.as_secs())))?
            .ok_or_else(|| failed(format!("ended before frame {}", self.next_frame)))?
            .map_err(|error| failed(error.message))?;
        self.next_frame += 1;
        Ok(Some(frame))
    }
}

/// Keeps pulling within a number of bytes a second, and counts them.
pub(super) struct Pace {
    began: Instant,
    bytes_per_second_max: u64,
    bytes: u64,
}

impl Pace {
    /// From now on; 0 is no limit.
    pub(super) fn new(bytes_per_second_max: u64) -> Self {
        Self { began: Instant::now(), bytes_per_second_max, bytes: 0 }
    }

    /// Takes note of bytes that came, and waits while they were too many.
    pub(super) async fn came(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.bytes_per_second_max > 0 {
            let due_s = self.bytes as f64 / self.bytes_per_second_max as f64;
            sleep_until(self.began + Duration::from_secs_f64(due_s)).await;
        }
    }

    /// Bytes that came.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pulling_keeps_to_its_bytes_a_second() {
        let began = Instant::now();
        let mut pace = Pace::new(1000);
        for _ in 0..10 {
            pace.came(500).await;
        }
        assert_eq!((began.elapsed().as_secs(), pace.bytes()), (5, 5000));
        let mut unlimited = Pace::new(0);
        unlimited.came(1 << 30).await;
        assert_eq!(began.elapsed().as_secs(), 5);
    }
}
