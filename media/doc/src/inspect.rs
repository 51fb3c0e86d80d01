//! Asks the right reader for everything a file says, and writes it down.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use crate::archive::{self, Entry};
use crate::draw::{self, Page};
use crate::error::Error;
use crate::kind::{self, Kind};
use crate::limits::{FILE_BYTES, PAGE_TEXT_BYTES, SHEET_PAGES};
use crate::package::Package;
use crate::picture::{self, Picture};
use crate::words::{Content, start_of};
use crate::{html, odf, office, ole, pdf, plain, report, separated, sheets, slides, word};

/// What is asked.
pub struct Inspection {
    pub input: PathBuf,
    /// An existing folder.
    pub out_dir: PathBuf,
    /// What the uploader called it.
    pub name: Option<String>,
    pub seconds: u64,
    /// Without it only words are looked for: what can be had in a moment.
    pub pages: Option<Drawing>,
}

/// How pages are drawn.
pub struct Drawing {
    pub pages_max: usize,
    /// LibreOffice.
    pub soffice: PathBuf,
}

/// result.json.
#[derive(Serialize)]
struct Report {
    #[serde(rename = "type")]
    kind: &'static str,
    mime: &'static str,
    #[serde(flatten)]
    words: Words,
    /// Pages that the document has; fewer may have been drawn.
    page_count: usize,
    pages: Vec<Page>,
    image: Option<Picture>,
    entries: Vec<Entry>,
}

#[derive(Serialize)]
struct Words {
    title: Option<String>,
    author: Option<String>,
    outline: Vec<crate::words::Heading>,
    /// The file with the whole text.
    text: Option<&'static str>,
    /// The file with the cells of a spreadsheet.
    sheets: Option<&'static str>,
    notes: Vec<&'static str>,
}

/// Everything that a reader may find.
#[derive(Default)]
struct Found {
    content: Content,
    page_count: usize,
    pages: Vec<Page>,
    image: Option<Picture>,
    entries: Vec<Entry>,
}

const TEXT: &str = "text.txt";
const SHEETS: &str = "sheets.json";
const RESULT: &str = "result.json";

/// Writes result.json and what it names; returns the short answer.
pub fn run(inspection: &Inspection) -> Result<Value, Error> {
    let clock = Clock::start(inspection.seconds);
    let kind = kind::detect(&inspection.input)?;
    report::progress(0.02);
    let mut found = find(inspection, kind, &clock)?;
    let kind = refine(kind, inspection.name.as_deref());
    if is_mislabelled(kind, inspection.name.as_deref()) {
        found.content.notes.insert("mislabelled");
    }
    let pages = found.pages.len();
    write(&inspection.out_dir, kind, found)?;
    Ok(json!({ "type": kind.name(), "mime": kind.mime(), "result": RESULT, "pages": pages }))
}

/// Three fifths of the time are LibreOffice's, the rest is for drawing; a little is left to write down what there is. Where only words are
/// asked for, they have half, and a page that takes as long as all before it the rest.
struct Clock {
    read_until: Instant,
    convert_until: Instant,
    draw_until: Instant,
}

impl Clock {
    fn start(seconds: u64) -> Clock {
        let after =
            |hundredths: u64| Instant::now() + Duration::from_millis(seconds * 10 * hundredths);
        Clock {
            read_until: after(50),
            convert_until: after(60),
            draw_until: after(95),
        }
    }
}

fn find(inspection: &Inspection, kind: Kind, clock: &Clock) -> Result<Found, Error> {
    match kind {
        Kind::Docx | Kind::Pptx | Kind::Xlsx | Kind::Odt | Kind::Odp | Kind::Ods => office_file(
            inspection,
            kind,
            in_package(&inspection.input, kind)?,
            clock,
        ),
        Kind::Doc | Kind::Ppt | Kind::Xls | Kind::Wps | Kind::Dps | Kind::Et => {
            office_file(inspection, kind, ole::read(&inspection.input, kind)?, clock)
        }
        Kind::Rtf => office_file(inspection, kind, Content::default(), clock),
        Kind::Pdf => portable(inspection, clock),
        Kind::Text | Kind::Markdown | Kind::Html => text_file(inspection, kind),
        Kind::Png | Kind::Jpeg | Kind::Gif | Kind::WebP | Kind::Bmp => {
            picture_file(inspection, kind)
        }
        Kind::Zip => zip_file(&inspection.input),
        Kind::Audio(_) | Kind::Video(_) => Ok(Found::default()),
        Kind::Heic => Err(Error::Unsupported(
            "pictures in HEIC cannot be shown: save it as JPEG",
        )),
        Kind::Unknown => Err(Error::Unsupported(
            "this is no kind of file that can be shown",
        )),
    }
}

fn in_package(input: &Path, kind: Kind) -> Result<Content, Error> {
    Package::open(input)?.check()?;
    let mut package = Package::open(input)?;
    match kind {
        Kind::Docx => word::read(&mut package),
        Kind::Pptx => slides::read(&mut package),
        Kind::Xlsx => sheets::read_package(input, &mut package),
        _ => odf::read(&mut package),
    }
}

