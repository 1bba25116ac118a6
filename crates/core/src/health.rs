//! Which nodes are there: from the time since they were heard.
//!
//! `now_ms` counts from the coordinator's start, by a clock that never jumps.
//! Nothing here is logged: after a restart every node is unknown until it is
//! heard, and unknown is not offline.

use std::time::Duration;

use crate::id::SessionId;

/// How often a node speaks.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
/// Missed heartbeats after which a node is suspect.
pub const MISSED_FOR_SUSPECT: u64 = 2;
/// Missed heartbeats after which a node is offline.
pub const MISSED_FOR_OFFLINE: u64 = 4;

const INTERVAL_MS: u64 = 3_000;
/// A node that was silent for longer than this is suspect.
pub const SUSPECT_AFTER_MS: u64 = MISSED_FOR_SUSPECT * INTERVAL_MS;
/// A node that was silent for longer than this is offline.
pub const OFFLINE_AFTER_MS: u64 = MISSED_FOR_OFFLINE * INTERVAL_MS;

/// What is known of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeState {
    /// Not heard since the coordinator started.
    Unknown,
    /// Heard in time.
    Online,
    /// Missed two heartbeats.
    Suspect,
    /// Missed four heartbeats.
    Offline,
    /// Said that it stops.
    Absent,
    /// Heard in time, and its volume is gone: none of its copies can be read.
    NoVolume,
    /// Heard in time, and nobody can connect to it.
    CutOff,
}

/// When one node was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// When the coordinator came to know the node: its own start, or later.
    known_ms: u64,
    heard_ms: Option<u64>,
    /// The run that said that it stops, and when.
    left: Option<(SessionId, u64)>,
    /// Since when its volume is gone, by its own word.
    volume_gone_ms: Option<u64>,
    /// Since when it cannot be connected to.
    cut_off_ms: Option<u64>,
}

impl Health {
    /// A node that the coordinator came to know at `now_ms` and has not heard.
    #[must_use]
    pub fn new(now_ms: u64) -> Self {
        Self {
            known_ms: now_ms,
            heard_ms: None,
            left: None,
            volume_gone_ms: None,
            cut_off_ms: None,
        }
    }

    /// The node was heard. A heartbeat that was overtaken by the same run's
    /// goodbye changes nothing.
    pub fn heard(&mut self, now_ms: u64, session: SessionId) {
        if self.left.is_some_and(|(gone, _)| gone == session) {
            return;
        }
        self.left = None;
        self.heard_ms = Some(now_ms);
    }

    /// The node reported that its volume is there, or gone.
    pub fn volume_is_gone(&mut self, is_gone: bool, now_ms: u64) {
        self.volume_gone_ms = is_gone.then(|| self.volume_gone_ms.unwrap_or(now_ms));
    }

    /// A connection to the node was made, or could not be.
    pub fn is_cut_off(&mut self, is_cut_off: bool, now_ms: u64) {
        self.cut_off_ms = is_cut_off.then(|| self.cut_off_ms.unwrap_or(now_ms));
    }

    /// For `ms` up to now nobody could be heard, and that is not the node's
    /// doing: its silence counts that much less.
    pub fn excuse(&mut self, ms: u64, now_ms: u64) {
        self.known_ms = self.known_ms.saturating_add(ms).min(now_ms);
        self.heard_ms = self.heard_ms.map(|heard| heard.saturating_add(ms).min(now_ms));
    }

    /// The node said that this run of it stops.
    pub fn left(&mut self, now_ms: u64, session: SessionId) {
        self.left = Some((session, now_ms));
    }

    /// When it was last heard.
    #[must_use]
    pub fn heard_ms(&self) -> Option<u64> {
        self.heard_ms
    }

    /// What is known of it now.
    #[must_use]
    pub fn state(&self, now_ms: u64) -> NodeState {
        if self.left.is_some() {
            return NodeState::Absent;
        }
        let Some(heard_ms) = self.heard_ms else {
            return NodeState::Unknown;
        };
        match now_ms.saturating_sub(heard_ms) {
            silent_ms if silent_ms > OFFLINE_AFTER_MS => NodeState::Offline,
            _ if self.volume_gone_ms.is_some() => NodeState::NoVolume,
            _ if self.cut_off_ms.is_some() => NodeState::CutOff,
            silent_ms if silent_ms > SUSPECT_AFTER_MS => NodeState::Suspect,
            _ => NodeState::Online,
        }
    }

    /// Since when its copies cannot be read: it is offline or absent, its
    /// volume is gone, or it is cut off.
    #[must_use]
    pub fn gone_since_ms(&self, now_ms: u64) -> Option<u64> {
        match self.state(now_ms) {
            NodeState::Offline | NodeState::Absent | NodeState::NoVolume | NodeState::CutOff => {
                Some(self.gone_ms())
            }
            NodeState::Unknown | NodeState::Online | NodeState::Suspect => None,
        }
    }

    /// True once a node that was never heard had its time: it is as good as
    /// offline.
    #[must_use]
    pub fn is_overdue(&self, now_ms: u64) -> bool {
        self.heard_ms.is_none() && now_ms > self.known_ms.saturating_add(OFFLINE_AFTER_MS)
    }

