//! How the store is broken on purpose: a deterministic world of hosts, links
//! and disks, in which the real roles run in virtual time.
//!
//! A seed decides everything: two runs of one seed give the same [`trace`].
//! There is no mock of a role anywhere; only the seams of `dfs_core::env` and
//! the way between two services are simulated.
//!
//! - [`world`]: a seed, virtual time, hosts: where a scenario runs.
//! - [`host`], [`task`], [`pool`], [`rng`]: a machine and its one process.
//! - [`disk`]: what was synced and what was not, and every way to lose it.
//! - [`net`]: latency, loss, doubles, resets, partitions, half-open streams.
//! - [`step`]: the number of every effect, and stops just before one.
//! - [`cluster`]: the real roles on hosts of their own, started and stopped.
//! - [`scenario`]: what happens in a world, as data: written, or drawn by [`swarm`].
//! - [`sweep`], [`shrink`]: many seeds; and the smallest case of one that fails.
//! - [`run`]: a scenario run from a seed: clients, faults, checks, a report.
//! - [`oracle`], [`history`]: what must hold, worked out without the code under test.
//! - [`sample`]: chunks and stripes as a client makes them.
//! - [`contract`]: what every implementation of a seam must do.

pub mod cluster;
pub mod contract;
pub mod disk;
pub mod history;
pub mod host;
pub mod net;
pub mod oracle;
pub mod pool;
pub mod rng;
pub mod run;
pub mod sample;
pub mod scenario;
pub mod shrink;
pub mod step;
pub mod swarm;
pub mod sweep;
pub mod task;
pub mod trace;
pub mod world;

pub use disk::MemoryDisk;
pub use host::Host;
pub use net::Net;
pub use rng::Rng;
pub use step::{By, Stop, Whom};
pub use task::Ended;
pub use world::World;
