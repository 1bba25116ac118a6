//! Answers: for people and for machines.
//!
//! stdout is the answer; notes and progress go to stderr. An answer that
//! nobody reads stops no work: the first trouble with stdout is remembered,
//! nothing more is written, and the end of the program speaks of it.

pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod screen;
pub(crate) mod size;
pub(crate) mod table;
pub(crate) mod time;
pub(crate) mod words;

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

/// Why nothing more is written to standard output.
static TROUBLE: Mutex<Option<io::Error>> = Mutex::new(None);

/// Writes a line of the answer, or several. Line breaks stay, other control
/// characters are escaped: names come from anywhere.
///
/// # Errors
/// None: a standard output that is closed or full is remembered (see
/// [`take_trouble`]), and the work goes on.
pub(crate) fn line(text: impl AsRef<str>) -> io::Result<()> {
    let text = printable_lines(text.as_ref());
    write_once(|stdout| {
        stdout.write_all(text.as_bytes())?;
        stdout.write_all(b"\n")
    });
    Ok(())
}

/// Writes to standard output as it is, unless that had trouble before.
fn write_once(write: impl FnOnce(&mut io::StdoutLock<'static>) -> io::Result<()>) {
    let mut trouble = TROUBLE.lock().unwrap_or_else(PoisonError::into_inner);
    if trouble.is_none() {
        *trouble = write(&mut io::stdout().lock()).err();
    }
}

/// True when nobody reads the answer any more.
pub(crate) fn is_over() -> bool {
    TROUBLE.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

/// Writes out what is buffered, and returns why the answer is not whole;
/// `None` when it is, or when its reader has seen enough, as `head` does.
pub(crate) fn take_trouble() -> Option<io::Error> {
    write_once(io::Write::flush);
    let trouble = TROUBLE.lock().unwrap_or_else(PoisonError::into_inner).take();
    trouble.filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
}

/// Writes a note for the person, beside the answer. Line breaks stay, other
/// control characters are escaped.
pub(crate) fn note(text: impl AsRef<str>) {
    let text = printable_lines(text.as_ref());
    progress::beside(|| {
        // A note that cannot be written has nowhere to say so.
        drop(writeln!(io::stderr().lock(), "{text}"));
    });
}

fn printable_lines(text: &str) -> String {
    let lines: Vec<Cow<'_, str>> = text.split('\n').map(printable).collect();
    lines.join("\n")
}

/// `text` as a terminal may show it: no control character of it acts.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let acts = |c: char| c.is_control() && c != '\t';
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| {
        if acts(c) { c.escape_default().to_string() } else { c.to_string() }
    };
    Cow::Owned(text.chars().map(escaped).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_printed_acts_on_the_terminal() {
        for (text, shown) in [
            ("plain ä\t漢", "plain ä\t漢"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("two\nlines\r", "two\\nlines\\r"),
            ("\u{9b}2J\u{7f}\u{0}", "\\u{9b}2J\\u{7f}\\u{0}"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }
}
