//! What goes wrong: one table of all faults that a scenario can name.

use dfs_core::units::{ByteSize, Span};
use serde::{Deserialize, Serialize};

use super::text::{as_text, as_text_if_any, is_default};

/// One thing that goes wrong once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fault {
    /// When, from the start.
    #[serde(with = "as_text")]
    pub at: Span,
    /// What.
    pub what: FaultKind,
    /// Where: `n1`, `coord`, `c1`; for some kinds a rack or `all`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub host: String,
    /// The other end of a `cut`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub to: String,
    /// For how long.
    #[serde(default, with = "as_text_if_any", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Span>,
    /// How many calls, bits, blocks or files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// How many messages of a thousand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_mille: Option<u32>,
    /// What a message or a disk call takes.
    #[serde(default, with = "as_text_if_any", skip_serializing_if = "Option::is_none")]
    pub latency: Option<Span>,
    /// How far a clock jumps ahead.
    #[serde(default, with = "as_text_if_any", skip_serializing_if = "Option::is_none")]
    pub jump: Option<Span>,
    /// What a link moves in a second.
    #[serde(default, with = "as_text_if_any", skip_serializing_if = "Option::is_none")]
    pub rate: Option<ByteSize>,
    /// What is left on a disk.
    #[serde(default, with = "as_text_if_any", skip_serializing_if = "Option::is_none")]
    pub free: Option<ByteSize>,
}

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The process is killed, and started again when the time is over.
    Kill,
    /// The power is cut: what was not synced may be lost.
    PowerCut,
    /// The process stands still, as under `SIGSTOP`.
    Pause,
    /// The node is stopped politely, and started again.
    Leave,
    /// All its links are cut, both ways.
    Isolate,
    /// One direction between two hosts is cut.
    Cut,
    /// Messages are lost, by `per-mille`, everywhere or on one host's links.
    Loss,
    /// Messages are late by `latency`, so that others overtake them.
    Delay,
    /// Calls arrive twice.
    Double,
    /// Connections are reset.
    Reset,
    /// All its messages take `latency`.
    SlowLink,
    /// Each of its disk jobs takes `latency`.
    SlowDisk,
    /// The disk has only `free` left.
    FullDisk,
    /// The next `count` syncs of that time fail, and what they were to keep is gone.
    FailSync,
    /// The next `count` reads of that time fail with an I/O error.
    FailRead,
    /// The next `count` writes of that time fail with an I/O error.
    FailWrite,
    /// The next `count` reads of that time have one bit wrong.
    FlipRead,
    /// The volume is remounted read-only.
    ReadOnly,
    /// The volume is gone from its mount point.
    Unmount,
    /// Bits of stored files flip.
    BitRot,
    /// Sectors of stored files cannot be read any more.
    BadSector,
    /// The next `count` writes are reported done and are not.
    LoseWrite,
    /// The next `count` writes land elsewhere.
    MisdirectWrite,
    /// The next `count` reads of that time come from elsewhere.
    MisdirectRead,
    /// The node loses its disk, and comes back with an empty one, `--replace`.
    Wipe,
    /// The wall clock jumps ahead by `jump`.
    ClockJump,
    /// The wall clock runs at twice its speed.
    ClockDrift,
    /// The wall clock stands still.
    ClockStop,
    /// A new node joins.
    Join,
    /// Answers are lost after the call had its effect, by `per-mille`.
    LoseAnswers,
    /// Nobody can connect to it; what it sends is answered.
    Deaf,
    /// The coordinator's ledger is gone from its path while it runs.
    LoseLedger,
    /// The coordinator is stopped, its folder is copied, and a coordinator
    /// starts on each.
    TwinCoordinator,
    /// A coordinator starts on a copy of the running one's folder, while that
    /// one's answers no longer reach its nodes.
    Usurp,
    /// A copy of the coordinator's folder is put back for a while, `lasts`
    /// after it was made.
    OldCatalog,
    /// Copies are replaced by others that are whole and have other bytes.
    ForgeCopy,
    /// Files cannot be opened any more, as after `chmod 000`.
    CloseFile,
    /// Two nodes exchange their data folders, and get them back.
    SwapFolders,
    /// A second process of a node starts on a copy of its folder.
    TwinNode,
    /// Files of others fill the disk, and only `free` of it is left.
    CrowdedDisk,
    /// Its frames go at `rate` bytes a second, in and out, after a burst.
    SlowRate,
}

/// A field of a [`Fault`] that its kind uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the field of its name")]
pub enum Field {
    Host,
    To,
    Lasts,
    Count,
    PerMille,
    Latency,
    Rate,
    Jump,
    Free,
}

