//! OpenDocument (ISO 26300): texts, presentations and sheets share one content.xml.

use memchr::memmem;

use crate::error::Error;
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
    if package.names().iter().any(|name| name.starts_with("Basic/")) {
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
            in_sheets: false,
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
    in_sheets: bool,
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
            "spreadsheet" => self.in_sheets = true,
            "table" if self.in_sheets => self.content.heading(1, &attributes.get("name").unwrap_or_default(), None),
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
            "table-row" => self.content.text.end_line(),
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
    attributes.get("outline-level").and_then(|level| level.parse().ok()).unwrap_or(1)
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
        if let Some(slide) = self.slide.as_mut().filter(|_| !self.in_notes) {
            if slide.title.is_empty() {
                slide.title.clone_from(&self.said);
            }
            slide.said += &self.said;
            slide.said.push('\n');
        }
        self.said.clear();
    }

    fn end_slide(&mut self) {
        if let Some(slide) = self.slide.take() {
            self.content.heading(1, &slide.title, Some(self.content.slides.len() + 1));
            self.content.slides.push(slide.said);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slides_have_texts_and_titles_and_notes_are_only_found() {
        let part = r#"<o:c xmlns:o="o" xmlns:t="t" xmlns:d="d"><d:page><d:frame><t:p>水的<t:span>循环</t:span></t:p><t:p>蒸发<t:s/>降水</t:p></d:frame>
            <o:notes><t:p>提醒：播放视频</t:p></o:notes></d:page></o:c>"#;
        let mut content = Content::default();
        body(part.as_bytes(), &mut content).expect("read");
        assert_eq!(content.slides, ["水的循环\n蒸发 降水\n"]);
        assert_eq!((content.outline[0].text.as_str(), content.outline[0].page), ("水的循环", Some(1)));
        assert!(content.text.as_str().contains("播放视频"));
    }
}
