//! PresentationML packages (.pptx, ECMA-376-1): slides in show order, their titles, speaker notes.

use crate::content::Content;
use crate::docx::read_core_properties;
use crate::error::Error;
use crate::package::Package;
use crate::xml::{Attributes, Visitor, walk};

const MAIN: &str = "ppt/presentation.xml";

/// Reads text, outline and metadata of a presentation.
pub fn read(package: &mut Package) -> Result<Content, Error> {
    let mut content = Content::default();
    read_core_properties(package, &mut content)?;
    let mut order = SlideOrder::default();
    walk(&package.require(MAIN)?, &mut order)?;
    let relationships = read_relationships(package, MAIN)?;
    let targets = order.ids.iter().filter_map(|id| {
        relationships
            .iter()
            .find(|relationship| relationship.id == *id)
    });
    for target in targets
        .map(|relationship| relationship.target.clone())
        .collect::<Vec<_>>()
    {
        add_slide(package, &target, &mut content)?;
    }
    if content.title.is_none() {
        content.title = content.outline.first().map(|heading| heading.text.clone());
    }
    if package.has_entry(|name| name.ends_with("vbaProject.bin")) {
        content.notes.insert("macros");
    }
    Ok(content)
}

fn add_slide(package: &mut Package, name: &str, content: &mut Content) -> Result<(), Error> {
    let Some(part) = package.read(name)? else {
        return Ok(());
    };
    let slide = parse_slide(&part)?;
    if slide.hidden {
        content.notes.insert("hidden_slides");
        return Ok(());
    }
    // Many decks have their titles in text boxes without a placeholder.
    let title = if slide.title.trim().is_empty() {
        slide.text.lines().next().unwrap_or_default()
    } else {
        &slide.title
    };
    content.push_heading(1, title, Some(content.slides.len() + 1));
    content.text.push(&slide.text);
    content.text.end_line();
    content.slides.push(slide.text);
    let notes = read_relationships(package, name)?
        .into_iter()
        .find(|relationship| relationship.is_type("notesSlide"));
    if let Some(part) = notes
        .map(|notes| package.read(&notes.target))
        .transpose()?
        .flatten()
    {
        content.text.push(&parse_slide(&part)?.text);
        content.text.end_line();
    }
    Ok(())
}

/// Parses one slide or notes part.
pub fn parse_slide(part: &[u8]) -> Result<Slide, Error> {
    let mut slide = Slide::default();
    walk(part, &mut slide)?;
    Ok(slide)
}

/// Text of one slide.
#[derive(Default)]
pub struct Slide {
    /// Text of all shapes, one paragraph per line.
    pub text: String,
    /// Text of the title placeholder.
    pub title: String,
    /// True if the slide is not part of the show.
    pub hidden: bool,
    in_title: bool,
    in_text: bool,
    /// Number of open elements whose text is skipped.
    skip_depth: usize,
}

