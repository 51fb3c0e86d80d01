//! Durable work: a job is a row before anybody is told of it, and it ends as a row that says how it went.
//!
//! A job's key makes it idempotent: submitting the same key again gives the same job. A handler may be run again after a crash
//! or a failure, so it must be able to start over. Failures that can pass are retried with growing pauses; a job that gives up
//! keeps its row with the reason.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa::ToSchema;

use crate::db::{Db, DbError, millis};
use crate::timetable::LessonId;

/// A job is tried this often before it gives up: with the pauses below it spans about 20 minutes of a storage outage.
const MAX_ATTEMPTS: i64 = 8;
/// The queue is looked at this often even when nobody calls (a retry that fell due, another server's job).
const POLL: Duration = Duration::from_secs(5);
/// Progress is written at most in steps of this, to keep a long job from writing all the time.
const PROGRESS_STEP: f64 = 0.01;

crate::id! {
    /// One job.
    JobId
}

crate::words! {
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
}

/// A piece of work to be done later.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Which handler does it.
    pub kind: &'static str,
    /// Names the work: `mp4:LESSON`.
    pub key: String,
    /// The lesson whose participants may see and cancel it.
    pub lesson: Option<LessonId>,
    pub body: serde_json::Value,
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
    pub lesson: Option<LessonId>,
    pub body: serde_json::Value,
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
    handlers: Mutex<HashMap<&'static str, Handler>>,
    running: Mutex<HashMap<JobId, CancellationToken>>,
    wake: Notify,
    slots: Arc<Semaphore>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Jobs {
    /// A queue that runs at most `concurrent` jobs at a time once it is started.
    pub fn new(db: Db, concurrent: usize) -> Self {
        let inner = Inner {
            db,
            handlers: Mutex::default(),
            running: Mutex::default(),
            wake: Notify::new(),
            slots: Arc::new(Semaphore::new(concurrent.max(1))),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Says who does jobs of a kind. Jobs of a kind that nobody does stay queued.
    pub fn register<F, Work>(&self, kind: &'static str, handler: F)
    where
        F: Fn(Running) -> Work + Send + Sync + 'static,
        Work: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |job| Box::pin(handler(job)));
        self.inner.handlers.lock().expect("never poisoned").insert(kind, handler);
    }

    /// Takes up what a crash left behind and works until [`Jobs::stop`].
    pub async fn start(&self) -> Result<(), DbError> {
        sqlx::query("UPDATE jobs SET state = $1, due_at = $2 WHERE state = $3")
            .bind(JobState::Queued)
            .bind(millis(Timestamp::now()))
            .bind(JobState::Running)
            .execute(self.inner.db.pool())
            .await?;
        let queue = self.clone();
        self.inner.tasks.spawn(async move { queue.dispatch().await });
        Ok(())
    }

    /// Asks running jobs to stop and waits for them, no longer than `limit`. What did not end runs again at the next start.
    pub async fn stop(&self, limit: Duration) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        if tokio::time::timeout(limit, self.inner.tasks.wait()).await.is_err() {
            tracing::warn!("jobs still running at the end of the time limit will be taken up at the next start");
        }
    }

    /// Makes the work durable and returns its id. The same key twice is the same job; one that failed or was cancelled starts anew.
    pub async fn submit(&self, job: NewJob) -> Result<JobId, DbError> {
        let now = millis(Timestamp::now());
        let (id,): (JobId,) = sqlx::query_as(
            "INSERT INTO jobs (id, kind, key, lesson_id, body, state, progress, attempts, due_at, error, created_at, updated_at)
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
        .bind(job.lesson)
        .bind(job.body.to_string())
        .bind(now)
        .fetch_one(self.inner.db.pool())
        .await?;
        self.inner.wake.notify_one();
        Ok(id)
    }

    /// The job, if there is one.
    pub async fn get(&self, id: JobId) -> Result<Option<Job>, DbError> {
        sqlx::query_as("SELECT id, kind, state, progress, error, lesson_id FROM jobs WHERE id = $1")
            .bind(id)
            .fetch_optional(self.inner.db.pool())
            .await
    }

    /// The job with that key, if there is one.
    pub async fn by_key(&self, key: &str) -> Result<Option<Job>, DbError> {
        sqlx::query_as("SELECT id, kind, state, progress, error, lesson_id FROM jobs WHERE key = $1")
            .bind(key)
            .fetch_optional(self.inner.db.pool())
            .await
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

    async fn dispatch(&self) {
        let inner = &self.inner;
        while !inner.stop.is_cancelled() {
            let slot = tokio::select! {
                slot = inner.slots.clone().acquire_owned() => slot.expect("the semaphore is never closed"),
                () = inner.stop.cancelled() => return,
            };
            match self.claim().await {
                Ok(Some((handler, job))) => {
                    let queue = self.clone();
                    inner.tasks.spawn(async move {
                        queue.run(handler, job).await;
                        drop(slot);
                    });
                    continue;
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "the job queue cannot be read; trying again"),
            }
            drop(slot);
            tokio::select! {
                () = inner.wake.notified() => {}
                () = tokio::time::sleep(POLL) => {}
                () = inner.stop.cancelled() => return,
            }
        }
    }

    /// Marks the longest-waiting job that is due as running.
    async fn claim(&self) -> Result<Option<(Handler, Running)>, DbError> {
        let kinds: Vec<&'static str> = self.inner.handlers.lock().expect("never poisoned").keys().copied().collect();
        for kind in kinds {
            let row: Option<(JobId, Option<LessonId>, String, i64)> = sqlx::query_as(
                "UPDATE jobs SET state = 'running', attempts = attempts + 1, updated_at = $1
                 WHERE state = 'queued' AND id = (
                    SELECT id FROM jobs WHERE state = 'queued' AND kind = $2 AND due_at <= $1 ORDER BY due_at, id LIMIT 1)
                 RETURNING id, lesson_id, body, attempts",
            )
            .bind(millis(Timestamp::now()))
            .bind(kind)
            .fetch_optional(self.inner.db.pool())
            .await?;
            let Some((id, lesson, body, attempt)) = row else { continue };
            let cancel = self.inner.stop.child_token();
            self.inner.running.lock().expect("never poisoned").insert(id, cancel.clone());
            let handler = self.inner.handlers.lock().expect("never poisoned")[kind].clone();
            let body = serde_json::from_str(&body).unwrap_or_default();
            let (db, written) = (self.inner.db.clone(), Arc::default());
            return Ok(Some((handler, Running { id, lesson, body, attempt, cancel, db, written })));
        }
        Ok(None)
    }

    #[tracing::instrument(skip_all, fields(job.id = %job.id))]
    async fn run(&self, handler: Handler, job: Running) {
        let (id, attempt) = (job.id, job.attempt);
        // A task of its own: a handler that panics must not take the queue with it.
        let outcome = tokio::spawn(handler(job)).await.unwrap_or_else(|panic| Err(Failure::Retry(panic.to_string())));
        self.inner.running.lock().expect("never poisoned").remove(&id);
        if let Err(error) = self.finish(id, attempt, outcome).await {
            tracing::error!(%error, "the end of a job could not be written; it will run again at the next start");
        }
    }

    async fn finish(&self, id: JobId, attempt: i64, outcome: Result<(), Failure>) -> Result<(), DbError> {
        let stopping = self.inner.stop.is_cancelled();
        let (state, error, pause, attempts) = match outcome {
            Ok(()) => (JobState::Done, None, Duration::ZERO, attempt),
            Err(_) if stopping => (JobState::Queued, None, Duration::ZERO, attempt - 1),
            Err(Failure::Retry(why)) if attempt < MAX_ATTEMPTS => {
                tracing::warn!(why, attempt, "a job failed and will be tried again");
                (JobState::Queued, Some(why), pause_after(attempt), attempt)
            }
            Err(Failure::Retry(why) | Failure::GiveUp(why)) => {
                tracing::error!(why, attempt, "a job gave up");
                (JobState::Failed, Some(why), Duration::ZERO, attempt)
            }
        };
        let now = millis(Timestamp::now());
        sqlx::query(
            "UPDATE jobs SET state = $2, error = $3, due_at = $4, attempts = $5, updated_at = $6,
                progress = CASE WHEN $2 = 'done' THEN 1.0 ELSE progress END
             WHERE id = $1 AND state = 'running'",
        )
        .bind(id)
        .bind(state)
        .bind(error)
        .bind(now + pause.as_millis() as i64)
        .bind(attempts)
        .bind(now)
        .execute(self.inner.db.pool())
        .await?;
        Ok(())
    }
}

/// 2, 4, 8 … seconds, at most five minutes.
fn pause_after(attempt: i64) -> Duration {
    Duration::from_secs(1 << attempt.clamp(1, 8)).min(Duration::from_secs(300))
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
        let update = sqlx::query("UPDATE jobs SET progress = $2, updated_at = $3 WHERE id = $1 AND state = 'running'")
            .bind(self.id)
            .bind(done)
            .bind(millis(Timestamp::now()))
            .execute(self.db.pool());
        if let Err(error) = update.await {
            tracing::debug!(%error, "a job's progress could not be written");
        }
    }
}
