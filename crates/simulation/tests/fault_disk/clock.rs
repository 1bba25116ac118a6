//! Wall clocks that jump, drift and stand still (F16), and slow disks (F12).

use std::time::Duration;

use dfs_core::env::{Work, run};
use dfs_simulation::World;
use dfs_simulation::host::WALL_START_MS;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
const HOUR_MS: i64 = 3_600_000;

#[test]
fn a_wall_clock_jumps_drifts_and_stands_still_on_its_host_alone() {
    World::run(1, async |world| {
        let (host, right) = (world.add_host("n1", 4001), world.add_host("n2", 4002));
        let (wall, right) = (host.start().wall, right.start().wall);
        let shown = || i64::try_from(wall.now_ms() - WALL_START_MS).expect("short");
        let started = Instant::now();
        world.pass(SECOND).await;
        assert_eq!(shown(), 1000);

        host.set_wall_drift_ppm(500_000);
        assert_eq!(shown(), 1000, "no jump");
        world.pass(2 * SECOND).await;
        assert_eq!(shown(), 4000, "half as fast again");
        host.set_wall_drift_ppm(-1_000_000 / 4);
        world.pass(4 * SECOND).await;
        assert_eq!(shown(), 7000, "a quarter too slow, and it keeps what it gained");

        host.set_wall_frozen(true);
        world.pass(10 * SECOND).await;
        assert_eq!(shown(), 7000);
        host.set_wall_skew_ms(HOUR_MS);
        assert_eq!(shown(), 7000 + HOUR_MS, "a jump");
        host.set_wall_frozen(false);
        host.set_wall_drift_ppm(0);
        host.set_wall_skew_ms(0);
        world.pass(SECOND).await;
        assert_eq!(shown(), 8000, "it goes on from where it stood");

        host.set_wall_drift_ppm(-3_000_000);
        world.pass(2 * SECOND).await;
        assert_eq!(shown(), 4000, "backwards");
        assert_eq!(started.elapsed(), 20 * SECOND, "the monotonic clock is another one");
        assert_eq!(right.now_ms() - WALL_START_MS, 20_000, "and so are other hosts'");
    });
}

#[test]
fn a_wrong_clock_outlives_its_process() {
    World::run(2, async |world| {
        let host = world.add_host("n1", 4001);
        host.set_wall_skew_ms(-HOUR_MS);
        host.set_wall_frozen(true);
        let before = host.start().wall.now_ms();
        world.pass(SECOND).await;
        assert_eq!(host.start().wall.now_ms(), before);
        assert_eq!(before, WALL_START_MS - 3_600_000);
    });
}

#[test]
fn a_slow_disk_delays_disk_jobs_and_nothing_else() {
    World::run(3, async |world| {
        let host = world.add_host("n1", 4001);
        host.set_disk_latency_us(250_000);
        let pool = host.start().pool;
        let started = Instant::now();
        run(&*pool, Work::Cpu, || ()).await;
        assert_eq!(started.elapsed(), Duration::ZERO);
        run(&*pool, Work::Disk, || ()).await;
        assert_eq!(started.elapsed(), Duration::from_millis(250));
        host.set_disk_latency_us(0);
        run(&*pool, Work::Disk, || ()).await;
        assert_eq!(started.elapsed(), Duration::from_millis(250));
    });
}