impl Visitor for Slide {
    fn start(&mut self, name: &str, attributes: &Attributes) {
        match name {
            "sld" => self.hidden = matches!(attributes.get("show").as_deref(), Some("0" | "false")),
            "sp" => self.in_title = false,
            "ph" => {
                let kind = attributes.get("type");
                self.in_title = matches!(kind.as_deref(), Some("title" | "ctrTitle"));
                // The slide number is not content.
                self.skip_depth += usize::from(matches!(kind.as_deref(), Some("sldNum")));
            }
            "t" => self.in_text = true,
            "br" => self.text.push('\n'),
            "tc" if !self.text.ends_with(['\n', '\t']) => self.text.push('\t'),
            "Fallback" => self.skip_depth += 1,
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "t" => self.in_text = false,
            "Fallback" => self.skip_depth = self.skip_depth.saturating_sub(1),
            "sp" => {
                self.in_title = false;
                self.skip_depth = 0;
            }
            "p" if !self.text.ends_with('\n') && !self.text.is_empty() => {
                self.text.push('\n');
                self.title += if self.in_title { " " } else { "" };
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.in_text && self.skip_depth == 0 {
            self.text += text;
            self.title += if self.in_title { text } else { "" };
        }
    }
}

/// Relationship ids of the slides in show order (`sldIdLst`).
#[derive(Default)]
struct SlideOrder {
    ids: Vec<String>,
}

impl Visitor for SlideOrder {
    fn start(&mut self, name: &str, attributes: &Attributes) {
        if name == "sldId" {
            self.ids.extend(attributes.get_prefixed("r:id"));
        }
    }

    fn end(&mut self, _: &str) {}
    fn text(&mut self, _: &str) {}
}

/// Relationship of a part to another part (ECMA-376-2 §6.5).
struct Relationship {
    id: String,
    /// URI of the relationship type.
    type_uri: String,
    /// Name of the target part in the package.
    target: String,
}

impl Relationship {
    /// Compares the last segment of the type: the URIs differ between the transitional and strict
    /// variants of the standard.
    fn is_type(&self, name: &str) -> bool {
        self.type_uri.rsplit('/').next() == Some(name)
    }
}

struct Relationships<'a> {
    folder: &'a str,
    found: Vec<Relationship>,
}

/// Reads the relationships of a part; none if it has no relationships part.
fn read_relationships(package: &mut Package, part: &str) -> Result<Vec<Relationship>, Error> {
    let (folder, file) = part.rsplit_once('/').unwrap_or(("", part));
    let Some(part) = package.read(&format!("{folder}/_rels/{file}.rels"))? else {
        return Ok(Vec::new());
    };
    let mut visitor = Relationships {
        folder,
        found: Vec::new(),
    };
    walk(&part, &mut visitor)?;
    Ok(visitor.found)
}

impl Visitor for Relationships<'_> {
    fn start(&mut self, name: &str, attributes: &Attributes) {
        let get = |name| attributes.get(name).unwrap_or_default();
        // External targets are never fetched.
        if name == "Relationship" && get("TargetMode") != "External" {
            let target = resolve_target(self.folder, &get("Target"));
            self.found.push(Relationship {
                id: get("Id"),
                type_uri: get("Type"),
                target,
            });
        }
    }

    fn end(&mut self, _: &str) {}
    fn text(&mut self, _: &str) {}
}

/// Resolves a relationship target relative to `folder` to a part name (ECMA-376-2 §6.5.3).
///
/// The name is only looked up in the package, never on disk.
fn resolve_target(folder: &str, target: &str) -> String {
    let (start, target) = match target.strip_prefix('/') {
        Some(absolute) => ("", absolute),
        None => (folder, target),
    };
    let mut path: Vec<&str> = start.split('/').filter(|step| !step.is_empty()).collect();
    for step in target.split('/') {
        match step {
            "." | "" => {}
            ".." => drop(path.pop()),
            step => path.push(step),
        }
    }
    path.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relationship_targets_resolve_to_part_names() {
        assert_eq!(
            resolve_target("ppt", "slides/slide1.xml"),
            "ppt/slides/slide1.xml"
        );
        assert_eq!(
            resolve_target("ppt/slides", "../notesSlides/n1.xml"),
            "ppt/notesSlides/n1.xml"
        );
        assert_eq!(
            resolve_target("ppt", "/ppt/slides/slide2.xml"),
            "ppt/slides/slide2.xml"
        );
        assert_eq!(
            resolve_target("ppt", "../../../../etc/passwd"),
            "etc/passwd"
        );
    }

    #[test]
    fn a_slide_has_a_title_and_its_number_is_not_text() {
        let part = r#"<p:sld xmlns:p="p" xmlns:a="a"><p:sp><p:nvPr><p:ph type="ctrTitle"/></p:nvPr><a:p><a:r><a:t>光合</a:t></a:r><a:r><a:t>作用</a:t></a:r></a:p></p:sp>
            <p:sp><a:p><a:r><a:t>叶绿体</a:t></a:r></a:p></p:sp><p:sp><p:nvPr><p:ph type="sldNum"/></p:nvPr><a:p><a:fld><a:t>3</a:t></a:fld></a:p></p:sp></p:sld>"#;
        let slide = parse_slide(part.as_bytes()).expect("read");
        assert_eq!(
            (slide.title.trim(), slide.text.trim(), slide.hidden),
            ("光合作用", "光合作用\n叶绿体", false)
        );
    }
}
