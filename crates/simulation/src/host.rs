//! A simulated machine: one disk, one process at a time, a name on the
//! network, a clock that may be wrong.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dfs_core::api::{CoordinatorService, NodeService};
use dfs_core::env::{Env, WallClock};
use dfs_core::mark::{Mark, reached};

use crate::disk::MemoryDisk;
use crate::net::{Net, SimulatedPeers};
use crate::pool::InlinePool;
use crate::rng::{Rng, SeededRandom};
use crate::step::By;
use crate::task::{Panics, Running, TaskGroup};
use crate::trace::{self, Trace};

/// The wall clock of every host when the world begins: 2026-01-01T00:00:00Z.
pub const WALL_START_MS: u64 = 1_767_225_600_000;

/// One machine.
pub struct Host {
    name: String,
    address: String,
    disk: MemoryDisk,
    net: Net,
    trace: Trace,
    panics: Panics,
    seed: u64,
    disk_latency_us: Arc<AtomicU64>,
    wall: Arc<HostClock>,
    process: Mutex<Process>,
    /// A stop that waits until the disk call in which it fell lets go.
    due: Mutex<Option<By>>,
}

/// What runs on a machine now.
struct Process {
    /// How many there were.
    starts: u64,
    tasks: TaskGroup,
    node: Option<Arc<dyn NodeService>>,
    coordinator: Option<Arc<dyn CoordinatorService>>,
    env: Option<Env>,
    crash_rng: Rng,
}

impl Host {
    pub(crate) fn new(
        name: &str,
        address: &str,
        seed: u64,
        net: Net,
        trace: Trace,
        panics: Panics,
    ) -> Arc<Self> {
        let tasks = TaskGroup::new(panics.clone());
        tasks.end();
        let host = Arc::new(Self {
            name: name.to_owned(),
            address: address.to_owned(),
            disk: MemoryDisk::new(name, trace.clone()),
            net,
            trace,
            panics,
            seed,
            disk_latency_us: Arc::default(),
            wall: Arc::default(),
            process: Mutex::new(Process {
                starts: 0,
                tasks,
                node: None,
                coordinator: None,
                env: None,
                crash_rng: Rng::derive(seed, &format!("{name}/crash")),
            }),
            due: Mutex::default(),
        });
        host.watch_disk();
        host
    }

