//! Test cases: hostile and damaged files with their valid outcomes.

mod containers;
mod images;
mod packages;
mod pdfs;
mod texts;

use std::path::PathBuf;

use serde_json::Value;

/// One file.
pub struct Case {
    /// Description in the test output.
    pub name: String,
    /// Bytes of the file.
    pub file: Vec<u8>,
    /// File name that the uploader gave.
    pub label: Option<&'static str>,
    /// Valid outcomes: `done` or error codes.
    pub expected: &'static [&'static str],
    /// True to run LibreOffice. It takes seconds, so most cases run without.
    pub office: bool,
    /// Further assertions about the output; returns the failures.
    pub check: fn(&Output) -> Vec<String>,
}

/// Output of the program.
pub struct Output {
    /// Content of result.json.
    pub result: Value,
    /// Content of text.txt.
    pub text: String,
    /// Folder of all output files.
    pub out_dir: PathBuf,
}

pub const DONE: &[&str] = &["done"];
pub const BROKEN: &[&str] = &["broken"];
pub const ENCRYPTED: &[&str] = &["encrypted"];
pub const HOSTILE: &[&str] = &["hostile"];
pub const TOO_LARGE: &[&str] = &["too_large"];
pub const TOO_MANY: &[&str] = &["too_many"];
pub const UNSUPPORTED: &[&str] = &["unsupported"];
/// A damaged file may be read partially or rejected.
pub const DAMAGED: &[&str] = &["done", "broken"];

impl Case {
    /// Creates a case without further assertions.
    pub fn new(name: impl Into<String>, file: Vec<u8>, expected: &'static [&'static str]) -> Case {
        Case {
            name: name.into(),
            file,
            label: None,
            expected,
            office: false,
            check: |_| Vec::new(),
        }
    }

    /// Adds assertions about the output.
    pub fn checked(self, check: fn(&Output) -> Vec<String>) -> Case {
        Case { check, ..self }
    }

    /// Sets the file name that the uploader gave.
    pub fn called(self, label: &'static str) -> Case {
        Case {
            label: Some(label),
            ..self
        }
    }

    /// Runs the case with LibreOffice.
    pub fn with_office(self) -> Case {
        Case {
            office: true,
            ..self
        }
    }
}

impl Output {
    /// Fails unless the detected type is `kind`.
    pub fn is(&self, kind: &str) -> Vec<String> {
        self.expect(
            self.result["type"] == kind,
            format!("the type is {}", self.result["type"]),
        )
    }

    /// Fails unless the extracted text contains `text`.
    pub fn contains_text(&self, text: &str) -> Vec<String> {
        self.expect(
            self.text.contains(text),
            format!("{text:?} is not in the text"),
        )
    }

    /// Fails unless the notes contain `note`.
    pub fn has_note(&self, note: &str) -> Vec<String> {
        let notes = &self.result["notes"];
        self.expect(
            notes
                .as_array()
                .is_some_and(|notes| notes.iter().any(|present| present == note)),
            format!("the notes are {notes}"),
        )
    }

    /// Fails with this message unless the condition holds.
    pub fn expect(&self, condition: bool, failure: String) -> Vec<String> {
        if condition { Vec::new() } else { vec![failure] }
    }

    /// Large image of the first page.
    pub fn first_page(&self) -> image::RgbImage {
        image::open(self.out_dir.join("p1-l.webp"))
            .expect("rendered")
            .to_rgb8()
    }
}

/// Returns all cases.
pub fn all() -> Vec<Case> {
    let groups = [
        containers::all(),
        packages::all(),
        pdfs::all(),
        images::all(),
        texts::all(),
        truncated(),
        bit_flipped(),
    ];
    groups.into_iter().flatten().collect()
}

/// Valid files by the name of their type.
fn valid_files() -> Vec<(&'static str, Vec<u8>)> {
    use crate::make;
    use image::ImageFormat;
    vec![
        (
            "docx",
            make::zip(&make::docx(&make::paragraph("教案").repeat(40))),
        ),
        (
            "pptx",
            make::zip(&make::pptx(&make::text_box("课件").repeat(40))),
        ),
        (
            "xlsx",
            make::zip(&make::xlsx(&format!(
                "<row r=\"1\">{}</row>",
                make::cell("A1", "成绩").repeat(40)
            ))),
        ),
        (
            "odt",
            make::zip(&make::odf("text", &"<text:p>教案</text:p>".repeat(40))),
        ),
        (
            "zip",
            make::zip(&[
                make::Entry::stored("八年级/教案.txt", b"plan"),
                make::Entry::zeros("zeros", 100_000),
            ]),
        ),
        ("pdf", make::hello_pdf()),
        ("png", make::image(ImageFormat::Png)),
        ("jpeg", make::image(ImageFormat::Jpeg)),
        ("gif", make::image(ImageFormat::Gif)),
        ("webp", make::image(ImageFormat::WebP)),
        ("bmp", make::image(ImageFormat::Bmp)),
        ("doc", make::doc()),
        ("ppt", make::ppt()),
        ("xls", make::xls(&[])),
    ]
}

/// Interrupted uploads: each valid file, truncated at eight lengths.
fn truncated() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, file) in valid_files() {
        cases.push(Case::new(format!("{kind} complete"), file.clone(), DONE));
        // A truncated zip lacks its central directory.
        let is_zip = file.starts_with(b"PK");
        for eighth in 0..8 {
            let length = (file.len() * eighth / 8).max(9);
            let expected = if is_zip {
                BROKEN
            } else {
                &["done", "broken", "unsupported"]
            };
            cases.push(Case::new(
                format!("{kind} truncated at {length}"),
                file[..length].to_vec(),
                expected,
            ));
        }
    }
    cases
}

/// Disk errors: each valid file with flipped bits, the same in every run.
fn bit_flipped() -> Vec<Case> {
    const ANY: &[&str] = &[
        "done",
        "broken",
        "unsupported",
        "encrypted",
        "too_large",
        "too_many",
        "hostile",
    ];
    let mut seed = 20_260_901_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize
    };
    let mut cases = Vec::new();
    for (kind, file) in valid_files() {
        for round in 0..5 {
            let mut file = file.clone();
            for _ in 0..8 {
                let at = random() % file.len();
                file[at] ^= 1 << (random() % 8);
            }
            cases.push(Case::new(
                format!("{kind} with flipped bits, {round}"),
                file,
                ANY,
            ));
        }
    }
    cases
}
