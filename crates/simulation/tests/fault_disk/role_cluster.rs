//! A whole cluster: missing mounts, a ledger that fails, wrong clocks, slow
//! disks (F9 to F12, F16, F18).

use std::io::ErrorKind;
use std::time::Duration;

use dfs_core::api::{
    ClusterStatus, CoordinatorService, Lookup, NodeState, ReasonKind, Remove, Word,
};
use dfs_core::ledger::{LEDGER_FILE, Ledger};
use dfs_core::policy::ParitySpec;
use dfs_simulation::World;
use dfs_simulation::cluster::{
    COORDINATOR, Cluster, ClusterSettings, file_name, options, seekable,
};
use dfs_simulation::disk::Call;
use dfs_simulation::oracle::sample_bytes;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Copies are rebuilt late: what is missing for a while is not given up.
fn patient() -> ClusterSettings {
    let mut settings = ClusterSettings::new(3, 2, ParitySpec::None);
    settings.repair_after = 30 * MINUTE;
    settings
}

async fn put_some(cluster: &Cluster<'_>) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for (seed, len) in [(1, 900), (2, 700_000), (3, 2_500_000)] {
        let (name, bytes) = (format!("f{seed}"), sample_bytes(seed, len));
        cluster.put(&name, &bytes).await.expect("put");
        files.push((name, bytes));
    }
    files
}

async fn check_all(cluster: &Cluster<'_>, files: &[(String, Vec<u8>)]) {
    for (name, bytes) in files {
        assert!(cluster.get(name).await.expect("get") == *bytes, "{name}");
    }
}

async fn state_of(cluster: &Cluster<'_>, node: &str) -> NodeState {
    let status = cluster.status().await;
    status.nodes.iter().find(|it| it.id.as_str() == node).expect("a member").state
}

#[test]
fn a_node_started_on_an_empty_mount_point_is_not_taken_for_the_one_that_it_was() {
    World::run(1, async |world| {
        let cluster = Cluster::start(world, patient()).await;
        let files = put_some(&cluster).await;
        let host = cluster.host("n2");
        host.kill();
        host.disk().set_unmounted(true);
        cluster.start_node("n2").await;
        cluster.pass(5 * MINUTE).await;
        assert_eq!(state_of(&cluster, "n2").await, NodeState::Offline, "refused");
        let status = cluster.status().await;
        let text = format!("{status:?}");
        assert!(text.contains("--replace"), "the status says why, and the way out: {text}");
        assert_eq!(status.repair.done + status.repair.running, 0, "nobody gave its copies up");
        check_all(&cluster, &files).await;
        cluster.put("meanwhile", b"elsewhere").await.expect("put");
        assert_eq!(paths(host.disk(), "chunks/").len() + paths(host.disk(), "packs/").len(), 0);

        host.kill();
        host.disk().set_unmounted(false);
        cluster.start_node("n2").await;
        cluster.wait_until_heard().await;
        let status = cluster.settle().await;
        assert_eq!(status.repair.done, 0, "all its copies are there");
        for other in ["n1", "n3"] {
            cluster.host(other).kill();
            check_all(&cluster, &files).await;
            cluster.start_node(other).await;
            cluster.wait_until_heard().await;
        }
    });
}

#[test]
fn a_running_node_whose_mount_went_away_costs_no_file() {
    World::run(2, async |world| {
        let cluster = Cluster::start(world, patient()).await;
        let files = put_some(&cluster).await;
        let host = cluster.host("n2");
        host.disk().set_unmounted(true);
        check_all(&cluster, &files).await;
        cluster.put("meanwhile", &sample_bytes(9, 700_000)).await.expect("put");
        assert_eq!(paths(host.disk(), "chunks/").len() + paths(host.disk(), "packs/").len(), 0);
        host.kill();
        host.disk().set_unmounted(false);
        cluster.start_node("n2").await;
        cluster.wait_until_heard().await;
        cluster.settle().await;
        check_all(&cluster, &files).await;
    });
}

