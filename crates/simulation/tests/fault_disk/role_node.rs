//! One node on a medium that lies (F5 to F9): it serves no bad byte, and what
//! is not harmed stays.

use std::time::Duration;

use dfs_simulation::World;

use super::*;

/// Chunks in files of their own and in a pack.
const CHUNKS: [(u64, usize); 4] = [(1, 2_100_000), (2, 700), (3, 1_100_000), (4, 5_000)];

async fn write_all(node: &Node) {
    for (handle, len) in CHUNKS {
        write_chunk(node, handle, len).await.expect("write");
    }
}

/// Reads all chunks: each is right or an honest error, or it is told from
/// what it should be by its SHA-256, to which whoever reads a chunk whole
/// holds it. Says how many were not right.
async fn check_reads(node: &Node, what: &str) -> usize {
    let mut lost = 0;
    for (handle, len) in CHUNKS {
        let error = match read_chunk(node, handle).await {
            Ok(whole) if whole == chunk(handle, len).whole() => continue,
            Ok(_) => {
                let verified = node.verify_chunk(context(), Handle(handle)).await;
                verified.expect_err("frames of another chunk are no chunk")
            }
            Err(error) => error,
        };
        lost += 1;
        let is_honest = matches!(error.kind, Kind::Integrity | Kind::NotFound);
        assert!(is_honest, "{what}: {handle}: {error}");
    }
    lost
}

#[test]
fn one_bad_read_costs_neither_the_read_nor_the_chunk() {
    World::run(1, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        // Longer than what is read in one go, however well it compresses.
        let thick = sample::chunk(context().cluster, 7, Rng::new(7).bytes(2_100_000));
        thick.write_to(&*node, context()).await.expect("write");
        for turn in 0..40 {
            host.disk().flip_reads_after(turn % 4, 1);
            assert!(read_chunk(&node, 7).await == Ok(thick.whole()), "flip {turn}");
            host.disk().misdirect_next_reads(1);
            assert!(read_chunk(&node, 7).await == Ok(thick.whole()), "misdirected {turn}");
        }
        assert_eq!(count(host.disk(), "flipped read"), 40);
        assert_eq!(count(host.disk(), "misdirected read"), 40);
        assert_eq!(paths(host.disk(), "quarantine"), Vec::<String>::new());
    });
}

#[test]
fn many_bad_reads_are_honest_errors_and_no_bad_bytes() {
    for seed in 0..20 {
        World::run(seed, async |world| {
            let host = world.add_host("n1", 4001);
            let node = start(&host).await;
            write_all(&node).await;
            host.disk().reseed_faults(seed);
            host.disk().flip_next_reads(5);
            host.disk().misdirect_next_reads(3);
            check_reads(&node, "many bad reads").await;
            assert!(count(host.disk(), "flipped read") > 0);
        });
    }
}

#[test]
fn a_write_over_another_chunk_is_told_by_identity_and_never_served() {
    World::run(2, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        write_chunk(&node, 1, 2_100_000).await.expect("write");
        let victim = paths(host.disk(), "chunks/").remove(0);
        // The first write of chunk 5 is its header, as long as that of 1.
        host.disk().misdirect_next_write(&victim, 0);
        write_chunk(&node, 5, 2_100_000).await.expect("nobody can know yet");
        assert_eq!(count(host.disk(), "misdirected write"), 1);
        let text = assert_kind(read_chunk(&node, 1).await, Kind::Integrity, "overwritten");
        assert!(text.contains("it holds chunk"), "{text}");
        assert_kind(read_chunk(&node, 5).await, Kind::Integrity, "never written");
        host.crash();
        let node = start(&host).await;
        for handle in [1, 5] {
            assert_kind(read_chunk(&node, handle).await, Kind::Integrity, "after a restart");
            assert_eq!(held(&node, handle).await, Some(false));
            write_chunk(&node, handle, 2_100_000).await.expect("it is written anew");
            assert_eq!(read_chunk(&node, handle).await, Ok(chunk(handle, 2_100_000).whole()));
        }
    });
}

#[test]
fn swapped_chunk_files_are_refused_under_each_others_names() {
    World::run(3, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        write_all(&node).await;
        let files = paths(host.disk(), "chunks/");
        host.disk().swap_files(&files[0], &files[1]);
        for handle in [1, 3] {
            let text = assert_kind(read_chunk(&node, handle).await, Kind::Integrity, "swapped");
            assert!(text.contains("it holds chunk"), "{text}");
        }
        assert_eq!(check_reads(&node, "swapped").await, 2);
    });
}

