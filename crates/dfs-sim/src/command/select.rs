//! Which files of a folder are meant: `--include` and `--exclude`.

use glob::{MatchOptions, Pattern};

/// `*` stays within a name, `**/` stands for any number of folders.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// A choice among the files of a folder, by their paths below it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Selection<'a> {
    /// With any of these, only what matches one.
    pub(super) include: &'a [Pattern],
    /// Nothing that matches one, nor what lies in a folder that does.
    pub(super) exclude: &'a [Pattern],
}

impl Selection<'_> {
    /// Whether the file at `below` is meant.
    pub(super) fn takes(&self, below: &str) -> bool {
        let is_included = self.include.is_empty() || matches_any(self.include, below);
        let mut folders = below.match_indices('/').map(|(at, _)| &below[..at]);
        is_included && self.enters(below) && folders.all(|folder| self.enters(folder))
    }

    /// Whether files of the folder at `below` may be meant.
    pub(super) fn enters(&self, below: &str) -> bool {
        !matches_any(self.exclude, below)
    }
}

/// A pattern without a `/` is of a name, one with a `/` of a whole path.
fn matches_any(patterns: &[Pattern], below: &str) -> bool {
    let name = below.rsplit('/').next().unwrap_or(below);
    patterns.iter().any(|pattern| {
        let of = if pattern.as_str().contains('/') { below } else { name };
        pattern.matches_with(of, OPTIONS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::new(text).expect("a pattern")).collect()
    }

    #[test]
    fn names_paths_and_folders_are_chosen_as_written() {
        let takes = |include: &[&str], exclude: &[&str], below: &str| {
            let (include, exclude) = (patterns(include), patterns(exclude));
            Selection { include: &include, exclude: &exclude }.takes(below)
        };
        assert!(takes(&[], &[], "a/b.txt"));
        assert!(takes(&["*.txt"], &[], "a/b.txt") && !takes(&["*.txt"], &[], "a/b.png"));
        assert!(!takes(&[], &["*.txt"], "a/b.txt"));
        assert!(!takes(&["*.txt"], &["b*"], "a/b.txt"), "what is excluded stays out");
        assert!(!takes(&[], &["node_modules"], "x/node_modules/y/z"), "and all that lies in it");
        assert!(!takes(&[], &["a/*"], "a/b/c"), "the folder a/b is excluded");
        assert!(takes(&[], &["a/*.c"], "a/b/x.c"), "a star stays within a name");
        assert!(!takes(&[], &["a/**/*.c"], "a/b/d/x.c"));
        assert!(takes(&[".*"], &[], ".git") && takes(&["*"], &[], ".git"));
    }
}
