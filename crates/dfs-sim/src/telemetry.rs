//! Logs: to stderr, never between a progress bar's lines.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::{Cli, Command};
use crate::output::progress;

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
        // A log that cannot be written has nowhere to say so.
        progress::beside(|| drop(io::stderr().lock().write_all(&self.0)));
    }
}
