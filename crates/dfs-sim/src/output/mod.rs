//! Answers: for people and for machines.
//!
//! stdout is the answer; notes and progress go to stderr.

pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod screen;
pub(crate) mod size;
pub(crate) mod table;
pub(crate) mod time;
pub(crate) mod words;

use std::io::{self, Write};

/// Writes one line of the answer.
///
/// # Errors
/// When standard output is closed or full.
pub(crate) fn line(text: impl AsRef<str>) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_ref().as_bytes())?;
    stdout.write_all(b"\n")
}

/// Writes one line beside the answer: a note for the person.
pub(crate) fn note(text: impl AsRef<str>) {
    progress::beside(|| {
        // A note that cannot be written has nowhere to say so.
        drop(writeln!(io::stderr().lock(), "{}", text.as_ref()));
    });
}