#[test]
fn a_coordinator_on_an_empty_mount_point_founds_nothing_with_the_nodes_of_another_cluster() {
    World::run(4, async |world| {
        let cluster = Cluster::start(world, patient()).await;
        let files = put_some(&cluster).await;
        let held = |name: &str| cluster.host(name).disk().files();
        let before: Vec<_> = ["n1", "n2", "n3"].map(held).into();
        let host = cluster.host(COORDINATOR);
        host.kill();
        host.disk().set_unmounted(true);
        let _ = cluster.try_start_coordinator().await;
        cluster.pass(5 * MINUTE).await;
        assert!(cluster.put("new", b"bytes").await.is_err(), "no node takes its orders");
        assert_eq!(before, Vec::from(["n1", "n2", "n3"].map(held)), "no chunk was touched");
        host.kill();
        host.disk().set_unmounted(false);
        cluster.start_coordinator().await;
        cluster.wait_until_heard().await;
        check_all(&cluster, &files).await;
    });
}

#[test]
fn a_ledger_that_fails_ends_the_leadership_and_the_next_one_knows_all() {
    for (call, kind) in [
        (Call::Sync, ErrorKind::Other),
        (Call::Sync, ErrorKind::StorageFull),
        (Call::Write, ErrorKind::StorageFull),
        (Call::Write, ErrorKind::Other),
    ] {
        World::run(5, async |world| {
            let cluster = Cluster::start(world, patient()).await;
            let files = put_some(&cluster).await;
            let run = cluster.status().await.run;
            cluster.host(COORDINATOR).disk().fail_next(call, kind, 1);
            // A removal that is not repeated hears of the commit that failed.
            let error = remove(&cluster, "f3").await.expect_err("it was not committed");
            assert_eq!(error.kind, Kind::NotKnown, "{error}");
            assert!(cluster.host(COORDINATOR).is_up(), "the process goes on");
            check_all(&cluster, &files[..2]).await;
            let status = cluster.wait_for("new run", MINUTE, |status| status.run != run).await;
            assert!(status.run.epoch > run.epoch);
            cluster.wait_until_heard().await;
            check_all(&cluster, &files[..2]).await;
            match cluster.get("f3").await {
                Ok(bytes) => assert!(bytes == files[2].1, "whole"),
                Err(error) => assert_eq!(error.kind, Kind::NotFound, "or not there: {error}"),
            }
            // A put asks again, and the next leadership knows what came of it.
            cluster.host(COORDINATOR).disk().fail_next(call, kind, 1);
            cluster.put("late", b"bytes").await.expect("it is stored once");
            assert_eq!(cluster.get("late").await.expect("get"), b"bytes");
            cluster.put("again", b"bytes").await.expect("put");
            let live = cluster.coordinator_role().expect("it runs").catalog();
            let copy = MemoryDisk::default();
            copy.copy_from(cluster.host(COORDINATOR).disk());
            let opened = Ledger::open(&*copy.handle(), Durability::Strict).expect("it opens");
            assert_eq!(opened.1, live, "memory is not ahead of the disk");
        });
    }
}

#[test]
fn while_a_failed_ledger_stays_shut_readers_see_what_was_durable() {
    World::run(9, async |world| {
        let cluster = Cluster::start(world, patient()).await;
        let files = put_some(&cluster).await;
        let disk = cluster.host(COORDINATOR).disk().clone();
        disk.fail_next(Call::Sync, ErrorKind::Other, 1000);
        let error = cluster.put("late", b"bytes").await.expect_err("it was not committed");
        assert_eq!(error.kind, Kind::NotKnown, "{error}");
        cluster.pass(MINUTE).await;
        check_all(&cluster, &files).await;
        assert_eq!(cluster.get_error("late").await.kind, Kind::NotFound, "it was taken back");
        let status = cluster.status().await;
        assert_eq!(status.verdict.word, Word::AtRisk, "{:?}", status.verdict);
        assert_eq!(status.verdict.reasons[0].kind, ReasonKind::LedgerBroken);
        let error = cluster.put("later", b"bytes").await.expect_err("nothing is taken");
        assert_eq!(error.kind, Kind::Unavailable, "{error}");
        disk.fail_next(Call::Sync, ErrorKind::Other, 0);
        cluster.pass(MINUTE).await;
        cluster.put("later", b"bytes").await.expect("put");
        check_all(&cluster, &files).await;
    });
}

