//! The names of files and the rules that they keep.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A file's name: UTF-8, 1 to 1,024 bytes, segments parted by `/`; no empty,
/// `.` or `..` segment, no control character, no backslash.
///
/// A clone shares the text: the catalog keeps each name in two indexes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(Arc<str>);

/// Which rule a name broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// It is empty.
    #[error("a file name may not be empty")]
    Empty,
    /// It is too long.
    #[error("a file name has at most 1024 bytes, this one has {0}")]
    TooLong(usize),
    /// It starts with `/`.
    #[error("the file name {0:?} may not start with '/': drop it")]
    LeadingSlash(String),
    /// It has an empty segment: `//`, or a `/` at its end.
    #[error("the file name {0:?} has an empty segment ('//' or a '/' at the end)")]
    EmptySegment(String),
    /// It has a `.` or `..` segment.
    #[error("the file name {0:?} may not have a '.' or '..' segment")]
    DotSegment(String),
    /// It has a control character.
    #[error("the file name {0:?} has a control character")]
    Control(String),
    /// It has a backslash.
    #[error("the file name {0:?} has a backslash: segments are parted by '/'")]
    Backslash(String),
}

impl FileName {
    /// The longest name, in bytes.
    pub const LENGTH_MAX: usize = 1024;

    /// Checks `text` and takes it as a name.
    ///
    /// # Errors
    /// [`BadName`] says which rule it broke.
    pub fn new(text: impl Into<String>) -> Result<Self, BadName> {
        let text = text.into();
        if text.is_empty() {
            return Err(BadName::Empty);
        }
        if text.len() > Self::LENGTH_MAX {
            return Err(BadName::TooLong(text.len()));
        }
        if text.chars().any(char::is_control) {
            return Err(BadName::Control(text));
        }
        if text.contains('\\') {
            return Err(BadName::Backslash(text));
        }
        if text.starts_with('/') {
            return Err(BadName::LeadingSlash(text));
        }
        if text.split('/').any(str::is_empty) {
            return Err(BadName::EmptySegment(text));
        }
        if text.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(BadName::DotSegment(text));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for FileName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Ordered and compared as its text, so that maps can be asked by text.
impl Borrow<str> for FileName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for FileName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_name_says_which_rule_it_broke() {
        let long = "a".repeat(1025);
        for (text, rule) in [
            ("", "may not be empty"),
            (long.as_str(), "1025"),
            ("/a", "start with '/'"),
            ("a//b", "empty segment"),
            ("a/", "empty segment"),
            ("a/../b", "'.' or '..'"),
            ("./a", "'.' or '..'"),
            ("a\nb", "control"),
            ("a\0b", "control"),
            ("a\\b", "backslash"),
        ] {
            let refusal = FileName::new(text).expect_err(text).to_string();
            assert!(refusal.contains(rule), "{text:?}: {refusal}");
        }
    }

    #[test]
    fn ordinary_names_are_taken_as_they_are() {
        for text in ["a", "iso/ubuntu.iso", "...", "ü/日本", "a b", &"x".repeat(1024)] {
            assert_eq!(FileName::new(text).expect(text).as_str(), text);
        }
    }
}
