//! Progress: a bar on a terminal, one plain line every 5 s elsewhere.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{note, size, time};
use crate::cli::ProgressWhen;

/// How often a bar is drawn.
const BAR_INTERVAL: Duration = Duration::from_millis(100);
/// How often a plain line is written.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// The bar on the terminal, where there is one: logs must stand aside.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Runs `write`, which writes to the terminal, while the bar is off the screen.
pub(crate) fn beside<T>(write: impl FnOnce() -> T) -> T {
    // Cloned, so that nothing is locked while it is written.
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// What is done and what there is to do, in bytes. 0 to do is not known.
pub(crate) type Gauge = Arc<dyn Fn() -> (u64, u64) + Send + Sync>;

/// What is done and to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Bytes.
    Bytes,
    /// Things of this name, in the singular.
    Count(&'static str),
}

/// Progress being shown, until it is dropped.
pub(crate) struct Meter {
    task: Option<JoinHandle<()>>,
    bar: Option<ProgressBar>,
}

impl Meter {
    /// Shows what `gauge` says, if `when` and the terminal agree.
    pub(crate) fn start(
        when: ProgressWhen,
        is_quiet: bool,
        verb: &str,
        unit: Unit,
        gauge: Gauge,
    ) -> Self {
        let is_wanted = match when {
            ProgressWhen::Always => true,
            ProgressWhen::Auto => !is_quiet,
            ProgressWhen::Never => false,
        };
        if !is_wanted {
            return Self { task: None, bar: None };
        }
        if std::io::stderr().is_terminal() {
            return Self::draw(unit, gauge);
        }
        let verb = verb.to_owned();
        Self { task: Some(tokio::spawn(write_lines(verb, unit, gauge))), bar: None }
    }

    fn draw(unit: Unit, gauge: Gauge) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10));
        let style = ProgressStyle::with_template(unit.template());
        bar.set_style(style.expect("the template is a constant and was tried"));
        *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
        let drawn = bar.clone();
        let start = Instant::now();
        let task = tokio::spawn(async move {
            let mut tick = interval(BAR_INTERVAL);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                let (done, total) = gauge();
                drawn.set_length(total.max(done));
                drawn.set_position(done);
                let left = left(done, total, start.elapsed());
                drawn.set_message(left.map_or_else(String::new, |left| format!("{left} left")));
            }
        });
        Self { task: Some(task), bar: Some(bar) }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        if let Some(bar) = self.bar.take() {
            *BAR.lock().unwrap_or_else(PoisonError::into_inner) = None;
            bar.finish_and_clear();
        }
    }
}

async fn write_lines(verb: String, unit: Unit, gauge: Gauge) {
    let start = Instant::now();
    let mut tick = interval(LINE_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    loop {
        tick.tick().await;
        let (done, total) = gauge();
        note(line(&verb, unit, (done, total), start.elapsed()));
    }
}

impl Unit {
    fn template(self) -> &'static str {
        match self {
            Self::Bytes => "{percent:>3}% {wide_bar} {binary_bytes} {binary_bytes_per_sec} {msg}",
            Self::Count(_) => "{percent:>3}% {wide_bar} {pos}/{len} {msg}",
        }
    }

    fn amount(self, amount: u64) -> String {
        match self {
            Self::Bytes => size::bytes(amount),
            Self::Count(noun) => size::counted(amount, noun),
        }
    }

    fn rate(self, amount: u64, took: Duration) -> String {
        match self {
            Self::Bytes => size::rate(amount, took),
            Self::Count(_) => format!("{:.1}/s", amount as f64 / took.as_secs_f64().max(1e-6)),
        }
    }
}

/// `put: 1 GiB of 4 GiB (25 %), 512 MiB/s, 6.0 s left`.
fn line(verb: &str, unit: Unit, (done, total): (u64, u64), took: Duration) -> String {
    let (amount, rate) = (unit.amount(done), unit.rate(done, took));
    if total == 0 || done > total {
        return format!("{verb}: {amount}, {rate}");
    }
    let left = left(done, total, took).map_or_else(String::new, |left| format!(", {left} left"));
    let percent = u128::from(done) * 100 / u128::from(total);
    format!("{verb}: {amount} of {} ({percent} %), {rate}{left}", unit.amount(total))
}

/// The time that is left, in words: none while nothing is known, and never
/// nothing before the end.
fn left(done: u64, total: u64, took: Duration) -> Option<String> {
    if done == 0 || done >= total {
        return None;
    }
    let left = took.mul_f64((total - done) as f64 / done as f64);
    Some(time::span(left.max(Duration::from_secs(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_names_bytes_rate_and_time_left() {
        assert_eq!(
            line("put", Unit::Bytes, (1 << 30, 4 << 30), Duration::from_secs(2)),
            "put: 1 GiB of 4 GiB (25 %), 512 MiB/s, 6.0 s left"
        );
        let bytes = |verb, amounts, s| line(verb, Unit::Bytes, amounts, Duration::from_secs(s));
        assert_eq!(bytes("put", (1 << 20, 0), 1), "put: 1 MiB, 1 MiB/s");
        assert_eq!(bytes("get", (0, 10), 5), "get: 0 B of 10 B (0 %), 0 B/s");
        // The end is near, and not there; then it is there, and syncs remain.
        assert_eq!(left(999_999, 1_000_000, Duration::from_millis(1)).as_deref(), Some("1.0 s"));
        assert_eq!(left(10, 10, Duration::from_secs(1)), None);
        assert_eq!(
            line("sim seeds", Unit::Count("seed"), (50, 200), Duration::from_secs(5)),
            "sim seeds: 50 seeds of 200 seeds (25 %), 10.0/s, 15 s left"
        );
    }
}
