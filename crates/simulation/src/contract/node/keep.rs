//! What a node keeps, and how it gives it back.

use std::collections::BTreeSet;

use dfs_core::api::{HANDLES_PER_CALL_MAX, Kind, ReadRequest};
use dfs_core::data::frame::FRAME_SIZE;
use dfs_core::id::Handle;
use dfs_core::policy::{Code, Coding};
use futures_util::future::join_all;

use super::{NodeUnderTest, assert_kind};
use crate::rng::Rng;
use crate::sample::{self, mixed_bytes};

pub(super) async fn what_was_written_is_read(node: NodeUnderTest) {
    let context = node.adopt().await;
    let mut rng = Rng::new(2);
    let lens = [1, 4096, 100_000, FRAME_SIZE, FRAME_SIZE + 1, 3 * FRAME_SIZE + 77];
    for (handle, len) in (10u64..).zip(lens) {
        for (handle, raw) in [(handle, rng.bytes(len)), (handle + 100, mixed_bytes(&mut rng, len))]
        {
            let chunk = sample::chunk(context.cluster, handle, raw);
            chunk.write_to(node.node(), context).await.expect("write");
            let read = sample::read_whole(node.node(), context.cluster, Handle(handle)).await;
            assert_eq!(read, Ok(chunk.whole()), "{len} bytes");
        }
    }
    let coding = Coding { code: Code::ReedSolomon, data: 4, parity: 2 };
    let raws = vec![mixed_bytes(&mut rng, FRAME_SIZE + 5), rng.bytes(70_000)];
    for chunk in sample::stripe_of(context.cluster, 1000, coding, raws) {
        chunk.write_to(node.node(), context).await.expect("write a stripe's chunk");
        let read = sample::read_whole(node.node(), context.cluster, chunk.handle()).await;
        assert_eq!(read, Ok(chunk.whole()), "chunk {} of a stripe", chunk.header.position);
    }
}

pub(super) async fn frames_are_read_by_range(node: NodeUnderTest) {
    let context = node.adopt().await;
    let raw = Rng::new(3).bytes(4 * FRAME_SIZE + 9);
    let chunk = sample::chunk(context.cluster, 7, raw);
    chunk.write_to(node.node(), context).await.expect("write");
    let small = sample::chunk(context.cluster, 8, vec![3; 50]);
    small.write_to(node.node(), context).await.expect("write");
    for (chunk, range) in [
        (&chunk, 0..1),
        (&chunk, 1..3),
        (&chunk, 4..5),
        (&chunk, 3..u32::MAX),
        (&chunk, 0..0),
        (&chunk, 5..9),
        (&small, 0..1),
        (&small, 0..0),
        (&small, 1..2),
    ] {
        let handle = chunk.handle();
        let request = ReadRequest { cluster: context.cluster, handle, frames: range.clone() };
        let read = node.node().read_chunk(request).await.expect("read");
        assert_eq!((&read.header, read.seal), (&chunk.header, chunk.seal), "frames {range:?}");
        let last = chunk.frames.len();
        let at = |n: u32| usize::try_from(n).unwrap_or(last).min(last);
        let frames = sample::collect(read.frames).await.expect("frames");
        assert_eq!(frames, chunk.frames[at(range.start)..at(range.end)], "frames {range:?}");
    }
    let missing = sample::read_whole(node.node(), context.cluster, Handle(99)).await;
    assert_kind(missing, Kind::NotFound, "an unknown handle");
}

pub(super) async fn a_handle_is_written_once(node: NodeUnderTest) {
    let context = node.adopt().await;
    for len in [500, 2_000_000] {
        let first = sample::chunk(context.cluster, len as u64, vec![1; len]);
        let other = sample::chunk(context.cluster, len as u64, vec![2; len]);
        first.write_to(node.node(), context).await.expect("write");
        first.write_to(node.node(), context).await.expect("the same again has no effect");
        let result = other.write_to(node.node(), context).await;
        assert_kind(result, Kind::Exists, "other bytes under a sealed handle");
        let read = sample::read_whole(node.node(), context.cluster, first.handle()).await;
        assert_eq!(read, Ok(first.whole()));
    }
}

