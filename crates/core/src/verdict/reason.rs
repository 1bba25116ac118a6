//! Why the verdict is what it is.

use super::{Known, LedgerKnown, NodeKnown, OtherCatalog, Word, is_starting};
use crate::health::{NodeState, OFFLINE_AFTER_MS};
use crate::id::NodeId;
use crate::repair::FILES_COUNTED_MAX;

/// One reason, for the machine and for the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The kind of reason.
    pub kind: ReasonKind,
    /// The node that it is about.
    pub node: Option<NodeId>,
    /// How many stripes or nodes it is about.
    pub count: u64,
    /// The reason in words: what was found, and the nearest fix.
    pub sentence: String,
}

/// The kinds of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReasonKind {
    /// Stripes cannot be rebuilt from any copy that exists.
    StripesLost,
    /// Stripes cannot be read now; their copies are on nodes that are away.
    StripesUnreachable,
    /// Stripes have no spare left.
    StripesAtRisk,
    /// Stripes have fewer spares than their policy names.
    StripesDegraded,
    /// Nodes have not reported yet which copies they hold.
    StripesUnknown,
    /// The stripes were not surveyed since the start.
    NotSurveyed,
    /// The coordinator has just started and waits for nodes.
    NodesAwaited,
    /// The cluster has no node.
    NoNodes,
    /// A node that `--nodes` names never answered.
    NodeNeverHeard,
    /// A node is suspect, offline, stopped, or not heard since the start.
    NodeAway,
    /// The volume of a node is gone.
    VolumeGone,
    /// A node sends heartbeats and cannot be connected to.
    NodeCutOff,
    /// A node obeys another run of a coordinator.
    NodeRefuses,
    /// Another process announced itself under the name of a node.
    NodeRefused,
    /// A node reports trouble, mostly with its disk.
    NodeTrouble,
    /// New files cannot be stored.
    CannotStore,
    /// New files are stored with copies missing, for want of room.
    StoresThinly,
    /// The coordinator's ledger is gone from its path: the catalog is in
    /// memory only.
    LedgerLost,
    /// The coordinator's ledger takes no commits.
    LedgerBroken,
    /// The disk of the coordinator's ledger is full.
    LedgerFull,
    /// The disk of the coordinator's ledger does not finish a commit.
    LedgerSlow,
    /// The coordinator's folder was empty, and its nodes are of another cluster.
    EmptyCatalog,
    /// A node knows a newer catalog than the coordinator has.
    OlderCatalog,
}

impl ReasonKind {
    /// All kinds.
    pub const ALL: [Self; 23] = [
        Self::StripesLost,
        Self::StripesUnreachable,
        Self::StripesAtRisk,
        Self::StripesDegraded,
        Self::StripesUnknown,
        Self::NotSurveyed,
        Self::NodesAwaited,
        Self::NoNodes,
        Self::NodeNeverHeard,
        Self::NodeAway,
        Self::VolumeGone,
        Self::NodeCutOff,
        Self::NodeRefuses,
        Self::NodeRefused,
        Self::NodeTrouble,
        Self::CannotStore,
        Self::StoresThinly,
        Self::LedgerLost,
        Self::LedgerBroken,
        Self::LedgerFull,
        Self::LedgerSlow,
        Self::EmptyCatalog,
        Self::OlderCatalog,
    ];

    /// The verdict that this reason alone leads to.
    #[must_use]
    pub fn word(self) -> Word {
        match self {
            Self::StripesLost => Word::Lost,
            Self::StripesUnreachable | Self::EmptyCatalog => Word::Unreachable,
            Self::StripesAtRisk | Self::LedgerLost | Self::LedgerBroken | Self::OlderCatalog => {
                Word::AtRisk
            }
            Self::StripesUnknown | Self::NotSurveyed | Self::NodesAwaited => Word::NotKnownYet,
            Self::StripesDegraded
            | Self::NoNodes
            | Self::NodeNeverHeard
            | Self::NodeAway
            | Self::VolumeGone
            | Self::NodeCutOff
            | Self::NodeRefuses
            | Self::NodeRefused
            | Self::NodeTrouble
            | Self::CannotStore
            | Self::StoresThinly
            | Self::LedgerFull
            | Self::LedgerSlow => Word::Degraded,
        }
    }

