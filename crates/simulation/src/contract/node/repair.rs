//! How a node comes to hold a chunk without a writer.

use dfs_core::api::Kind;
use dfs_core::data::digest::Digest;
use dfs_core::data::frame::FRAME_SIZE;
use dfs_core::policy::{Code, Coding};

use super::{NodeUnderTest, assert_kind};
use crate::rng::Rng;
use crate::sample::{self, SampleChunk, mixed_bytes};

const XOR: Coding = Coding { code: Code::Xor, data: 3, parity: 1 };
const RS: Coding = Coding { code: Code::ReedSolomon, data: 3, parity: 2 };
/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:9";

pub(super) async fn a_chunk_is_pulled_from_a_copy(source: NodeUnderTest, target: NodeUnderTest) {
    let context = source.adopt().await;
    target.adopt().await;
    for (handle, len) in [(1, 300), (2, 2 * FRAME_SIZE + 10)] {
        let raw = mixed_bytes(&mut Rng::new(handle), len);
        let chunk = sample::chunk(context.cluster, handle, raw);
        chunk.write_to(source.node(), context).await.expect("write");
        let copies = vec![NOWHERE.to_owned(), source.address.clone()];
        let task = chunk.rebuild_task(copies, &[]);
        for _ in 0..2 {
            let receipt = target.node().rebuild_chunk(context, task.clone()).await.expect("pull");
            assert_eq!((receipt.handle, receipt.seal), (chunk.handle(), chunk.seal));
            assert!(!receipt.from_parity);
        }
        let read = sample::read_whole(target.node(), context.cluster, chunk.handle()).await;
        assert_eq!(read, Ok(chunk.whole()), "{len} bytes");
    }
}

pub(super) async fn a_chunk_is_rebuilt_from_its_stripe(
    source: NodeUnderTest,
    target: NodeUnderTest,
) {
    let context = source.adopt().await;
    target.adopt().await;
    let mut rng = Rng::new(5);
    let lens = [vec![FRAME_SIZE + 9, 40_000, 2 * FRAME_SIZE], vec![5_000, 70], vec![900]];
    for (coding, base) in [(XOR, 1000), (RS, 2000)] {
        for (lens, base) in lens.iter().zip((base..).step_by(100)) {
            let raws = lens.iter().map(|len| mixed_bytes(&mut rng, *len)).collect();
            let stripe = sample::stripe_of(context.cluster, base, coding, raws);
            for chunk in &stripe {
                chunk.write_to(source.node(), context).await.expect("write");
            }
            for chunk in &stripe {
                let others = others(&stripe, chunk, &source.address);
                let task = chunk.rebuild_task(vec![NOWHERE.to_owned()], &others);
                let receipt = target.node().rebuild_chunk(context, task).await.expect("rebuild");
                assert_eq!((receipt.handle, receipt.seal), (chunk.handle(), chunk.seal));
                assert!(receipt.from_parity);
                let read = sample::read_whole(target.node(), context.cluster, chunk.handle()).await;
                assert_eq!(read, Ok(chunk.whole()), "chunk {} of {base}", chunk.header.position);
            }
        }
    }
}

pub(super) async fn what_is_not_the_chunk_is_not_taken(
    source: NodeUnderTest,
    target: NodeUnderTest,
) {
    let context = source.adopt().await;
    target.adopt().await;
    for (handle, len) in [(1, 300), (2, FRAME_SIZE + 10)] {
        let chunk = sample::chunk(context.cluster, handle, Rng::new(handle).bytes(len));
        chunk.write_to(source.node(), context).await.expect("write");
        let mut task = chunk.rebuild_task(vec![source.address.clone()], &[]);
        task.digest = Digest([9; 32]);
        let result = target.node().rebuild_chunk(context, task).await;
        assert!(result.is_err(), "a chunk of another digest was taken");
        let read = sample::read_whole(target.node(), context.cluster, chunk.handle()).await;
        assert_kind(read, Kind::NotFound, "it must not be held");
    }
}

pub(super) async fn nothing_is_made_of_too_little(source: NodeUnderTest, target: NodeUnderTest) {
    let context = source.adopt().await;
    target.adopt().await;
    let mut rng = Rng::new(6);
    let raws = vec![rng.bytes(4000), rng.bytes(5000), rng.bytes(100)];
    let stripe = sample::stripe_of(context.cluster, 1000, RS, raws);
    // Three of five are needed, two are there.
    for chunk in &stripe[3..] {
        chunk.write_to(source.node(), context).await.expect("write");
    }
    let task = stripe[0].rebuild_task(Vec::new(), &others(&stripe, &stripe[0], &source.address));
    let result = target.node().rebuild_chunk(context, task).await;
    assert!(result.is_err(), "a chunk was made of too little");
    let read = sample::read_whole(target.node(), context.cluster, stripe[0].handle()).await;
    assert_kind(read, Kind::NotFound, "it must not be held");
    let page = target.node().inventory(context, None).await.expect("inventory");
    assert!(page.chunks.is_empty());
}

fn others<'a>(
    stripe: &'a [SampleChunk],
    chunk: &SampleChunk,
    address: &str,
) -> Vec<(&'a SampleChunk, Vec<String>)> {
    let is_other = |other: &&SampleChunk| other.handle() != chunk.handle();
    stripe.iter().filter(is_other).map(|other| (other, vec![address.to_owned()])).collect()
}
