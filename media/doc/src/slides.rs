//! PowerPoint's package (ECMA-376): slides in the order they are shown, their titles, the speaker's notes.

use crate::error::Error;
use crate::package::Package;
use crate::word::properties;
use crate::words::Content;
use crate::xml::{Attributes, Visitor, walk};

const MAIN: &str = "ppt/presentation.xml";

pub fn read(package: &mut Package) -> Result<Content, Error> {
    let mut content = Content::default();
    properties(package, &mut content)?;
    let mut order = Order::default();
    walk(&package.demand(MAIN)?, &mut order)?;
    let links = links(package, MAIN)?;
    let targets = order
        .ids
        .iter()
        .filter_map(|id| links.iter().find(|link| link.id == *id));
    for target in targets.map(|link| link.target.clone()).collect::<Vec<_>>() {
        add_slide(package, &target, &mut content)?;
    }
    if content.title.is_none() {
        content.title = content.outline.first().map(|heading| heading.text.clone());
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

fn add_slide(package: &mut Package, name: &str, content: &mut Content) -> Result<(), Error> {
    let Some(part) = package.read(name)? else {
        return Ok(());
    };
    let slide = slide(&part)?;
    if slide.hidden {
        content.notes.insert("hidden_slides");
        return Ok(());
    }
    // Many decks put their titles into plain boxes.
    let title = if slide.title.trim().is_empty() {
        slide.said.lines().next().unwrap_or_default()
    } else {
        &slide.title
    };
    content.heading(1, title, Some(content.slides.len() + 1));
    content.text.push(&slide.said);
    content.text.end_line();
    content.slides.push(slide.said);
    let notes = links(package, name)?
        .into_iter()
        .find(|link| link.is("notesSlide"));
    if let Some(part) = notes
        .map(|link| package.read(&link.target))
        .transpose()?
        .flatten()
    {
        content.text.push(&self::slide(&part)?.said);
        content.text.end_line();
    }
    Ok(())
}

/// What one slide says.
pub fn slide(part: &[u8]) -> Result<Slide, Error> {
    let mut slide = Slide::default();
    walk(part, &mut slide)?;
    Ok(slide)
}

#[derive(Default)]
pub struct Slide {
    pub said: String,
    pub title: String,
    pub hidden: bool,
    in_title: bool,
    in_text: bool,
    skipping: usize,
}

impl Visitor for Slide {
    fn start(&mut self, name: &str, attributes: &Attributes) {
        match name {
            "sld" => self.hidden = matches!(attributes.get("show").as_deref(), Some("0" | "false")),
            "sp" => self.in_title = false,
            "ph" => {
                let kind = attributes.get("type");
                self.in_title = matches!(kind.as_deref(), Some("title" | "ctrTitle"));
                // The number of the slide is no text of it.
                self.skipping += usize::from(matches!(kind.as_deref(), Some("sldNum")));
            }
            "t" => self.in_text = true,
            "br" => self.said.push('\n'),
            "tc" if !self.said.ends_with(['\n', '\t']) => self.said.push('\t'),
            "Fallback" => self.skipping += 1,
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "t" => self.in_text = false,
            "Fallback" => self.skipping = self.skipping.saturating_sub(1),
            "sp" => {
                self.in_title = false;
                self.skipping = 0;
            }
            "p" if !self.said.ends_with('\n') && !self.said.is_empty() => {
                self.said.push('\n');
                self.title += if self.in_title { " " } else { "" };
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.in_text && self.skipping == 0 {
            self.said += text;
            self.title += if self.in_title { text } else { "" };
        }
    }
}

/// The slides' relationship ids in the order they are shown.
#[derive(Default)]
struct Order {
    ids: Vec<String>,
}

impl Visitor for Order {
    fn start(&mut self, name: &str, attributes: &Attributes) {
        if name == "sldId" {
            self.ids.extend(attributes.get_prefixed("r:id"));
        }
    }

    fn end(&mut self, _: &str) {}
    fn text(&mut self, _: &str) {}
}

/// A relationship from one part to another (ECMA-376-2 §6.5).
struct Link {
    id: String,
    kind: String,
    target: String,
}

impl Link {
    fn is(&self, kind: &str) -> bool {
        self.kind.rsplit('/').next() == Some(kind)
    }
}

struct Links<'a> {
    folder: &'a str,
    found: Vec<Link>,
}

fn links(package: &mut Package, part: &str) -> Result<Vec<Link>, Error> {
    let (folder, file) = part.rsplit_once('/').unwrap_or(("", part));
    let Some(links) = package.read(&format!("{folder}/_rels/{file}.rels"))? else {
        return Ok(Vec::new());
    };
    let mut visitor = Links {
        folder,
        found: Vec::new(),
    };
    walk(&links, &mut visitor)?;
    Ok(visitor.found)
}

impl Visitor for Links<'_> {
    fn start(&mut self, name: &str, attributes: &Attributes) {
        let get = |name| attributes.get(name).unwrap_or_default();
        // What lies outside the package is never fetched.
        if name == "Relationship" && get("TargetMode") != "External" {
            let target = within(self.folder, &get("Target"));
            self.found.push(Link {
                id: get("Id"),
                kind: get("Type"),
                target,
            });
        }
    }

    fn end(&mut self, _: &str) {}
    fn text(&mut self, _: &str) {}
}

/// The name of a part that another part in `folder` points to. It is only ever looked up among the package's names.
fn within(folder: &str, target: &str) -> String {
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
    fn targets_are_names_in_the_package() {
        assert_eq!(within("ppt", "slides/slide1.xml"), "ppt/slides/slide1.xml");
        assert_eq!(
            within("ppt/slides", "../notesSlides/n1.xml"),
            "ppt/notesSlides/n1.xml"
        );
        assert_eq!(
            within("ppt", "/ppt/slides/slide2.xml"),
            "ppt/slides/slide2.xml"
        );
        assert_eq!(within("ppt", "../../../../etc/passwd"), "etc/passwd");
    }

    #[test]
    fn a_slide_has_a_title_and_its_number_is_no_text() {
        let part = r#"<p:sld xmlns:p="p" xmlns:a="a"><p:sp><p:nvPr><p:ph type="ctrTitle"/></p:nvPr><a:p><a:r><a:t>光合</a:t></a:r><a:r><a:t>作用</a:t></a:r></a:p></p:sp>
            <p:sp><a:p><a:r><a:t>叶绿体</a:t></a:r></a:p></p:sp><p:sp><p:nvPr><p:ph type="sldNum"/></p:nvPr><a:p><a:fld><a:t>3</a:t></a:fld></a:p></p:sp></p:sld>"#;
        let slide = slide(part.as_bytes()).expect("read");
        assert_eq!(
            (slide.title.trim(), slide.said.trim(), slide.hidden),
            ("光合作用", "光合作用\n叶绿体", false)
        );
    }
}
