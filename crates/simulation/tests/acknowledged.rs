//! What was acknowledged stays: the coordinator may lose its power at any
//! effect on its disk.

use std::collections::BTreeMap;
use std::time::Duration;

use dfs_core::api::{Kind, PutMode, Remove, Rename};
use dfs_core::client::{ClientError, PutSummary};
use dfs_core::coordinator::CoordinatorSettings;
use dfs_core::env::Durability;
use dfs_core::policy::ParitySpec;
use dfs_simulation::World;
use dfs_simulation::cluster::{
    COORDINATOR, Cluster, ClusterSettings, file_name, options, seekable, start_coordinator_on,
};
use dfs_simulation::contract::coordinator::{PLACEMENT, POLICY};
use dfs_simulation::oracle::sample_bytes;
use dfs_simulation::task::Running;

/// What may be under each name: the acknowledged bytes, or what a change
/// without an answer would have made of them.
#[derive(Default)]
struct Model {
    may_be: BTreeMap<String, Vec<Option<Vec<u8>>>>,
}

impl Model {
    fn now(&self, name: &str) -> Option<Vec<u8>> {
        self.may_be.get(name).and_then(|states| states.last().cloned().flatten())
    }

    fn set(&mut self, name: &str, bytes: Option<Vec<u8>>, is_acknowledged: bool) {
        let states = self.may_be.entry(name.to_owned()).or_insert_with(|| vec![None]);
        if is_acknowledged {
            states.clear();
        }
        states.push(bytes);
    }
}

/// One life of a coordinator that is cut off at `effect`; false when it was
/// over before.
fn is_cut_in_its_life(effect: u64) -> bool {
    World::run(51, async |world| {
        let settings = ClusterSettings::new(3, 2, ParitySpec::None);
        let cluster = Cluster::start(world, settings).await;
        cluster.host(COORDINATOR).reseed_power_cuts(effect);
        let disk = cluster.host(COORDINATOR).disk().clone();
        disk.cut_power_at(disk.effects() + effect);
        let mut model = Model::default();
        live(&cluster, &mut model).await;
        let was_cut = !disk.is_on();
        // Whether it was cut or not: what it acknowledged outlives a crash.
        cluster.host(COORDINATOR).crash();
        cluster.start_coordinator().await;
        cluster.wait_until_heard().await;
        for (name, states) in &model.may_be {
            let found = match cluster.get(name).await {
                Ok(bytes) => Some(bytes),
                Err(error) => {
                    assert_eq!(error.kind, Kind::NotFound, "effect {effect}, {name}: {error}");
                    None
                }
            };
            assert!(states.contains(&found), "effect {effect}: {name} is not as acknowledged");
        }
        let fresh = sample_bytes(77, 1000);
        cluster.put("fresh", &fresh).await.expect("it takes files again");
        assert!(cluster.get("fresh").await.expect("get") == fresh);
        was_cut
    })
}

/// Some of everything that changes the catalog. Stops at the first failure
/// that tells nothing of its effect.
async fn live(cluster: &Cluster<'_>, model: &mut Model) {
    for (seed, (name, mode)) in (0..).zip([
        ("a", PutMode::IfAbsent),
        ("dir/b", PutMode::IfAbsent),
        ("a", PutMode::Replace),
        ("c", PutMode::IfAbsent),
    ]) {
        let bytes = sample_bytes(seed, 70_000);
        let mut options = options(name);
        options.mode = mode;
        let put = cluster.begin_put(seekable(&bytes), options);
        let is_stored = is_stored_while_the_coordinator_lives(cluster, put).await;
        model.set(name, Some(bytes), is_stored);
        if !is_stored {
            return;
        }
    }
    let coordinator = cluster.coordinator();
    let remove =
        Remove { path: "dir/b".to_owned(), is_recursive: false, is_dry_run: false, request: None };
    let removed = coordinator.remove(remove).await;
    model.set("dir/b", None, removed.is_ok());
    if removed.is_err() {
        return;
    }
    let (from, to) = (file_name("c"), file_name("moved"));
    let renamed =
        coordinator.rename(Rename { from, to, mode: PutMode::IfAbsent, request: None }).await;
    let bytes = model.now("c");
    model.set("moved", bytes, renamed.is_ok());
    model.set("c", None, renamed.is_ok());
}

