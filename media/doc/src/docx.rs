//! WordprocessingML packages (.docx, ECMA-376-1): paragraphs, headings by style, footnotes and
//! endnotes.

use std::collections::HashMap;

use crate::content::{Content, single_line};
use crate::error::Error;
use crate::package::Package;
use crate::xml::{Attributes, Visitor, walk};

/// Reads text, outline and metadata of a document.
pub fn read(package: &mut Package) -> Result<Content, Error> {
    let mut content = Content::default();
    read_core_properties(package, &mut content)?;
    let levels = match package.read("word/styles.xml")? {
        Some(part) => heading_styles(&part)?,
        None => HashMap::new(),
    };
    // The standard allows another name of the main part; every known writer uses this one.
    let body = package.require("word/document.xml")?;
    read_paragraphs(&body, &levels, &mut content)?;
    for name in ["word/footnotes.xml", "word/endnotes.xml"] {
        if let Some(part) = package.read(name)? {
            read_paragraphs(&part, &HashMap::new(), &mut content)?;
        }
    }
    if package.has_entry(|name| name.ends_with("vbaProject.bin")) {
        content.notes.insert("macros");
    }
    Ok(content)
}

/// Reads title and author from the core properties of any OOXML package (ECMA-376-2 §11).
pub fn read_core_properties(package: &mut Package, content: &mut Content) -> Result<(), Error> {
    if let Some(part) = package.read("docProps/core.xml")? {
        let mut properties = Properties::default();
        walk(&part, &mut properties)?;
        content.title = single_line(&properties.title);
        content.author = single_line(&properties.author);
    }
    Ok(())
}

/// Dublin Core metadata of docProps/core.xml (OOXML) and meta.xml (ODF).
#[derive(Default)]
pub struct Properties {
    /// `dc:title`.
    pub title: String,
    /// Author, or else the last editor: ODF has the author in `meta:initial-creator`.
    pub author: String,
    /// Names of the open elements.
    open: Vec<String>,
}

impl Visitor for Properties {
    fn start(&mut self, name: &str, _: &Attributes) {
        self.open.push(name.to_owned());
    }

    fn end(&mut self, _: &str) {
        self.open.pop();
    }

    fn text(&mut self, text: &str) {
        match self.open.last().map(String::as_str) {
            Some("title") => self.title += text,
            Some("initial-creator") => self.author = text.to_owned(),
            Some("creator") if self.author.is_empty() => self.author += text,
            _ => {}
        }
    }
}

/// Reads the outline levels of the heading styles by style id.
pub fn heading_styles(part: &[u8]) -> Result<HashMap<String, usize>, Error> {
    let mut styles = Styles::default();
    walk(part, &mut styles)?;
    Ok(styles.levels)
}

#[derive(Default)]
struct Styles {
    levels: HashMap<String, usize>,
    style: String,
}

impl Visitor for Styles {
    fn start(&mut self, name: &str, attributes: &Attributes) {
        match name {
            "style" => self.style = attributes.get("styleId").unwrap_or_default(),
            "name" => {
                if let Some(level) = attributes.get("val").as_deref().and_then(builtin_level) {
                    self.levels.insert(self.style.clone(), level);
                }
            }
            "outlineLvl" => {
                if let Some(level) = outline_level(attributes) {
                    self.levels.insert(self.style.clone(), level);
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, _: &str) {}
    fn text(&mut self, _: &str) {}
}

/// Outline level of a built-in style. Word writes the English names in every language; WPS writes
/// Chinese ones.
fn builtin_level(name: &str) -> Option<usize> {
    let name = name.to_lowercase();
    if name == "title" {
        return Some(1);
    }
    let number = name
        .strip_prefix("heading ")
        .or_else(|| name.strip_prefix("标题 "))?;
    number.parse().ok().filter(|level| (1..=9).contains(level))
}

/// Outline level from 1 of `outlineLvl`, where 0 to 8 are headings and 9 is body text (ECMA-376-1
/// §17.3.1.20).
fn outline_level(attributes: &Attributes) -> Option<usize> {
    attributes
        .get("val")?
        .parse()
        .ok()
        .filter(|level: &usize| *level < 9)
        .map(|level| level + 1)
}

/// Adds the paragraphs of a part to the text and its headings to the outline.
pub fn read_paragraphs(
    part: &[u8],
    levels: &HashMap<String, usize>,
    content: &mut Content,
) -> Result<(), Error> {
    walk(
        part,
        &mut Paragraphs {
            levels,
            content,
            paragraph: String::new(),
            level: None,
            in_text: false,
            skip_depth: 0,
        },
    )
}

struct Paragraphs<'a> {
    levels: &'a HashMap<String, usize>,
    content: &'a mut Content,
    /// Text of the open paragraph.
    paragraph: String,
    /// Outline level of the open paragraph.
    level: Option<usize>,
    in_text: bool,
    /// Number of open elements whose text is a copy or deleted.
    skip_depth: usize,
}

impl Visitor for Paragraphs<'_> {
    fn start(&mut self, name: &str, attributes: &Attributes) {
        match name {
            // A copy of a text box for older readers; tracked deletions.
            "Fallback" | "del" | "moveFrom" => self.skip_depth += 1,
            "t" => self.in_text = true,
            "tab" => self.paragraph.push('\t'),
            "br" | "cr" => self.paragraph.push('\n'),
            "pStyle" => {
                let level = attributes
                    .get("val")
                    .and_then(|style| self.levels.get(&style).copied());
                self.level = self.level.or(level);
            }
            "outlineLvl" => self.level = outline_level(attributes).or(self.level),
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "Fallback" | "del" | "moveFrom" => self.skip_depth = self.skip_depth.saturating_sub(1),
            "t" => self.in_text = false,
            "p" => self.end_paragraph(),
            "tc" => self.content.text.push("\t"),
            "tr" => self.content.text.end_line(),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.in_text && self.skip_depth == 0 {
            self.paragraph += text;
        }
    }
}

impl Paragraphs<'_> {
    fn end_paragraph(&mut self) {
        if let Some(level) = self.level.take() {
            self.content.push_heading(level, &self.paragraph, None);
        }
        self.content.text.push(&self.paragraph);
        self.content.text.end_line();
        self.paragraph.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outline_of_a_lesson_plan_follows_its_styles() {
        let styles = r#"<w:styles xmlns:w="w"><w:style w:styleId="2"><w:name w:val="heading 1"/></w:style>
            <w:style w:styleId="a5"><w:name w:val="我的小节"/><w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style></w:styles>"#;
        let body = r#"<w:document xmlns:w="w"><w:p><w:pPr><w:pStyle w:val="2"/></w:pPr><w:r><w:t>教学</w:t></w:r><w:r><w:t>目标</w:t></w:r></w:p>
            <w:p><w:pPr><w:pStyle w:val="a5"/></w:pPr><w:r><w:t>知识与技能</w:t></w:r></w:p>
            <w:p><w:del><w:r><w:t>划掉</w:t></w:r></w:del><w:r><w:t>会用勾股定理。</w:t></w:r></w:p></w:document>"#;
        let mut content = Content::default();
        read_paragraphs(
            body.as_bytes(),
            &heading_styles(styles.as_bytes()).expect("styles"),
            &mut content,
        )
        .expect("read");
        let outline: Vec<_> = content
            .outline
            .iter()
            .map(|heading| (heading.level, heading.text.as_str()))
            .collect();
        assert_eq!(outline, [(1, "教学目标"), (2, "知识与技能")]);
        assert_eq!(
            content.text.as_str(),
            "教学目标\n知识与技能\n会用勾股定理。"
        );
    }
}
