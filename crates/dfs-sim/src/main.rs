//! `dfs-sim`: a distributed file store that people run for real.
//!
//! This is the thin end: it reads the command line and the configuration,
//! builds the real world and hands it to the roles. What the store does is
//! in `dfs-core`.

mod cli;
mod command;
mod console;
mod exit;
mod output;
mod settings;
mod signal;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

use cli::Cli;
use console::Console;
use exit::{Code, Failure, Outcome};

/// Frames come and go by the thousand; the system's allocator would give
/// their pages back and fault them in again each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::start(&cli);
    use_small_pages();
    let wants_json = cli.command.wants_json();
    let code = match run(cli) {
        Ok(code) => code,
        Err(failure) => tell(&failure, wants_json),
    };
    ExitCode::from(code as u8)
}

/// Keeps transparent huge pages away from this process and its children.
/// Buffers come and go, and a huge page is cleared whole for the first of
/// them and stays for the last. Small files: three quarters of a node's
/// memory and a fifth of all CPU; large ones: 10 to 20 MiB a process, and the
/// same CPU.
fn use_small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay on");
    }
}

fn run(cli: Cli) -> Outcome {
    let console = Console::new(&cli.global)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Code::Other, format!("cannot start threads: {e}")))?;
    let outcome = runtime.block_on(async {
        if cli.command.serves() {
            return command::run(cli.command, &console).await;
        }
        // What is under way is dropped, and takes its half files with it.
        let stopped = tokio::select! {
            biased;
            code = signal::stop() => code,
            outcome = command::run(cli.command, &console) => return outcome,
        };
        console.say_goodbye().await;
        Err(Failure::new(stopped, ""))
    });
    // A thread that waits for standard input must not keep the process.
    runtime.shutdown_background();
    outcome
}

/// Says why it failed, to people on stderr and to machines on stdout.
fn tell(failure: &Failure, wants_json: bool) -> Code {
    if !failure.message.is_empty() {
        output::note(format!("dfs-sim: {failure}"));
    }
    if wants_json && failure.code != Code::Ok && !failure.is_answered {
        // Nothing is left to be told when standard output is gone too.
        drop(output::json::print("error", output::json::failure(failure)));
    }
    failure.code
}
