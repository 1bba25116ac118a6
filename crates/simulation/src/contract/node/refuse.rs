//! Whom and what a node refuses.

use bytes::Bytes;
use dfs_core::api::{Context, Error, Kind, WriteHeader, WritePart};
use dfs_core::id::Handle;

use super::{NodeUnderTest, assert_kind};
use crate::rng::Rng;
use crate::sample::{self, SampleChunk, as_stream};

pub(super) async fn a_node_is_adopted_once(node: NodeUnderTest) {
    let context = sample::context(1, 5);
    let chunk = sample::chunk(context.cluster, 7, vec![1; 100]);
    let early = chunk.write_to(node.node(), context).await;
    assert_kind(early, Kind::WrongIdentity, "a write before the adoption");

    let first = node.adopt_as(context).await.expect("adopt");
    assert_eq!(first.cluster, Some(context.cluster));
    let again = node.adopt_as(context).await.expect("adopt again");
    assert_eq!((first.id, first.folder, first.session), (again.id, again.folder, again.session));
    node.adopt_as(sample::context(1, 6)).await.expect("a later epoch");

    let stranger = node.adopt_as(sample::context(2, 9)).await;
    assert_kind(stranger, Kind::WrongIdentity, "another cluster's adoption");
    let past = node.adopt_as(sample::context(1, 5)).await;
    assert_kind(past, Kind::StaleEpoch, "an earlier epoch's adoption");
}

pub(super) async fn strangers_and_the_past_are_refused(node: NodeUnderTest) {
    let context = node.adopt().await;
    let kept = sample::chunk(context.cluster, 7, vec![1; 100]);
    kept.write_to(node.node(), context).await.expect("write");

    let stranger = sample::context(2, 9);
    let past = sample::context(1, 4);
    let other = sample::chunk(stranger.cluster, 8, vec![1; 100]);
    let late = sample::chunk(past.cluster, 8, vec![1; 100]);
    let service = node.node();
    let refusals = [
        ("write", stranger, other.write_to(service, stranger).await),
        ("delete", stranger, service.delete_chunks(stranger, vec![Handle(7)]).await),
        ("inventory", stranger, service.inventory(stranger, None).await.map(drop)),
        ("verify", stranger, service.verify_chunk(stranger, Handle(7)).await.map(drop)),
        (
            "read",
            stranger,
            sample::read_whole(service, stranger.cluster, Handle(7)).await.map(drop),
        ),
        ("write", past, late.write_to(service, past).await),
        ("delete", past, service.delete_chunks(past, vec![Handle(7)]).await),
    ];
    for (what, who, result) in refusals {
        let kind = if who == past { Kind::StaleEpoch } else { Kind::WrongIdentity };
        assert_kind(result, kind, what);
    }
    let task = late.rebuild_task(vec!["127.0.0.1:9".to_owned()], &[]);
    let rebuilt = service.rebuild_chunk(past, task).await;
    assert_kind(rebuilt, Kind::StaleEpoch, "an earlier epoch's rebuild");

    // A header may not name another cluster than its context.
    let mixed = WriteHeader { context, chunk: other.header.clone() };
    let mixed = service.write_chunk(mixed, as_stream(other.parts())).await;
    assert_kind(mixed, Kind::WrongIdentity, "a chunk of another cluster");
    let read = sample::read_whole(service, context.cluster, Handle(7)).await;
    assert_eq!(read, Ok(kept.whole()), "nothing of all this had an effect");
    let missing = sample::read_whole(service, context.cluster, Handle(8)).await;
    assert_kind(missing, Kind::NotFound, "reading what was refused");
}

pub(super) async fn broken_writes_leave_nothing(node: NodeUnderTest) {
    let context = node.adopt().await;
    let mut rng = Rng::new(1);
    for (base, len) in [(100, 2_500_000), (200, 3_000)] {
        let chunk = |handle| sample::chunk(context.cluster, handle, rng.clone().bytes(len));
        break_and_check(&node, context, base, chunk).await;
        rng.next_u64();
    }
}

async fn break_and_check(
    node: &NodeUnderTest,
    context: Context,
    base: u64,
    chunk: impl Fn(u64) -> SampleChunk,
) {
    let whole = chunk(base).parts();
    let frames = whole.len() - 1;
    let seal = chunk(base).seal;
    let damaged = {
        let Ok(WritePart::Frame(frame)) = &whole[frames - 1] else { panic!("frames come first") };
        let mut bytes = frame.to_vec();
        bytes[200] ^= 4;
        WritePart::Frame(Bytes::from(bytes))
    };
    let replaced = |at: usize, part: WritePart| {
        let mut parts = whole.clone();
        parts[at] = Ok(part);
        parts
    };
    let wrong_count = dfs_core::data::chunk::ChunkSeal { frames: seal.frames + 1, ..seal };
    let wrong_len = dfs_core::data::chunk::ChunkSeal { raw_len: seal.raw_len + 1, ..seal };
    let no_frame = WritePart::Frame(Bytes::from_static(&[0xff; 40]));
    let gave_up = Error::new(Kind::Unavailable, "the writer went away");
    let cases = [
        ("a stream without a seal", whole[..frames].to_vec()),
        ("a stream without anything", Vec::new()),
        ("a stream that fails", [whole[..frames].to_vec(), vec![Err(gave_up)]].concat()),
        ("a damaged frame", replaced(frames - 1, damaged)),
        ("something that is no frame", replaced(0, no_frame)),
        ("a seal with another count", replaced(frames, WritePart::Seal(wrong_count))),
        ("a seal with another length", replaced(frames, WritePart::Seal(wrong_len))),
    ];
    for (number, (claim, parts)) in (0u64..).zip(cases) {
        let handle = base + number;
        let header = WriteHeader { context, chunk: chunk(handle).header };
        let result = node.node().write_chunk(header, as_stream(parts)).await;
        assert!(result.is_err(), "{claim} was taken");
        let read = sample::read_whole(node.node(), context.cluster, Handle(handle)).await;
        assert_kind(read, Kind::NotFound, claim);
        chunk(handle).write_to(node.node(), context).await.expect("the next try is as good as new");
    }
}