#[test]
fn a_full_coordinator_serves_reads_removes_and_takes_files_once_there_is_room() {
    World::run(6, async |world| {
        let cluster = Cluster::start(world, patient()).await;
        let files = put_some(&cluster).await;
        for number in 0..20 {
            cluster.put(&format!("many/{number}"), b"bytes").await.expect("put");
        }
        let disk = cluster.host(COORDINATOR).disk().clone();
        for free in [0, 5000, 900_000] {
            disk.set_capacity(disk.used() + free);
            // A look is good for a moment.
            cluster.pass(Duration::from_millis(200)).await;
            let error = cluster.put("more", b"bytes").await.expect_err("it is full");
            assert_eq!(error.kind, Kind::NoSpace, "{error}");
            assert!(error.message.contains("the coordinator's disk is full"), "{error}");
        }
        assert_eq!(cluster.get_error("more").await.kind, Kind::NotFound, "nothing was applied");
        check_all(&cluster, &files).await;
        cluster.pass(MINUTE).await;
        let status = cluster.status().await;
        let reason = status.verdict.reasons.first().map(|reason| reason.kind);
        assert_eq!(reason, Some(ReasonKind::LedgerFull), "{:?}", status.verdict);
        for number in 0..20 {
            remove(&cluster, &format!("many/{number}")).await.expect("the reserve is there for it");
        }
        assert_eq!(cluster.status().await.run.epoch.0, 1, "no commit failed");
        // A start needs room for its run.
        cluster.host(COORDINATOR).crash();
        cluster.start_coordinator().await;
        cluster.wait_until_heard().await;
        check_all(&cluster, &files).await;
        let error = cluster.put("more", b"bytes").await.expect_err("it is still full");
        assert_eq!(error.kind, Kind::NoSpace, "{error}");
        disk.set_capacity(1 << 30);
        cluster.pass(Duration::from_secs(5)).await;
        cluster.put("more", b"bytes").await.expect("there is room again");
        check_all(&cluster, &files).await;
    });
}

async fn remove(cluster: &Cluster<'_>, name: &str) -> Result<()> {
    let (path, request) = (name.to_owned(), None);
    let remove = Remove { path, is_recursive: false, is_dry_run: false, request };
    cluster.coordinator().remove(remove).await.map(|_| ())
}

#[test]
fn a_coordinator_whose_ledger_is_gone_acknowledges_nothing_and_serves_reads() {
    World::run(10, async |world| {
        let cluster = Cluster::start(world, patient()).await;
        let files = put_some(&cluster).await;
        cluster.put("gone", b"bytes").await.expect("put");
        cluster.pass(MINUTE).await;
        let disk = cluster.host(COORDINATOR).disk().clone();
        let ledger = disk.take_away(LEDGER_FILE).expect("it is there");
        // The first change after an idle time, before any look.
        let error = remove(&cluster, "gone").await.expect_err("it would be in memory only");
        assert_eq!(error.kind, Kind::Unavailable, "{error}");
        let error = cluster.put("late", b"bytes").await.expect_err("nothing is taken");
        assert_eq!(error.kind, Kind::Unavailable, "{error}");
        assert!(error.message.contains("catalog rescue"), "it names the way out: {error}");
        check_all(&cluster, &files).await;
        let status = cluster.status().await;
        assert_eq!(status.verdict.word, Word::AtRisk, "{:?}", status.verdict);
        assert_eq!(status.verdict.reasons[0].kind, ReasonKind::LedgerLost);
        assert!(status.makes_no_changes.is_some());
        let run = status.run;
        disk.put_back(LEDGER_FILE, ledger);
        cluster.wait_for("new run", MINUTE, |status| status.run != run).await;
        cluster.wait_until_heard().await;
        cluster.put("late", b"bytes").await.expect("it is back");
        assert!(cluster.get("gone").await.expect("it was not removed") == b"bytes");
        check_all(&cluster, &files).await;
    });
}

#[test]
fn every_way_to_lose_the_ledger_is_seen_within_two_heartbeats() {
    for way in 0..3 {
        World::run(11, async |world| {
            let cluster = Cluster::start(world, patient()).await;
            let files = put_some(&cluster).await;
            let disk = cluster.host(COORDINATOR).disk().clone();
            let bytes = disk.read_file(LEDGER_FILE).expect("it is there");
            match way {
                0 => disk.unplant_file(LEDGER_FILE),
                1 => disk.plant_file(LEDGER_FILE, &bytes),
                _ => disk.set_unmounted(true),
            }
            cluster.pass(Duration::from_secs(7)).await;
            let status = cluster.status().await;
            assert_eq!(status.verdict.reasons[0].kind, ReasonKind::LedgerLost, "way {way}");
            check_all(&cluster, &files).await;
        });
    }
}

