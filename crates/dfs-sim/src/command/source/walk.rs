//! The files of a local folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

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

/// All regular files below `folder`, in order, named from `prefix` on.
/// Returns also what was passed over: links and special files.
///
/// # Errors
/// When a folder cannot be read, or a name is not UTF-8.
pub(in crate::command) fn walk(
    folder: &Path,
    prefix: &str,
) -> Result<(Vec<Found>, Vec<PathBuf>), Failure> {
    let mut found = Vec::new();
    let mut passed_over = Vec::new();
    // Folders still to read, the next one last.
    let mut folders = vec![(folder.to_owned(), prefix.to_owned(), 0)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        let refuse = |e: &io::Error| Failure::local("read the folder", &folder, e);
        if depth > DEPTH_MAX {
            let message = format!("{} lies deeper than {DEPTH_MAX} folders", folder.display());
            return Err(Failure::new(Code::Other, message));
        }
        let mut entries = fs::read_dir(&folder)
            .and_then(Iterator::collect::<io::Result<Vec<_>>>)
            .map_err(|e| refuse(&e))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        let mut below = Vec::new();
        for entry in entries {
            let path = entry.path();
            let Some(base) = entry.file_name().to_str().map(str::to_owned) else {
                return Err(Failure::usage(format!(
                    "the name of {} is not UTF-8: rename it",
                    path.display()
                )));
            };
            let name = format!("{prefix}/{base}");
            let kind = entry.file_type().map_err(|e| refuse(&e))?;
            if kind.is_dir() {
                below.push((path, name, depth + 1));
            } else if kind.is_file() {
                let size = entry.metadata().map_err(|e| refuse(&e))?.len();
                found.push(Found { path, name, size });
            } else {
                passed_over.push(path);
            }
        }
        folders.extend(below.into_iter().rev());
    }
    Ok((found, passed_over))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_walked_in_order_without_following_links() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        fs::create_dir_all(root.join("b/deep")).expect("folders");
        for name in ["z", "a", "b/deep/x"] {
            fs::write(root.join(name), name).expect("a file");
        }
        std::os::unix::fs::symlink("/etc", root.join("link")).expect("a link");
        let (found, passed_over) = walk(root, "p").expect("a walk");
        let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["p/a", "p/z", "p/b/deep/x"]);
        assert_eq!(passed_over, [root.join("link")]);
    }
}
