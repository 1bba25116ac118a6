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

/// Runs `write`, which writes to stderr, while the bar is off the screen.
pub(crate) fn beside(write: impl FnOnce()) {
    // Cloned, so that nothing is locked while it is written.
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// What is done and what there is to do, in bytes. 0 to do is not known.
pub(crate) type Gauge = Arc<dyn Fn() -> (u64, u64) + Send + Sync>;

/// Progress being shown, until it is dropped.
pub(crate) struct Meter {
    task: Option<JoinHandle<()>>,
    bar: Option<ProgressBar>,
}

impl Meter {
    /// Shows what `gauge` says, if `when` and the terminal agree.
    pub(crate) fn start(when: ProgressWhen, is_quiet: bool, verb: &str, gauge: Gauge) -> Self {
        let is_wanted = match when {
            ProgressWhen::Always => true,
            ProgressWhen::Auto => !is_quiet,
            ProgressWhen::Never => false,
        };
        if !is_wanted {
            return Self { task: None, bar: None };
        }
        if std::io::stderr().is_terminal() {
            return Self::draw(gauge);
        }
        let verb = verb.to_owned();
        Self { task: Some(tokio::spawn(write_lines(verb, gauge))), bar: None }
    }

    fn draw(gauge: Gauge) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10));
        let style = ProgressStyle::with_template(
            "{wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left",
        );
        bar.set_style(style.expect("the template is a constant and was tried"));
        *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
        let drawn = bar.clone();
        let task = tokio::spawn(async move {
            let mut tick = interval(BAR_INTERVAL);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                let (done, total) = gauge();
                drawn.set_length(total.max(done));
                drawn.set_position(done);
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

async fn write_lines(verb: String, gauge: Gauge) {
    let start = Instant::now();
    let mut tick = interval(LINE_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    loop {
        tick.tick().await;
        let (done, total) = gauge();
        note(line(&verb, done, total, start.elapsed()));
    }
}

/// `put: 1 GiB of 4 GiB (25 %), 512 MiB/s, 6.0 s left`.
fn line(verb: &str, done: u64, total: u64, took: Duration) -> String {
    let rate = size::rate(done, took);
    if total == 0 || done > total {
        return format!("{verb}: {}, {rate}", size::bytes(done));
    }
    let left = if done == 0 {
        String::new()
    } else {
        let left = took.mul_f64((total - done) as f64 / done as f64);
        format!(", {} left", time::span(left))
    };
    let percent = u128::from(done) * 100 / u128::from(total);
    format!("{verb}: {} of {} ({percent} %), {rate}{left}", size::bytes(done), size::bytes(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_names_bytes_rate_and_time_left() {
        assert_eq!(
            line("put", 1 << 30, 4 << 30, Duration::from_secs(2)),
            "put: 1 GiB of 4 GiB (25 %), 512 MiB/s, 6.0 s left"
        );
        assert_eq!(line("put", 1 << 20, 0, Duration::from_secs(1)), "put: 1 MiB, 1 MiB/s");
        assert_eq!(line("get", 0, 10, Duration::from_secs(5)), "get: 0 B of 10 B (0 %), 0 B/s");
    }
}
