//! Bits that change in flight, four of every byte of a stream.
//!
//! What guards what:
//! - HTTP/2 has no sums. A change in its own words (lengths, types, flags,
//!   streams, fields) mostly breaks it, and is an error of the call or of the
//!   connection; a change in a payload passes it unseen.
//! - A stored frame carries its CRC32C: the shell hands on what came, and who
//!   takes the frame checks it. So a changed frame is never a good one.
//! - A frame does not carry its number. HTTP/2 passes over what has a type
//!   that it does not know, so a whole frame may be lost unseen: the next one
//!   then comes in its place, good as it is. The number of frames shows it at
//!   the end of the stream, to a reader in the shell, to a node at the seal;
//!   before that nothing but the chunk's SHA-256 does.
//! - A chunk's header and seal have no sum on the wire. A reader compares
//!   them with the catalog (cluster, handle, file, lengths, SHA-256), a node
//!   compares the seal with the frames that it took. A header that changes on
//!   its way to a node is guarded by TCP's own sum alone: the chunk is then
//!   found missing, or not to be what the catalog says, and is repaired.

use bytes::Bytes;
use dfs_core::api::Result;
use dfs_core::data::chunk::{ChunkHeader, ChunkSeal};
use dfs_core::data::frame::{self, Place};
use dfs_core::env::Peers;
use dfs_simulation::sample::SampleChunk;
use futures_util::StreamExt;
use tokio::time::{pause, resume};

use super::super::context;
use super::link::{Fault, Link, Way};
use super::watched::Watched;
use super::{Faulty, peers, short_chunk, whole};

/// More bytes than the short chunk's stream has in either direction.
const SHORT_BYTES_MAX: u64 = 4000;

/// Who saw the changes.
#[derive(Debug, Default)]
struct Seen {
    by_transport: usize,
    by_frame: usize,
    by_header_or_seal: usize,
    by_nobody: usize,
}

impl Seen {
    /// Takes note of a stream: its error, or what came of the chunk.
    fn note(
        &mut self,
        chunk: &SampleChunk,
        frames: &[Bytes],
        end: Result<(&ChunkHeader, &ChunkSeal)>,
    ) {
        // Who takes frames stops at the first that is bad.
        let mut sent = chunk.frames.iter();
        let handle = chunk.handle();
        let is_good = |(index, frame): &(u32, &Bytes)| {
            frame::check(Place { handle, index: *index }, frame).is_ok()
        };
        let mut good = (0..).zip(frames).take_while(is_good);
        assert!(good.all(|(_, frame)| sent.any(|it| it == frame)), "a good frame was never sent");
        let is_good = (0..).zip(frames).all(|frame| is_good(&frame));
        match end {
            _ if !is_good => self.by_frame += 1,
            Err(_) => self.by_transport += 1,
            Ok((_, seal)) if seal.frames as usize != frames.len() => self.by_header_or_seal += 1,
            Ok(end) if end != (&chunk.header, &chunk.seal) => self.by_header_or_seal += 1,
            Ok(_) => {
                assert_eq!(frames, chunk.frames, "whole without an error");
                self.by_nobody += 1;
            }
        }
    }

    /// Each of the guards was needed.
    fn assert_all_guarded(&self) {
        let Self { by_transport, by_frame, by_header_or_seal, .. } = self;
        assert!(*by_transport > 0 && *by_frame > 0 && *by_header_or_seal > 0, "{self:?}");
    }
}

/// Reads the chunk while one bit of the answer changes, and takes note.
async fn read_changed(link: &Link, chunk: &SampleChunk, seen: &mut Seen) {
    let peers = peers();
    let mut frames = Vec::new();
    let mut read = match peers.node(&link.address).read_chunk(whole()).await {
        Ok(read) => read,
        Err(error) => return seen.note(chunk, &frames, Err(error)),
    };
    while let Some(frame) = read.frames.next().await {
        match frame {
            Ok(frame) => frames.push(frame),
            Err(error) => return seen.note(chunk, &frames, Err(error)),
        }
    }
    assert_eq!(frames.len(), read.seal.frames as usize, "the shell counts them");
    seen.note(chunk, &frames, Ok((&read.header, &read.seal)));
}

#[tokio::test]
async fn a_bit_that_changes_on_the_way_to_a_reader_makes_no_good_frame() {
    let chunk = short_chunk();
    let faulty = Faulty::start(Watched::chunk(chunk.clone())).await;
    let mut seen = Seen::default();
    // A changed length lets a side wait for more: only time ends that.
    pause();
    for bit in 0..8 {
        for at in (bit % 2..SHORT_BYTES_MAX).step_by(2) {
            let flip = Fault::Flip(1 << bit);
            let link = Link::with(&faulty.server, Way::ToClient, at, flip).await;
            read_changed(&link, &chunk, &mut seen).await;
            if !link.has_struck() {
                break;
            }
        }
    }
    seen.assert_all_guarded();
}

#[tokio::test]
async fn a_bit_that_changes_on_the_way_to_a_node_makes_no_good_frame() {
    let chunk = short_chunk();
    let faulty = Faulty::start(Watched::chunk(chunk.clone())).await;
    pause();
    for bit in 0..8 {
        for at in (bit % 2..SHORT_BYTES_MAX).step_by(2) {
            let flip = Fault::Flip(1 << bit);
            let link = Link::with(&faulty.server, Way::ToServer, at, flip).await;
            let peers = peers();
            let _ = chunk.write_to(&*peers.node(&link.address), context()).await;
            if !link.has_struck() {
                break;
            }
        }
    }
    resume();
    faulty.until_left_alone().await;
    let mut seen = Seen::default();
    for written in faulty.service.writes() {
        let end = written.end.as_ref().map(|seal| (&written.header.chunk, seal));
        seen.note(&chunk, &written.frames, end.map_err(Clone::clone));
    }
    seen.assert_all_guarded();
}
