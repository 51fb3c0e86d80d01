//! Inspection of a file: selects the reader by file type and writes result.json and its files.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use crate::archive::{self, Entry};
use crate::content::{Content, truncated};
use crate::error::Error;
use crate::file_type::{self, FileType};
use crate::image_file::{self, StrippedImage};
use crate::limits::{FILE_BYTES, PAGE_TEXT_BYTES, SHEET_PAGES};
use crate::package::Package;
use crate::render::{self, Page};
use crate::{csv, docx, excel, html, libreoffice, odf, ole, pdf, plain_text, pptx, report};

/// Parameters of an inspection.
pub struct Inspection {
    /// File to inspect.
    pub input: PathBuf,
    /// Existing folder for the results.
    pub out_dir: PathBuf,
    /// File name that the uploader gave.
    pub name: Option<String>,
    /// Time limit in seconds.
    pub seconds: u64,
    /// Rendering of pages; `None` extracts text only, which is fast.
    pub pages: Option<RenderOptions>,
}

/// Options for rendering pages.
pub struct RenderOptions {
    /// Largest number of pages to render.
    pub pages_max: usize,
    /// Path of LibreOffice's `soffice.bin`.
    pub soffice: PathBuf,
}

/// Content of result.json.
#[derive(Serialize)]
struct Report {
    #[serde(rename = "type")]
    file_type: &'static str,
    mime: &'static str,
    #[serde(flatten)]
    text: TextReport,
    /// Number of pages of the document; fewer may have been rendered.
    page_count: usize,
    pages: Vec<Page>,
    image: Option<StrippedImage>,
    entries: Vec<Entry>,
}

/// Text, metadata and outline in result.json.
#[derive(Serialize)]
struct TextReport {
    title: Option<String>,
    author: Option<String>,
    outline: Vec<crate::content::Heading>,
    /// Name of the file with the whole text.
    text: Option<&'static str>,
    /// Name of the file with the cells of a spreadsheet.
    sheets: Option<&'static str>,
    notes: Vec<&'static str>,
}

/// Everything that was extracted from a file.
#[derive(Default)]
struct Extraction {
    content: Content,
    page_count: usize,
    pages: Vec<Page>,
    image: Option<StrippedImage>,
    entries: Vec<Entry>,
}

const TEXT: &str = "text.txt";
const SHEETS: &str = "sheets.json";
const RESULT: &str = "result.json";

/// Writes result.json and the files that it names; returns the `done` report.
pub fn run(inspection: &Inspection) -> Result<Value, Error> {
    let deadlines = Deadlines::start(inspection.seconds);
    let file_type = file_type::detect(&inspection.input)?;
    report::progress(0.02);
    let mut extraction = extract(inspection, file_type, &deadlines)?;
    let file_type = refine_by_name(file_type, inspection.name.as_deref());
    if is_mislabelled(file_type, inspection.name.as_deref()) {
        extraction.content.notes.insert("mislabelled");
    }
    let pages = extraction.pages.len();
    write_results(&inspection.out_dir, file_type, extraction)?;
    Ok(
        json!({ "type": file_type.name(), "mime": file_type.mime(), "result": RESULT, "pages": pages }),
    )
}

/// Deadlines of the phases of an inspection.
///
/// LibreOffice has 60 % of the time and rendering ends at 95 %; the rest is for writing the
/// results. Text extraction alone stops at 50 %: its last page may take as long as all pages before
/// it.
struct Deadlines {
    read_until: Instant,
    convert_until: Instant,
    render_until: Instant,
}

impl Deadlines {
    fn start(seconds: u64) -> Deadlines {
        let after = |percent: u64| Instant::now() + Duration::from_millis(seconds * 10 * percent);
        Deadlines {
            read_until: after(50),
            convert_until: after(60),
            render_until: after(95),
        }
    }
}

fn extract(
    inspection: &Inspection,
    file_type: FileType,
    deadlines: &Deadlines,
) -> Result<Extraction, Error> {
    match file_type {
        FileType::Docx
        | FileType::Pptx
        | FileType::Xlsx
        | FileType::Odt
        | FileType::Odp
        | FileType::Ods => office_file(
            inspection,
            file_type,
            read_package(&inspection.input, file_type)?,
            deadlines,
        ),
        FileType::Doc
        | FileType::Ppt
        | FileType::Xls
        | FileType::Wps
        | FileType::Dps
        | FileType::Et => office_file(
            inspection,
            file_type,
            ole::read(&inspection.input, file_type)?,
            deadlines,
        ),
        FileType::Rtf => office_file(inspection, file_type, Content::default(), deadlines),
        FileType::Pdf => pdf_file(inspection, deadlines),
        FileType::Text | FileType::Markdown | FileType::Html => text_file(inspection, file_type),
        FileType::Png | FileType::Jpeg | FileType::Gif | FileType::WebP | FileType::Bmp => {
            image_file(inspection, file_type)
        }
        FileType::Zip => zip_file(&inspection.input),
        FileType::Audio(_) | FileType::Video(_) => Ok(Extraction::default()),
        FileType::Heic => Err(Error::Unsupported(
            "pictures in HEIC cannot be shown: save it as JPEG",
        )),
        FileType::Unknown => Err(Error::Unsupported(
            "this is no kind of file that can be shown",
        )),
    }
}

