//! Job handlers of the analysis.

use std::path::{Path, PathBuf};

use tokio::io::AsyncWriteExt;

use super::{AnalysisError, rows, submit_rendition};
use crate::db::Db;
use crate::jobs::{Failure, JobState, Jobs, RunningJob};
use crate::storage::{Key, Storage};
use crate::worker::{ScratchDir, Worker, WorkerError};

/// Name of the content in a scratch directory.
pub(super) const INPUT: &str = "input";
/// A worker that crashes on a file crashes again, but one that the kernel killed for lack of memory
/// may succeed later.
const MAX_CRASHES: i64 = 2;
/// Share of a job's progress that the worker process accounts for.
pub(super) const WORKER_SHARE: f64 = 0.8;

/// Workers and stores of the analysis jobs. Clones share them.
#[derive(Clone)]
pub(super) struct Analyzer {
    pub(super) db: Db,
    pub(super) storage: Storage,
    pub(super) jobs: Jobs,
    pub(super) media: Worker,
    pub(super) documents: Worker,
    pub(super) max_pages: u32,
    /// Time after which the worker returns a partial result; shorter than the wall-time limit that
    /// kills it.
    pub(super) document_seconds: u64,
    pub(super) scratch: PathBuf,
}

impl Analyzer {
    /// Handles an `understand` job.
    pub(super) async fn run_analysis(self, job: RunningJob) -> Result<(), Failure> {
        let Some(hash) = job.key.strip_prefix("understand:").map(str::to_owned) else {
            return Err(Failure::Permanent("the job key has no content hash".into()));
        };
        match self.analyze(&hash, &job).await {
            Ok(()) => Ok(()),
            Err(error) => self.record_failure(&hash, &job, error).await,
        }
    }

    /// Handles a `words` job. Fails only if a retry may help; defects of the file are recorded by
    /// the `understand` job.
    pub(super) async fn run_text_extraction(self, job: RunningJob) -> Result<(), Failure> {
        let Some(hash) = job.key.strip_prefix("words:") else {
            return Err(Failure::Permanent("the job key has no content hash".into()));
        };
        let Err(error) = self.extract_and_save_text(hash, &job).await else {
            return Ok(());
        };
        match &error {
            // The server is stopping.
            AnalysisError::Worker(WorkerError::Cancelled) => Err(Failure::Retry(error.to_string())),
            AnalysisError::Worker(_)
            | AnalysisError::InvalidOutput(_)
            | AnalysisError::ContentRemoved => {
                tracing::debug!(%error, hash, "text extraction failed; left to the analysis job");
                Ok(())
            }
            _ => Err(Failure::Retry(error.to_string())),
        }
    }

    async fn extract_and_save_text(
        &self,
        hash: &str,
        job: &RunningJob,
    ) -> Result<(), AnalysisError> {
        if !rows::is_waiting(&self.db, hash).await? {
            return Ok(());
        }
        let scratch = ScratchDir::create(&self.scratch, job.id)?;
        let input = self.input_file(hash, &scratch).await?;
        let analysis = self.extract_text(hash, &input, &scratch, job).await?;
        rows::save_text(&self.db, hash, &analysis).await
    }

    async fn analyze(&self, hash: &str, job: &RunningJob) -> Result<(), AnalysisError> {
        let kind = rows::kind(&self.db, hash)
            .await?
            .ok_or(AnalysisError::ContentRemoved)?;
        let scratch = ScratchDir::create(&self.scratch, job.id)?;
        let input = self.input_file(hash, &scratch).await?;
        let analysis = match kind.as_str() {
            "audio" | "video" => self.probe_media(hash, &input, &scratch, job).await?,
            _ => match self.inspect_document(hash, &input, &scratch, job).await? {
                document if matches!(document.kind.as_str(), "audio" | "video") => {
                    self.probe_media(hash, &input, &scratch, job).await?
                }
                document => document,
            },
        };
        // In one transaction: a client that sees the analysis without the rendition job shows the
        // file as unplayable and stops polling.
        let mut tx = self.db.begin().await?;
        rows::save(&mut tx, hash, &analysis).await?;
        if analysis
            .facts
            .media
            .is_some_and(|media| media.plays.is_none())
        {
            let contributor = rows::first_contributor(&mut tx, hash).await?;
            submit_rendition(&self.jobs, &mut tx, hash, contributor).await?;
        }
        tx.commit().await?;
        self.jobs.wake();
        Ok(())
    }

    /// Records a permanent failure, or returns a temporary one for a retry.
    async fn record_failure(
        &self,
        hash: &str,
        job: &RunningJob,
        error: AnalysisError,
    ) -> Result<(), Failure> {
        let reason = error.to_string();
        let code = match &error {
            AnalysisError::Worker(WorkerError::BadInput { code, .. }) => code.as_str(),
            AnalysisError::Worker(WorkerError::Limit(_) | WorkerError::TooLong(_)) => "limit",
            AnalysisError::Worker(WorkerError::Failed(_)) | AnalysisError::InvalidOutput(_)
                if job.attempt >= MAX_CRASHES =>
            {
                "crashed"
            }
            AnalysisError::Worker(WorkerError::Cancelled) if self.was_cancelled(job).await => {
                "cancelled"
            }
            AnalysisError::ContentRemoved => return Err(Failure::Permanent(reason)),
            _ => return Err(Failure::Retry(reason)),
        };
        match rows::save_failure(&self.db, hash, code, &reason).await {
            Ok(()) => Err(Failure::Permanent(reason)),
            Err(error) => Err(Failure::Retry(error.to_string())),
        }
    }

    /// Returns true if a person cancelled the job; a stopping server cancels the run, too.
    async fn was_cancelled(&self, job: &RunningJob) -> bool {
        let found = self.jobs.get(job.id).await;
        found.is_ok_and(|job| job.is_some_and(|job| job.state == JobState::Cancelled))
    }

    /// Returns the content as a local file: the object store's own if it has one, or a copy in the
    /// scratch directory.
    pub(super) async fn input_file(
        &self,
        hash: &str,
        scratch: &ScratchDir,
    ) -> Result<PathBuf, AnalysisError> {
        if let Some(path) = self.storage.local_path(&Key::blob(hash)) {
            return Ok(std::path::absolute(path)?);
        }
        let path = scratch.file(INPUT);
        let mut file = tokio::fs::File::create(&path).await?;
        let mut stream = self.storage.stream(&Key::blob(hash), None).await?;
        while let Some(bytes) = futures_util::StreamExt::next(&mut stream).await {
            file.write_all(&bytes?).await?;
        }
        file.flush().await?;
        Ok(path)
    }

    /// Links the content into the scratch directory as [`INPUT`], because a manifest may only name
    /// files in it.
    pub(super) async fn link_input(
        &self,
        hash: &str,
        scratch: &ScratchDir,
    ) -> Result<(), AnalysisError> {
        let (input, inside) = (self.input_file(hash, scratch).await?, scratch.file(INPUT));
        if input != inside && tokio::fs::hard_link(&input, &inside).await.is_err() {
            // The object store is on another file system.
            tokio::fs::copy(&input, &inside).await?;
        }
        Ok(())
    }

    pub(super) async fn store_derived(
        &self,
        hash: &str,
        name: &str,
        file: &Path,
    ) -> Result<(), AnalysisError> {
        self.storage
            .put_file(&Key::derived(hash, name), file)
            .await?;
        Ok(())
    }
}

/// Returns a path as a command-line argument.
pub(super) fn argument(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
