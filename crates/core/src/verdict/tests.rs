use super::*;

fn node(id: &str, state: NodeState) -> NodeKnown {
    NodeKnown {
        id: NodeId::new(id).expect("an id"),
        state,
        gone_for_ms: None,
        silent_for_ms: None,
        trouble: None,
        refuses: None,
        cut_off: None,
        refused: None,
    }
}

/// A row of the table: what is unlike a well cluster, and what it leads to.
struct Row {
    uptime_ms: u64,
    is_surveyed: bool,
    stripes: StripeHealth,
    recount: Option<&'static str>,
    thin_files: (u64, i32),
    nodes: Vec<NodeKnown>,
    never_heard: Vec<String>,
    cannot_store: Option<&'static str>,
    stores_thinly: Option<&'static str>,
    ledger: LedgerKnown<'static>,
    other_catalog: Option<OtherCatalog<'static>>,
}

fn well() -> Row {
    Row {
        uptime_ms: OFFLINE_AFTER_MS + 1,
        is_surveyed: true,
        stripes: StripeHealth { full: 9, ..StripeHealth::default() },
        recount: None,
        thin_files: (0, 0),
        nodes: vec![node("n1", NodeState::Online), node("n2", NodeState::Online)],
        never_heard: Vec::new(),
        cannot_store: None,
        stores_thinly: None,
        ledger: LedgerKnown::default(),
        other_catalog: None,
    }
}

fn verdict(row: &Row) -> Verdict {
    Verdict::of(&Known {
        uptime_ms: row.uptime_ms,
        is_surveyed: row.is_surveyed,
        stripes: row.stripes,
        recount: row.recount,
        thin_files: row.thin_files,
        files: FilesAffected { lost: 1, unreachable: 2, at_risk: 3, degraded: 4 },
        nodes: &row.nodes,
        never_heard: &row.never_heard,
        cannot_store: row.cannot_store,
        stores_thinly: row.stores_thinly,
        ledger: row.ledger,
        other_catalog: row.other_catalog,
    })
}

fn with_node(change: impl FnOnce(&mut NodeKnown)) -> Row {
    let mut row = well();
    change(&mut row.nodes[1]);
    row
}

