//! Adoption: how nodes come under this run, and what they know of others.
//!
//! Before a run adopts a node it asks which run the node obeys and how far
//! that run's catalog was. A node that was told of a later catalog than this
//! one proves that this one is an older copy. Then nothing is changed and
//! nothing is deleted here, until an operator decides.
//!
//! When an older copy adopts a node, the newest catalog later takes this node
//! for the proof of a newer catalog. So a run adopts its first member only after
//! more than half of its members have answered, and a new node only while it
//! leads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::lead::Hindrance;
use super::role::Coordinator;
use crate::api::{Adopt, Allegiance, Context, Error, Hello, Kind, NodeInfo, NodeState, Result};
use crate::catalog::{Catalog, Kinship};
use crate::health::HEARTBEAT_INTERVAL;
use crate::id::{Epoch, Run};
use crate::lease::{DRIFT_MS_MAX, EPOCH_RISE_MAX, LEASE_MS};
use crate::units::Span;

/// How long a hello or an adoption may take.
const ADOPT_TIMEOUT: Duration = Duration::from_secs(3);
/// The pause before a node is asked again that is leased to another run, or
/// that is too early to adopt.
const LEASED_PAUSE: Duration = Duration::from_millis(500);
/// After this time, a lease of another run was renewed since it was first
/// seen.
const RENEWED_AFTER_MS: u64 = LEASE_MS + DRIFT_MS_MAX + 1_000;
/// How long an adoption waits for the answers of other members.
const KIN_WAIT_MAX: Duration = Duration::from_secs(1);
/// After this time since the start, members are adopted even when half of them
/// or more have not answered. Readers need to know which copies they hold.
const KIN_PATIENCE_MS: u64 = 10_000;

/// Why a node was not adopted.
enum NotAdopted {
    /// It does not answer, or refuses.
    Failed(Error),
    /// It answers, and its disk keeps it from noting whom it obeys.
    Unable(Error),
    /// It is leased to another run.
    Leased(Box<Allegiance>),
    /// This run may be one on an older copy of the catalog.
    TooEarly,
}

/// What is remembered of nodes that were not adopted.
#[derive(Default)]
pub(super) struct Reported {
    failures: BTreeMap<String, String>,
    /// Nodes that were leased to another run, and since when.
    leased: BTreeMap<String, (Run, u64)>,
}