/// What a fault can do to what is stored, if nothing else goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Nothing: calls fail or are slow.
    None,
    /// What the host holds cannot be reached for a time.
    Away,
    /// What the host holds may be destroyed.
    Destroys,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 41] = [
        Self::Kill,
        Self::PowerCut,
        Self::Pause,
        Self::Leave,
        Self::Isolate,
        Self::Cut,
        Self::Loss,
        Self::Delay,
        Self::Double,
        Self::Reset,
        Self::SlowLink,
        Self::SlowDisk,
        Self::FullDisk,
        Self::FailSync,
        Self::FailRead,
        Self::FailWrite,
        Self::FlipRead,
        Self::ReadOnly,
        Self::Unmount,
        Self::BitRot,
        Self::BadSector,
        Self::LoseWrite,
        Self::MisdirectWrite,
        Self::MisdirectRead,
        Self::Wipe,
        Self::ClockJump,
        Self::ClockDrift,
        Self::ClockStop,
        Self::Join,
        Self::LoseAnswers,
        Self::Deaf,
        Self::LoseLedger,
        Self::ForgeCopy,
        Self::CloseFile,
        Self::TwinCoordinator,
        Self::Usurp,
        Self::OldCatalog,
        Self::SwapFolders,
        Self::TwinNode,
        Self::SlowRate,
        Self::CrowdedDisk,
    ];

    /// Its name in a scenario.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::PowerCut => "power-cut",
            Self::Pause => "pause",
            Self::Leave => "leave",
            Self::Isolate => "isolate",
            Self::Cut => "cut",
            Self::Loss => "loss",
            Self::Delay => "delay",
            Self::Double => "double",
            Self::Reset => "reset",
            Self::SlowLink => "slow-link",
            Self::SlowDisk => "slow-disk",
            Self::FullDisk => "full-disk",
            Self::FailSync => "fail-sync",
            Self::FailRead => "fail-read",
            Self::FailWrite => "fail-write",
            Self::FlipRead => "flip-read",
            Self::ReadOnly => "read-only",
            Self::Unmount => "unmount",
            Self::BitRot => "bit-rot",
            Self::BadSector => "bad-sector",
            Self::LoseWrite => "lose-write",
            Self::MisdirectWrite => "misdirect-write",
            Self::MisdirectRead => "misdirect-read",
            Self::Wipe => "wipe",
            Self::ClockJump => "clock-jump",
            Self::ClockDrift => "clock-drift",
            Self::ClockStop => "clock-stop",
            Self::Join => "join",
            Self::LoseAnswers => "lose-answers",
            Self::Deaf => "deaf",
            Self::LoseLedger => "lose-ledger",
            Self::ForgeCopy => "forge-copy",
            Self::CloseFile => "close-file",
            Self::TwinCoordinator => "twin-coordinator",
            Self::Usurp => "usurp",
            Self::OldCatalog => "old-catalog",
            Self::SwapFolders => "swap-folders",
            Self::TwinNode => "twin-node",
            Self::SlowRate => "slow-rate",
            Self::CrowdedDisk => "crowded-disk",
        }
    }

    /// The fields that it takes. All are needed but [`Field::Host`] of faults
    /// on the network, which strike everywhere without it.
    #[must_use]
    pub fn fields(self) -> &'static [Field] {
        use Field::{Count, Free, Host, Jump, Lasts, Latency, PerMille, Rate, To};
        match self {
            Self::Kill
            | Self::PowerCut
            | Self::Pause
            | Self::Leave
            | Self::Isolate
            | Self::Deaf
            | Self::LoseLedger
            | Self::ReadOnly
            | Self::Unmount
            | Self::Wipe
            | Self::ClockDrift
            | Self::ClockStop
            | Self::TwinNode => &[Host, Lasts],
            Self::Cut | Self::SwapFolders => &[Host, To, Lasts],
            Self::Loss | Self::Double | Self::Reset | Self::LoseAnswers => &[Host, PerMille, Lasts],
            Self::Delay => &[Host, PerMille, Latency, Lasts],
            Self::SlowLink | Self::SlowDisk => &[Host, Latency, Lasts],
            Self::SlowRate => &[Host, Rate, Lasts],
            Self::FullDisk | Self::CrowdedDisk => &[Host, Free, Lasts],
            Self::FailSync
            | Self::FailRead
            | Self::FailWrite
            | Self::FlipRead
            | Self::MisdirectRead => &[Host, Count, Lasts],
            Self::BitRot
            | Self::BadSector
            | Self::LoseWrite
            | Self::MisdirectWrite
            | Self::ForgeCopy
            | Self::CloseFile => &[Host, Count],
            Self::ClockJump => &[Host, Jump],
            Self::OldCatalog => &[Lasts],
            Self::Join | Self::TwinCoordinator | Self::Usurp => &[],
        }
    }

    /// Whether it strikes the network, and so needs no host.
    #[must_use]
    pub fn is_on_network(self) -> bool {
        matches!(self, Self::Loss | Self::Delay | Self::Double | Self::Reset | Self::LoseAnswers)
    }

    /// Whether it strikes the catalog: it has to be alone.
    #[must_use]
    pub fn is_on_catalog(self) -> bool {
        matches!(self, Self::TwinCoordinator | Self::Usurp | Self::OldCatalog)
    }

    /// Whether it puts a data folder where it does not belong: it has to be
    /// alone.
    #[must_use]
    pub fn is_on_folder(self) -> bool {
        matches!(self, Self::SwapFolders | Self::TwinNode)
    }

    /// What it can do to what a node holds.
    #[must_use]
    pub fn harm(self) -> Harm {
        match self {
            Self::Kill
            | Self::PowerCut
            | Self::Pause
            | Self::Leave
            | Self::Isolate
            | Self::Cut
            | Self::Deaf
            | Self::SwapFolders
            | Self::Unmount => Harm::Away,
            // A read that is wrong may condemn a copy that is right.
            Self::FailRead
            | Self::FlipRead
            | Self::MisdirectRead
            | Self::BitRot
            | Self::BadSector
            | Self::LoseWrite
            | Self::MisdirectWrite
            | Self::ForgeCopy
            | Self::CloseFile
            | Self::Wipe => Harm::Destroys,
            _ => Harm::None,
        }
    }
}
