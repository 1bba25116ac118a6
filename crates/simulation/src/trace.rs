//! What happened, in order: every message and every disk effect. Two runs of
//! one seed must print the same trace; its digest says so in one word.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dfs_core::data::digest::{Digest, Hasher};

/// The events that are kept as text, for a failing test to print.
const LINES_MAX: usize = 2000;

/// The trace of one world. Clones write to the same one.
#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    hasher: Hasher,
    events: u64,
    lines: VecDeque<String>,
}

impl Trace {
    /// Adds one event: `what` happened at `place`. The virtual time is added
    /// where there is one.
    pub fn event(&self, place: &str, what: fmt::Arguments<'_>) {
        let line = format!("{:>9} {place} {what}", elapsed_ms());
        let mut state = self.state();
        state.hasher.update(line.as_bytes());
        state.hasher.update(b"\n");
        state.events += 1;
        if state.lines.len() == LINES_MAX {
            state.lines.pop_front();
        }
        state.lines.push_back(line);
    }

    /// How many events there were.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.state().events
    }

    /// The SHA-256 of all events so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.state().hasher.clone().finish()
    }

    /// The latest events, at most `count`, oldest first.
    #[must_use]
    pub fn tail(&self, count: usize) -> Vec<String> {
        let state = self.state();
        let skipped = state.lines.len().saturating_sub(count);
        state.lines.iter().skip(skipped).cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Virtual time begins here in each world: set by [`crate::world::World`].
pub(crate) fn start_clock() {
    STARTED.with(|started| started.set(Some(tokio::time::Instant::now())));
}

/// Milliseconds of virtual time since the world began; 0 outside of one.
pub(crate) fn elapsed_ms() -> u64 {
    let started = STARTED.with(std::cell::Cell::get);
    started.map_or(0, |at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX))
}

thread_local! {
    /// A world lives on one thread, and a thread has one world at a time.
    static STARTED: std::cell::Cell<Option<tokio::time::Instant>> =
        const { std::cell::Cell::new(None) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_place_change_the_digest() {
        let digest = |events: &[(&str, u32)]| {
            let trace = Trace::default();
            for (place, what) in events {
                trace.event(place, format_args!("did {what}"));
            }
            trace.digest()
        };
        assert_eq!(digest(&[("a", 1), ("b", 2)]), digest(&[("a", 1), ("b", 2)]));
        assert_ne!(digest(&[("a", 1), ("b", 2)]), digest(&[("b", 2), ("a", 1)]));
        assert_ne!(digest(&[("a", 1)]), digest(&[("b", 1)]));
    }
}
