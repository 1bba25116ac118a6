//! The one verdict on the cluster: what is known, weighed into a word and the
//! reasons for it.
//!
//! `status`, its exit code, `node ls`, the banner of a start and the simulator
//! all read this verdict. Nothing else decides how the cluster is. The table
//! of words and reasons stands in the README; a test has a row for each.

mod reason;
#[cfg(test)]
mod tests;

pub use reason::{Reason, ReasonKind};

use crate::health::{NodeState, OFFLINE_AFTER_MS};
use crate::id::NodeId;
use crate::repair::{Condition, StripeHealth, Survey};

/// The most reasons that a verdict names; the weightiest are kept.
pub const REASONS_MAX: usize = 256;

/// How the cluster is, in a word; the worst is the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    /// Every expected node is here and well, every stripe has all its copies.
    AllWell,
    /// Something is missing, and no data is in danger.
    Degraded,
    /// Too little is known yet: the coordinator has just started, or nodes
    /// have not reported what they hold.
    NotKnownYet,
    /// One more loss may lose data.
    AtRisk,
    /// Data cannot be read now; its copies are on nodes that are away.
    Unreachable,
    /// Data cannot be rebuilt from any copy that exists.
    Lost,
}

/// The verdict and its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The verdict in a word.
    pub word: Word,
    /// The reasons for it, the weightiest first; empty when all is well.
    pub reasons: Vec<Reason>,
}

/// Everything that the verdict depends on.
#[derive(Debug, Clone)]
pub struct Known<'a> {
    /// Milliseconds since the coordinator started.
    pub uptime_ms: u64,
    /// True once all stripes were surveyed since the start.
    pub is_surveyed: bool,
    /// The stripes by condition, as far as the last survey still holds.
    pub stripes: StripeHealth,
    /// Why the stripes are counted again, where that is so.
    pub recount: Option<&'a str>,
    /// The files that were stored with copies missing and that no survey has
    /// seen yet, and how many more losses the worst of them tolerates.
    pub thin_files: (u64, i32),
    /// The files that the worst stripes belong to.
    pub files: FilesAffected,
    /// Every member.
    pub nodes: &'a [NodeKnown],
    /// Addresses named by `--nodes` from which no node ever answered.
    pub never_heard: &'a [String],
    /// Why a new file cannot be stored now, where that is so.
    pub cannot_store: Option<&'a str>,
    /// Why new files get fewer copies than their policy names, where full
    /// nodes are the reason.
    pub stores_thinly: Option<&'a str>,
    /// What is wrong with the coordinator's ledger.
    pub ledger: LedgerKnown<'a>,
    /// The reason why the catalog does not belong to the nodes, if it does not.
    pub other_catalog: Option<OtherCatalog<'a>>,
}

/// The reason why a coordinator's catalog does not belong to its nodes.
#[derive(Debug, Clone, Copy)]
pub struct OtherCatalog<'a> {
    /// The finding and the ways out.
    pub reason: &'a str,
    /// True when the coordinator began with an empty folder.
    pub is_empty: bool,
}

/// What is wrong with the file that keeps the catalog, in words.
#[derive(Debug, Clone, Copy, Default)]
pub struct LedgerKnown<'a> {
    /// Why it is not at its path any more.
    pub lost: Option<&'a str>,
    /// Why it takes no commits.
    pub broken: Option<&'a str>,
    /// Why nothing may be added to it.
    pub full: Option<&'a str>,
    /// Why a commit takes long.
    pub slow: Option<&'a str>,
}

/// How many files have stripes in a condition. A count stops at
/// [`crate::repair::FILES_COUNTED_MAX`], which then means "at least so many".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FilesAffected {
    /// Files with a lost stripe.
    pub lost: u64,
    /// Files with an unreachable stripe.
    pub unreachable: u64,
    /// Files with a stripe at risk.
    pub at_risk: u64,
    /// Files with a degraded stripe.
    pub degraded: u64,
}

/// The state of the stored files, beside the promise, which is
/// about new ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// How many more losses the worst stored stripe tolerates; `None` while
    /// every stripe has what its policy names, -1 when one cannot be read.
    pub spares_min: Option<i32>,
    /// How many files have a stripe that is so badly off.
    pub files: u64,
    /// The same in a sentence.
    pub sentence: String,
}

