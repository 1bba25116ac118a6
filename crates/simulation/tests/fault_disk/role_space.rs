//! One node whose calls fail (F10, F11): an honest error, nothing half
//! visible, and all is well once the fault is over.

use std::io::ErrorKind;

use dfs_simulation::World;
use dfs_simulation::disk::Call;

use super::*;

const BEFORE: [(u64, usize); 2] = [(1, 1_100_000), (2, 700)];

async fn write_before(node: &Node) {
    for (handle, len) in BEFORE {
        write_chunk(node, handle, len).await.expect("write");
    }
}

async fn check_before(node: &Node, what: &str) {
    for (handle, len) in BEFORE {
        assert_eq!(read_chunk(node, handle).await, Ok(chunk(handle, len).whole()), "{what}");
    }
}

/// Fails one call of a write after the other; says how many there were.
async fn fail_each(world: &World, call: Call, kind: ErrorKind, len: usize) -> u32 {
    for skipped in 0..CALLS_MAX {
        let what = format!("{call:?} {skipped}, {kind:?}, {len} bytes");
        let host = world.add_host(&format!("n{len}-{call:?}-{kind:?}-{skipped}").to_lowercase(), 1);
        let node = start(&host).await;
        write_before(&node).await;
        host.disk().fail_after(skipped, call, kind, 1);
        let written = write_chunk(&node, 9, len).await;
        let is_struck = !host.disk().faults_injected().is_empty();
        host.disk().fail_next(call, kind, 0);
        if !is_struck {
            written.expect("nothing failed");
            host.kill();
            return skipped;
        }
        let expected = if kind == ErrorKind::StorageFull { Kind::NoSpace } else { Kind::Internal };
        let text = assert_kind(written, expected, &what);
        assert!(text.contains("simulated"), "{what}: it says what the disk said: {text}");
        assert_kind(read_chunk(&node, 9).await, Kind::NotFound, &what);
        assert_eq!(held(&node, 9).await, None, "{what}");
        assert_eq!(paths(host.disk(), "tmp"), Vec::<String>::new(), "{what}: no half chunk stays");
        let is_told = node.summary().await.trouble.is_some();
        assert_eq!(is_told, kind != ErrorKind::StorageFull, "{what}: full is not broken");
        check_before(&node, &what).await;
        let as_it_failed = MemoryDisk::default();
        as_it_failed.copy_from(host.disk());
        write_chunk(&node, 9, len).await.expect(&what);
        host.crash();
        let node = start(&host).await;
        check_before(&node, &what).await;
        assert_eq!(read_chunk(&node, 9).await, Ok(chunk(9, len).whole()), "{what}");
        // What failed is not found by the next start either.
        host.disk().copy_from(&as_it_failed);
        let node = start(&host).await;
        assert_eq!(held(&node, 9).await, None, "{what}");
        check_before(&node, &what).await;
        host.kill();
    }
    panic!("{call:?}: a write of {len} bytes has no end")
}

#[test]
fn a_call_that_fails_in_the_middle_of_a_write_leaves_nothing_half_visible() {
    for kind in [ErrorKind::StorageFull, ErrorKind::Other, ErrorKind::ReadOnlyFilesystem] {
        for len in [2_100_000, 900] {
            World::run(1, async |world| {
                let mut struck = Vec::new();
                for call in [
                    Call::Create,
                    Call::Write,
                    Call::Sync,
                    Call::CreateDir,
                    Call::Rename,
                    Call::SyncDir,
                ] {
                    struck.push(fail_each(world, call, kind, len).await);
                }
                if len > 1_000_000 {
                    assert!(struck.iter().all(|count| *count >= 1), "{struck:?}");
                } else {
                    assert!(struck[1] >= 1 && struck[2] >= 1, "{struck:?}");
                }
            });
        }
    }
}

#[test]
fn a_first_small_chunk_that_finds_no_space_for_its_pack_leaves_none() {
    for call in [Call::Create, Call::Write, Call::Sync, Call::SyncDir] {
        World::run(2, async |world| {
            let host = world.add_host("n1", 4001);
            let node = start(&host).await;
            host.disk().fail_next(call, ErrorKind::StorageFull, 1);
            assert_kind(write_chunk(&node, 9, 900).await, Kind::NoSpace, &format!("{call:?}"));
            assert_eq!(paths(host.disk(), "packs"), Vec::<String>::new(), "{call:?}");
            write_chunk(&node, 9, 900).await.expect("there is space again");
            host.crash();
            let node = start(&host).await;
            assert_eq!(read_chunk(&node, 9).await, Ok(chunk(9, 900).whole()));
        });
    }
}

