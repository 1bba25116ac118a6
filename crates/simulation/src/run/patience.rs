//! L4: how long a client may take while little is wrong.
//!
//! A client that waits for a node which it does not need, or does not ask one
//! that would answer, still gets its bytes in the end. Only the time shows it.
//! An operation is judged when one known trouble, and nothing else, went on
//! from its beginning to its end.

use std::time::Duration;

use super::guard::Only;
use super::hard::SMALL_LIMITS;
use super::state::Run;
use crate::scenario::{Act, Op};

/// How long a read may take where nothing is wrong but one slow node.
const READ_TIME_MAX: Duration = Duration::from_secs(4);
/// The same for a put. One that knows no other node's pace waits for 8 s
/// until a write that stands still counts as failed.
const PUT_TIME_MAX: Duration = Duration::from_secs(12);
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
            Only::OneIsSlow => (self.time_beside_a_slow_node(op.act), "one node is slow"),
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

    /// The longest time for `act` beside a slow node; `None` where a client
    /// cannot go around that node.
    fn time_beside_a_slow_node(&self, act: Act) -> Option<Duration> {
        if !matches!(act, Act::Put | Act::Replace) {
            return Some(READ_TIME_MAX);
        }
        // A node that was slow counts as that for a while.
        let slow = self.guard.borrow().ever_slow.len();
        self.scenario.cluster.spares(slow).then_some(PUT_TIME_MAX)
    }

    /// The longest time for `act` beside nodes that only clients hear; `None`
    /// for a change, which may have to wait for a majority of the nodes.
    fn time_beside_unheard_nodes(&self, act: Act) -> Option<Duration> {
        matches!(act, Act::Get | Act::GetRange).then_some(UNHEARD_READ_TIME_MAX)
    }
}
