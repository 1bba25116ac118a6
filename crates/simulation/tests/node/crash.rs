//! Power cuts and kills at every step.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use dfs_simulation::sample::SampleChunk;
use dfs_simulation::{Host, World};
use futures_util::future::join_all;

use super::*;

/// Kept from before the cut: one chunk in a file, one in a pack.
const BEFORE: [(u64, usize); 2] = [(1, 1_100_000), (2, 700)];

async fn write_before(node: &Node) {
    for (handle, len) in BEFORE {
        thin(handle, len).write_to(node, context()).await.expect("write");
    }
}

/// Cuts the power at effect `cut` of writing `chunks` at once; `None` when
/// there are fewer effects.
async fn cut_while_writing(host: &Arc<Host>, chunks: &[SampleChunk], cut: u64) -> Option<()> {
    let node = start(host).await;
    write_before(&node).await;
    host.disk().cut_power_at(host.disk().effects() + cut);
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let (writer, noted, all) = (node.clone(), acknowledged.clone(), chunks.to_vec());
    let _ = host
        .spawn(async move {
            let write = async |chunk: &SampleChunk| {
                if chunk.write_to(&*writer, context()).await.is_ok() {
                    noted.lock().expect("whole").insert(chunk.handle());
                }
            };
            join_all(all.iter().map(write)).await;
        })
        .await;
    if host.disk().is_on() {
        return None;
    }
    drop(node);
    host.crash();

    let node = start(host).await;
    for (handle, len) in BEFORE {
        assert_eq!(read(&node, handle).await, Ok(thin(handle, len).whole()), "cut {cut}");
    }
    assert_eq!(paths(host, "tmp"), Vec::<String>::new(), "cut {cut}");
    for chunk in chunks {
        let handle = chunk.handle().0;
        let is_acknowledged = acknowledged.lock().expect("whole").contains(&chunk.handle());
        match read(&node, handle).await {
            Ok(whole) => assert_eq!(whole, chunk.whole(), "cut {cut}"),
            Err(error) => {
                assert!(!is_acknowledged, "cut {cut}: {handle} was acknowledged: {error}");
                assert_eq!(is_held_good(&node, handle).await, None, "cut {cut}: {error}");
            }
        }
        chunk.write_to(&*node, context()).await.expect("the next try is as good as new");
    }
    // All that was acknowledged in either life is there in a third one.
    host.crash();
    let node = start(host).await;
    for chunk in chunks {
        assert_eq!(read(&node, chunk.handle().0).await, Ok(chunk.whole()), "cut {cut}");
    }
    Some(())
}

#[test]
fn a_power_cut_at_any_effect_leaves_whole_chunks_or_nothing() {
    let alone: [Vec<SampleChunk>; 3] = [
        vec![thin(10, 2_500_000)],
        vec![thin(11, 3_000)],
        vec![thin(12, 90), thin(13, 1_200_000), thin(14, 5_000), thin(15, 400_000)],
    ];
    for chunks in alone {
        // A slow disk makes writers meet in one batch.
        for latency_us in [0, 100] {
            let mut cuts = 0;
            loop {
                let outcome = World::run(cuts, async |world| {
                    let host = world.add_host("n1", 4001);
                    host.set_disk_latency_us(latency_us);
                    cut_while_writing(&host, &chunks, cuts).await
                });
                if outcome.is_none() {
                    break;
                }
                cuts += 1;
            }
            assert!(cuts >= 2, "only {cuts} effects");
        }
    }
}

#[test]
fn a_power_cut_at_any_effect_of_the_first_start_is_survived() {
    for cut in 0.. {
        let is_over = World::run(cut, async |world| {
            let host = world.add_host("n1", 4001);
            host.disk().cut_power_at(cut);
            let node = try_start(&host).await;
            if let Ok(node) = &node {
                let _ = adopt(node).await;
            }
            let is_over = host.disk().is_on();
            drop(node);
            host.crash();
            let node = start(&host).await;
            thin(7, 100).write_to(&*node, context()).await.expect("write");
            is_over
        });
        if is_over {
            assert!(cut > 5);
            return;
        }
    }
}

#[test]
fn what_was_deleted_stays_deleted_after_a_kill() {
    World::run(1, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        for (handle, len) in [(1, 100), (2, 100), (3, 1_200_000), (4, 1_200_000)] {
            thin(handle, len).write_to(&*node, context()).await.expect("write");
        }
        node.delete_chunks(context(), vec![Handle(1), Handle(3)]).await.expect("delete");
        for _ in 0..2 {
            host.kill();
            let node = start(&host).await;
            let left: Vec<u64> = held(&node).await.iter().map(|chunk| chunk.handle.0).collect();
            assert_eq!(left, [2, 4]);
        }
        // A handle may come back to a node that had it: repair knows no past.
        let node = start(&host).await;
        for (handle, len) in [(1, 100), (3, 1_200_000)] {
            thin(handle, len).write_to(&*node, context()).await.expect("write");
        }
        host.crash();
        let node = start(&host).await;
        assert_eq!(held(&node).await.len(), 4);
        assert_eq!(read(&node, 1).await, Ok(thin(1, 100).whole()));
    });
}

#[test]
fn a_failed_sync_acknowledges_nothing_and_is_told() {
    for (seed, len) in [(1, 500), (2, 2_000_000)] {
        World::run(seed, async |world| {
            let host = world.add_host("n1", 4001);
            let node = start(&host).await;
            write_before(&node).await;
            host.disk().fail_next_syncs(1);
            assert_kind(thin(9, len).write_to(&*node, context()).await, Kind::Internal);
            assert_kind(read(&node, 9).await, Kind::NotFound);
            assert!(node.summary().await.trouble.expect("told").contains("I/O error"));
            thin(9, len).write_to(&*node, context()).await.expect("the next try gets new files");
            host.crash();
            let node = start(&host).await;
            assert_eq!(read(&node, 9).await, Ok(thin(9, len).whole()));
            for (handle, len) in BEFORE {
                assert_eq!(read(&node, handle).await, Ok(thin(handle, len).whole()));
            }
        });
    }
}
