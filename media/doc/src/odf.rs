//! OpenDocument (ISO 26300): texts, presentations and sheets share one content.xml.

use memchr::memmem;

use crate::error::Error;
use crate::limits::{GRID_COLUMNS, GRID_ROWS};
use crate::package::Package;
use crate::word::Properties;
use crate::words::{Content, line};
use crate::xml::{Attributes, Visitor, walk};

pub fn read(package: &mut Package) -> Result<Content, Error> {
    if let Some(manifest) = package.read("META-INF/manifest.xml")?
        && memmem::find(&manifest, b"encryption-data").is_some()
    {
        return Err(Error::Encrypted);
    }
    let mut content = Content::default();
    if let Some(part) = package.read("meta.xml")? {
        let mut found = Properties::default();
        walk(&part, &mut found)?;
        content.title = line(&found.title);
        content.author = line(&found.author);
    }
    body(&package.demand("content.xml")?, &mut content)?;
    if package
        .names()
        .iter()
        .any(|name| name.starts_with("Basic/"))
    {
        content.notes.insert("macros");
    }
    Ok(content)
}

/// Adds what content.xml says.
pub fn body(part: &[u8], content: &mut Content) -> Result<(), Error> {
    walk(
        part,
        &mut Body {
            content,
            said: String::new(),
            level: None,
            slide: None,
            in_paragraph: 0,
            in_notes: false,
            sheets: None,
        },
    )
}

struct Body<'a> {
    content: &'a mut Content,
    said: String,
    level: Option<usize>,
    slide: Option<Slide>,
    /// Frames stand inside paragraphs and hold paragraphs again.
    in_paragraph: usize,
    in_notes: bool,
    /// In a spreadsheet: where its reader is.
    sheets: Option<Place>,
}

/// The cell that comes next, both from 0, and what is in the one that is being read.
#[derive(Default)]
struct Place {
    row: u32,
    column: u32,
    /// How often the row, and the cell, stand there one after another.
    rows: u32,
    columns: u32,
    cell: String,
    /// A remark beside a cell is no part of it.
    in_remark: bool,
}

#[derive(Default)]
struct Slide {
    said: String,
    /// Its first line is its title: the presentation class is optional and often missing.
    title: String,
}

impl Visitor for Body<'_> {
    fn start(&mut self, name: &str, attributes: &Attributes) {
        match name {
            "p" | "h" => {
                self.end_paragraph();
                self.in_paragraph += 1;
                self.level = (name == "h").then(|| level(attributes));
            }
            "tab" => self.said.push('\t'),
            "line-break" => self.said.push('\n'),
            "s" => self.said.push(' '),
            "spreadsheet" => self.sheets = Some(Place::default()),
            "table" => self.start_sheet(attributes),
            "table-row" => self.at(|place| {
                place.rows = repeated(attributes, "number-rows-repeated");
                place.column = 0;
            }),
            "table-cell" | "covered-table-cell" => self.at(|place| {
                place.columns = repeated(attributes, "number-columns-repeated");
                place.cell.clear();
            }),
            "annotation" => self.at(|place| place.in_remark = true),
            "notes" => self.in_notes = true,
            // draw:page; style:page and others are empty or elsewhere.
            "page" => self.slide = Some(Slide::default()),
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "p" | "h" => {
                self.end_paragraph();
                self.in_paragraph = self.in_paragraph.saturating_sub(1);
            }
            "table-row" => {
                self.content.text.end_line();
                self.end_row();
            }
            "table-cell" | "covered-table-cell" => self.end_cell(),
            "annotation" => self.at(|place| place.in_remark = false),
            "notes" => self.in_notes = false,
            "page" => self.end_slide(),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.in_paragraph > 0 {
            self.said += text;
        }
    }
}

fn level(attributes: &Attributes) -> usize {
    attributes
        .get("outline-level")
        .and_then(|level| level.parse().ok())
        .unwrap_or(1)
}

/// At least once.
fn repeated(attributes: &Attributes, name: &str) -> u32 {
    attributes
        .get(name)
        .and_then(|times| times.parse().ok())
        .unwrap_or(1)
        .max(1)
}

