//! Durable work: a job is a row before anybody is told of it, and it ends as a row that says how it went.
//!
//! A job's key makes it idempotent: submitting the same key again gives the same job. A handler may be run again after a crash
//! or a failure, so it must be able to start over. Failures that can pass are retried with growing pauses; a job that gives up
//! keeps its row with the reason.

mod run;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::Serialize;
use sqlx::AnyConnection;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa::ToSchema;

use crate::db::{Db, DbError, millis};
use crate::ids::{JobId, LessonId, PersonId};

/// Progress is written at most in steps of this, to keep a long job from writing all the time.
const PROGRESS_STEP: f64 = 0.01;

crate::string_enum! {
    /// Where a job stands.
    JobState { Queued = "queued", Running = "running", Done = "done", Failed = "failed", Cancelled = "cancelled" }
}

/// A job as it is shown.
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct Job {
    pub id: JobId,
    pub kind: String,
    pub state: JobState,
    /// 0 to 1.
    pub progress: f64,
    /// Why it failed, or why its last try did.
    pub error: Option<String>,
    #[serde(skip)]
    pub lesson_id: Option<LessonId>,
    #[serde(skip)]
    pub person_id: Option<PersonId>,
}

/// A piece of work to be done later.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Which handler does it.
    pub kind: &'static str,
    /// Names the work: `mp4:LESSON`.
    pub key: String,
    pub owner: Option<Owner>,
}

/// Jobs of one lane wait for each other; a teacher's deck does not wait for the film of a whole lesson.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Minutes to hours of work on sound and pictures.
    Media,
    /// Seconds of work that somebody waits for.
    Documents,
    /// A moment's work: what is said in a file is found although the decks before it are still being drawn.
    Words,
}

const LANES: [Lane; 3] = [Lane::Media, Lane::Documents, Lane::Words];
/// So that one file that is slow to read does not hold up the others.
const WORDS_AT_ONCE: usize = 2;

/// Whose a job is: who may see and cancel it, besides administrators.
#[derive(Clone, Copy, Debug)]
pub enum Owner {
    /// Those who take part in the lesson see it; its lead cancels it.
    Lesson(LessonId),
    Person(PersonId),
}

/// Why a try of a job did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// May pass: tried again later.
    Retry(String),
    /// Will not pass: the job fails now.
    GiveUp(String),
}

/// What a handler is given.
#[derive(Clone)]
pub struct Running {
    pub id: JobId,
    /// What it was submitted under.
    pub key: String,
    pub lesson: Option<LessonId>,
    /// 1 for the first try.
    pub attempt: i64,
    /// Fires when the job is cancelled or the server stops; the handler should return soon.
    pub cancel: CancellationToken,
    db: Db,
    written: Arc<Mutex<f64>>,
}

type Handler = Arc<dyn Fn(Running) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync>;

/// The queue. Cloning shares it.
#[derive(Clone)]
pub struct Jobs {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    handlers: Mutex<HashMap<&'static str, (Lane, Handler)>>,
    running: Mutex<HashMap<JobId, CancellationToken>>,
    /// One of each lane.
    wake: [Notify; LANES.len()],
    slots: [Arc<Semaphore>; LANES.len()],
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Jobs {
    /// A queue that runs at most so many jobs of the long lanes at a time once it is started.
    pub fn new(db: Db, media: usize, documents: usize) -> Self {
        let inner = Inner {
            db,
            handlers: Mutex::default(),
            running: Mutex::default(),
            wake: Default::default(),
            slots: [media, documents, WORDS_AT_ONCE]
                .map(|concurrent| Arc::new(Semaphore::new(concurrent.max(1)))),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Says who does jobs of a kind, and in which lane. Jobs of a kind that nobody does stay queued.
    pub fn register<F, Work>(&self, lane: Lane, kind: &'static str, handler: F)
    where
        F: Fn(Running) -> Work + Send + Sync + 'static,
        Work: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |job| Box::pin(handler(job)));
        self.inner
            .handlers
            .lock()
            .expect("never poisoned")
            .insert(kind, (lane, handler));
    }

    /// Takes up what a crash left behind and works until [`Jobs::stop`].
    pub async fn start(&self) -> Result<(), DbError> {
        sqlx::query("UPDATE jobs SET state = $1, due_at = $2 WHERE state = $3")
            .bind(JobState::Queued)
            .bind(millis(Timestamp::now()))
            .bind(JobState::Running)
            .execute(self.inner.db.pool())
            .await?;
        for lane in LANES {
            let queue = self.clone();
            self.inner
                .tasks
                .spawn(async move { queue.dispatch(lane).await });
        }
        Ok(())
    }

    /// Asks running jobs to stop and waits for them, no longer than `limit`. What did not end runs again at the next start.
    pub async fn stop(&self, limit: Duration) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        if tokio::time::timeout(limit, self.inner.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                "jobs still running at the end of the time limit will be taken up at the next start"
            );
        }
    }