/// An office file: what we read ourselves, and the pages that LibreOffice makes of it.
fn office_file(
    inspection: &Inspection,
    kind: Kind,
    content: Content,
    clock: &Clock,
) -> Result<Found, Error> {
    let Some(drawing) = &inspection.pages else {
        return Ok(Found {
            content,
            ..Found::default()
        });
    };
    report::progress(0.1);
    let work = inspection.out_dir.join(".work");
    std::fs::create_dir_all(&work).map_err(Error::output(&work))?;
    let is_sheet = matches!(kind, Kind::Xlsx | Kind::Xls | Kind::Et | Kind::Ods);
    let pages = drawing
        .pages_max
        .min(if is_sheet { SHEET_PAGES } else { usize::MAX });
    let pdf = office::to_pdf(&office::Order {
        input: &inspection.input,
        kind,
        program: &drawing.soffice,
        folder: &work,
        pages,
        deadline: clock.convert_until,
    });
    let data = pdf.and_then(|pdf| pdf.map(|pdf| read_whole(&pdf)).transpose());
    std::fs::remove_dir_all(&work).map_err(Error::output(&work))?;
    report::progress(0.5);
    let is_untitled_deck = matches!(kind, Kind::Ppt | Kind::Dps) && content.outline.is_empty();
    let mut found = Found {
        content,
        ..Found::default()
    };
    match data? {
        Some(data) => add_pages(inspection, drawing, data, &mut found, (0.5, 1.0), clock)?,
        None if found.content.text.is_empty() && found.content.outline.is_empty() => {
            return Err(Error::Broken("no program could open it".into()));
        }
        None => drop(found.content.notes.insert("no_pages")),
    }
    if is_untitled_deck {
        head_by_first_lines(&mut found);
    }
    // LibreOffice was asked for no more.
    if found.pages.len() >= pages {
        found.content.notes.insert("pages_cut");
    }
    Ok(found)
}

/// In place of LibreOffice's "Slide 1".
fn head_by_first_lines(found: &mut Found) {
    found.content.outline.clear();
    for page in &found.pages {
        found.content.heading(
            1,
            page.text.lines().next().unwrap_or_default(),
            Some(page.n),
        );
    }
}

fn portable(inspection: &Inspection, clock: &Clock) -> Result<Found, Error> {
    let (mut found, data) = (Found::default(), read_whole(&inspection.input)?);
    match &inspection.pages {
        Some(drawing) => add_pages(inspection, drawing, data, &mut found, (0.05, 1.0), clock)?,
        None => {
            let opened = pdf::open(Arc::new(data))?;
            pdf::describe(&opened, &mut found.content);
            pdf::read(
                &opened,
                &draw::settings(),
                clock.read_until,
                &mut found.content,
            );
        }
    }
    Ok(found)
}

/// Draws a PDF's pages and takes from it what the file itself did not say.
fn add_pages(
    inspection: &Inspection,
    drawing: &Drawing,
    data: Vec<u8>,
    found: &mut Found,
    progress: (f64, f64),
    clock: &Clock,
) -> Result<(), Error> {
    let data = Arc::new(data);
    let opened = pdf::open(data.clone())?;
    found.page_count = opened.pages().len();
    let wanted = found.page_count.min(drawing.pages_max);
    let mut said = Content::default();
    pdf::describe(&opened, &mut said);
    drop(opened);
    let order = draw::Order {
        data,
        wanted,
        out_dir: &inspection.out_dir,
        deadline: clock.draw_until,
        progress,
    };
    found.pages = draw::pages(&order, &mut found.content.notes)?;
    if found.page_count > found.pages.len() {
        found.content.notes.insert("pages_cut");
    }
    let content = &mut found.content;
    content.title = content.title.take().or(said.title);
    content.author = content.author.take().or(said.author);
    content.notes.append(&mut said.notes);
    if content.outline.is_empty() {
        content.outline = said.outline;
    }
    if content.slides.len() == found.pages.len() {
        for (page, slide) in found.pages.iter_mut().zip(&content.slides) {
            page.text = start_of(slide.trim(), PAGE_TEXT_BYTES).to_owned();
        }
    }
    if content.text.is_empty() {
        for page in &found.pages {
            content.text.push(&page.text);
            content.text.push("\n\n");
        }
    }
    place_headings(content, &found.pages);
    Ok(())
}

/// Finds the page of each heading that does not know it: the first, from the last one's on, that says it.
fn place_headings(content: &mut Content, pages: &[Page]) {
    let squeezed = |text: &str| {
        text.chars()
            .filter(|character| !character.is_whitespace())
            .collect::<String>()
    };
    let texts: Vec<String> = pages.iter().map(|page| squeezed(&page.text)).collect();
    let mut from = 0;
    for heading in &mut content.outline {
        let wanted = squeezed(&heading.text);
        let place = || {
            texts
                .iter()
                .skip(from)
                .position(|text| text.contains(&wanted))
                .map(|ahead| from + ahead + 1)
        };
        heading.page = heading
            .page
            .filter(|page| *page <= pages.len())
            .or_else(place);
        from = heading.page.map_or(from, |page| page - 1);
    }
}

