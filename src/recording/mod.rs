//! Recording of live lessons, and playback during and after the lesson.
//!
//! ```text
//! bus ─ started, tracks, timeline, ended ─┐            plane ─ taps ─┐
//!                                         ▼                          ▼
//!   Recordings ── one LessonRecorder thread per lesson: tongke-record → SpoolWriter
//!                                                                           │
//!                                     spool: fsync'd files ◀────────────────┤
//!                                     catalogue_writer → catalogue (db) ◀───┤
//!                                     upload → object store ◀───────────────┘
//!   recovery:     spool → catalogue after a crash
//!   playlist:     catalogue → HLS; programme selects the track that is shown at each moment
//!   media_files:  files by URL, from the spool or the object store
//!   timeline:     events of the lesson and the deck pages shown
//!   index_source: documents for the search index
//!   export:       poster, MP4, audio mix and renditions by tongke-av (`worker`), as durable jobs
//! ```
//!
//! A media segment passes through these steps; a crash between any two repeats a step, which is
//! harmless:
//!
//! 1. [`spool_writer`] appends the fragments to a spool file and fsyncs each of them.
//! 2. At the end of the segment it renames the file to its final name and fsyncs the directory.
//! 3. Then it queues two independent tasks: the catalogue row (`stored = 0`) and the upload.
//! 4. [`upload`] puts the object and then sets `stored = 1`; while the row is missing it retries.
//! 5. Last, the upload removes the spool file.
//!
//! A row is written only after its bytes are on disk, so every segment in a playlist can be served,
//! from the spool or the object store. A recording is `ready` as soon as the row of its last
//! segment is written, before the upload. Two alternatives were rejected: waiting for the object
//! store (a replay would depend on an uplink), and muxing at the end (a crash would lose the
//! lesson).

pub mod catalogue;
mod catalogue_writer;
mod export;
mod index_source;
mod media_files;
mod packet_source;
mod placeholder;
mod plane;
mod playlist;
mod programme;
mod recorder;
mod recovery;
mod routes;
mod spool;
mod spool_writer;
#[cfg(test)]
mod tests;
mod timeline;
mod upload;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;
use tongke_plane::ids::TrackId;

use crate::bus::{LessonEvent, TimelineEntry, TimelineEvent};
use crate::config::Config;
use crate::db::{Db, DbError, millis};
use crate::ids::{LessonId, TrackKey};
use crate::index_queue::{IndexSource, Kind};
use crate::jobs::Jobs;
use crate::storage::Storage;
use crate::timetable::{RecordingState, set_recording};

use catalogue::Recorded;
use catalogue_writer::{CatalogueUpdate, NewTrack};
use recorder::LessonRecorder;
use spool::Spool;
use spool_writer::{HealthCallback, SpoolWriter};
use upload::UploadQueue;

pub use packet_source::{PacketSource, PublishedTrack};
pub use recovery::RecoveryError;
pub use routes::routes;
pub use spool_writer::Health;

/// Lifetime of a cached catalogue: a class of 50 viewers sends a hundred requests a second.
const CACHE_TTL: Duration = Duration::from_millis(500);

/// The recordings of this server. Clones share them.
#[derive(Clone)]
pub struct Recordings {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    storage: Storage,
    jobs: Jobs,
    spool: Spool,
    uploads: UploadQueue,
    makes_mp4: bool,
    segment: Duration,
    updates: mpsc::UnboundedSender<CatalogueUpdate>,
    source: Arc<dyn PacketSource>,
    on_health: HealthCallback,
    lessons: Mutex<Lessons>,
    finishing: TaskTracker,
    cache: Mutex<HashMap<LessonId, (Instant, Arc<Recorded>)>>,
}

#[derive(Default)]
struct Lessons {
    open: HashMap<LessonId, OpenRecording>,
    /// Tracks published before their lesson began.
    pending_tracks: HashMap<LessonId, Vec<PublishedTrack>>,
}

/// Recording of a live lesson.
struct OpenRecording {
    recorder: LessonRecorder,
    started: Timestamp,
    /// Number of timeline events so far.
    event_count: i64,
    /// Duration recorded before a crash of the server; the final duration is never shorter.
    recorded_ms: i64,
}

/// Failure to start recording.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the spool {path} cannot be used: {cause}")]
    Spool { path: String, cause: std::io::Error },
    #[error(transparent)]
    Recover(#[from] RecoveryError),
}