impl Coordinator {
    /// Adopts nodes that were named or are members and do not speak. Returns,
    /// with the reason, when another run leads this cluster and this one has
    /// never led.
    pub(super) async fn adopt_nodes(self: Arc<Self>) -> String {
        let mut reported = Reported::default();
        loop {
            let adoptions = self.silent_addresses().into_iter().map(|address| {
                let coordinator = self.clone();
                async move {
                    let outcome = coordinator.adopt_node(&address).await;
                    (address, outcome)
                }
            });
            let mut pause = HEARTBEAT_INTERVAL;
            for (address, outcome) in join_all(adoptions).await {
                match outcome {
                    Ok(()) => {
                        reported.failures.remove(&address);
                        reported.leased.remove(&address);
                    }
                    Err(NotAdopted::Failed(error) | NotAdopted::Unable(error)) => {
                        reported.leased.remove(&address);
                        reported.note_failure(address, &error);
                    }
                    Err(NotAdopted::Leased(allegiance)) => {
                        pause = LEASED_PAUSE;
                        if let Some(reason) = self.outlived(&mut reported, address, &allegiance) {
                            return reason;
                        }
                    }
                    Err(NotAdopted::TooEarly) => pause = pause.min(LEASED_PAUSE),
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Adopts the node at `address` soon, because it obeys another run.
    pub(super) fn adopt_soon(&self, address: String) {
        let Some(coordinator) = self.me.upgrade() else { return };
        self.env.spawn(async move {
            if let Err(NotAdopted::Failed(error) | NotAdopted::Unable(error)) =
                coordinator.adopt_node(&address).await
            {
                tracing::debug!(%address, reason = %error.message, "a node was not adopted yet");
            }
        });
    }

    fn silent_addresses(&self) -> Vec<String> {
        let now_ms = self.now_ms();
        let state = self.state();
        let is_online = |live: &super::member::Live| {
            matches!(live.health.state(now_ms), NodeState::Online | NodeState::NoVolume)
        };
        let spoken: Vec<&str> = (state.members.iter())
            .filter(|(_, live)| is_online(live))
            .map(|(_, live)| live.address.as_str())
            .collect();
        let members = state.members.iter().map(|(_, live)| live.address.clone());
        let mut silent: Vec<String> = (self.settings.nodes.iter().cloned().chain(members))
            .filter(|address| !spoken.contains(&address.as_str()))
            .collect();
        silent.sort_unstable();
        silent.dedup();
        silent
    }

    async fn adopt_node(&self, address: &str) -> std::result::Result<(), NotAdopted> {
        if !self.lead.begin_adoption(address) {
            return Ok(());
        }
        let outcome = self.try_adopt(address).await;
        self.lead.end_adoption(address);
        match &outcome {
            Ok(()) => {
                self.state().members.answered.insert(address.to_owned());
                self.note_adoption(address, None);
            }
            Err(NotAdopted::Failed(error)) => self.note_adoption(address, Some(error)),
            Err(NotAdopted::Unable(error)) => {
                self.note_adoption(address, None);
                self.note_unadoptable(address, error);
            }
            Err(NotAdopted::Leased(_) | NotAdopted::TooEarly) => {}
        }
        outcome
    }

    async fn try_adopt(&self, address: &str) -> std::result::Result<(), NotAdopted> {
        let node = self.env.peers.node(address);
        let Hello { info, allegiance } =
            in_time(address, node.hello()).await.map_err(NotAdopted::Failed)?;
        let mut present = allegiance.told.run;
        let is_led = present != self.context.run
            && allegiance.leased_ms > 0
            && info.cluster == Some(self.context.cluster)
            && self.ended_run != Some(present);
        // A run that never led first finds out whether the other one lives.
        if is_led && !self.has_led() {
            return Err(NotAdopted::Leased(Box::new(allegiance)));
        }
        self.check_kin(&info, &allegiance).map_err(NotAdopted::Failed)?;
        if !self.may_adopt(&info).await {
            return Err(NotAdopted::TooEarly);
        }
        loop {
            let run = self.next_run_for(present);
            let has_ended = self.ended_run == Some(present);
            if run != present && allegiance.leased_ms > 0 && !has_ended {
                return Err(NotAdopted::Leased(Box::new(allegiance)));
            }
            let request = Adopt {
                context: Context { cluster: self.context.cluster, run },
                coordinator: self.settings.address.clone(),
                replaces: present,
                // A step on the way to this run holds a lease of our own.
                has_ended: has_ended || present != allegiance.told.run,
                position: self.door.position(),
                numbers_end: self.numbers_end(),
            };
            let sent_ms = self.now_ms();
            let info = in_time(address, node.adopt(request)).await.map_err(|error| {
                let is_its_disk = error.kind == Kind::Internal;
                if is_its_disk { NotAdopted::Unable(error) } else { NotAdopted::Failed(error) }
            })?;
            if run == self.context.run {
                let index = self.register(&info, None).await.map_err(NotAdopted::Failed)?;
                self.note_adopted(index, info.session, sent_ms);
                return Ok(());
            }
            present = run;
        }
    }

    /// Returns true when this run may adopt a node that knows no newer catalog.
    /// A new node may be adopted while this run leads. A member may be adopted
    /// once most members answered and none of them knows a newer catalog.
    async fn may_adopt(&self, info: &NodeInfo) -> bool {
        if self.door.peek(|catalog| catalog.member_by_id(&info.id).is_none()) {
            return self.leads();
        }
        self.note_kin(&info.id);
        let is_known = timeout(KIN_WAIT_MAX, self.kin_is_known()).await.is_ok();
        self.lead.hindrance().is_none() && (is_known || self.now_ms() >= KIN_PATIENCE_MS)
    }

    /// Notes that the disk of the node at `address` keeps it from being adopted.
    fn note_unadoptable(&self, address: &str, error: &Error) {
        let mut state = self.state();
        let found = state.members.live.values_mut().find(|live| live.address == *address);
        if let Some(live) = found {
            live.unadoptable = Some(error.message.clone());
        }
    }

    /// The run to adopt a node with that obeys `present`: this one, or where
    /// that is too far above, one of the lineage on the way to it.
    fn next_run_for(&self, present: Run) -> Run {
        let ours = self.context.run;
        let highest = Epoch(present.epoch.0.saturating_add(EPOCH_RISE_MAX));
        if present == Run::default() || ours.epoch <= highest {
            return ours;
        }
        self.door.peek(|catalog| {
            let mut below = catalog.runs().rev().map(|run| run.run);
            below.find(|run| run.epoch <= highest && run.epoch > present.epoch).unwrap_or(ours)
        })
    }

    /// Checks that a node belongs to this cluster and was told of no later
    /// catalog.
    pub(super) fn check_kin(&self, info: &NodeInfo, allegiance: &Allegiance) -> Result<()> {
        if let Some(cluster) = info.cluster.filter(|cluster| *cluster != self.context.cluster) {
            let reason = format!(
                "node {} belongs to cluster {cluster}, this is {}: start it with an empty data \
                 folder, or with the coordinator of its own cluster",
                info.id, self.context.cluster
            );
            if self.is_founded_here && self.door.peek(|catalog| catalog.members().len() == 0) {
                let reason = format!(
                    "this coordinator's data folder was empty, and node {} belongs to cluster \
                     {cluster}: is the disk of the coordinator mounted? Start it on the folder \
                     of that cluster, or restore that folder from a backup",
                    info.id
                );
                self.hinder(Hindrance { reason: reason.clone(), is_empty: true });
                // The coordinator is more likely to be wrong than the node,
                // which must not end for that.
                return Err(Error::new(Kind::Unavailable, reason));
            }
            return Err(Error::new(Kind::WrongIdentity, reason));
        }
        let position = self.door.position();
        let told = allegiance.told;
        let judge = |catalog: &Catalog| catalog.kinship(told, position);
        let what = match self.door.peek(judge) {
            Kinship::Ancestor => return Ok(()),
            Kinship::Ahead => "went on after this copy was made",
            Kinship::Stranger => "led a later copy of this catalog",
        };
        let at = allegiance.coordinator.as_deref().unwrap_or("an unknown address");
        let reason = format!(
            "a newer catalog exists: node {} was told of commit {} of run {}, which {what} (its \
             coordinator at {at}, adopted {} ago); this one is at commit {position} of run {}. Nothing \
             is changed or deleted here. Start the coordinator on the newer folder; or, if that is \
             lost, start this one with --accept-older-catalog",
            info.id,
            told.position,
            told.run,
            Span(Duration::from_secs(
                self.env.wall.now_ms().saturating_sub(allegiance.since_ms) / 1000
            )),
            self.context.run,
        );
        self.hinder(Hindrance { reason: reason.clone(), is_empty: false });
        Err(Error::new(Kind::StaleEpoch, reason))
    }

    /// Notes a node that is leased to another run. Returns why this run ends,
    /// when the other one renews its lease and this one has never led.
    fn outlived(
        &self,
        reported: &mut Reported,
        address: String,
        allegiance: &Allegiance,
    ) -> Option<String> {
        let now_ms = self.now_ms();
        let run = allegiance.told.run;
        let leased = reported.leased.entry(address.clone()).or_insert((run, now_ms));
        if leased.0 != run {
            *leased = (run, now_ms);
        }
        if now_ms.saturating_sub(leased.1) < RENEWED_AFTER_MS || self.has_led() {
            return None;
        }
        Some(format!(
            "another coordinator leads this cluster: the node at {address} obeys run {run} at {}, \
             which renews its lease. Stop that one first",
            allegiance.coordinator.as_deref().unwrap_or("an unknown address")
        ))
    }
}

impl Reported {
    fn note_failure(&mut self, address: String, error: &Error) {
        if self.failures.get(&address) != Some(&error.message) {
            tracing::warn!(%address, reason = %error.message, "a node could not be adopted");
            self.failures.insert(address, error.message.clone());
        }
    }
}

pub(super) async fn in_time<T>(address: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(ADOPT_TIMEOUT, call).await.unwrap_or_else(|_| {
        Err(Error::new(Kind::Unavailable, format!("the node at {address} does not answer")))
    })
}
