//! The files of a local folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::command::select::Selection;
use crate::exit::{Code, Failure};

/// How deep folders may lie in each other.
const DEPTH_MAX: usize = 256;

/// A local file and the name that it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::command) struct Found {
    /// Where it is.
    pub(in crate::command) path: PathBuf,
    /// Its name in the store.
    pub(in crate::command) name: String,
    /// Its bytes, when it was looked at.
    pub(in crate::command) size: u64,
}

/// What lies in folders: what can be stored, and what cannot.
#[derive(Debug, Default)]
pub(in crate::command) struct Walked {
    /// The regular files, in order.
    pub(in crate::command) files: Vec<Found>,
    /// What is no file with bytes of its own: links, sockets, pipes, devices.
    pub(in crate::command) skipped: Vec<PathBuf>,
    /// What could not be looked at or named, and why.
    pub(in crate::command) failed: Vec<(PathBuf, Failure)>,
    /// How many files and folders the person did not mean.
    pub(in crate::command) left_out: u64,
}

/// A folder that is still to be read.
struct Folder {
    path: PathBuf,
    /// Its path below the folder that was named.
    below: String,
    depth: usize,
}

impl Walked {
    /// Adds all that lies below `folder`, named from `prefix` on. What cannot
    /// be read is noted, and the rest is walked all the same.
    pub(in crate::command) fn add_folder(
        &mut self,
        folder: &Path,
        prefix: &str,
        selection: Selection<'_>,
    ) {
        // Folders still to read, the next one last.
        let top = Folder { path: folder.to_owned(), below: String::new(), depth: 0 };
        let mut folders = vec![top];
        while let Some(folder) = folders.pop() {
            match self.one_folder(&folder, prefix, selection) {
                Ok(below) => folders.extend(below.into_iter().rev()),
                Err(failure) => self.failed.push((folder.path, failure)),
            }
        }
    }

    /// Adds the files of one folder; returns the folders in it.
    fn one_folder(
        &mut self,
        folder: &Folder,
        prefix: &str,
        selection: Selection<'_>,
    ) -> Result<Vec<Folder>, Failure> {
        let refuse = |e: &io::Error| Failure::local("read the folder", &folder.path, e);
        if folder.depth > DEPTH_MAX {
            let message = format!("{} lies deeper than {DEPTH_MAX} folders", folder.path.display());
            return Err(Failure::new(Code::Other, message));
        }
        let mut entries = fs::read_dir(&folder.path)
            .and_then(Iterator::collect::<io::Result<Vec<_>>>)
            .map_err(|e| refuse(&e))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        let mut folders = Vec::new();
        for entry in entries {
            let path = entry.path();
            let looked = entry.file_type().and_then(|kind| Ok((kind, entry.metadata()?.len())));
            let (kind, size) = match looked {
                Ok(looked) => looked,
                Err(error) => {
                    let failure = Failure::local("look at", &path, &error);
                    self.failed.push((path, failure));
                    continue;
                }
            };
            if !kind.is_dir() && !kind.is_file() {
                self.skipped.push(path);
                continue;
            }
            let Some(base) = entry.file_name().to_str().map(str::to_owned) else {
                let text = format!("the name of {} is not UTF-8: rename it", path.display());
                self.failed.push((path, Failure::usage(text)));
                continue;
            };
            let below = match folder.below.as_str() {
                "" => base,
                above => format!("{above}/{base}"),
            };
            if kind.is_dir() && selection.enters(&below) {
                folders.push(Folder { path, below, depth: folder.depth + 1 });
            } else if kind.is_file() && selection.takes(&below) {
                self.files.push(Found { path, name: format!("{prefix}/{below}"), size });
            } else {
                self.left_out += 1;
            }
        }
        Ok(folders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Selection<'static> = Selection { include: &[], exclude: &[] };

    #[test]
    fn a_folder_is_walked_in_order_without_following_links() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        fs::create_dir_all(root.join("b/deep")).expect("folders");
        for name in ["z", "a", "b/deep/x"] {
            fs::write(root.join(name), name).expect("a file");
        }
        std::os::unix::fs::symlink("/etc", root.join("link")).expect("a link");
        let mut walked = Walked::default();
        walked.add_folder(root, "p", ALL);
        let names: Vec<&str> = walked.files.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["p/a", "p/z", "p/b/deep/x"]);
        assert_eq!(walked.skipped, [root.join("link")]);
        assert!(walked.failed.is_empty());

        let exclude = [glob::Pattern::new("b").expect("a pattern")];
        let mut chosen = Walked::default();
        chosen.add_folder(root, "p", Selection { include: &[], exclude: &exclude });
        let names: Vec<&str> = chosen.files.iter().map(|found| found.name.as_str()).collect();
        assert_eq!((names, chosen.left_out), (vec!["p/a", "p/z"], 1));
    }

    #[test]
    fn what_cannot_be_named_or_read_fails_by_itself() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        fs::write(root.join("a"), "a").expect("a file");
        fs::write(root.join(std::ffi::OsStr::from_bytes(b"b\xff")), "b").expect("a file");
        let mut walked = Walked::default();
        walked.add_folder(root, "p", ALL);
        walked.add_folder(&root.join("gone"), "q", ALL);
        assert_eq!(walked.files.len(), 1);
        let failed: Vec<&str> =
            walked.failed.iter().map(|(_, failure)| failure.message.as_str()).collect();
        assert!(failed[0].contains("not UTF-8") && failed[1].contains("cannot read"), "{failed:?}");
    }
}
