//! Connections that break in the middle of a stream: at every byte of a short
//! one, and here and there in a long one. Whoever hears an end without an
//! error has the whole.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dfs_core::api::{Kind, NodeService, ReadRequest, Result, WriteHeader};
use dfs_core::env::Peers;
use dfs_core::id::Handle;
use dfs_simulation::rng::Rng;
use dfs_simulation::sample::{self, SampleChunk};
use futures_util::{StreamExt, stream};
use tokio::task::yield_now;

use super::super::{context, soon, three_frames};
use super::link::{Fault, Link, WAYS, Way};
use super::watched::{Watched, Written};
use super::{Faulty, HANDLE, assert_lost, peers, short_chunk, whole};

/// How a connection breaks.
const BREAKS: [Fault; 2] = [Fault::Reset, Fault::End];

/// More bytes than the short chunk's stream has in either direction.
const SHORT_BYTES_MAX: u64 = 4000;

/// A read through `link`: the frames that came, and how the stream ended.
async fn read_through(link: &Link) -> (Vec<Bytes>, Result<()>) {
    let peers = peers();
    let mut frames = Vec::new();
    let mut read = match soon(peers.node(&link.address).read_chunk(whole())).await {
        Ok(read) => read,
        Err(error) => return (frames, Err(error)),
    };
    while let Some(frame) = soon(read.frames.next()).await {
        match frame {
            Ok(frame) => frames.push(frame),
            Err(error) => return (frames, Err(error)),
        }
    }
    (frames, Ok(()))
}

/// A write of which no two messages travel together.
async fn write_in_steps(node: &dyn NodeService, chunk: &SampleChunk) -> Result<()> {
    let parts = stream::iter(chunk.parts()).then(|part| async {
        yield_now().await;
        part
    });
    let header = WriteHeader { context: context(), chunk: chunk.header.clone() };
    node.write_chunk(header, parts.boxed()).await
}

/// What was read is a beginning of `chunk`, and the whole where no error
/// says otherwise.
fn assert_honest(link: &Link, chunk: &SampleChunk, read: &(Vec<Bytes>, Result<()>)) {
    let (frames, end) = read;
    assert_eq!(frames[..], chunk.frames[..frames.len()]);
    match end {
        Ok(()) => assert_eq!(frames.len(), chunk.frames.len(), "no part is taken for the whole"),
        Err(error) => assert_lost(error, &link.address),
    }
}

/// The node heard that the stream broke, not that it came to its end.
fn assert_broken_or_sealed(written: &Written) {
    if let Err(error) = &written.end {
        assert_eq!(error.kind, Kind::Unavailable, "{error}");
    }
}

#[tokio::test]
async fn a_read_that_breaks_at_any_byte_is_an_error_or_was_whole() {
    let chunk = short_chunk();
    let faulty = Faulty::start(Watched::chunk(chunk.clone())).await;
    for (way, fault) in WAYS.into_iter().flat_map(|way| BREAKS.map(|fault| (way, fault))) {
        let mut frames_before_errors = BTreeSet::new();
        let mut was_whole = false;
        for after_bytes in 0..SHORT_BYTES_MAX {
            let link = Link::with(&faulty.server, way, after_bytes, fault).await;
            let read = read_through(&link).await;
            assert_honest(&link, &chunk, &read);
            match read.1 {
                Ok(()) => was_whole = true,
                Err(_) => drop(frames_before_errors.insert(read.0.len())),
            }
            if !link.has_struck() {
                break;
            }
        }
        assert!(was_whole, "the last byte was reached");
        if way == Way::ToClient {
            // All frames, and then no word that these are all.
            assert_eq!(frames_before_errors, (0..=chunk.frames.len()).collect());
        }
    }
}

#[tokio::test]
async fn a_write_that_breaks_at_any_byte_is_an_error_and_no_seal() {
    let mut chunk = short_chunk();
    // Of a file whose size is not known, so that each part is sent by itself.
    chunk.header.file_size = None;
    for (way, fault) in WAYS.into_iter().flat_map(|way| BREAKS.map(|fault| (way, fault))) {
        let faulty = Faulty::start(Watched::chunk(chunk.clone())).await;
        let mut answers = BTreeMap::new();
        for after_bytes in 0..SHORT_BYTES_MAX {
            // By its handle the node's word is found again.
            chunk.header.handle = Handle(after_bytes);
            let link = Link::with(&faulty.server, way, after_bytes, fault).await;
            let peers = peers();
            let node = peers.node(&link.address);
            let answer = soon(write_in_steps(&*node, &chunk)).await;
            if let Err(error) = &answer {
                assert_lost(error, &link.address);
            }
            answers.insert(chunk.header.handle, answer.is_ok());
            if !link.has_struck() {
                break;
            }
        }
        faulty.until_left_alone().await;
        let writes = faulty.service.writes();
        for written in &writes {
            assert_eq!(written.frames[..], chunk.frames[..written.frames.len()]);
            let is_whole = written.frames.len() == chunk.frames.len();
            assert!(is_whole || written.end.is_err(), "no seal on a part");
            assert_broken_or_sealed(written);
        }
        let find = |handle| writes.iter().find(|it| it.header.chunk.handle == handle);
        for (handle, is_answered) in &answers {
            let is_sealed = find(*handle).is_some_and(|it| it.end.is_ok());
            assert!(is_sealed || !is_answered, "no success without a seal");
        }
        if way == Way::ToServer {
            let broken = writes.iter().filter(|it| it.end.is_err()).map(|it| it.frames.len());
            let frames_before_errors: BTreeSet<_> = broken.collect();
            assert_eq!(frames_before_errors, (0..=chunk.frames.len()).collect());
        }
        assert_eq!(answers.pop_last().map(|it| it.1), Some(true), "the last byte was reached");
    }
}

