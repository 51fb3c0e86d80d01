//! Excel workbooks (.xlsx and BIFF .xls), through calamine: cells as text and as a grid, sheet
//! names as outline. Formulas are not evaluated; their saved value is used.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use calamine::{Data, DataRef, ExcelDateTime, Reader, Xls, XlsError, Xlsx};

use crate::content::Content;
use crate::docx::read_core_properties;
use crate::error::Error;
use crate::package::Package;

/// Reads a SpreadsheetML package (.xlsx, ECMA-376-1). Cells are streamed: two cells in opposite
/// corners of a sheet cost two cells.
pub fn read_xlsx(path: &Path, package: &mut Package) -> Result<Content, Error> {
    let mut content = Content::default();
    read_core_properties(package, &mut content)?;
    let mut workbook = Xlsx::new(open(path)?).map_err(Error::broken)?;
    for name in workbook.sheet_names() {
        content.push_heading(1, &name, None);
        // A chart sheet has no cells.
        let Ok(mut cells) = workbook.worksheet_cells_reader(&name) else {
            continue;
        };
        content.grid.begin_sheet(&name);
        let mut row = None;
        while let Some(cell) = cells.next_cell().map_err(Error::broken)? {
            add_cell(
                &mut content,
                &mut row,
                cell.get_position(),
                &cell_text(cell.get_value()),
            );
            if content.text.is_truncated() {
                content.grid.mark_truncated();
                return Ok(content);
            }
        }
        content.text.end_line();
    }
    if package.has_entry(|name| name.ends_with("vbaProject.bin")) {
        content.notes.insert("macros");
    }
    Ok(content)
}

/// Reads a workbook in the binary format of Excel 97 to 2003 (MS-XLS).
pub fn read_xls(path: &Path, content: &mut Content) -> Result<(), Error> {
    let mut workbook = Xls::new(open(path)?).map_err(|error| match error {
        XlsError::Password => Error::Encrypted,
        other => Error::broken(other),
    })?;
    for name in workbook.sheet_names() {
        content.push_heading(1, &name, None);
        let Ok(range) = workbook.worksheet_range(&name) else {
            continue;
        };
        content.grid.begin_sheet(&name);
        // Positions are relative to the first used cell.
        let (top, left) = range.start().unwrap_or_default();
        let mut row = None;
        for (down, right, value) in range.used_cells() {
            let at = (
                top.saturating_add(down as u32),
                left.saturating_add(right as u32),
            );
            add_cell(content, &mut row, at, &cell_text(&as_data_ref(value)));
        }
        content.text.end_line();
    }
    Ok(())
}

fn open(path: &Path) -> Result<BufReader<File>, Error> {
    File::open(path)
        .map(BufReader::new)
        .map_err(Error::input(path))
}

/// Adds a cell to text and grid. `row` is the row of the last cell: tabs separate cells of one row.
fn add_cell(content: &mut Content, row: &mut Option<u32>, at: (u32, u32), text: &str) {
    if text.is_empty() {
        return;
    }
    content.grid.set_cell(at.0, at.1, text);
    match row.replace(at.0) {
        Some(before) if before == at.0 => content.text.push("\t"),
        _ => content.text.end_line(),
    }
    content.text.push(text);
}

/// Text of a cell value; empty for errors and empty cells.
fn cell_text(value: &DataRef) -> String {
    match value {
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => format_number(*number),
        DataRef::String(text) => text.clone(),
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Bool(value) => value.to_string(),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
        DataRef::DateTime(time) => format_date_time(time),
        DataRef::Error(_) | DataRef::Empty => String::new(),
    }
}

/// Formats a number with the 15 significant digits of Excel: 0.1 + 0.2 is 0.3, and a pupil number
/// of twelve digits stays an integer.
fn format_number(number: f64) -> String {
    format!("{number:.14e}")
        .parse()
        .unwrap_or(number)
        .to_string()
}

/// Formats a date, a date with time, a time of day or a duration.
fn format_date_time(time: &ExcelDateTime) -> String {
    let (year, month, day, hour, minute, second, _) = time.to_ymd_hms_milli();
    let clock = match second {
        0 => format!("{hour:02}:{minute:02}"),
        _ => format!("{hour:02}:{minute:02}:{second:02}"),
    };
    match time.as_f64() {
        days if time.is_duration() => {
            let seconds = (days * 86_400.0).round() as i64;
            format!(
                "{}:{:02}:{:02}",
                seconds / 3600,
                (seconds / 60 % 60).abs(),
                (seconds % 60).abs()
            )
        }
        // Serial day 0 is not a date: a time of day without date.
        days if (0.0..1.0).contains(&days) => clock,
        days if days.fract() == 0.0 => format!("{year}-{month:02}-{day:02}"),
        _ => format!("{year}-{month:02}-{day:02} {clock}"),
    }
}

fn as_data_ref(value: &Data) -> DataRef<'_> {
    match value {
        Data::Int(number) => DataRef::Int(*number),
        Data::Float(number) => DataRef::Float(*number),
        Data::String(text) => DataRef::SharedString(text),
        Data::Bool(value) => DataRef::Bool(*value),
        Data::DateTime(time) => DataRef::DateTime(*time),
        Data::DateTimeIso(text) | Data::DurationIso(text) => DataRef::SharedString(text),
        _ => DataRef::Empty,
    }
}

#[cfg(test)]
mod tests {
    use calamine::ExcelDateTimeType;

    use super::*;

    #[test]
    fn numbers_and_dates_are_formatted_as_in_a_sheet() {
        for (number, expected) in [
            (0.1 + 0.2, "0.3"),
            (95.0, "95"),
            (88.0 + 1.0 / 3.0, "88.3333333333333"),
            (-0.5, "-0.5"),
            (202601010123.0, "202601010123"),
        ] {
            assert_eq!(format_number(number), expected);
        }
        let time = |days, kind| format_date_time(&ExcelDateTime::new(days, kind, false));
        assert_eq!(time(46266.0, ExcelDateTimeType::DateTime), "2026-09-01");
        assert_eq!(
            time(46266.0 + 500.0 / 1440.0, ExcelDateTimeType::DateTime),
            "2026-09-01 08:20"
        );
        assert_eq!(time(500.0 / 1440.0, ExcelDateTimeType::DateTime), "08:20");
        assert_eq!(time(1.5, ExcelDateTimeType::TimeDelta), "36:00:00");
        for strange in [f64::NAN, f64::INFINITY, -1e300, 1e300] {
            time(strange, ExcelDateTimeType::DateTime);
            time(strange, ExcelDateTimeType::TimeDelta);
        }
    }
}
