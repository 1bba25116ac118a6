//! Logs: to stderr, never between a progress bar's lines.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::{Cli, Command};
use crate::output::{self, progress};

/// Sets logging up. `DFS_SIM_LOG` (as `RUST_LOG` elsewhere) wins over -v and -q.
pub(crate) fn start(cli: &Cli) {
    let level = match (cli.global.quiet, cli.global.verbose) {
        (true, _) => "error",
        // Who runs a server wants to see what it does.
        (_, 0) if cli.command.serves() => "warn,dfs_core=info,dfs_runtime=info,dfs_sim=info",
        // What roles of a simulated world warn of is in the timeline.
        (_, 0) if matches!(cli.command, Command::Sim(_)) => "off",
        (_, 0) => "warn",
        (_, 1) => "warn,dfs_core=info,dfs_runtime=info,dfs_sim=info",
        (_, 2) => "info,dfs_core=debug,dfs_runtime=debug,dfs_sim=debug",
        _ => "trace",
    };
    let asked = std::env::var("DFS_SIM_LOG").ok().and_then(|text| text.parse().ok());
    let filter: Targets =
        asked.unwrap_or_else(|| level.parse().expect("the levels above are well formed"));
    let events = fmt::layer()
        .with_writer(BesideProgress)
        .with_ansi(is_coloured(&io::stderr()))
        .with_target(cli.global.verbose > 1);
    let registry = tracing_subscriber::registry().with(filter);
    if cli.command.serves() {
        registry.with(events).init();
    } else {
        registry.with(events.without_time()).init();
    }
}

/// Whether colour may be written: a terminal, and `NO_COLOR` not set.
pub(crate) fn is_coloured(stream: &impl IsTerminal) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty());
    stream.is_terminal() && !refused
}

/// Writes whole events to stderr while the progress bar stands aside.
struct BesideProgress;

/// One event.
struct Event(Vec<u8>);

impl<'a> MakeWriter<'a> for BesideProgress {
    type Writer = Event;

    fn make_writer(&'a self) -> Event {
        Event(Vec::with_capacity(256))
    }
}

impl Write for Event {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        let event = one_line(&self.0);
        // A log that cannot be written has nowhere to say so.
        progress::beside(|| drop(io::stderr().lock().write_all(event.as_bytes())));
    }
}

/// An event as one line. Its colours stay; all else that acts on a terminal is
/// escaped: names and what other programs say come from anywhere.
fn one_line(event: &[u8]) -> String {
    let text = String::from_utf8_lossy(event);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    // The formatter escapes each escape character of a field.
    let shown: Vec<_> = text.split('\u{1b}').map(output::printable).collect();
    format!("{}\n", shown.join("\u{1b}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_and_keeps_its_colours() {
        let event = b"\x1b[33m WARN\x1b[0m a\nINFO forged\tb\xe2\x80\xae\n";
        let shown = "\u{1b}[33m WARN\u{1b}[0m a\\nINFO forged\\tb\\u{202e}\n";
        assert_eq!(one_line(event), shown);
    }
}
