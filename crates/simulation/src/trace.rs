//! What happened, in order: every message and every disk effect. Two runs of
//! one seed must print the same trace; its digest says so in one word.
//!
//! Where two runs differ, [`Trace::checkpoints`] say between which events
//! they part, and [`first_difference`] of all their lines says at which.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dfs_core::data::digest::{Digest, Hasher};

/// The events that are kept as text, for a failing test to print.
const LINES_MAX: usize = 2000;
/// Text that is gathered before it is hashed: one call for many lines.
const HASHED_AT_BYTES: usize = 16 << 10;
/// The digest is noted each time after this many events.
pub const CHECKPOINT_EVENTS: u64 = 1000;
/// Lines before and after the one at which two traces part.
const CONTEXT_LINES: usize = 5;

/// The trace of one world. Clones write to the same one.
#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    hasher: Hasher,
    /// Lines that are not hashed yet, each with its line feed.
    text: String,
    events: u64,
    is_lines_off: bool,
    lines: VecDeque<String>,
    recorded: Option<Vec<String>>,
    sink: Option<Sink>,
    checkpoints: Vec<Checkpoint>,
}

/// What is given each line, without its line feed.
type Sink = Box<dyn FnMut(&str) + Send>;

/// What a trace had come to after some of its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many events there were.
    pub events: u64,
    /// The digest of these.
    pub digest: Digest,
}

/// Where two traces part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The index of the first line that differs, from 0.
    pub line: usize,
    /// That line of the first trace; `None` when it has ended.
    pub first: Option<String>,
    /// That line of the second trace; `None` when it has ended.
    pub second: Option<String>,
    /// What both have before it, and what each has after it, for a person.
    pub context: String,
}

impl Trace {
    /// Adds one event: `what` happened at `place`. The virtual time is added
    /// where there is one.
    pub fn event(&self, place: &str, what: fmt::Arguments<'_>) {
        let now_ms = elapsed_ms();
        let mut state = self.state();
        let start = state.text.len();
        writeln!(state.text, "{now_ms:>9} {place} {what}").expect("a string takes all");
        state.events += 1;
        state.keep(start);
        if state.events.is_multiple_of(CHECKPOINT_EVENTS) {
            let checkpoint = Checkpoint { events: state.events, digest: state.digest() };
            state.checkpoints.push(checkpoint);
        } else if state.text.len() >= HASHED_AT_BYTES {
            state.hash();
        }
    }

    /// How many events there were.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.state().events
    }

    /// The SHA-256 of all events so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.state().digest()
    }

    /// The latest events, at most `count`, oldest first. None when
    /// [`Trace::keep_lines`] was turned off.
    #[must_use]
    pub fn tail(&self, count: usize) -> Vec<String> {
        let state = self.state();
        let skipped = state.lines.len().saturating_sub(count);
        state.lines.iter().skip(skipped).cloned().collect()
    }

    /// Whether the latest events are kept as text, which they are at first.
    /// The digest is the same either way.
    pub fn keep_lines(&self, is_kept: bool) {
        let mut state = self.state();
        state.is_lines_off = !is_kept;
        state.lines.clear();
    }

    /// Keeps the text of every event from now on, in memory.
    pub fn record(&self) {
        self.state().recorded.get_or_insert_default();
    }

    /// Every event since [`Trace::record`], oldest first.
    #[must_use]
    pub fn recorded(&self) -> Vec<String> {
        self.state().recorded.clone().unwrap_or_default()
    }

    /// Hands the text of every event from now on to `sink`, which must not
    /// ask anything of the world.
    pub fn record_to(&self, sink: impl FnMut(&str) + Send + 'static) {
        self.state().sink = Some(Box::new(sink));
    }

    /// The digest after each [`CHECKPOINT_EVENTS`] events.
    #[must_use]
    pub fn checkpoints(&self) -> Vec<Checkpoint> {
        self.state().checkpoints.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Keeps the line that begins at `start` wherever lines are kept.
    fn keep(&mut self, start: usize) {
        let line = &self.text[start..self.text.len() - 1];
        if let Some(sink) = &mut self.sink {
            sink(line);
        }
        if let Some(recorded) = &mut self.recorded {
            recorded.push(line.to_owned());
        }
        if !self.is_lines_off {
            // The oldest line lends its memory to the newest.
            let is_full = self.lines.len() == LINES_MAX;
            let mut kept = if is_full { self.lines.pop_front() } else { None }.unwrap_or_default();
            kept.clear();
            kept.push_str(line);
            self.lines.push_back(kept);
        }
    }

    fn hash(&mut self) {
        self.hasher.update(self.text.as_bytes());
        self.text.clear();
    }

    fn digest(&mut self) -> Digest {
        self.hash();
        self.hasher.clone().finish()
    }
}

