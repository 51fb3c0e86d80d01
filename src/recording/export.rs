//! Exports of a finished recording as durable jobs: poster, audio mix, MP4, and renditions in a
//! format that HLS can carry.
//!
//! Handlers are idempotent: each run starts in an empty scratch directory, overwrites the same
//! object keys, and updates the catalogue last.

mod audio_mix;
mod manifest;
mod mp4;
mod poster;
mod rendition;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::AsyncWriteExt;

use super::Recordings;
use super::catalogue::{Codec, MediaKind, Recorded};
use super::spool::{LayerFile, LayerKey};
use crate::db::DbError;
use crate::ids::{JobId, LessonId};
use crate::jobs::{Failure, Lane, NewJob, Owner, RunningJob};
use crate::storage::StorageError;
use crate::worker::{ScratchDir, Worker, WorkerError};

use manifest::Clip;

/// Progress of a job after its segments are fetched, and after the worker has finished; the rest is
/// the upload.
const FETCHED: f64 = 0.1;
const COMPOSED: f64 = 0.95;

/// Key of the job that exports a lesson's MP4.
pub fn mp4_key(lesson: LessonId) -> String {
    format!("mp4:{lesson}")
}

#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("the worker: {0}")]
    Worker(#[from] WorkerError),
    #[error("the store: {0}")]
    Storage(#[from] StorageError),
    #[error("the database: {0}")]
    Db(#[from] DbError),
    #[error("the scratch folder: {0}")]
    Scratch(#[from] std::io::Error),
    #[error("{0}")]
    NothingToExport(&'static str),
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Failure {
        match error {
            ExportError::NothingToExport(_)
            | ExportError::Worker(
                WorkerError::BadInput { .. } | WorkerError::Limit(_) | WorkerError::TooLong(_),
            ) => Failure::Permanent(error.to_string()),
            error => Failure::Retry(error.to_string()),
        }
    }
}

impl Recordings {
    /// Registers the handlers of the export jobs. Empties `scratch`, in which no file outlives a
    /// run.
    pub fn register_exports(&self, worker: &Worker, scratch: &Path) {
        // A directory that cannot be removed is emptied by the next run of its job.
        let _ = std::fs::remove_dir_all(scratch);
        let exporter = Exporter {
            recordings: self.clone(),
            worker: worker.clone(),
            scratch: scratch.to_owned(),
        };
        let jobs = &self.inner.jobs;
        let (audio, poster, mp4) = (exporter.clone(), exporter.clone(), exporter.clone());
        jobs.register(Lane::Media, "voices", move |job| {
            audio.clone().run_audio_mix(job)
        });
        jobs.register(Lane::Media, "poster", move |job| {
            poster.clone().run_poster(job)
        });
        jobs.register(Lane::Media, "mp4", move |job| mp4.clone().run_mp4(job));
        jobs.register(Lane::Media, "rendition", move |job| {
            exporter.clone().run_renditions(job)
        });
    }

    /// Submits the export jobs of a finished recording.
    pub(super) async fn submit_exports(&self, lesson: LessonId) {
        let recorded = match self.recorded(lesson).await {
            Ok(Some(recorded)) => recorded,
            Ok(None) => return,
            Err(error) => {
                return tracing::error!(%error, lesson.id = %lesson, "the export jobs of a recording could not be submitted");
            }
        };
        let mut kinds = vec!["poster"];
        kinds.extend(
            recorded
                .tracks
                .iter()
                .any(|track| track.kind == MediaKind::Audio)
                .then_some("voices"),
        );
        kinds.extend(
            recorded
                .tracks
                .iter()
                .any(|track| track.codec == Codec::Vp8)
                .then_some("rendition"),
        );
        kinds.extend(self.inner.makes_mp4.then_some("mp4"));
        for kind in kinds {
            if let Err(error) = self.submit_export(kind, lesson).await {
                tracing::error!(%error, lesson.id = %lesson, kind, "an export job could not be submitted");
            }
        }
    }

    /// Submits the MP4 export, or returns the job that is queued or running already.
    pub(super) async fn submit_mp4_export(&self, lesson: LessonId) -> Result<JobId, DbError> {
        self.submit_export("mp4", lesson).await
    }

    async fn submit_export(&self, kind: &'static str, lesson: LessonId) -> Result<JobId, DbError> {
        self.inner
            .jobs
            .submit(NewJob {
                kind,
                key: format!("{kind}:{lesson}"),
                owner: Some(Owner::Lesson(lesson)),
            })
            .await
    }
}

/// Handler of the export jobs.
#[derive(Clone)]
struct Exporter {
    recordings: Recordings,
    worker: Worker,
    scratch: PathBuf,
}

impl Exporter {
    async fn recorded(&self, job: &RunningJob) -> Result<Arc<Recorded>, ExportError> {
        let lesson = job
            .lesson
            .ok_or(ExportError::NothingToExport("the job names no lesson"))?;
        self.recordings
            .recorded(lesson)
            .await?
            .ok_or(ExportError::NothingToExport("the lesson has no recording"))
    }

    /// Concatenates a clip's initialization segment and media segments into a file; returns its
    /// name.
    async fn write_clip(
        &self,
        recorded: &Recorded,
        clip: &Clip,
        scratch: &ScratchDir,
        index: usize,
    ) -> Result<String, ExportError> {
        let name = clip.file_name(index);
        let layer_key = LayerKey {
            lesson: recorded.lesson,
            track: clip.track,
            layer: clip.layer,
        };
        let mut file = tokio::fs::File::create(scratch.file(&name)).await?;
        let init = LayerFile::Init(clip.init);
        file.write_all(&self.recordings.fetch(layer_key, init).await?)
            .await?;
        for number in &clip.segments {
            let segment = LayerFile::Segment {
                number: *number,
                init: clip.init,
            };
            file.write_all(&self.recordings.fetch(layer_key, segment).await?)
                .await?;
        }
        file.flush().await?;
        Ok(name)
    }

    /// Runs an UPDATE with the lesson as $1 and the value as $2.
    async fn update_recording(
        &self,
        statement: &'static str,
        lesson: LessonId,
        value: i64,
    ) -> Result<(), ExportError> {
        sqlx::query(statement)
            .bind(lesson)
            .bind(value)
            .execute(self.recordings.inner.db.pool())
            .await?;
        self.recordings.invalidate_cache(lesson);
        Ok(())
    }
}

/// Progress callback of short worker runs, which report none.
async fn ignore_progress(_: f64) {}
