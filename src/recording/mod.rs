//! Recordings: made while a lesson is on, played while it is on and after.
//!
//! ```text
//! bus ─ started, tracks, timeline, ended ─┐            plane ─ taps ─┐
//!                                         ▼                         ▼
//!   Recordings ──── one LessonRecorder (thread) per lesson: tongke-record → Writer ─┬─ spool: fsync'd files
//!                                                                                   └─ ledger → catalogue (database)
//!   upload:   spool → object store            recover:  spool + catalogue after a crash
//!   playlist: catalogue → HLS; programme says who is on      media: files by URL, from spool or store
//!   timeline: what happened, and which page was shown when      findable: what the search is told of it
//!   export:   poster, MP4 and renditions by tongke-av (`worker`), as durable jobs
//! ```
//!
//! What is on disk counts: a row is written after the bytes it names are synced, so whatever a playlist names can be played. A recording is
//! `ready` as soon as its last segment is in the catalogue — the bytes may still be in the spool, from where they are served — and so
//! playable when the bell rings. Two alternatives were turned down: waiting for the object store (a replay would depend on an uplink), and
//! muxing at the end (a crash would cost the lesson).

pub mod catalogue;
mod export;
mod filler;
mod findable;
mod ledger;
mod manifest;
mod media;
mod plane;
mod playlist;
mod programme;
mod recorder;
mod recover;
mod routes;
mod source;
mod spool;
#[cfg(test)]
mod tests;
mod timeline;
mod upload;
mod writer;

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
use ledger::{Note, TrackNote};
use recorder::LessonRecorder;
use spool::Spool;
use upload::Uploads;
use writer::{Tell, Writer};

pub use recover::RecoverError;
pub use routes::routes;
pub use source::{Published, Source};
pub use writer::Health;

/// A catalogue read for one request serves others this long: a class of fifty watching asks a hundred times a second.
const FRESH: Duration = Duration::from_millis(500);

/// The recordings of this server. Cloning shares them.
#[derive(Clone)]
pub struct Recordings {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    storage: Storage,
    jobs: Jobs,
    spool: Spool,
    uploads: Uploads,
    makes_mp4: bool,
    segment: Duration,
    notes: mpsc::UnboundedSender<Note>,
    source: Arc<dyn Source>,
    tell: Tell,
    lessons: Mutex<Lessons>,
    finishing: TaskTracker,
    cache: Mutex<HashMap<LessonId, (Instant, Arc<Recorded>)>>,
}

#[derive(Default)]
struct Lessons {
    open: HashMap<LessonId, Open>,
    /// Tracks that were published before their lesson began.
    early: HashMap<LessonId, Vec<Published>>,
}

/// A lesson that is on.
struct Open {
    recorder: LessonRecorder,
    started: Timestamp,
    /// Lines of its timeline so far.
    events: i64,
    /// What was recorded of it before the server died, if it did: the recording is never shorter.
    recorded_ms: i64,
}

/// Why recordings cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the spool {path} cannot be used: {cause}")]
    Spool { path: String, cause: std::io::Error },
    #[error(transparent)]
    Recover(#[from] RecoverError),
}

