//! Names in order, page by page, and each page in as many steps as shall be.

use std::ops::Bound;

use super::record::FileRecord;
use super::state::Catalog;
use crate::name::FileName;

/// What is told of a listed file takes a look at its copies: as much as this
/// many rows that are only counted.
const LISTED_STRIPE_ROWS: usize = 4;

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

/// A listing that is made in steps of bounded work, and how far it came.
/// Names that come or go between two steps are in it or not.
#[derive(Debug, Clone)]
pub struct Listing {
    prefix: String,
    by_folder: bool,
    from: Bound<String>,
    /// A folder of which some files were counted.
    folder: Option<Counting>,
    is_done: bool,
}

/// A folder whose files are being counted.
#[derive(Debug, Clone)]
struct Counting {
    prefix: String,
    files: u64,
    bytes: u64,
    /// The last file that was counted.
    last: Option<FileName>,
}

impl Listing {
    /// The names that start with `prefix` and come after `after`. With
    /// `by_folder`, what follows the next `/` after the prefix is shown as one
    /// folder; its files are walked once to be counted.
    #[must_use]
    pub fn new(prefix: &str, after: Option<&str>, by_folder: bool) -> Self {
        let from = start(prefix, after, by_folder);
        Self { prefix: prefix.to_owned(), by_folder, from, folder: None, is_done: false }
    }

    /// Whether nothing follows.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_done
    }
}

impl Catalog {
    /// The names that start with `prefix` and come after `after`, at most
    /// `limit`, in one step; see [`Listing::new`].
    #[must_use]
    pub fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        by_folder: bool,
    ) -> Page<'_> {
        let mut listing = Listing::new(prefix, after, by_folder);
        let entries = self.list_on(&mut listing, limit.max(1), usize::MAX);
        let last = entries.last().filter(|_| !listing.is_done);
        let next = last.map(|entry| entry.name().to_owned());
        Page { entries, next }
    }

    /// Goes on with a listing: at most `entries_max` entries, and fewer when
    /// `rows_max` rows were walked: files, and stripes of files that are
    /// entries themselves, which count fourfold.
    pub fn list_on(
        &self,
        listing: &mut Listing,
        entries_max: usize,
        rows_max: usize,
    ) -> Vec<Listed<'_>> {
        let mut entries: Vec<Listed<'_>> = Vec::new();
        let mut rows = 0;
        loop {
            if let Some(mut counting) = listing.folder.take() {
                if !self.count_on(&mut counting, &mut rows, rows_max) {
                    listing.folder = Some(counting);
                    return entries;
                }
                let Counting { prefix, files, bytes, .. } = counting;
                listing.from = Bound::Included(behind(&prefix));
                if files > 0 {
                    entries.push(Listed::Folder { prefix, files, bytes });
                }
            }
            let next = self.named_from(as_str(&listing.from)).next();
            let Some((name, file)) =
                next.filter(|(name, _)| name.as_str().starts_with(&listing.prefix))
            else {
                listing.is_done = true;
                return entries;
            };
            if entries.len() >= entries_max || rows >= rows_max {
                return entries;
            }
            let folder = folder_of(name.as_str(), &listing.prefix);
            match folder.filter(|_| listing.by_folder) {
                None => {
                    rows += 1 + LISTED_STRIPE_ROWS * file.stripes.len();
                    entries.push(Listed::File(file));
                    listing.from = Bound::Excluded(name.as_str().to_owned());
                }
                Some(folder) => {
                    let prefix = folder.to_owned();
                    listing.folder = Some(Counting { prefix, files: 0, bytes: 0, last: None });
                }
            }
        }
    }

    /// Counts files of a folder; whether that was all of them.
    fn count_on(&self, counting: &mut Counting, rows: &mut usize, rows_max: usize) -> bool {
        let from = match &counting.last {
            Some(last) => Bound::Excluded(last.as_str()),
            None => Bound::Included(counting.prefix.as_str()),
        };
        let mut last: Option<&FileName> = None;
        for (name, file) in self.named_from(from) {
            if !name.as_str().starts_with(&counting.prefix) {
                return true;
            }
            if *rows >= rows_max {
                counting.last = last.cloned().or(counting.last.take());
                return false;
            }
            *rows += 1;
            counting.files += 1;
            counting.bytes = counting.bytes.saturating_add(file.size);
            last = Some(name);
        }
        true
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
