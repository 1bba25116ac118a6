//! The node's cluster, run and coordinator, and whether it may take chunks
//! now.
//!
//! An adoption is durable before it has an effect. A node serves one cluster
//! for ever, obeys exactly the run that it adopted, and takes no chunk while it
//! cannot reach its coordinator. `allegiance` decides who may adopt it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::allegiance::{Lease, check_adoption, check_order, check_renewal};
use super::identity::Identity;
use super::refusals::Refusals;
use super::role::NodeSettings;
use crate::api::{
    Adopt, Allegiance, Context, Error, HeartbeatReply, Hello, Kind, NodeInfo, Result, Told,
};
use crate::env::{Disk, Env, Work, run};
use crate::health::OFFLINE_AFTER_MS;
use crate::id::{ClusterId, Handle, Run, SessionId};

/// A node that was not acknowledged for this long takes no chunks: by now its
/// coordinator counts it as offline.
const ISOLATED_AFTER: Duration = Duration::from_millis(OFFLINE_AFTER_MS);

/// The most by which a chunk's handle may lie above all numbers that the node
/// was told of: more than a cluster hands out between two heartbeats.
const HANDLES_AHEAD_MAX: u64 = 1 << 20;

/// The longest address of a coordinator, in bytes: a DNS name and a port.
const ADDRESS_BYTES_MAX: usize = 260;

/// Cluster, run and coordinator of one node.
pub(super) struct Membership {
    env: Env,
    settings: NodeSettings,
    session: SessionId,
    state: Mutex<State>,
    /// Held while the identity file is replaced, so that replacements queue.
    saving: Mutex<()>,
    /// Woken when the node was adopted, for a heartbeat, and when it leaves.
    pub(super) wake: Notify,
}

struct State {
    identity: Identity,
    /// The latest position and numbers that it was told of. The identity on
    /// disk follows, at most one heartbeat later.
    position: u64,
    numbers_end: u64,
    lease: Lease,
    /// The run whose adoption is being made durable: no other run may renew
    /// its lease meanwhile.
    adopting: Option<Run>,
    /// True after the adopted run ended its lease: its late answers grant none.
    is_released: bool,
    /// The last answer of the adopted run, for its next heartbeat.
    confirms: Option<u64>,
    /// Where heartbeats go: what the operator said, until a coordinator says
    /// otherwise.
    coordinator: Option<String>,
    /// When the coordinator last spoke to the node or answered it.
    contact: Option<Instant>,
    refusals: Refusals,
    has_left: bool,
}

impl Membership {
    pub(super) fn new(env: Env, settings: NodeSettings, identity: Identity) -> Self {
        let session = SessionId(env.random.next_u64());
        let coordinator = settings.join.clone().or_else(|| identity.coordinator.clone());
        // Which leases it had granted, it does not remember: it waits one.
        let lease = Lease::after_start(identity.told.run, Instant::now());
        let state = State {
            position: identity.told.position,
            numbers_end: identity.numbers_end,
            lease,
            adopting: None,
            is_released: false,
            confirms: None,
            identity,
            coordinator,
            contact: None,
            refusals: Refusals::default(),
            has_left: false,
        };
        let state = Mutex::new(state);
        let (saving, wake) = (Mutex::new(()), Notify::new());
        Self { env, settings, session, state, saving, wake }
    }

    /// Who the node is.
    pub(super) fn info(&self) -> NodeInfo {
        let identity = self.state().identity.clone();
        NodeInfo {
            id: identity.id,
            folder: identity.folder,
            session: self.session,
            address: self.settings.address.clone(),
            zone: self.settings.zone.clone(),
            cluster: identity.cluster,
            replaces: self.settings.replace,
            version: self.settings.version.clone(),
        }
    }

    /// Where to send heartbeats, once that is known.
    pub(super) fn coordinator(&self) -> Option<String> {
        self.state().coordinator.clone()
    }