impl Stored {
    /// What a survey found, as far as it still holds (`health`), and files
    /// that were stored with copies missing since; nothing while no survey was
    /// made.
    #[must_use]
    pub fn of(survey: &Survey, health: StripeHealth, thin_files: (u64, i32)) -> Self {
        let files = FilesAffected::of(survey);
        let (thin, thin_spares) = thin_files;
        let said = |files: u64, what: &str| format!("{}{what}", reason::at_least(files));
        let (spares_min, files, sentence) = if health.lost > 0 {
            (Some(-1), files.lost, said(files.lost, " lost"))
        } else if health.unreachable > 0 {
            (Some(-1), files.unreachable, said(files.unreachable, " cannot be read now"))
        } else if health.at_risk > 0 {
            (Some(0), files.at_risk, said(files.at_risk, ": the next loss may lose data"))
        } else if health.degraded > 0 || thin > 0 {
            let spares = (health.degraded > 0).then(|| survey.spares_min().unwrap_or(0));
            let spares = spares.map(i32::from).into_iter().chain((thin > 0).then_some(thin_spares));
            let spares = spares.min().unwrap_or(0).max(0);
            let what = format!(
                ": the loss of any {} may be borne",
                reason::counted(u64::try_from(spares).unwrap_or(0), "node")
            );
            let files = if health.degraded > 0 { files.degraded } else { 0 } + thin;
            (Some(spares), files, said(files, &what))
        } else if health.unknown > 0 {
            (None, 0, "not known yet".to_owned())
        } else {
            (None, 0, "every file survives all that its policy names".to_owned())
        };
        Self { spares_min, files, sentence }
    }
}

impl Stored {
    /// The state of stored files where the catalog does not belong to the nodes.
    #[must_use]
    pub fn of_other_catalog() -> Self {
        let sentence = "not known: this catalog does not belong to the nodes".to_owned();
        Self { sentence, ..Self::default() }
    }
}

impl FilesAffected {
    /// The files that a survey found.
    #[must_use]
    pub fn of(survey: &Survey) -> Self {
        Self {
            lost: survey.files_affected(Condition::Lost),
            unreachable: survey.files_affected(Condition::Unreachable),
            at_risk: survey.files_affected(Condition::AtRisk),
            degraded: survey.files_affected(Condition::Degraded),
        }
    }
}

/// What is known of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeKnown {
    /// Its name.
    pub id: NodeId,
    /// Its state.
    pub state: NodeState,
    /// How long it has been gone, in ms, where it is.
    pub gone_for_ms: Option<u64>,
    /// How long ago it was heard, in ms, where it was.
    pub silent_for_ms: Option<u64>,
    /// What it reports to be wrong with it, mostly its disk.
    pub trouble: Option<String>,
    /// Why it obeys another run of a coordinator than this one.
    pub refuses: Option<String>,
    /// Why it cannot be connected to.
    pub cut_off: Option<String>,
    /// Why another process under its name was refused a short time ago.
    pub refused: Option<String>,
}

impl Verdict {
    /// Weighs everything that is known.
    #[must_use]
    pub fn of(known: &Known<'_>) -> Self {
        let mut reasons = reason::of_ledger(&known.ledger);
        match &known.other_catalog {
            // What such a catalog says of stripes and nodes is not so.
            Some(other) => reasons.push(reason::of_other_catalog(other)),
            None => {
                reasons.extend(reason::of_data(known));
                reasons.extend(reason::of_start(known));
            }
        }
        reasons.extend(reason::of_nodes(known));
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.kind.word()));
        reasons.truncate(REASONS_MAX);
        let worst = reasons.first().map_or(Word::AllWell, |reason| reason.kind.word());
        Self { word: worst, reasons }
    }

    /// The verdict in one sentence: the word, and the reasons that led to it.
    #[must_use]
    pub fn sentence(&self) -> String {
        let weighty = self.reasons.iter().filter(|reason| reason.kind.word() == self.word);
        let said: Vec<&str> = weighty.map(|reason| reason.sentence.as_str()).collect();
        if said.is_empty() {
            return self.word.headline().to_owned();
        }
        format!("{}: {}", self.word.headline(), said.join("; "))
    }
}

impl Word {
    /// All words, the best first.
    pub const ALL: [Self; 6] = [
        Self::AllWell,
        Self::Degraded,
        Self::NotKnownYet,
        Self::AtRisk,
        Self::Unreachable,
        Self::Lost,
    ];

    /// The word for machines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AllWell => "ok",
            Self::Degraded => "degraded",
            Self::NotKnownYet => "not_known_yet",
            Self::AtRisk => "at_risk",
            Self::Unreachable => "unreachable",
            Self::Lost => "lost",
        }
    }

    /// The word for people; loud where data is in danger.
    #[must_use]
    pub fn headline(self) -> &'static str {
        match self {
            Self::AllWell => "all well",
            Self::Degraded => "degraded",
            Self::NotKnownYet => "not known yet",
            Self::AtRisk => "DATA AT RISK",
            Self::Unreachable => "DATA UNREACHABLE",
            Self::Lost => "DATA LOST",
        }
    }
}

/// True while the coordinator waits for nodes that it has not heard since its
/// start.
fn is_starting(known: &Known<'_>) -> bool {
    let is_unheard = |node: &NodeKnown| node.state == NodeState::Unknown;
    known.uptime_ms <= OFFLINE_AFTER_MS
        && (!known.never_heard.is_empty() || known.nodes.iter().any(is_unheard))
}
