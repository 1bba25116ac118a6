//! What clients did and saw, and whether a correct store could have answered
//! so: the oracle for I1, I2 and I3.
//!
//! Every call is an interval between two moments. A file is a register: each
//! name has one content, or none, at each moment. A call that was acknowledged
//! took effect at some moment in its interval; one that failed in a way that
//! tells nothing may have taken effect in it or at any time later. A read is
//! right when the effects can be put in an order that keeps to the intervals
//! and in which the read saw the latest one. Since every content is unique,
//! that comes down to two questions for each read: had the effect that it saw
//! begun before the read ended, and did no acknowledged effect lie wholly
//! between the two (Gibbons and Korach 1997, for reads of known writes).

use std::collections::BTreeMap;

/// A moment: later ones have larger numbers.
pub type Moment = u64;

/// Which content: the number of the put that made it.
pub type Version = usize;

/// Of an effect that may come at any later time.
const NEVER: Moment = Moment::MAX;

/// How a call that changes something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was acknowledged: its effect is there.
    Acknowledged,
    /// It was refused in a way that says that it had no effect.
    Refused,
    /// It had its effect before it ended, or has none (not found, when asked
    /// again).
    Over,
    /// It failed: the effect is there, or comes later, or never.
    Unclear,
}

/// A change of one name.
#[derive(Debug, Clone, Copy)]
struct Change {
    /// The content that it leaves; `None` when it removes the name.
    leaves: Option<Version>,
    began: Moment,
    ended: Moment,
    is_acknowledged: bool,
    /// The content may be lost: it was stored with too few copies while
    /// something was being destroyed.
    is_fragile: bool,
}

/// A change that was begun; give it back when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun(usize);

/// What a read may see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allowed {
    /// The contents that are right, oldest first.
    pub versions: Vec<Version>,
    /// Whether it is right that there is no file.
    pub absent: bool,
    /// Whether one of them may be lost.
    pub is_fragile: bool,
}

/// All that was done to all names.
#[derive(Debug, Default)]
pub struct History {
    now: Moment,
    changes: Vec<Change>,
    /// Changes of each name, by their place in `changes`.
    names: BTreeMap<String, Vec<usize>>,
}

impl History {
    /// A moment after all others so far.
    pub fn tick(&mut self) -> Moment {
        self.now += 1;
        self.now
    }

    /// A call begins that leaves content `version` under `name`, or none.
    pub fn begin(&mut self, name: &str, leaves: Option<Version>) -> Begun {
        let began = self.tick();
        let at = self.changes.len();
        let (ended, is_acknowledged, is_fragile) = (NEVER, false, false);
        self.changes.push(Change { leaves, began, ended, is_acknowledged, is_fragile });
        self.names.entry(name.to_owned()).or_default().push(at);
        Begun(at)
    }

    /// The same for one that began at `began`, and is told of only now.
    pub fn begin_late(&mut self, name: &str, leaves: Option<Version>, began: Moment) -> Begun {
        let begun = self.begin(name, leaves);
        self.changes[begun.0].began = began;
        begun
    }

    /// Whether calls that change `name` go on, or may have their effect yet.
    #[must_use]
    pub fn is_open(&self, name: &str) -> bool {
        self.of(name).any(|change| change.ended == NEVER && change.began != NEVER)
    }

    /// It ended.
    pub fn end(&mut self, begun: Begun, outcome: Outcome) {
        let now = self.tick();
        let change = &mut self.changes[begun.0];
        match outcome {
            Outcome::Acknowledged => (change.ended, change.is_acknowledged) = (now, true),
            Outcome::Over => change.ended = now,
            Outcome::Unclear => {}
            // What never was is over before anything began.
            Outcome::Refused => (change.began, change.ended) = (NEVER, NEVER),
        }
    }

    /// A read that ended at `ended` saw `version` under `name`: whatever its
    /// put said, it had taken effect by then.
    pub fn saw(&mut self, name: &str, version: Version, ended: Moment) {
        let Some(changes) = self.names.get(name) else { return };
        for at in changes {
            let change = &mut self.changes[*at];
            if change.leaves == Some(version) && change.ended > ended {
                (change.ended, change.is_acknowledged) = (ended, true);
            }
        }
    }

    /// What it stored may be lost.
    pub fn mark_fragile(&mut self, begun: Begun) {
        self.changes[begun.0].is_fragile = true;
    }

    /// Every name that was ever used.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// Every content that was ever put under `name`.
    #[must_use]
    pub fn versions(&self, name: &str) -> Vec<Version> {
        self.of(name).filter_map(|change| change.leaves).collect()
    }

