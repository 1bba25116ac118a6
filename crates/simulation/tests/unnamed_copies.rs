//! Good copies that the layout does not name: they are read, repaired from,
//! and kept until every named copy is there and verified.

use std::time::Duration;

use dfs_core::api::Lookup;
use dfs_core::coordinator::CoordinatorSettings;
use dfs_core::policy::ParitySpec;
use dfs_simulation::World;
use dfs_simulation::cluster::{
    COORDINATOR, Cluster, ClusterSettings, file_name, start_coordinator_on,
};
use dfs_simulation::disk::MemoryDisk;
use dfs_simulation::oracle::sample_bytes;
use dfs_simulation::trace::Trace;

const MINUTE: Duration = Duration::from_secs(60);

/// A catalog that is older than what repair did since names nodes that gave
/// their copies up: what n1 and n2 had was made anew on n3 and n4, and their
/// own copies were trimmed when they came back.
async fn with_an_older_catalog_put_back<'w>(
    world: &'w World,
    parity: ParitySpec,
) -> (Cluster<'w>, Vec<Vec<u8>>) {
    let mut settings = ClusterSettings::new(4, 2, parity);
    settings.repair_after = Duration::from_secs(20);
    settings.delete_grace = Duration::from_secs(20);
    let cluster = Cluster::start(world, settings).await;
    let files: Vec<Vec<u8>> = (0..12).map(|seed| sample_bytes(seed, 90_000)).collect();
    for (number, bytes) in files.iter().enumerate() {
        cluster.put(&format!("f{number}"), bytes).await.expect("put");
    }
    let backup = MemoryDisk::new("backup", Trace::default());
    backup.copy_from(cluster.host(COORDINATOR).disk());
    for name in ["n1", "n2"] {
        cluster.host(name).kill();
        cluster.pass(2 * MINUTE).await;
    }
    for name in ["n1", "n2"] {
        cluster.start_node(name).await;
    }
    cluster.settle().await;
    cluster.pass(3 * MINUTE).await;
    cluster.host(COORDINATOR).kill();
    cluster.host(COORDINATOR).disk().copy_from(&backup);
    let settings = CoordinatorSettings { accepts_older: true, ..cluster.coordinator_settings() };
    let host = cluster.host(COORDINATOR);
    start_coordinator_on(&host, settings).await.expect("the older catalog is accepted");
    cluster.wait_until_heard().await;
    (cluster, files)
}

async fn all_files_are_there(cluster: &Cluster<'_>, files: &[Vec<u8>]) {
    for (number, bytes) in files.iter().enumerate() {
        let got = cluster.get(&format!("f{number}")).await;
        let got = got.unwrap_or_else(|error| panic!("f{number}: {error}"));
        assert!(got == *bytes, "f{number} has other bytes");
    }
}

#[test]
fn an_older_catalog_loses_nothing_that_repair_moved_since() {
    for (seed, parity) in [(71, ParitySpec::None), (72, ParitySpec::Xor { data: 2 })] {
        World::run(seed, async |world| {
            let (cluster, files) = with_an_older_catalog_put_back(world, parity).await;
            all_files_are_there(&cluster, &files).await;
            cluster.pass(5 * MINUTE).await;
            all_files_are_there(&cluster, &files).await;
        });
    }
}

#[test]
fn a_surplus_copy_stays_while_a_named_one_is_damaged_unseen() {
    World::run(73, async |world| {
        let mut settings = ClusterSettings::new(3, 2, ParitySpec::None);
        settings.repair_after = Duration::from_secs(10);
        settings.delete_grace = Duration::from_secs(10);
        let cluster = Cluster::start(world, settings).await;
        let bytes = sample_bytes(9, 60_000);
        cluster.put("f", &bytes).await.expect("put");
        let nodes = copies(&cluster).await;
        cluster.host(&nodes[0]).kill();
        cluster.pass(MINUTE).await;
        cluster.settle().await;
        // Both named copies rot before the third node is back with its own,
        // and nobody reads them.
        for name in copies(&cluster).await {
            assert_ne!(name, nodes[0]);
            rot(&cluster, &name);
        }
        cluster.start_node(&nodes[0]).await;
        cluster.wait_until_heard().await;
        cluster.pass(3 * MINUTE).await;
        assert!(cluster.get("f").await.expect("the surplus copy was kept") == bytes);
        cluster.settle().await;
        assert_eq!(copies(&cluster).await.len(), 2);
    });
}

/// Turns a bit in the middle of everything that a node stores in packs.
fn rot(cluster: &Cluster<'_>, name: &str) {
    let host = cluster.host(name);
    for (path, len) in host.disk().files() {
        if path.starts_with("packs/") {
            host.disk().flip(&path, len / 2, 3);
        }
    }
}

async fn copies(cluster: &Cluster<'_>) -> Vec<String> {
    let lookup = Lookup { name: file_name("f"), version: None, first_stripe: 0 };
    let map = cluster.coordinator().lookup(lookup).await.expect("a map");
    let copies = map.stripes.iter().flat_map(|stripe| &stripe.chunks);
    copies.flat_map(|chunk| &chunk.copies).map(|copy| copy.node.to_string()).collect()
}
