//! How the store runs on real machines: disks, threads, clock, chance, gRPC.
//!
//! Everything here implements a seam of [`dfs_core::env`] or
//! [`dfs_core::api`]; nothing here decides anything about files or chunks.
//!
//! - [`disk`]: a folder of a real file system, past the page cache for large
//!   sequential files.
//! - [`ThreadPool`], [`TaskGroup`]: threads and tasks.
//! - [`grpc`]: both services over HTTP/2.
//! - [`RealWorld`]: all of it in one [`dfs_core::env::Env`].

pub mod disk;
#[expect(
    clippy::disallowed_types,
    reason = "no simulator runs it, so the order of waiters is free"
)]
pub mod grpc;

mod chance;
mod pool;
mod task;
mod world;

pub use chance::{OsRandom, SystemWallClock};
pub use pool::ThreadPool;
pub use task::TaskGroup;
pub use world::RealWorld;
