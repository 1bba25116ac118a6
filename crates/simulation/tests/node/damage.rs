//! Bytes that are not as they were written.

use dfs_simulation::World;
use dfs_simulation::disk::MemoryDisk;
use dfs_simulation::{Host, rng::Rng};

use super::*;

const CHUNKS: [(u64, usize); 4] = [(1, 2_100_000), (2, 300), (3, 900_000), (4, 50)];

/// A folder with a few chunks, all written and synced.
async fn master(world: &World) -> MemoryDisk {
    let host = world.add_host("n1", 4001);
    let node = start(&host).await;
    for (handle, len) in CHUNKS {
        thin(handle, len).write_to(&*node, context()).await.expect("write");
    }
    drop(node);
    host.kill();
    host.disk().clone()
}

/// Reads all chunks; none may come back as something else, and one that does
/// not come back must be told of as bad or not at all.
async fn check_reads(node: &Node, expected: &[WholeChunk], what: &str) -> usize {
    let mut lost = 0;
    for expected in expected {
        let handle = expected.header.handle.0;
        match read(node, handle).await {
            Ok(whole) => assert_eq!(&whole, expected, "{what}"),
            Err(error) => {
                lost += 1;
                assert!(matches!(error.kind, Kind::Integrity | Kind::NotFound), "{what}: {error}");
                assert_ne!(is_held_good(node, handle).await, Some(true), "{what}: {error}");
                let again = read(node, handle).await.expect_err(what);
                assert!(matches!(again.kind, Kind::Integrity | Kind::NotFound), "{what}: {again}");
            }
        }
    }
    lost
}

fn stored(disk: &MemoryDisk) -> Vec<(String, u64)> {
    let is_stored =
        |(path, _): &(String, u64)| path.starts_with("chunks/") || path.starts_with("packs/");
    disk.files().into_iter().filter(is_stored).collect()
}

#[test]
fn a_flipped_bit_anywhere_is_never_served_and_costs_one_chunk_at_most() {
    World::run(1, async |world| {
        let master = master(world).await;
        let expected = CHUNKS.map(|(handle, len)| thin(handle, len).whole());
        let mut rng = Rng::new(1);
        let scratch = world.add_host("scratch", 1);
        let mut harmed = 0;
        for (path, len) in stored(&master) {
            let offsets = (0..len).filter(|at| *at < 400 || len - *at < 200 || at % 23 == 0);
            for offset in offsets {
                let bit = u8::try_from(rng.next_u64() % 8).expect("below 8");
                let what = format!("{path} {offset} bit {bit}");
                scratch.disk().copy_from(&master);
                // Once before the start, once under a running node.
                let is_early = rng.next_u64().is_multiple_of(2);
                if is_early {
                    scratch.disk().flip(&path, offset, bit);
                }
                let node = start_n1(&scratch).await;
                if !is_early {
                    scratch.disk().flip(&path, offset, bit);
                }
                let lost = check_reads(&node, &expected, &what).await;
                assert!(lost <= 1, "{what}");
                harmed += lost;
            }
        }
        assert!(harmed > 300, "only {harmed} flips were noticed");
    });
}

/// Starts node n1 on another machine.
async fn start_n1(host: &Arc<Host>) -> Arc<Node> {
    let settings = NodeSettings { id: NodeId::new("n1").expect("good"), ..settings(host) };
    let node = Node::open(host.start(), settings).await.expect("the node starts");
    adopt(&node).await.expect("it is adopted");
    node
}

#[test]
fn what_is_bad_is_kept_aside_and_stays_bad_after_a_restart() {
    World::run(2, async |world| {
        drop(master(world).await);
        let host = world.host("n1");
        for (path, _) in stored(host.disk()) {
            let at = if path.starts_with("packs/") { 64 + 32 + 140 } else { 500 };
            host.disk().flip(&path, at, 3);
        }
        for life in 0..3 {
            let node = start(&host).await;
            assert!(read(&node, 1).await.is_err() && read(&node, 2).await.is_err());
            assert_eq!(is_held_good(&node, 1).await, Some(false), "life {life}");
            assert_eq!(is_held_good(&node, 2).await, Some(false), "life {life}");
            assert_eq!(is_held_good(&node, 3).await, Some(true), "life {life}");
            let aside = paths(&host, "quarantine");
            assert_eq!(aside.len(), 2, "life {life}: {aside:?}");
            assert_eq!(node.summary().await.quarantined, 2);
            host.crash();
        }
        // Deleting a bad chunk deletes it.
        let node = start(&host).await;
        node.delete_chunks(context(), vec![Handle(1), Handle(2)]).await.expect("delete");
        assert_eq!(held(&node).await.len(), 2);
        assert_eq!(paths(&host, "quarantine").len(), 0);
        host.kill();
        assert_eq!(held(&*start(&host).await).await.len(), 2);
    });
}

#[test]
fn what_the_disk_cannot_read_is_bad() {
    World::run(3, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        thin(1, 2_100_000).write_to(&*node, context()).await.expect("write");
        let (path, len) = stored(host.disk()).remove(0);
        host.disk().make_unreadable(&path, 200..len - 200);
        assert_kind(read(&node, 1).await, Kind::Integrity);
        assert_eq!(is_held_good(&node, 1).await, Some(false));
    });
}

#[test]
fn a_chunk_under_another_name_is_refused() {
    World::run(4, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        for (handle, len) in CHUNKS {
            thin(handle, len).write_to(&*node, context()).await.expect("write");
        }
        let (path, _) = stored(host.disk()).remove(0);
        let bytes = host.disk().read_file(&path).expect("it is there");
        // Under the running node, over a chunk that it holds.
        thin(0x101, 2_100_000).write_to(&*node, context()).await.expect("write");
        host.disk().plant_file("chunks/01/0000000000000101.chunk", &bytes);
        let text = assert_kind(read(&node, 0x101).await, Kind::Integrity);
        assert!(text.contains("it holds chunk 1 "), "{text}");
        // And before a start, under a name that is new.
        host.disk().plant_file("chunks/02/0000000000000202.chunk", &bytes);
        host.kill();
        let node = start(&host).await;
        assert_kind(read(&node, 0x202).await, Kind::Integrity);
        assert_eq!(read(&node, 1).await, Ok(thin(1, 2_100_000).whole()));
    });
}

#[test]
fn a_chunk_file_that_somebody_removed_is_not_held_any_more() {
    World::run(5, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        thin(1, 2_100_000).write_to(&*node, context()).await.expect("write");
        let (path, _) = stored(host.disk()).remove(0);
        host.disk().unplant_file(&path);
        assert_kind(read(&node, 1).await, Kind::NotFound);
        assert_eq!(is_held_good(&node, 1).await, None);
        thin(1, 2_100_000).write_to(&*node, context()).await.expect("it can be written again");
    });
}