#[test]
fn a_misdirected_write_anywhere_makes_no_chunk_that_passes_for_another() {
    let mut harmed = 0;
    for seed in 0..60 {
        harmed += World::run(seed, async |world| {
            let host = world.add_host("n1", 4001);
            let mut node = start(&host).await;
            write_all(&node).await;
            host.disk().reseed_faults(seed);
            host.disk().misdirect_next_writes(1 + u32::try_from(seed % 3).expect("small"));
            let len = [3_000_000, 900][usize::try_from(seed % 2).expect("small")];
            write_chunk(&node, 9, len).await.expect("nobody can know yet");
            let mut lost = check_reads(&node, "while it runs").await;
            host.crash();
            match try_start(&host).await {
                Ok(started) => node = started,
                Err(error @ NodeStartError::DamagedIdentity(_)) => {
                    assert!(error.to_string().contains("identity"), "{error}");
                    return 1;
                }
                Err(error) => panic!("seed {seed}: {error}"),
            }
            lost += check_reads(&node, "after a restart").await;
            if let Ok(whole) = read_chunk(&node, 9).await {
                let is_right = whole == chunk(9, len).whole();
                let verified = node.verify_chunk(context(), Handle(9)).await;
                assert!(is_right || verified.is_err(), "seed {seed}");
            }
            usize::from(lost > 0)
        });
    }
    assert!(harmed > 20, "only {harmed} of 60 did harm");
}

#[test]
fn a_lost_write_is_found_by_its_checksum_when_it_is_read() {
    for (seed, len) in [(5, 2_100_000), (6, 900)] {
        let mut lost = 0;
        for skipped in 0..CALLS_MAX {
            let is_over = World::run(seed, async |world| {
                let host = world.add_host("n1", 4001);
                let node = start(&host).await;
                write_all(&node).await;
                host.disk().lose_writes_after(skipped, 1);
                write_chunk(&node, 9, len).await.expect("nobody can know yet");
                if count(host.disk(), "lost write") == 0 {
                    return true;
                }
                assert_kind(read_chunk(&node, 9).await, Kind::Integrity, "lost");
                assert_eq!(check_reads(&node, "others").await, 0);
                host.crash();
                let node = start(&host).await;
                let error = read_chunk(&node, 9).await.expect_err("it was lost");
                assert!(matches!(error.kind, Kind::Integrity | Kind::NotFound), "{error}");
                assert_eq!(check_reads(&node, "others, after a restart").await, 0);
                write_chunk(&node, 9, len).await.expect("it is written anew");
                assert_eq!(read_chunk(&node, 9).await, Ok(chunk(9, len).whole()));
                false
            });
            if is_over {
                break;
            }
            lost += 1;
        }
        assert!((1..CALLS_MAX).contains(&lost), "{lost} writes of {len} bytes could be lost");
    }
}

#[test]
fn a_file_whose_sync_failed_takes_no_more_writes() {
    World::run(7, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        write_all(&node).await;
        let files = || paths(host.disk(), "packs/");
        let before = host.disk().read_file(&files()[0]).expect("a pack");
        host.disk().fail_next_syncs(1);
        assert_kind(write_chunk(&node, 9, 900).await, Kind::Internal, "pack");
        host.disk().fail_next_syncs(1);
        assert_kind(write_chunk(&node, 10, 1_500_000).await, Kind::Internal, "file");
        for (handle, len) in [(9, 900), (10, 1_500_000)] {
            assert_eq!(held(&node, handle).await, None);
            write_chunk(&node, handle, len).await.expect("into a new file");
        }
        assert_eq!(host.disk().read_file(&files()[0]).expect("a pack"), before);
        assert_eq!(files().len(), 2, "the pack that failed was closed for good");
        // No page that the failed sync left behind is what is vouched for.
        host.disk().drop_lost_pages();
        host.crash();
        let node = start(&host).await;
        assert_eq!(check_reads(&node, "after a power cut").await, 0);
        for (handle, len) in [(9, 900), (10, 1_500_000)] {
            assert_eq!(read_chunk(&node, handle).await, Ok(chunk(handle, len).whole()));
        }
    });
}

#[test]
fn an_identity_that_reads_wrong_once_stops_nothing_and_twice_stops_one_start() {
    World::run(8, async |world| {
        let host = world.add_host("n1", 4001);
        write_all(&*start(&host).await).await;
        let files = host.disk().files();
        host.disk().flip_next_reads(1);
        assert_eq!(check_reads(&*start(&host).await, "read again").await, 0);
        host.kill();
        host.disk().flip_next_reads(2);
        let error = try_start(&host).await.err().expect("the file is not what it was");
        assert!(matches!(error, NodeStartError::DamagedIdentity(_)), "{error}");
        assert_eq!(host.disk().files(), files, "nothing was touched");
        assert_eq!(check_reads(&*start(&host).await, "the next start").await, 0);
    });
}

#[test]
fn a_slow_node_is_as_right_as_a_fast_one() {
    World::run(9, async |world| {
        let host = world.add_host("n1", 4001);
        host.set_disk_latency_us(400_000);
        let node = start(&host).await;
        let started = tokio::time::Instant::now();
        let adopt = Adopt {
            context: context(),
            coordinator: "nowhere:9".to_owned(),
            replaces: dfs_core::id::Run::default(),
            has_ended: false,
            position: 1,
            numbers_end: 1 << 40,
        };
        node.adopt(adopt).await.expect("adopted again");
        write_all(&node).await;
        assert!(started.elapsed() > Duration::from_secs(2), "{:?}", started.elapsed());
        assert_eq!(check_reads(&node, "slow").await, 0);
    });
}