    /// When its copies are given up for lost, if it is not heard before.
    ///
    /// A node that was never heard gets the time in which it would have gone
    /// offline, and the repair delay, from when it came to be known: a
    /// coordinator that starts before its nodes repairs nothing.
    #[must_use]
    pub fn repair_due_ms(&self, repair_after_ms: u64) -> u64 {
        self.gone_ms().saturating_add(repair_after_ms)
    }

    /// Whether its copies are given up for lost.
    #[must_use]
    pub fn is_due_for_repair(&self, now_ms: u64, repair_after_ms: u64) -> bool {
        now_ms > self.repair_due_ms(repair_after_ms)
    }

    /// When it went or, if nothing more is heard, will have gone.
    fn gone_ms(&self) -> u64 {
        let silent_ms = match (self.left, self.heard_ms) {
            (Some((_, left_ms)), _) => left_ms,
            (None, Some(heard_ms)) => heard_ms.saturating_add(OFFLINE_AFTER_MS),
            (None, None) => self.known_ms.saturating_add(OFFLINE_AFTER_MS),
        };
        let gone = [self.volume_gone_ms, self.cut_off_ms].into_iter().flatten();
        gone.fold(silent_ms, u64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: SessionId = SessionId(7);
    const REPAIR_AFTER_MS: u64 = 60_000;

    #[test]
    fn the_interval_is_the_same_in_both_units() {
        assert_eq!(u128::from(INTERVAL_MS), HEARTBEAT_INTERVAL.as_millis());
    }

    #[test]
    fn a_silent_node_is_suspect_after_two_and_offline_after_four_missed_heartbeats() {
        let mut health = Health::new(0);
        health.heard(1_000, RUN);
        for (now_ms, state) in [
            (1_000, NodeState::Online),
            (7_000, NodeState::Online),
            (7_001, NodeState::Suspect),
            (13_000, NodeState::Suspect),
            (13_001, NodeState::Offline),
        ] {
            assert_eq!(health.state(now_ms), state, "at {now_ms}");
        }
        assert_eq!(health.gone_since_ms(13_000), None);
        assert_eq!(health.gone_since_ms(20_000), Some(13_000));
        health.heard(20_000, RUN);
        assert_eq!(health.state(20_000), NodeState::Online);
    }

    #[test]
    fn repair_is_due_one_delay_after_a_node_went_offline() {
        let mut health = Health::new(0);
        health.heard(1_000, RUN);
        assert_eq!(health.repair_due_ms(REPAIR_AFTER_MS), 73_000);
        assert!(!health.is_due_for_repair(73_000, REPAIR_AFTER_MS));
        assert!(health.is_due_for_repair(73_001, REPAIR_AFTER_MS));
        health.heard(73_001, RUN);
        assert!(!health.is_due_for_repair(73_001, REPAIR_AFTER_MS));
    }

    #[test]
    fn a_node_that_was_never_heard_is_unknown_and_not_soon_given_up() {
        let health = Health::new(5_000);
        assert_eq!(health.state(1_000_000), NodeState::Unknown);
        assert!(!health.is_due_for_repair(77_000, REPAIR_AFTER_MS));
        assert!(health.is_due_for_repair(77_001, REPAIR_AFTER_MS));
    }

    #[test]
    fn a_volume_that_is_gone_counts_from_its_first_report_and_is_back_with_another() {
        let mut health = Health::new(0);
        for (now_ms, is_gone) in [(1_000, false), (4_000, true), (7_000, true)] {
            health.heard(now_ms, RUN);
            health.volume_is_gone(is_gone, now_ms);
        }
        assert_eq!(health.state(7_000), NodeState::NoVolume);
        assert_eq!(health.gone_since_ms(7_000), Some(4_000));
        health.heard(64_001, RUN);
        assert!(health.is_due_for_repair(64_001, REPAIR_AFTER_MS), "one delay after it went");
        health.volume_is_gone(false, 64_001);
        assert_eq!(health.state(64_001), NodeState::Online);
        assert!(!health.is_due_for_repair(64_001, REPAIR_AFTER_MS));
    }

    #[test]
    fn a_node_that_is_cut_off_is_gone_though_it_is_heard() {
        let mut health = Health::new(0);
        health.heard(4_000, RUN);
        health.is_cut_off(true, 4_000);
        assert_eq!(health.state(4_000), NodeState::CutOff);
        assert_eq!(health.gone_since_ms(4_000), Some(4_000));
        assert_eq!(health.state(17_000), NodeState::Offline, "silence weighs more");
        health.heard(17_000, RUN);
        health.is_cut_off(false, 17_000);
        assert_eq!(health.state(17_000), NodeState::Online);
    }

    #[test]
    fn a_polite_goodbye_counts_from_itself_and_outlives_late_heartbeats_of_its_run() {
        let mut health = Health::new(0);
        health.heard(1_000, RUN);
        health.left(2_000, RUN);
        health.heard(2_001, RUN);
        assert_eq!(health.state(2_001), NodeState::Absent);
        assert_eq!(health.gone_since_ms(2_001), Some(2_000));
        assert!(health.is_due_for_repair(62_001, REPAIR_AFTER_MS));
        health.heard(3_000, SessionId(8));
        assert_eq!(health.state(3_000), NodeState::Online);
    }
}
