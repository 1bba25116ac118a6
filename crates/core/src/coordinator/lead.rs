//! Leadership: may this run acknowledge changes now?
//!
//! Nodes are leased to this run, by adoptions and by heartbeats that confirm
//! an answer. A change is acknowledged only while more than half of the
//! members are leased ([`crate::lease`]). Without that, reads go on and say
//! that they may be old. A run that finds a newer catalog, or another cluster,
//! makes no change and deletes nothing, for as long as it lives.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::role::Coordinator;
use super::writer::in_memory_only;
use crate::api::{Error, Kind, Result};
use crate::catalog::{Command, Outcome};
use crate::id::{NodeId, NodeIndex, SessionId};
use crate::lease::{LEASE_MS, leads_until};
use crate::mutant::{Mutant, is_planted};

/// How long a change waits for its run to lead. A lease lapses for a moment
/// when a heartbeat is late.
const LEAD_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a read waits for that before it says that it may be old.
const READ_WAIT_MAX_MS: u64 = 1_000;
/// Answers to one node that may still be confirmed.
const ANSWERS_MAX: usize = 4;

/// The leases of one run, and why it makes no changes.
pub(super) struct Lead {
    /// Until when more than half of the members are leased, in ms since the
    /// start.
    until_ms: AtomicU64,
    has_led: AtomicBool,
    changed: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    leases: BTreeMap<NodeIndex, NodeLease>,
    answers_sent: u64,
    hindrance: Option<Hindrance>,
    is_stopping: bool,
    /// Addresses that are being adopted.
    adopting: BTreeSet<String>,
    /// Members that answered and know no newer catalog.
    kin: BTreeSet<NodeId>,
}

/// The lease of one node.
struct NodeLease {
    session: SessionId,
    until_ms: u64,
    /// Answers that the node has not confirmed yet, and when each was sent.
    answers: VecDeque<(u64, u64)>,
}

/// Why a run makes no changes for as long as it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hindrance {
    /// What it says.
    pub(super) reason: String,
    /// True when its catalog is not that of its nodes at all: it answers
    /// nothing.
    pub(super) is_empty: bool,
}

