//! The node: stores, serves, verifies and rebuilds chunks, and tells the
//! coordinator what it holds.
//!
//! | file | what it does |
//! |---|---|
//! | `role` | the node itself: opening it, running it, stopping it |
//! | `service` | what others ask of it, each call in a few lines |
//! | `membership`, `identity` | its cluster and run, and how it remembers them |
//! | `allegiance` | which run may adopt it, and which may give orders |
//! | `heartbeat` | how it tells the coordinator of itself |
//! | `write`, `incoming` | how a chunk comes in |
//! | `read` | how a chunk goes out |
//! | `rebuild`, `pull` | how a lost copy is made anew from peers |
//! | `store` | chunks on disk |
//!
//! It decides nothing about files or placement, and believes no byte that it
//! has not checked.

mod allegiance;
mod heartbeat;
mod identity;
mod incoming;
mod membership;
mod pull;
mod read;
mod rebuild;
mod refusals;
mod role;
mod service;
mod store;
mod volume_watch;
mod write;

pub use role::{Node, NodeSettings, NodeStartError, NodeSummary};
