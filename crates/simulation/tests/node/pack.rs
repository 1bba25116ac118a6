//! Small chunks and the files that they share.

use std::collections::BTreeSet;

use dfs_simulation::rng::Rng;
use dfs_simulation::{Host, World};
use futures_util::future::join_all;

use super::*;

/// A chunk of about `len` bytes on disk.
fn thick(handle: u64, len: usize) -> SampleChunk {
    sample::chunk(context().cluster, handle, Rng::new(handle).bytes(len))
}

fn pack_bytes(host: &Host) -> u64 {
    let files = host.disk().files();
    files.iter().filter(|(path, _)| path.starts_with("packs/")).map(|(_, len)| len).sum()
}

async fn assert_held(node: &Node, expected: &BTreeSet<u64>, len: usize) {
    let handles: BTreeSet<u64> = held(node).await.iter().map(|chunk| chunk.handle.0).collect();
    assert_eq!(&handles, expected);
    for &handle in expected {
        assert_eq!(read(node, handle).await, Ok(thick(handle, len).whole()));
    }
}

#[test]
fn many_small_chunks_share_files_and_syncs() {
    World::run(1, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        host.set_disk_latency_us(1000);
        let before = host.disk().effects();
        let chunks: Vec<SampleChunk> = (0..500).map(|handle| thick(handle, 400)).collect();
        for written in join_all(chunks.iter().map(|it| it.write_to(&*node, context()))).await {
            written.expect("write");
        }
        let effects = host.disk().effects() - before;
        assert!(effects < 100, "{effects} effects for 500 chunks");
        assert_eq!(paths(&host, "packs").len(), 1);
        host.crash();
        host.set_disk_latency_us(0);
        assert_held(&*start(&host).await, &(0..500).collect(), 400).await;
    });
}

#[test]
fn a_pack_that_is_mostly_dead_is_compacted_and_nothing_comes_back() {
    const LEN: usize = 60_000;
    World::run(2, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        let mut live: BTreeSet<u64> = (0..200).collect();
        for &handle in &live {
            thick(handle, LEN).write_to(&*node, context()).await.expect("write");
        }
        let full = pack_bytes(&host);
        let doomed: Vec<Handle> = (0..200).filter(|it| it % 5 != 0).map(Handle).collect();
        live.retain(|it| it % 5 == 0);
        node.delete_chunks(context(), doomed).await.expect("delete");
        // The next writes go to another pack; then the first can go.
        for handle in 1000..1003 {
            thick(handle, LEN).write_to(&*node, context()).await.expect("write");
            live.insert(handle);
        }
        let left = pack_bytes(&host);
        assert!(left * 3 < full, "{left} of {full} bytes are left");
        assert_held(&node, &live, LEN).await;
        for _ in 0..2 {
            host.crash();
            assert_held(&*start(&host).await, &live, LEN).await;
        }
    });
}

#[test]
fn a_tombstone_outlives_its_pack_as_long_as_what_it_buries() {
    const LEN: usize = 200_000;
    World::run(3, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        for handle in 0..10 {
            thick(handle, LEN).write_to(&*node, context()).await.expect("write");
        }
        // A failed sync closes the first pack.
        host.disk().fail_next_syncs(1);
        assert!(thick(99, LEN).write_to(&*node, context()).await.is_err());
        for handle in 100..130 {
            thick(handle, LEN).write_to(&*node, context()).await.expect("write");
        }
        // The tombstones of these come into the second pack, which then goes.
        node.delete_chunks(context(), (0..4).map(Handle).collect()).await.expect("delete");
        let second = paths(&host, "packs")[1].clone();
        node.delete_chunks(context(), (100..129).map(Handle).collect()).await.expect("delete");
        assert!(!paths(&host, "packs").contains(&second), "it was compacted");
        let live: BTreeSet<u64> = (4..10).chain([129]).collect();
        assert_held(&node, &live, LEN).await;
        host.crash();
        assert_held(&*start(&host).await, &live, LEN).await;
    });
}

#[test]
fn a_power_cut_at_any_effect_of_a_compaction_loses_nothing() {
    const LEN: usize = 200_000;
    let mut cut = 0;
    loop {
        let is_over = World::run(cut, async |world| {
            let host = world.add_host("n1", 4001);
            let node = start(&host).await;
            for handle in 0..24 {
                thick(handle, LEN).write_to(&*node, context()).await.expect("write");
            }
            let doomed = (2..24).map(Handle).collect();
            host.disk().cut_power_at(host.disk().effects() + cut);
            let _ = node.delete_chunks(context(), doomed).await;
            let written = thick(100, LEN).write_to(&*node, context()).await;
            let is_over = host.disk().is_on();
            drop(node);
            host.crash();
            let node = start(&host).await;
            for handle in [0, 1] {
                assert_eq!(read(&node, handle).await, Ok(thick(handle, LEN).whole()), "cut {cut}");
            }
            if written.is_ok() {
                assert_eq!(read(&node, 100).await, Ok(thick(100, LEN).whole()), "cut {cut}");
            }
            // What was deleted may be told of again, and then it is whole.
            for chunk in held(&node).await {
                assert!(chunk.is_good, "cut {cut}");
                let handle = chunk.handle.0;
                assert_eq!(read(&node, handle).await, Ok(thick(handle, LEN).whole()));
            }
            is_over
        });
        if is_over {
            assert!(cut > 5, "only {cut} effects");
            return;
        }
        cut += 1;
    }
}

#[test]
fn damage_in_the_middle_of_a_pack_costs_only_what_it_hit() {
    World::run(5, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        for handle in 0..50 {
            thick(handle, 3000).write_to(&*node, context()).await.expect("write");
        }
        host.kill();
        let path = paths(&host, "packs").remove(0);
        let mut bytes = host.disk().read_file(&path).expect("it is there");
        // The pack's own header, and a stretch that holds whole records.
        bytes[..64].fill(0);
        bytes[40_000..52_000].fill(0xee);
        host.disk().plant_file(&path, &bytes);
        let node = start(&host).await;
        let mut lost = 0;
        for handle in 0..50 {
            match read(&node, handle).await {
                Ok(whole) => assert_eq!(whole, thick(handle, 3000).whole()),
                Err(_) => lost += 1,
            }
        }
        assert!((3..=6).contains(&lost), "{lost} lost");
        for handle in 0..50 {
            thick(handle, 3000)
                .write_to(&*node, context())
                .await
                .expect("each can be written anew");
        }
        host.crash();
        assert_held(&*start(&host).await, &(0..50).collect(), 3000).await;
    });
}
