//! Heartbeats: checks who may join, and records the state that nodes report.

use super::role::Coordinator;
use crate::api::{Error, Heartbeat, HeartbeatReply, Kind, NodeInfo, NodeSpace, NodeState, Result};
use crate::catalog::{Command, MemberRecord};
use crate::health::SUSPECT_AFTER_MS;
use crate::id::{ClusterId, NodeId, NodeIndex, SessionId};
use crate::mark::{Mark, reached};
use crate::mutant::{Mutant, is_planted};

/// A capacity that differs by less than one part in this many is the same.
const CAPACITY_CHANGE_DIVISOR: u64 = 16;

impl Coordinator {
    /// See [`crate::api::CoordinatorService::heartbeat`].
    pub(super) async fn hear(&self, heartbeat: Heartbeat) -> Result<HeartbeatReply> {
        let info = &heartbeat.info;
        if info.cluster.is_none() && !heartbeat.joins {
            return Err(Error::new(
                Kind::WrongIdentity,
                format!("node {} is in no cluster: start it with --join", info.id),
            ));
        }
        self.check_address(info)?;
        let obeys_us = heartbeat.allegiance.told.run == self.context.run;
        if !obeys_us {
            if let Err(stranger) = self.check_kin(info, &heartbeat.allegiance) {
                self.note_stranger(&heartbeat);
                return Err(stranger);
            }
            if info.cluster.is_none() {
                self.register(info, Some(heartbeat.space)).await?;
            }
            self.note_spoken(info);
            self.adopt_soon(info.address.clone());
            if !self.is_unadoptable(info) {
                return Ok(self.reply(0, None));
            }
        }
        let index = self.register(info, Some(heartbeat.space)).await?;
        let now_ms = self.now_ms();
        let mut state = self.state();
        let members = &mut state.members;
        let Some(live) = members.live.get_mut(&index) else {
            return Err(Error::new(Kind::Unavailable, "the member was just removed".to_owned()));
        };
        live.health.heard(now_ms, info.session);
        live.session = Some(info.session);
        live.space = heartbeat.space;
        live.version.clone_from(&info.version);
        live.health.volume_is_gone(heartbeat.is_volume_gone, now_ms);
        live.trouble.clone_from(&heartbeat.trouble);
        live.refuses.clone_from(&heartbeat.refuses);
        if obeys_us {
            live.unadoptable = None;
        }
        let changes = heartbeat.changes.as_ref();
        let (session, digest) = (info.session, &heartbeat.digest);
        let known_version = members.presence.hear(index, session, digest, changes, now_ms);
        live.wants_inventory = known_version.is_none();
        drop(state);
        self.look_again_if_changed();
        if !obeys_us {
            return Ok(self.reply(0, known_version));
        }
        let (answer, confirmed_ms) = self.renew_lease(index, session, heartbeat.confirms);
        {
            let mut state = self.state();
            let members = &mut state.members;
            let is_current = members.presence.is_current(index, digest);
            if let Some(live) = members.live.get_mut(&index).filter(|_| is_current) {
                live.told_ms = live.told_ms.max(confirmed_ms);
            }
        }
        Ok(self.reply(answer, known_version))
    }

    /// True for a member that answers and cannot note that it is adopted. It
    /// grants no lease and heeds no order, but readers may read what it holds.
    fn is_unadoptable(&self, info: &NodeInfo) -> bool {
        let Some(index) = self.member_of(info) else { return false };
        let state = self.state();
        state.members.get(index).is_some_and(|live| live.unadoptable.is_some())
    }

    /// The member that a node is, by its name and its folder.
    fn member_of(&self, info: &NodeInfo) -> Option<NodeIndex> {
        self.door.peek(|catalog| {
            let member = catalog.member_by_id(&info.id)?;
            (member.folder == info.folder).then_some(member.index)
        })
    }

    /// Notes a member that knows a newer catalog. Readers may try this node, but
    /// the coordinator does not know which copies it holds.
    fn note_stranger(&self, heartbeat: &Heartbeat) {
        let info = &heartbeat.info;
        let Some(index) = self.member_of(info) else { return };
        let now_ms = self.now_ms();
        let mut state = self.state();
        if let Some(live) = state.members.live.get_mut(&index) {
            live.health.heard(now_ms, info.session);
            live.space = heartbeat.space;
            live.version.clone_from(&info.version);
            let run = heartbeat.allegiance.told.run;
            live.refuses = Some(format!("run {run}, which has a newer catalog"));
        }
    }

    /// Notes a heartbeat of a member that is not adopted yet.
    fn note_spoken(&self, info: &NodeInfo) {
        let Some(index) = self.member_of(info) else { return };
        let now_ms = self.now_ms();
        let mut state = self.state();
        if let Some(live) = state.members.live.get_mut(&index) {
            live.reach.note_spoken(now_ms, info.session);
            if live.reach.cut_off().is_some() {
                live.health.heard(now_ms, info.session);
            }
        }
    }

    fn reply(&self, answer: u64, known_version: Option<u64>) -> HeartbeatReply {
        HeartbeatReply {
            context: self.context,
            known_version,
            answer,
            position: self.door.position(),
            numbers_end: self.numbers_end(),
        }
    }

    /// The first number that was not set aside yet.
    pub(super) fn numbers_end(&self) -> u64 {
        self.door.peek(|catalog| catalog.cluster().map_or(0, |cluster| cluster.next_number))
    }

