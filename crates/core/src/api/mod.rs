//! What the roles say to each other: two services, their messages, one error.
//!
//! A service is implemented by the role itself, by the gRPC stub and by the
//! simulated link. Messages are plain values, already checked for form by
//! whoever took them off a wire; what they claim is never trusted.

mod coordinator;
mod error;
mod node;
mod status;

pub use coordinator::*;
pub use error::{Error, Kind, Result};
pub use node::*;
pub use status::*;

// What the floors below define and messages carry.
pub use crate::catalog::Told;
pub use crate::health::NodeState;
pub use crate::placement::Promise;
pub use crate::policy::PolicyOverrides;
pub use crate::presence::{CopyState, HeldChunk, InventoryChanges, InventoryDigest};
pub use crate::repair::{Condition, StripeHealth};
pub use crate::verdict::{Reason, ReasonKind, Stored, Verdict, Word};
