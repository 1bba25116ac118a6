//! A full disk.

use dfs_simulation::World;
use dfs_simulation::rng::Rng;

use super::*;

fn thick(handle: u64, len: usize) -> SampleChunk {
    sample::chunk(context().cluster, handle, Rng::new(handle).bytes(len))
}

/// Writes until the node is full; says how many chunks it took.
async fn fill(node: &Node, len: usize) -> u64 {
    for handle in 0.. {
        if let Err(error) = thick(handle, len).write_to(node, context()).await {
            assert_eq!(error.kind, Kind::NoSpace, "{error}");
            return handle;
        }
    }
    unreachable!("no disk is endless")
}

#[test]
fn a_full_disk_refuses_chunks_keeps_what_it_has_and_can_be_emptied() {
    for (seed, len) in [(1, 1_500_000), (2, 40_000)] {
        World::run(seed, async |world| {
            let host = world.add_host("n1", 4001);
            host.disk().set_capacity(8 << 20);
            let node = start(&host).await;
            let count = fill(&node, len).await;
            assert!(count >= 3, "{count} chunks of {len} bytes");
            assert_eq!(paths(&host, "tmp"), Vec::<String>::new(), "no half chunk is left");
            assert_eq!(node.summary().await.trouble, None, "full is not broken");
            for handle in 0..count {
                assert_eq!(read(&node, handle).await, Ok(thick(handle, len).whole()));
            }
            let all = (0..count).map(Handle).collect();
            node.delete_chunks(context(), all).await.expect("a full disk can be emptied");
            assert_eq!(node.summary().await.space.used, 0);
            assert_eq!(fill(&node, len).await, count, "the space came back");
        });
    }
}

#[test]
fn a_node_keeps_to_its_capacity() {
    World::run(3, async |world| {
        let host = world.add_host("n1", 4001);
        let capped = NodeSettings { capacity_bytes: Some(5_000_000), ..settings(&host) };
        let node = Node::open(host.start(), capped).await.expect("the node starts");
        adopt(&node).await.expect("it is adopted");
        let count = fill(&node, 1_200_000).await;
        assert_eq!(count, 4);
        let space = node.summary().await.space;
        assert_eq!(space.total, 5_000_000);
        assert!(space.used <= 5_000_000 && space.used + space.free == 5_000_000, "{space:?}");
        assert!(host.disk().used() < 5_200_000, "{}", host.disk().used());
    });
}

#[test]
fn a_disk_that_fills_in_the_middle_of_a_chunk_leaves_nothing_of_it() {
    for (seed, len) in [(4, 3_000_000), (5, 900_000)] {
        World::run(seed, async |world| {
            let host = world.add_host("n1", 4001);
            let node = start(&host).await;
            thick(1, 1000).write_to(&*node, context()).await.expect("write");
            // The volume lies about its free space by a block.
            let used = host.disk().used();
            host.disk().set_capacity(used + len as u64 + 300_000);
            let node_space = node.summary().await.space.free;
            assert!(node_space > len as u64 / 2);
            for handle in 2..5 {
                let _ = thick(handle, len).write_to(&*node, context()).await;
            }
            assert_kind(thick(9, len).write_to(&*node, context()).await, Kind::NoSpace);
            assert_eq!(paths(&host, "tmp"), Vec::<String>::new());
            assert_eq!(read(&node, 1).await, Ok(thick(1, 1000).whole()));
            host.crash();
            let node = start(&host).await;
            assert_eq!(read(&node, 1).await, Ok(thick(1, 1000).whole()));
        });
    }
}