#[tokio::test]
async fn a_long_read_that_breaks_gives_the_frames_before_and_an_error() {
    let chunk = three_frames();
    let faulty = Faulty::start(Watched::chunk(chunk.clone())).await;
    let mut frames_before_errors = BTreeSet::new();
    for after_bytes in (0..chunk.seal.stored_len).step_by(150_000) {
        for fault in BREAKS {
            let link = Link::with(&faulty.server, Way::ToClient, after_bytes, fault).await;
            let read = read_through(&link).await;
            assert_honest(&link, &chunk, &read);
            frames_before_errors.insert((read.0.len(), read.1.is_ok()));
        }
    }
    assert_eq!(frames_before_errors, [(0, false), (1, false), (2, false)].into());
}

#[tokio::test]
async fn a_long_write_that_breaks_is_never_sealed() {
    let chunk = three_frames();
    let faulty = Faulty::start(Watched::chunk(chunk.clone())).await;
    for after_bytes in (0..chunk.seal.stored_len).step_by(150_000) {
        for fault in BREAKS {
            let link = Link::with(&faulty.server, Way::ToServer, after_bytes, fault).await;
            let peers = peers();
            let node = peers.node(&link.address);
            let error = soon(chunk.write_to(&*node, context())).await.expect_err("it broke");
            assert_lost(&error, &link.address);
        }
    }
    faulty.until_left_alone().await;
    let writes = faulty.service.writes();
    assert!(writes.len() > 20, "most of them began");
    assert!(writes.iter().all(|it| it.end.is_err()));
    writes.iter().for_each(assert_broken_or_sealed);
    assert!(writes.iter().any(|it| it.frames.len() == 2), "and some nearly ended");
}

#[tokio::test]
async fn a_short_call_that_breaks_at_any_byte_is_an_error_or_was_whole() {
    let one = sample::chunk(context().cluster, HANDLE.0, Rng::new(16).bytes(500));
    for (way, fault) in WAYS.into_iter().flat_map(|way| BREAKS.map(|fault| (way, fault))) {
        let faulty = Faulty::start(Watched::chunk(one.clone())).await;
        let mut chunk = one.clone();
        let mut answered = BTreeMap::new();
        for after_bytes in 0..SHORT_BYTES_MAX {
            // By its handle the node's word is found again.
            chunk.header.handle = Handle(after_bytes);
            let link = Link::with(&faulty.server, way, after_bytes, fault).await;
            let peers = peers();
            let node = peers.node(&link.address);
            let written = soon(chunk.write_to(&*node, context())).await;
            let request = ReadRequest { frames: 0..1, ..whole() };
            let read: Result<Vec<Bytes>> = match soon(node.read_chunk(request)).await {
                Ok(read) => read.frames.collect::<Vec<_>>().await.into_iter().collect(),
                Err(error) => Err(error),
            };
            answered.insert(chunk.header.handle, (written.is_ok(), read.is_ok()));
            match read {
                Ok(frames) => assert_eq!(frames, one.frames),
                Err(error) => assert_lost(&error, &link.address),
            }
            written.err().iter().for_each(|error| assert_lost(error, &link.address));
            if !link.has_struck() {
                break;
            }
        }
        faulty.until_left_alone().await;
        let writes = faulty.service.writes();
        let is_sealed = |handle| {
            let write = writes.iter().find(|it| it.header.chunk.handle == handle);
            write.is_some_and(|it| it.end.is_ok() && it.frames == one.frames)
        };
        for (handle, (is_answered, _)) in &answered {
            assert!(is_sealed(*handle) || !is_answered, "no success without a seal");
        }
        let ends: BTreeSet<_> = answered.values().copied().collect();
        assert!(ends.contains(&(false, false)) || way == Way::ToClient, "{ends:?}");
        assert!(ends.contains(&(true, false)), "{ends:?}");
        assert_eq!(answered.pop_last().map(|it| it.1), Some((true, true)));
    }
}
