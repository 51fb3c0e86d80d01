//! Excel's formats, through calamine: cells as text and as a table, sheets as outline. Formulas are never computed; their last value is text.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use calamine::{Data, DataRef, ExcelDateTime, Reader, Xls, XlsError, Xlsx};

use crate::error::Error;
use crate::package::Package;
use crate::word::properties;
use crate::words::Content;

/// The package format. Cells are streamed: two cells in opposite corners of a sheet cost two cells.
pub fn read_package(path: &Path, package: &mut Package) -> Result<Content, Error> {
    let mut content = Content::default();
    properties(package, &mut content)?;
    let mut book = Xlsx::new(open(path)?).map_err(Error::broken)?;
    for name in book.sheet_names() {
        content.heading(1, &name, None);
        // A chart sheet has no cells.
        let Ok(mut cells) = book.worksheet_cells_reader(&name) else {
            continue;
        };
        content.grid.sheet(&name);
        let mut row = None;
        while let Some(cell) = cells.next_cell().map_err(Error::broken)? {
            add_cell(
                &mut content,
                &mut row,
                cell.get_position(),
                &shown(cell.get_value()),
            );
            if content.text.is_cut() {
                content.grid.cut();
                return Ok(content);
            }
        }
        content.text.end_line();
    }
    if package
        .names()
        .iter()
        .any(|name| name.ends_with("vbaProject.bin"))
    {
        content.notes.insert("macros");
    }
    Ok(content)
}

/// The binary format of Excel 97 to 2003.
pub fn read_binary(path: &Path, content: &mut Content) -> Result<(), Error> {
    let mut book = Xls::new(open(path)?).map_err(|error| match error {
        XlsError::Password => Error::Encrypted,
        other => Error::broken(other),
    })?;
    for name in book.sheet_names() {
        content.heading(1, &name, None);
        let Ok(range) = book.worksheet_range(&name) else {
            continue;
        };
        content.grid.sheet(&name);
        // Places are told from the first cell that is used.
        let (top, left) = range.start().unwrap_or_default();
        let mut row = None;
        for (down, right, value) in range.used_cells() {
            let at = (
                top.saturating_add(down as u32),
                left.saturating_add(right as u32),
            );
            add_cell(content, &mut row, at, &shown(&as_reference(value)));
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

fn add_cell(content: &mut Content, row: &mut Option<u32>, at: (u32, u32), shown: &str) {
    if shown.is_empty() {
        return;
    }
    content.grid.cell(at.0, at.1, shown);
    match row.replace(at.0) {
        Some(before) if before == at.0 => content.text.push("\t"),
        _ => content.text.end_line(),
    }
    content.text.push(shown);
}

fn shown(value: &DataRef) -> String {
    match value {
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => plain(*number),
        DataRef::String(text) => text.clone(),
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Bool(value) => value.to_string(),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
        DataRef::DateTime(time) => moment(time),
        DataRef::Error(_) | DataRef::Empty => String::new(),
    }
}

/// To the fifteen places that Excel keeps: 0.1 + 0.2 is 0.3, and a long number of a pupil is whole.
fn plain(number: f64) -> String {
    format!("{number:.14e}")
        .parse()
        .unwrap_or(number)
        .to_string()
}

/// A day, with its time unless that is midnight; a time alone; or how long something took.
fn moment(time: &ExcelDateTime) -> String {
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
        // Day 0 is no day: a time of any day.
        days if (0.0..1.0).contains(&days) => clock,
        days if days.fract() == 0.0 => format!("{year}-{month:02}-{day:02}"),
        _ => format!("{year}-{month:02}-{day:02} {clock}"),
    }
}

fn as_reference(value: &Data) -> DataRef<'_> {
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
    fn numbers_and_days_are_told_as_a_sheet_shows_them() {
        for (number, told) in [
            (0.1 + 0.2, "0.3"),
            (95.0, "95"),
            (88.0 + 1.0 / 3.0, "88.3333333333333"),
            (-0.5, "-0.5"),
            (202601010123.0, "202601010123"),
        ] {
            assert_eq!(plain(number), told);
        }
        let time = |days, kind| moment(&ExcelDateTime::new(days, kind, false));
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