    /// Why the coordinator refuses the node, while it does.
    pub(super) fn refused(&self) -> Option<String> {
        self.state().refusals.reason().map(str::to_owned)
    }

    /// Who the node is and which run it obeys.
    pub(super) fn hello(&self) -> Hello {
        Hello { info: self.info(), allegiance: self.allegiance() }
    }

    /// The run that the node obeys, and what that told it last.
    pub(super) fn allegiance(&self) -> Allegiance {
        let state = self.state();
        let identity = &state.identity;
        Allegiance {
            told: Told { run: identity.told.run, position: state.position },
            since_ms: identity.since_ms,
            coordinator: identity.coordinator.clone(),
            numbers_end: state.numbers_end,
            leased_ms: state.lease.left_ms(Instant::now()),
        }
    }

    /// The last answer of the adopted run, for the next heartbeat to confirm.
    pub(super) fn confirms(&self) -> Option<u64> {
        self.state().confirms
    }

    /// Lets a run take the node over, where `allegiance` allows it.
    pub(super) async fn adopt(self: &Arc<Self>, request: Adopt) -> Result<NodeInfo> {
        let run = request.context.run;
        check_address(&request.coordinator)?;
        let is_new = {
            let mut state = self.state();
            check_cluster(&state.identity, request.context.cluster, true)?;
            if let Some(other) = state.adopting.filter(|other| *other != run) {
                let text =
                    format!("node {} is just being adopted by run {other}", self.settings.id);
                return Err(Error::new(Kind::Unavailable, text));
            }
            check_adoption(&state.identity, &request, &state.lease, Instant::now())?;
            state.adopting = Some(run);
            state.identity.told.run != run
        };
        // The caller may go away while a slow disk saves: then another run
        // must be able to adopt the node.
        let _adopting = Adopting(self);
        let now_ms = self.env.wall.now_ms();
        let Adopt { context, coordinator, position, numbers_end, .. } = request;
        let address = coordinator.clone();
        let saved = self
            .save(move |identity| {
                if identity.told.run != context.run {
                    identity.told = Told { run: context.run, position };
                    identity.since_ms = now_ms;
                }
                identity.cluster = Some(context.cluster);
                identity.numbers_end = identity.numbers_end.max(numbers_end);
                identity.coordinator = Some(coordinator);
                Ok(())
            })
            .await;
        {
            let mut state = self.state();
            saved?;
            if is_new {
                (state.position, state.confirms) = (position, None);
            }
            state.numbers_end = state.numbers_end.max(numbers_end);
            state.lease = Lease::granted(Instant::now());
            state.is_released = false;
            state.contact = Some(Instant::now());
            // Whoever refused it before is not the one that takes it over.
            state.refusals.taken_over();
            state.coordinator = Some(address);
        }
        self.wake.notify_one();
        if is_new {
            tracing::info!(node = %self.settings.id, cluster = %context.cluster, %run, "adopted");
        }
        Ok(self.info())
    }

    /// Ends the lease of the run that the node obeys.
    pub(super) fn release(&self, context: Context) -> Result<()> {
        let mut state = self.state();
        check_cluster(&state.identity, context.cluster, false)?;
        check_order(&state.identity, context.run)?;
        state.lease = Lease::default();
        state.is_released = true;
        // Without a contact it takes no chunks: nobody is there to count them.
        state.contact = None;
        Ok(())
    }

    /// Refuses readers of another cluster.
    pub(super) fn check_reader(&self, cluster: ClusterId) -> Result<()> {
        check_cluster(&self.state().identity, cluster, false)
    }

    /// Refuses orders of another cluster, and of every run but the one that the
    /// node adopted.
    pub(super) fn check_order(&self, context: Context) -> Result<()> {
        let state = self.state();
        check_cluster(&state.identity, context.cluster, false)?;
        check_order(&state.identity, context.run)
    }

