//! Writing the catalog that is in memory to another folder: the way out when
//! the ledger's own folder is gone.

use std::io::ErrorKind;
use std::sync::Arc;

use super::role::Coordinator;
use crate::api::{Error, Kind, Rescued, Result};
use crate::catalog::Catalog;
use crate::env::{self, Disk, Work};
use crate::ledger;

impl Coordinator {
    /// See [`crate::api::CoordinatorService::rescue`].
    pub(super) async fn rescue_catalog(&self, folder: String) -> Result<Rescued> {
        let own = self.env.disk.clone();
        // What is written was durable: nothing that a reader was not told.
        let (catalog, seen) = self.door.look(Catalog::clone);
        self.door.settle(seen).await?;
        let position = self.door.position();
        let files = catalog.totals().files;
        tracing::warn!(%folder, files, "writes the catalog to another folder");
        let write = move || {
            let disk: Arc<dyn Disk> = own
                .new_folder(&folder)
                .map_err(|error| {
                    let kind = match error.kind() {
                        ErrorKind::InvalidInput | ErrorKind::DirectoryNotEmpty => Kind::Invalid,
                        ErrorKind::NotADirectory => Kind::Invalid,
                        ErrorKind::StorageFull => Kind::NoSpace,
                        _ => Kind::Internal,
                    };
                    Error::new(kind, format!("the catalog is not written: {error}"))
                })?
                .into();
            ledger::rescue(&*disk, &catalog, position).map_err(Error::from)
        };
        let position = env::run(&*self.env.pool, Work::Disk, write).await?;
        Ok(Rescued { files, position })
    }
}