fn text_file(inspection: &Inspection, kind: Kind) -> Result<Found, Error> {
    let bytes = read_whole(&inspection.input)?;
    let mut content = Content::default();
    // Only its name tells a table from other texts with commas.
    if kind != Kind::Html
        && matches!(
            extension(inspection.name.as_deref()).as_deref(),
            Some("csv" | "tsv")
        )
    {
        separated::read(&plain::decode(&bytes), &mut content.grid);
    }
    match kind {
        Kind::Html => html::read(&plain::decode_html(&bytes), &mut content),
        Kind::Markdown => plain::read_markdown(&bytes, &mut content),
        _ => plain::read(&bytes, &mut content),
    }
    Ok(Found {
        content,
        ..Found::default()
    })
}

fn picture_file(inspection: &Inspection, kind: Kind) -> Result<Found, Error> {
    if inspection.pages.is_none() {
        return Ok(Found::default());
    }
    let (image, page) = picture::read(&read_whole(&inspection.input)?, kind, &inspection.out_dir)?;
    Ok(Found {
        page_count: 1,
        pages: vec![page],
        image: Some(image),
        ..Found::default()
    })
}

fn zip_file(input: &Path) -> Result<Found, Error> {
    let packed = std::fs::metadata(input).map_err(Error::input(input))?.len();
    let mut content = Content::default();
    let entries = archive::read(&mut Package::open(input)?, packed, &mut content.notes)?;
    Ok(Found {
        content,
        entries,
        ..Found::default()
    })
}

fn read_whole(path: &Path) -> Result<Vec<u8>, Error> {
    let file = File::open(path).map_err(Error::input(path))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::input(path))?;
    match bytes.len() as u64 > FILE_BYTES {
        true => Err(Error::TooLarge(format!(
            "more than {} MB",
            FILE_BYTES >> 20
        ))),
        false => Ok(bytes),
    }
}

fn extension(name: Option<&str>) -> Option<String> {
    let (_, extension) = name?.rsplit_once('.')?;
    Some(extension.to_lowercase())
}

/// Plain text and Markdown are the same bytes; here the name may say which is meant.
fn refine(kind: Kind, name: Option<&str>) -> Kind {
    match (kind, extension(name).as_deref()) {
        (Kind::Text | Kind::Markdown, Some("md" | "markdown")) => Kind::Markdown,
        (Kind::Markdown, Some(_)) => Kind::Text,
        (kind, _) => kind,
    }
}

fn is_mislabelled(kind: Kind, name: Option<&str>) -> bool {
    extension(name)
        .is_some_and(|extension| Kind::is_promised(&extension) && !kind.goes_by(&extension))
}

fn write(out_dir: &Path, kind: Kind, found: Found) -> Result<(), Error> {
    let Found {
        mut content,
        page_count,
        pages,
        image,
        entries,
    } = found;
    if content.text.is_cut() {
        content.notes.insert("text_cut");
    }
    let save = |name: &str, bytes: &[u8]| {
        let path = out_dir.join(name);
        std::fs::write(&path, bytes).map_err(Error::output(&path))
    };
    let has_text = !content.text.is_empty();
    if has_text {
        save(TEXT, content.text.as_str().as_bytes())?;
    }
    let sheets = content.grid.into_sheets();
    if let Some(sheets) = &sheets {
        save(
            SHEETS,
            &serde_json::to_vec(sheets).expect("strings and numbers are JSON"),
        )?;
    }
    let words = Words {
        title: content.title,
        author: content.author,
        outline: content.outline,
        text: has_text.then_some(TEXT),
        sheets: sheets.is_some().then_some(SHEETS),
        notes: content.notes.into_iter().collect(),
    };
    let report = Report {
        kind: kind.name(),
        mime: kind.mime(),
        words,
        page_count,
        pages,
        image,
        entries,
    };
    save(
        RESULT,
        &serde_json::to_vec(&report).expect("strings and numbers are JSON"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Heading;

    #[test]
    fn names_that_promise_something_else_are_told() {
        assert!(is_mislabelled(Kind::Jpeg, Some("第一课.pptx")));
        assert!(!is_mislabelled(Kind::Pptx, Some("第一课.PPTX")));
        assert!(!is_mislabelled(Kind::Text, Some("no extension at all")));
        assert_eq!(refine(Kind::Text, Some("教案.md")), Kind::Markdown);
    }

    #[test]
    fn headings_find_their_pages_in_order() {
        let page = |n, text: &str| Page {
            n,
            width: 1,
            height: 1,
            large: None,
            small: None,
            text: text.into(),
        };
        let heading = |text: &str| Heading {
            level: 1,
            text: text.into(),
            page: None,
        };
        let mut content = Content {
            outline: vec![heading("导入"), heading("练 习"), heading("没有")],
            ..Content::default()
        };
        place_headings(
            &mut content,
            &[page(1, "目录 导入 练习"), page(2, "练\n习")],
        );
        let pages: Vec<_> = content.outline.iter().map(|heading| heading.page).collect();
        assert_eq!(pages, [Some(1), Some(1), None]);
    }
}
