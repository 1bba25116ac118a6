//! The catalog: which files there are, of which chunks, on which nodes. A
//! deterministic state machine behind one door, `apply(Command)`.

mod command;
mod record;

pub use command::Command;
pub use record::*;