    /// Refuses a handle that no coordinator can have handed out yet.
    pub(super) fn check_handle(&self, handle: Handle) -> Result<()> {
        let state = self.state();
        let numbers_end = state.numbers_end;
        if handle.0 < numbers_end.saturating_add(HANDLES_AHEAD_MAX) {
            return Ok(());
        }
        let text = format!(
            "node {} takes no chunk {handle}: its coordinator has handed out numbers below \
             {numbers_end} only",
            state.identity.id
        );
        Err(Error::new(Kind::Invalid, text))
    }

    /// Refuses new chunks while the node has no coordinator.
    pub(super) fn check_takes_chunks(&self) -> Result<()> {
        let state = self.state();
        let id = &state.identity.id;
        if let Some(reason) = state.refusals.reason() {
            let text = format!("node {id} takes no chunks: its coordinator refuses it: {reason}");
            return Err(Error::new(Kind::WrongIdentity, text));
        }
        if state.has_left {
            return Err(Error::new(Kind::Unavailable, format!("node {id} is stopping")));
        }
        match state.contact {
            Some(contact) if contact.elapsed() <= ISOLATED_AFTER => Ok(()),
            _ => Err(Error::new(
                Kind::Unavailable,
                format!(
                    "node {id} takes no chunks: no coordinator answered it for {} s; \
                     check that it can reach {}",
                    ISOLATED_AFTER.as_secs(),
                    state.identity.coordinator.as_deref().unwrap_or("its coordinator"),
                ),
            )),
        }
    }

    /// Takes the coordinator's answer to a heartbeat that was sent at `sent`:
    /// a lease, and how far the catalog is. Returns false for the answer of a
    /// coordinator that has not adopted the node yet.
    ///
    /// # Errors
    /// `WrongIdentity`; `StaleEpoch` when the coordinator's run is over.
    pub(super) fn acknowledged(
        self: &Arc<Self>,
        reply: &HeartbeatReply,
        sent: Instant,
    ) -> Result<bool> {
        let HeartbeatReply { context, answer, position, numbers_end, .. } = *reply;
        let is_behind = {
            let mut state = self.state();
            check_cluster(&state.identity, context.cluster, true)?;
            let is_ours = check_renewal(&state.identity, context.run)?;
            if !is_ours || state.is_released || state.adopting.is_some_and(|run| run != context.run)
            {
                return Ok(false);
            }
            state.lease = Lease::granted(Instant::now());
            state.confirms = Some(answer);
            state.position = state.position.max(position);
            state.numbers_end = state.numbers_end.max(numbers_end);
            state.contact = state.contact.max(Some(sent));
            if state.refusals.accepted() {
                tracing::info!(node = %self.settings.id, "no longer refused by its coordinator");
            }
            let identity = &state.identity;
            (identity.told.position, identity.numbers_end) != (state.position, state.numbers_end)
        };
        if is_behind {
            self.remember_position(context.run);
        }
        Ok(true)
    }

    /// Makes durable, in the background, how far the catalog is. A slow disk
    /// makes no heartbeat late, and a failing one is noticed elsewhere.
    fn remember_position(self: &Arc<Self>, run: Run) {
        let this = Arc::clone(self);
        self.env.spawn(async move {
            let (position, numbers_end) = {
                let state = this.state();
                (state.position, state.numbers_end)
            };
            let saved = this.save(move |identity| {
                if identity.told.run == run {
                    identity.told.position = identity.told.position.max(position);
                    identity.numbers_end = identity.numbers_end.max(numbers_end);
                }
                Ok(())
            });
            if let Err(error) = saved.await {
                tracing::debug!(node = %this.settings.id, %error, "the position was not saved");
            }
        });
    }

    /// Notes why the coordinator refuses the node; true when that is news.
    pub(super) fn set_refused(&self, reason: String) -> bool {
        self.state().refusals.refused(reason, Instant::now())
    }

    /// Notes that the coordinator did not answer, or for another reason than
    /// who the node is.
    pub(super) fn was_not_refused(&self) {
        self.state().refusals.not_refused();
    }

