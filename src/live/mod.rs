//! Live lessons.
//!
//! - [`protocol`]: messages between client and server, and the document they maintain
//! - [`lesson`]: pure state machine · `policy`: pure subscription policy
//! - `task`: task of one lesson · `media`: its connections in the plane · `event_router`: plane
//!   events to lessons
//! - `socket`: one WebSocket per client · `whip`: WHIP encoders and WHEP players, authorized by
//!   `tokens`
//!
//! Each lesson runs in one task on exactly one node; [`Lessons`] gives the rest of the server
//! access to it.

mod error;
mod event_router;
pub mod lesson;
mod media;
mod policy;
pub mod protocol;
mod socket;
mod task;
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
use error::RequestError;
use event_router::{EventRouter, LessonRoutes};
use lesson::{Lesson, Limits};
use media::Media;
pub use task::ABANDONED_AFTER;
use task::{Command, Context, LessonTask, now};

/// Capacity of a lesson's command queue: 200 clients at their permitted burst fit; beyond it,
/// sockets wait.
const COMMAND_QUEUE_CAPACITY: usize = 1024;

/// Participants on stage at once: the number that fits beside the lead on a classroom's screen at
/// readable size.
const STAGE_CAPACITY: usize = 6;

/// Routes of this feature.
pub fn routes() -> OpenApiRouter<Live> {
    OpenApiRouter::new()
        .routes(paths!(socket::join_lesson))
        .routes(paths!(tokens::list_tokens, tokens::create_token))
        .routes(paths!(tokens::revoke_token))
        .merge(whip::routes())
}

/// State of this feature. Clones share it.
#[derive(Clone)]
pub struct Live {
    pub config: Arc<Config>,
    pub db: Db,
    pub lessons: Lessons,
}

/// Running lessons. Clones share them.
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
    router: EventRouter,
    open: Mutex<HashMap<LessonId, mpsc::Sender<Command>>>,
    sessions: whip::Sessions,
    tasks: TaskTracker,
}

impl Lessons {
    /// Starts routing the plane's events; no lesson is running yet.
    pub fn start(config: &Config, plane: Plane, events: Events, db: Db, bus: Bus) -> Lessons {
        let router = EventRouter::default();
        tokio::spawn(router.clone().run(events));
        let limits = Limits {
            stage: STAGE_CAPACITY,
            participants: config.limits.participants_per_lesson,
        };
        let inner = Inner {
            plane,
            db,
            bus,
            limits,
            max_lessons: config.limits.live_lessons,
            router,
            open: Mutex::default(),
            sessions: whip::Sessions::default(),
            tasks: TaskTracker::new(),
        };
        Lessons {
            inner: Arc::new(inner),
        }
    }

    /// Broadcasts the recorder's status to a lesson's clients; ignored if the lesson is not
    /// running.
    pub fn set_recording(&self, lesson: LessonId, state: protocol::RecorderStatus) {
        if let Some(sender) = self.running(lesson) {
            let _ = sender.try_send(Command::Recording(state));
        }
    }

    /// Resumes a lesson that was live when the server crashed, from its timeline `past`. Call it
    /// after the recording has resumed and before clients can connect.
    pub fn resume(
        &self,
        lesson: InterruptedLesson,
        past: &[TimelineEvent],
        recording: protocol::RecorderStatus,
    ) {
        let InterruptedLesson {
            id,
            title,
            began_at,
            attended_at,
        } = lesson;
        let mut resumed = Lesson::new(id.to_string(), title, Some(began_at), self.inner.limits);
        resumed.restore(past, now());
        resumed.set_recording(recording);
        let sender = self.spawn(id, |context, media| {
            LessonTask::resumed(context, resumed, media, attended_at)
        });
        self.lock().insert(id, sender);
    }

    /// Ends every lesson cleanly and waits for all tasks.
    pub async fn shutdown(&self) {
        let all: Vec<_> = self.lock().values().cloned().collect();
        for lesson in all {
            let _ = lesson.send(Command::Stop).await;
        }
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Returns the command queue of a lesson's task; starts the task if it is not running.
    async fn get_or_start(&self, id: LessonId) -> Result<mpsc::Sender<Command>, Error> {
        if let Some(sender) = self.running(id) {
            return Ok(sender);
        }
        let status = timetable::lesson_status(&self.inner.db, id)
            .await?
            .ok_or_else(no_such_lesson)?;
        let started = match status.phase {
            Phase::Ended => return Err(RequestError::Lesson(lesson::LessonError::Ended).into()),
            Phase::Live => status.began_at,
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
        let lesson = Lesson::new(id.to_string(), status.title, started, self.inner.limits);
        let sender = self.spawn(id, |context, media| LessonTask::new(context, lesson, media));
        open.insert(id, sender.clone());
        Ok(sender)
    }

    fn spawn(
        &self,
        id: LessonId,
        host: impl FnOnce(Context, Media) -> LessonTask,
    ) -> mpsc::Sender<Command> {
        let (sender, commands) = mpsc::channel(COMMAND_QUEUE_CAPACITY);
        let media = Media::new(
            self.inner.plane.clone(),
            id.plane(),
            LessonRoutes::new(self.inner.router.clone(), sender.clone()),
        );
        let (db, bus, queue) = (
            self.inner.db.clone(),
            self.inner.bus.clone(),
            sender.downgrade(),
        );
        let context = Context { id, db, bus, queue };
        let (lessons, mine, host) = (self.clone(), sender.clone(), host(context, media));
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

    /// Sends a command to a lesson's task and awaits the reply; retries once if the task ended in
    /// between.
    async fn ask<T>(
        &self,
        id: LessonId,
        mut command: impl FnMut(oneshot::Sender<Result<T, RequestError>>) -> Option<Command>,
    ) -> Result<(mpsc::Sender<Command>, T), Error> {
        for _ in 0..2 {
            let sender = self.get_or_start(id).await?;
            let (reply, answer) = oneshot::channel();
            let Some(command) = command(reply) else { break };
            if sender.send(command).await.is_err() {
                continue;
            }
            if let Ok(answer) = answer.await {
                return Ok((sender, answer?));
            }
        }
        Err(RequestError::Gone.into())
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
