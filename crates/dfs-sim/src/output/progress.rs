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

/// How far something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Done {
    /// What is done, in bytes or things.
    pub(crate) done: u64,
    /// What there is to do; 0 is not known.
    pub(crate) total: u64,
    /// Files that are done, and all of them, where there are several.
    pub(crate) files: Option<(u64, u64)>,
}

impl From<(u64, u64)> for Done {
    fn from((done, total): (u64, u64)) -> Self {
        Self { done, total, files: None }
    }
}

/// Says how far it is.
pub(crate) type Gauge = Arc<dyn Fn() -> Done + Send + Sync>;

/// The narrowest bar that says anything.
const BAR_WIDTH_MIN: usize = 5;
/// The widest bar.
const BAR_WIDTH_MAX: usize = 40;
/// The width of a terminal that does not tell.
const WIDTH_DEFAULT: usize = 80;

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
        let style = ProgressStyle::with_template("{msg}");
        bar.set_style(style.expect("the template is a constant and was tried"));
        *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
        let drawn = bar.clone();
        let start = Instant::now();
        let task = tokio::spawn(async move {
            let mut tick = interval(BAR_INTERVAL);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                drawn.set_message(bar_line(width(), unit, gauge(), start.elapsed()));
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
        note(line(&verb, unit, gauge(), start.elapsed()));
    }
}

impl Unit {
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

impl Done {
    /// How many in a hundred; `None` while there is no saying.
    fn percent(self) -> Option<u64> {
        let percent = (u128::from(self.done) * 100).checked_div(u128::from(self.total))?;
        (percent <= 100).then(|| u64::try_from(percent).unwrap_or(100))
    }
}

/// The columns of the terminal.
fn width() -> usize {
    terminal_size::terminal_size_of(std::io::stderr())
        .map_or(WIDTH_DEFAULT, |(columns, _)| usize::from(columns.0))
}

/// ` 25% ███░░░░░░ 3/120 files 1 GiB 512 MiB/s 6.0 s left`, in less than
/// `width` columns: what matters least goes first.
fn bar_line(width: usize, unit: Unit, done: Done, took: Duration) -> String {
    let width = width.saturating_sub(1);
    let head = done.percent().map_or_else(String::new, |percent| format!("{percent:>3}%"));
    let files = done.files.map(|(done, all)| format!("{done}/{all} files"));
    let amount = match unit {
        Unit::Count(_) if done.total > 0 => format!("{}/{}", done.done, done.total),
        unit => unit.amount(done.done),
    };
    let left = left(done, took).map(|left| format!("{left} left"));
    let mut parts = [files, Some(amount), Some(unit.rate(done.done, took)), left];
    let length = |parts: &[Option<String>]| {
        let words = parts.iter().flatten().map(|part| part.chars().count() + 1);
        head.len() + words.sum::<usize>()
    };
    // The rate, the amount, the time that is left, the files.
    for least in [2, 1, 3, 0] {
        if length(&parts) > width {
            parts[least] = None;
        }
    }
    let room = width.saturating_sub(length(&parts) + 1).min(BAR_WIDTH_MAX);
    let mut line: String = head.chars().take(width).collect();
    if let Some(percent) = done.percent().filter(|_| room >= BAR_WIDTH_MIN) {
        let full = room * usize::try_from(percent).unwrap_or(100) / 100;
        line.push(' ');
        line.extend(std::iter::repeat_n('█', full));
        line.extend(std::iter::repeat_n('░', room - full));
    }
    for part in parts.iter().flatten() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(part);
    }
    line
}

/// `put: 3 of 120 files, 1 GiB of 4 GiB (25 %), 512 MiB/s, 6.0 s left`.
fn line(verb: &str, unit: Unit, done: Done, took: Duration) -> String {
    let (amount, rate) = (unit.amount(done.done), unit.rate(done.done, took));
    let files =
        done.files.map_or_else(String::new, |(done, all)| format!("{done} of {all} files, "));
    let Some(percent) = done.percent() else {
        return format!("{verb}: {files}{amount}, {rate}");
    };
    let left = left(done, took).map_or_else(String::new, |left| format!(", {left} left"));
    format!("{verb}: {files}{amount} of {} ({percent} %), {rate}{left}", unit.amount(done.total))
}

/// The time that is left, in words: none while nothing is known, and never
/// nothing before the end.
fn left(Done { done, total, .. }: Done, took: Duration) -> Option<String> {
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
            line("put", Unit::Bytes, (1 << 30, 4 << 30).into(), Duration::from_secs(2)),
            "put: 1 GiB of 4 GiB (25 %), 512 MiB/s, 6.0 s left"
        );
        let bytes = |verb, amounts: (u64, u64), s| {
            line(verb, Unit::Bytes, amounts.into(), Duration::from_secs(s))
        };
        assert_eq!(bytes("put", (1 << 20, 0), 1), "put: 1 MiB, 1 MiB/s");
        assert_eq!(bytes("get", (0, 10), 5), "get: 0 B of 10 B (0 %), 0 B/s");
        // The end is near, and not there; then it is there, and syncs remain.
        let left = |amounts: (u64, u64), ms| left(amounts.into(), Duration::from_millis(ms));
        assert_eq!(left((999_999, 1_000_000), 1).as_deref(), Some("1.0 s"));
        assert_eq!(left((10, 10), 1000), None);
        assert_eq!(
            line("sim seeds", Unit::Count("seed"), (50, 200).into(), Duration::from_secs(5)),
            "sim seeds: 50 seeds of 200 seeds (25 %), 10.0/s, 15 s left"
        );
        let many = Done { files: Some((3, 120)), ..(1 << 30, 4 << 30).into() };
        assert_eq!(
            line("put", Unit::Bytes, many, Duration::from_secs(2)),
            "put: 3 of 120 files, 1 GiB of 4 GiB (25 %), 512 MiB/s, 6.0 s left"
        );
    }

    #[test]
    fn the_bar_fits_every_terminal_and_keeps_what_matters_most() {
        let took = Duration::from_secs(700);
        for width in 0..200 {
            for (done, total) in [(0, 0), (0, 9), (7, 0), (1 << 38, 1 << 40), (9, 9), (9, 8)] {
                for files in [None, Some((0, 1)), Some((99_999, 123_456))] {
                    for unit in [Unit::Bytes, Unit::Count("seed")] {
                        let line = bar_line(width, unit, Done { done, total, files }, took);
                        assert!(line.chars().count() <= width.saturating_sub(1), "{width}: {line}");
                        assert!(!line.contains(" 0 ms left"), "{line}");
                    }
                }
            }
        }
        let done = Done { done: 1 << 38, total: 1 << 40, files: Some((299, 1_200)) };
        for (width, line) in [
            (20, " 25% 299/1200 files"),
            (40, " 25% ████░░░░░░░░░░░░ 299/1200 files"),
            (80, " 25% █████░░░░░░░░░░░░░░░░ 299/1200 files 256 GiB 374 MiB/s 35m 0s left"),
        ] {
            let shown = bar_line(width, Unit::Bytes, done, took);
            let is_whole = |part: &str| shown.contains(part) || !line.contains(part);
            assert!(
                [" 25%", "299/1200 files", "left", "374 MiB/s"].map(is_whole) == [true; 4],
                "{shown}"
            );
        }
    }
}
