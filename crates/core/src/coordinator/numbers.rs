//! The numbers that handles and file ids are drawn from, each used once.
//!
//! Numbers are set aside in the catalog by the block, durably, before any of
//! a block is handed out; what a crash leaves over is never used.

use std::sync::Mutex;

use super::door::Door;
use crate::api::{Error, Kind, Result};
use crate::catalog::{Command, NUMBERS_PER_BLOCK};

/// Where numbers come from.
#[derive(Debug)]
pub(crate) struct Numbers(Mutex<Range>);

#[derive(Debug)]
struct Range {
    next: u64,
    end: u64,
}

impl Numbers {
    /// Starts behind every number that may ever have been handed out.
    pub(crate) fn starting_at(next: u64) -> Self {
        Self(Mutex::new(Range { next, end: next }))
    }

    /// Draws `count` numbers in a row and returns the first.
    ///
    /// # Errors
    /// When the catalog takes no commands.
    pub(crate) async fn draw(&self, door: &Door, count: u64) -> Result<u64> {
        loop {
            let wanted = {
                let mut range = self.0.lock().expect("no holder of the numbers panics");
                if range.end - range.next >= count {
                    let first = range.next;
                    range.next += count;
                    return Ok(first);
                }
                range.end.max(range.next) + count.max(NUMBERS_PER_BLOCK)
            };
            // Two at once ask for the same block: one of them sets it aside,
            // the other is refused and finds it there.
            let asked = door.submit(Command::ReserveNumbers { next_number: wanted }).await;
            let reserved = door.read(|catalog| catalog.cluster().map(|c| c.next_number)).await?;
            let mut range = self.0.lock().expect("no holder of the numbers panics");
            match reserved {
                Some(end) if end > range.end => range.end = end,
                _ if range.end >= wanted => {}
                _ => return Err(asked.err().map_or_else(not_set_aside, not_drawn)),
            }
        }
    }
}

fn not_set_aside() -> Error {
    Error::new(Kind::Internal, "the catalog set no numbers aside".to_owned())
}

/// No number was drawn, whatever became of the block: nothing that a client
/// asked for is in doubt.
fn not_drawn(error: Error) -> Error {
    match error.kind {
        Kind::NotKnown => Error::new(Kind::Unavailable, error.message),
        _ => error,
    }
}
