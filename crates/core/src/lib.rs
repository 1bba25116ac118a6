//! What the store is. No sockets, no files and no clocks of its own.
//!
//! Floors, each of which may use only those above it in this list:
//!
//! 1. [`block_map`], [`data`], [`id`], [`name`], [`policy`], [`placement`], [`units`], [`mutant`]: pure bytes and pure choices.
//! 2. [`catalog`], [`presence`], [`health`], [`lease`], [`repair`], [`verdict`]: pure state, pure decisions.
//! 3. [`mod@env`], [`api`], [`ledger`]: the seams to disks, peers, chance and time.
//! 4. [`coordinator`], [`node`], [`client`]: the roles. They meet in [`api`] only.

pub mod block_map;
pub mod data;
pub mod id;
pub mod limit;
pub mod mark;
pub mod mutant;
pub mod name;
pub mod placement;
pub mod policy;
pub mod units;

pub mod catalog;
pub mod health;
pub mod lease;
pub mod presence;
pub mod repair;
pub mod verdict;

pub mod api;
pub mod env;
pub mod ledger;

pub mod client;
pub mod coordinator;
pub mod node;
