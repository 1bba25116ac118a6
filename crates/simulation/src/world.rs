//! One simulated world: a seed, a network, hosts, one trace, virtual time.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dfs_core::data::digest::Digest;
use dfs_core::env::{Hard, HardPlace};

use crate::host::Host;
use crate::net::Net;
use crate::rng::Rng;
use crate::step::{Steps, Stop, Whom};
use crate::task::{Panics, text_of};
use crate::trace::{self, Trace};

/// Virtual time that a scenario may take before it counts as stuck.
pub const SCENARIO_TIME_MAX: Duration = Duration::from_secs(48 * 3600);
/// Trace lines that a failing scenario prints.
const FAILURE_LINES: usize = 60;

/// A world. It lives on one thread, in virtual time, and is the same each
/// time for the same seed.
pub struct World {
    seed: u64,
    net: Net,
    trace: Trace,
    panics: Panics,
    hosts: Mutex<BTreeMap<String, Arc<Host>>>,
}

impl World {
    /// Runs `scenario` in a new world and gives what it returned.
    ///
    /// # Panics
    /// When the scenario or any task of its hosts panicked; the seed and the
    /// end of the trace are printed.
    pub fn run<T>(seed: u64, scenario: impl AsyncFnOnce(&World) -> T) -> T {
        Self::run_traced(seed, scenario).0
    }

    /// The same, with the digest of the trace.
    ///
    /// # Panics
    /// As [`World::run`].
    pub fn run_traced<T>(seed: u64, scenario: impl AsyncFnOnce(&World) -> T) -> (T, Digest) {
        let trace = Trace::default();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            run_in(seed, trace.clone(), SCENARIO_TIME_MAX, scenario)
        }));
        match outcome {
            Ok(value) => (value, trace.digest()),
            Err(panic) => {
                eprintln!("seed {seed} failed; the last events of its trace:");
                for line in trace.tail(FAILURE_LINES) {
                    eprintln!("{line}");
                }
                resume_unwind(panic)
            }
        }
    }

    /// Runs `scenario`, which may take `time_max` of virtual time, in a new
    /// world that writes to `trace`.
    ///
    /// # Errors
    /// The text of the panic, when the scenario or a task of its hosts
    /// panicked.
    pub fn run_caught<T>(
        seed: u64,
        trace: Trace,
        time_max: Duration,
        scenario: impl AsyncFnOnce(&World) -> T,
    ) -> Result<T, String> {
        let outcome = catch_unwind(AssertUnwindSafe(|| run_in(seed, trace, time_max, scenario)));
        outcome.map_err(|panic| text_of(panic.as_ref()))
    }

    /// The seed that all chance comes from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The network.
    #[must_use]
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// What happened so far.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// A generator for the test itself, independent of all others.
    #[must_use]
    pub fn rng(&self, name: &str) -> Rng {
        Rng::derive(self.seed, &format!("test/{name}"))
    }

    /// Makes life hard for every process that starts from now on.
    pub fn set_hard(&self, hard: Hard) {
        self.net.set_hard(hard);
    }

    /// How often each hard place struck.
    #[must_use]
    pub fn hard_struck(&self) -> BTreeMap<HardPlace, u64> {
        self.net.hard().map(|hard| hard.struck()).unwrap_or_default()
    }

    /// Adds a machine with an empty disk, reached at `name:port`. Nothing
    /// runs on it before [`Host::start`].
    pub fn add_host(&self, name: &str, port: u16) -> Arc<Host> {
        let address = format!("{name}:{port}");
        let (net, trace) = (self.net.clone(), self.trace.clone());
        let host = Host::new(name, &address, self.seed, net, trace, self.panics.clone());
        self.net.connect(host.clone());
        self.hosts().insert(name.to_owned(), host.clone());
        host
    }

    /// The machine of that name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn host(&self, name: &str) -> Arc<Host> {
        let hosts = self.hosts();
        hosts.get(name).unwrap_or_else(|| panic!("there is no host {name}")).clone()
    }

    /// How many steps there were so far (see [`crate::step`]): the number of
    /// the next one.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.net.steps().count()
    }

    /// Stops a process just before step number `step` would take place, from
    /// 0. A stop that was set before and has not taken place is forgotten.
    ///
    /// # Panics
    /// When the host that is named does not exist, or the step is over.
    pub fn stop_at(&self, step: u64, who: Stop) {
        if let Whom::Host(name) = &who.whom {
            let _ = self.host(name);
        }
        assert!(step >= self.steps(), "step {step} is over, the next is {}", self.steps());
        self.net.steps().arm(step, who);
    }

    /// Whether the last [`World::stop_at`] took place: which host was
    /// stopped, how, and before what.
    #[must_use]
    pub fn stopped(&self) -> Option<String> {
        self.net.steps().stopped()
    }

    /// Lets virtual time pass.
    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn hosts(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Host>>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends every process, so that nothing holds anything any more.
    fn close(&self) {
        let hosts = std::mem::take(&mut *self.hosts());
        for host in hosts.values() {
            host.kill();
        }
        self.net.disconnect_all();
    }
}

fn run_in<T>(
    seed: u64,
    trace: Trace,
    time_max: Duration,
    scenario: impl AsyncFnOnce(&World) -> T,
) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing from the system");
    runtime.block_on(async {
        trace::start_clock();
        let panics = Panics::default();
        let steps = Steps::new(trace.clone());
        let net = Net::new(Rng::derive(seed, "net"), trace.clone(), steps);
        let world = World { seed, net, trace, panics: panics.clone(), hosts: Mutex::default() };
        let value = tokio::time::timeout(time_max, scenario(&world)).await;
        world.close();
        // Killed tasks are dropped when the scheduler comes by.
        tokio::task::yield_now().await;
        assert_eq!(panics.list(), Vec::<String>::new(), "tasks of simulated hosts panicked");
        value.unwrap_or_else(|_| panic!("the scenario did not end in {time_max:?}"))
    })
}
