//! Jobs on a finished recording: its poster, its MP4, its voices in one track, and playable renditions of what HLS cannot carry.
//!
//! A handler may run again after a crash: it begins anew in an empty scratch folder, stores under the same keys, and only then says so in
//! the catalogue.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tongke_record::scan;

use super::catalogue::{Codec, Kind, Layer, RENDITION_LAYER, Recorded, Track};
use super::ledger::{InitNote, Note, SegmentNote};
use super::manifest::{Clip, Plan, best_layer, file_name, plan};
use super::playlist::{VOICES_FILE, VOICES_PLAYLIST};
use super::spool::{Piece, Place};
use super::upload::key;
use super::{Recordings, ledger, playlist, timeline};
use crate::db::DbError;
use crate::ids::{DeckId, JobId, LessonId};
use crate::jobs::{Failure, Lane, NewJob, Owner, RunningJob};
use crate::library::{self};
use crate::storage::{Key, StorageError, is_missing};
use crate::worker::{ScratchDir, Worker, WorkerError};

/// The shares of an MP4's progress: fetching the segments, composing, storing.
const FETCHED: f64 = 0.1;
const COMPOSED: f64 = 0.95;

/// Which job makes a lesson's MP4.
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
    Nothing(&'static str),
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Failure {
        match error {
            ExportError::Nothing(_)
            | ExportError::Worker(
                WorkerError::BadInput { .. } | WorkerError::Limit(_) | WorkerError::TooLong(_),
            ) => Failure::Permanent(error.to_string()),
            error => Failure::Retry(error.to_string()),
        }
    }
}

impl Recordings {
    /// Says who does these jobs. `scratch` is emptied: nothing in it outlives a run.
    pub fn register_exports(&self, worker: &Worker, scratch: &Path) {
        // What cannot be removed is found by the next job that needs its name.
        let _ = std::fs::remove_dir_all(scratch);
        let desk = Desk {
            recordings: self.clone(),
            worker: worker.clone(),
            scratch: scratch.to_owned(),
        };
        let jobs = &self.inner.jobs;
        let (poster, voices, mp4, rendition) = (desk.clone(), desk.clone(), desk.clone(), desk);
        jobs.register(Lane::Media, "voices", move |job| voices.clone().voices(job));
        jobs.register(Lane::Media, "poster", move |job| poster.clone().poster(job));
        jobs.register(Lane::Media, "mp4", move |job| mp4.clone().mp4(job));
        jobs.register(Lane::Media, "rendition", move |job| {
            rendition.clone().renditions(job)
        });
    }

    /// Orders what a finished recording gets.
    pub(super) async fn order_exports(&self, lesson: LessonId) {
        let recorded = match self.recorded(lesson).await {
            Ok(Some(recorded)) => recorded,
            Ok(None) => return,
            Err(error) => {
                return tracing::error!(%error, lesson.id = %lesson, "the jobs of a recording could not be ordered");
            }
        };
        let mut kinds = vec!["poster"];
        kinds.extend(
            recorded
                .tracks
                .iter()
                .any(|track| track.kind == Kind::Audio)
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
            if let Err(error) = self.order(kind, lesson).await {
                tracing::error!(%error, lesson.id = %lesson, kind, "a job could not be ordered");
            }
        }
    }

    /// Orders the MP4; the job that is at it already, if one is.
    pub(super) async fn order_mp4(&self, lesson: LessonId) -> Result<JobId, DbError> {
        self.order("mp4", lesson).await
    }