impl Recordings {
    /// Recovers interrupted recordings and starts the background tasks.
    ///
    /// Call it before lessons can begin and before jobs start. `live` are the lessons that
    /// continue; resume each with [`Self::resume_recording`].
    pub async fn start(
        config: &Config,
        db: Db,
        storage: Storage,
        jobs: Jobs,
        source: Arc<dyn PacketSource>,
        on_health: HealthCallback,
        live: &[LessonId],
    ) -> Result<Recordings, StartError> {
        let path = config.spool_dir();
        let spool =
            Spool::open(path.clone(), config.recording.spool_max_bytes).map_err(|cause| {
                StartError::Spool {
                    path: path.display().to_string(),
                    cause,
                }
            })?;
        let recovered = recovery::run(&db, &spool, live).await?;
        let (updates, received) = mpsc::unbounded_channel();
        tokio::spawn(catalogue_writer::run(db.clone(), received));
        let uploads = UploadQueue::start(db.clone(), storage.clone(), spool.clone());
        let makes_mp4 = config.recording.mp4;
        let segment = Duration::from_millis(config.recording.segment_ms.into());
        let (lessons, finishing, cache) = Default::default();
        let inner = Inner {
            db,
            storage,
            jobs,
            spool,
            uploads,
            makes_mp4,
            segment,
            updates,
            source,
            on_health,
            lessons,
            finishing,
            cache,
        };
        let recordings = Recordings {
            inner: Arc::new(inner),
        };
        recordings.handle_recovered(recovered).await;
        Ok(recordings)
    }

    async fn handle_recovered(&self, recovered: recovery::Recovered) {
        for (layer_key, layer_file) in recovered.files {
            self.inner.uploads.enqueue(layer_key, layer_file);
        }
        for lesson in recovered.lessons {
            tracing::warn!(lesson.id = %lesson, "a recording that was interrupted has been finished from the spool");
            self.submit_exports(lesson).await;
        }
    }

