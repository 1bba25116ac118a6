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

/// Writes a line of the answer. What would act on the terminal or look like
/// another line is escaped (see [`printable`]): names come from anywhere.
///
/// # Errors
/// None: a standard output that is closed or full is remembered (see
/// [`take_trouble`]), and the work goes on.
pub(crate) fn line(text: impl AsRef<str>) -> io::Result<()> {
    let text = printable(text.as_ref());
    write_once(|stdout| {
        stdout.write_all(text.as_bytes())?;
        stdout.write_all(b"\n")
    });
    Ok(())
}

/// Writes a text of several lines.
///
/// # Errors
/// As [`line()`].
pub(crate) fn lines(text: &str) -> io::Result<()> {
    text.lines().try_for_each(line)
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

/// Writes a note of one line for the person, beside the answer; escaped as
/// [`line()`].
pub(crate) fn note(text: impl AsRef<str>) {
    write_note(&printable(text.as_ref()));
}

/// Writes a line that is printable already to standard error.
fn write_note(text: &str) {
    progress::beside(|| {
        // A note that cannot be written has nowhere to say so.
        drop(writeln!(io::stderr().lock(), "{text}"));
    });
}

/// `text` as one line that shows all its characters: none of them acts on the
/// terminal, breaks the line or turns the direction of what follows.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| {
        if acts(c) { c.escape_default().to_string() } else { c.to_string() }
    };
    Cow::Owned(text.chars().map(escaped).collect())
}

/// True for control characters, line and paragraph separators, and marks that
/// turn the direction of a text.
fn acts(c: char) -> bool {
    let is_separator = matches!(c, '\u{2028}' | '\u{2029}');
    let turns = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    c.is_control() || is_separator || turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_printed_acts_on_the_terminal() {
        for (text, shown) in [
            ("plain ä 漢 😀 שלום", "plain ä 漢 😀 שלום"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("two\nlines\r", "two\\nlines\\r"),
            ("a\tcolumn", "a\\tcolumn"),
            ("\u{2028}l\u{2029}", "\\u{2028}l\\u{2029}"),
            (
                "\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}",
                "\\u{202a}\\u{202b}\\u{202c}\\u{202d}\\u{202e}",
            ),
            ("\u{2066}\u{2067}\u{2068}\u{2069}", "\\u{2066}\\u{2067}\\u{2068}\\u{2069}"),
            ("\u{200e}\u{200f}\u{61c}", "\\u{200e}\\u{200f}\\u{61c}"),
            ("\u{9b}2J\u{7f}\u{0}", "\\u{9b}2J\\u{7f}\\u{0}"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }
}
