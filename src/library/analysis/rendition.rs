//! Rendition of audio and video that browsers do not play.

use serde_json::json;

use super::analyzer::{Analyzer, INPUT, WORKER_SHARE};
use super::derived::RENDITION;
use super::facts::{Facts, MediaFacts, PlayableFile};
use super::{AnalysisError, rows};
use crate::jobs::{Failure, RunningJob};
use crate::worker::{ScratchDir, WorkerError};

impl Analyzer {
    /// Handles a `playable` job.
    pub(super) async fn run_rendition(self, job: RunningJob) -> Result<(), Failure> {
        let Some(hash) = job.key.strip_prefix("playable:") else {
            return Err(Failure::Permanent("the job key has no content hash".into()));
        };
        self.make_rendition(hash, &job).await.map_err(|error| {
            let reason = error.to_string();
            match error {
                AnalysisError::Worker(
                    WorkerError::BadInput { .. } | WorkerError::Limit(_) | WorkerError::TooLong(_),
                )
                | AnalysisError::InvalidOutput(_)
                | AnalysisError::ContentRemoved => Failure::Permanent(reason),
                _ => Failure::Retry(reason),
            }
        })
    }

    /// Composes a recording of one clip, which converts it to MP4.
    async fn make_rendition(&self, hash: &str, job: &RunningJob) -> Result<(), AnalysisError> {
        let facts = rows::facts(&self.db, hash)
            .await?
            .ok_or(AnalysisError::ContentRemoved)?;
        let media = facts.media.clone().ok_or(AnalysisError::ContentRemoved)?;
        let scratch = ScratchDir::create(&self.scratch, job.id)?;
        self.link_input(hash, &scratch).await?;
        let has = |kind: &str| media.streams.iter().any(|stream| stream.kind == kind);
        let clip = json!([{ "path": INPUT }]);
        let manifest = json!({
            "duration_ms": media.duration_ms.filter(|ms| *ms > 0).ok_or(AnalysisError::InvalidOutput("no duration"))?,
            "pictures": if has("video") { json!({ "lead": clip }) } else { json!({}) },
            "sounds": if has("audio") { json!({ "lead-voice": clip }) } else { json!({}) },
            "scenes": if has("video") { json!([{ "from_ms": 0, "main": "lead" }]) } else { json!([]) },
        });
        tokio::fs::write(scratch.file("manifest.json"), manifest.to_string()).await?;
        let program = if has("video") { "mp4" } else { "voices" };
        let arguments = [
            program,
            "--manifest",
            "manifest.json",
            "--output",
            RENDITION,
        ];
        self.media
            .run(
                &arguments,
                scratch.path(),
                &job.cancel,
                job.progress_between(0.0, WORKER_SHARE),
            )
            .await?;
        self.store_derived(hash, RENDITION, &scratch.file(RENDITION))
            .await?;
        let media = Some(MediaFacts {
            plays: Some(PlayableFile::Rendition),
            ..media
        });
        rows::set_facts(&self.db, hash, &Facts { media, ..facts }).await?;
        Ok(())
    }
}