    /// Counts the effects of its disk as steps, and ends the process at the
    /// one at which it is due to end.
    fn watch_disk(self: &Arc<Self>) {
        let (weak, steps) = (Arc::downgrade(self), self.net.steps().clone());
        let name = self.name.clone();
        self.disk.on_effect(move |what| {
            let Some(due) = steps.next(&name, what) else { return true };
            let Some(host) = weak.upgrade() else { return true };
            if due.host == name {
                *host.due() = Some(due.by);
                return false;
            }
            host.net.stop(&due);
            true
        });
        let weak = Arc::downgrade(self);
        self.disk.on_power_cut(move || {
            let Some(host) = weak.upgrade() else { return };
            let due = host.due().take();
            match due {
                Some(by) => host.stop(by),
                None => host.kill(),
            }
        });
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its services are reached, `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its disk.
    #[must_use]
    pub fn disk(&self) -> &MemoryDisk {
        &self.disk
    }

    /// Starts a process (after killing the one before) and gives its world.
    pub fn start(self: &Arc<Self>) -> Env {
        self.kill();
        let mut process = self.process();
        process.starts += 1;
        if self.name == crate::cluster::COORDINATOR && process.starts > 1 {
            reached(Mark::CoordinatorRestarted);
        }
        self.trace.event(&self.name, format_args!("start {}", process.starts));
        process.tasks = TaskGroup::new(self.panics.clone());
        let chance = Rng::derive(self.seed, &format!("{}/{}", self.name, process.starts));
        let pool = InlinePool::new(self.disk_latency_us.clone(), process.tasks.clone());
        let env = Env {
            hard: self.net.hard(),
            disk: self.disk.handle(),
            pool: Arc::new(pool),
            random: Arc::new(SeededRandom::new(chance)),
            wall: self.wall.clone(),
            spawner: Arc::new(process.tasks.clone()),
            peers: Arc::new(SimulatedPeers::new(
                self.net.clone(),
                &self.name,
                process.tasks.clone(),
            )),
        };
        process.env = Some(env.clone());
        env
    }

    /// The world of the process that runs now.
    ///
    /// # Panics
    /// When none does.
    #[must_use]
    pub fn env(&self) -> Env {
        self.process().env.clone().unwrap_or_else(|| panic!("{} is not started", self.name))
    }

    /// Runs `work` in its process. It ends with the process.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Running<T> {
        self.tasks().spawn(work)
    }

    /// Opens its port for a node's service.
    pub fn serve_node(&self, node: Arc<dyn NodeService>) {
        self.process().node = Some(node);
    }

    /// Opens its port for a coordinator's service.
    pub fn serve_coordinator(&self, coordinator: Arc<dyn CoordinatorService>) {
        self.process().coordinator = Some(coordinator);
    }

    /// Kills its process where it stands (`kill -9`). The page cache stays.
    pub fn kill(&self) {
        let mut process = self.process();
        if process.env.is_none() {
            return;
        }
        self.trace.event(&self.name, format_args!("killed"));
        let env = process.env.take();
        let services = (process.node.take(), process.coordinator.take());
        let tasks = process.tasks.clone();
        drop(process);
        self.disk.detach();
        tasks.end();
        drop((env, services));
    }

    /// Its process ends by itself.
    pub(crate) fn end(&self, reason: &str) {
        self.trace.event(&self.name, format_args!("ends: {reason}"));
        self.kill();
    }

    /// Cuts its power: the process is gone, and what it did not sync may be.
    pub fn crash(&self) {
        self.kill();
        let mut process = self.process();
        self.trace.event(&self.name, format_args!("power cut"));
        self.disk.crash(&mut process.crash_rng);
    }

    /// Stops it in one way or the other, also from inside of its own process.
    pub(crate) fn stop(&self, by: By) {
        match by {
            By::Kill => self.kill(),
            By::PowerCut => self.crash(),
        }
    }

    /// Freezes its process (F15), as `SIGSTOP` does: none of its tasks runs.
    /// Calls to it are taken and not answered, calls from it stand still.
    pub fn pause(&self) {
        let tasks = self.tasks();
        if !tasks.is_paused() && !tasks.has_ended() {
            self.trace.event(&self.name, format_args!("paused"));
            tasks.pause();
        }
    }

    /// Lets its process run on. Timers that came due meanwhile fire now. A
    /// process that was killed while it was paused is not brought back.
    pub fn resume(&self) {
        let tasks = self.tasks();
        if tasks.is_paused() {
            self.trace.event(&self.name, format_args!("resumed"));
            tasks.resume();
        }
    }

    /// True while its process is frozen.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.tasks().is_paused()
    }

    /// Makes the next power cuts take other things than they would.
    pub fn reseed_power_cuts(&self, seed: u64) {
        self.process().crash_rng = Rng::derive(self.seed ^ seed, &self.name);
    }

    /// True while a process runs.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.process().env.is_some()
    }

    /// Makes each disk job take this long (F12).
    pub fn set_disk_latency_us(&self, latency_us: u64) {
        self.disk_latency_us.store(latency_us, Ordering::Relaxed);
    }

    /// Sets its wall clock off by this much (F16).
    pub fn set_wall_skew_ms(&self, skew_ms: i64) {
        self.wall.hands().skew_ms = skew_ms;
    }

    /// Makes its wall clock gain so many parts in a million from now on, or
    /// lose them (F16): 1,000,000 is twice the right speed, -1,000,000 is
    /// none, 0 the right one. What it gained so far, it keeps.
    pub fn set_wall_drift_ppm(&self, drift_ppm: i64) {
        self.wall.turn(|hands| hands.drift_ppm = drift_ppm);
    }

    /// Stops its wall clock, or lets it go on from where it stood (F16).
    pub fn set_wall_frozen(&self, is_frozen: bool) {
        self.wall.turn(|hands| hands.is_frozen = is_frozen);
    }

    pub(crate) fn tasks(&self) -> TaskGroup {
        self.process().tasks.clone()
    }

    pub(crate) fn node(&self) -> Option<Arc<dyn NodeService>> {
        self.process().node.clone()
    }

    pub(crate) fn coordinator(&self) -> Option<Arc<dyn CoordinatorService>> {
        self.process().coordinator.clone()
    }

    fn due(&self) -> MutexGuard<'_, Option<By>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Virtual time as people read it: right at first, then as wrong as it was
/// told to be. The monotonic clock is another one, and always right.
#[derive(Default)]
struct HostClock(Mutex<Hands>);

#[derive(Default)]
struct Hands {
    /// True time since the world began when the speed was set last, and what
    /// the clock had counted by then.
    since_ms: u64,
    counted_ms: i64,
    drift_ppm: i64,
    is_frozen: bool,
    skew_ms: i64,
}

impl HostClock {
    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the speed, from now on.
    fn turn(&self, change: impl FnOnce(&mut Hands)) {
        let mut hands = self.hands();
        let now_ms = trace::elapsed_ms();
        hands.counted_ms = hands.counted_ms(now_ms);
        hands.since_ms = now_ms;
        change(&mut hands);
    }
}

impl Hands {
    fn counted_ms(&self, now_ms: u64) -> i64 {
        if self.is_frozen {
            return self.counted_ms;
        }
        let true_ms = i128::from(now_ms - self.since_ms);
        let counted_ms = true_ms * (1_000_000 + i128::from(self.drift_ppm)) / 1_000_000;
        self.counted_ms.saturating_add(i64::try_from(counted_ms).unwrap_or(i64::MAX))
    }
}

impl WallClock for HostClock {
    fn now_ms(&self) -> u64 {
        let hands = self.hands();
        let counted_ms = hands.counted_ms(trace::elapsed_ms());
        WALL_START_MS.saturating_add_signed(counted_ms).saturating_add_signed(hands.skew_ms)
    }
}