    /// Makes the work durable and returns its id. The same key twice is the same job; one that failed or was cancelled starts anew.
    pub async fn submit(&self, job: NewJob) -> Result<JobId, DbError> {
        let id = self
            .submit_in(&mut *self.inner.db.pool().acquire().await?, job)
            .await?;
        self.wake();
        Ok(id)
    }

    /// The same in a transaction of the caller, who calls [`Jobs::wake`] when it is committed.
    pub async fn submit_in(
        &self,
        connection: &mut AnyConnection,
        job: NewJob,
    ) -> Result<JobId, DbError> {
        let now = millis(Timestamp::now());
        let (lesson, person) = match job.owner {
            Some(Owner::Lesson(lesson)) => (Some(lesson), None),
            Some(Owner::Person(person)) => (None, Some(person)),
            None => (None, None),
        };
        let (id,): (JobId,) = sqlx::query_as(
            "INSERT INTO jobs (id, kind, key, lesson_id, person_id, state, progress, attempts, due_at, error, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, 'queued', 0.0, 0, $6, NULL, $6, $6)
             ON CONFLICT (key) DO UPDATE SET
                state = CASE WHEN jobs.state IN ('failed', 'cancelled') THEN 'queued' ELSE jobs.state END,
                attempts = CASE WHEN jobs.state IN ('failed', 'cancelled') THEN 0 ELSE jobs.attempts END,
                progress = CASE WHEN jobs.state IN ('failed', 'cancelled') THEN 0.0 ELSE jobs.progress END,
                error = CASE WHEN jobs.state IN ('failed', 'cancelled') THEN NULL ELSE jobs.error END,
                due_at = CASE WHEN jobs.state IN ('failed', 'cancelled') THEN excluded.due_at ELSE jobs.due_at END,
                updated_at = excluded.updated_at
             RETURNING id",
        )
        .bind(JobId::fresh())
        .bind(job.kind)
        .bind(job.key)
        .bind(lesson)
        .bind(person)
        .bind(now)
        .fetch_one(connection)
        .await?;
        Ok(id)
    }

    /// There is new work.
    pub fn wake(&self) {
        self.inner.wake.iter().for_each(Notify::notify_one);
    }

    /// The job, if there is one.
    pub async fn get(&self, id: JobId) -> Result<Option<Job>, DbError> {
        sqlx::query_as(
            "SELECT id, kind, state, progress, error, lesson_id, person_id FROM jobs WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(self.inner.db.pool())
        .await
    }

    /// The job with that key, if there is one.
    pub async fn by_key(&self, key: &str) -> Result<Option<Job>, DbError> {
        sqlx::query_as("SELECT id, kind, state, progress, error, lesson_id, person_id FROM jobs WHERE key = $1")
            .bind(key)
            .fetch_optional(self.inner.db.pool())
            .await
    }

    /// Deletes the row of a job whose subject no longer exists.
    pub async fn remove(&self, key: &str) -> Result<(), DbError> {
        sqlx::query("DELETE FROM jobs WHERE key = $1")
            .bind(key)
            .execute(self.inner.db.pool())
            .await
            .map(drop)
    }

    /// Ends the job unless it has ended already; a running handler is told.
    pub async fn cancel(&self, id: JobId) -> Result<(), DbError> {
        sqlx::query(
            "UPDATE jobs SET state = 'cancelled', updated_at = $2 WHERE id = $1 AND state IN ('queued', 'running')",
        )
        .bind(id)
        .bind(millis(Timestamp::now()))
        .execute(self.inner.db.pool())
        .await?;
        if let Some(token) = self.inner.running.lock().expect("never poisoned").get(&id) {
            token.cancel();
        }
        Ok(())
    }
}

impl Running {
    /// Tells how far the job is, 0 to 1. Cheap to call often.
    pub async fn progress(&self, done: f64) {
        let done = done.clamp(0.0, 1.0);
        {
            let mut written = self.written.lock().expect("never poisoned");
            if done - *written < PROGRESS_STEP {
                return;
            }
            *written = done;
        }
        let update = sqlx::query(
            "UPDATE jobs SET progress = $2, updated_at = $3 WHERE id = $1 AND state = 'running'",
        )
        .bind(self.id)
        .bind(done)
        .bind(millis(Timestamp::now()))
        .execute(self.db.pool());
        if let Err(error) = update.await {
            tracing::debug!(%error, "a job's progress could not be written");
        }
    }
}
