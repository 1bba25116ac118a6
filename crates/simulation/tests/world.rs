//! The world itself: processes, links and their loss, in virtual time, the
//! same for the same seed.

use std::time::Duration;

use dfs_core::api::Kind;
use dfs_simulation::World;

#[test]
fn a_process_ends_with_all_its_tasks_and_starts_anew() {
    World::run(1, async |world| {
        let host = world.add_host("n1", 4001);
        let first = host.start();
        let waiting = host.spawn(async { tokio::time::sleep(Duration::from_secs(60)).await });
        world.pass(Duration::from_secs(1)).await;
        host.kill();
        assert!(waiting.await.is_err(), "the task ended with its process");
        assert!(first.disk.list("").is_err(), "and so did its disk");
        let second = host.start();
        assert!(second.disk.list("").is_ok());
        assert_ne!(first.random.next_u64(), second.random.next_u64());
    });
}

#[test]
fn nobody_there_is_refused_at_once_and_a_cut_link_only_after_the_timeout() {
    World::run(2, async |world| {
        let client = world.add_host("client", 1);
        world.add_host("coord", 4000);
        let coordinator = client.start().peers.coordinator("coord:4000");
        let started = tokio::time::Instant::now();
        let error = coordinator.status().await.expect_err("nobody is there");
        assert_eq!(error.kind, Kind::Unavailable);
        assert!(started.elapsed() < Duration::from_millis(10), "{error}");

        world.net().cut_one_way("client", "coord");
        let started = tokio::time::Instant::now();
        let error = coordinator.status().await.expect_err("it is cut off");
        assert_eq!(error.kind, Kind::Unavailable);
        assert!(started.elapsed() >= dfs_simulation::net::CALL_TIMEOUT, "{error}");
    });
}

#[test]
fn the_wall_clock_may_be_wrong_and_time_goes_on() {
    World::run(3, async |world| {
        let host = world.add_host("n1", 4001);
        let env = host.start();
        let before = env.wall.now_ms();
        world.pass(Duration::from_millis(1500)).await;
        assert_eq!(env.wall.now_ms() - before, 1500);
        host.set_wall_skew_ms(-3_600_000);
        assert!(env.wall.now_ms() < before);
    });
}

#[test]
#[should_panic(expected = "tasks of simulated hosts panicked")]
fn a_panic_in_any_task_fails_the_scenario() {
    World::run(4, async |world| {
        let host = world.add_host("n1", 4001);
        let env = host.start();
        env.spawn(async { panic!("a bug in a role") });
        world.pass(Duration::from_secs(1)).await;
    });
}
