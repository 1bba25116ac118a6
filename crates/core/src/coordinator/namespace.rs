//! Removing and renaming files.

use super::request::other_request;
use super::role::Coordinator;
use crate::api::{Error, Kind, PutMode, Remove, Removed, Rename, Result};
use crate::catalog::{Answer, Command, Gone, Listed, Listing};
use crate::limit::limit;
use crate::name::FileName;

/// The most names in one command. A removal of more is done in several, so
/// that no single one holds the catalog up; each by itself is atomic.
const NAMES_PER_COMMAND_MAX: usize = 1000;
/// Files and stripes in one such command, beyond which it takes no more names.
const ROWS_PER_COMMAND_MAX: usize = 4096;

impl Coordinator {
    /// See [`crate::api::CoordinatorService::remove`].
    pub(super) async fn remove_files(&self, request: Remove) -> Result<Removed> {
        if request.is_recursive {
            return self.remove_folder(request).await;
        }
        let name = FileName::new(request.path).map_err(invalid)?;
        if request.is_dry_run {
            let size =
                self.door.read_soon(|catalog| catalog.file(&name).map(|file| file.size)).await?;
            let bytes = size.ok_or_else(|| not_found(&name))?;
            return Ok(Removed { files: 1, bytes });
        }
        let command = Command::RemoveFiles { names: vec![name.clone()] };
        match self.submit_change(request.request, Answer::Removed(Gone::default()), command).await?
        {
            Answer::Removed(Gone { files: 0, .. }) => Err(not_found(&name)),
            Answer::Removed(Gone { files, bytes }) => Ok(Removed { files, bytes }),
            other => Err(other_request(&other)),
        }
    }

    /// Removes all that lies under a folder, in commands of bounded size under
    /// one request. A repeat goes on where the request was interrupted, adds
    /// to its sum, and gets the first answer once there is one.
    async fn remove_folder(&self, request: Remove) -> Result<Removed> {
        let folder = request.path.trim_end_matches('/');
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let mut listing = Listing::new(&prefix, None, false);
        let mut sum = Gone::default();
        while !listing.is_done() {
            let page = self
                .door
                .read(|catalog| {
                    let names = limit(NAMES_PER_COMMAND_MAX, 2);
                    let rows = limit(ROWS_PER_COMMAND_MAX, 3);
                    let entries = catalog.list_on(&mut listing, names, rows);
                    let file = |listed| match listed {
                        Listed::File(file) => Some((file.name.clone(), file.size)),
                        Listed::Folder { .. } => None,
                    };
                    entries.into_iter().filter_map(file).collect::<Vec<_>>()
                })
                .await?;
            if request.is_dry_run {
                sum.files += page.len() as u64;
                sum.bytes += page.iter().map(|(_, size)| size).sum::<u64>();
                continue;
            }
            let command =
                Command::RemoveFiles { names: page.into_iter().map(|(name, _)| name).collect() };
            // The last part closes the request, also where nothing is left.
            let answer = match listing.is_done() {
                true => Answer::Removed(sum),
                false => Answer::Removing(sum),
            };
            match self.submit_change(request.request, answer, command).await? {
                Answer::Removing(gone) => sum = gone,
                Answer::Removed(gone) => {
                    sum = gone;
                    break;
                }
                other => return Err(other_request(&other)),
            }
        }
        if sum.files == 0 {
            return Err(Error::new(
                Kind::NotFound,
                format!("no file lies under {:?}", request.path),
            ));
        }
        Ok(Removed { files: sum.files, bytes: sum.bytes })
    }

    /// See [`crate::api::CoordinatorService::rename`].
    pub(super) async fn rename_file(&self, request: Rename) -> Result<()> {
        let replace = request.mode == PutMode::Replace;
        let command = Command::Rename { from: request.from, to: request.to, replace };
        match self.submit_change(request.request, Answer::Renamed, command).await? {
            Answer::Renamed => Ok(()),
            other => Err(other_request(&other)),
        }
    }
}

/// A refusal of something that breaks a rule.
pub(super) fn invalid(error: impl std::fmt::Display) -> Error {
    Error::new(Kind::Invalid, error.to_string())
}

/// There is no file of this name.
pub(super) fn not_found(name: &FileName) -> Error {
    Error::new(Kind::NotFound, format!("there is no file {name:?}", name = name.as_str()))
}