    /// Makes sure that the catalog knows a node as it is now.
    pub(super) async fn register(
        &self,
        info: &NodeInfo,
        space: Option<NodeSpace>,
    ) -> Result<NodeIndex> {
        let known = self.door.peek(|catalog| catalog.member_by_id(&info.id).cloned());
        if let Some(member) = &known {
            self.check_not_doubled(member, info)?;
        }
        let capacity = match (&known, space) {
            (Some(member), Some(space)) if is_close(member.capacity, space.total) => {
                member.capacity
            }
            (_, Some(space)) => space.total,
            (Some(member), None) => member.capacity,
            (None, None) => 0,
        };
        let is_known = known.as_ref().filter(|member| {
            member.folder == info.folder
                && member.address == info.address
                && member.zone == info.zone
                && member.capacity == capacity
        });
        if let Some(member) = is_known {
            // Whoever told the catalog may have hung up before this was noted,
            // or is just about to note it.
            let now_ms = self.now_ms();
            self.state().members.note_address(member.index, &info.address, now_ms);
            return Ok(member.index);
        }
        if known.is_none() {
            // A run that does not lead its members must not find new ones to
            // lead.
            self.wait_to_lead().await?;
        }
        let command = Command::SetMember {
            id: info.id.clone(),
            folder: info.folder,
            address: info.address.clone(),
            zone: info.zone.clone(),
            capacity,
            replaces: info.replaces,
        };
        let outcome = self.door.submit(command).await;
        if let (Err(error), Some(member)) = (&outcome, &known) {
            self.note_refused(member.index, &error.message);
        }
        let index = outcome?.member.ok_or_else(|| {
            Error::new(Kind::Internal, "the catalog gave the member no number".to_owned())
        })?;
        let now_ms = self.now_ms();
        let mut state = self.state();
        match known {
            Some(member) if member.folder == info.folder => {}
            Some(_) => {
                tracing::info!(node = %info.id, "a new data folder takes the place of an old one");
                state.members.presence.forget(index);
            }
            // Its answer to the hello and its first heartbeat may both be first.
            None if state.members.get(index).is_some() => {}
            None => tracing::info!(node = %info.id, address = %info.address, "a node joined"),
        }
        state.members.note_address(index, &info.address, now_ms);
        Ok(index)
    }

    /// Refuses a second process that speaks for a member while the first one
    /// does: a copied folder.
    fn check_not_doubled(&self, member: &MemberRecord, info: &NodeInfo) -> Result<()> {
        let now_ms = self.now_ms();
        let refusal = {
            let state = self.state();
            let Some(live) = state.members.get(member.index) else { return Ok(()) };
            let other = live.session.filter(|session| *session != info.session);
            let silent_ms = live.health.heard_ms().map(|heard| now_ms.saturating_sub(heard));
            match (other, silent_ms) {
                (Some(_), Some(silent_ms))
                    if !is_planted(Mutant::TakesDoubledNode)
                        && silent_ms <= SUSPECT_AFTER_MS
                        && live.health.state(now_ms) != NodeState::Absent
                        && live.address != info.address =>
                {
                    format!(
                        "two nodes call themselves {}: one at {} (which is heard), one at {}: stop \
                         one of them, and give every node a data folder of its own",
                        info.id, live.address, info.address
                    )
                }
                _ => return Ok(()),
            }
        };
        reached(Mark::DoubledRefused);
        self.note_refused(member.index, &refusal);
        Err(Error::new(Kind::WrongIdentity, refusal))
    }

    /// Refuses a node that advertises the address of another online node, because
    /// calls to that address reach the other node.
    fn check_address(&self, info: &NodeInfo) -> Result<()> {
        let now_ms = self.now_ms();
        let own = self.door.peek(|catalog| catalog.member_by_id(&info.id).map(|m| m.index));
        let other = self.state().members.iter().find_map(|(index, live)| {
            let has_it = Some(index) != own
                && live.address == info.address
                && live.health.state(now_ms) == NodeState::Online
                && live.session.is_some_and(|session| session != info.session);
            has_it.then_some(index)
        });
        let Some(other) = other else { return Ok(()) };
        let other = self.node_name(other);
        // A member that has just taken over the address only has to ask again.
        let kind = if own.is_some() { Kind::Unavailable } else { Kind::WrongIdentity };
        Err(Error::new(
            kind,
            format!(
                "node {} says that it is at {}, and node {other} answers there: give {} an \
                 --advertise address of its own",
                info.id, info.address, info.id
            ),
        ))
    }

    fn note_refused(&self, node: NodeIndex, reason: &str) {
        let now_ms = self.now_ms();
        let mut state = self.state();
        if let Some(live) = state.members.live.get_mut(&node) {
            if live.refused.as_ref().is_none_or(|(_, known)| known != reason) {
                tracing::warn!(reason, "a node was refused");
            }
            live.refused = Some((now_ms, reason.to_owned()));
        }
    }

    /// See [`crate::api::CoordinatorService::leave`].
    pub(super) fn see_off(
        &self,
        cluster: ClusterId,
        node: &NodeId,
        session: SessionId,
    ) -> Result<()> {
        if cluster != self.context.cluster {
            return Err(Error::new(
                Kind::WrongIdentity,
                format!("node {node} is of another cluster"),
            ));
        }
        let index = self.door.peek(|catalog| catalog.member_by_id(node).map(|m| m.index));
        let now_ms = self.now_ms();
        let mut state = self.state();
        let live = index.and_then(|index| state.members.live.get_mut(&index));
        if let Some(live) = live.filter(|live| live.session == Some(session)) {
            live.health.left(now_ms, session);
        }
        Ok(())
    }
}

fn is_close(one: u64, other: u64) -> bool {
    one.abs_diff(other) <= one / CAPACITY_CHANGE_DIVISOR && (one == 0) == (other == 0)
}
