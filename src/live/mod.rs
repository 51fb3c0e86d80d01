//! A lesson while it is on.
//!
//! - [`protocol`]: every message between a page and a lesson, and the document they keep
//! - [`lesson`]: the state machine, pure · [`policy`]: who receives what, pure
//! - `host`: the task of one lesson · `media`: its connections in the plane · `routes`: plane events to lessons
//! - `socket`: one WebSocket per page · `whip`: foreign encoders and players, with `tokens` as their keys
//!
//! A lesson lives on exactly one node, in one task; [`Lessons`] is how the rest of the server finds it.

mod host;
pub mod lesson;
mod media;
mod plane_words;
mod policy;
pub mod protocol;
mod refused;
mod routes;
mod socket;
mod tokens;
mod whip;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;
use tongke_plane::{Events, Plane};
use tracing::Instrument;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes as paths;

use crate::bus::{Bus, TimelineEvent};
use crate::config::Config;
use crate::db::Db;
use crate::error::{Error, Text};
use crate::ids::LessonId;
use crate::timetable::{self, InterruptedLesson, Phase};
pub use host::ABANDONED_AFTER;
use host::{Command, Host, Surroundings, now};
use lesson::{Lesson, Limits};
use media::Media;
use refused::Refused;
use routes::{Routes, Table};

/// Commands that may wait for a lesson. Two hundred pages at their permitted burst fit; more is pushed back to the sockets.
const COMMAND_QUEUE: usize = 1024;

/// On stage at once: what still fits on a classroom's screen beside the lead, each large enough to be read.
const STAGE: usize = 6;

/// Every URL of this feature.
pub fn routes() -> OpenApiRouter<Live> {
    OpenApiRouter::new()
        .routes(paths!(socket::open))
        .routes(paths!(tokens::list, tokens::create))
        .routes(paths!(tokens::revoke))
        .merge(whip::routes())
}

/// State of this feature. Cloning shares it.
#[derive(Clone)]
pub struct Live {
    pub config: Arc<Config>,
    pub db: Db,
    pub lessons: Lessons,
}

/// The lessons that are on. Cloning shares them.
#[derive(Clone)]
pub struct Lessons {
    inner: Arc<Inner>,
}

struct Inner {
    plane: Plane,
    db: Db,
    bus: Bus,
    limits: Limits,
    max_lessons: usize,
    table: Table,
    open: Mutex<HashMap<LessonId, mpsc::Sender<Command>>>,
    sessions: whip::Sessions,
    tasks: TaskTracker,
}

impl Lessons {
    /// Begins to hand the plane's events to lessons; none is on yet.
    pub fn start(config: &Config, plane: Plane, events: Events, db: Db, bus: Bus) -> Lessons {
        let table = Table::default();
        tokio::spawn(table.clone().run(events));
        let limits = Limits {
            stage: STAGE,
            participants: config.limits.participants_per_lesson,
        };
        let inner = Inner {
            plane,
            db,
            bus,
            limits,
            max_lessons: config.limits.live_lessons,
            table,
            open: Mutex::default(),
            sessions: whip::Sessions::default(),
            tasks: TaskTracker::new(),
        };
        Lessons {
            inner: Arc::new(inner),
        }
    }

    /// What the recorder says of itself, for the pages. A lesson that is not on does not hear it.
    pub fn set_recording(&self, lesson: LessonId, state: protocol::RecordingState) {
        if let Some(sender) = self.running(lesson) {
            let _ = sender.try_send(Command::Recording(state));
        }
    }

    /// A lesson that was on when the server died goes on; `past` is what its timeline holds. Call it before pages can come, and when it is
    /// being recorded again.
    pub fn go_on(
        &self,
        lesson: InterruptedLesson,
        past: &[TimelineEvent],
        recording: protocol::RecordingState,
    ) {
        let InterruptedLesson {
            id,
            title,
            began_at,
            attended_at,
        } = lesson;
        let mut resumed = Lesson::new(id.to_string(), title, Some(began_at), self.inner.limits);
        resumed.take_up(past, now());
        resumed.set_recording(recording);
        let sender = self.spawn(id, |around, media| {
            Host::going_on(around, resumed, media, attended_at)
        });
        self.lock().insert(id, sender);
    }