pub(super) async fn many_writers_at_once_are_all_served(node: NodeUnderTest) {
    let context = node.adopt().await;
    let mut rng = Rng::new(4);
    let mut chunks = Vec::new();
    for handle in 0..96 {
        let len = if handle % 16 == 0 { 1_500_000 } else { 100 + handle * 30 };
        let raw = rng.bytes(usize::try_from(len).expect("small"));
        chunks.push(sample::chunk(context.cluster, handle, raw));
    }
    let service = node.node();
    for result in join_all(chunks.iter().map(|chunk| chunk.write_to(service, context))).await {
        result.expect("write");
    }
    let reads = chunks.iter().map(|c| sample::read_whole(service, context.cluster, c.handle()));
    for (read, chunk) in join_all(reads).await.into_iter().zip(&chunks) {
        assert_eq!(read, Ok(chunk.whole()));
    }
}

pub(super) async fn deleted_chunks_are_gone(node: NodeUnderTest) {
    let context = node.adopt().await;
    let service = node.node();
    for (handle, len) in [(1, 100), (2, 200), (3, 1_200_000), (4, 1_300_000)] {
        let chunk = sample::chunk(context.cluster, handle, vec![1; len]);
        chunk.write_to(service, context).await.expect("write");
    }
    let doomed = vec![Handle(1), Handle(3), Handle(77)];
    service.delete_chunks(context, doomed.clone()).await.expect("unknown handles are passed over");
    service.delete_chunks(context, doomed).await.expect("and so are those that went already");
    for (handle, is_there) in [(1, false), (2, true), (3, false), (4, true)] {
        let read = sample::read_whole(service, context.cluster, Handle(handle)).await;
        assert_eq!(read.is_ok(), is_there, "chunk {handle}");
    }
    let page = service.inventory(context, None).await.expect("inventory");
    let held: Vec<u64> = page.chunks.iter().map(|chunk| chunk.handle.0).collect();
    assert_eq!(held, [2, 4]);
    let too_many = vec![Handle(5); HANDLES_PER_CALL_MAX + 1];
    let refused = service.delete_chunks(context, too_many).await;
    assert_kind(refused, Kind::Invalid, "more handles than one call may name");
}

pub(super) async fn the_inventory_is_whole_and_in_order(node: NodeUnderTest) {
    let context = node.adopt().await;
    let service = node.node();
    let empty = service.inventory(context, None).await.expect("inventory");
    assert!(empty.chunks.is_empty() && empty.is_last);
    // Enough for a second page, in an order of no kind.
    let count = HANDLES_PER_CALL_MAX as u64 + 5;
    let handles: Vec<u64> = (0..count).map(|n| n * 2_654_435_761 % 1_000_003).collect();
    let distinct: BTreeSet<u64> = handles.iter().copied().collect();
    for some in handles.chunks(256) {
        let write = async |handle: &u64| {
            let chunk = sample::chunk(context.cluster, *handle, handle.to_le_bytes().to_vec());
            chunk.write_to(service, context).await.expect("write");
        };
        join_all(some.iter().map(write)).await;
    }
    let (mut seen, mut after, mut version) = (Vec::new(), None, None);
    loop {
        let page = service.inventory(context, after).await.expect("inventory");
        assert!(page.chunks.len() <= HANDLES_PER_CALL_MAX);
        assert_eq!(*version.get_or_insert(page.version), page.version, "nothing changed meanwhile");
        assert!(page.chunks.iter().all(|chunk| chunk.is_good && chunk.stored_bytes >= 8));
        seen.extend(page.chunks.iter().map(|chunk| chunk.handle.0));
        after = page.chunks.last().map(|chunk| chunk.handle);
        if page.is_last {
            break;
        }
        assert!(!page.chunks.is_empty(), "an empty page that is not the last");
    }
    assert_eq!(seen, distinct.into_iter().collect::<Vec<u64>>());
}

pub(super) async fn verifying_gives_a_receipt(node: NodeUnderTest) {
    let context = node.adopt().await;
    for (handle, len) in [(1, 100), (2, 2_200_000)] {
        let raw = mixed_bytes(&mut Rng::new(handle), len);
        let chunk = sample::chunk(context.cluster, handle, raw);
        chunk.write_to(node.node(), context).await.expect("write");
        let receipt = node.node().verify_chunk(context, Handle(handle)).await.expect("verify");
        assert_eq!((receipt.handle, receipt.seal), (Handle(handle), chunk.seal));
    }
    let missing = node.node().verify_chunk(context, Handle(99)).await;
    assert_kind(missing, Kind::NotFound, "an unknown handle");
}
