//! What `tongke-doc` says of a document, and its pages into the store. The program is not trusted: names are checked, texts are bounded.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    Desk, Findings, IMAGE, PageFound, PageSize, READ, SHEETS, UnderstandError, argument, rows,
};
use crate::jobs::RunningJob;
use crate::library::analysis::facts::{Entry, Facts, Heading, Picture};
use crate::storage::Key;
use crate::worker::ScratchDir;

/// A novel has two million characters; more is not searched.
const MOST_TEXT: usize = 8 << 20;
/// Of one page, and of a title.
const MOST_PAGE_TEXT: usize = 64 << 10;
const MOST_TITLE: usize = 300;
/// Headings, and entries of a zip, that a page shows.
const MOST_ENTRIES: usize = 1000;
/// Outline, entries and texts of the pages of the largest document.
const MOST_RESULT: u64 = 64 << 20;
/// The folder of a run that it writes to.
const OUT: &str = "out";
/// For the words of a file, which somebody waits for. What takes longer is found when its pages are.
const WORDS_SECONDS: u64 = 10;
/// The cells of the largest spreadsheet, as the program bounds them, with what JSON adds.
const MOST_CELLS: u64 = 8 << 20;
/// Pictures that a browser is given; no other type is believed, SVG least of all.
const SHOWN: [&str; 4] = ["image/jpeg", "image/png", "image/webp", "image/gif"];

/// What it says last; the rest is in the file that it names.
#[derive(Deserialize)]
struct Done {
    result: String,
}

#[derive(Deserialize)]
struct Said {
    #[serde(rename = "type")]
    kind: String,
    mime: String,
    title: Option<String>,
    author: Option<String>,
    #[serde(default)]
    outline: Vec<Heading>,
    /// The file in the output folder that holds the text.
    text: Option<String>,
    /// The file in the output folder that holds the cells of a spreadsheet.
    sheets: Option<String>,
    #[serde(default)]
    pages: Vec<SaidPage>,
    image: Option<SaidImage>,
    #[serde(default)]
    entries: Vec<Entry>,
    #[serde(default)]
    notes: Vec<String>,
}

/// A sheet as pages load it: rows and columns count from 0, and what is empty is not there.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sheet {
    name: String,
    rows: BTreeMap<u32, BTreeMap<u32, String>>,
    /// The original has more.
    cut: bool,
}

#[derive(Deserialize)]
struct SaidPage {
    n: i64,
    width: i64,
    height: i64,
    large: Option<String>,
    small: Option<String>,
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
struct SaidImage {
    width: i64,
    height: i64,
    stripped: String,
    mime: String,
}

impl Desk {
    /// What a file says, without its pages.
    pub(super) async fn words(
        &self,
        hash: &str,
        input: &Path,
        scratch: &ScratchDir,
        job: &RunningJob,
    ) -> Result<Findings, UnderstandError> {
        let (out, seconds) = (scratch.file(OUT), WORDS_SECONDS.to_string());
        let said = self
            .ask("words", hash, input, scratch, &["--seconds", &seconds], job)
            .await?;
        let text = text_of(&said, &out).await?;
        let (title, author) = (title(said.title), title(said.author));
        Ok(Findings {
            kind: said.kind,
            mime: said.mime,
            title,
            author,
            text,
            ..Findings::default()
        })
    }

    pub(super) async fn inspect(
        &self,
        hash: &str,
        input: &Path,
        scratch: &ScratchDir,
        job: &RunningJob,
    ) -> Result<Findings, UnderstandError> {
        let out = scratch.file(OUT);
        let (most, seconds) = (
            self.most_pages.to_string(),
            self.document_seconds.to_string(),
        );
        let limits = ["--pages-max", &most, "--seconds", &seconds];
        let said = self
            .ask("inspect", hash, input, scratch, &limits, job)
            .await?;
        let text = text_of(&said, &out).await?;
        let pages = self.store_pages(hash, &out, said.pages, job).await?;
        let picture = match said.image {
            Some(image) => Some(self.store_image(hash, &out, image).await?),
            None => None,
        };
        let sheets = match &said.sheets {
            Some(name) => self.store_sheets(hash, &inside(&out, name)?).await?,
            None => 0,
        };
        let facts = Facts {
            outline: said.outline.into_iter().take(MOST_ENTRIES).collect(),
            entries: said.entries.into_iter().take(MOST_ENTRIES).collect(),
            picture,
            media: None,
            sheets,
            notes: said.notes,
        };
        let (title, author) = (title(said.title), title(said.author));
        Ok(Findings {
            kind: said.kind,
            mime: said.mime,
            title,
            author,
            text,
            pages,
            facts,
        })
    }

