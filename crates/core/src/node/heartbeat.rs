//! The node's heartbeats: who it is, its space, and what changed on it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::role::Node;
use crate::api::{Error, Heartbeat, HeartbeatReply, Kind, Result};
use crate::env::HardPlace;
use crate::health::HEARTBEAT_INTERVAL as INTERVAL;

/// The first pause after a failed heartbeat; it doubles up to the interval.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(500);

/// The pause before a disk that failed is tried for the first time; it
/// doubles up to [`PROBE_PAUSE_MAX`].
const PROBE_PAUSE_MIN: Duration = Duration::from_secs(10);
/// The longest pause between two tries.
const PROBE_PAUSE_MAX: Duration = Duration::from_secs(300);

/// What one coordinator is known to know.
#[derive(Default)]
struct Beat {
    coordinator: Option<String>,
    known_version: Option<u64>,
    failures: u32,
    is_answered: bool,
    /// Why the node obeys another run than that of the coordinator.
    refuses: Option<String>,
    /// Answers in a row of a run that has not adopted the node yet.
    unadopted: u32,
}

/// Sends heartbeats until the node leaves. Returns why it is refused, when it
/// is refused for good.
pub(super) async fn run(node: Arc<Node>) -> Option<String> {
    let mut beat = Beat::default();
    let mut probing = Probing::default();
    while !node.membership.has_left() {
        let pause = match node.membership.coordinator() {
            Some(_) if node.env.is_hard_once_in(4, HardPlace::SkipHeartbeat) => INTERVAL,
            Some(coordinator) => beat.send(&node, coordinator).await,
            None => INTERVAL,
        };
        if let Some(reason) = node.membership.refused_for_good() {
            return Some(reason);
        }
        probing.look(&node);
        tokio::select! {
            biased;
            () = node.membership.wake.notified() => {}
            () = sleep(pause) => {}
        }
    }
    None
}

/// When a disk that failed is tried again.
#[derive(Default)]
struct Probing {
    due: Option<Instant>,
    pause: Duration,
}

impl Probing {
    /// Sets a probe of the node's disk going if one is due.
    fn look(&mut self, node: &Arc<Node>) {
        if node.store.trouble().is_none() {
            *self = Self::default();
            return;
        }
        let now = Instant::now();
        match self.due {
            Some(due) if now < due => return,
            Some(_) => {
                let node = Arc::clone(node);
                node.env.clone().spawn(async move {
                    let (store, membership) =
                        (Arc::clone(&node.store), Arc::clone(&node.membership));
                    let probe = move || {
                        membership.mend_identity();
                        store.probe();
                    };
                    node.on_disk(probe).await;
                });
            }
            None => {}
        }
        self.pause = (self.pause * 2).clamp(PROBE_PAUSE_MIN, PROBE_PAUSE_MAX);
        self.due = Some(now + self.pause);
    }
}

impl Beat {
    /// Sends one heartbeat; says how long to wait before the next.
    async fn send(&mut self, node: &Arc<Node>, coordinator: String) -> Duration {
        if self.coordinator.as_ref() != Some(&coordinator) {
            *self = Self { coordinator: Some(coordinator.clone()), ..Self::default() };
        }
        let sent = Instant::now();
        let error = match self.exchange(node, &coordinator).await {
            Ok(reply) => match node.membership.acknowledged(&reply, sent) {
                Ok(true) => {
                    let is_first = self.succeeded(node, &reply);
                    // The lease counts once an answer is confirmed: the first
                    // one is at once.
                    let pause = if is_first { Duration::ZERO } else { INTERVAL };
                    return pause.saturating_sub(sent.elapsed());
                }
                // An adoption is under way, and wakes this task.
                Ok(false) => {
                    node.membership.was_not_refused();
                    return self.is_not_adopted(&reply);
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        self.failed(node, &coordinator, &error)
    }

    async fn exchange(&self, node: &Arc<Node>, coordinator: &str) -> Result<HeartbeatReply> {
        let heartbeat = node.heartbeat(self.known_version, self.refuses.clone()).await;
        let call = node.env.peers.coordinator(coordinator);
        timeout(INTERVAL, call.heartbeat(heartbeat)).await.unwrap_or_else(|_| {
            let text = format!("no answer within {} s", INTERVAL.as_secs());
            Err(Error::new(Kind::Unavailable, text))
        })
    }

    /// Notes an answer. Returns true for the first one in a row.
    fn succeeded(&mut self, node: &Node, reply: &HeartbeatReply) -> bool {
        let is_first = !std::mem::replace(&mut self.is_answered, true);
        if self.failures > 0 {
            tracing::info!(node = %node.settings.id, "coordinator reached again");
        }
        (self.failures, self.unadopted) = (0, 0);
        self.refuses = None;
        self.known_version = reply.known_version;
        is_first
    }

    /// Notes an answer of a run that the node does not obey yet. Adoptions
    /// that fail again and again are not asked for more often than usual.
    fn is_not_adopted(&mut self, reply: &HeartbeatReply) -> Duration {
        self.known_version = reply.known_version;
        self.unadopted = self.unadopted.saturating_add(1);
        doubled(self.unadopted)
    }

    fn failed(&mut self, node: &Node, coordinator: &str, error: &Error) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.is_answered = false;
        let id = &node.settings.id;
        self.refuses = (error.kind == Kind::StaleEpoch).then(|| error.message.clone());
        if error.kind == Kind::WrongIdentity {
            self.known_version = None;
            if node.membership.set_refused(error.message.clone()) {
                tracing::warn!(node = %id, coordinator, "refused by the coordinator: {error}");
            }
            return self.pause(node);
        }
        node.membership.was_not_refused();
        if self.failures == 1 {
            tracing::warn!(node = %id, coordinator, "heartbeat failed: {error}");
        } else {
            tracing::debug!(node = %id, coordinator, failures = self.failures,
                "heartbeat failed: {error}");
        }
        self.pause(node)
    }

    /// How long to wait after the latest failure in a row.
    fn pause(&self, node: &Node) -> Duration {
        let pause = doubled(self.failures);
        // Nodes of one cluster do not come back all at once.
        let jitter_ms = node.env.random.next_u64() % (RETRY_AFTER_MIN.as_millis() as u64);
        (pause + Duration::from_millis(jitter_ms)).min(INTERVAL)
    }
}

/// The pause after so many failures in a row.
fn doubled(failures: u32) -> Duration {
    RETRY_AFTER_MIN.saturating_mul(1 << failures.min(8).saturating_sub(1)).min(INTERVAL)
}

impl Node {
    /// What the node says of itself now.
    async fn heartbeat(
        self: &Arc<Self>,
        known_version: Option<u64>,
        refuses: Option<String>,
    ) -> Heartbeat {
        self.look_at_volume().await;
        let space = self.space_lately().await;
        let (digest, changes) = self.store.inventory_since(known_version);
        Heartbeat {
            info: self.membership.info(),
            joins: self.settings.join.is_some(),
            allegiance: self.membership.allegiance(),
            confirms: self.membership.confirms(),
            space,
            digest,
            changes,
            // A coordinator that hears this does not refuse the node: why an
            // earlier one did is not told.
            trouble: self.volume.trouble().or(self.store.trouble()),
            is_volume_gone: self.volume.is_gone(),
            refuses,
        }
    }
}