    /// What a read of `name` that began and ended at these moments may see.
    #[must_use]
    pub fn allowed(&self, name: &str, began: Moment, ended: Moment) -> Allowed {
        let mut allowed = Allowed::default();
        let initial =
            Change { leaves: None, began: 0, ended: 0, is_acknowledged: true, is_fragile: false };
        for seen in std::iter::once(&initial).chain(self.of(name)) {
            let is_overwritten = |other: &Change| {
                other.is_acknowledged && other.began > seen.ended && other.ended < began
            };
            if seen.began >= ended || self.of(name).any(is_overwritten) {
                continue;
            }
            match seen.leaves {
                Some(version) => allowed.versions.push(version),
                None => allowed.absent = true,
            }
            allowed.is_fragile |= seen.is_fragile;
        }
        allowed
    }

    fn of(&self, name: &str) -> impl Iterator<Item = &Change> {
        let changes = self.names.get(name).into_iter().flatten();
        changes.map(|at| &self.changes[*at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(history: &mut History, version: Version, outcome: Outcome) {
        let begun = history.begin("a", Some(version));
        history.end(begun, outcome);
    }

    fn remove(history: &mut History, outcome: Outcome) {
        let begun = history.begin("a", None);
        history.end(begun, outcome);
    }

    fn seen_now(history: &mut History) -> (Vec<Version>, bool) {
        let began = history.tick();
        let ended = history.tick();
        let allowed = history.allowed("a", began, ended);
        (allowed.versions, allowed.absent)
    }

    #[test]
    fn the_latest_acknowledged_content_and_no_other_is_right() {
        let mut history = History::default();
        assert_eq!(seen_now(&mut history), (vec![], true));
        put(&mut history, 1, Outcome::Acknowledged);
        assert_eq!(seen_now(&mut history), (vec![1], false));
        put(&mut history, 2, Outcome::Acknowledged);
        assert_eq!(seen_now(&mut history), (vec![2], false));
        remove(&mut history, Outcome::Acknowledged);
        assert_eq!(seen_now(&mut history), (vec![], true));
    }

    #[test]
    fn what_failed_may_have_happened_and_may_happen_later() {
        let mut history = History::default();
        put(&mut history, 1, Outcome::Acknowledged);
        put(&mut history, 2, Outcome::Unclear);
        assert_eq!(seen_now(&mut history), (vec![1, 2], false));
        put(&mut history, 3, Outcome::Acknowledged);
        assert_eq!(seen_now(&mut history), (vec![2, 3], false), "2 may come late");
        put(&mut history, 4, Outcome::Refused);
        assert_eq!(seen_now(&mut history), (vec![2, 3], false));
        remove(&mut history, Outcome::Over);
        assert_eq!(seen_now(&mut history), (vec![2, 3], true));
        put(&mut history, 5, Outcome::Acknowledged);
        assert_eq!(seen_now(&mut history), (vec![2, 5], false), "that removal is over");
    }

    #[test]
    fn what_was_seen_once_is_not_unseen() {
        let mut history = History::default();
        put(&mut history, 1, Outcome::Acknowledged);
        put(&mut history, 2, Outcome::Unclear);
        let ended = history.tick();
        history.saw("a", 2, ended);
        assert_eq!(seen_now(&mut history), (vec![2], false));
    }

    #[test]
    fn a_read_beside_a_write_may_see_either() {
        let mut history = History::default();
        put(&mut history, 1, Outcome::Acknowledged);
        let read = history.tick();
        let begun = history.begin("a", Some(2));
        history.end(begun, Outcome::Acknowledged);
        let late = history.begin("a", Some(3));
        let ended = history.tick();
        history.end(late, Outcome::Acknowledged);
        assert_eq!(history.allowed("a", read, ended).versions, [1, 2, 3]);
        assert_eq!(history.allowed("a", ended, ended + 1).versions, [2, 3]);
        let after = history.tick();
        assert_eq!(history.allowed("a", after, after + 1).versions, [3]);
        assert_eq!(history.allowed("a", read, read).versions, [1], "2 had not begun");
    }

    #[test]
    fn writes_side_by_side_may_end_in_either_order() {
        let mut history = History::default();
        let (one, two) = (history.begin("a", Some(1)), history.begin("a", Some(2)));
        history.end(one, Outcome::Acknowledged);
        history.end(two, Outcome::Acknowledged);
        assert_eq!(seen_now(&mut history), (vec![1, 2], false));
    }

    #[test]
    fn fragile_contents_are_told() {
        let mut history = History::default();
        let begun = history.begin("a", Some(1));
        history.end(begun, Outcome::Acknowledged);
        history.mark_fragile(begun);
        let (began, ended) = (history.tick(), history.tick());
        assert!(history.allowed("a", began, ended).is_fragile);
        assert_eq!(history.versions("a"), [1]);
    }
}
