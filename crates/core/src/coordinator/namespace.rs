//! Removing and renaming files.

use super::role::Coordinator;
use crate::api::{Error, Kind, PutMode, Remove, Removed, Rename, Result};
use crate::catalog::{Command, Listed, Listing};
use crate::name::FileName;

/// The most names in one command. A removal of more is done in several, so
/// that no single one holds the catalog up; each by itself is atomic.
const NAMES_PER_COMMAND_MAX: usize = 1000;
/// Files and stripes in one such command, beyond which it takes no more names.
const ROWS_PER_COMMAND_MAX: usize = 4096;

impl Coordinator {
    /// See [`crate::api::CoordinatorService::remove`].
    pub(super) async fn remove_files(&self, request: Remove) -> Result<Removed> {
        if !request.is_dry_run {
            self.wait_to_lead().await?;
        }
        if !request.is_recursive {
            let name = FileName::new(request.path).map_err(invalid)?;
            let size = self
                .door
                .read(|catalog| catalog.file(&name).map(|file| file.size))
                .await?
                .ok_or_else(|| not_found(&name))?;
            if !request.is_dry_run {
                self.change(Command::RemoveFiles { names: vec![name] }).await?;
            }
            return Ok(Removed { files: 1, bytes: size });
        }
        let folder = request.path.trim_end_matches('/');
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let mut removed = Removed { files: 0, bytes: 0 };
        let mut after = None;
        loop {
            let page = self
                .door
                .read(|catalog| {
                    let after = after.as_ref().map(FileName::as_str);
                    let mut listing = Listing::new(&prefix, after, false);
                    let (names, rows) = (NAMES_PER_COMMAND_MAX, ROWS_PER_COMMAND_MAX);
                    let entries = catalog.list_on(&mut listing, names, rows);
                    let file = |listed| match listed {
                        Listed::File(file) => Some((file.name.clone(), file.size)),
                        Listed::Folder { .. } => None,
                    };
                    entries.into_iter().filter_map(file).collect::<Vec<_>>()
                })
                .await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            removed.files += page.len() as u64;
            removed.bytes += page.iter().map(|(_, size)| size).sum::<u64>();
            if !request.is_dry_run {
                let names = page.into_iter().map(|(name, _)| name).collect();
                self.change(Command::RemoveFiles { names }).await?;
            }
        }
        if removed.files == 0 {
            return Err(Error::new(
                Kind::NotFound,
                format!("no file lies under {:?}", request.path),
            ));
        }
        Ok(removed)
    }

    /// See [`crate::api::CoordinatorService::rename`].
    pub(super) async fn rename_file(&self, request: Rename) -> Result<()> {
        let replace = request.mode == PutMode::Replace;
        let command = Command::Rename { from: request.from, to: request.to, replace };
        self.change(command).await.map(|_| ())
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
