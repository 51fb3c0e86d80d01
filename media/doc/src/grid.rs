//! The cells of a spreadsheet, each where it stands: what a page shows as a table. Bounded; what is beyond is in the original, and that is told.
//!
//! Cells are texts. Formats, formulas and charts are not here: LibreOffice's pages show them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::limits::{GRID_BYTES, GRID_CELL_CHARS, GRID_COLUMNS, GRID_ROWS, GRID_SHEETS};
use crate::words::line;

/// What a cell takes besides its text, in memory and on the line: a million cells of one letter are many.
const CELL_BYTES: usize = 8;

/// The sheets of a book, in its order.
#[derive(Default)]
pub struct Grid {
    sheets: Vec<Sheet>,
    /// Of all cells so far.
    bytes: usize,
    /// Sheets beyond the last: their cells are dropped.
    is_full: bool,
}

#[derive(Default, Serialize)]
pub struct Sheet {
    name: String,
    /// By row and column, both from 0. A sheet of two cells has two, wherever they stand.
    rows: BTreeMap<u32, BTreeMap<u32, String>>,
    /// It has more than is here.
    cut: bool,
}

impl Grid {
    /// Begins the next sheet.
    pub fn sheet(&mut self, name: &str) {
        self.is_full = self.sheets.len() >= GRID_SHEETS;
        match self.is_full {
            true => self.cut(),
            false => self.sheets.push(Sheet {
                name: line(name).unwrap_or_default(),
                ..Sheet::default()
            }),
        }
    }

    /// Adds a cell to the sheet that was begun last; what is said twice is what was said last.
    pub fn cell(&mut self, row: u32, column: u32, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        if self.is_full || row >= GRID_ROWS || column >= GRID_COLUMNS || self.bytes >= GRID_BYTES {
            return self.cut();
        }
        let (text, Some(sheet)) = (shortened(text), self.sheets.last_mut()) else {
            return;
        };
        self.bytes += text.len() + CELL_BYTES;
        sheet.rows.entry(row).or_default().insert(column, text);
    }

    /// Says that the sheet that was begun last has more.
    pub fn cut(&mut self) {
        if let Some(sheet) = self.sheets.last_mut() {
            sheet.cut = true;
        }
    }

    /// Repeats a row of the sheet that was begun last, so many times below itself.
    pub fn repeat(&mut self, row: u32, times: u32) {
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
                self.cell(row.saturating_add(n), *column, text);
            }
        }
    }

    /// The sheets, if any of them has a cell.
    pub fn into_sheets(self) -> Option<Vec<Sheet>> {
        self.sheets
            .iter()
            .any(|sheet| !sheet.rows.is_empty())
            .then_some(self.sheets)
    }
}

fn shortened(text: &str) -> String {
    let clean = text
        .trim()
        .chars()
        .filter(|character| !character.is_control() || *character == '\n');
    clean.take(GRID_CELL_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(grid: Grid) -> Sheet {
        grid.into_sheets().expect("cells").remove(0)
    }

    #[test]
    fn cells_stand_where_they_stood_and_two_far_ones_cost_two() {
        let mut grid = Grid::default();
        grid.sheet("期中 成绩");
        grid.cell(0, 0, " 姓名\u{0} ");
        grid.cell(GRID_ROWS - 1, GRID_COLUMNS - 1, "95");
        grid.cell(1, 0, "");
        let sheet = one(grid);
        assert_eq!(
            (sheet.name.as_str(), sheet.rows.len(), sheet.cut),
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
    fn what_is_beyond_the_limits_is_told_and_not_kept() {
        for (row, column) in [(GRID_ROWS, 0), (0, GRID_COLUMNS), (u32::MAX, u32::MAX)] {
            let mut grid = Grid::default();
            grid.sheet("表");
            grid.cell(0, 0, "x");
            grid.cell(row, column, "far");
            let sheet = one(grid);
            assert!(sheet.cut && sheet.rows.len() == 1);
        }
        let mut grid = Grid::default();
        for n in 0..=GRID_SHEETS {
            grid.sheet(&n.to_string());
            for row in 0..GRID_ROWS {
                grid.cell(row, 0, &"长".repeat(GRID_CELL_CHARS + 1));
            }
        }
        assert!(grid.bytes < GRID_BYTES + 4 * GRID_CELL_CHARS);
        let sheets = grid.into_sheets().expect("cells");
        assert_eq!(sheets.len(), GRID_SHEETS);
        assert!(
            sheets.iter().any(|sheet| sheet.cut)
                && sheets[0].rows[&0][&0].chars().count() == GRID_CELL_CHARS
        );
    }

    #[test]
    fn a_row_is_repeated_as_far_as_there_is_room() {
        let mut grid = Grid::default();
        grid.sheet("表");
        grid.cell(3, 1, "同上");
        grid.repeat(3, 2);
        grid.repeat(5, u32::MAX);
        let sheet = one(grid);
        assert!(sheet.cut && sheet.rows.len() == (GRID_ROWS - 3) as usize);
        assert_eq!(sheet.rows[&(GRID_ROWS - 1)][&1], "同上");
    }

    #[test]
    fn a_book_without_cells_is_no_table() {
        let mut grid = Grid::default();
        grid.sheet("空");
        grid.cell(0, 0, "  ");
        assert!(grid.into_sheets().is_none());
    }
}
