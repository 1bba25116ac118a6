//! The clocks of this machine and the coordinator, and what the times of a
//! local and a stored file prove.
//!
//! A doubt is never taken for "the same": two times prove something only when
//! both clocks agree now, when no time lies in the future, and when the times
//! are further apart than the clocks can be.

use super::Way;
use crate::command::status;
use crate::console::Cluster;
use crate::exit::Failure;

/// How far two clocks may be apart, beside the time of the question that
/// compares them, and still count as one. A host that is synchronised is
/// within milliseconds; file systems keep times of up to 2 s.
const APART_MAX_MS: i64 = 2_000;

/// What times say of two files of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// The target is newer than the last change of the source.
    Same,
    /// The source was changed after the target was made.
    Differs,
    /// They prove nothing: contents must decide.
    Nothing,
}

/// When a local file was changed, by the clock of this machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changed {
    /// When its bytes were written, as far as it says.
    pub(super) modified_ms: i64,
    /// When it got its bytes, its name or its times; no program sets this.
    pub(super) changed_ms: i64,
}

/// How the two clocks stand to each other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    /// The coordinator's clock.
    now_ms: i64,
    /// How far the coordinator's clock is ahead of this machine's. 0 when
    /// the answer took longer than that.
    ahead_ms: i64,
    /// How far apart two times must be to have an order.
    margin_ms: i64,
}

impl Clocks {
    /// Asks the coordinator for its time.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub(super) async fn compare(cluster: &Cluster) -> Result<Self, Failure> {
        let (status, before_ms, after_ms) = status::ask_timed(cluster).await?;
        Ok(Self::of(before_ms, status.now_ms, after_ms))
    }

    /// From an answer that names the time `now_ms`, which was asked for and
    /// came at these times of this machine.
    fn of(before_ms: u64, now_ms: u64, after_ms: u64) -> Self {
        let [before, now, after] = [before_ms, now_ms, after_ms].map(signed);
        let ahead_ms = if now < before {
            now - before
        } else {
            // The answer may have been given at any moment between the two.
            (now - after).max(0)
        };
        let took_ms = (after - before).abs();
        Self { now_ms: now, ahead_ms, margin_ms: APART_MAX_MS.saturating_add(took_ms) }
    }

    /// The difference, when it is so large that times prove nothing: clocks
    /// that are apart now may have been apart otherwise when a file was
    /// stored.
    pub(super) fn apart_ms(self) -> Option<u64> {
        (self.ahead_ms.abs() > self.margin_ms).then_some(self.ahead_ms.unsigned_abs())
    }

    /// Returns what the times of two files of one size say.
    pub(super) fn tell(self, local: Changed, stored_ms: u64, way: Way) -> Told {
        let stored = signed(stored_ms);
        let latest = self.now_ms.saturating_add(self.margin_ms);
        if self.apart_ms().is_some() || stored > latest {
            return Told::Nothing;
        }
        let here = |ms: i64| ms.saturating_add(self.ahead_ms);
        let lead_ms = match way {
            // A file that was copied here with its old time has a new change time.
            Way::Put => stored.saturating_sub(here(local.modified_ms.max(local.changed_ms))),
            // No clock that agrees with the coordinator's gave this time.
            Way::Get if here(local.modified_ms) > latest => return Told::Nothing,
            Way::Get => here(local.modified_ms).saturating_sub(stored),
        };
        match lead_ms {
            lead if lead > self.margin_ms => Told::Same,
            lead if lead > 0 => Told::Nothing,
            _ => Told::Differs,
        }
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    /// Clocks of which the coordinator's is `ahead_ms` ahead, found out by a
    /// question that took 10 ms.
    fn clocks(ahead_ms: i64) -> Clocks {
        let at = |ms: i64| u64::try_from(NOW + ms).expect("after 1970");
        Clocks::of(at(-5), at(ahead_ms), at(5))
    }

    fn told(ahead_ms: i64, local: (i64, i64), stored: i64, way: Way) -> Told {
        let local = Changed { modified_ms: NOW + local.0, changed_ms: NOW + local.1 };
        clocks(ahead_ms).tell(local, u64::try_from(NOW + stored).expect("after 1970"), way)
    }

    #[test]
    fn times_decide_only_where_two_clocks_cannot_mislead() {
        let minute = 60_000;
        // Ahead of this machine, local change, stored (coordinator's clock).
        for (way, ahead, changed, stored, expected) in [
            // One clock.
            (Way::Put, 0, -minute, -minute / 2, Told::Same),
            (Way::Put, 0, -minute / 2, -minute, Told::Differs),
            (Way::Put, 0, -minute, -minute + 1_500, Told::Nothing),
            (Way::Put, 0, -minute, -minute, Told::Differs),
            (Way::Get, 0, -minute / 2, -minute, Told::Same),
            (Way::Get, 0, -minute, -minute / 2, Told::Differs),
            (Way::Get, 0, -minute + 1_500, -minute, Told::Nothing),
            // Stored 3 s before it was changed, by a clock 5 min ahead.
            (Way::Put, 5 * minute, -minute, -minute - 3_000 + 5 * minute, Told::Nothing),
            // Fetched 3 s before it was replaced, by a clock 5 min behind.
            (Way::Get, -5 * minute, -minute, -minute + 3_000 - 5 * minute, Told::Nothing),
            // The coordinator's clock was ahead and is set right since.
            (Way::Put, 0, -minute, 4 * minute, Told::Nothing),
            // The local time is of a machine whose clock is ahead.
            (Way::Get, 0, 5 * minute, -minute, Told::Nothing),
            // A little apart: compared on the coordinator's clock.
            (Way::Put, 1_500, -minute, -minute + 3_000, Told::Nothing),
            (Way::Put, 1_500, -minute, -minute + 4_000, Told::Same),
            (Way::Put, -1_500, -minute, -minute + 1_000, Told::Same),
            (Way::Get, -1_500, -minute, -minute - 3_000, Told::Nothing),
            (Way::Get, -1_500, -minute, -minute - 4_000, Told::Same),
        ] {
            let found = told(ahead, (changed, changed), stored, way);
            assert_eq!(found, expected, "{way:?} {ahead} {changed} {stored}");
        }
    }

    #[test]
    fn a_file_that_was_moved_here_with_an_old_time_differs() {
        assert_eq!(told(0, (-90_000_000, -1_000), -30_000, Way::Put), Told::Differs);
    }

    #[test]
    fn an_answer_between_question_and_arrival_is_no_difference() {
        for (ahead, apart) in [(0, None), (4, None), (-5, None), (1_900, None), (-1_900, None)] {
            assert_eq!(clocks(ahead).apart_ms(), apart, "{ahead}");
        }
        assert_eq!(clocks(4).ahead_ms, 0);
        assert_eq!(clocks(-5).ahead_ms, 0);
        assert_eq!(clocks(300_000).apart_ms(), Some(299_995));
        assert_eq!(clocks(-300_000).apart_ms(), Some(299_995));
    }
}