fn read_package(input: &Path, file_type: FileType) -> Result<Content, Error> {
    Package::open(input)?.validate()?;
    let mut package = Package::open(input)?;
    match file_type {
        FileType::Docx => docx::read(&mut package),
        FileType::Pptx => pptx::read(&mut package),
        FileType::Xlsx => excel::read_xlsx(input, &mut package),
        _ => odf::read(&mut package),
    }
}

/// Renders an office file, whose content is already read, to pages with LibreOffice.
fn office_file(
    inspection: &Inspection,
    file_type: FileType,
    content: Content,
    deadlines: &Deadlines,
) -> Result<Extraction, Error> {
    let Some(options) = &inspection.pages else {
        return Ok(Extraction {
            content,
            ..Extraction::default()
        });
    };
    report::progress(0.1);
    let work = inspection.out_dir.join(".work");
    std::fs::create_dir_all(&work).map_err(Error::output(&work))?;
    let is_sheet = matches!(
        file_type,
        FileType::Xlsx | FileType::Xls | FileType::Et | FileType::Ods
    );
    let pages = options
        .pages_max
        .min(if is_sheet { SHEET_PAGES } else { usize::MAX });
    let pdf = libreoffice::to_pdf(&libreoffice::Conversion {
        input: &inspection.input,
        file_type,
        program: &options.soffice,
        folder: &work,
        pages,
        deadline: deadlines.convert_until,
    });
    let data = pdf.and_then(|pdf| pdf.map(|pdf| read_file(&pdf)).transpose());
    std::fs::remove_dir_all(&work).map_err(Error::output(&work))?;
    report::progress(0.5);
    let is_untitled_deck =
        matches!(file_type, FileType::Ppt | FileType::Dps) && content.outline.is_empty();
    let mut extraction = Extraction {
        content,
        ..Extraction::default()
    };
    match data? {
        Some(data) => add_pages(
            inspection,
            options,
            data,
            &mut extraction,
            (0.5, 1.0),
            deadlines,
        )?,
        None if extraction.content.text.is_empty() && extraction.content.outline.is_empty() => {
            return Err(Error::Broken("no program could open it".into()));
        }
        None => drop(extraction.content.notes.insert("no_pages")),
    }
    if is_untitled_deck {
        title_slides_by_first_line(&mut extraction);
    }
    // LibreOffice converts no more pages than requested.
    if extraction.pages.len() >= pages {
        extraction.content.notes.insert("pages_cut");
    }
    Ok(extraction)
}

/// Replaces the outline of a deck by the first line of each page. LibreOffice exports "Slide 1".
fn title_slides_by_first_line(extraction: &mut Extraction) {
    extraction.content.outline.clear();
    for page in &extraction.pages {
        extraction.content.push_heading(
            1,
            page.text.lines().next().unwrap_or_default(),
            Some(page.n),
        );
    }
}

fn pdf_file(inspection: &Inspection, deadlines: &Deadlines) -> Result<Extraction, Error> {
    let (mut extraction, data) = (Extraction::default(), read_file(&inspection.input)?);
    match &inspection.pages {
        Some(options) => add_pages(
            inspection,
            options,
            data,
            &mut extraction,
            (0.05, 1.0),
            deadlines,
        )?,
        None => {
            let opened = pdf::open(Arc::new(data))?;
            pdf::read_metadata(&opened, &mut extraction.content);
            pdf::read_text(
                &opened,
                &render::interpreter_settings(),
                deadlines.read_until,
                &mut extraction.content,
            );
        }
    }
    Ok(extraction)
}

/// Renders the pages of a PDF and adds its metadata and text where the original file had none.
fn add_pages(
    inspection: &Inspection,
    options: &RenderOptions,
    data: Vec<u8>,
    extraction: &mut Extraction,
    progress: (f64, f64),
    deadlines: &Deadlines,
) -> Result<(), Error> {
    let data = Arc::new(data);
    let opened = pdf::open(data.clone())?;
    extraction.page_count = opened.pages().len();
    let wanted = extraction.page_count.min(options.pages_max);
    let mut pdf_content = Content::default();
    pdf::read_metadata(&opened, &mut pdf_content);
    drop(opened);
    let task = render::RenderTask {
        data,
        page_count: wanted,
        out_dir: &inspection.out_dir,
        deadline: deadlines.render_until,
        progress,
    };
    extraction.pages = render::render_pages(&task, &mut extraction.content.notes)?;
    if extraction.page_count > extraction.pages.len() {
        extraction.content.notes.insert("pages_cut");
    }
    let content = &mut extraction.content;
    content.title = content.title.take().or(pdf_content.title);
    content.author = content.author.take().or(pdf_content.author);
    content.notes.append(&mut pdf_content.notes);
    if content.outline.is_empty() {
        content.outline = pdf_content.outline;
    }
    if content.slides.len() == extraction.pages.len() {
        for (page, slide) in extraction.pages.iter_mut().zip(&content.slides) {
            page.text = truncated(slide.trim(), PAGE_TEXT_BYTES).to_owned();
        }
    }
    if content.text.is_empty() {
        for page in &extraction.pages {
            content.text.push(&page.text);
            content.text.push("\n\n");
        }
    }
    locate_headings(content, &extraction.pages);
    Ok(())
}

