//! Whether the coordinator refuses the node for who it is, and since when.
//!
//! A process that was refused by every answer since it started can be of no
//! use, and ends. One that was ever accepted goes on, whatever its coordinator
//! says later: that one may have been started on a wrong folder.

use std::time::Duration;

use tokio::time::Instant;

/// For how long a process that was never accepted may be refused before it
/// ends. It is longer than a node that died keeps its name to itself: a node
/// that starts again at another address is refused until then.
const REFUSED_MAX: Duration = Duration::from_secs(10);

/// What the coordinator's answers said of who the node is.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    reason: Option<String>,
    /// Since when each answer was a refusal.
    since: Option<Instant>,
    was_accepted: bool,
}

impl Refusals {
    /// Why the coordinator refuses the node, while it does.
    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// The coordinator refused the node. Returns true when that is news.
    pub(super) fn refused(&mut self, reason: String, now: Instant) -> bool {
        self.since.get_or_insert(now);
        let is_news = self.reason.as_ref() != Some(&reason);
        self.reason = Some(reason);
        is_news
    }

    /// The coordinator did not answer, or not about who the node is.
    pub(super) fn not_refused(&mut self) {
        self.since = None;
    }

    /// Another run takes the node over.
    pub(super) fn taken_over(&mut self) {
        self.reason = None;
    }

    /// The coordinator acknowledged the node. Returns true when it had refused
    /// it before.
    pub(super) fn accepted(&mut self) -> bool {
        (self.since, self.was_accepted) = (None, true);
        self.reason.take().is_some()
    }

    /// Why the process can be of no use, where that is so.
    pub(super) fn for_good(&self, now: Instant) -> Option<&str> {
        let since = self.since.filter(|_| !self.was_accepted)?;
        let is_long = now.duration_since(since) >= REFUSED_MAX;
        is_long.then(|| self.reason().unwrap_or("it gave no reason"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_that_is_refused_all_the_time_is_refused_for_good() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut refusals = Refusals::default();
        assert!(refusals.refused("wrong cluster".to_owned(), at(0)), "it is news");
        assert!(!refusals.refused("wrong cluster".to_owned(), at(5)), "it is none any more");
        assert_eq!(refusals.for_good(at(9)), None);
        assert_eq!(refusals.for_good(at(10)), Some("wrong cluster"));
        // Another answer in between, and the time begins anew.
        refusals.not_refused();
        assert_eq!(refusals.reason(), Some("wrong cluster"), "it is shown until it is accepted");
        refusals.refused("wrong cluster".to_owned(), at(12));
        assert_eq!(refusals.for_good(at(21)), None);
        assert!(refusals.accepted());
        refusals.refused("wrong cluster".to_owned(), at(30));
        assert_eq!(refusals.for_good(at(90)), None, "it was accepted before");
    }
}
