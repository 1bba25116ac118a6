//! Two coordinators on one catalog, and older copies of it: at most one of
//! them acknowledges changes, and neither destroys what the other stored.

use std::sync::Arc;
use std::time::Duration;

use dfs_core::api::{ClusterStatus, CoordinatorService, Kind, ReasonKind, UnknownCopy};
use dfs_core::client::{Client, ClientError, ClientSettings, Progress};
use dfs_core::coordinator::{CoordinatorProcess, CoordinatorSettings};
use dfs_core::id::Handle;
use dfs_core::mutant::{Mutant, plant};
use dfs_core::node::NodeSettings;
use dfs_core::policy::ParitySpec;
use dfs_simulation::World;
use dfs_simulation::cluster::{
    COORDINATOR, Cluster, ClusterSettings, options, seekable, start_coordinator_on,
};
use dfs_simulation::host::Host;
use dfs_simulation::oracle::sample_bytes;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// The machine of the second coordinator.
const OTHER: &str = "coord2";

fn settings() -> ClusterSettings {
    let impatient = ClientSettings { retry_for: Duration::from_secs(8), ..Default::default() };
    ClusterSettings { client: impatient, ..ClusterSettings::new(3, 2, ParitySpec::None) }
}

/// The settings of a coordinator on the other machine.
fn elsewhere(cluster: &Cluster<'_>, host: &Host) -> CoordinatorSettings {
    let address = host.address().to_owned();
    CoordinatorSettings { address, ..cluster.coordinator_settings() }
}

/// The coordinator on the other machine, as the client reaches it.
fn other(cluster: &Cluster<'_>) -> Arc<dyn CoordinatorService> {
    let host = cluster.host(OTHER);
    cluster.client_host().env().peers.coordinator(host.address())
}

async fn put_by(
    cluster: &Cluster<'_>,
    coordinator: Arc<dyn CoordinatorService>,
    name: &str,
    bytes: &[u8],
) -> Result<(), ClientError> {
    let client = Client::new(cluster.client_host().env(), coordinator, settings().client);
    let (source, options) = (seekable(bytes), options(name));
    let put = async move { client.put(source, options, &Progress::new()).await };
    cluster.client_host().spawn(put).await.expect("the client lives on").map(|_| ())
}

/// Makes a copy of the coordinator's folder on another machine, as it is after
/// a stop.
fn copy_folder(world: &World, cluster: &Cluster<'_>, to: &str, port: u16) -> Arc<Host> {
    let host = world.add_host(to, port);
    cluster.host(COORDINATOR).kill();
    host.disk().copy_from(cluster.host(COORDINATOR).disk());
    host
}

/// The verdict names the catalog, and nothing is said of stripes and nodes by
/// one that is not theirs.
#[track_caller]
fn assert_tells_of_the_catalog_alone(status: &ClusterStatus, kind: ReasonKind) {
    let verdict = &status.verdict;
    let first = verdict.reasons.first().expect("all is not well");
    assert_eq!((first.kind, verdict.word), (kind, kind.word()), "{verdict:?}");
    let is_known = |kind| matches!(kind, ReasonKind::NodeRefuses);
    assert!(verdict.reasons[1..].iter().all(|reason| is_known(reason.kind)), "{verdict:?}");
    assert_eq!(status.health.unreachable + status.health.lost, 0, "{:?}", status.health);
    assert!(status.stored.sentence.starts_with("not known"), "{:?}", status.stored);
    assert!(status.promise.sentence.starts_with("nothing can be stored"), "{:?}", status.promise);
}

#[test]
fn a_second_coordinator_on_a_copied_folder_ends_and_harms_nothing() {
    World::run(301, async |world| {
        let cluster = Cluster::start(world, settings()).await;
        let (first, second) = (sample_bytes(1, 200_000), sample_bytes(2, 200_000));
        cluster.put("first", &first).await.expect("put");
        let host = copy_folder(world, &cluster, OTHER, 5000);
        cluster.start_coordinator().await;
        cluster.wait_until_heard().await;
        cluster.put("second", &second).await.expect("put");
        start_coordinator_on(&host, elsewhere(&cluster, &host)).await.expect("it begins");
        for number in 0..6 {
            cluster.pass(5 * SECOND).await;
            let name = format!("beside-{number}");
            cluster.put(&name, &first).await.expect("the first one goes on");
        }
        assert!(!host.is_up(), "it says that another one leads, and ends");
        cluster.pass(10 * MINUTE).await;
        assert!(cluster.get("second").await.expect("get") == second);
        assert!(cluster.get("first").await.expect("get") == first);
        assert_eq!(cluster.settle().await.repair.done, 0, "nothing was missing");
    });
}

