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
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refusal) => return refuse(&refusal),
    };
    telemetry::start(&cli);
    use_small_pages();
    raise_open_files();
    let (wants_json, verb) = (cli.command.wants_json(), cli.command.name());
    let only_answers = cli.command.only_answers();
    let mut code = match run(cli) {
        Ok(code) => code,
        Err(failure) => tell(&failure, wants_json.then_some(verb)),
    };
    if let Some(error) = output::take_trouble() {
        output::note(format!("dfs-sim: cannot write the answer: {error}"));
        if code == Code::Ok && only_answers {
            code = Code::Other;
        }
    }
    ExitCode::from(code as u8)
}

/// Says what is wrong with the command line, or what was asked of the help.
fn refuse(refusal: &clap::Error) -> ExitCode {
    // Help that nobody reads is no failure.
    drop(refusal.print());
    let mut words = std::env::args_os().skip(1);
    if refusal.use_stderr() && words.any(|word| word == "--json") {
        let text = refusal.render().to_string();
        let message = text.trim().trim_start_matches("error: ");
        // The verb is the first word that is no flag.
        let verb = std::env::args().skip(1).find(|word| cli::is_verb(word));
        let failure = Failure::usage(message);
        drop(output::json::print(
            verb.as_deref().unwrap_or("dfs-sim"),
            output::json::failure(&failure),
        ));
    }
    ExitCode::from(u8::try_from(refusal.exit_code()).unwrap_or(Code::Usage as u8))
}

/// Raises the soft limit of open files to the hard one: a node or coordinator
/// with many peers and chunks needs more than the usual 1,024.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the limit of open files stays as it is");
        }
    }
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
        signal::survive_file_size_limit();
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

/// Says why it failed, to people on stderr and, where `verb` is to answer
/// machines, on stdout.
fn tell(failure: &Failure, verb: Option<&str>) -> Code {
    if !failure.message.is_empty() {
        output::note(format!("dfs-sim: {failure}"));
        failure.lines.iter().for_each(output::note);
    }
    if let Some(verb) = verb
        && failure.code != Code::Ok
        && !failure.is_answered
    {
        // Nothing is left to be told when standard output is gone too.
        drop(output::json::print(verb, output::json::failure(failure)));
    }
    failure.code
}