fn with_ledger(change: impl FnOnce(&mut LedgerKnown<'static>)) -> Row {
    let mut row = well();
    change(&mut row.ledger);
    row
}

/// A catalog that is not that of its nodes, which look as if they were away.
fn with_other_catalog(is_empty: bool) -> Row {
    Row {
        other_catalog: Some(OtherCatalog { reason: "a newer catalog exists", is_empty }),
        stripes: StripeHealth { unreachable: 9, lost: 1, ..StripeHealth::default() },
        nodes: vec![node("n1", NodeState::Unknown)],
        never_heard: vec!["10.0.0.4:4001".to_owned()],
        cannot_store: Some("n1 is away"),
        ..well()
    }
}

#[test]
fn a_catalog_that_is_not_that_of_its_nodes_says_nothing_else() {
    for is_empty in [false, true] {
        let reasons = verdict(&with_other_catalog(is_empty)).reasons;
        assert_eq!(reasons.len(), 1, "{reasons:?}");
    }
}

#[test]
fn every_row_of_the_table_leads_to_its_word() {
    let full = StripeHealth { full: 9, ..StripeHealth::default() };
    let data = |stripes| Row { stripes, ..well() };
    let in_state = |state| with_node(|node| node.state = state);
    let rows = [
        (ReasonKind::StripesLost, Word::Lost, data(StripeHealth { lost: 4, ..full })),
        (
            ReasonKind::StripesUnreachable,
            Word::Unreachable,
            data(StripeHealth { unreachable: 4, ..full }),
        ),
        (ReasonKind::StripesAtRisk, Word::AtRisk, data(StripeHealth { at_risk: 4, ..full })),
        (ReasonKind::StripesDegraded, Word::Degraded, data(StripeHealth { degraded: 4, ..full })),
        (ReasonKind::StripesUnknown, Word::NotKnownYet, data(StripeHealth { unknown: 4, ..full })),
        (
            ReasonKind::StripesUnknown,
            Word::NotKnownYet,
            Row { recount: Some("n2 came or went"), ..data(StripeHealth { unknown: 4, ..full }) },
        ),
        (ReasonKind::StripesDegraded, Word::Degraded, Row { thin_files: (2, 1), ..well() }),
        (ReasonKind::StripesAtRisk, Word::AtRisk, Row { thin_files: (2, 0), ..well() }),
        (
            ReasonKind::LedgerSlow,
            Word::Degraded,
            with_ledger(|ledger| ledger.slow = Some("no commit ends")),
        ),
        (ReasonKind::OlderCatalog, Word::AtRisk, with_other_catalog(false)),
        (ReasonKind::EmptyCatalog, Word::Unreachable, with_other_catalog(true)),
        (ReasonKind::NotSurveyed, Word::NotKnownYet, Row { is_surveyed: false, ..well() }),
        (
            ReasonKind::NodesAwaited,
            Word::NotKnownYet,
            Row { uptime_ms: 3_000, ..in_state(NodeState::Unknown) },
        ),
        (
            ReasonKind::CannotStore,
            Word::Degraded,
            Row { uptime_ms: 3_000, cannot_store: Some("n2 is full"), ..well() },
        ),
        (ReasonKind::NoNodes, Word::Degraded, Row { nodes: Vec::new(), ..well() }),
        (
            ReasonKind::NodeNeverHeard,
            Word::Degraded,
            Row { never_heard: vec!["10.0.0.4:4001".to_owned()], ..well() },
        ),
        (ReasonKind::NodeAway, Word::Degraded, in_state(NodeState::Suspect)),
        (ReasonKind::NodeAway, Word::Degraded, in_state(NodeState::Offline)),
        (ReasonKind::NodeAway, Word::Degraded, in_state(NodeState::Absent)),
        (ReasonKind::NodeAway, Word::Degraded, in_state(NodeState::Unknown)),
        (ReasonKind::VolumeGone, Word::Degraded, in_state(NodeState::NoVolume)),
        (ReasonKind::NodeCutOff, Word::Degraded, in_state(NodeState::CutOff)),
        (
            ReasonKind::NodeRefuses,
            Word::Degraded,
            with_node(|node| node.refuses = Some("epoch 9".to_owned())),
        ),
        (
            ReasonKind::NodeRefused,
            Word::Degraded,
            with_node(|node| node.refused = Some("two nodes".to_owned())),
        ),
        (
            ReasonKind::NodeTrouble,
            Word::Degraded,
            with_node(|node| node.trouble = Some("read-only".to_owned())),
        ),
        (
            ReasonKind::CannotStore,
            Word::Degraded,
            Row { cannot_store: Some("n2 is full"), ..well() },
        ),
        (
            ReasonKind::StoresThinly,
            Word::Degraded,
            Row { stores_thinly: Some("n2 is full"), ..well() },
        ),
        (ReasonKind::LedgerLost, Word::AtRisk, with_ledger(|ledger| ledger.lost = Some("gone"))),
        (ReasonKind::LedgerBroken, Word::AtRisk, with_ledger(|ledger| ledger.broken = Some("EIO"))),
        (ReasonKind::LedgerFull, Word::Degraded, with_ledger(|ledger| ledger.full = Some("full"))),
    ];
    for (kind, word, row) in &rows {
        let verdict = verdict(row);
        assert_eq!(verdict.word, *word, "{kind:?}: {verdict:?}");
        assert_eq!(verdict.reasons.first().map(|reason| reason.kind), Some(*kind), "{verdict:?}");
        assert_eq!(kind.word(), *word, "{kind:?}");
    }
    for kind in ReasonKind::ALL {
        assert!(rows.iter().any(|(row, ..)| *row == kind), "{kind:?} has no row");
        assert_eq!(ReasonKind::named(kind.name()), Some(kind));
    }
    assert_eq!(verdict(&well()), Verdict { word: Word::AllWell, reasons: Vec::new() });
}

#[test]
fn the_worst_reason_decides_and_stands_first() {
    let mut row = with_node(|node| node.state = NodeState::Offline);
    row.stripes = StripeHealth { full: 1, degraded: 2, at_risk: 3, lost: 1, ..row.stripes };
    let found = verdict(&row);
    assert_eq!(found.word, Word::Lost);
    let words: Vec<Word> = found.reasons.iter().map(|reason| reason.kind.word()).collect();
    assert!(words.is_sorted_by(|one, next| one >= next), "{words:?}");
    assert_eq!(
        found.sentence(),
        "DATA LOST: 1 stripe of 1 file cannot be rebuilt from any copy that exists"
    );
}

#[test]
fn a_node_that_never_answered_is_missing_from_those_expected() {
    let row = Row { never_heard: vec!["10.0.0.4:4001".to_owned()], ..well() };
    let said = verdict(&row).sentence();
    assert_eq!(said, "degraded: 2 of 3 nodes expected: none ever answered at 10.0.0.4:4001");
}

#[test]
fn a_silent_node_is_told_before_it_is_offline() {
    let row = with_node(|node| {
        node.state = NodeState::Suspect;
        node.silent_for_ms = Some(8_400);
    });
    assert_eq!(
        verdict(&row).sentence(),
        "degraded: n2 has been silent for 8s; its copies still count as there, until it is \
         offline at 12s"
    );
}

#[test]
fn a_start_is_not_known_yet_until_nodes_had_their_time() {
    let mut row = with_node(|node| node.state = NodeState::Unknown);
    row.uptime_ms = OFFLINE_AFTER_MS;
    assert_eq!(verdict(&row).word, Word::NotKnownYet);
    row.uptime_ms += 1;
    assert_eq!(verdict(&row).word, Word::Degraded);
}