impl Body<'_> {
    fn end_paragraph(&mut self) {
        if self.said.trim().is_empty() {
            self.said.clear();
            return;
        }
        if let Some(level) = self.level.take() {
            self.content.heading(level, &self.said, None);
        }
        self.content.text.push(&self.said);
        self.content.text.end_line();
        if let Some(place) = self.sheets.as_mut().filter(|place| !place.in_remark) {
            if !place.cell.is_empty() {
                place.cell.push('\n');
            }
            place.cell += &self.said;
        }
        if let Some(slide) = self.slide.as_mut().filter(|_| !self.in_notes) {
            if slide.title.is_empty() {
                slide.title.clone_from(&self.said);
            }
            slide.said += &self.said;
            slide.said.push('\n');
        }
        self.said.clear();
    }

    fn at(&mut self, change: impl FnOnce(&mut Place)) {
        if let Some(place) = &mut self.sheets {
            change(place);
        }
    }

    fn start_sheet(&mut self, attributes: &Attributes) {
        let Some(place) = &mut self.sheets else {
            return;
        };
        *place = Place::default();
        let name = attributes.get("name").unwrap_or_default();
        self.content.heading(1, &name, None);
        self.content.grid.sheet(&name);
    }

    fn end_cell(&mut self) {
        let Some(place) = &mut self.sheets else {
            return;
        };
        // One more than there is room for tells that there is more.
        let room = if place.row < GRID_ROWS {
            GRID_COLUMNS.saturating_sub(place.column) + 1
        } else {
            1
        };
        for n in 0..place.columns.min(room) {
            self.content
                .grid
                .cell(place.row, place.column.saturating_add(n), &place.cell);
        }
        place.column = place.column.saturating_add(place.columns);
        place.cell.clear();
    }

    fn end_row(&mut self) {
        let Some(place) = &mut self.sheets else {
            return;
        };
        self.content
            .grid
            .repeat(place.row, place.rows.saturating_sub(1));
        place.row = place.row.saturating_add(place.rows);
    }

    fn end_slide(&mut self) {
        if let Some(slide) = self.slide.take() {
            self.content
                .heading(1, &slide.title, Some(self.content.slides.len() + 1));
            self.content.slides.push(slide.said);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_that_stand_several_times_are_written_once_and_shown_each_time() {
        let part = r#"<o:c xmlns:o="o" xmlns:t="t" xmlns:x="x"><o:spreadsheet><t:table t:name="课表"><t:table-row><t:table-cell/><t:table-cell><x:p>周一</x:p></t:table-cell></t:table-row>
            <t:table-row t:number-rows-repeated="2"><t:table-cell t:number-columns-repeated="2"><o:annotation><x:p>代课</x:p></o:annotation><x:p>语文</x:p></t:table-cell></t:table-row>
            <t:table-row t:number-rows-repeated="4000000000"><t:table-cell t:number-columns-repeated="16384"/></t:table-row></t:table></o:spreadsheet></o:c>"#;
        let mut content = Content::default();
        body(part.as_bytes(), &mut content).expect("read");
        let sheets = serde_json::to_value(content.grid.into_sheets()).expect("JSON");
        assert_eq!(
            sheets,
            serde_json::json!([{ "name": "课表", "cut": false,
                "rows": { "0": { "1": "周一" }, "1": { "0": "语文", "1": "语文" }, "2": { "0": "语文", "1": "语文" } } }])
        );
    }

    #[test]
    fn slides_have_texts_and_titles_and_notes_are_only_found() {
        let part = r#"<o:c xmlns:o="o" xmlns:t="t" xmlns:d="d"><d:page><d:frame><t:p>水的<t:span>循环</t:span></t:p><t:p>蒸发<t:s/>降水</t:p></d:frame>
            <o:notes><t:p>提醒：播放视频</t:p></o:notes></d:page></o:c>"#;
        let mut content = Content::default();
        body(part.as_bytes(), &mut content).expect("read");
        assert_eq!(content.slides, ["水的循环\n蒸发 降水\n"]);
        assert_eq!(
            (content.outline[0].text.as_str(), content.outline[0].page),
            ("水的循环", Some(1))
        );
        assert!(content.text.as_str().contains("播放视频"));
    }
}
