//! H.264 renditions of VP8 tracks, which HLS cannot carry.

use tongke_record::scan;

use super::manifest::{Clip, best_layer};
use super::{ExportError, Exporter, ignore_progress};
use crate::jobs::{Failure, RunningJob};
use crate::recording::catalogue::{Codec, Layer, RENDITION_LAYER, Recorded, Track};
use crate::recording::catalogue_writer::{self, CatalogueUpdate, NewInit, NewSegment};
use crate::recording::spool::{LayerFile, LayerKey};
use crate::recording::upload::object_key;
use crate::worker::ScratchDir;

impl Exporter {
    pub(super) async fn run_renditions(self, job: RunningJob) -> Result<(), Failure> {
        Ok(self.export_renditions(&job).await?)
    }

    async fn export_renditions(&self, job: &RunningJob) -> Result<(), ExportError> {
        let recorded = self.recorded(job).await?;
        for track in recorded
            .tracks
            .iter()
            .filter(|track| track.codec == Codec::Vp8)
        {
            if track.layer(RENDITION_LAYER).is_none() {
                self.export_rendition(&recorded, track, job).await?;
            }
        }
        Ok(())
    }

    /// Encodes a new layer of the track, one worker run per clip, and adds it to the catalogue in
    /// one transaction.
    async fn export_rendition(
        &self,
        recorded: &Recorded,
        track: &Track,
        job: &RunningJob,
    ) -> Result<(), ExportError> {
        let scratch = ScratchDir::create(&self.scratch, job.id)?;
        let Some(layer) = best_layer(track) else {
            return Ok(());
        };
        let layer_key = LayerKey {
            lesson: recorded.lesson,
            track: track.id,
            layer: RENDITION_LAYER,
        };
        let (mut updates, mut number) = (Vec::new(), 0);
        for (init, clip) in clips_by_init(track, layer).iter().enumerate() {
            let init = init as u32;
            let input = self
                .write_clip(recorded, clip, &scratch, init as usize)
                .await?;
            let arguments = ["rendition", "--input", &input, "--output", "rendition.mp4"];
            let result = self
                .worker
                .run(&arguments, scratch.path(), &job.cancel, ignore_progress)
                .await?;
            let bytes = tokio::fs::read(scratch.file("rendition.mp4")).await?;
            let Some((head, fragments)) = scan::split_file(&bytes, 90_000) else {
                continue;
            };
            let size = |name: &str| result[name].as_u64().unwrap_or(0) as u16;
            let (width, height) = (size("width"), size("height"));
            self.recordings
                .inner
                .storage
                .put(
                    &object_key(layer_key, LayerFile::Init(init)),
                    bytes[..head].to_vec().into(),
                )
                .await?;
            let codec = avc_codec(&bytes[..head]).unwrap_or_else(|| "avc1.64001f".into());
            updates.push(CatalogueUpdate::Init {
                layer_key,
                init: NewInit {
                    number: init,
                    codec,
                    width,
                    height,
                    playable: true,
                },
            });
            for fragment in fragments {
                let layer_file = LayerFile::Segment { number, init };
                let content = bytes[fragment.bytes.clone()].to_vec();
                self.recordings
                    .inner
                    .storage
                    .put(&object_key(layer_key, layer_file), content.into())
                    .await?;
                let (start_us, duration_us) = (
                    fragment.start.as_micros() as i64,
                    fragment.duration.as_micros() as i64,
                );
                let (size_bytes, keyframe) = (fragment.bytes.len() as i64, fragment.keyframe_start);
                let segment = NewSegment {
                    number,
                    init,
                    start_us,
                    duration_us,
                    size_bytes,
                    keyframe,
                };
                updates.push(CatalogueUpdate::Segment { layer_key, segment });
                number += 1;
            }
        }
        catalogue_writer::write(&self.recordings.inner.db, &updates).await?;
        self.recordings.invalidate_cache(recorded.lesson);
        Ok(())
    }
}

/// Returns the complete layer as one clip per run of the same initialization segment.
fn clips_by_init(track: &Track, layer: &Layer) -> Vec<Clip> {
    let runs = layer.segments.chunk_by(|a, b| a.init == b.init);
    runs.filter_map(|run| Clip::new(track, layer, &run.iter().collect::<Vec<_>>()))
        .collect()
}

/// RFC 6381 codec string of an initialization segment: profile, constraints and level follow `avcC`
/// and its version (ISO 14496-15 §5.3.3.1).
fn avc_codec(init: &[u8]) -> Option<String> {
    let at = init.windows(4).position(|window| window == b"avcC")?;
    let [_, profile, constraints, level] = *init.get(at + 4..at + 8)? else {
        return None;
    };
    Some(format!("avc1.{profile:02x}{constraints:02x}{level:02x}"))
}
