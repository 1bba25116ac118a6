//! Changes under a request id: made at most once across restarts, and one of
//! done, not done and not known when the ledger fails.

use std::io::ErrorKind;
use std::time::Duration;

use dfs_core::api::{CoordinatorService, Error, Kind, Remove, Removed, Result};
use dfs_core::id::RequestId;
use dfs_core::policy::ParitySpec;
use dfs_simulation::World;
use dfs_simulation::cluster::{COORDINATOR, Cluster, ClusterSettings};
use dfs_simulation::disk::Call;

async fn remove(
    coordinator: &dyn CoordinatorService,
    path: &str,
    is_recursive: bool,
    request: RequestId,
) -> Result<Removed> {
    let (path, request) = (path.to_owned(), Some(request));
    coordinator.remove(Remove { path, is_recursive, is_dry_run: false, request }).await
}

async fn new_request(coordinator: &dyn CoordinatorService) -> RequestId {
    let client = coordinator.client_number().await.expect("a number");
    RequestId { client, sequence: 1 }
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> Kind {
    result.map_err(|Error { kind, .. }| kind).expect_err("it fails")
}

#[test]
fn a_repeat_after_a_restart_gets_the_first_answer_and_spares_what_came_since() {
    World::run(1, async |world| {
        let cluster = Cluster::start(world, ClusterSettings::new(3, 2, ParitySpec::None)).await;
        for name in ["a", "d/b", "d/c"] {
            cluster.put(name, &[7; 900]).await.expect("put");
        }
        let coordinator = cluster.coordinator();
        let (one, all, none) = (
            new_request(&*coordinator).await,
            new_request(&*coordinator).await,
            new_request(&*coordinator).await,
        );
        assert!(one.client < all.client && all.client < none.client, "numbers rise");
        let first = remove(&*coordinator, "a", false, one).await;
        let folder = remove(&*coordinator, "d", true, all).await;
        assert_eq!(first, Ok(Removed { files: 1, bytes: 900 }));
        assert_eq!(folder, Ok(Removed { files: 2, bytes: 1800 }));
        assert_eq!(kind(remove(&*coordinator, "x", false, none).await), Kind::NotFound);
        for name in ["a", "d/b", "x"] {
            cluster.put(name, &[8; 500]).await.expect("put");
        }
        cluster.host(COORDINATOR).crash();
        cluster.start_coordinator().await;
        cluster.wait_until_heard().await;
        let coordinator = cluster.coordinator();
        assert_eq!(remove(&*coordinator, "a", false, one).await, first);
        assert_eq!(remove(&*coordinator, "d", true, all).await, folder);
        assert_eq!(kind(remove(&*coordinator, "x", false, none).await), Kind::NotFound);
        for name in ["a", "d/b", "x"] {
            assert_eq!(cluster.get(name).await.expect("nobody removed it"), [8; 500]);
        }
        let fresh = new_request(&*coordinator).await;
        assert!(fresh.client > none.client, "no number is handed out twice");
    });
}

#[test]
fn of_a_failed_commit_what_was_under_way_is_not_known_and_what_waited_is_not_done() {
    World::run(2, async |world| {
        let cluster = Cluster::start(world, ClusterSettings::new(3, 2, ParitySpec::None)).await;
        for name in ["a", "b", "c"] {
            cluster.put(name, &[7; 900]).await.expect("put");
        }
        let coordinator = cluster.coordinator();
        let host = cluster.host(COORDINATOR);
        let (one, two) = (new_request(&*coordinator).await, new_request(&*coordinator).await);
        // The second removal comes while the first one is being committed.
        host.set_disk_latency_us(100_000);
        host.disk().fail_next(Call::Sync, ErrorKind::Other, 1);
        let (first, second) = tokio::join!(biased; remove(&*coordinator, "a", false, one), async {
            world.pass(Duration::from_millis(50)).await;
            remove(&*coordinator, "b", false, two).await
        });
        assert_eq!(kind(first), Kind::NotKnown);
        assert_eq!(kind(second), Kind::Unavailable);
        host.set_disk_latency_us(0);
        host.crash();
        cluster.start_coordinator().await;
        cluster.wait_until_heard().await;
        let coordinator = cluster.coordinator();
        cluster.get("b").await.expect("its removal was never executed");
        // Asking again under the same id is always safe, and tells.
        let removed = Ok(Removed { files: 1, bytes: 900 });
        assert_eq!(remove(&*coordinator, "a", false, one).await, removed);
        assert_eq!(remove(&*coordinator, "b", false, two).await, removed);
        assert_eq!(cluster.get_error("a").await.kind, Kind::NotFound);
        cluster.get("c").await.expect("it was left alone");
    });
}