    async fn order(&self, kind: &'static str, lesson: LessonId) -> Result<JobId, DbError> {
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

/// Where exports are made.
#[derive(Clone)]
struct Desk {
    recordings: Recordings,
    worker: Worker,
    scratch: PathBuf,
}

impl Desk {
    async fn poster(self, job: RunningJob) -> Result<(), Failure> {
        Ok(self.make_poster(&job).await?)
    }

    async fn voices(self, job: RunningJob) -> Result<(), Failure> {
        Ok(self.make_voices(&job).await?)
    }

    async fn mp4(self, job: RunningJob) -> Result<(), Failure> {
        Ok(self.make_mp4(&job).await?)
    }

    async fn renditions(self, job: RunningJob) -> Result<(), Failure> {
        Ok(self.make_renditions(&job).await?)
    }

    async fn make_poster(&self, job: &RunningJob) -> Result<(), ExportError> {
        let recorded = self.recorded(job).await?;
        let scratch = ScratchDir::create(&self.scratch, job.id)?;
        let clip =
            poster_clip(&recorded).ok_or(ExportError::Nothing("the recording has no picture"))?;
        let input = self.put_together(&recorded, &clip, &scratch, 0).await?;
        let arguments = ["poster", "--input", &input, "--output", "poster.jpg"];
        self.worker
            .run(&arguments, scratch.path(), &job.cancel, ignored)
            .await?;
        let storage = &self.recordings.inner.storage;
        storage
            .put_file(&Key::poster(recorded.lesson), &scratch.file("poster.jpg"))
            .await?;
        self.note(
            "UPDATE recordings SET has_poster = $2 WHERE lesson_id = $1",
            recorded.lesson,
            1,
        )
        .await
    }

    async fn make_voices(&self, job: &RunningJob) -> Result<(), ExportError> {
        let recorded = self.recorded(job).await?;
        let mut plan = plan(&recorded, &[], &[]);
        (plan.pictures, plan.scenes) = Default::default();
        if plan.sounds.is_empty() {
            return Err(ExportError::Nothing("nothing was said"));
        }
        let scratch = ScratchDir::create(&self.scratch, job.id)?;
        self.write_manifest(&recorded, &plan, &scratch, job).await?;
        let arguments = [
            "voices",
            "--manifest",
            "manifest.json",
            "--output",
            VOICES_FILE,
        ];
        self.worker
            .run(
                &arguments,
                scratch.path(),
                &job.cancel,
                job.progress_between(FETCHED, COMPOSED),
            )
            .await?;
        let file = scratch.file(VOICES_FILE);
        // 128 kbit/s: 43 MB for a lesson of 45 minutes.
        let Some((init, fragments)) = scan::split_file(&tokio::fs::read(&file).await?, 48_000)
        else {
            return Err(ExportError::Nothing("the voices came out empty"));
        };
        let storage = &self.recordings.inner.storage;
        let key = |name: &str| Key::in_lesson(recorded.lesson, &[name]);
        storage.put_file(&key(VOICES_FILE), &file).await?;
        storage
            .put(
                &key(VOICES_PLAYLIST),
                playlist::voices(init, &fragments).into(),
            )
            .await?;
        self.note(
            "UPDATE recordings SET has_voices = $2 WHERE lesson_id = $1",
            recorded.lesson,
            1,
        )
        .await
    }

    async fn make_mp4(&self, job: &RunningJob) -> Result<(), ExportError> {
        let recorded = self.recorded(job).await?;
        let events = timeline::read(&self.recordings.inner.db, recorded.lesson).await?;
        let pictures = library::page_pictures(&self.recordings.inner.db, recorded.lesson).await?;
        let mut pages = timeline::shown(&events);
        pages.retain(|page| pictures.contains_key(&(page.deck, page.page)));
        let plan = plan(&recorded, &events, &pages);
        if plan.pictures.is_empty() && plan.sounds.is_empty() {
            return Err(ExportError::Nothing("nothing was recorded"));
        }
        let scratch = ScratchDir::create(&self.scratch, job.id)?;
        self.fetch_stills(&plan, &pictures, &scratch).await?;
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
        let size = storage
            .put_file(&Key::mp4(recorded.lesson), &scratch.file("lesson.mp4"))
            .await?;
        self.note(
            "UPDATE recordings SET mp4_bytes = $2 WHERE lesson_id = $1",
            recorded.lesson,
            size as i64,
        )
        .await
    }

    /// The pages' pictures; one that the store has lost is left out by the worker.
    async fn fetch_stills(
        &self,
        plan: &Plan,
        pictures: &HashMap<(DeckId, i64), Key>,
        scratch: &ScratchDir,
    ) -> Result<(), ExportError> {
        for (name, page) in &plan.stills {
            let Some(key) = pictures.get(page) else {
                continue;
            };
            match self.recordings.inner.storage.get(key).await {
                Ok(bytes) => tokio::fs::write(scratch.file(&still_file(name)), bytes).await?,
                Err(error) if is_missing(&error) => {
                    tracing::warn!(%error, "a page of the lesson is not in the store")
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn write_manifest(
        &self,
        recorded: &Recorded,
        plan: &Plan,
        scratch: &ScratchDir,
        job: &RunningJob,
    ) -> Result<(), ExportError> {
        let total = plan
            .pictures
            .values()
            .chain(plan.sounds.values())
            .map(Vec::len)
            .sum::<usize>()
            .max(1);
        let mut fetched = 0;
        let mut groups = [json!({}), json!({})];
        for (group, tracks) in groups.iter_mut().zip([&plan.pictures, &plan.sounds]) {
            for (name, clips) in tracks {
                let mut files = Vec::new();
                for (index, clip) in clips.iter().enumerate() {
                    files.push(
                        json!({ "path": self.put_together(recorded, clip, scratch, index).await? }),
                    );
                    fetched += 1;
                    job.progress(FETCHED * fetched as f64 / total as f64).await;
                }
                group[name] = files.into();
            }
        }
        let [pictures, sounds] = groups;
        let stills: BTreeMap<_, _> = plan
            .stills
            .keys()
            .map(|name| (name, still_file(name)))
            .collect();
        let manifest = json!({ "duration_ms": plan.duration_ms, "pictures": pictures, "sounds": sounds,
            "stills": stills, "scenes": plan.scenes });
        tokio::fs::write(scratch.file("manifest.json"), manifest.to_string()).await?;
        Ok(())
    }

    /// Writes a clip's init part and segments into one file, and returns its name.
    async fn put_together(
        &self,
        recorded: &Recorded,
        clip: &Clip,
        scratch: &ScratchDir,
        index: usize,
    ) -> Result<String, ExportError> {
        let name = file_name(clip, index);
        let place = Place {
            lesson: recorded.lesson,
            track: clip.track,
            layer: clip.layer,
        };
        let mut file = tokio::fs::File::create(scratch.file(&name)).await?;
        file.write_all(&self.recordings.fetch(place, Piece::Init(clip.init)).await?)
            .await?;
        for number in &clip.segments {
            let piece = Piece::Segment {
                number: *number,
                init: clip.init,
            };
            file.write_all(&self.recordings.fetch(place, piece).await?)
                .await?;
        }
        file.flush().await?;
        Ok(name)
    }

    async fn make_renditions(&self, job: &RunningJob) -> Result<(), ExportError> {
        let recorded = self.recorded(job).await?;
        for track in recorded
            .tracks
            .iter()
            .filter(|track| track.codec == Codec::Vp8)
        {
            if track.layer(RENDITION_LAYER).is_none() {
                self.make_rendition(&recorded, track, job).await?;
            }
        }
        Ok(())
    }

    /// A new layer of the track, a run of segments for each clip; the catalogue gets it whole.
    async fn make_rendition(
        &self,
        recorded: &Recorded,
        track: &Track,
        job: &RunningJob,
    ) -> Result<(), ExportError> {
        let scratch = ScratchDir::create(&self.scratch, job.id)?;
        let Some(layer) = best_layer(track) else {
            return Ok(());
        };
        let place = Place {
            lesson: recorded.lesson,
            track: track.id,
            layer: RENDITION_LAYER,
        };
        let (mut notes, mut number) = (Vec::new(), 0);
        for (init, clip) in runs(track, layer).iter().enumerate() {
            let init = init as u32;
            let input = self
                .put_together(recorded, clip, &scratch, init as usize)
                .await?;
            let arguments = ["rendition", "--input", &input, "--output", "rendition.mp4"];
            let done = self
                .worker
                .run(&arguments, scratch.path(), &job.cancel, ignored)
                .await?;
            let bytes = tokio::fs::read(scratch.file("rendition.mp4")).await?;
            let Some((head, fragments)) = scan::split_file(&bytes, 90_000) else {
                continue;
            };
            let size = |name: &str| done[name].as_u64().unwrap_or(0) as u16;
            let (width, height) = (size("width"), size("height"));
            self.recordings
                .inner
                .storage
                .put(
                    &key(place, Piece::Init(init)),
                    bytes[..head].to_vec().into(),
                )
                .await?;
            let codec = avc_codec(&bytes[..head]).unwrap_or_else(|| "avc1.64001f".into());
            notes.push(Note::Init {
                place,
                init: InitNote {
                    number: init,
                    codec,
                    width,
                    height,
                    playable: true,
                },
            });
            for fragment in fragments {
                let piece = Piece::Segment { number, init };
                let content = bytes[fragment.bytes.clone()].to_vec();
                self.recordings
                    .inner
                    .storage
                    .put(&key(place, piece), content.into())
                    .await?;
                let (start_us, duration_us) = (
                    fragment.start.as_micros() as i64,
                    fragment.duration.as_micros() as i64,
                );
                let (size_bytes, keyframe) = (fragment.bytes.len() as i64, fragment.keyframe_start);
                let segment = SegmentNote {
                    number,
                    init,
                    start_us,
                    duration_us,
                    size_bytes,
                    keyframe,
                };
                notes.push(Note::Segment { place, segment });
                number += 1;
            }
        }
        ledger::write(&self.recordings.inner.db, &notes).await?;
        self.recordings.forget(recorded.lesson);
        Ok(())
    }

    async fn recorded(&self, job: &RunningJob) -> Result<std::sync::Arc<Recorded>, ExportError> {
        let lesson = job
            .lesson
            .ok_or(ExportError::Nothing("the job names no lesson"))?;
        self.recordings
            .recorded(lesson)
            .await?
            .ok_or(ExportError::Nothing("the lesson has no recording"))
    }

    async fn note(
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
        self.recordings.forget(lesson);
        Ok(())
    }
}

fn still_file(name: &str) -> String {
    format!("{name}.webp")
}

/// A segment a third into the lesson, when everybody has arrived: of the lead's camera, or of what there is.
fn poster_clip(recorded: &Recorded) -> Option<Clip> {
    let pictures = || {
        recorded
            .tracks
            .iter()
            .filter(|track| track.kind == Kind::Video && best_layer(track).is_some())
    };
    let track = pictures()
        .find(|track| recorded.is_lead(track))
        .or_else(|| pictures().next())?;
    let layer = best_layer(track)?;
    let wanted_us = recorded.recorded_ms() * 1000 / 3;
    let whole = layer.segments.iter().filter(|segment| segment.keyframe);
    let segment = whole.min_by_key(|segment| (segment.start_us - wanted_us).abs())?;
    Clip::new(track, layer, &[segment])
}

/// The whole layer, a clip for each run of one init part.
fn runs(track: &Track, layer: &Layer) -> Vec<Clip> {
    let runs = layer.segments.chunk_by(|a, b| a.init == b.init);
    runs.filter_map(|run| Clip::new(track, layer, &run.iter().collect::<Vec<_>>()))
        .collect()
}

/// For work that is over in a moment.
async fn ignored(_: f64) {}

/// The codec string in an init part: profile, constraints and level follow `avcC` and its version (ISO 14496-15 §5.3.3.1).
fn avc_codec(init: &[u8]) -> Option<String> {
    let at = init.windows(4).position(|window| window == b"avcC")?;
    let [_, profile, constraints, level] = *init.get(at + 4..at + 8)? else {
        return None;
    };
    Some(format!("avc1.{profile:02x}{constraints:02x}{level:02x}"))
}