/// Sets the missing page numbers of headings: the first page from the previous heading on that
/// contains the text.
fn locate_headings(content: &mut Content, pages: &[Page]) {
    let without_spaces = |text: &str| {
        text.chars()
            .filter(|character| !character.is_whitespace())
            .collect::<String>()
    };
    let texts: Vec<String> = pages
        .iter()
        .map(|page| without_spaces(&page.text))
        .collect();
    let mut first = 0;
    for heading in &mut content.outline {
        let wanted = without_spaces(&heading.text);
        let find_page = || {
            texts
                .iter()
                .skip(first)
                .position(|text| text.contains(&wanted))
                .map(|ahead| first + ahead + 1)
        };
        heading.page = heading
            .page
            .filter(|page| *page <= pages.len())
            .or_else(find_page);
        first = heading.page.map_or(first, |page| page - 1);
    }
}

fn text_file(inspection: &Inspection, file_type: FileType) -> Result<Extraction, Error> {
    let bytes = read_file(&inspection.input)?;
    let mut content = Content::default();
    // The name alone distinguishes a table from other text with commas.
    if file_type != FileType::Html
        && matches!(
            extension(inspection.name.as_deref()).as_deref(),
            Some("csv" | "tsv")
        )
    {
        csv::read(&plain_text::decode(&bytes), &mut content.grid);
    }
    match file_type {
        FileType::Html => html::read(&plain_text::decode_html(&bytes), &mut content),
        FileType::Markdown => plain_text::read_markdown(&bytes, &mut content),
        _ => plain_text::read(&bytes, &mut content),
    }
    Ok(Extraction {
        content,
        ..Extraction::default()
    })
}

fn image_file(inspection: &Inspection, file_type: FileType) -> Result<Extraction, Error> {
    if inspection.pages.is_none() {
        return Ok(Extraction::default());
    }
    let (image, page) = image_file::read(
        &read_file(&inspection.input)?,
        file_type,
        &inspection.out_dir,
    )?;
    Ok(Extraction {
        page_count: 1,
        pages: vec![page],
        image: Some(image),
        ..Extraction::default()
    })
}

fn zip_file(input: &Path) -> Result<Extraction, Error> {
    let packed = std::fs::metadata(input).map_err(Error::input(input))?.len();
    let mut content = Content::default();
    let entries = archive::read(&mut Package::open(input)?, packed, &mut content.notes)?;
    Ok(Extraction {
        content,
        entries,
        ..Extraction::default()
    })
}

fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
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

/// Distinguishes plain text and Markdown by the file name, because the bytes are ambiguous.
fn refine_by_name(file_type: FileType, name: Option<&str>) -> FileType {
    match (file_type, extension(name).as_deref()) {
        (FileType::Text | FileType::Markdown, Some("md" | "markdown")) => FileType::Markdown,
        (FileType::Markdown, Some(_)) => FileType::Text,
        (file_type, _) => file_type,
    }
}

/// Returns true if the extension belongs to another file type.
fn is_mislabelled(file_type: FileType, name: Option<&str>) -> bool {
    extension(name).is_some_and(|extension| {
        FileType::is_known_extension(&extension) && !file_type.has_extension(&extension)
    })
}

fn write_results(out_dir: &Path, file_type: FileType, extraction: Extraction) -> Result<(), Error> {
    let Extraction {
        mut content,
        page_count,
        pages,
        image,
        entries,
    } = extraction;
    if content.text.is_truncated() {
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
    let text = TextReport {
        title: content.title,
        author: content.author,
        outline: content.outline,
        text: has_text.then_some(TEXT),
        sheets: sheets.is_some().then_some(SHEETS),
        notes: content.notes.into_iter().collect(),
    };
    let report = Report {
        file_type: file_type.name(),
        mime: file_type.mime(),
        text,
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
    use crate::content::Heading;

    #[test]
    fn files_with_the_wrong_extension_are_marked() {
        assert!(is_mislabelled(FileType::Jpeg, Some("第一课.pptx")));
        assert!(!is_mislabelled(FileType::Pptx, Some("第一课.PPTX")));
        assert!(!is_mislabelled(FileType::Text, Some("no extension at all")));
        assert_eq!(
            refine_by_name(FileType::Text, Some("教案.md")),
            FileType::Markdown
        );
    }

    #[test]
    fn headings_are_located_on_pages_in_order() {
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
        locate_headings(
            &mut content,
            &[page(1, "目录 导入 练习"), page(2, "练\n习")],
        );
        let pages: Vec<_> = content.outline.iter().map(|heading| heading.page).collect();
        assert_eq!(pages, [Some(1), Some(1), None]);
    }
}
