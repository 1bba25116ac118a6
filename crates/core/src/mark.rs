//! Coverage marks: places that a simulated world must sometimes reach.
//!
//! A test that holds because its place was never reached shows nothing. Each
//! thread counts how often it reached each mark, so that a run of one world
//! can say what it came by. Counting is one addition; nothing reads it in a
//! real world, and no decision depends on it.

use std::cell::Cell;
use std::collections::BTreeMap;

macro_rules! marks {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),* $(,)?) => {
        /// A place.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mark {
            $(#[doc = $name] $variant,)*
        }

        impl Mark {
            /// All of them.
            pub const ALL: [Self; [$(Self::$variant),*].len()] = [$(Self::$variant),*];

            /// Its name in a report.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

marks! {
    LookupSecondPage = "a second page of a look-up",
    ListSecondPage = "a second page of a listing",
    ListSecondStep = "a listing in several steps",
    InventorySecondPage = "a second page of an inventory",
    ChangesForgotten = "an inventory change that is not remembered any more",
    SurveySecondStep = "a survey in several steps",
    SurveyLeftOut = "a survey that keeps only the most urgent",
    PlanSecondStep = "a plan in several steps",
    SweepSecondSlice = "a sweep in several slices",
    NotesSecondSlice = "notes of unwanted copies carried over in several slices",
    DoorSecondStep = "a batch of commands applied in several steps",
    PlaceSecondCall = "a put that asks for more places",
    PromisedSecondSlice = "promised copies noted in several slices",
    PackFull = "a pack that is full",
    PackCompacted = "a pack that is compacted",
    ChunkOfItsOwnFile = "a chunk with a file of its own",
    ReadHedged = "a read that asks a second copy because the first is slow",
    ReadFailedOver = "a read that goes to another copy",
    ReadOvertaken = "a read that leaves a node in mid-stream",
    ReadFromParity = "a read that rebuilds a frame from parity",
    WriteRetargeted = "a put that changes a node",
    WriteSetAside = "a put that sets a copy aside in mid-chunk",
    WriteSentAnew = "a copy that was set aside and is sent anew at once",
    WriteLate = "a copy that is late to become durable",
    NodeCutOff = "a node that is cut off",
    PutDegraded = "a put that leaves copies to repair",
    RebuildFromCopy = "a rebuild from another copy",
    RebuildFromParity = "a rebuild from parity",
    MovePlanned = "a copy that moves because its stripe shares a node",
    LayoutRefused = "a layout that is refused because another repair was first",
    UnwantedDeleted = "a copy that is deleted because nothing names it",
    CopyQuarantined = "a copy that goes to quarantine",
    LedgerFailed = "a commit of the ledger that fails",
    StaleRefused = "an order of an older coordinator that is refused",
    UploadLapsed = "an upload that is left alone until it lapses",
    AnswerLost = "an answer that is lost after its effect",
    LedgerMissing = "a start that is refused because the ledger is gone",
    FolderRefused = "a node that refuses another node's folder",
    DoubledRefused = "a second process of a node that is refused",
    CoordinatorRestarted = "a coordinator that starts again",
}

const COUNT: usize = Mark::ALL.len();

thread_local! {
    static REACHED: [Cell<u64>; COUNT] = const { [const { Cell::new(0) }; COUNT] };
}

/// Counts that a place was reached.
#[inline]
pub fn reached(mark: Mark) {
    REACHED.with(|counts| {
        let count = &counts[mark as usize];
        count.set(count.get().wrapping_add(1));
    });
}

/// Returns what this thread reached since the last call, and begins anew.
#[must_use]
pub fn take() -> BTreeMap<Mark, u64> {
    REACHED.with(|counts| {
        let taken = Mark::ALL.into_iter().map(|mark| (mark, counts[mark as usize].take()));
        taken.filter(|(_, count)| *count > 0).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_counts_what_it_reached_since_it_was_asked() {
        let _ = take();
        reached(Mark::PackFull);
        reached(Mark::PackFull);
        std::thread::spawn(|| reached(Mark::ReadHedged)).join().expect("no panic");
        assert_eq!(take(), BTreeMap::from([(Mark::PackFull, 2)]));
        assert_eq!(take(), BTreeMap::new());
    }

    #[test]
    fn names_are_distinct() {
        let names: std::collections::BTreeSet<_> =
            Mark::ALL.iter().map(|mark| mark.name()).collect();
        assert_eq!(names.len(), COUNT);
    }
}
