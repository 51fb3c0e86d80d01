//! The files, and what is right for each.

mod containers;
mod packages;
mod pdfs;
mod pictures;
mod texts;

use std::path::PathBuf;

use serde_json::Value;

/// One file.
pub struct Case {
    pub name: String,
    pub file: Vec<u8>,
    /// What the uploader called it.
    pub label: Option<&'static str>,
    /// The outcomes that are right: `done` or codes.
    pub expected: &'static [&'static str],
    /// Whether LibreOffice may be asked. It takes seconds, so most are tried without.
    pub office: bool,
    /// What else has to be true of a result; says what is not.
    pub check: fn(&Found) -> Vec<String>,
}

/// What the program wrote.
pub struct Found {
    pub result: Value,
    pub text: String,
    pub out_dir: PathBuf,
}

pub const DONE: &[&str] = &["done"];
pub const BROKEN: &[&str] = &["broken"];
pub const ENCRYPTED: &[&str] = &["encrypted"];
pub const HOSTILE: &[&str] = &["hostile"];
pub const TOO_LARGE: &[&str] = &["too_large"];
pub const TOO_MANY: &[&str] = &["too_many"];
pub const UNSUPPORTED: &[&str] = &["unsupported"];
/// Repaired as far as it goes, or refused: both are right for a damaged file.
pub const DAMAGED: &[&str] = &["done", "broken"];

impl Case {
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

    pub fn checked(self, check: fn(&Found) -> Vec<String>) -> Case {
        Case { check, ..self }
    }

    pub fn called(self, label: &'static str) -> Case {
        Case {
            label: Some(label),
            ..self
        }
    }

    pub fn with_office(self) -> Case {
        Case {
            office: true,
            ..self
        }
    }
}

impl Found {
    /// A fault unless the type is this one.
    pub fn is(&self, kind: &str) -> Vec<String> {
        self.fault(
            self.result["type"] == kind,
            format!("the type is {}", self.result["type"]),
        )
    }

    pub fn says(&self, text: &str) -> Vec<String> {
        self.fault(
            self.text.contains(text),
            format!("{text:?} is not in its text"),
        )
    }

    pub fn notes(&self, note: &str) -> Vec<String> {
        let notes = &self.result["notes"];
        self.fault(
            notes
                .as_array()
                .is_some_and(|notes| notes.iter().any(|found| found == note)),
            format!("only noted {notes}"),
        )
    }

    pub fn fault(&self, is_right: bool, fault: String) -> Vec<String> {
        if is_right { Vec::new() } else { vec![fault] }
    }

    /// The first page as it is shown.
    pub fn first_page(&self) -> image::RgbImage {
        image::open(self.out_dir.join("p1-l.webp"))
            .expect("drawn")
            .to_rgb8()
    }
}

pub fn all() -> Vec<Case> {
    let rooms = [
        containers::all(),
        packages::all(),
        pdfs::all(),
        pictures::all(),
        texts::all(),
        cut(),
        flipped(),
    ];
    rooms.into_iter().flatten().collect()
}

/// Every good file, by the name of its type.
fn good() -> Vec<(&'static str, Vec<u8>)> {
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
        ("pdf", make::hello()),
        ("png", make::picture(ImageFormat::Png)),
        ("jpeg", make::picture(ImageFormat::Jpeg)),
        ("gif", make::picture(ImageFormat::Gif)),
        ("webp", make::picture(ImageFormat::WebP)),
        ("bmp", make::picture(ImageFormat::Bmp)),
        ("doc", make::doc()),
        ("ppt", make::ppt()),
        ("xls", make::xls(&[])),
    ]
}

/// Uploads that stopped: each good file, cut at eight places.
fn cut() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, file) in good() {
        cases.push(Case::new(format!("{kind} whole"), file.clone(), DONE));
        // Without its end, a zip has no list of what is in it.
        let is_zip = file.starts_with(b"PK");
        for eighth in 0..8 {
            let length = (file.len() * eighth / 8).max(9);
            let expected = if is_zip {
                BROKEN
            } else {
                &["done", "broken", "unsupported"]
            };
            cases.push(Case::new(
                format!("{kind} cut at {length}"),
                file[..length].to_vec(),
                expected,
            ));
        }
    }
    cases
}

/// Bad disks: each good file with some bytes changed. The numbers are the same in every run.
fn flipped() -> Vec<Case> {
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
    for (kind, file) in good() {
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
