//! Durable job queue in the database.
//!
//! A job is a row before its submitter gets an id, and stays a row with its outcome. The key makes
//! a job idempotent: submitting the same key again returns the same job. A handler may run again
//! after a crash or a failure, so it must be able to start over. Temporary failures are retried
//! with exponential backoff; a job that fails for good keeps its row with the reason.

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

/// Smallest change of progress that is written, to bound the writes of a long job.
const PROGRESS_STEP: f64 = 0.01;

crate::string_enum! {
    /// State of a job.
    JobState { Queued = "queued", Running = "running", Done = "done", Failed = "failed", Cancelled = "cancelled" }
}

/// A job as the API shows it.
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct Job {
    pub id: JobId,
    pub kind: String,
    pub state: JobState,
    /// 0 to 1.
    pub progress: f64,
    /// Error of the last failed attempt.
    pub error: Option<String>,
    #[serde(skip)]
    pub lesson_id: Option<LessonId>,
    #[serde(skip)]
    pub person_id: Option<PersonId>,
}

/// A job to submit.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Kind under which its handler is registered.
    pub kind: &'static str,
    /// Idempotency key, such as `mp4:LESSON`.
    pub key: String,
    pub owner: Option<Owner>,
}

/// Concurrency class of jobs. Each lane has its own slots, so that a deck does not wait behind the
/// MP4 of a whole lesson.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Audio and video processing: minutes to hours.
    Media,
    /// Document rendering that a person waits for: seconds.
    Documents,
    /// Text extraction, well under a second: a file is searchable while earlier decks still render.
    Text,
}

const LANES: [Lane; 3] = [Lane::Media, Lane::Documents, Lane::Text];
/// Two, so that one slow file does not block the others.
const TEXT_CONCURRENCY: usize = 2;

/// Owner of a job; decides who may see and cancel it besides administrators.
#[derive(Clone, Copy, Debug)]
pub enum Owner {
    /// Visible to the lesson's participants, cancellable by its lead.
    Lesson(LessonId),
    Person(PersonId),
}

/// Failure of one attempt.
#[derive(Debug)]
pub enum Failure {
    /// Temporary: retried after a backoff.
    Retry(String),
    /// Permanent: the job fails without another attempt.
    Permanent(String),
}

/// Handle of a running job, passed to its handler.
#[derive(Clone)]
pub struct RunningJob {
    pub id: JobId,
    /// Key of [`NewJob`].
    pub key: String,
    pub lesson: Option<LessonId>,
    /// 1 for the first attempt.
    pub attempt: i64,
    /// Cancelled when the job is cancelled or the server stops; the handler should return soon.
    pub cancel: CancellationToken,
    db: Db,
    written_progress: Arc<Mutex<f64>>,
}

type Handler = Arc<dyn Fn(RunningJob) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync>;

/// The job queue. Clones share it.
#[derive(Clone)]
pub struct Jobs {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    handlers: Mutex<HashMap<&'static str, (Lane, Handler)>>,
    running: Mutex<HashMap<JobId, CancellationToken>>,
    /// One per lane.
    wake: [Notify; LANES.len()],
    slots: [Arc<Semaphore>; LANES.len()],
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Jobs {
    /// Creates a queue with this many concurrent jobs in the media and documents lanes.
    pub fn new(db: Db, media: usize, documents: usize) -> Self {
        let inner = Inner {
            db,
            handlers: Mutex::default(),
            running: Mutex::default(),
            wake: Default::default(),
            slots: [media, documents, TEXT_CONCURRENCY]
                .map(|concurrent| Arc::new(Semaphore::new(concurrent.max(1)))),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Registers the handler and lane of a kind. Jobs of a kind without a handler stay queued.
    pub fn register<F, Work>(&self, lane: Lane, kind: &'static str, handler: F)
    where
        F: Fn(RunningJob) -> Work + Send + Sync + 'static,
        Work: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |job| Box::pin(handler(job)));
        self.inner
            .handlers
            .lock()
            .expect("never poisoned")
            .insert(kind, (lane, handler));
    }

    /// Requeues jobs that a crash left running, and dispatches until [`Jobs::stop`].
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

    /// Cancels running jobs and waits for them, at most `limit`. Unfinished jobs run again at the
    /// next start.
    pub async fn stop(&self, limit: Duration) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        if tokio::time::timeout(limit, self.inner.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                "jobs still running at the end of the time limit will run again at the next start"
            );
        }
    }

    /// Inserts the job, or finds the one with the same key, and returns its id. A failed or
    /// cancelled job is queued again.
    pub async fn submit(&self, job: NewJob) -> Result<JobId, DbError> {
        let id = self
            .submit_in(&mut *self.inner.db.pool().acquire().await?, job)
            .await?;
        self.wake();
        Ok(id)
    }

    /// Submits in the caller's transaction; the caller calls [`Jobs::wake`] after the commit.
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

    /// Wakes the dispatchers after new jobs were committed.
    pub fn wake(&self) {
        self.inner.wake.iter().for_each(Notify::notify_one);
    }

    /// Returns the job with this id.
    pub async fn get(&self, id: JobId) -> Result<Option<Job>, DbError> {
        sqlx::query_as(
            "SELECT id, kind, state, progress, error, lesson_id, person_id FROM jobs WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(self.inner.db.pool())
        .await
    }

    /// Returns the job with this key.
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

    /// Cancels the job unless it has ended; the token of a running handler is cancelled.
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

impl RunningJob {
    /// Reports progress from 0 to 1. Cheap to call often: only steps of [`PROGRESS_STEP`] are
    /// written.
    pub async fn progress(&self, done: f64) {
        let done = done.clamp(0.0, 1.0);
        {
            let mut written = self.written_progress.lock().expect("never poisoned");
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

    /// Returns a callback for a sub-task whose 0 to 1 is the job's `from` to `to`.
    pub fn progress_between(
        &self,
        from: f64,
        to: f64,
    ) -> impl FnMut(f64) -> BoxFuture<'static, ()> + use<> {
        let job = self.clone();
        move |done| {
            let job = job.clone();
            Box::pin(async move { job.progress(from + done * (to - from)).await })
        }
    }
}