    /// Ends every lesson cleanly and waits until all have.
    pub async fn shutdown(&self) {
        let all: Vec<_> = self.lock().values().cloned().collect();
        for lesson in all {
            let _ = lesson.send(Command::Stop).await;
        }
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// The command queue of a lesson's task, which is started when it is not there.
    async fn open(&self, id: LessonId) -> Result<mpsc::Sender<Command>, Error> {
        if let Some(sender) = self.running(id) {
            return Ok(sender);
        }
        let brief = timetable::lesson_status(&self.inner.db, id)
            .await?
            .ok_or_else(no_such_lesson)?;
        let started = match brief.phase {
            Phase::Ended => return Err(Refused::Lesson(lesson::Refusal::Ended).into()),
            Phase::Live => brief.began_at,
            Phase::Planned => None,
        };
        let mut open = self.lock();
        if let Some(sender) = open.get(&id).filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        if open.len() >= self.inner.max_lessons || self.inner.tasks.is_closed() {
            return Err(Error::Unavailable(Text::new(
                "服务器上的课堂已满，请稍后再试。",
                "This server has no room for another lesson now.",
            )));
        }
        let lesson = Lesson::new(id.to_string(), brief.title, started, self.inner.limits);
        let sender = self.spawn(id, |around, media| Host::new(around, lesson, media));
        open.insert(id, sender.clone());
        Ok(sender)
    }

    fn spawn(
        &self,
        id: LessonId,
        host: impl FnOnce(Surroundings, Media) -> Host,
    ) -> mpsc::Sender<Command> {
        let (sender, commands) = mpsc::channel(COMMAND_QUEUE);
        let media = Media::new(
            self.inner.plane.clone(),
            id.plane(),
            Routes::new(self.inner.table.clone(), sender.clone()),
        );
        let (db, bus, queue) = (
            self.inner.db.clone(),
            self.inner.bus.clone(),
            sender.downgrade(),
        );
        let around = Surroundings { id, db, bus, queue };
        let (lessons, mine, host) = (self.clone(), sender.clone(), host(around, media));
        let task = async move {
            metrics::gauge!(crate::metrics::LESSONS).increment(1);
            host.run(commands).await;
            metrics::gauge!(crate::metrics::LESSONS).decrement(1);
            let mut open = lessons.lock();
            if open
                .get(&id)
                .is_some_and(|sender| sender.same_channel(&mine))
            {
                open.remove(&id);
            }
        };
        self.inner
            .tasks
            .spawn(task.instrument(tracing::info_span!("lesson", lesson.id = %id)));
        sender
    }

    /// Asks a lesson's task. One that ended between finding and asking is started again once.
    async fn ask<T>(
        &self,
        id: LessonId,
        mut command: impl FnMut(oneshot::Sender<Result<T, Refused>>) -> Option<Command>,
    ) -> Result<(mpsc::Sender<Command>, T), Error> {
        for _ in 0..2 {
            let sender = self.open(id).await?;
            let (reply, answer) = oneshot::channel();
            let Some(command) = command(reply) else { break };
            if sender.send(command).await.is_err() {
                continue;
            }
            if let Ok(answer) = answer.await {
                return Ok((sender, answer?));
            }
        }
        Err(Refused::Gone.into())
    }

    fn running(&self, id: LessonId) -> Option<mpsc::Sender<Command>> {
        self.lock()
            .get(&id)
            .filter(|sender| !sender.is_closed())
            .cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<LessonId, mpsc::Sender<Command>>> {
        self.inner
            .open
            .lock()
            .expect("no holder of this lock can panic")
    }
}

fn no_such_lesson() -> Error {
    Error::not_found("没有找到这节课。", "There is no such lesson.")
}