    /// The kind for machines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StripesLost => "stripes_lost",
            Self::StripesUnreachable => "stripes_unreachable",
            Self::StripesAtRisk => "stripes_at_risk",
            Self::StripesDegraded => "stripes_degraded",
            Self::StripesUnknown => "stripes_unknown",
            Self::NotSurveyed => "not_surveyed",
            Self::NodesAwaited => "nodes_awaited",
            Self::NoNodes => "no_nodes",
            Self::NodeNeverHeard => "node_never_heard",
            Self::NodeAway => "node_away",
            Self::VolumeGone => "volume_gone",
            Self::NodeCutOff => "node_cut_off",
            Self::NodeRefuses => "node_refuses",
            Self::NodeRefused => "node_refused",
            Self::NodeTrouble => "node_trouble",
            Self::CannotStore => "cannot_store",
            Self::StoresThinly => "stores_thinly",
            Self::LedgerLost => "ledger_lost",
            Self::LedgerBroken => "ledger_broken",
            Self::LedgerFull => "ledger_full",
            Self::LedgerSlow => "ledger_slow",
            Self::EmptyCatalog => "empty_catalog",
            Self::OlderCatalog => "older_catalog",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Reasons that lie in the stored data.
pub(super) fn of_data(known: &Known<'_>) -> Vec<Reason> {
    let (stripes, files) = (&known.stripes, &known.files);
    let mut reasons = Vec::new();
    let mut add = |kind, count: u64, sentence: String| {
        if count > 0 {
            reasons.push(Reason { kind, node: None, count, sentence });
        }
    };
    let of = |stripes: u64, affected: u64| {
        format!("{} of {}", counted(stripes, "stripe"), at_least(affected))
    };
    add(
        ReasonKind::StripesLost,
        stripes.lost,
        format!("{} cannot be rebuilt from any copy that exists", of(stripes.lost, files.lost)),
    );
    add(
        ReasonKind::StripesUnreachable,
        stripes.unreachable,
        format!(
            "{} cannot be read now: start the nodes that hold the copies",
            of(stripes.unreachable, files.unreachable)
        ),
    );
    add(
        ReasonKind::StripesAtRisk,
        stripes.at_risk,
        format!("one more loss may cost {}", of(stripes.at_risk, files.at_risk)),
    );
    let degraded = of(stripes.degraded, files.degraded);
    add(ReasonKind::StripesDegraded, stripes.degraded, format!("{degraded} short of copies"));
    let (thin, spares) = known.thin_files;
    let kind = if spares > 0 { ReasonKind::StripesDegraded } else { ReasonKind::StripesAtRisk };
    add(kind, thin, format!("{} just stored with copies missing", at_least(thin)));
    let unknown = counted(stripes.unknown, "stripe");
    let unknown = match known.recount {
        Some(why) => format!("{unknown} counted again, since {why}"),
        None => format!("{unknown} not yet known: nodes have not reported"),
    };
    add(ReasonKind::StripesUnknown, stripes.unknown, unknown);
    reasons
}

/// Reasons that lie in the coordinator's ledger, the only place that knows the
/// names: without it, all data is at risk.
pub(super) fn of_ledger(ledger: &LedgerKnown<'_>) -> Vec<Reason> {
    let full = ledger.full.map(|full| format!("no new files are taken: {full}"));
    let found = [
        (ReasonKind::LedgerLost, ledger.lost.map(str::to_owned)),
        (ReasonKind::LedgerBroken, ledger.broken.map(str::to_owned)),
        (ReasonKind::LedgerFull, full),
        (ReasonKind::LedgerSlow, ledger.slow.map(str::to_owned)),
    ];
    let reason = |(kind, sentence): (ReasonKind, Option<String>)| {
        Some(Reason { kind, node: None, count: 0, sentence: sentence? })
    };
    found.into_iter().filter_map(reason).collect()
}

/// Returns the reason of a catalog that does not belong to the nodes.
pub(super) fn of_other_catalog(other: &OtherCatalog<'_>) -> Reason {
    let kind = match other.is_empty {
        true => ReasonKind::EmptyCatalog,
        false => ReasonKind::OlderCatalog,
    };
    Reason { kind, node: None, count: 0, sentence: other.reason.to_owned() }
}

/// Reasons that a start brings.
pub(super) fn of_start(known: &Known<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let heard = known.nodes.iter().filter(|node| node.state != NodeState::Unknown).count();
    let expected = known.nodes.len() + known.never_heard.len();
    if is_starting(known) {
        let sentence = format!(
            "the coordinator has just started and has heard {heard} of {expected} expected nodes"
        );
        reasons.push(Reason {
            kind: ReasonKind::NodesAwaited,
            node: None,
            count: (expected - heard) as u64,
            sentence,
        });
    }
    if !known.is_surveyed {
        let sentence = "the stored data was not looked over since the start".to_owned();
        reasons.push(Reason { kind: ReasonKind::NotSurveyed, node: None, count: 0, sentence });
    }
    reasons
}

/// Reasons that lie in the nodes and in what they can take.
pub(super) fn of_nodes(known: &Known<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if known.other_catalog.is_some() {
        // They heed another coordinator, or none, so that this one hears little
        // of them: nothing is wrong with them for that.
        known.nodes.iter().for_each(|node| of_node(node, &mut reasons));
        return reasons;
    }
    let expected = known.nodes.len() + known.never_heard.len();
    if expected == 0 {
        let sentence = "the cluster has no node: start one with --join".to_owned();
        reasons.push(Reason { kind: ReasonKind::NoNodes, node: None, count: 0, sentence });
    }
    if !known.never_heard.is_empty() && !is_starting(known) {
        let addresses = known.never_heard.join(", ");
        let sentence = format!(
            "{} of {} expected: none ever answered at {addresses}",
            known.nodes.len(),
            counted(expected as u64, "node"),
        );
        let count = known.never_heard.len() as u64;
        reasons.push(Reason { kind: ReasonKind::NodeNeverHeard, node: None, count, sentence });
    }
    for node in known.nodes {
        if let Some((kind, sentence)) = of_state(node) {
            reasons.push(Reason { kind, node: Some(node.id.clone()), count: 1, sentence });
        }
        of_node(node, &mut reasons);
    }
    if let Some(why) = known.cannot_store
        && expected > 0
        && !is_starting(known)
    {
        let sentence = format!("new files cannot be stored: {why}");
        reasons.push(Reason { kind: ReasonKind::CannotStore, node: None, count: 0, sentence });
    }
    if let Some(why) = known.stores_thinly
        && !is_starting(known)
    {
        let sentence = format!("new files are stored with copies missing, for want of room: {why}");
        reasons.push(Reason { kind: ReasonKind::StoresThinly, node: None, count: 0, sentence });
    }
    reasons
}

/// Adds the reasons that a node tells of itself, and why it is refused.
fn of_node(node: &NodeKnown, reasons: &mut Vec<Reason>) {
    let mut add = |kind, sentence: String| {
        reasons.push(Reason { kind, node: Some(node.id.clone()), count: 1, sentence });
    };
    if node.state == NodeState::Online
        && let Some(trouble) = &node.trouble
    {
        add(ReasonKind::NodeTrouble, format!("{}: {trouble}", node.id));
    }
    if let Some(refuses) = &node.refuses {
        add(ReasonKind::NodeRefuses, format!("{} obeys another coordinator: {refuses}", node.id));
    }
    if let Some(refused) = &node.refused {
        add(ReasonKind::NodeRefused, refused.clone());
    }
}

fn of_state(node: &NodeKnown) -> Option<(ReasonKind, String)> {
    let id = &node.id;
    let ago = node.gone_for_ms.map(|ms| format!(" for {}", span(ms))).unwrap_or_default();
    let away = |word: &str| Some((ReasonKind::NodeAway, format!("{id} {word}{ago}")));
    match node.state {
        NodeState::Online => None,
        NodeState::Suspect => {
            let silent = node.silent_for_ms.map(|ms| format!(" for {}", span(ms)));
            let sentence = format!(
                "{id} has been silent{}; its copies still count as there, until it is offline at {}",
                silent.unwrap_or_default(),
                span(OFFLINE_AFTER_MS)
            );
            Some((ReasonKind::NodeAway, sentence))
        }
        NodeState::Offline => away("offline"),
        NodeState::Absent => away("absent"),
        NodeState::Unknown => away("not heard since the coordinator started"),
        NodeState::NoVolume => {
            let fix = "mount the disk that holds its data folder, and start the node again";
            Some((ReasonKind::VolumeGone, format!("{id} has lost its volume{ago}: {fix}")))
        }
        NodeState::CutOff => {
            let why = node.cut_off.as_deref().unwrap_or("no connection");
            let fix = "check its --advertise address and the firewall";
            Some((ReasonKind::NodeCutOff, format!("{id} cut-off{ago} ({why}): {fix}")))
        }
    }
}

pub(super) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

pub(super) fn at_least(files: u64) -> String {
    let more = if files >= FILES_COUNTED_MAX as u64 { "at least " } else { "" };
    format!("{more}{}", counted(files, "file"))
}

fn span(ms: u64) -> String {
    match ms / 1000 {
        seconds if seconds < 120 => format!("{seconds}s"),
        seconds if seconds < 7200 => format!("{}m", seconds / 60),
        seconds => format!("{}h", seconds / 3600),
    }
}
