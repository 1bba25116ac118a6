//! Both services over gRPC: the wire types, what they may hold, and the two
//! ends. Everything that knows tonic is in here.
//!
//! A message is checked for form on its way in (`convert`) and never
//! trusted further; an error crosses as its kind and its message (`error`).

mod body;
mod client;
mod convert;
mod error;
mod limit;
mod protocol;
mod server;
mod short;
#[cfg(test)]
mod tests;

/// The wire types, generated from `proto/dfs.proto` and checked in; a test
/// compares them with a fresh generation.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
mod wire {
    include!("generated/dfs.v1.rs");
}

pub use client::{CoordinatorStub, GrpcPeers, NodeStub};
pub use server::{serve_coordinator, serve_node};
