//! `completions` and `man`: what packagers ask for.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::{Code, Failure, Outcome};

/// Prints the completion script of `shell`.
pub(super) fn completions(shell: Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "dfs-sim", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(Code::Ok)
}

/// Prints the manual page of the program or of one verb, as roff.
pub(super) fn manual(verb: Option<&str>) -> Outcome {
    let mut command = Cli::command();
    command.build();
    let page = match verb {
        None => command,
        Some(verb) => command
            .find_subcommand(verb)
            .cloned()
            .ok_or_else(|| Failure::usage(format!("there is no verb {verb:?}")))?,
    };
    let mut roff = Vec::new();
    clap_mangen::Man::new(page).render(&mut roff)?;
    io::stdout().lock().write_all(&roff)?;
    Ok(Code::Ok)
}