#[test]
fn a_disk_of_the_catalog_that_takes_nothing_is_told_of_before_anybody_stores() {
    World::run(13, async |world| {
        let cluster = Cluster::start(world, patient()).await;
        let files = put_some(&cluster).await;
        cluster.pass(MINUTE).await;
        let disk = cluster.host(COORDINATOR).disk().clone();
        disk.fail_next(Call::Sync, ErrorKind::Other, u32::MAX);
        cluster.pass(Duration::from_secs(7)).await;
        let status = cluster.status().await;
        assert_eq!(status.verdict.reasons[0].kind, ReasonKind::LedgerBroken);
        check_all(&cluster, &files).await;
        disk.fail_next(Call::Sync, ErrorKind::Other, 0);
        cluster.wait_for("well", MINUTE, |status| status.verdict.word == Word::AllWell).await;
        cluster.put("late", b"bytes").await.expect("it works again");
    });
}

#[test]
fn a_disk_of_the_catalog_that_does_not_answer_is_told_of() {
    World::run(14, async |world| {
        let cluster = Cluster::start(world, patient()).await;
        let files = put_some(&cluster).await;
        let host = cluster.host(COORDINATOR);
        host.set_disk_latency_us(40_000_000);
        let put = cluster.begin_put(seekable(b""), options("late"));
        cluster.pass(Duration::from_secs(5)).await;
        let status = cluster.status().await;
        assert_eq!(status.verdict.reasons[0].kind, ReasonKind::LedgerSlow, "{:?}", status.verdict);
        let begun = tokio::time::Instant::now();
        let name = file_name(&files[0].0);
        let lookup = Lookup { name, version: None, first_stripe: 0 };
        let error = cluster.coordinator().lookup(lookup).await.expect_err("it may be taken back");
        assert!(error.message.contains("does not finish a commit"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
        host.set_disk_latency_us(0);
        drop(put);
        cluster.wait_for("well", 2 * MINUTE, |status| status.verdict.word == Word::AllWell).await;
        check_all(&cluster, &files).await;
    });
}

#[test]
fn a_folder_of_a_node_that_cannot_be_read_counts_as_gone_and_is_repaired() {
    World::run(15, async |world| {
        let settings = ClusterSettings { repair_after: MINUTE, ..patient() };
        let cluster = Cluster::start(world, settings).await;
        let files = put_some(&cluster).await;
        let disk = cluster.host("n2").disk().clone();
        // As after `chmod 000` of the folder, or on a device that answers nothing.
        disk.fail_next(Call::Open, ErrorKind::PermissionDenied, u32::MAX);
        cluster.pass(Duration::from_secs(7)).await;
        let is_gone = |status: &ClusterStatus| {
            status.verdict.reasons.iter().any(|reason| reason.kind == ReasonKind::VolumeGone)
        };
        let status = cluster.status().await;
        assert!(is_gone(&status), "{:?}", status.verdict);
        cluster.wait_for("repair", 5 * MINUTE, |status| status.health.degraded == 0).await;
        check_all(&cluster, &files).await;
        disk.fail_next(Call::Open, ErrorKind::PermissionDenied, 0);
        cluster.wait_for("well", MINUTE, |status| status.verdict.word == Word::AllWell).await;
    });
}

#[test]
fn a_rescued_catalog_is_taken_by_the_nodes_and_holds_all_that_was_acknowledged() {
    World::run(12, async |world| {
        let cluster = Cluster::start(world, patient()).await;
        let files = put_some(&cluster).await;
        let host = cluster.host(COORDINATOR);
        let disk = host.disk().clone();
        disk.unplant_file(LEDGER_FILE);
        cluster.pass(MINUTE).await;
        let role = cluster.coordinator_role().expect("it runs");
        let catalog = role.catalog();
        let relative = role.rescue("elsewhere".to_owned()).await.expect_err("not absolute");
        assert_eq!(relative.kind, Kind::Invalid, "{relative}");
        let rescued = role.rescue("/elsewhere".to_owned()).await.expect("it is written");
        assert_eq!(rescued.files, files.len() as u64);
        let again = role.rescue("/elsewhere".to_owned()).await.expect_err("it is not empty");
        assert_eq!(again.kind, Kind::Invalid, "{again}");
        drop(role);
        // The disk that it was written to is put in, after a power cut.
        host.kill();
        let written = disk.folder("/elsewhere");
        written.crash(&mut Rng::new(1));
        disk.copy_from(&written);
        let (_, found) = Ledger::open(&*disk.handle(), Durability::Strict).expect("it opens");
        assert_eq!(found, catalog);
        cluster.start_coordinator().await;
        cluster.wait_until_heard().await;
        check_all(&cluster, &files).await;
        cluster.put("new", b"bytes").await.expect("it leads");
        let status = cluster.settle().await;
        assert_eq!(status.repair.done, 0);
        assert_eq!(status.makes_no_changes, None);
    });
}

#[test]
fn wrong_wall_clocks_decide_nothing() {
    World::run(7, async |world| {
        let cluster = Cluster::start(world, patient()).await;
        let hour_ms = 3_600_000;
        cluster.host(COORDINATOR).set_wall_skew_ms(-hour_ms);
        cluster.host("n1").set_wall_skew_ms(24 * hour_ms);
        cluster.host("n2").set_wall_drift_ppm(500_000);
        cluster.host("n3").set_wall_frozen(true);
        let files = put_some(&cluster).await;
        cluster.pass(10 * MINUTE).await;
        cluster.host(COORDINATOR).set_wall_frozen(true);
        cluster.host("n1").set_wall_skew_ms(-24 * hour_ms);
        cluster.pass(10 * MINUTE).await;
        for node in ["n1", "n2", "n3"] {
            assert_eq!(state_of(&cluster, node).await, NodeState::Online, "{node}");
        }
        let status = cluster.settle().await;
        assert_eq!(status.repair.done, 0);
        check_all(&cluster, &files).await;
    });
}

#[test]
fn a_node_with_a_slow_disk_stays_a_member_and_files_stay_right() {
    World::run(8, async |world| {
        let cluster = Cluster::start(world, patient()).await;
        cluster.host("n2").set_disk_latency_us(500_000);
        let files = put_some(&cluster).await;
        check_all(&cluster, &files).await;
        cluster.pass(MINUTE).await;
        assert_eq!(state_of(&cluster, "n2").await, NodeState::Online);
        assert_eq!(cluster.settle().await.repair.done, 0);
    });
}

/// A disk whose only fault is under the identity is a good disk.
#[test]
fn an_identity_that_cannot_be_read_any_more_is_written_anew() {
    for is_rotten in [false, true] {
        World::run(9, async |world| {
            let cluster = Cluster::start(world, patient()).await;
            let files = put_some(&cluster).await;
            let disk = cluster.host("n2").disk().clone();
            let len = disk.read_file("identity").expect("it is there").len() as u64;
            if is_rotten {
                disk.flip("identity", len / 2, 1);
            } else {
                disk.make_unreadable("identity", 0..len);
            }
            // The device refuses a write, and the node is in trouble.
            disk.fail_next(Call::Write, ErrorKind::Other, 1);
            cluster.put("trouble", &[7; 900]).await.expect("put elsewhere");
            cluster.pass(5 * MINUTE).await;
            let status = cluster.status().await;
            assert!(status.nodes.iter().all(|node| node.trouble.is_none()), "{status:?}");
            cluster.host("n2").kill();
            cluster.start_node("n2").await;
            cluster.wait_until_heard().await;
            cluster.settle().await;
            check_all(&cluster, &files).await;
        });
    }
}

/// A folder that a later build made is another's, whatever trouble there is.
#[test]
fn an_identity_of_a_later_build_is_never_written_over() {
    World::run(10, async |world| {
        let cluster = Cluster::start(world, patient()).await;
        let disk = cluster.host("n2").disk().clone();
        let text = disk.read_file("identity").expect("it is there");
        let text = String::from_utf8(text).expect("it is text");
        let later = text.replace("node identity 2\n", "node identity 3\n");
        assert_ne!(later, text);
        disk.plant_file("identity", later.as_bytes());
        disk.fail_next(Call::Write, ErrorKind::Other, 1);
        for number in 0..3 {
            cluster.put(&format!("trouble{number}"), &[7; 900]).await.expect("put elsewhere");
        }
        assert_eq!(count(&disk, "write failed"), 1, "the node is in trouble");
        cluster.pass(5 * MINUTE).await;
        assert_eq!(disk.read_file("identity").expect("it is there"), later.as_bytes());
    });
}
