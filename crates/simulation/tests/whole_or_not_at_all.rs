//! A file is visible whole or not at all.

use std::time::Duration;

use dfs_core::api::{Kind, PutMode};
use dfs_core::policy::ParitySpec;
use dfs_simulation::World;
use dfs_simulation::cluster::{Cluster, ClusterSettings, options, seekable, stream};
use dfs_simulation::net::Link;
use dfs_simulation::oracle::sample_bytes;

#[test]
fn a_reader_sees_the_old_or_the_new_file_and_never_both() {
    World::run(61, async |world| {
        let settings = ClusterSettings::new(3, 2, ParitySpec::None);
        let cluster = Cluster::start(world, settings).await;
        let old = sample_bytes(1, 900_000);
        cluster.put("a", &old).await.expect("put");
        for (turn, length) in (2..8).zip([900_000, 10, 2_000_000, 900_000, 65_536, 900_001]) {
            let before = cluster.get("a").await.expect("get");
            let new = sample_bytes(turn, length);
            let mut over = options("a");
            over.mode = PutMode::Replace;
            let put = cluster.begin_put(seekable(&new), over);
            let mut readers = Vec::new();
            for _ in 0..40 {
                readers.push(cluster.begin_get("a", None, true));
                cluster.pass(Duration::from_micros(700)).await;
            }
            put.await.expect("the client lives").expect("replace");
            readers.push(cluster.begin_get("a", None, false));
            let last = readers.len() - 1;
            for (at, reader) in readers.into_iter().enumerate() {
                match reader.await.expect("the client lives") {
                    Ok((bytes, _)) if at == last => assert!(bytes == new, "acknowledged is seen"),
                    Ok((bytes, _)) => assert!(bytes == before || bytes == new, "a mixture"),
                    Err(error) => assert_eq!(error.kind, Kind::Invalid, "{error}"),
                }
            }
        }
    });
}

#[test]
fn an_abandoned_upload_leaves_nothing_visible_and_its_space_comes_back() {
    World::run(62, async |world| {
        let mut settings = ClusterSettings::new(3, 2, ParitySpec::Xor { data: 2 });
        settings.upload_idle_max = Duration::from_secs(60);
        settings.delete_grace = Duration::from_secs(30);
        let cluster = Cluster::start(world, settings).await;
        let bytes = sample_bytes(1, 4_000_000);
        world.net().set_all(Link { latency_us: 5_000, ..Link::default() });
        for (turn, kill_after_ms) in (0..).zip([15, 40, 90]) {
            let source = if turn % 2 == 0 { seekable(&bytes) } else { stream(&bytes, 100_000) };
            drop(cluster.begin_put(source, options("a")));
            cluster.pass(Duration::from_millis(kill_after_ms)).await;
            cluster.client_host().kill();
            cluster.client_host().start();
            let error = cluster.get_error("a").await;
            assert_eq!(error.kind, Kind::NotFound, "{error}");
        }
        cluster.pass(Duration::from_secs(10)).await;
        let held: u64 = cluster.status().await.nodes.iter().map(|node| node.chunks).sum();
        assert!(held > 0, "the uploads got somewhere");
        cluster
            .wait_for("empty nodes", Duration::from_secs(1800), |status| {
                status.nodes.iter().all(|node| node.chunks == 0)
            })
            .await;
        cluster.put("a", &bytes).await.expect("the name is free");
        assert!(cluster.get("a").await.expect("get") == bytes);
    });
}

#[test]
fn a_live_upload_is_never_swept() {
    World::run(63, async |world| {
        let mut settings = ClusterSettings::new(3, 2, ParitySpec::None);
        settings.upload_idle_max = Duration::from_secs(120);
        settings.delete_grace = Duration::from_secs(1);
        let cluster = Cluster::start(world, settings).await;
        // So slow that sweeps and inventories pass by many times.
        for name in cluster.node_names() {
            world.net().slow_down(&name, 900_000);
        }
        let bytes = sample_bytes(1, 1_500_000);
        let put = cluster.put("slow", &bytes).await.expect("put");
        assert_eq!(put.restarts, 0);
        assert!(cluster.get("slow").await.expect("get") == bytes);
    });
}

#[test]
fn a_name_that_exists_is_refused_unless_told_to_replace_it() {
    World::run(64, async |world| {
        let settings = ClusterSettings::new(3, 2, ParitySpec::None);
        let cluster = Cluster::start(world, settings).await;
        let bytes = sample_bytes(1, 1000);
        cluster.put("a", &bytes).await.expect("put");
        let error = cluster.put("a", b"other").await.expect_err("the name is taken");
        assert_eq!(error.kind, Kind::Exists, "{error}");
        assert!(cluster.get("a").await.expect("get") == bytes);
    });
}
