//! What every verb has at hand: the configuration, and how to reach a cluster.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dfs_core::api::CoordinatorService;
use dfs_core::client::{Client, ClientSettings};
use dfs_core::env::{Env, WallClock};
use dfs_runtime::RealWorld;
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::cli::{ClusterArgs, GlobalArgs, ProgressWhen};
use crate::exit::Failure;
use crate::output::progress::{Gauge, Meter, Unit};
use crate::settings::Settings;

/// Where the coordinator listens when nothing else is said.
pub(crate) const COORDINATOR_DEFAULT: &str = "127.0.0.1:4000";
/// How long an unreachable coordinator is tried when nothing else is said.
pub(crate) const RETRY_FOR_DEFAULT: Duration = Duration::from_secs(10);

/// How long a verb that was stopped has to take its upload back. One that
/// cannot lapses by itself, later.
const GOODBYE_WITHIN: Duration = Duration::from_millis(200);

/// The person's side of a verb.
pub(crate) struct Console {
    /// The configuration file.
    pub(crate) settings: Settings,
    /// Whether only the answer and errors are wanted.
    pub(crate) is_quiet: bool,
    /// The coordinator and the patience that stand before the verb: they win,
    /// since a variable may stand behind those of the verb.
    coord: Option<String>,
    retry_for: Option<Duration>,
    /// When progress is shown.
    progress: ProgressWhen,
    /// The client's world, which outlives a verb that is stopped: what the
    /// verb left to be said goodbye to runs in it.
    world: OnceLock<Env>,
}

/// A cluster to ask.
pub(crate) struct Cluster {
    /// The client.
    pub(crate) client: Arc<Client>,
    /// Its coordinator, for calls that are made once.
    pub(crate) coordinator: Arc<dyn CoordinatorService>,
    /// The wall clock of this machine.
    pub(crate) wall: Arc<dyn WallClock>,
}

impl Console {
    /// Reads the configuration.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn new(global: &GlobalArgs) -> Result<Self, Failure> {
        let settings = Settings::load(global.config.as_deref())?;
        let progress = global.progress.or(settings.client.progress).unwrap_or(ProgressWhen::Auto);
        Ok(Self {
            settings,
            is_quiet: global.quiet,
            coord: global.coord.clone(),
            retry_for: global.retry_for,
            progress,
            world: OnceLock::new(),
        })
    }

    /// The cluster that flags, environment or configuration name.
    ///
    /// # Errors
    /// When the address is not one. Nothing is sent yet.
    pub(crate) fn cluster(&self, args: &ClusterArgs) -> Result<Cluster, Failure> {
        let address = (self.coord.clone())
            .or_else(|| args.coord.clone())
            .or_else(|| self.settings.client.coord.clone())
            .unwrap_or_else(|| COORDINATOR_DEFAULT.to_owned());
        check_address("--coord", &address)?;
        let retry_for = (self.retry_for)
            .or(args.retry_for)
            .or(self.settings.client.retry_for)
            .unwrap_or(RETRY_FOR_DEFAULT);
        let env = self.world.get_or_init(|| RealWorld::new(Handle::current()).client_env()).clone();
        let coordinator = env.peers.coordinator(&address);
        let settings = ClientSettings { retry_for, ..ClientSettings::default() };
        let wall = env.wall.clone();
        let client = Arc::new(Client::new(env, coordinator.clone(), settings).at(&address));
        Ok(Cluster { client, coordinator, wall })
    }

    /// Lets a verb that was stopped tell the coordinator so.
    pub(crate) async fn say_goodbye(&self) {
        if self.world.get().is_some() {
            sleep(GOODBYE_WITHIN).await;
        }
    }

    /// Shows progress until it is dropped.
    pub(crate) fn meter(&self, verb: &str, gauge: Gauge) -> Meter {
        Meter::start(self.progress, self.is_quiet, verb, Unit::Bytes, gauge)
    }

    /// Shows how many things, each a `noun`, are done until it is dropped.
    pub(crate) fn count_meter(&self, verb: &str, noun: &'static str, gauge: Gauge) -> Meter {
        Meter::start(self.progress, self.is_quiet, verb, Unit::Count(noun), gauge)
    }

    /// Tells the person something beside the answer, unless quiet.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if !self.is_quiet {
            crate::output::note(text);
        }
    }
}

/// Checks that `address` is `host:port`.
///
/// # Errors
/// A usage failure that names `flag`.
pub(crate) fn check_address(flag: &str, address: &str) -> Result<(), Failure> {
    let is_good = address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains(['/', ' ', '@']) && port.parse::<u16>().is_ok()
    });
    if is_good {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{flag} {address:?} is not an address: write HOST:PORT, such as {COORDINATOR_DEFAULT}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_host_and_port() {
        for good in ["127.0.0.1:4000", "[::1]:4000", "store.example:1"] {
            assert!(check_address("--coord", good).is_ok(), "{good}");
        }
        for bad in ["", "4000", "host", ":4000", "http://h:4000", "h:70000", "h:"] {
            let refusal = check_address("--coord", bad).expect_err(bad);
            assert_eq!(refusal.code, crate::exit::Code::Usage);
        }
    }
}