    /// Why this process can be of no use, where that is so.
    pub(super) fn refused_for_good(&self) -> Option<String> {
        let state = self.state();
        let reason = state.refusals.for_good(Instant::now())?;
        let at = state.coordinator.as_deref().unwrap_or("an unknown address");
        Some(format!("node {} is refused by the coordinator at {at}: {reason}", self.settings.id))
    }

    /// From now on the node takes no chunks and sends no heartbeats.
    pub(super) fn set_left(&self) {
        self.state().has_left = true;
        self.wake.notify_one();
    }

    /// True once the node is stopping.
    pub(super) fn has_left(&self) -> bool {
        self.state().has_left
    }

    /// Changes the identity: on disk first, then here.
    async fn save(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Identity) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let this = Arc::clone(self);
        run(&*self.env.pool, Work::Disk, move || {
            let _one_at_a_time = this.saving.lock().unwrap_or_else(PoisonError::into_inner);
            let before = this.state().identity.clone();
            let mut after = before.clone();
            change(&mut after)?;
            if after != before {
                check_folder(&*this.env.disk, &before)?;
                after.write(&*this.env.disk).map_err(|error| {
                    let text = format!("node {} cannot write its identity: {error}", after.id);
                    Error::new(Kind::Internal, text)
                })?;
                this.state().identity = after;
            }
            Ok(())
        })
        .await
    }

    /// Writes the identity anew when its file is there and cannot be read any
    /// more: a sector that died must not keep a good disk out. A mount point
    /// without its volume has no such file.
    pub(super) fn mend_identity(&self) {
        let _one_at_a_time = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let disk = &*self.env.disk;
        if !Identity::is_lost(disk) {
            return;
        }
        let identity = self.state().identity.clone();
        match identity.write(disk) {
            Ok(()) => tracing::warn!(node = %identity.id,
                "its identity could not be read any more, and was written anew"),
            Err(error) => tracing::debug!(node = %identity.id, %error,
                "its identity cannot be read, and not written anew yet"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_cluster(identity: &Identity, cluster: ClusterId, may_begin: bool) -> Result<()> {
    let id = &identity.id;
    match identity.cluster {
        Some(ours) if ours == cluster => Ok(()),
        None if may_begin => Ok(()),
        Some(ours) => Err(Error::new(
            Kind::WrongIdentity,
            format!(
                "node {id} belongs to cluster {ours}, not to {cluster}: \
                 give it an empty data folder to move it"
            ),
        )),
        None => Err(Error::new(
            Kind::WrongIdentity,
            format!(
                "node {id} belongs to no cluster yet: name it in the coordinator's --nodes, \
                 or start it with --join"
            ),
        )),
    }
}

/// Refuses an address that cannot be one: it is written into a line of text.
fn check_address(address: &str) -> Result<()> {
    let is_sound = |byte: u8| byte.is_ascii_graphic();
    let fits = (3..=ADDRESS_BYTES_MAX).contains(&address.len());
    if fits && address.contains(':') && address.bytes().all(is_sound) {
        return Ok(());
    }
    let text = format!("{address:?} is no address of a coordinator: host:port is expected");
    Err(Error::new(Kind::Invalid, text))
}

/// Checks that the folder is still the node's own. A mount point whose volume
/// is gone must not be made into a folder of this node, an empty one; an
/// identity that is there and damaged, or cannot be read, is written anew.
fn check_folder(disk: &dyn Disk, identity: &Identity) -> Result<()> {
    if Identity::is_still(disk, identity.folder) || Identity::is_lost(disk) {
        return Ok(());
    }
    let text = format!(
        "node {}: the data folder is not the one that it was started with: is its disk mounted?",
        identity.id
    );
    Err(Error::new(Kind::Internal, text))
}

/// An adoption that goes on. It ends with its call, answered or given up.
struct Adopting<'a>(&'a Membership);

impl Drop for Adopting<'_> {
    fn drop(&mut self) {
        self.0.state().adopting = None;
    }
}
