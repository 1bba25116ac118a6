//! What every implementation of a seam must do: plain functions that assert,
//! to be run on the simulated one and on the real one.

pub mod coordinator;
pub mod disk;
pub mod node;