impl Lead {
    pub(super) fn new() -> Self {
        Self {
            until_ms: AtomicU64::new(0),
            has_led: AtomicBool::new(false),
            changed: Notify::new(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the leases panics")
    }

    /// Notes that `address` is being adopted; false when it already is.
    pub(super) fn begin_adoption(&self, address: &str) -> bool {
        self.state().adopting.insert(address.to_owned())
    }

    /// Notes that the adoption of `address` has ended.
    pub(super) fn end_adoption(&self, address: &str) {
        self.state().adopting.remove(address);
    }

    /// Why this run makes no changes, where that will not change.
    pub(super) fn hindrance(&self) -> Option<Hindrance> {
        self.state().hindrance.clone()
    }
}

impl NodeLease {
    fn new(session: SessionId) -> Self {
        Self { session, until_ms: 0, answers: VecDeque::new() }
    }
}

impl Coordinator {
    /// Notes that a node took an adoption that was sent at `sent_ms`.
    pub(super) fn note_adopted(&self, node: NodeIndex, session: SessionId, sent_ms: u64) {
        {
            let mut state = self.lead.state();
            let lease = state.leases.entry(node).or_insert_with(|| NodeLease::new(session));
            if lease.session != session {
                *lease = NodeLease::new(session);
            }
            lease.until_ms = lease.until_ms.max(sent_ms + LEASE_MS);
        }
        self.count_leases();
    }

    /// Notes a heartbeat of a node that obeys this run: the answer that it
    /// confirms, and the one that it gets now. Returns the latter's number, and
    /// when the confirmed one was sent: the heartbeat is of a later moment.
    pub(super) fn renew_lease(
        &self,
        node: NodeIndex,
        session: SessionId,
        confirms: Option<u64>,
    ) -> (u64, Option<u64>) {
        let now_ms = self.now_ms();
        let answered = {
            let mut state = self.lead.state();
            state.answers_sent += 1;
            let answer = state.answers_sent;
            let lease = state.leases.entry(node).or_insert_with(|| NodeLease::new(session));
            if lease.session != session {
                *lease = NodeLease::new(session);
            }
            let confirmed = lease.answers.iter().find(|(number, _)| Some(*number) == confirms);
            let confirmed_ms = confirmed.map(|(_, sent_ms)| *sent_ms);
            if let Some(sent_ms) = confirmed_ms {
                // The node has held the lease since it received the answer,
                // so it is counted from the earlier moment of its sending.
                let is_hasty = is_planted(Mutant::LeaseFromConfirmation);
                let from_ms = if is_hasty { now_ms } else { sent_ms };
                lease.until_ms = lease.until_ms.max(from_ms + LEASE_MS);
            }
            lease.answers.push_back((answer, now_ms));
            if lease.answers.len() > ANSWERS_MAX {
                lease.answers.pop_front();
            }
            (answer, confirmed_ms)
        };
        self.count_leases();
        answered
    }

    /// Works out anew until when this run leads.
    pub(super) fn count_leases(&self) {
        let until_ms = {
            let state = self.lead.state();
            if state.hindrance.is_some() || state.is_stopping {
                0
            } else {
                self.door.peek(|catalog| {
                    let counted = catalog.members().filter(|member| self.counts(&member.id));
                    let lease = |index| state.leases.get(&index).map_or(0, |lease| lease.until_ms);
                    let leases: Vec<(&NodeId, u64)> =
                        counted.map(|member| (&member.id, lease(member.index))).collect();
                    leads_until(&leases)
                })
            }
        };
        self.lead.until_ms.store(until_ms, Ordering::Relaxed);
        if until_ms != u64::MAX && self.now_ms() < until_ms {
            self.lead.has_led.store(true, Ordering::Relaxed);
        }
        self.lead.changed.notify_waiters();
    }

    /// Notes that a member answered and knows no newer catalog.
    pub(super) fn note_kin(&self, node: &NodeId) {
        self.lead.state().kin.insert(node.clone());
        self.lead.changed.notify_waiters();
    }

    /// Waits until as many members as a run needs to lead have answered and know
    /// no newer catalog. At least one of them would know a newer run that
    /// acknowledged a change.
    pub(super) async fn kin_is_known(&self) {
        loop {
            let changed = self.lead.changed.notified();
            let is_known = {
                let state = self.lead.state();
                self.door.peek(|catalog| {
                    let counted = catalog.members().filter(|member| self.counts(&member.id));
                    let is_kin = |id| if state.kin.contains(id) { u64::MAX } else { 0 };
                    let kin: Vec<(&NodeId, u64)> =
                        counted.map(|member| (&member.id, is_kin(&member.id))).collect();
                    leads_until(&kin) == u64::MAX
                })
            };
            if is_known {
                return;
            }
            changed.await;
        }
    }

    /// Whether a member counts for the majority.
    fn counts(&self, node: &NodeId) -> bool {
        !self.settings.without.contains(node)
    }

    /// Members that are leased now, and all that count.
    pub(super) fn leased_members(&self) -> (Vec<NodeId>, Vec<NodeId>) {
        let now_ms = self.now_ms();
        let state = self.lead.state();
        let is_leased =
            |index| state.leases.get(&index).is_some_and(|lease| now_ms < lease.until_ms);
        self.door.peek(|catalog| {
            let counted = || catalog.members().filter(|member| self.counts(&member.id));
            let leased = counted().filter(|member| is_leased(member.index));
            (leased.map(|m| m.id.clone()).collect(), counted().map(|m| m.id.clone()).collect())
        })
    }

    /// True when this run has led before.
    pub(super) fn has_led(&self) -> bool {
        self.lead.has_led.load(Ordering::Relaxed)
    }

    /// Whether more than half of the members are leased to this run now, and
    /// what it does becomes durable where a start finds it.
    pub(super) fn leads(&self) -> bool {
        self.is_leased() && self.door.stands()
    }

    fn is_leased(&self) -> bool {
        self.now_ms() < self.lead.until_ms.load(Ordering::Relaxed)
    }

    /// Returns once this run leads.
    ///
    /// # Errors
    /// `Unavailable` when it does not within [`LEAD_WAIT_MAX`], or when its
    /// ledger is lost; `WrongIdentity` when it never will.
    pub(super) async fn wait_to_lead(&self) -> Result<()> {
        if !self.door.stands() {
            return Err(self.does_not_lead());
        }
        let deadline = Instant::now() + LEAD_WAIT_MAX;
        if self.leads_by(deadline).await { Ok(()) } else { Err(self.does_not_lead()) }
    }

    /// Makes a change and returns once it is durable and this run still leads.
    ///
    /// # Errors
    /// As [`Self::wait_to_lead`] and the door, and then nothing was done;
    /// `NotKnown` when this run lost its nodes after the change was durable,
    /// so that its outcome is not known.
    pub(super) async fn change(&self, command: Command) -> Result<Outcome> {
        self.wait_to_lead().await?;
        let outcome = self.door.submit(command).await?;
        self.confirm_lead().await?;
        Ok(outcome)
    }

    /// Returns once this run leads after a change became durable. Had another
    /// run taken over before, its nodes would not renew their leases.
    async fn confirm_lead(&self) -> Result<()> {
        self.wait_to_lead().await.map_err(|error| {
            let text = format!("whether the change was made is not known: {}", error.message);
            Error::new(Kind::NotKnown, text)
        })
    }

    /// True when an answer may be old: this run has not led for a while, so
    /// another one may have made changes.
    pub(super) async fn may_be_old(&self) -> bool {
        let until_ms = self.lead.until_ms.load(Ordering::Relaxed);
        let waited_ms = self.now_ms().saturating_sub(until_ms);
        let left_ms = READ_WAIT_MAX_MS.saturating_sub(waited_ms);
        // A lost ledger makes no answer old: the catalog in memory is the
        // newest there is.
        !self.leads_by(Instant::now() + Duration::from_millis(left_ms)).await
    }

    /// Refuses reads of a catalog that is not that of its nodes.
    pub(super) fn check_answers(&self) -> Result<()> {
        match self.lead.hindrance() {
            Some(hindrance) if hindrance.is_empty => {
                Err(Error::new(Kind::WrongIdentity, hindrance.reason))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what this run will never do.
    pub(super) fn check_hindrance(&self) -> Result<()> {
        if self.lead.hindrance().is_some() { Err(self.does_not_lead()) } else { Ok(()) }
    }

    async fn leads_by(&self, deadline: Instant) -> bool {
        loop {
            let changed = self.lead.changed.notified();
            if self.is_leased() {
                return true;
            }
            if self.lead.hindrance().is_some() || timeout_at(deadline, changed).await.is_err() {
                return self.is_leased();
            }
        }
    }

    /// Why no change can become durable, where that is so.
    pub(super) fn ledger_trouble(&self) -> Option<String> {
        if let Some(lost) = self.door.why_lost() {
            return Some(in_memory_only(&lost));
        }
        let closed = self.door.why_closed()?;
        Some(format!(
            "the catalog could not be made durable: {closed}. Nothing is acknowledged until its \
             file can be opened again, which is tried all the time; reads go on"
        ))
    }

    /// Why a change is refused.
    pub(super) fn does_not_lead(&self) -> Error {
        if let Some(trouble) = self.ledger_trouble() {
            return Error::new(Kind::Unavailable, trouble);
        }
        if let Some(hindrance) = self.lead.hindrance() {
            // No retry helps: the coordinator is not that of these nodes.
            return Error::new(Kind::WrongIdentity, hindrance.reason);
        }
        Error::new(Kind::Unavailable, self.lacks_leases())
    }

    /// Which leases are missing, for people.
    pub(super) fn lacks_leases(&self) -> String {
        let (leased, counted) = self.leased_members();
        let missing: Vec<&str> =
            counted.iter().filter(|id| !leased.contains(id)).map(NodeId::as_str).collect();
        let needed = counted.len() / 2 + 1;
        let missing = missing.join(", ");
        format!(
            "changes need {needed} of {} members, and {} answer this coordinator: start {missing}, \
             or start the coordinator with --without {} for those that are gone for good",
            counted.len(),
            leased.len(),
            missing.replace(", ", ",")
        )
    }

    /// From now on this run makes no changes and deletes nothing.
    pub(super) fn hinder(&self, hindrance: Hindrance) {
        {
            let mut state = self.lead.state();
            if state.hindrance.is_none() {
                tracing::error!("makes no changes from now on: {}", hindrance.reason);
                state.hindrance = Some(hindrance);
            }
        }
        self.count_leases();
    }

    /// Stops leading, politely: acknowledges no more changes, and lets every
    /// node go to the next run at once.
    pub async fn retire(&self) {
        self.lead.state().is_stopping = true;
        self.count_leases();
        let (leased, _) = self.leased_members();
        let addresses = self.door.peek(|catalog| {
            let address = |id: &NodeId| catalog.member_by_id(id).map(|m| m.address.clone());
            leased.iter().filter_map(address).collect::<Vec<_>>()
        });
        let releases = addresses.into_iter().map(|address| {
            let node = self.env.peers.node(&address);
            let context = self.context;
            async move {
                let call = tokio::time::timeout(RELEASE_WAIT_MAX, node.release(context));
                if !matches!(call.await, Ok(Ok(()))) {
                    tracing::debug!(%address, "a node was not told that this run ends");
                }
            }
        });
        futures_util::future::join_all(releases).await;
    }
}

/// How long a node may take to end its lease.
const RELEASE_WAIT_MAX: Duration = Duration::from_secs(2);
