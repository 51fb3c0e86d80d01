//! OpenDocument packages (ISO/IEC 26300): text, presentations and spreadsheets, all in content.xml.

use memchr::memmem;

use crate::content::{Content, single_line};
use crate::docx::Properties;
use crate::error::Error;
use crate::limits::{GRID_COLUMNS, GRID_ROWS};
use crate::package::Package;
use crate::xml::{Attributes, Visitor, walk};

/// Reads text, outline and metadata of a package.
pub fn read(package: &mut Package) -> Result<Content, Error> {
    if let Some(manifest) = package.read("META-INF/manifest.xml")?
        && memmem::find(&manifest, b"encryption-data").is_some()
    {
        return Err(Error::Encrypted);
    }
    let mut content = Content::default();
    if let Some(part) = package.read("meta.xml")? {
        let mut properties = Properties::default();
        walk(&part, &mut properties)?;
        content.title = single_line(&properties.title);
        content.author = single_line(&properties.author);
    }
    read_body(&package.require("content.xml")?, &mut content)?;
    if package.has_entry(|name| name.starts_with("Basic/")) {
        content.notes.insert("macros");
    }
    Ok(content)
}

/// Adds the content of content.xml.
pub fn read_body(part: &[u8], content: &mut Content) -> Result<(), Error> {
    walk(
        part,
        &mut Body {
            content,
            paragraph: String::new(),
            level: None,
            slide: None,
            paragraph_depth: 0,
            in_notes: false,
            cursor: None,
        },
    )
}

struct Body<'a> {
    content: &'a mut Content,
    /// Text of the open paragraph.
    paragraph: String,
    /// Level of the open heading.
    level: Option<usize>,
    slide: Option<Slide>,
    /// Number of open paragraphs: frames inside a paragraph contain paragraphs.
    paragraph_depth: usize,
    in_notes: bool,
    /// Position in a spreadsheet.
    cursor: Option<Cursor>,
}

/// Position of the current cell in a sheet, and its text.
#[derive(Default)]
struct Cursor {
    /// Row from 0.
    row: u32,
    /// Column from 0.
    column: u32,
    /// Repetitions of the current row (`number-rows-repeated`).
    rows: u32,
    /// Repetitions of the current cell (`number-columns-repeated`).
    columns: u32,
    /// Text of the current cell.
    cell: String,
    /// True inside a comment, which is not part of the cell.
    in_annotation: bool,
}

#[derive(Default)]
struct Slide {
    text: String,
    /// First line: the presentation class of a title is optional and often missing.
    title: String,
}

impl Visitor for Body<'_> {
    fn start(&mut self, name: &str, attributes: &Attributes) {
        match name {
            "p" | "h" => {
                self.end_paragraph();
                self.paragraph_depth += 1;
                self.level = (name == "h").then(|| outline_level(attributes));
            }
            "tab" => self.paragraph.push('\t'),
            "line-break" => self.paragraph.push('\n'),
            "s" => self.paragraph.push(' '),
            "spreadsheet" => self.cursor = Some(Cursor::default()),
            "table" => self.start_sheet(attributes),
            "table-row" => self.update_cursor(|cursor| {
                cursor.rows = repetitions(attributes, "number-rows-repeated");
                cursor.column = 0;
            }),
            "table-cell" | "covered-table-cell" => self.update_cursor(|cursor| {
                cursor.columns = repetitions(attributes, "number-columns-repeated");
                cursor.cell.clear();
            }),
            "annotation" => self.update_cursor(|cursor| cursor.in_annotation = true),
            "notes" => self.in_notes = true,
            // draw:page; other elements of this local name are empty or not in content.xml.
            "page" => self.slide = Some(Slide::default()),
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "p" | "h" => {
                self.end_paragraph();
                self.paragraph_depth = self.paragraph_depth.saturating_sub(1);
            }
            "table-row" => {
                self.content.text.end_line();
                self.end_row();
            }
            "table-cell" | "covered-table-cell" => self.end_cell(),
            "annotation" => self.update_cursor(|cursor| cursor.in_annotation = false),
            "notes" => self.in_notes = false,
            "page" => self.end_slide(),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.paragraph_depth > 0 {
            self.paragraph += text;
        }
    }
}

/// Outline level of a heading from 1.
fn outline_level(attributes: &Attributes) -> usize {
    attributes
        .get("outline-level")
        .and_then(|level| level.parse().ok())
        .unwrap_or(1)
}

/// Value of a repetition attribute, at least 1.
fn repetitions(attributes: &Attributes, name: &str) -> u32 {
    attributes
        .get(name)
        .and_then(|times| times.parse().ok())
        .unwrap_or(1)
        .max(1)
}