#[test]
fn an_older_copy_that_is_put_back_changes_and_deletes_nothing() {
    World::run(302, async |world| {
        let cluster = Cluster::start(world, settings()).await;
        let (first, second) = (sample_bytes(1, 200_000), sample_bytes(2, 200_000));
        cluster.put("first", &first).await.expect("put");
        let backup = copy_folder(world, &cluster, "backup", 5001);
        cluster.start_coordinator().await;
        cluster.wait_until_heard().await;
        cluster.put("second", &second).await.expect("put");
        cluster.pass(10 * SECOND).await;
        let newer = copy_folder(world, &cluster, "newer", 5002);
        cluster.host(COORDINATOR).disk().copy_from(backup.disk());
        cluster.start_coordinator().await;
        cluster.pass(20 * SECOND).await;
        let refused = cluster.put("third", &first).await.expect_err("a newer catalog exists");
        assert_eq!(refused.kind, Kind::WrongIdentity, "{refused}");
        assert!(refused.message.contains("newer catalog exists"), "{refused}");
        assert!(refused.message.contains("--accept-older-catalog"), "{refused}");
        let status = cluster.status().await;
        assert_tells_of_the_catalog_alone(&status, ReasonKind::OlderCatalog);
        assert!(status.makes_no_changes.expect("it says why").contains("newer catalog"));
        let (bytes, summary) = cluster.get_with("first", None, true).await.expect("reads go on");
        assert!(bytes == first && summary.may_be_old, "and say that they may be old");
        cluster.pass(20 * MINUTE).await;
        cluster.host(COORDINATOR).kill();
        cluster.host(COORDINATOR).disk().copy_from(newer.disk());
        cluster.start_coordinator().await;
        cluster.wait_until_heard().await;
        assert!(cluster.get("second").await.expect("nothing was deleted") == second);
        cluster.put("third", &first).await.expect("the newest copy leads");
    });
}

/// Lets a coordinator run on an older copy of the catalog while a node comes
/// that was told of nothing later, `n3` or a new one. Returns whether the newest
/// copy leads when it is put back.
fn newest_copy_leads(seed: u64, comes: &str) -> bool {
    World::run(seed, async |world| {
        let cluster = Cluster::start(world, settings()).await;
        cluster.put("first", &[1; 1000]).await.expect("put");
        let backup = copy_folder(world, &cluster, "backup", 5001);
        cluster.host("n3").kill();
        cluster.start_coordinator().await;
        cluster.pass(20 * SECOND).await;
        cluster.put("second", &[2; 1000]).await.expect("two of three lead");
        cluster.pass(10 * SECOND).await;
        let newer = copy_folder(world, &cluster, "newer", 5002);
        cluster.host(COORDINATOR).disk().copy_from(backup.disk());
        if comes == "n4" {
            cluster.add_joining_node();
        }
        // The coordinator calls it, and it joins nobody.
        let called = NodeSettings { join: None, ..cluster.node_settings(comes) };
        cluster.try_start_node(comes, called).await.expect("it starts");
        cluster.start_coordinator().await;
        cluster.pass(MINUTE).await;
        assert!(cluster.status().await.makes_no_changes.is_some(), "it is the older one");
        cluster.host(COORDINATOR).kill();
        cluster.host(COORDINATOR).disk().copy_from(newer.disk());
        cluster.start_coordinator().await;
        cluster.pass(20 * SECOND).await;
        cluster.put("third", &[3; 1000]).await.is_ok() && cluster.get("second").await.is_ok()
    })
}

#[test]
fn an_older_copy_adopts_no_node_that_was_told_of_nothing_later() {
    assert!(newest_copy_leads(322, "n3"), "a member that was away");
    assert!(newest_copy_leads(323, "n4"), "a fresh node that is named");
}

