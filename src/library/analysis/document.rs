//! Analysis of documents by `tongke-doc`.

use std::path::Path;

use super::analyzer::{Analyzer, WORKER_SHARE, argument};
use super::derived::{IMAGE, PageSize, SHEETS};
use super::facts::{Facts, ImageFacts};
use super::report::{
    Done, Report, ReportedImage, ReportedPage, Sheet, output_file, short_text, text_of,
    truncated_text,
};
use super::{Analysis, AnalysisError, AnalyzedPage, rows};
use crate::jobs::RunningJob;
use crate::storage::Key;
use crate::worker::ScratchDir;

/// Indexed text of one page.
const MAX_PAGE_TEXT_BYTES: usize = 64 << 10;
/// Headings of an outline, and entries of a zip, that clients show.
const MAX_ENTRIES: usize = 1000;
/// Report of the largest document: outline, entries and page texts.
const MAX_REPORT_BYTES: u64 = 64 << 20;
/// Output directory in the scratch directory.
const OUT: &str = "out";
/// Time limit of the text extraction, for which a person waits. Slower files become searchable with
/// the full analysis.
const TEXT_SECONDS: u64 = 10;
/// Cells of the largest spreadsheet, as the worker bounds them, with JSON overhead.
const MAX_SHEETS_BYTES: u64 = 8 << 20;
/// Image types that are served to clients. SVG is excluded because it may contain scripts.
const IMAGE_TYPES: [&str; 4] = ["image/jpeg", "image/png", "image/webp", "image/gif"];

impl Analyzer {
    /// Extracts the text of a document, without its pages.
    pub(super) async fn extract_text(
        &self,
        hash: &str,
        input: &Path,
        scratch: &ScratchDir,
        job: &RunningJob,
    ) -> Result<Analysis, AnalysisError> {
        let (out, seconds) = (scratch.file(OUT), TEXT_SECONDS.to_string());
        let report = self
            .run_worker("words", hash, input, scratch, &["--seconds", &seconds], job)
            .await?;
        let text = text_of(&report, &out).await?;
        let (title, author) = (short_text(report.title), short_text(report.author));
        Ok(Analysis {
            kind: report.kind,
            mime: report.mime,
            title,
            author,
            text,
            ..Analysis::default()
        })
    }

    /// Extracts text, pages, image and sheets of a document and stores the derived files.
    pub(super) async fn inspect_document(
        &self,
        hash: &str,
        input: &Path,
        scratch: &ScratchDir,
        job: &RunningJob,
    ) -> Result<Analysis, AnalysisError> {
        let out = scratch.file(OUT);
        let (max_pages, seconds) = (
            self.max_pages.to_string(),
            self.document_seconds.to_string(),
        );
        let limits = ["--pages-max", &max_pages, "--seconds", &seconds];
        let report = self
            .run_worker("inspect", hash, input, scratch, &limits, job)
            .await?;
        let text = text_of(&report, &out).await?;
        let pages = self.store_pages(hash, &out, report.pages, job).await?;
        let image = match report.image {
            Some(image) => Some(self.store_image(hash, &out, image).await?),
            None => None,
        };
        let sheets = match &report.sheets {
            Some(name) => self.store_sheets(hash, &output_file(&out, name)?).await?,
            None => 0,
        };
        let facts = Facts {
            outline: report.outline.into_iter().take(MAX_ENTRIES).collect(),
            entries: report.entries.into_iter().take(MAX_ENTRIES).collect(),
            picture: image,
            media: None,
            sheets,
            notes: report.notes,
        };
        let (title, author) = (short_text(report.title), short_text(report.author));
        Ok(Analysis {
            kind: report.kind,
            mime: report.mime,
            title,
            author,
            text,
            pages,
            facts,
        })
    }

    /// Runs the worker, which writes its files to [`OUT`], and reads its report.
    async fn run_worker(
        &self,
        command: &str,
        hash: &str,
        input: &Path,
        scratch: &ScratchDir,
        limits: &[&str],
        job: &RunningJob,
    ) -> Result<Report, AnalysisError> {
        let out = scratch.file(OUT);
        tokio::fs::create_dir_all(&out).await?;
        let name = rows::file_name(&self.db, hash).await?;
        let arguments = [
            &[command, argument(input), argument(&out), "--name", &name],
            limits,
        ]
        .concat();
        let done = self
            .documents
            .run(
                &arguments,
                scratch.path(),
                &job.cancel,
                job.progress_between(0.0, WORKER_SHARE),
            )
            .await?;
        let done: Done =
            serde_json::from_value(done).map_err(|_| AnalysisError::InvalidOutput("last line"))?;
        let result = output_file(&out, &done.result)?;
        if tokio::fs::metadata(&result).await?.len() > MAX_REPORT_BYTES {
            return Err(AnalysisError::InvalidOutput("report size"));
        }
        serde_json::from_slice(&tokio::fs::read(result).await?)
            .map_err(|_| AnalysisError::InvalidOutput("report"))
    }

    async fn store_pages(
        &self,
        hash: &str,
        out: &Path,
        reported: Vec<ReportedPage>,
        job: &RunningJob,
    ) -> Result<Vec<AnalyzedPage>, AnalysisError> {
        let total = reported.len().max(1) as f64;
        let mut pages: Vec<AnalyzedPage> = Vec::new();
        for page in reported {
            if page.n != pages.len() as i64 + 1 {
                return Err(AnalysisError::InvalidOutput("page numbers"));
            }
            let is_rendered = match (&page.large, &page.small) {
                (Some(large), Some(small)) => {
                    self.store_derived(
                        hash,
                        &PageSize::Large.file_name(page.n),
                        &output_file(out, large)?,
                    )
                    .await?;
                    self.store_derived(
                        hash,
                        &PageSize::Small.file_name(page.n),
                        &output_file(out, small)?,
                    )
                    .await?;
                    true
                }
                _ => false,
            };
            let text = truncated_text(page.text.as_bytes(), MAX_PAGE_TEXT_BYTES);
            pages.push(AnalyzedPage {
                number: page.n,
                width: page.width,
                height: page.height,
                is_rendered,
                text,
            });
            job.progress(WORKER_SHARE + (1.0 - WORKER_SHARE) * page.n as f64 / total)
                .await;
        }
        Ok(pages)
    }

    /// Parses and reserializes the sheets, so that clients get only the expected structure.
    async fn store_sheets(&self, hash: &str, path: &Path) -> Result<i64, AnalysisError> {
        if tokio::fs::metadata(path).await?.len() > MAX_SHEETS_BYTES {
            return Err(AnalysisError::InvalidOutput("sheets size"));
        }
        let invalid = |_| AnalysisError::InvalidOutput("sheets");
        let sheets: Vec<Sheet> =
            serde_json::from_slice(&tokio::fs::read(path).await?).map_err(invalid)?;
        let json = serde_json::to_vec(&sheets).map_err(invalid)?;
        self.storage
            .put(&Key::derived(hash, SHEETS), json.into())
            .await?;
        Ok(sheets.len() as i64)
    }

    async fn store_image(
        &self,
        hash: &str,
        out: &Path,
        image: ReportedImage,
    ) -> Result<ImageFacts, AnalysisError> {
        if !IMAGE_TYPES.contains(&image.mime.as_str()) {
            return Err(AnalysisError::InvalidOutput("image type"));
        }
        self.store_derived(hash, IMAGE, &output_file(out, &image.stripped)?)
            .await?;
        Ok(ImageFacts {
            width: image.width,
            height: image.height,
            mime: Some(image.mime),
        })
    }
}
