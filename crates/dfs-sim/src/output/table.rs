//! Tables without lines, as shells print them.

use comfy_table::{CellAlignment, Table, presets};

use super::printable;

/// A table with a header.
pub(crate) struct Grid {
    table: Table,
    columns: usize,
}

impl Grid {
    /// A table of these columns. One that starts with `>` stands to the right.
    pub(crate) fn new(headers: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(headers.iter().map(|header| header.trim_start_matches('>')));
        for (index, header) in headers.iter().enumerate() {
            let Some(column) = table.column_mut(index) else { continue };
            column.set_padding((0, 2));
            if header.starts_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self { table, columns: headers.len() }
    }

    /// Adds a row. A line break in a cell is escaped: a text that another
    /// program sent must not look like a row of its own.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns, "a cell for each column");
        self.table.add_row(cells.iter().map(|cell| printable(cell)));
    }

    /// The lines, each indented by `indent` and without blanks at its end.
    pub(crate) fn lines(&self, indent: &str) -> Vec<String> {
        self.table.lines().map(|line| format!("{indent}{}", line.trim_end())).collect()
    }
}
