//! The catalog's lineage: which runs led it, and how a run that a node was
//! told of relates to them.
//!
//! A catalog that was copied, or restored from a backup, goes on from an
//! earlier moment. Nodes remember the last run and position that they were
//! told of, so they can tell that a later catalog exists.

use super::record::{ForeignRange, RunRecord};
use super::state::Catalog;
use crate::id::{Run, RunTag};

/// The last state of a catalog that a node was told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Told {
    /// The run that told it.
    pub run: Run,
    /// The ledger's last durable commit at that time.
    pub position: u64,
}

/// How a run that a node was told of relates to a catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinship {
    /// This catalog holds all that the node was told of.
    Ancestor,
    /// The run led this catalog, and went on after this copy was made.
    Ahead,
    /// The run never led this catalog: it led a copy.
    Stranger,
}

impl Catalog {
    /// The runs that led this catalog, in order.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = &RunRecord> {
        self.runs.values()
    }

    /// Ranges of numbers that another copy may have handed out, in order.
    pub fn foreign(&self) -> impl ExactSizeIterator<Item = &ForeignRange> {
        self.foreign.values()
    }

    /// True for a number that another copy of this catalog may have handed
    /// out.
    #[must_use]
    pub fn is_foreign(&self, number: u64) -> bool {
        let below = self.foreign.range(..=number).next_back();
        below.is_some_and(|(_, range)| number < range.end)
    }

    /// Compares what a node was told with this catalog, whose ledger is at
    /// commit `position`.
    #[must_use]
    pub fn kinship(&self, told: Told, position: u64) -> Kinship {
        let Run { epoch, tag } = told.run;
        // An operator accepted that later states of such runs are lost.
        let passes = |run: &RunRecord| run.accepts_older && epoch < run.run.epoch;
        if self.runs.values().any(passes) {
            return Kinship::Ancestor;
        }
        if self.runs.get(&epoch).is_some_and(|known| known.run.tag == tag) {
            let later = self.runs.range(epoch..).nth(1).map(|(_, next)| next.first_position);
            let end = later.map_or(position, |first| first.saturating_sub(1));
            return if told.position <= end { Kinship::Ancestor } else { Kinship::Ahead };
        }
        // Runs of builds without tags ended before the first that has one.
        let first = self.runs.keys().next().copied();
        let oldest = first.or(self.cluster.as_ref().map(|cluster| cluster.epoch));
        if tag == RunTag(0) && oldest.is_none_or(|oldest| epoch <= oldest) {
            return Kinship::Ancestor;
        }
        Kinship::Stranger
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Command, fixture};

    fn run(epoch: u64, tag: u64, first_position: u64, accepts_older: bool) -> RunRecord {
        let run = Run::new(epoch, tag);
        RunRecord { accepts_older, ..RunRecord::new(run, first_position) }
    }

    fn led_by(runs: &[RunRecord]) -> Catalog {
        let mut catalog = Catalog::default();
        catalog.apply(&fixture::found(), &mut Vec::new()).expect("it is empty");
        for run in runs {
            let skip_to = run.accepts_older.then_some(1 << 40);
            let command = Command::OpenRun { run: run.clone(), skip_to };
            catalog.apply(&command, &mut Vec::new()).expect("the runs rise");
        }
        catalog
    }

    fn told(epoch: u64, tag: u64, position: u64) -> Told {
        Told { run: Run::new(epoch, tag), position }
    }

    #[test]
    fn a_catalog_knows_whether_a_node_was_told_of_a_later_one() {
        let catalog = led_by(&[run(1, 11, 2, false), run(2, 22, 10, false)]);
        let cases = [
            (told(0, 0, 0), Kinship::Ancestor, "a node that was told nothing"),
            (told(1, 0, 0), Kinship::Ancestor, "a run of a build without tags"),
            (told(2, 0, 0), Kinship::Stranger, "a build without tags on a copy"),
            (told(1, 11, 9), Kinship::Ancestor, "the end of the first run"),
            (told(1, 11, 10), Kinship::Ahead, "the first run went on after the copy"),
            (told(2, 22, 15), Kinship::Ancestor, "now"),
            (told(2, 22, 16), Kinship::Ahead, "the last run went on after the copy"),
            (told(2, 99, 12), Kinship::Stranger, "an equal number with another tag"),
            (told(3, 33, 12), Kinship::Stranger, "a later run of a copy"),
        ];
        for (told, expected, why) in cases {
            assert_eq!(catalog.kinship(told, 15), expected, "{why}");
        }
    }

    #[test]
    fn a_run_that_accepts_an_older_catalog_passes_over_lower_strangers_only() {
        let catalog = led_by(&[run(1, 11, 2, false), run(6, 66, 10, true)]);
        assert_eq!(catalog.kinship(told(5, 55, 90), 12), Kinship::Ancestor);
        // The copy was made while this run went on.
        assert_eq!(catalog.kinship(told(1, 11, 90), 12), Kinship::Ancestor);
        assert_eq!(catalog.kinship(told(6, 55, 90), 12), Kinship::Stranger);
        assert_eq!(catalog.kinship(told(7, 77, 90), 12), Kinship::Stranger);
    }

    #[test]
    fn numbers_of_the_later_copy_stay_foreign_until_they_are_released() {
        let mut catalog = led_by(&[run(1, 11, 2, false), run(6, 66, 10, true)]);
        let range = *catalog.foreign().next().expect("one range");
        assert!(catalog.is_foreign(range.start) && catalog.is_foreign((1 << 40) - 1));
        assert!(!catalog.is_foreign(1 << 40), "numbers go on above it");
        let release = Command::ReleaseForeign { start: range.start };
        catalog.apply(&release, &mut Vec::new()).expect("it is there");
        assert!(!catalog.is_foreign(range.start));
        catalog.apply(&release, &mut Vec::new()).expect_err("it is released already");
    }
}
