//! Word's package (ECMA-376): paragraphs, headings by style, notes at the foot.

use std::collections::HashMap;

use crate::error::Error;
use crate::package::Package;
use crate::words::{Content, line};
use crate::xml::{Attributes, Visitor, walk};

pub fn read(package: &mut Package) -> Result<Content, Error> {
    let mut content = Content::default();
    properties(package, &mut content)?;
    let levels = match package.read("word/styles.xml")? {
        Some(part) => levels(&part)?,
        None => HashMap::new(),
    };
    // The main part may have another name; every writer uses this one.
    let body = package.demand("word/document.xml")?;
    paragraphs(&body, &levels, &mut content)?;
    for name in ["word/footnotes.xml", "word/endnotes.xml"] {
        if let Some(part) = package.read(name)? {
            paragraphs(&part, &HashMap::new(), &mut content)?;
        }
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

/// Title and author, for all three office packages (ECMA-376-2 §11).
pub fn properties(package: &mut Package, content: &mut Content) -> Result<(), Error> {
    if let Some(part) = package.read("docProps/core.xml")? {
        let mut found = Properties::default();
        walk(&part, &mut found)?;
        content.title = line(&found.title);
        content.author = line(&found.author);
    }
    Ok(())
}

/// Also ODF's meta.xml: the names are Dublin Core's in both.
#[derive(Default)]
pub struct Properties {
    pub title: String,
    /// Who made it; who changed it last where that is not said.
    pub author: String,
    inside: Vec<String>,
}

impl Visitor for Properties {
    fn start(&mut self, name: &str, _: &Attributes) {
        self.inside.push(name.to_owned());
    }

    fn end(&mut self, _: &str) {
        self.inside.pop();
    }

    fn text(&mut self, text: &str) {
        match self.inside.last().map(String::as_str) {
            Some("title") => self.title += text,
            Some("initial-creator") => self.author = text.to_owned(),
            Some("creator") if self.author.is_empty() => self.author += text,
            _ => {}
        }
    }
}

/// Levels of the heading styles, by style id.
pub fn levels(part: &[u8]) -> Result<HashMap<String, usize>, Error> {
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
                if let Some(level) = attributes.get("val").as_deref().and_then(named_level) {
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

/// The built-in names are English in every Word, whatever its language; WPS writes Chinese ones.
fn named_level(name: &str) -> Option<usize> {
    let name = name.to_lowercase();
    if name == "title" {
        return Some(1);
    }
    let number = name
        .strip_prefix("heading ")
        .or_else(|| name.strip_prefix("标题 "))?;
    number.parse().ok().filter(|level| (1..=9).contains(level))
}

/// ECMA-376-1 §17.3.1.20: 0 to 8 are headings, 9 is body text.
fn outline_level(attributes: &Attributes) -> Option<usize> {
    attributes
        .get("val")?
        .parse()
        .ok()
        .filter(|level: &usize| *level < 9)
        .map(|level| level + 1)
}

/// Adds a part's paragraphs to the text, its headings to the outline.
pub fn paragraphs(
    part: &[u8],
    levels: &HashMap<String, usize>,
    content: &mut Content,
) -> Result<(), Error> {
    walk(
        part,
        &mut Paragraphs {
            levels,
            content,
            said: String::new(),
            level: None,
            in_text: false,
            skipping: 0,
        },
    )
}

struct Paragraphs<'a> {
    levels: &'a HashMap<String, usize>,
    content: &'a mut Content,
    said: String,
    level: Option<usize>,
    in_text: bool,
    /// Inside how many elements whose text is a second copy, or not to be seen.
    skipping: usize,
}

impl Visitor for Paragraphs<'_> {
    fn start(&mut self, name: &str, attributes: &Attributes) {
        match name {
            // The same text box again for older readers; what a reviewer struck out.
            "Fallback" | "del" | "moveFrom" => self.skipping += 1,
            "t" => self.in_text = true,
            "tab" => self.said.push('\t'),
            "br" | "cr" => self.said.push('\n'),
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
            "Fallback" | "del" | "moveFrom" => self.skipping = self.skipping.saturating_sub(1),
            "t" => self.in_text = false,
            "p" => self.end_paragraph(),
            "tc" => self.content.text.push("\t"),
            "tr" => self.content.text.end_line(),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.in_text && self.skipping == 0 {
            self.said += text;
        }
    }
}

impl Paragraphs<'_> {
    fn end_paragraph(&mut self) {
        if let Some(level) = self.level.take() {
            self.content.heading(level, &self.said, None);
        }
        self.content.text.push(&self.said);
        self.content.text.end_line();
        self.said.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lesson_plan_has_an_outline_by_its_styles() {
        let styles = r#"<w:styles xmlns:w="w"><w:style w:styleId="2"><w:name w:val="heading 1"/></w:style>
            <w:style w:styleId="a5"><w:name w:val="我的小节"/><w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style></w:styles>"#;
        let body = r#"<w:document xmlns:w="w"><w:p><w:pPr><w:pStyle w:val="2"/></w:pPr><w:r><w:t>教学</w:t></w:r><w:r><w:t>目标</w:t></w:r></w:p>
            <w:p><w:pPr><w:pStyle w:val="a5"/></w:pPr><w:r><w:t>知识与技能</w:t></w:r></w:p>
            <w:p><w:del><w:r><w:t>划掉</w:t></w:r></w:del><w:r><w:t>会用勾股定理。</w:t></w:r></w:p></w:document>"#;
        let mut content = Content::default();
        paragraphs(
            body.as_bytes(),
            &levels(styles.as_bytes()).expect("styles"),
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
