//! One direction between two hosts, and what it does to a message.

use std::time::Duration;

use tokio::time::Instant;

use crate::rng::Rng;

/// One direction between two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// What each message takes at least.
    pub latency_us: u64,
    /// What it may take more.
    pub jitter_us: u64,
    /// Messages lost, of a thousand.
    pub loss_per_mille: u32,
    /// Messages that take [`Link::delay_us`] more, of a thousand. Later calls
    /// overtake such a one; within a stream the order is kept.
    pub delay_per_mille: u32,
    /// What such a message takes more.
    pub delay_us: u64,
    /// Calls that are delivered twice, of a thousand. Streams never are.
    pub double_per_mille: u32,
    /// Messages at which the connection is reset, of a thousand.
    pub reset_per_mille: u32,
    /// Answers to calls lost, of a thousand: the call has its effect, and
    /// nobody hears of it.
    pub reply_loss_per_mille: u32,
    /// Bytes of frames that it moves in a second once [`BURST_BYTES`] are used
    /// up; 0 where there is no limit.
    pub bytes_per_second: u64,
    /// No call comes through; answers to calls in the other direction do.
    pub takes_no_calls: bool,
    /// Nothing comes through.
    pub is_cut: bool,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            latency_us: 200,
            jitter_us: 100,
            loss_per_mille: 0,
            delay_per_mille: 0,
            delay_us: 0,
            double_per_mille: 0,
            reset_per_mille: 0,
            reply_loss_per_mille: 0,
            bytes_per_second: 0,
            takes_no_calls: false,
            is_cut: false,
        }
    }
}

/// What a link with a limited rate moves at full speed after a pause, as a
/// token bucket does. A stream begins well and then falls behind.
pub const BURST_BYTES: u64 = 3 << 19;

/// What is left of the burst of one direction.
pub(super) struct Bucket {
    /// Below zero when more was sent than there was room for.
    left_bytes: i128,
    at: Instant,
}

impl Bucket {
    pub(super) fn full() -> Self {
        Self { left_bytes: BURST_BYTES.into(), at: Instant::now() }
    }

    /// Takes `bytes` out, and returns how long they wait for their turn.
    pub(super) fn take(&mut self, bytes: u64, bytes_per_second: u64) -> Duration {
        let rate = i128::from(bytes_per_second.max(1));
        let passed_us = i128::try_from(self.at.elapsed().as_micros()).unwrap_or(0);
        let left_bytes = self.left_bytes + passed_us * rate / 1_000_000;
        self.left_bytes = left_bytes.min(BURST_BYTES.into()) - i128::from(bytes);
        self.at = Instant::now();
        let late_us = (-self.left_bytes).max(0) * 1_000_000 / rate;
        Duration::from_micros(u64::try_from(late_us).unwrap_or(u64::MAX))
    }
}

/// What becomes of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) latency: Duration,
    pub(super) is_delayed: bool,
    pub(super) end: End,
}

/// How a message ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Arrived,
    Lost,
    Cut,
    Reset,
}

impl Link {
    /// Draws what becomes of a message. A fault that the link does not have
    /// draws nothing.
    pub(super) fn draw(&self, rng: &mut Rng, is_answer: bool) -> Fate {
        let mut latency_us = self.latency_us + rng.below(self.jitter_us + 1);
        let is_delayed = happens(rng, self.delay_per_mille);
        if is_delayed {
            latency_us += self.delay_us;
        }
        let end = if happens(rng, self.loss_per_mille)
            || (is_answer && happens(rng, self.reply_loss_per_mille))
        {
            End::Lost
        } else if happens(rng, self.reset_per_mille) {
            End::Reset
        } else {
            End::Arrived
        };
        Fate { latency: Duration::from_micros(latency_us), is_delayed, end }
    }

    /// Draws whether a call is delivered twice.
    pub(super) fn doubles(&self, rng: &mut Rng) -> bool {
        happens(rng, self.double_per_mille)
    }
}

fn happens(rng: &mut Rng, per_mille: u32) -> bool {
    per_mille > 0 && rng.chance(u64::from(per_mille), 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_link_moves_its_burst_at_once_and_then_its_rate() {
        let mut bucket = Bucket::full();
        assert_eq!(bucket.take(BURST_BYTES, 1000), Duration::ZERO);
        assert_eq!(bucket.take(500, 1000), Duration::from_millis(500));
        assert_eq!(bucket.take(500, 1000), Duration::from_secs(1), "they wait for each other");
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(bucket.take(2000, 1000), Duration::ZERO);
        assert_eq!(bucket.take(1000, 1000), Duration::from_secs(1));
    }
}