impl Recordings {
    /// Brings to order what a crash left, and is ready to record. Call it before lessons can begin and before jobs start; `going_on` are
    /// lessons that are on, each of which is to be taken up with [`Self::go_on`].
    pub async fn start(
        config: &Config,
        db: Db,
        storage: Storage,
        jobs: Jobs,
        source: Arc<dyn Source>,
        tell: Tell,
        going_on: &[LessonId],
    ) -> Result<Recordings, StartError> {
        let path = config.spool_dir();
        let spool =
            Spool::open(path.clone(), config.recording.spool_max_bytes).map_err(|cause| {
                StartError::Spool {
                    path: path.display().to_string(),
                    cause,
                }
            })?;
        let recovered = recover::run(&db, &spool, going_on).await?;
        let (notes, written) = mpsc::unbounded_channel();
        tokio::spawn(ledger::keep(db.clone(), written));
        let uploads = Uploads::start(db.clone(), storage.clone(), spool.clone());
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
            notes,
            source,
            tell,
            lessons,
            finishing,
            cache,
        };
        let recordings = Recordings {
            inner: Arc::new(inner),
        };
        recordings.take_up(recovered).await;
        Ok(recordings)
    }

    async fn take_up(&self, recovered: recover::Recovered) {
        for (place, piece) in recovered.files {
            self.inner.uploads.add(place, piece);
        }
        for lesson in recovered.lessons {
            tracing::warn!(lesson.id = %lesson, "a recording that was interrupted has been finished from the spool");
            self.order_exports(lesson).await;
        }
    }

    /// Follows the lessons that the bus tells of.
    pub fn listen(&self, mut events: mpsc::UnboundedReceiver<LessonEvent>) {
        let recordings = self.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                recordings.handle(event);
            }
        });
    }

    /// The source of recorded lessons for the search index.
    pub fn index_source(&self) -> IndexSource {
        let recordings = findable::Recordings(self.inner.db.clone());
        (Kind::Recording, Arc::new(recordings))
    }

    /// Ends every recording, as when all lessons ended now, and waits until they are written, no longer than `limit`.
    pub async fn stop(&self, limit: Duration) {
        let open: Vec<LessonId> = self.lessons().open.keys().copied().collect();
        open.into_iter()
            .for_each(|lesson| self.ended(lesson, Timestamp::now()));
        self.inner.finishing.close();
        if tokio::time::timeout(limit, self.inner.finishing.wait())
            .await
            .is_err()
        {
            tracing::warn!("recordings still being finished will be taken up at the next start");
        }
    }

    /// One lesson's catalogue, at most [`FRESH`] old.
    pub async fn recorded(&self, lesson: LessonId) -> Result<Option<Arc<Recorded>>, DbError> {
        let known = self
            .cache()
            .get(&lesson)
            .filter(|(read, _)| read.elapsed() < FRESH)
            .map(|(_, known)| known.clone());
        if known.is_some() {
            return Ok(known);
        }
        let read = Recorded::read(&self.inner.db, lesson).await?.map(Arc::new);
        let mut cache = self.cache();
        cache.retain(|_, (read, _)| read.elapsed() < FRESH);
        if let Some(read) = &read {
            cache.insert(lesson, (Instant::now(), read.clone()));
        }
        Ok(read)
    }

    fn handle(&self, event: LessonEvent) {
        match event {
            LessonEvent::Started { lesson, at } => self.started(lesson, at),
            LessonEvent::TrackPublished {
                lesson,
                track,
                participant,
                purpose,
            } => {
                self.published(lesson, Published::new(&track, participant, purpose));
            }
            LessonEvent::TrackGone { lesson, track } => self.track_gone(lesson, track),
            LessonEvent::Timeline { lesson, at, entry } => self.event(lesson, at, &entry),
            LessonEvent::Ended { lesson, at } => self.ended(lesson, at),
        }
    }

    /// The lesson begins to be recorded. A second start of the same lesson changes nothing.
    pub fn started(&self, lesson: LessonId, at: Timestamp) {
        self.open(lesson, at, 0, 0);
    }

    /// A lesson that was on when the server died is recorded further, as the same recording on the same clock.
    pub async fn go_on(&self, lesson: LessonId, began_at: Timestamp) -> Result<(), DbError> {
        let events = timeline::last_number(&self.inner.db, lesson).await?;
        let recorded_ms = self
            .recorded(lesson)
            .await?
            .map_or(0, |recorded| recorded.recorded_ms());
        self.open(lesson, began_at, events, recorded_ms);
        Ok(())
    }

    fn open(&self, lesson: LessonId, started: Timestamp, events: i64, recorded_ms: i64) {
        let mut lessons = self.lessons();
        if lessons.open.contains_key(&lesson) {
            return;
        }
        let age = Duration::try_from(Timestamp::now().duration_since(started)).unwrap_or_default();
        let begin = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
        let Inner {
            spool,
            notes,
            uploads,
            source,
            tell,
            ..
        } = &*self.inner;
        self.note(Note::Begin {
            lesson,
            started_at: millis(started),
        });
        let writer = Writer::new(
            lesson,
            spool.clone(),
            notes.clone(),
            uploads.clone(),
            tell.clone(),
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
            Open {
                recorder,
                started,
                events,
                recorded_ms,
            },
        );
        let early = lessons.early.remove(&lesson).unwrap_or_default();
        drop(lessons);
        self.set_state(lesson, RecordingState::Recording);
        early
            .into_iter()
            .for_each(|published| self.published(lesson, published));
    }

    /// What is written down of a lesson's timeline.
    pub async fn timeline(&self, lesson: LessonId) -> Result<Vec<TimelineEvent>, DbError> {
        timeline::read(&self.inner.db, lesson).await
    }

    /// Somebody publishes a track; before the lesson began it is only noted.
    pub fn published(&self, lesson: LessonId, published: Published) {
        let mut lessons = self.lessons();
        match lessons.open.get(&lesson) {
            Some(open) => {
                let note = TrackNote {
                    id: TrackKey::fresh(),
                    lesson,
                    lesson_started_at: millis(open.started),
                    participant: published.participant.clone().into(),
                    purpose: published.purpose,
                    kind: published.codec.kind(),
                    codec: published.codec,
                    from_ms: 0,
                };
                open.recorder.add(published, note);
            }
            None => lessons.early.entry(lesson).or_default().push(published),
        }
    }

    pub fn track_gone(&self, lesson: LessonId, track: TrackId) {
        let mut lessons = self.lessons();
        if let Some(open) = lessons.open.get(&lesson) {
            open.recorder.remove(track);
        }
        if let Some(early) = lessons.early.get_mut(&lesson) {
            early.retain(|published| published.track != track);
        }
        lessons.early.retain(|_, early| !early.is_empty());
    }

    /// A line of the timeline.
    pub fn event(&self, lesson: LessonId, at: Timestamp, entry: &TimelineEntry) {
        let mut lessons = self.lessons();
        let Some(open) = lessons.open.get_mut(&lesson) else {
            return;
        };
        open.events += 1;
        let at_ms = (millis(at) - millis(open.started)).max(0);
        let (kind, body) = entry.to_columns();
        self.note(Note::Event {
            lesson,
            number: open.events,
            at_ms,
            kind,
            body,
        });
    }

    /// The lesson is over: its recording is finished in the background.
    pub fn ended(&self, lesson: LessonId, at: Timestamp) {
        let mut lessons = self.lessons();
        lessons.early.remove(&lesson);
        let Some(open) = lessons.open.remove(&lesson) else {
            return;
        };
        drop(lessons);
        let recordings = self.clone();
        let duration_ms = (millis(at) - millis(open.started)).max(open.recorded_ms);
        self.inner
            .finishing
            .spawn(async move { recordings.finish(lesson, open.recorder, duration_ms).await });
    }

    async fn finish(&self, lesson: LessonId, recorder: LessonRecorder, duration_ms: i64) {
        recorder.end().await;
        let (written, done) = oneshot::channel();
        let state = RecordingState::Ready;
        self.note(Note::End {
            lesson,
            state,
            duration_ms,
            written,
        });
        // Without an answer the server is going down; the next start finishes what is missing.
        if done.await.is_err() {
            return;
        }
        self.forget(lesson);
        let found = self.recorded(lesson).await;
        let empty = found.is_ok_and(|found| found.is_none_or(|found| found.tracks.is_empty()));
        self.set_state(lesson, if empty { RecordingState::Failed } else { state });
        if !empty {
            self.order_exports(lesson).await;
        }
    }

    /// The catalogue of a lesson has changed.
    fn forget(&self, lesson: LessonId) {
        self.cache().remove(&lesson);
    }

    /// The timetable shows the state on its cards.
    fn set_state(&self, lesson: LessonId, state: RecordingState) {
        let db = self.inner.db.clone();
        self.inner.finishing.spawn(async move {
            if let Err(error) = set_recording(&db, lesson, state).await {
                tracing::error!(%error, lesson.id = %lesson, %state, "the state of a recording could not be noted");
            }
        });
    }

    fn note(&self, note: Note) {
        // The ledger ends only with the process.
        let _ = self.inner.notes.send(note);
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
