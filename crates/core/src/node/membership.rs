//! Whose node this is: cluster, epoch and coordinator, and whether it may
//! take chunks now.
//!
//! What is remembered is durable before it has an effect. A node serves one
//! cluster for ever, heeds no order of an epoch below the highest heard, and
//! takes no chunk while it cannot reach its coordinator.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::identity::Identity;
use super::role::NodeSettings;
use crate::api::{Adopt, Context, Error, HeartbeatReply, Kind, NodeInfo, Result};
use crate::env::{Disk, Env, Work, run};
use crate::health::OFFLINE_AFTER_MS;
use crate::id::{ClusterId, Epoch, SessionId};
use crate::mutant::{Mutant, is_planted};

/// A node that was not acknowledged for this long takes no chunks: by now its
/// coordinator counts it as offline.
const ISOLATED_AFTER: Duration = Duration::from_millis(OFFLINE_AFTER_MS);

/// The longest address of a coordinator, in bytes: a DNS name and a port.
const ADDRESS_BYTES_MAX: usize = 260;

/// Cluster, epoch and coordinator of one node.
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
    /// Where heartbeats go: what the operator said, until a coordinator says
    /// otherwise.
    coordinator: Option<String>,
    /// When the coordinator last spoke to the node or answered it.
    contact: Option<Instant>,
    /// Why the coordinator refuses the node, while it does.
    refused: Option<String>,
    has_left: bool,
}

impl Membership {
    pub(super) fn new(env: Env, settings: NodeSettings, identity: Identity) -> Self {
        let session = SessionId(env.random.next_u64());
        let coordinator = settings.join.clone().or_else(|| identity.coordinator.clone());
        let state = State { identity, coordinator, contact: None, refused: None, has_left: false };
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
        self.state().refused.clone()
    }

    /// Takes the coordinator's hello.
    pub(super) async fn adopt(self: &Arc<Self>, request: Adopt) -> Result<NodeInfo> {
        let Adopt { context, coordinator } = request;
        check_address(&coordinator)?;
        let address = coordinator.clone();
        self.save(move |identity| {
            check_cluster(identity, context.cluster, true)?;
            check_epoch(identity, context.epoch)?;
            identity.cluster = Some(context.cluster);
            identity.epoch = context.epoch;
            identity.coordinator = Some(coordinator);
            Ok(())
        })
        .await?;
        {
            let mut state = self.state();
            state.contact = Some(Instant::now());
            state.coordinator = Some(address);
        }
        self.wake.notify_one();
        tracing::info!(node = %self.settings.id, cluster = %context.cluster, epoch = %context.epoch,
            "adopted");
        Ok(self.info())
    }

    /// Refuses readers of another cluster.
    pub(super) fn check_reader(&self, cluster: ClusterId) -> Result<()> {
        check_cluster(&self.state().identity, cluster, false)
    }

    /// Refuses orders of another cluster or of an epoch that is over, and
    /// remembers a higher one.
    pub(super) async fn check_order(self: &Arc<Self>, context: Context) -> Result<()> {
        let known = {
            let state = self.state();
            check_cluster(&state.identity, context.cluster, false)?;
            check_epoch(&state.identity, context.epoch)?;
            state.identity.epoch
        };
        if context.epoch == known {
            return Ok(());
        }
        self.save(move |identity| {
            check_epoch(identity, context.epoch)?;
            identity.epoch = context.epoch;
            Ok(())
        })
        .await
    }

    /// Refuses new chunks while the node has no coordinator.
    pub(super) fn check_takes_chunks(&self) -> Result<()> {
        let state = self.state();
        let id = &state.identity.id;
        if let Some(reason) = &state.refused {
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

    /// Takes the coordinator's answer to a heartbeat that was sent at `sent`.
    pub(super) async fn acknowledged(
        self: &Arc<Self>,
        reply: &HeartbeatReply,
        coordinator: &str,
        sent: Instant,
    ) -> Result<()> {
        let Context { cluster, epoch } = reply.context;
        // An adoption that came in between knows better.
        let address = self.coordinator().or_else(|| Some(coordinator.to_owned()));
        let is_known = {
            let identity = &self.state().identity;
            let known = (identity.cluster, identity.epoch, &identity.coordinator);
            known == (Some(cluster), epoch, &address)
        };
        // A slow disk is not asked for what it has been told.
        if is_known {
            self.heard_at(sent);
            return Ok(());
        }
        self.save(move |identity| {
            check_cluster(identity, cluster, true)?;
            check_epoch(identity, epoch)?;
            identity.cluster = Some(cluster);
            identity.epoch = epoch;
            identity.coordinator = address;
            Ok(())
        })
        .await?;
        self.heard_at(sent);
        Ok(())
    }

    /// The coordinator answered a heartbeat that was sent at `sent`.
    fn heard_at(&self, sent: Instant) {
        let mut state = self.state();
        state.contact = state.contact.max(Some(sent));
        if state.refused.take().is_some() {
            tracing::info!(node = %self.settings.id, "no longer refused by its coordinator");
        }
    }

    /// Notes why the coordinator refuses the node; true when that is news.
    pub(super) fn set_refused(&self, reason: String) -> bool {
        let mut state = self.state();
        let is_news = state.refused.as_ref() != Some(&reason);
        state.refused = Some(reason);
        is_news
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

fn check_epoch(identity: &Identity, epoch: Epoch) -> Result<()> {
    if epoch >= identity.epoch || is_planted(Mutant::StaleEpoch) {
        return Ok(());
    }
    Err(Error::new(
        Kind::StaleEpoch,
        format!(
            "node {} has heard of epoch {}, this order is of epoch {epoch}: \
             a newer coordinator has taken over",
            identity.id, identity.epoch
        ),
    ))
}

/// Checks that the folder is still the node's own. A mount point whose volume
/// is gone must not be made into a folder of this node, an empty one; an
/// identity that is damaged is written anew.
fn check_folder(disk: &dyn Disk, identity: &Identity) -> Result<()> {
    if Identity::is_still(disk, identity.folder) {
        return Ok(());
    }
    let text = format!(
        "node {}: the data folder is not the one that it was started with: is its disk mounted?",
        identity.id
    );
    Err(Error::new(Kind::Unavailable, text))
}
