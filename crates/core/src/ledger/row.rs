//! Rows: what stands in redb's tables.
//!
//! ```text
//! key    u64: index, file id, first handle; 0 in tables of one row
//! value   0  version of the row's form, u8
//!         1  CRC32C of the table's number (u8), the key (u64) and the rest
//!            of the value without this sum, u32
//!         5  the record, in postcard's encoding
//! ```

use redb::TableDefinition;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::LedgerError;
use crate::catalog::Change;
use crate::data::digest::crc32c;

/// How redb sees every table.
pub(super) type Definition = TableDefinition<'static, u64, &'static [u8]>;

const ROW_VERSION: u8 = 1;
const ROW_HEAD_BYTES: usize = 5;

/// The tables. Their numbers stand in sums and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Table {
    /// One row: the sum of all others.
    Tally = 0,
    /// At most one row: what the catalog knows of itself.
    Cluster = 1,
    /// Members by index.
    Members = 2,
    /// Files by id.
    Files = 3,
    /// Stripes by first handle.
    Stripes = 4,
    /// Runs by number. Since format 2.
    Runs = 5,
    /// Foreign numbers by the first. Since format 2.
    Foreign = 6,
    /// At most one row: how long coordinators have run. Since format 2.
    Uptime = 7,
    /// The last requests of clients, by client number. Since format 2.
    Clients = 8,
}

/// All tables.
pub(super) const TABLES: [Table; 9] = [
    Table::Tally,
    Table::Cluster,
    Table::Members,
    Table::Files,
    Table::Stripes,
    Table::Runs,
    Table::Foreign,
    Table::Uptime,
    Table::Clients,
];

/// What all rows but itself come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    /// The commit that wrote it; the first is 1.
    pub(super) commit: u64,
    /// How many rows there are.
    pub(super) rows: u64,
    /// Their sums, added up and wrapped.
    pub(super) sum: u64,
}

/// A row that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadRow {
    #[error("table {table}, row {key}: {fault}")]
    Damaged { table: &'static str, key: u64, fault: &'static str },
    #[error("form {0} of a row")]
    Newer(u8),
}

impl From<BadRow> for LedgerError {
    fn from(row: BadRow) -> Self {
        match row {
            BadRow::Damaged { .. } => Self::damaged(row.to_string()),
            BadRow::Newer(version) => Self::NewerFormat { found: u32::from(version) },
        }
    }
}

impl Table {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tally => "tally",
            Self::Cluster => "cluster",
            Self::Members => "members",
            Self::Files => "files",
            Self::Stripes => "stripes",
            Self::Runs => "runs",
            Self::Foreign => "foreign",
            Self::Uptime => "uptime",
            Self::Clients => "clients",
        }
    }

    /// The first format that has this table.
    pub(super) fn since_format(self) -> u32 {
        let is_later = matches!(self, Self::Runs | Self::Foreign | Self::Uptime | Self::Clients);
        if is_later { 2 } else { 1 }
    }

    pub(super) fn definition(self) -> Definition {
        TableDefinition::new(self.name())
    }

    /// Writes a record down as the value of `key`.
    pub(super) fn seal<T: Serialize>(self, key: u64, record: &T) -> Result<Vec<u8>, LedgerError> {
        let start = vec![ROW_VERSION, 0, 0, 0, 0];
        let mut value = postcard::to_extend(record, start).map_err(|error| {
            LedgerError::Engine { doing: "encoding a row", what: error.to_string() }
        })?;
        let (head, body) = value.split_at_mut(ROW_HEAD_BYTES);
        let sum = self.sum(key, ROW_VERSION, body);
        head[1..].copy_from_slice(&sum.to_le_bytes());
        Ok(value)
    }

    /// Checks a value's sum and hands it out.
    pub(super) fn check(self, key: u64, value: &[u8]) -> Result<u32, BadRow> {
        let bad = |fault| BadRow::Damaged { table: self.name(), key, fault };
        let (head, body) =
            value.split_first_chunk::<ROW_HEAD_BYTES>().ok_or(bad("it is too short"))?;
        let [version, sum @ ..] = *head;
        let sum = u32::from_le_bytes(sum);
        if sum != self.sum(key, version, body) {
            return Err(bad("it fails its checksum"));
        }
        match version {
            ROW_VERSION => Ok(sum),
            0 => Err(bad("its form is 0")),
            newer => Err(BadRow::Newer(newer)),
        }
    }

    /// Reads a checked value's record.
    pub(super) fn record<T: DeserializeOwned>(self, key: u64, value: &[u8]) -> Result<T, BadRow> {
        let bad = |fault| BadRow::Damaged { table: self.name(), key, fault };
        let body = value.get(ROW_HEAD_BYTES..).ok_or(bad("it is too short"))?;
        match postcard::take_from_bytes(body) {
            Ok((record, [])) => Ok(record),
            Ok(_) => Err(bad("bytes are left over behind its record")),
            Err(_) => Err(bad("its record cannot be read")),
        }
    }

    fn sum(self, key: u64, version: u8, body: &[u8]) -> u32 {
        crc32c(&[&[self as u8], &key.to_le_bytes(), &[version], body])
    }
}

impl Tally {
    /// A row came.
    pub(super) fn add(&mut self, sum: u32) {
        self.rows = self.rows.wrapping_add(1);
        self.sum = self.sum.wrapping_add(u64::from(sum));
    }

    /// A row went.
    pub(super) fn take_away(&mut self, sum: u32) {
        self.rows = self.rows.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(u64::from(sum));
    }
}

/// Where a change goes: its table, its key, and its value unless it is to go.
pub(super) fn target(change: &Change) -> Result<(Table, u64, Option<Vec<u8>>), LedgerError> {
    fn put<T: Serialize>(
        table: Table,
        key: u64,
        record: &T,
    ) -> Result<(Table, u64, Option<Vec<u8>>), LedgerError> {
        Ok((table, key, Some(table.seal(key, record)?)))
    }
    match change {
        Change::PutCluster(row) => put(Table::Cluster, 0, row),
        Change::PutRun(row) => put(Table::Runs, row.run.epoch.0, row),
        Change::PutForeign(row) => put(Table::Foreign, row.start, row),
        Change::DeleteForeign(start) => Ok((Table::Foreign, *start, None)),
        Change::PutMember(row) => put(Table::Members, u64::from(row.index.0), row),
        Change::PutFile(row) => put(Table::Files, row.id.0, row),
        Change::DeleteFile(id) => Ok((Table::Files, id.0, None)),
        Change::PutStripe(row) => put(Table::Stripes, row.first_handle.0, row),
        Change::DeleteStripe(first) => Ok((Table::Stripes, first.0, None)),
        Change::PutUptime(row) => put(Table::Uptime, 0, row),
        Change::PutClient(row) => put(Table::Clients, row.client.0, row),
        Change::DeleteClient(client) => Ok((Table::Clients, client.0, None)),
    }
}
