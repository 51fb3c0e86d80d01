//! Excel's formats, through calamine: cells as text, sheets as outline. Formulas are never computed; their last value is text.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use calamine::{Data, DataRef, Reader, Xls, XlsError, Xlsx};

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
        let Ok(mut cells) = book.worksheet_cells_reader(&name) else { continue };
        let mut row = None;
        while let Some(cell) = cells.next_cell().map_err(Error::broken)? {
            add_cell(&mut content, &mut row, cell.get_position().0, &shown(cell.get_value()));
            if content.text.is_cut() {
                return Ok(content);
            }
        }
        content.text.end_line();
    }
    if package.names().iter().any(|name| name.ends_with("vbaProject.bin")) {
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
        let Ok(range) = book.worksheet_range(&name) else { continue };
        let mut row = None;
        for (at, _, value) in range.used_cells() {
            add_cell(content, &mut row, at as u32, &shown(&as_reference(value)));
        }
        content.text.end_line();
    }
    Ok(())
}

fn open(path: &Path) -> Result<BufReader<File>, Error> {
    File::open(path).map(BufReader::new).map_err(Error::input(path))
}

fn add_cell(content: &mut Content, row: &mut Option<u32>, at: u32, shown: &str) {
    if shown.is_empty() {
        return;
    }
    match row.replace(at) {
        Some(before) if before == at => content.text.push("\t"),
        _ => content.text.end_line(),
    }
    content.text.push(shown);
}

fn shown(value: &DataRef) -> String {
    match value {
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => number.to_string(),
        DataRef::String(text) => text.clone(),
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Bool(value) => value.to_string(),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
        DataRef::DateTime(time) => time.to_string(),
        DataRef::Error(_) | DataRef::Empty => String::new(),
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