#[test]
fn an_older_copy_that_an_operator_accepts_leads_and_keeps_what_it_does_not_know() {
    World::run(303, async |world| {
        let cluster = Cluster::start(world, settings()).await;
        let (first, second) = (sample_bytes(1, 200_000), sample_bytes(2, 200_000));
        cluster.put("first", &first).await.expect("put");
        let backup = copy_folder(world, &cluster, "backup", 5001);
        cluster.start_coordinator().await;
        cluster.wait_until_heard().await;
        cluster.put("second", &second).await.expect("put");
        cluster.pass(10 * SECOND).await;
        let held = |cluster: &Cluster<'_>| {
            let on = |name: String| cluster.host(&name).disk().used();
            cluster.node_names().into_iter().map(on).sum::<u64>()
        };
        cluster.host(COORDINATOR).kill();
        cluster.host(COORDINATOR).disk().copy_from(backup.disk());
        let accepting =
            CoordinatorSettings { accepts_older: true, ..cluster.coordinator_settings() };
        let host = cluster.host(COORDINATOR);
        start_coordinator_on(&host, accepting).await.expect("most nodes say what they know");
        cluster.wait_until_heard().await;
        let before = held(&cluster);
        cluster.put("third", &second).await.expect("it leads");
        for _ in 0..2 {
            cluster.pass(20 * MINUTE).await;
            assert!(held(&cluster) >= before, "chunks that it does not know are kept");
            assert_eq!(cluster.status().await.kept_handles.len(), 1, "and shown");
            assert!(cluster.get("first").await.expect("get") == first);
            assert!(cluster.get("third").await.expect("get") == second);
            assert_eq!(cluster.get_error("second").await.kind, Kind::NotFound);
            // The next start needs no such word, and keeps them too.
            cluster.host(COORDINATOR).kill();
            cluster.start_coordinator().await;
            cluster.wait_until_heard().await;
        }
        // Shown one by one with their names, page after page, and let go of
        // by the operator's word alone.
        let client = cluster.client();
        let status = cluster.status().await;
        let mut unknown = Vec::new();
        loop {
            let after = unknown.last().map(|last: &UnknownCopy| (last.node.clone(), last.handle));
            let page = client.unknown_page(after).await.expect("a page");
            unknown.extend(page.copies);
            if !page.has_more {
                break;
            }
        }
        assert_eq!(unknown.len() as u64, status.unknown.copies);
        assert!(!unknown.is_empty());
        for copy in &unknown {
            let header = client.header_of(status.cluster, copy).await.expect("a header");
            assert_eq!(header.name.as_str(), "second");
        }
        let kept = status.kept_handles[0];
        let wrong = client.release_kept(kept.0, Handle(kept.1.0 - 1)).await;
        assert_eq!(wrong.expect_err("it is another range").kind, Kind::NotFound);
        client.release_kept(kept.0, kept.1).await.expect("it leads");
        cluster.pass(20 * MINUTE).await;
        let status = cluster.status().await;
        assert_eq!((status.unknown.copies, status.kept_handles.len()), (0, 0));
        assert!(cluster.get("first").await.expect("get") == first);
        assert!(cluster.get("third").await.expect("get") == second);
    });
}

#[test]
fn an_older_copy_is_not_accepted_while_most_nodes_are_silent() {
    World::run(304, async |world| {
        let cluster = Cluster::start(world, settings()).await;
        cluster.put("first", &[1; 1000]).await.expect("put");
        cluster.host(COORDINATOR).kill();
        cluster.host("n1").kill();
        cluster.host("n2").kill();
        let accepting =
            CoordinatorSettings { accepts_older: true, ..cluster.coordinator_settings() };
        let host = cluster.host(COORDINATOR);
        let refused = start_coordinator_on(&host, accepting).await.err().expect("two are silent");
        assert!(refused.contains("n1, n2") && refused.contains("--without"), "{refused}");
    });
}

#[test]
fn an_empty_folder_under_nodes_of_a_cluster_serves_no_empty_namespace() {
    World::run(305, async |world| {
        let cluster = Cluster::start(world, settings()).await;
        cluster.put("first", &[1; 1000]).await.expect("put");
        cluster.host(COORDINATOR).kill();
        cluster.host(COORDINATOR).disk().wipe();
        cluster.start_coordinator().await;
        cluster.pass(10 * SECOND).await;
        let error = cluster.get_error("first").await;
        assert_eq!(error.kind, Kind::WrongIdentity, "{error}");
        assert!(error.message.contains("mounted"), "{error}");
        let refused = cluster.put("second", &[]).await.expect_err("nobody would keep it");
        assert_eq!(refused.kind, Kind::WrongIdentity, "{refused}");
        for _ in 0..3 {
            let status = cluster.status().await;
            assert_tells_of_the_catalog_alone(&status, ReasonKind::EmptyCatalog);
            cluster.pass(20 * SECOND).await;
        }
    });
}

