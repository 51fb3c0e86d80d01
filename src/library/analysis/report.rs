//! Report of `tongke-doc`. The worker parses untrusted files, so its output is untrusted too: names
//! are checked, texts are bounded.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::AnalysisError;
use super::facts::{Heading, ZipEntry};

/// Indexed text of a content; a novel of two million Chinese characters has 6 MB.
const MAX_TEXT_BYTES: usize = 8 << 20;
const MAX_TITLE_BYTES: usize = 300;

/// Last line of the worker's output; the named file has the report.
#[derive(Deserialize)]
pub(super) struct Done {
    pub(super) result: String,
}

#[derive(Deserialize)]
pub(super) struct Report {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) mime: String,
    pub(super) title: Option<String>,
    pub(super) author: Option<String>,
    #[serde(default)]
    pub(super) outline: Vec<Heading>,
    /// Name of the output file with the text.
    pub(super) text: Option<String>,
    /// Name of the output file with the cells of a spreadsheet.
    pub(super) sheets: Option<String>,
    #[serde(default)]
    pub(super) pages: Vec<ReportedPage>,
    pub(super) image: Option<ReportedImage>,
    #[serde(default)]
    pub(super) entries: Vec<ZipEntry>,
    #[serde(default)]
    pub(super) notes: Vec<String>,
}

/// Sheet as clients load it: rows and columns count from 0, empty ones are omitted.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sheet {
    name: String,
    rows: BTreeMap<u32, BTreeMap<u32, String>>,
    /// The sheet is truncated.
    cut: bool,
}

#[derive(Deserialize)]
pub(super) struct ReportedPage {
    pub(super) n: i64,
    pub(super) width: i64,
    pub(super) height: i64,
    pub(super) large: Option<String>,
    pub(super) small: Option<String>,
    #[serde(default)]
    pub(super) text: String,
}

#[derive(Deserialize)]
pub(super) struct ReportedImage {
    pub(super) width: i64,
    pub(super) height: i64,
    pub(super) stripped: String,
    pub(super) mime: String,
}

/// Reads the extracted text, truncated to [`MAX_TEXT_BYTES`].
pub(super) async fn text_of(report: &Report, out: &Path) -> Result<String, AnalysisError> {
    match &report.text {
        Some(name) => read_head(&output_file(out, name)?).await,
        None => Ok(String::new()),
    }
}

/// Trims and truncates a title or author.
pub(super) fn short_text(text: Option<String>) -> Option<String> {
    text.map(|text| truncated_text(text.trim().as_bytes(), MAX_TITLE_BYTES))
        .filter(|text| !text.is_empty())
}

/// Reads the head of a text file.
async fn read_head(path: &Path) -> Result<String, AnalysisError> {
    let mut head = Vec::new();
    let file = tokio::fs::File::open(path).await?;
    tokio::io::AsyncReadExt::read_to_end(
        &mut tokio::io::AsyncReadExt::take(file, MAX_TEXT_BYTES as u64),
        &mut head,
    )
    .await?;
    Ok(truncated_text(&head, MAX_TEXT_BYTES))
}

/// Returns the path of an output file. Rejects names with path components, and symlinks, which
/// could lead out of the directory.
pub(super) fn output_file(out: &Path, name: &str) -> Result<std::path::PathBuf, AnalysisError> {
    let is_plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
    let path = out.join(name);
    let is_file = is_plain && std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file());
    if is_file {
        Ok(path)
    } else {
        Err(AnalysisError::InvalidOutput("file name"))
    }
}

/// Returns valid UTF-8 of at most `max_bytes` input bytes, without NUL, which PostgreSQL rejects.
pub(super) fn truncated_text(bytes: &[u8], max_bytes: usize) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(max_bytes)]).replace('\0', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_cannot_name_files_outside_its_directory() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("p1-l.webp"), b"x").expect("written");
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link.webp")).expect("made");
        assert!(output_file(folder.path(), "p1-l.webp").is_ok());
        for name in [
            "",
            "../p1-l.webp",
            "/etc/passwd",
            ".hidden",
            "gone.webp",
            "link.webp",
        ] {
            assert!(output_file(folder.path(), name).is_err(), "{name}");
        }
    }

    #[test]
    fn truncated_text_is_valid_utf_8() {
        assert_eq!(truncated_text("教案".as_bytes(), 6), "教案");
        assert_eq!(truncated_text("教案\0".as_bytes(), 7), "教案");
        assert_eq!(truncated_text("教案".as_bytes(), 4), "教\u{fffd}");
    }
}
