//! Steps: one number, world-wide, for every effect: each change of a disk,
//! each message sent, each message received. A process can be stopped just
//! before any of them (F1, F2).
//!
//! A scenario is run once to learn how many steps it has, then once more for
//! each of them. That works because a number never depends on what is armed.
//! The refusal of a connection and what a link loses are no process's doing,
//! and so no steps.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::trace::Trace;

/// No step has this number.
const NEVER: u64 = u64::MAX;

/// How a process is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// `kill -9`: the page cache stays.
    Kill,
    /// Power loss: what was not synced may be lost.
    PowerCut,
}

/// Whose process is stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// The one that the step belongs to: the disk's host, the sender of a
    /// message, its receiver.
    Owner,
    /// The host of that name, whoever the step belongs to.
    Host(String),
}

/// Who is stopped before a step, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Whose process.
    pub whom: Whom,
    /// How.
    pub by: By,
}

/// The steps of one world. Clones are the same ones.
#[derive(Clone)]
pub(crate) struct Steps(Arc<Inner>);

struct Inner {
    /// The number of the next step.
    next: AtomicU64,
    stop_at: AtomicU64,
    armed: Mutex<Armed>,
    trace: Trace,
}

#[derive(Default)]
struct Armed {
    stop: Option<Stop>,
    /// What became of it.
    stopped: Option<String>,
}

/// A stop that takes place now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    /// The host.
    pub(crate) host: String,
    /// How.
    pub(crate) by: By,
}

impl Stop {
    /// Stops whoever the step belongs to.
    #[must_use]
    pub fn owner(by: By) -> Self {
        Self { whom: Whom::Owner, by }
    }

    /// Stops the host of that name.
    #[must_use]
    pub fn host(name: &str, by: By) -> Self {
        Self { whom: Whom::Host(name.to_owned()), by }
    }
}

impl Steps {
    pub(crate) fn new(trace: Trace) -> Self {
        let next = AtomicU64::new(0);
        let stop_at = AtomicU64::new(NEVER);
        Self(Arc::new(Inner { next, stop_at, armed: Mutex::default(), trace }))
    }

    /// How many steps there were.
    pub(crate) fn count(&self) -> u64 {
        self.0.next.load(Ordering::Relaxed)
    }

    /// The stop that was armed last, once it has taken place.
    pub(crate) fn stopped(&self) -> Option<String> {
        self.armed().stopped.clone()
    }

    /// Arms a stop, in place of one that has not taken place.
    pub(crate) fn arm(&self, step: u64, stop: Stop) {
        *self.armed() = Armed { stop: Some(stop), stopped: None };
        self.0.stop_at.store(step, Ordering::Relaxed);
    }

    /// Counts a step of `owner`; gives whom to stop before it takes place.
    pub(crate) fn next(&self, owner: &str, what: fmt::Arguments<'_>) -> Option<Due> {
        let step = self.0.next.fetch_add(1, Ordering::Relaxed);
        if step != self.0.stop_at.load(Ordering::Relaxed) {
            return None;
        }
        self.0.stop_at.store(NEVER, Ordering::Relaxed);
        let mut armed = self.armed();
        let Stop { whom, by } = armed.stop.take()?;
        let host = match whom {
            Whom::Owner => owner.to_owned(),
            Whom::Host(name) => name,
        };
        let text = format!("{host}: {by:?} before step {step}: {owner} {what}");
        self.0.trace.event("world", format_args!("{text}"));
        armed.stopped = Some(text);
        Some(Due { host, by })
    }

    fn armed(&self) -> MutexGuard<'_, Armed> {
        self.0.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_due_once_and_at_its_own_number() {
        let steps = Steps::new(Trace::default());
        steps.arm(1, Stop::owner(By::Kill));
        let due: Vec<Option<Due>> =
            ["a", "b", "c"].iter().map(|owner| steps.next(owner, format_args!("acts"))).collect();
        assert_eq!(due, [None, Some(Due { host: "b".to_owned(), by: By::Kill }), None]);
        assert_eq!(steps.count(), 3);
        assert_eq!(steps.stopped().as_deref(), Some("b: Kill before step 1: b acts"));
        steps.arm(3, Stop::host("z", By::PowerCut));
        let due = steps.next("a", format_args!("acts"));
        assert_eq!(due, Some(Due { host: "z".to_owned(), by: By::PowerCut }));
    }
}