/// Between which numbers of events two traces part, as their checkpoints say:
/// they are the same up to the start, and differ at the end. `None` when no
/// checkpoint differs; their last events may do so all the same.
#[must_use]
pub fn parted_between(first: &[Checkpoint], second: &[Checkpoint]) -> Option<Range<u64>> {
    let at = first.iter().zip(second).position(|(one, other)| one != other)?;
    let start = at.checked_sub(1).map_or(0, |before| first[before].events);
    Some(start..first[at].events)
}

/// The first line that two traces do not share; `None` when they are equal.
#[must_use]
pub fn first_difference(first: &[String], second: &[String]) -> Option<Difference> {
    let line = first.iter().zip(second).take_while(|(one, other)| one == other).count();
    if line == first.len().max(second.len()) {
        return None;
    }
    let mut context = String::new();
    let mut show = |mark: char, lines: &[String]| {
        for line in lines {
            context.push(mark);
            context.push(' ');
            context.push_str(line);
            context.push('\n');
        }
    };
    show(' ', &first[line.saturating_sub(CONTEXT_LINES)..line]);
    for (mark, lines) in [('-', first), ('+', second)] {
        show(mark, &lines[line..lines.len().min(line + 1 + CONTEXT_LINES)]);
    }
    let at = |lines: &[String]| lines.get(line).cloned();
    Some(Difference { line, first: at(first), second: at(second), context })
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

    fn trace_of(count: u64, odd_one: u64) -> Trace {
        let trace = Trace::default();
        trace.record();
        for number in 0..count {
            let what = if number == odd_one { "other" } else { "same" };
            trace.event("a", format_args!("{what} {number}"));
        }
        trace
    }

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

    #[test]
    fn looking_at_a_trace_and_keeping_its_lines_change_no_digest() {
        let plain = trace_of(2500, u64::MAX);
        let watched = Trace::default();
        watched.keep_lines(false);
        for number in 0..2500 {
            watched.event("a", format_args!("same {number}"));
            let _ = watched.digest();
        }
        assert_eq!(watched.digest(), plain.digest());
        assert_eq!(watched.checkpoints(), plain.checkpoints());
        assert_eq!((watched.tail(9).len(), plain.tail(9).len()), (0, 9));
        assert_eq!(plain.tail(1)[0], plain.recorded()[2499]);
        assert_eq!((plain.tail(5000).len(), plain.recorded().len()), (LINES_MAX, 2500));
    }

    #[test]
    fn checkpoints_and_lines_say_where_two_runs_part() {
        let (first, second) = (trace_of(3500, u64::MAX), trace_of(3500, 2345));
        let parted = parted_between(&first.checkpoints(), &second.checkpoints());
        assert_eq!(parted, Some(2000..3000));
        let difference = first_difference(&first.recorded(), &second.recorded()).expect("one");
        assert_eq!(difference.line, 2345);
        assert!(difference.first.expect("a line").ends_with("same 2345"));
        assert!(difference.second.expect("a line").ends_with("other 2345"));
        assert!(difference.context.contains("same 2344\n- "), "{}", difference.context);
        assert_eq!(parted_between(&first.checkpoints(), &first.checkpoints()), None);
        assert_eq!(first_difference(&first.recorded(), &first.recorded()), None);
        let cut_short = first_difference(&first.recorded(), &first.recorded()[..10]);
        assert_eq!(cut_short.map(|at| (at.line, at.second)), Some((10, None)));
    }

    #[test]
    fn a_sink_is_given_every_line() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let trace = Trace::default();
        let seen = lines.clone();
        trace.record_to(move |line| seen.lock().expect("one thread").push(line.to_owned()));
        trace.event("a", format_args!("one"));
        trace.event("b", format_args!("two"));
        assert_eq!(*lines.lock().expect("one thread"), trace.tail(2));
    }
}
