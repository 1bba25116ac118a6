//! What was acknowledged stays: the coordinator may lose its power at any
//! effect on its disk.

use std::collections::BTreeMap;
use std::time::Duration;

use dfs_core::api::{Kind, PutMode, Remove, Rename};
use dfs_core::client::ClientError;
use dfs_core::policy::ParitySpec;
use dfs_simulation::World;
use dfs_simulation::cluster::{
    COORDINATOR, Cluster, ClusterSettings, file_name, options, seekable,
};
use dfs_simulation::oracle::sample_bytes;

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
    World::run(1000 + effect, async |world| {
        let settings = ClusterSettings::new(3, 2, ParitySpec::None);
        let cluster = Cluster::start(world, settings).await;
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
        let Some(result) = while_the_coordinator_lives(cluster, put).await else {
            return model.set(name, Some(bytes), false);
        };
        result.expect("a put fails only with its coordinator");
        model.set(name, Some(bytes), true);
    }
    let coordinator = cluster.coordinator();
    let remove = Remove { path: "dir/b".to_owned(), is_recursive: false, is_dry_run: false };
    let removed = coordinator.remove(remove).await;
    model.set("dir/b", None, removed.is_ok());
    if removed.is_err() {
        return;
    }
    let (from, to) = (file_name("c"), file_name("moved"));
    let renamed = coordinator.rename(Rename { from, to, mode: PutMode::IfAbsent }).await;
    let bytes = model.now("c");
    model.set("moved", bytes, renamed.is_ok());
    model.set("c", None, renamed.is_ok());
}

/// Waits for a put, unless the coordinator dies: then nobody answers.
async fn while_the_coordinator_lives<T>(
    cluster: &Cluster<'_>,
    put: dfs_simulation::task::Running<Result<T, ClientError>>,
) -> Option<Result<T, ClientError>> {
    tokio::pin!(put);
    loop {
        tokio::select! {
            biased;
            result = &mut put => return result.ok().filter(|_| cluster.host(COORDINATOR).is_up()
                || !cluster.host(COORDINATOR).disk().is_on()).filter(Result::is_ok),
            () = tokio::time::sleep(Duration::from_millis(50)) => {
                if !cluster.host(COORDINATOR).is_up() {
                    // Only the client that gives up shows what it was told.
                    cluster.client_host().start();
                    return None;
                }
            }
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
