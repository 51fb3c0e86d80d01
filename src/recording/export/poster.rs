//! Poster image of a recording.

use super::manifest::{Clip, best_layer};
use super::{ExportError, Exporter, ignore_progress};
use crate::jobs::{Failure, RunningJob};
use crate::recording::catalogue::{MediaKind, Recorded};
use crate::storage::Key;
use crate::worker::ScratchDir;

impl Exporter {
    pub(super) async fn run_poster(self, job: RunningJob) -> Result<(), Failure> {
        Ok(self.export_poster(&job).await?)
    }

    async fn export_poster(&self, job: &RunningJob) -> Result<(), ExportError> {
        let recorded = self.recorded(job).await?;
        let scratch = ScratchDir::create(&self.scratch, job.id)?;
        let clip = poster_clip(&recorded)
            .ok_or(ExportError::NothingToExport("the recording has no picture"))?;
        let input = self.write_clip(&recorded, &clip, &scratch, 0).await?;
        let arguments = ["poster", "--input", &input, "--output", "poster.jpg"];
        self.worker
            .run(&arguments, scratch.path(), &job.cancel, ignore_progress)
            .await?;
        let storage = &self.recordings.inner.storage;
        storage
            .put_file(&Key::poster(recorded.lesson), &scratch.file("poster.jpg"))
            .await?;
        self.update_recording(
            "UPDATE recordings SET has_poster = $2 WHERE lesson_id = $1",
            recorded.lesson,
            1,
        )
        .await
    }
}

/// Segment at a third of the lesson, when everybody has arrived: of the lead's camera if there is
/// one.
fn poster_clip(recorded: &Recorded) -> Option<Clip> {
    let videos = || {
        recorded
            .tracks
            .iter()
            .filter(|track| track.kind == MediaKind::Video && best_layer(track).is_some())
    };
    let track = videos()
        .find(|track| recorded.is_lead(track))
        .or_else(|| videos().next())?;
    let layer = best_layer(track)?;
    let wanted_us = recorded.recorded_ms() * 1000 / 3;
    let decodable = layer.segments.iter().filter(|segment| segment.keyframe);
    let segment = decodable.min_by_key(|segment| (segment.start_us - wanted_us).abs())?;
    Clip::new(track, layer, &[segment])
}