    /// Records lessons according to the events of the bus.
    pub fn listen(&self, mut events: mpsc::UnboundedReceiver<LessonEvent>) {
        let recordings = self.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                recordings.handle(event);
            }
        });
    }

    /// Returns the source of recorded lessons for the search index.
    pub fn index_source(&self) -> IndexSource {
        let source = index_source::RecordingSource(self.inner.db.clone());
        (Kind::Recording, Arc::new(source))
    }

    /// Ends every recording and waits until they are written, at most `limit`.
    pub async fn stop(&self, limit: Duration) {
        let open: Vec<LessonId> = self.lessons().open.keys().copied().collect();
        open.into_iter()
            .for_each(|lesson| self.end_recording(lesson, Timestamp::now()));
        self.inner.finishing.close();
        if tokio::time::timeout(limit, self.inner.finishing.wait())
            .await
            .is_err()
        {
            tracing::warn!("unfinished recordings will be recovered at the next start");
        }
    }

    /// Returns one lesson's catalogue, at most [`CACHE_TTL`] old.
    pub async fn recorded(&self, lesson: LessonId) -> Result<Option<Arc<Recorded>>, DbError> {
        let cached = self
            .cache()
            .get(&lesson)
            .filter(|(read, _)| read.elapsed() < CACHE_TTL)
            .map(|(_, recorded)| recorded.clone());
        if cached.is_some() {
            return Ok(cached);
        }
        let read = Recorded::read(&self.inner.db, lesson).await?.map(Arc::new);
        let mut cache = self.cache();
        cache.retain(|_, (read, _)| read.elapsed() < CACHE_TTL);
        if let Some(read) = &read {
            cache.insert(lesson, (Instant::now(), read.clone()));
        }
        Ok(read)
    }

    fn handle(&self, event: LessonEvent) {
        match event {
            LessonEvent::Started { lesson, at } => self.start_recording(lesson, at),
            LessonEvent::TrackPublished {
                lesson,
                track,
                participant,
                purpose,
            } => {
                self.add_track(lesson, PublishedTrack::new(&track, participant, purpose));
            }
            LessonEvent::TrackGone { lesson, track } => self.remove_track(lesson, track),
            LessonEvent::Timeline { lesson, at, entry } => self.record_event(lesson, at, &entry),
            LessonEvent::Ended { lesson, at } => self.end_recording(lesson, at),
        }
    }

    /// Starts the recording of a lesson; a no-op if it is being recorded.
    pub fn start_recording(&self, lesson: LessonId, at: Timestamp) {
        self.open(lesson, at, 0, 0);
    }

    /// Continues the recording of a lesson that was live when the server crashed, on the same
    /// clock.
    pub async fn resume_recording(
        &self,
        lesson: LessonId,
        began_at: Timestamp,
    ) -> Result<(), DbError> {
        let event_count = timeline::last_number(&self.inner.db, lesson).await?;
        let recorded_ms = self
            .recorded(lesson)
            .await?
            .map_or(0, |recorded| recorded.recorded_ms());
        self.open(lesson, began_at, event_count, recorded_ms);
        Ok(())
    }

    fn open(&self, lesson: LessonId, started: Timestamp, event_count: i64, recorded_ms: i64) {
        let mut lessons = self.lessons();
        if lessons.open.contains_key(&lesson) {
            return;
        }
        let age = Duration::try_from(Timestamp::now().duration_since(started)).unwrap_or_default();
        let begin = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
        let Inner {
            spool,
            updates,
            uploads,
            source,
            on_health,
            ..
        } = &*self.inner;
        self.send_update(CatalogueUpdate::Begin {
            lesson,
            started_at: millis(started),
        });
        let writer = SpoolWriter::new(
            lesson,
            spool.clone(),
            updates.clone(),
            uploads.clone(),
            on_health.clone(),
        );
        let recorder = match LessonRecorder::start(
            source.clone(),
            writer,
            begin,
            self.inner.segment,
        ) {
            Ok(recorder) => recorder,
            Err(error) => {
                return tracing::error!(%error, lesson.id = %lesson, "the lesson cannot be recorded");
            }
        };
        lessons.open.insert(
            lesson,
            OpenRecording {
                recorder,
                started,
                event_count,
                recorded_ms,
            },
        );
        let pending = lessons.pending_tracks.remove(&lesson).unwrap_or_default();
        drop(lessons);
        self.set_state(lesson, RecordingState::Recording);
        pending
            .into_iter()
            .for_each(|published| self.add_track(lesson, published));
    }

    /// Returns a lesson's timeline.
    pub async fn timeline(&self, lesson: LessonId) -> Result<Vec<TimelineEvent>, DbError> {
        timeline::read(&self.inner.db, lesson).await
    }

    /// Records a published track; before the lesson begins, the track is kept pending.
    pub fn add_track(&self, lesson: LessonId, published: PublishedTrack) {
        let mut lessons = self.lessons();
        match lessons.open.get(&lesson) {
            Some(open) => {
                let row = NewTrack {
                    id: TrackKey::fresh(),
                    lesson,
                    lesson_started_at: millis(open.started),
                    participant: published.participant.clone().into(),
                    purpose: published.purpose,
                    kind: published.codec.kind(),
                    codec: published.codec,
                    from_ms: 0,
                };
                open.recorder.add_track(published, row);
            }
            None => lessons
                .pending_tracks
                .entry(lesson)
                .or_default()
                .push(published),
        }
    }

    /// Ends the recording of a track.
    pub fn remove_track(&self, lesson: LessonId, track: TrackId) {
        let mut lessons = self.lessons();
        if let Some(open) = lessons.open.get(&lesson) {
            open.recorder.remove_track(track);
        }
        if let Some(pending) = lessons.pending_tracks.get_mut(&lesson) {
            pending.retain(|published| published.track != track);
        }
        lessons
            .pending_tracks
            .retain(|_, pending| !pending.is_empty());
    }

    /// Appends an event to the timeline of a lesson that is being recorded.
    pub fn record_event(&self, lesson: LessonId, at: Timestamp, entry: &TimelineEntry) {
        let mut lessons = self.lessons();
        let Some(open) = lessons.open.get_mut(&lesson) else {
            return;
        };
        open.event_count += 1;
        let at_ms = (millis(at) - millis(open.started)).max(0);
        let (kind, body) = entry.to_columns();
        self.send_update(CatalogueUpdate::Event {
            lesson,
            number: open.event_count,
            at_ms,
            kind,
            body,
        });
    }

    /// Ends the recording of a lesson; it is finished in the background.
    pub fn end_recording(&self, lesson: LessonId, at: Timestamp) {
        let mut lessons = self.lessons();
        lessons.pending_tracks.remove(&lesson);
        let Some(open) = lessons.open.remove(&lesson) else {
            return;
        };
        drop(lessons);
        let recordings = self.clone();
        let duration_ms = (millis(at) - millis(open.started)).max(open.recorded_ms);
        self.inner.finishing.spawn(async move {
            recordings
                .finish_recording(lesson, open.recorder, duration_ms)
                .await
        });
    }

    async fn finish_recording(&self, lesson: LessonId, recorder: LessonRecorder, duration_ms: i64) {
        recorder.end().await;
        let (written, done) = oneshot::channel();
        let state = RecordingState::Ready;
        self.send_update(CatalogueUpdate::End {
            lesson,
            state,
            duration_ms,
            written,
        });
        // The channel closes only at shutdown; the next start recovers the rest.
        if done.await.is_err() {
            return;
        }
        self.invalidate_cache(lesson);
        let recorded = self.recorded(lesson).await;
        let empty = recorded
            .is_ok_and(|recorded| recorded.is_none_or(|recorded| recorded.tracks.is_empty()));
        self.set_state(lesson, if empty { RecordingState::Failed } else { state });
        if !empty {
            self.submit_exports(lesson).await;
        }
    }

    /// Drops the cached catalogue of a lesson after a change.
    fn invalidate_cache(&self, lesson: LessonId) {
        self.cache().remove(&lesson);
    }

    /// Sets the recording state in the timetable.
    fn set_state(&self, lesson: LessonId, state: RecordingState) {
        let db = self.inner.db.clone();
        self.inner.finishing.spawn(async move {
            if let Err(error) = set_recording(&db, lesson, state).await {
                tracing::error!(%error, lesson.id = %lesson, %state, "the state of a recording could not be written");
            }
        });
    }

    fn send_update(&self, update: CatalogueUpdate) {
        // The catalogue writer runs as long as the process.
        let _ = self.inner.updates.send(update);
    }

    fn lessons(&self) -> std::sync::MutexGuard<'_, Lessons> {
        self.inner
            .lessons
            .lock()
            .expect("no holder of this lock can panic")
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, HashMap<LessonId, (Instant, Arc<Recorded>)>> {
        self.inner
            .cache
            .lock()
            .expect("no holder of this lock can panic")
    }
}