/// Waits for a put, unless the coordinator dies: then nobody answers, and the
/// client is ended before it can do anything more.
async fn is_stored_while_the_coordinator_lives(
    cluster: &Cluster<'_>,
    mut put: Running<Result<PutSummary, ClientError>>,
) -> bool {
    loop {
        tokio::select! {
            biased;
            result = &mut put => {
                assert!(result.is_ok(), "the client lives");
                return matches!(result, Ok(Ok(_)));
            }
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
        if !cluster.host(COORDINATOR).is_up() {
            cluster.client_host().start();
            return false;
        }
    }
}

#[test]
fn no_acknowledged_change_is_lost_wherever_the_coordinator_is_cut_off() {
    let mut effect = 0;
    while is_cut_in_its_life(effect) {
        effect += 1;
    }
    assert!(effect > 20, "{effect} effects are not all that a life has");
}

#[test]
fn a_put_rides_out_a_restart_of_the_coordinator() {
    World::run(52, async |world| {
        let settings = ClusterSettings::new(3, 2, ParitySpec::None);
        let cluster = Cluster::start(world, settings).await;
        for (turn, after_ms) in (0u64..).zip([1, 3, 8, 20, 50]) {
            let bytes = sample_bytes(turn, 2_000_000);
            let name = format!("f{turn}");
            let put = cluster.begin_put(seekable(&bytes), options(&name));
            cluster.pass(Duration::from_millis(after_ms)).await;
            cluster.host(COORDINATOR).crash();
            cluster.pass(Duration::from_secs(5)).await;
            cluster.start_coordinator().await;
            put.await.expect("the client lives").expect("the put goes on");
            assert!(cluster.get(&name).await.expect("get") == bytes, "after {after_ms} ms");
            cluster.wait_until_heard().await;
        }
    });
}

#[test]
fn a_node_may_lose_its_power_right_after_the_acknowledgement() {
    World::run(53, async |world| {
        let settings = ClusterSettings::new(3, 1, ParitySpec::None);
        let cluster = Cluster::start(world, settings).await;
        for turn in 0..10 {
            let len = if turn % 2 == 0 { 3_000 } else { 300_000 };
            let bytes = sample_bytes(turn, len);
            let name = format!("f{turn}");
            cluster.put(&name, &bytes).await.expect("put");
            for node in cluster.node_names() {
                cluster.host(&node).crash();
                cluster.start_node(&node).await;
            }
            cluster.wait_until_heard().await;
            assert!(cluster.get(&name).await.expect("get") == bytes, "{name}");
        }
    });
}

#[test]
fn a_coordinator_that_is_cut_off_in_its_first_start_starts_the_next_time() {
    let is_cut_in_its_start = |effect: u64| {
        World::run(54, async |world| {
            let host = world.add_host(COORDINATOR, 4000);
            host.reseed_power_cuts(effect);
            host.disk().cut_power_at(effect);
            let settings = CoordinatorSettings {
                without: Vec::new(),
                accepts_older: false,
                address: host.address().to_owned(),
                nodes: Vec::new(),
                policy: POLICY,
                placement: PLACEMENT,
                durability: Durability::Strict,
                repair_after_ms: 60_000,
                delete_grace_ms: 60_000,
                upload_idle_max_ms: 600_000,
                repair_bytes_per_second_max: 0,
                allow_unsafe: false,
                version: "0.0.0-simulated".to_owned(),
            };
            let first = start_coordinator_on(&host, settings.clone()).await;
            let was_cut = !host.disk().is_on();
            let first = first.map(|coordinator| coordinator.context());
            host.crash();
            let second = start_coordinator_on(&host, settings).await;
            let second = second.unwrap_or_else(|error| panic!("cut at {effect}: {error}"));
            if let (Ok(first), false) = (first, was_cut) {
                assert_eq!(second.context().cluster, first.cluster);
                assert!(second.context().run > first.run, "the run rises");
            }
            was_cut
        })
    };
    let effects = (0..).take_while(|effect| is_cut_in_its_start(*effect)).count();
    assert!(effects > 10, "{effects} effects are no start");
}

#[test]
fn a_node_may_lose_its_power_at_any_effect_of_a_put() {
    let is_cut_in_a_put = |effect: u64| {
        World::run(55, async |world| {
            let mut settings = ClusterSettings::new(3, 2, ParitySpec::None);
            settings.policy.chunk_size = 2 << 20;
            let cluster = Cluster::start(world, settings).await;
            cluster.host("n1").reseed_power_cuts(effect);
            let disk = cluster.host("n1").disk().clone();
            disk.cut_power_at(disk.effects() + effect);
            // Chunks that are files of their own, and chunks that are packed.
            let files: Vec<(String, Vec<u8>)> = (0..)
                .zip([5_000_000, 900, 30_000, 3_000_000, 800])
                .map(|(seed, len)| (format!("f{seed}"), sample_bytes(seed, len)))
                .collect();
            for (name, bytes) in &files {
                let put = cluster.put(name, bytes).await;
                let put = put.unwrap_or_else(|error| panic!("cut at {effect}: {error}"));
                assert_eq!(put.copies_missing, 0, "cut at {effect}: two nodes are left");
            }
            let was_cut = !disk.is_on();
            cluster.host("n1").crash();
            cluster.start_node("n1").await;
            cluster.wait_until_heard().await;
            let status = cluster.settle().await;
            assert_eq!(status.repair.done, 0, "cut at {effect}: an acknowledged copy was missing");
            cluster.host("n2").kill();
            for (name, bytes) in &files {
                assert!(cluster.get(name).await.expect("get") == *bytes, "cut at {effect}: {name}");
            }
            was_cut
        })
    };
    let effects = (0..).take_while(|effect| is_cut_in_a_put(*effect)).count();
    assert!(effects > 15, "{effects} effects are no put");
}