#[test]
fn every_call_of_a_start_may_fail_and_the_next_start_finds_everything() {
    let mut refused = 0;
    for call in [Call::Open, Call::List, Call::CreateDir, Call::SyncDir, Call::Create, Call::Read] {
        for skipped in 0..40 {
            refused += World::run(3, async |world| {
                let host = world.add_host("n1", 4001);
                write_before(&*start(&host).await).await;
                host.disk().fail_after(skipped, call, ErrorKind::Other, 1);
                let started = try_start(&host).await;
                host.disk().fail_next(call, ErrorKind::Other, 0);
                let refused = u32::from(started.is_err());
                if let Err(error) = &started {
                    let is_disk = matches!(error, NodeStartError::Disk(_));
                    assert!(is_disk, "{call:?} {skipped}: {error}");
                    assert!(error.to_string().contains("simulated"), "{error}");
                }
                drop(started);
                if call != Call::Read {
                    let node = start(&host).await;
                    check_before(&node, &format!("{call:?} {skipped}")).await;
                }
                refused
            });
        }
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn a_read_only_volume_serves_reads_refuses_the_rest_and_survives_restarts() {
    World::run(4, async |world| {
        let host = world.add_host("n1", 4001);
        let mut node = start(&host).await;
        write_before(&node).await;
        // What looks at the volume and writes that were broken off left there.
        host.disk().plant_file("tmp/look", b"bytes");
        host.disk().plant_file("tmp/0000000000000007-0.chunk", b"bytes");
        host.disk().set_read_only(true);
        for life in 0..2 {
            let what = format!("life {life}");
            for len in [900, 2_100_000] {
                let text = assert_kind(write_chunk(&node, 9, len).await, Kind::Internal, &what);
                assert!(text.contains("read-only"), "{text}");
            }
            assert!(node.summary().await.trouble.expect("told").contains("read-only"));
            check_before(&node, &what).await;
            host.kill();
            node = start(&host).await;
            check_before(&node, &what).await;
        }
        host.disk().set_read_only(false);
        for (handle, len) in [(9, 900), (10, 2_100_000)] {
            write_chunk(&node, handle, len).await.expect("it can be written to again");
        }
        host.crash();
        let node = start(&host).await;
        check_before(&node, "later").await;
        assert_eq!(read_chunk(&node, 9).await, Ok(chunk(9, 900).whole()));
    });
}

#[test]
fn a_chunk_that_cannot_be_opened_for_a_moment_is_not_given_up() {
    World::run(5, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        write_before(&node).await;
        // A file that may not be opened is another matter: that one is a bad copy.
        for kind in [ErrorKind::Other, ErrorKind::TimedOut] {
            host.disk().fail_next(Call::Open, kind, 2);
            assert_kind(read_chunk(&node, 1).await, Kind::Internal, "open");
            check_before(&node, "a moment later").await;
        }
    });
}

#[test]
fn a_disk_that_was_dead_for_a_moment_has_everything_after_a_restart() {
    World::run(6, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        write_before(&node).await;
        host.disk().set_dead(true);
        for (handle, _) in BEFORE {
            let error = read_chunk(&node, handle).await.expect_err("it is dead");
            assert!(matches!(error.kind, Kind::Internal | Kind::Unavailable), "{error}");
        }
        assert!(write_chunk(&node, 9, 900).await.is_err());
        assert!(try_start(&host).await.is_err(), "no start on a dead disk");
        host.disk().set_dead(false);
        check_before(&*start(&host).await, "it is back").await;
    });
}

#[test]
fn a_node_whose_mount_went_away_gives_nothing_wrong_and_finds_all_when_it_is_back() {
    World::run(7, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        write_before(&node).await;
        host.disk().set_unmounted(true);
        for (handle, _) in BEFORE {
            assert!(read_chunk(&node, handle).await.is_err());
        }
        for len in [900, 2_100_000] {
            assert!(write_chunk(&node, 9, len).await.is_err(), "nothing goes under the mount");
        }
        host.kill();
        host.disk().set_unmounted(false);
        let node = start(&host).await;
        check_before(&node, "it is mounted again").await;
        assert_eq!(paths(host.disk(), "quarantine"), Vec::<String>::new());
    });
}