#[test]
fn a_start_in_place_takes_over_at_once_and_a_copy_waits_for_the_lease() {
    let takes = |is_copy: bool| {
        World::run(306, async |world| {
            let cluster = Cluster::start(world, settings()).await;
            cluster.put("first", &[1; 1000]).await.expect("put");
            let host = copy_folder(world, &cluster, OTHER, 5000);
            let begun = tokio::time::Instant::now();
            let coordinator = if is_copy {
                start_coordinator_on(&host, elsewhere(&cluster, &host)).await.expect("it starts");
                other(&cluster)
            } else {
                cluster.start_coordinator().await;
                cluster.coordinator()
            };
            while put_by(&cluster, coordinator.clone(), "second", &[2; 1000]).await.is_err() {}
            begun.elapsed()
        })
    };
    let (in_place, copy) = (takes(false), takes(true));
    assert!(in_place < SECOND, "in place it took {in_place:?}");
    assert!((4 * SECOND..20 * SECOND).contains(&copy), "on a copy it took {copy:?}");
}

#[test]
fn a_polite_stop_frees_the_nodes_for_a_coordinator_elsewhere() {
    World::run(307, async |world| {
        let cluster = Cluster::start(world, settings()).await;
        cluster.put("first", &[1; 1000]).await.expect("put");
        let coordinator = cluster.coordinator_role().expect("it runs");
        cluster
            .host(COORDINATOR)
            .spawn(async move { coordinator.retire().await })
            .await
            .expect("up");
        let refused = cluster.put("late", &[1; 1000]).await.expect_err("it has retired");
        assert_eq!(refused.kind, Kind::Unavailable, "{refused}");
        let host = copy_folder(world, &cluster, OTHER, 5000);
        start_coordinator_on(&host, elsewhere(&cluster, &host)).await.expect("it starts");
        let begun = tokio::time::Instant::now();
        put_by(&cluster, other(&cluster), "second", &[2; 1000]).await.expect("put");
        assert!(begun.elapsed() < 2 * SECOND, "it took {:?}", begun.elapsed());
    });
}

/// Runs two coordinators on one catalog, of which the first one's answers no
/// longer reach its nodes, and returns acknowledgements of the first that
/// came after one of the second.
fn late_acknowledgements(seed: u64) -> usize {
    World::run(seed, async |world| {
        let cluster = Cluster::start(world, settings()).await;
        cluster.put("first", &[1; 1000]).await.expect("put");
        let host = copy_folder(world, &cluster, OTHER, 5000);
        cluster.start_coordinator().await;
        cluster.wait_until_heard().await;
        cluster.pass(10 * SECOND).await;
        // Heartbeats come in, and no answer and no call goes out.
        for node in cluster.node_names() {
            world.net().cut_one_way(COORDINATOR, &node);
        }
        // A copy of the running catalog, such as a disk's snapshot.
        host.disk().copy_from(cluster.host(COORDINATOR).disk());
        start_coordinator_on(&host, elsewhere(&cluster, &host)).await.expect("it starts");
        let (mut late, mut has_second) = (0, false);
        for number in 0..60 {
            // An empty file needs no node: only the leases can refuse it.
            let (a, b) = (format!("a{number}"), format!("b{number}"));
            let by_first = put_by(&cluster, cluster.coordinator(), &a, &[]).await;
            late += usize::from(by_first.is_ok() && has_second);
            has_second |= put_by(&cluster, other(&cluster), &b, &[]).await.is_ok();
            cluster.pass(Duration::from_millis(500)).await;
        }
        assert!(has_second, "the second one takes over");
        late
    })
}

#[test]
fn a_coordinator_that_is_shut_out_acknowledges_nothing_more() {
    for seed in 310..320 {
        assert_eq!(late_acknowledgements(seed), 0, "seed {seed}");
    }
    let _planted = plant(Mutant::LeaseFromConfirmation);
    assert!(late_acknowledgements(310) > 0, "a lease that is counted from the wrong end");
}

#[test]
fn an_equal_number_with_another_tag_is_another_run() {
    let is_obeyed = || {
        World::run(321, async |world| {
            let cluster = Cluster::start(world, settings()).await;
            cluster.put("first", &[1; 1000]).await.expect("put");
            let host = copy_folder(world, &cluster, OTHER, 5000);
            cluster.start_coordinator().await;
            cluster.wait_until_heard().await;
            let coordinator: Arc<CoordinatorProcess> =
                start_coordinator_on(&host, elsewhere(&cluster, &host)).await.expect("it begins");
            let (one, other) = (cluster.status().await.run, coordinator.context().run);
            assert!(one.epoch == other.epoch && one != other, "both take the next number");
            let node = cluster.client_host().env().peers.node(cluster.host("n1").address());
            node.delete_chunks(coordinator.context(), Vec::new()).await.is_ok()
        })
    };
    assert!(!is_obeyed());
    let _planted = plant(Mutant::EqualEpochs);
    assert!(is_obeyed(), "the planted bug shows");
}