impl Body<'_> {
    fn end_paragraph(&mut self) {
        if self.paragraph.trim().is_empty() {
            self.paragraph.clear();
            return;
        }
        if let Some(level) = self.level.take() {
            self.content.push_heading(level, &self.paragraph, None);
        }
        self.content.text.push(&self.paragraph);
        self.content.text.end_line();
        if let Some(cursor) = self.cursor.as_mut().filter(|cursor| !cursor.in_annotation) {
            if !cursor.cell.is_empty() {
                cursor.cell.push('\n');
            }
            cursor.cell += &self.paragraph;
        }
        if let Some(slide) = self.slide.as_mut().filter(|_| !self.in_notes) {
            if slide.title.is_empty() {
                slide.title.clone_from(&self.paragraph);
            }
            slide.text += &self.paragraph;
            slide.text.push('\n');
        }
        self.paragraph.clear();
    }

    fn update_cursor(&mut self, change: impl FnOnce(&mut Cursor)) {
        if let Some(cursor) = &mut self.cursor {
            change(cursor);
        }
    }

    fn start_sheet(&mut self, attributes: &Attributes) {
        let Some(cursor) = &mut self.cursor else {
            return;
        };
        *cursor = Cursor::default();
        let name = attributes.get("name").unwrap_or_default();
        self.content.push_heading(1, &name, None);
        self.content.grid.begin_sheet(&name);
    }

    fn end_cell(&mut self) {
        let Some(cursor) = &mut self.cursor else {
            return;
        };
        // One cell beyond the limit marks the sheet as truncated.
        let limit = if cursor.row < GRID_ROWS {
            GRID_COLUMNS.saturating_sub(cursor.column) + 1
        } else {
            1
        };
        for n in 0..cursor.columns.min(limit) {
            self.content
                .grid
                .set_cell(cursor.row, cursor.column.saturating_add(n), &cursor.cell);
        }
        cursor.column = cursor.column.saturating_add(cursor.columns);
        cursor.cell.clear();
    }

    fn end_row(&mut self) {
        let Some(cursor) = &mut self.cursor else {
            return;
        };
        self.content
            .grid
            .repeat_row(cursor.row, cursor.rows.saturating_sub(1));
        cursor.row = cursor.row.saturating_add(cursor.rows);
    }

    fn end_slide(&mut self) {
        if let Some(slide) = self.slide.take() {
            self.content
                .push_heading(1, &slide.title, Some(self.content.slides.len() + 1));
            self.content.slides.push(slide.text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_cells_are_set_in_every_place() {
        let part = r#"<o:c xmlns:o="o" xmlns:t="t" xmlns:x="x"><o:spreadsheet><t:table t:name="课表"><t:table-row><t:table-cell/><t:table-cell><x:p>周一</x:p></t:table-cell></t:table-row>
            <t:table-row t:number-rows-repeated="2"><t:table-cell t:number-columns-repeated="2"><o:annotation><x:p>代课</x:p></o:annotation><x:p>语文</x:p></t:table-cell></t:table-row>
            <t:table-row t:number-rows-repeated="4000000000"><t:table-cell t:number-columns-repeated="16384"/></t:table-row></t:table></o:spreadsheet></o:c>"#;
        let mut content = Content::default();
        read_body(part.as_bytes(), &mut content).expect("read");
        let sheets = serde_json::to_value(content.grid.into_sheets()).expect("JSON");
        assert_eq!(
            sheets,
            serde_json::json!([{ "name": "课表", "cut": false,
                "rows": { "0": { "1": "周一" }, "1": { "0": "语文", "1": "语文" }, "2": { "0": "语文", "1": "语文" } } }])
        );
    }

    #[test]
    fn speaker_notes_are_in_the_text_but_not_on_the_slide() {
        let part = r#"<o:c xmlns:o="o" xmlns:t="t" xmlns:d="d"><d:page><d:frame><t:p>水的<t:span>循环</t:span></t:p><t:p>蒸发<t:s/>降水</t:p></d:frame>
            <o:notes><t:p>提醒：播放视频</t:p></o:notes></d:page></o:c>"#;
        let mut content = Content::default();
        read_body(part.as_bytes(), &mut content).expect("read");
        assert_eq!(content.slides, ["水的循环\n蒸发 降水\n"]);
        assert_eq!(
            (content.outline[0].text.as_str(), content.outline[0].page),
            ("水的循环", Some(1))
        );
        assert!(content.text.as_str().contains("播放视频"));
    }
}
