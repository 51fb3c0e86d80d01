//! MP4 of the complete lesson: video tracks, page images and the audio mix, composed by
//! `tongke-av`.

use std::collections::{BTreeMap, HashMap};

use serde_json::json;

use super::manifest::{Plan, plan};
use super::{COMPOSED, ExportError, Exporter, FETCHED};
use crate::ids::DeckId;
use crate::jobs::{Failure, RunningJob};
use crate::library;
use crate::recording::catalogue::Recorded;
use crate::recording::timeline;
use crate::storage::{Key, is_missing};
use crate::worker::ScratchDir;

impl Exporter {
    pub(super) async fn run_mp4(self, job: RunningJob) -> Result<(), Failure> {
        Ok(self.export_mp4(&job).await?)
    }

    async fn export_mp4(&self, job: &RunningJob) -> Result<(), ExportError> {
        let recorded = self.recorded(job).await?;
        let events = timeline::read(&self.recordings.inner.db, recorded.lesson).await?;
        let images = library::page_images(&self.recordings.inner.db, recorded.lesson).await?;
        let mut pages = timeline::shown_pages(&events);
        pages.retain(|page| images.contains_key(&(page.deck, page.page)));
        let plan = plan(&recorded, &events, &pages);
        if plan.video.is_empty() && plan.audio.is_empty() {
            return Err(ExportError::NothingToExport("nothing was recorded"));
        }
        let scratch = ScratchDir::create(&self.scratch, job.id)?;
        self.fetch_stills(&plan, &images, &scratch).await?;
        self.write_manifest(&recorded, &plan, &scratch, job).await?;
        let arguments = [
            "mp4",
            "--manifest",
            "manifest.json",
            "--output",
            "lesson.mp4",
        ];
        self.worker
            .run(
                &arguments,
                scratch.path(),
                &job.cancel,
                job.progress_between(FETCHED, COMPOSED),
            )
            .await?;
        let storage = &self.recordings.inner.storage;
        let size_bytes = storage
            .put_file(&Key::mp4(recorded.lesson), &scratch.file("lesson.mp4"))
            .await?;
        self.update_recording(
            "UPDATE recordings SET mp4_bytes = $2 WHERE lesson_id = $1",
            recorded.lesson,
            size_bytes as i64,
        )
        .await
    }

    /// Fetches the page images. The worker skips a still whose file is missing.
    async fn fetch_stills(
        &self,
        plan: &Plan,
        images: &HashMap<(DeckId, i64), Key>,
        scratch: &ScratchDir,
    ) -> Result<(), ExportError> {
        for (name, page) in &plan.stills {
            let Some(key) = images.get(page) else {
                continue;
            };
            match self.recordings.inner.storage.get(key).await {
                Ok(bytes) => tokio::fs::write(scratch.file(&still_file(name)), bytes).await?,
                Err(error) if is_missing(&error) => {
                    tracing::warn!(%error, "a page image of the lesson is not in the object store")
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Fetches the clips of a plan and writes its manifest (`media/av/src/manifest.rs`).
    pub(super) async fn write_manifest(
        &self,
        recorded: &Recorded,
        plan: &Plan,
        scratch: &ScratchDir,
        job: &RunningJob,
    ) -> Result<(), ExportError> {
        let total = plan
            .video
            .values()
            .chain(plan.audio.values())
            .map(Vec::len)
            .sum::<usize>()
            .max(1);
        let mut fetched = 0;
        let mut groups = [json!({}), json!({})];
        for (group, tracks) in groups.iter_mut().zip([&plan.video, &plan.audio]) {
            for (name, clips) in tracks {
                let mut files = Vec::new();
                for (index, clip) in clips.iter().enumerate() {
                    files.push(
                        json!({ "path": self.write_clip(recorded, clip, scratch, index).await? }),
                    );
                    fetched += 1;
                    job.progress(FETCHED * fetched as f64 / total as f64).await;
                }
                group[name] = files.into();
            }
        }
        let [video, audio] = groups;
        let stills: BTreeMap<_, _> = plan
            .stills
            .keys()
            .map(|name| (name, still_file(name)))
            .collect();
        let manifest = json!({ "duration_ms": plan.duration_ms, "pictures": video, "sounds": audio,
            "stills": stills, "scenes": plan.scenes });
        tokio::fs::write(scratch.file("manifest.json"), manifest.to_string()).await?;
        Ok(())
    }
}

fn still_file(name: &str) -> String {
    format!("{name}.webp")
}
