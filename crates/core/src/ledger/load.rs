//! Reading all rows back.

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableError, TableHandle};
use serde::de::DeserializeOwned;

use super::error::LedgerError;
use super::row::{TABLES, Table, Tally};
use crate::catalog::{
    Catalog, ClientRecord, FileRecord, ForeignRange, MemberRecord, Rows, RunRecord, StripeRecord,
};

const LOADING: &str = "loading its rows";

/// Reads every row, checks each by itself, all against the tally, and that
/// they fit together. A file of an earlier `format` lacks tables.
pub(super) fn load(database: &Database, format: u32) -> Result<(Tally, Catalog), LedgerError> {
    let transaction = database.begin_read().map_err(|error| refused(error.into()))?;
    check_tables(&transaction)?;
    let mut found = Tally::default();
    let tally = only(Table::Tally, read::<Tally>(&transaction, format, Table::Tally, None)?)?
        .ok_or_else(|| LedgerError::damaged("its tally is not there"))?;
    let counted = &mut found;
    let rows = Rows {
        cluster: only(Table::Cluster, read(&transaction, format, Table::Cluster, Some(counted))?)?,
        runs: keyed(
            Table::Runs,
            read(&transaction, format, Table::Runs, Some(counted))?,
            |row: &RunRecord| row.run.epoch.0,
        )?,
        foreign: keyed(
            Table::Foreign,
            read(&transaction, format, Table::Foreign, Some(counted))?,
            |row: &ForeignRange| row.start,
        )?,
        members: keyed(
            Table::Members,
            read(&transaction, format, Table::Members, Some(counted))?,
            |row: &MemberRecord| u64::from(row.index.0),
        )?,
        files: keyed(
            Table::Files,
            read(&transaction, format, Table::Files, Some(counted))?,
            |row: &FileRecord| row.id.0,
        )?,
        stripes: keyed(
            Table::Stripes,
            read(&transaction, format, Table::Stripes, Some(counted))?,
            |row: &StripeRecord| row.first_handle.0,
        )?,
        uptime: only(Table::Uptime, read(&transaction, format, Table::Uptime, Some(counted))?)?,
        clients: keyed(
            Table::Clients,
            read(&transaction, format, Table::Clients, Some(counted))?,
            |row: &ClientRecord| row.client.0,
        )?,
    };
    found.commit = tally.commit;
    if found != tally {
        let (found, expected) = (found.rows, tally.rows);
        return Err(LedgerError::damaged(format!(
            "its {found} rows are not the {expected} that its tally sums up"
        )));
    }
    let catalog =
        Catalog::restore(rows).map_err(|misfit| LedgerError::damaged(misfit.to_string()))?;
    Ok((tally, catalog))
}

fn check_tables(transaction: &ReadTransaction) -> Result<(), LedgerError> {
    for table in transaction.list_tables().map_err(|error| refused(error.into()))? {
        if !TABLES.iter().any(|known| known.name() == table.name()) {
            let name = table.name().escape_debug().to_string();
            return Err(LedgerError::damaged(format!("it has a table {name:.64} of nobody's")));
        }
    }
    Ok(())
}

/// All rows of a table, each with its key.
fn read<T: DeserializeOwned>(
    transaction: &ReadTransaction,
    format: u32,
    table: Table,
    mut counted: Option<&mut Tally>,
) -> Result<Vec<(u64, T)>, LedgerError> {
    let mut records = Vec::new();
    let rows = match transaction.open_table(table.definition()) {
        Ok(rows) => rows,
        Err(TableError::TableDoesNotExist(_)) if format < table.since_format() => {
            return Ok(records);
        }
        Err(error) => return Err(refused(error.into())),
    };
    for row in rows.iter().map_err(|error| refused(error.into()))? {
        let (key, value) = row.map_err(|error| refused(error.into()))?;
        let (key, value) = (key.value(), value.value());
        let sum = table.check(key, value)?;
        if let Some(tally) = counted.as_deref_mut() {
            tally.add(sum);
        }
        records.push((key, table.record(key, value)?));
    }
    Ok(records)
}

fn only<T>(table: Table, rows: Vec<(u64, T)>) -> Result<Option<T>, LedgerError> {
    let mut rows = rows.into_iter();
    match (rows.next(), rows.next()) {
        (None, _) => Ok(None),
        (Some((0, row)), None) => Ok(Some(row)),
        _ => Err(LedgerError::damaged(format!("table {} has rows too many", table.name()))),
    }
}

fn keyed<T>(
    table: Table,
    rows: Vec<(u64, T)>,
    key_of: impl Fn(&T) -> u64,
) -> Result<Vec<T>, LedgerError> {
    let check = |(key, row): (u64, T)| match key_of(&row) {
        own if own == key => Ok(row),
        own => Err(LedgerError::damaged(format!(
            "table {}, row {key}: its record is that of {own}",
            table.name()
        ))),
    };
    rows.into_iter().map(check).collect()
}

fn refused(error: redb::Error) -> LedgerError {
    LedgerError::redb(LOADING)(error)
}
