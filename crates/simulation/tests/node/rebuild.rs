//! Copies made anew, on disks that lie.

use dfs_core::policy::{Code, Coding};
use dfs_simulation::World;
use dfs_simulation::rng::Rng;
use dfs_simulation::sample::{mixed_bytes, stripe_of};

use super::*;

const RS: Coding = Coding { code: Code::ReedSolomon, data: 3, parity: 2 };

#[test]
fn a_bad_copy_is_replaced_only_by_a_verified_one() {
    for (seed, len) in [(1, 300), (2, 2_100_000)] {
        World::run(seed, async |world| {
            let (one, two) = (world.add_host("n1", 4001), world.add_host("n2", 4002));
            let (source, target) = (start(&one).await, start(&two).await);
            let chunk = thin(7, len);
            chunk.write_to(&*source, context()).await.expect("write");
            chunk.write_to(&*target, context()).await.expect("write");
            let folder = if len < 1000 { "packs" } else { "chunks" };
            let path = paths(&two, folder).remove(0);
            two.disk().flip(&path, 300, 1);
            assert_kind(read(&target, 7).await, Kind::Integrity);

            let task = chunk.rebuild_task(vec![one.address().to_owned()], &[]);
            // The disk says that it wrote, and did not.
            two.disk().lose_next_writes(2);
            let lost = target.rebuild_chunk(context(), task.clone()).await;
            assert!(lost.is_err(), "{lost:?}");
            assert_eq!(is_held_good(&target, 7).await, Some(false), "the bad one is still told of");
            assert_eq!(paths(&two, "quarantine").len(), 1);

            let receipt = target.rebuild_chunk(context(), task).await.expect("rebuild");
            assert_eq!(receipt.seal, chunk.seal);
            assert_eq!(read(&target, 7).await, Ok(chunk.whole()));
            assert_eq!(paths(&two, "quarantine"), Vec::<String>::new());
            two.crash();
            let target = start(&two).await;
            assert_eq!(read(&target, 7).await, Ok(chunk.whole()));
            assert_eq!(held(&target).await.len(), 1);
        });
    }
}

#[test]
fn a_stripe_s_bad_and_missing_chunks_are_gone_round() {
    World::run(3, async |world| {
        let mut rng = Rng::new(3);
        let raws = (0..3).map(|_| mixed_bytes(&mut rng, 2_300_000)).collect();
        let stripe = stripe_of(context().cluster, 100, RS, raws);
        let mut hosts = Vec::new();
        let mut nodes = Vec::new();
        for (number, chunk) in (1..).zip(&stripe) {
            let host = world.add_host(&format!("n{number}"), 4000 + number);
            let node = start(&host).await;
            chunk.write_to(&*node, context()).await.expect("write");
            hosts.push(host);
            nodes.push(node);
        }
        let target_host = world.add_host("n9", 4009);
        let target = start(&target_host).await;
        let others = |wanted: usize| -> Vec<(&SampleChunk, Vec<String>)> {
            let others = stripe.iter().zip(&hosts).enumerate().filter(|(at, _)| *at != wanted);
            others.map(|(_, (chunk, host))| (chunk, vec![host.address().to_owned()])).collect()
        };
        // The first member goes bad in its second frame, while it is read.
        let path = paths(&hosts[1], "chunks").remove(0);
        hosts[1].disk().flip(&path, 800_000, 2);
        let task = stripe[0].rebuild_task(vec![NOWHERE.to_owned()], &others(0));
        let receipt = target.rebuild_chunk(context(), task).await.expect("rebuild");
        assert!(receipt.from_parity && receipt.bytes_pulled > 0);
        assert_eq!(read(&target, 100).await, Ok(stripe[0].whole()));
        assert_eq!(is_held_good(&nodes[1], 101).await, Some(false), "the source noticed as well");

        // One more is gone: three of five are left, one of them bad.
        hosts[2].kill();
        let task = stripe[1].rebuild_task(Vec::new(), &others(1));
        target.rebuild_chunk(context(), task).await.expect("three good ones are enough");
        assert_eq!(read(&target, 101).await, Ok(stripe[1].whole()));
        hosts[3].kill();
        let task = stripe[2].rebuild_task(Vec::new(), &others(2));
        let text = assert_kind(target.rebuild_chunk(context(), task).await, Kind::Insufficient);
        assert!(text.contains("needs 3 chunks"), "{text}");
    });
}

#[test]
fn a_local_copy_that_is_not_the_catalog_s_chunk_is_replaced() {
    World::run(4, async |world| {
        let (one, two) = (world.add_host("n1", 4001), world.add_host("n2", 4002));
        let (source, target) = (start(&one).await, start(&two).await);
        let right = sample::chunk(context().cluster, 7, vec![1; 5000]);
        let wrong = sample::chunk(context().cluster, 7, vec![2; 5000]);
        right.write_to(&*source, context()).await.expect("write");
        wrong.write_to(&*target, context()).await.expect("write");
        let task = right.rebuild_task(vec![one.address().to_owned()], &[]);
        target.rebuild_chunk(context(), task).await.expect("rebuild");
        assert_eq!(read(&target, 7).await, Ok(right.whole()));
    });
}