    /// Runs the program; what its result names is in [`OUT`].
    async fn ask(
        &self,
        what: &str,
        hash: &str,
        input: &Path,
        scratch: &ScratchDir,
        limits: &[&str],
        job: &RunningJob,
    ) -> Result<Said, UnderstandError> {
        let out = scratch.file(OUT);
        tokio::fs::create_dir_all(&out).await?;
        let name = rows::file_name(&self.db, hash).await?;
        let arguments = [
            &[what, argument(input), argument(&out), "--name", &name],
            limits,
        ]
        .concat();
        let done = self
            .documents
            .run(
                &arguments,
                scratch.path(),
                &job.cancel,
                job.progress_between(0.0, READ),
            )
            .await?;
        let done: Done =
            serde_json::from_value(done).map_err(|_| UnderstandError::Nonsense("its last line"))?;
        let result = inside(&out, &done.result)?;
        if tokio::fs::metadata(&result).await?.len() > MOST_RESULT {
            return Err(UnderstandError::Nonsense("the size of its result"));
        }
        serde_json::from_slice(&tokio::fs::read(result).await?)
            .map_err(|_| UnderstandError::Nonsense("its result"))
    }

    async fn store_pages(
        &self,
        hash: &str,
        out: &Path,
        said: Vec<SaidPage>,
        job: &RunningJob,
    ) -> Result<Vec<PageFound>, UnderstandError> {
        let total = said.len().max(1) as f64;
        let mut pages: Vec<PageFound> = Vec::new();
        for page in said {
            if page.n != pages.len() as i64 + 1 {
                return Err(UnderstandError::Nonsense("the numbers of pages"));
            }
            let drawn = match (&page.large, &page.small) {
                (Some(large), Some(small)) => {
                    self.store(hash, &PageSize::Large.name(page.n), &inside(out, large)?)
                        .await?;
                    self.store(hash, &PageSize::Small.name(page.n), &inside(out, small)?)
                        .await?;
                    true
                }
                _ => false,
            };
            let text = bounded(page.text.as_bytes(), MOST_PAGE_TEXT);
            pages.push(PageFound {
                number: page.n,
                width: page.width,
                height: page.height,
                drawn,
                text,
            });
            job.progress(READ + (1.0 - READ) * page.n as f64 / total)
                .await;
        }
        Ok(pages)
    }

    /// Read and written anew: what browsers are given has this shape and no other.
    async fn store_sheets(&self, hash: &str, path: &Path) -> Result<i64, UnderstandError> {
        if tokio::fs::metadata(path).await?.len() > MOST_CELLS {
            return Err(UnderstandError::Nonsense("the size of its sheets"));
        }
        let nonsense = |_| UnderstandError::Nonsense("its sheets");
        let sheets: Vec<Sheet> =
            serde_json::from_slice(&tokio::fs::read(path).await?).map_err(nonsense)?;
        let json = serde_json::to_vec(&sheets).map_err(nonsense)?;
        self.storage
            .put(&Key::derived(hash, SHEETS), json.into())
            .await?;
        Ok(sheets.len() as i64)
    }

    async fn store_image(
        &self,
        hash: &str,
        out: &Path,
        image: SaidImage,
    ) -> Result<Picture, UnderstandError> {
        if !SHOWN.contains(&image.mime.as_str()) {
            return Err(UnderstandError::Nonsense("the type of a picture"));
        }
        self.store(hash, IMAGE, &inside(out, &image.stripped)?)
            .await?;
        Ok(Picture {
            width: image.width,
            height: image.height,
            mime: Some(image.mime),
        })
    }
}

/// The text that it found, or as much of it as is searched.
async fn text_of(said: &Said, out: &Path) -> Result<String, UnderstandError> {
    match &said.text {
        Some(name) => head_of(&inside(out, name)?).await,
        None => Ok(String::new()),
    }
}

fn title(text: Option<String>) -> Option<String> {
    text.map(|text| bounded(text.trim().as_bytes(), MOST_TITLE))
        .filter(|text| !text.is_empty())
}

/// The beginning of a text file.
async fn head_of(path: &Path) -> Result<String, UnderstandError> {
    let mut head = Vec::new();
    let file = tokio::fs::File::open(path).await?;
    tokio::io::AsyncReadExt::read_to_end(
        &mut tokio::io::AsyncReadExt::take(file, MOST_TEXT as u64),
        &mut head,
    )
    .await?;
    Ok(bounded(&head, MOST_TEXT))
}

/// A plain file name in the output folder; a link in its place is not followed out of it.
fn inside(out: &Path, name: &str) -> Result<std::path::PathBuf, UnderstandError> {
    let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
    let path = out.join(name);
    let is_file = plain && std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file());
    if is_file {
        Ok(path)
    } else {
        Err(UnderstandError::Nonsense("the name of a file"))
    }
}

/// Valid text without zero characters, which PostgreSQL does not keep.
fn bounded(bytes: &[u8], most: usize) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).replace('\0', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_cannot_name_files_outside_its_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("p1-l.webp"), b"x").expect("written");
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link.webp")).expect("made");
        assert!(inside(folder.path(), "p1-l.webp").is_ok());
        for name in [
            "",
            "../p1-l.webp",
            "/etc/passwd",
            ".hidden",
            "gone.webp",
            "link.webp",
        ] {
            assert!(inside(folder.path(), name).is_err(), "{name}");
        }
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(bounded("教案".as_bytes(), 6), "教案");
        assert_eq!(bounded("教案\0".as_bytes(), 7), "教案");
        assert_eq!(bounded("教案".as_bytes(), 4), "教\u{fffd}");
    }
}
