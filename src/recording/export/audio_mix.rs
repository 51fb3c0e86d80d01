//! Audio mix of all tracks of a lesson, which the main programme plays after the lesson.

use tongke_record::scan;

use super::manifest::plan;
use super::{COMPOSED, ExportError, Exporter, FETCHED};
use crate::jobs::{Failure, RunningJob};
use crate::recording::playlist::{self, AUDIO_MIX_FILE, AUDIO_MIX_PLAYLIST};
use crate::storage::Key;
use crate::worker::ScratchDir;

impl Exporter {
    pub(super) async fn run_audio_mix(self, job: RunningJob) -> Result<(), Failure> {
        Ok(self.export_audio_mix(&job).await?)
    }

    async fn export_audio_mix(&self, job: &RunningJob) -> Result<(), ExportError> {
        let recorded = self.recorded(job).await?;
        let mut plan = plan(&recorded, &[], &[]);
        (plan.video, plan.scenes) = Default::default();
        if plan.audio.is_empty() {
            return Err(ExportError::NothingToExport("nothing was said"));
        }
        let scratch = ScratchDir::create(&self.scratch, job.id)?;
        self.write_manifest(&recorded, &plan, &scratch, job).await?;
        let arguments = [
            "voices",
            "--manifest",
            "manifest.json",
            "--output",
            AUDIO_MIX_FILE,
        ];
        self.worker
            .run(
                &arguments,
                scratch.path(),
                &job.cancel,
                job.progress_between(FETCHED, COMPOSED),
            )
            .await?;
        let file = scratch.file(AUDIO_MIX_FILE);
        // 128 kbit/s: 43 MB for a lesson of 45 minutes.
        let Some((init, fragments)) = scan::split_file(&tokio::fs::read(&file).await?, 48_000)
        else {
            return Err(ExportError::NothingToExport("the audio mix is empty"));
        };
        let storage = &self.recordings.inner.storage;
        let key = |name: &str| Key::in_lesson(recorded.lesson, &[name]);
        storage.put_file(&key(AUDIO_MIX_FILE), &file).await?;
        storage
            .put(
                &key(AUDIO_MIX_PLAYLIST),
                playlist::audio_mix(init, &fragments).into(),
            )
            .await?;
        self.update_recording(
            "UPDATE recordings SET has_voices = $2 WHERE lesson_id = $1",
            recorded.lesson,
            1,
        )
        .await
    }
}
