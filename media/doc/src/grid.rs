//! Cell grid of a spreadsheet, for the table that the client shows.
//!
//! The size is bounded; a sheet with more cells is marked as truncated. Cells are text. Formats,
//! formulas and charts are not included: the rendered pages show them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::content::single_line;
use crate::limits::{GRID_BYTES, GRID_CELL_CHARS, GRID_COLUMNS, GRID_ROWS, GRID_SHEETS};

/// Overhead of a cell in bytes besides its text, in memory and in the JSON file.
const CELL_BYTES: usize = 8;

/// Sheets of a workbook in order.
#[derive(Default)]
pub struct Grid {
    sheets: Vec<Sheet>,
    /// Size of all cells so far.
    bytes: usize,
    /// True after [`GRID_SHEETS`] sheets: further cells are dropped.
    is_full: bool,
}

/// Cells of one sheet.
#[derive(Default, Serialize)]
pub struct Sheet {
    name: String,
    /// Non-empty cells by row and column, both from 0.
    rows: BTreeMap<u32, BTreeMap<u32, String>>,
    /// True if cells were dropped.
    #[serde(rename = "cut")]
    truncated: bool,
}

impl Grid {
    /// Begins the next sheet; sheets beyond the limit are dropped.
    pub fn begin_sheet(&mut self, name: &str) {
        self.is_full = self.sheets.len() >= GRID_SHEETS;
        match self.is_full {
            true => self.mark_truncated(),
            false => self.sheets.push(Sheet {
                name: single_line(name).unwrap_or_default(),
                ..Sheet::default()
            }),
        }
    }

    /// Sets a cell of the current sheet. The last of several values for one cell applies.
    pub fn set_cell(&mut self, row: u32, column: u32, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        if self.is_full || row >= GRID_ROWS || column >= GRID_COLUMNS || self.bytes >= GRID_BYTES {
            return self.mark_truncated();
        }
        let (text, Some(sheet)) = (clean_cell(text), self.sheets.last_mut()) else {
            return;
        };
        self.bytes += text.len() + CELL_BYTES;
        sheet.rows.entry(row).or_default().insert(column, text);
    }

    /// Marks the current sheet as truncated.
    pub fn mark_truncated(&mut self) {
        if let Some(sheet) = self.sheets.last_mut() {
            sheet.truncated = true;
        }
    }

    /// Copies a row of the current sheet to the `times` rows below it.
    pub fn repeat_row(&mut self, row: u32, times: u32) {
        if self.is_full {
            return;
        }
        let Some(cells) = self
            .sheets
            .last()
            .and_then(|sheet| sheet.rows.get(&row))
            .cloned()
        else {
            return;
        };
        for n in 1..=times.min(GRID_ROWS) {
            for (column, text) in &cells {
                self.set_cell(row.saturating_add(n), *column, text);
            }
        }
    }

    /// Returns the sheets; `None` if no sheet has a cell.
    pub fn into_sheets(self) -> Option<Vec<Sheet>> {
        self.sheets
            .iter()
            .any(|sheet| !sheet.rows.is_empty())
            .then_some(self.sheets)
    }
}

/// Text of a cell without control characters, at most [`GRID_CELL_CHARS`] long.
fn clean_cell(text: &str) -> String {
    let clean = text
        .trim()
        .chars()
        .filter(|character| !character.is_control() || *character == '\n');
    clean.take(GRID_CELL_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only_sheet(grid: Grid) -> Sheet {
        grid.into_sheets().expect("cells").remove(0)
    }

    #[test]
    fn cells_keep_their_place_and_the_grid_is_sparse() {
        let mut grid = Grid::default();
        grid.begin_sheet("期中 成绩");
        grid.set_cell(0, 0, " 姓名\u{0} ");
        grid.set_cell(GRID_ROWS - 1, GRID_COLUMNS - 1, "95");
        grid.set_cell(1, 0, "");
        let sheet = only_sheet(grid);
        assert_eq!(
            (sheet.name.as_str(), sheet.rows.len(), sheet.truncated),
            ("期中 成绩", 2, false)
        );
        assert_eq!(
            (
                sheet.rows[&0][&0].as_str(),
                sheet.rows[&(GRID_ROWS - 1)].len()
            ),
            ("姓名", 1)
        );
    }

    #[test]
    fn cells_beyond_the_limits_are_dropped_and_marked() {
        for (row, column) in [(GRID_ROWS, 0), (0, GRID_COLUMNS), (u32::MAX, u32::MAX)] {
            let mut grid = Grid::default();
            grid.begin_sheet("表");
            grid.set_cell(0, 0, "x");
            grid.set_cell(row, column, "far");
            let sheet = only_sheet(grid);
            assert!(sheet.truncated && sheet.rows.len() == 1);
        }
        let mut grid = Grid::default();
        for n in 0..=GRID_SHEETS {
            grid.begin_sheet(&n.to_string());
            for row in 0..GRID_ROWS {
                grid.set_cell(row, 0, &"长".repeat(GRID_CELL_CHARS + 1));
            }
        }
        assert!(grid.bytes < GRID_BYTES + 4 * GRID_CELL_CHARS);
        let sheets = grid.into_sheets().expect("cells");
        assert_eq!(sheets.len(), GRID_SHEETS);
        assert!(
            sheets.iter().any(|sheet| sheet.truncated)
                && sheets[0].rows[&0][&0].chars().count() == GRID_CELL_CHARS
        );
    }

    #[test]
    fn a_row_is_repeated_up_to_the_limit() {
        let mut grid = Grid::default();
        grid.begin_sheet("表");
        grid.set_cell(3, 1, "同上");
        grid.repeat_row(3, 2);
        grid.repeat_row(5, u32::MAX);
        let sheet = only_sheet(grid);
        assert!(sheet.truncated && sheet.rows.len() == (GRID_ROWS - 3) as usize);
        assert_eq!(sheet.rows[&(GRID_ROWS - 1)][&1], "同上");
    }

    #[test]
    fn a_workbook_without_cells_has_no_sheets() {
        let mut grid = Grid::default();
        grid.begin_sheet("空");
        grid.set_cell(0, 0, "  ");
        assert!(grid.into_sheets().is_none());
    }
}
