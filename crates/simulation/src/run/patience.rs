//! L4: how long a client may take while little is wrong.
//!
//! A client that waits for a node which it does not need, or does not ask one
//! that would answer, still gets its bytes in the end. Only the time shows it.
//! An operation is judged when one known trouble, and nothing else, went on
//! from its beginning to its end.

use std::time::Duration;

use dfs_core::data::frame::FRAME_SIZE;
use dfs_core::policy::ParitySpec;

use super::guard::Only;
use super::hard::SMALL_LIMITS;
use super::state::Run;
use crate::net::Link;
use crate::scenario::{Act, Op};

/// How much longer than with the other nodes alone a read may take beside a
/// slow one. It waits 0.5 s for the first frame of a source, asks the next one
/// as well, and may do so anew for a few frames of each chunk. The longest of
/// 1,500 such reads took 3.2 s.
const READ_DETOUR_MAX: Duration = Duration::from_secs(4);
/// The same for a put. A copy is set aside once it is 1.5 s behind, and is sent
/// to another node as well when it is not durable 3 s after its last frame;
/// one put may meet both. The longest of 560 such puts took 3.0 s.
const PUT_DETOUR_MAX: Duration = Duration::from_secs(6);
/// The same where a chunk has one copy and its stripe no parity: nothing tells
/// then that its node is slower than others, until a write has stood still for
/// 8 s.
const LONE_PUT_DETOUR_MAX: Duration = Duration::from_secs(12);
/// How long a read may take where nothing is wrong but that the coordinator
/// does not hear some nodes. Clients reach these nodes, which answer within
/// milliseconds, and the coordinator waits up to a second for its lead before
/// it answers that what it says may be old. A reader that asks such a node
/// only once it is called offline waits up to 6 s.
const UNHEARD_READ_TIME_MAX: Duration = Duration::from_secs(2);

impl Run<'_> {
    /// L4: an operation took `took`, and `only` was wrong all the time.
    pub(super) fn check_time(&self, op: &Op, only: Only, took: Duration) {
        // Hard places hold up calls and answers.
        if self.scenario.hard.iter().any(|place| place != SMALL_LIMITS) {
            return;
        }
        let (time_max, why) = match only {
            Only::OneIsSlow => (self.time_beside_a_slow_node(op), "one node is slow"),
            Only::SomeAreUnheard => (
                self.time_beside_unheard_nodes(op.act),
                "the coordinator does not hear some nodes, which answer clients",
            ),
        };
        if time_max.is_some_and(|time_max| took > time_max) {
            let (act, name) = (op.act.name(), &op.name);
            self.violates("L4", format!("a {act} of {name} took {took:?}, and only {why}"));
        }
    }

    /// The longest time for an operation beside a slow node; `None` where a
    /// client cannot go around that node.
    fn time_beside_a_slow_node(&self, op: &Op) -> Option<Duration> {
        let cluster = &self.scenario.cluster;
        if !matches!(op.act, Act::Put | Act::Replace) {
            let longest = self.contents.borrow().iter().max().copied();
            return Some(READ_DETOUR_MAX + time_to_move(longest.unwrap_or(0) as u64));
        }
        // A node that was slow counts as that for a while.
        let slow = self.guard.borrow().ever_slow.len();
        let copies = u64::from(cluster.replication) + 1;
        let bytes = copies * op.size.map_or(0, |size| size.0);
        let is_lone = cluster.replication == 1 && cluster.parity == ParitySpec::None;
        let detour = if is_lone { LONE_PUT_DETOUR_MAX } else { PUT_DETOUR_MAX };
        cluster.spares(slow).then(|| detour + time_to_move(bytes))
    }

    /// The longest time for `act` beside nodes that only clients hear; `None`
    /// for a change, which may have to wait for a majority of the nodes.
    fn time_beside_unheard_nodes(&self, act: Act) -> Option<Duration> {
        matches!(act, Act::Get | Act::GetRange).then_some(UNHEARD_READ_TIME_MAX)
    }
}

/// Returns how long so many bytes take, frame after frame, with nodes whose
/// links are as usual.
fn time_to_move(bytes: u64) -> Duration {
    let Link { latency_us, jitter_us, .. } = Link::default();
    let frames = 1 + bytes.div_ceil(FRAME_SIZE as u64);
    Duration::from_micros(frames * (latency_us + jitter_us))
}
