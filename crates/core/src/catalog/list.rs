//! Names in order, page by page.

use std::ops::Bound;

use super::record::FileRecord;
use super::state::Catalog;

/// A part of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<'a> {
    /// The entries, in order of name.
    pub entries: Vec<Listed<'a>>,
    /// Give this as `after` to go on; `None` at the end.
    pub next: Option<String>,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed<'a> {
    /// A file.
    File(&'a FileRecord),
    /// All that lies under `prefix`, which ends with `/`.
    Folder {
        /// The folder.
        prefix: String,
        /// Files in it, at any depth.
        files: u64,
        /// Their logical bytes.
        bytes: u64,
    },
}

impl Listed<'_> {
    /// The name or the folder's prefix.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::File(file) => file.name.as_str(),
            Self::Folder { prefix, .. } => prefix,
        }
    }
}

impl Catalog {
    /// The names that start with `prefix` and come after `after`, at most
    /// `limit`. With `by_folder`, what follows the next `/` after the prefix
    /// is shown as one folder; its files are walked once to be counted.
    #[must_use]
    pub fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        by_folder: bool,
    ) -> Page<'_> {
        let mut entries: Vec<Listed<'_>> = Vec::new();
        let limit = limit.max(1);
        let mut from = start(prefix, after, by_folder);
        while let Some((name, file)) = self.named_from(as_str(&from)).next()
            && name.as_str().starts_with(prefix)
        {
            if entries.len() >= limit {
                let next = entries.last().map(|entry| entry.name().to_owned());
                return Page { entries, next };
            }
            match folder_of(name.as_str(), prefix).filter(|_| by_folder) {
                None => {
                    entries.push(Listed::File(file));
                    from = Bound::Excluded(name.as_str().to_owned());
                }
                Some(folder) => {
                    from = Bound::Included(behind(folder));
                    entries.push(self.folder(folder));
                }
            }
        }
        Page { entries, next: None }
    }

    fn folder(&self, prefix: &str) -> Listed<'static> {
        let (mut files, mut bytes) = (0, 0_u64);
        for file in self.files_under(prefix) {
            files += 1;
            bytes = bytes.saturating_add(file.size);
        }
        Listed::Folder { prefix: prefix.to_owned(), files, bytes }
    }
}

/// Where a listing begins: at the prefix, or behind the last entry seen.
fn start(prefix: &str, after: Option<&str>, by_folder: bool) -> Bound<String> {
    match after {
        Some(after) if after >= prefix => match after.strip_suffix('/') {
            Some(_) if by_folder => Bound::Included(behind(after)),
            _ => Bound::Excluded(after.to_owned()),
        },
        _ => Bound::Included(prefix.to_owned()),
    }
}

/// The folder that `name` shows as under `prefix`, `/` included.
fn folder_of<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let slash = name.get(prefix.len()..)?.find('/')?;
    name.get(..=prefix.len() + slash)
}

/// The first text that sorts behind all that start with `folder`, which ends
/// with `/`: `0` is the byte after `/`.
fn behind(folder: &str) -> String {
    format!("{}0", folder.strip_suffix('/').unwrap_or(folder))
}

fn as_str(bound: &Bound<String>) -> Bound<&str> {
    match bound {
        Bound::Included(text) => Bound::Included(text),
        Bound::Excluded(text) => Bound::Excluded(text),
        Bound::Unbounded => Bound::Unbounded,
    }
}
