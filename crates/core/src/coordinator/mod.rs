//! The coordinator: namespace, layouts, health, repair. Sees metadata only.
//!
//! - `process`: one leadership after the other. `role`: one leadership.
//! - `door`: commands go into the catalog, durably; reads wait for what they
//!   saw. `writer`: makes them durable. `rescue`: writes the catalog elsewhere.
//! - `upload`, `put`: uploads under way, from `begin_put` to `commit`.
//! - `request`: changes under a request id, made at most once.
//! - `read`: lookups, listings, sizes. `namespace`: remove and rename.
//! - `adopt`: how nodes come under this run. `lead`: whether it may
//!   acknowledge changes. `member`: heartbeats and identities.
//!   `inventory`: what nodes hold.
//! - `survey`, `mend`, `sweep`, `trim`: how the stripes are; rebuilding what is
//!   missing; deleting what nothing refers to; deleting surplus copies.
//! - `stall`: what a standstill of the coordinator's own says of nobody else.
//! - `status`: the cluster on one page.

mod adopt;
mod chronicle;
mod door;
mod elder;
mod hear;
mod inventory;
mod lead;
mod member;
mod mend;
mod mending;
mod namespace;
mod numbers;
mod process;
mod put;
mod reach;
mod read;
mod request;
mod rescue;
mod role;
mod settings;
mod stall;
mod status;
mod survey;
mod sweep;
mod trim;
mod unknown;
mod upload;
mod writer;

pub use process::CoordinatorProcess;
pub use role::{Coordinator, CoordinatorStartError};
pub use settings::*;
