//! Bugs that can be planted, to show that the simulator finds bugs.
//!
//! Without the feature `mutants` nothing can be planted and nothing is asked
//! at run time. With it, which only tests of the simulator have, a bug is in
//! force on the thread that planted it, for as long as its guard lives.

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// A node acknowledges a chunk whose bytes it has not synced.
    DropFileSync,
    /// A node acknowledges a chunk whose name is not durable.
    DropDirSync,
    /// The ledger's syncs do nothing.
    DropLedgerSync,
    /// Nobody compares the checksum of a frame.
    SkipFrameChecksum,
    /// A rebuild takes what it is given, and nobody looks at what it made.
    RepairFromUnverified,
    /// The coordinator acknowledges commands before they are durable.
    AcknowledgeEarly,
    /// A removal is forgotten by the ledger, and so by the next start.
    ResurrectDeleted,
    /// Readers are told of what is not durable yet.
    ReadUndurable,
    /// Chunks of uploads under way are swept up, without grace.
    ForgetGrace,
    /// The start after a crash takes the last record for torn, always.
    CutLastRecord,
    /// A node heeds orders of an epoch that is over.
    StaleEpoch,
    /// A node takes orders of another run that has the number of its own.
    EqualEpochs,
    /// The coordinator counts a lease from the moment of its confirmation.
    LeaseFromConfirmation,
    /// All copies of a stripe are placed on one node.
    PlaceTwiceOnOneNode,
    /// A copy that the layout does not name is deleted while a named one is
    /// missing.
    TrimEarly,
    /// Nobody compares a verified copy's digest with the catalog's.
    TrustOwnDigest,
    /// A chunk that cannot be opened stops the node.
    StopAtClosedFile,
    /// A copy that was made anew counts as bad until its node says otherwise.
    RepairAgain,
    /// A node never looks at its own volume.
    NeverLooksAtVolume,
    /// A coordinator never looks whether its ledger is still at its path.
    NeverLooksAtLedger,
    /// A coordinator never looks whether its ledger was written over.
    NeverLooksIntoLedger,
    /// A command is applied before it is seen that the ledger's disk is full.
    AppliesBeforeReserve,
    /// The answer to a commit is not kept: its repeat finds no upload, and
    /// the client stores the file a second time.
    CommitTwice,
    /// The answers to removals and renamings are not kept: a repeat is
    /// executed again.
    ChangeTwice,
    /// Placement does not look at zones.
    IgnoreZones,
    /// A copy that nothing names is deleted at its first sight, without grace.
    DeleteAtFirstSight,
    /// What a compaction moved is not durable when the old pack goes.
    DropCompactionSync,
    /// A further page of a listing begins one name too late.
    ListingSkipsOne,
    /// A further page of a look-up begins one stripe too late.
    LookupSkipsOne,
    /// Only the first page of an inventory is kept.
    InventoryLosesPage,
    /// Of a batch that is applied in several steps only the first is durable.
    BatchLosesRows,
    /// A compaction forgets what it moved before its last batch.
    CompactionLosesBatch,
    /// The catalog's sums keep what was replaced or removed.
    WrongTally,
    /// A strict put is taken as any other.
    StrictIsNotStrict,
    /// A layout names a copy before its node has made it.
    LayoutBeforeProof,
    /// A read is hedged until its first frame only.
    HedgeFirstFrameOnly,
    /// A reader passes copies over whose node missed heartbeats.
    NeverReadsSuspects,
    /// A put never sets a copy aside that lags behind.
    NeverSetsAside,
    /// A copy that was set aside is sent anew only when its stripe has ended.
    SendsAnewInTheEnd,
    /// A put waits long for a slow copy that its stripe can do without.
    WaitsForWhatItCanDoWithout,
    /// A put gives up a lagging copy that its stripe cannot do without.
    GivesUpWhatItNeeds,
    /// A client does not tell that it set a copy aside for lagging.
    TellsOfNoLag,
    /// A node that several streams share is taken for a slow one.
    BlamesSharedLines,
    /// A node that cannot be connected to counts as well.
    NeverCallsBack,
    /// A copy that nothing names is deleted after the grace, however seldom its
    /// node told of it.
    OneInventoryEnough,
    /// A copy is deleted while a rebuild of its chunk runs.
    SweepsUnderRebuild,
    /// A chunk that is being rebuilt is planned again, and the second layout
    /// takes the place of the first.
    SecondRepairWins,
    /// The node that is to make a copy is named as a source of it.
    RebuildFromTarget,
    /// Nodes without room are given chunks.
    PlacesOnFull,
    /// A node takes chunks for which it has no room, as long as its disk does.
    NodeIgnoresRoom,
    /// Files are added to the catalog with what its ledger keeps in reserve.
    UsesLedgerReserve,
    /// An upload protects all its chunks but the last of each stripe.
    GuardOneShort,
    /// A client asks again without a pause.
    RetriesAtOnce,
    /// A rebuild that failed is ordered again without a pause.
    RebuildsAtOnce,
    /// A coordinator whose ledger is gone begins an empty one.
    LedgerMadeAnew,
    /// A node serves from another node's folder.
    AnyFolder,
    /// Two processes under one node id are heeded in turn.
    TakesDoubledNode,
    /// The verdict does not look at the room on nodes.
    NeverLooksAtRoom,
    /// The verdict repeats the last count of the stripes after nodes came or
    /// went.
    RepeatsOldCount,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 59] = [
        Self::DropFileSync,
        Self::DropDirSync,
        Self::DropLedgerSync,
        Self::SkipFrameChecksum,
        Self::RepairFromUnverified,
        Self::AcknowledgeEarly,
        Self::ResurrectDeleted,
        Self::ReadUndurable,
        Self::ForgetGrace,
        Self::CutLastRecord,
        Self::StaleEpoch,
        Self::EqualEpochs,
        Self::LeaseFromConfirmation,
        Self::PlaceTwiceOnOneNode,
        Self::TrimEarly,
        Self::NeverLooksAtVolume,
        Self::NeverLooksAtLedger,
        Self::NeverLooksIntoLedger,
        Self::NeverLooksAtRoom,
        Self::RepeatsOldCount,
        Self::AppliesBeforeReserve,
        Self::CommitTwice,
        Self::ChangeTwice,
        Self::IgnoreZones,
        Self::DeleteAtFirstSight,
        Self::DropCompactionSync,
        Self::ListingSkipsOne,
        Self::LookupSkipsOne,
        Self::InventoryLosesPage,
        Self::BatchLosesRows,
        Self::CompactionLosesBatch,
        Self::WrongTally,
        Self::StrictIsNotStrict,
        Self::LayoutBeforeProof,
        Self::HedgeFirstFrameOnly,
        Self::NeverReadsSuspects,
        Self::NeverSetsAside,
        Self::SendsAnewInTheEnd,
        Self::WaitsForWhatItCanDoWithout,
        Self::GivesUpWhatItNeeds,
        Self::TellsOfNoLag,
        Self::BlamesSharedLines,
        Self::NeverCallsBack,
        Self::TrustOwnDigest,
        Self::StopAtClosedFile,
        Self::RepairAgain,
        Self::OneInventoryEnough,
        Self::SweepsUnderRebuild,
        Self::SecondRepairWins,
        Self::RebuildFromTarget,
        Self::PlacesOnFull,
        Self::NodeIgnoresRoom,
        Self::UsesLedgerReserve,
        Self::GuardOneShort,
        Self::RetriesAtOnce,
        Self::RebuildsAtOnce,
        Self::LedgerMadeAnew,
        Self::AnyFolder,
        Self::TakesDoubledNode,
    ];
}

/// Whether this bug is in force.
#[cfg(not(feature = "mutants"))]
#[inline]
pub(crate) const fn is_planted(_mutant: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use planting::{Planted, plant};

#[cfg(feature = "mutants")]
pub(crate) use planting::is_planted;

#[cfg(feature = "mutants")]
mod planting {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static PLANTED: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Takes the bug out again when it is dropped.
    #[must_use]
    pub struct Planted(());

    /// Plants a bug on this thread, in place of one that is there.
    pub fn plant(mutant: Mutant) -> Planted {
        PLANTED.set(Some(mutant));
        Planted(())
    }

    impl Drop for Planted {
        fn drop(&mut self) {
            PLANTED.set(None);
        }
    }

    /// Whether this bug is in force.
    pub(crate) fn is_planted(mutant: Mutant) -> bool {
        PLANTED.get() == Some(mutant)
    }
}
