//! Dispatch of due jobs: claim, run, record the outcome.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::db::{DbError, millis};
use crate::ids::{JobId, LessonId};

use super::{Failure, Handler, JobState, Jobs, Lane, RunningJob};

/// Attempts before a job fails; the backoffs between them add up to 254 s.
pub(super) const MAX_ATTEMPTS: i64 = 8;
/// Interval of polling without a wake-up, for retries that became due and jobs of other processes.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

impl Jobs {
    /// Runs the jobs of one lane until the queue is stopped.
    pub(super) async fn dispatch(&self, lane: Lane) {
        let inner = &self.inner;
        while !inner.stop.is_cancelled() {
            let slot = tokio::select! {
                slot = inner.slots[lane as usize].clone().acquire_owned() => slot.expect("the semaphore is never closed"),
                () = inner.stop.cancelled() => return,
            };
            match self.claim(lane).await {
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
                () = inner.wake[lane as usize].notified() => {}
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = inner.stop.cancelled() => return,
            }
        }
    }

    /// Marks the longest-due job of the first kind that has one as running.
    async fn claim(&self, lane: Lane) -> Result<Option<(Handler, RunningJob)>, DbError> {
        let kinds: Vec<&'static str> = {
            let handlers = self.inner.handlers.lock().expect("never poisoned");
            handlers
                .iter()
                .filter(|(_, (found, _))| *found == lane)
                .map(|(kind, _)| *kind)
                .collect()
        };
        for kind in kinds {
            let row: Option<(JobId, String, Option<LessonId>, i64)> = sqlx::query_as(
                "UPDATE jobs SET state = 'running', attempts = attempts + 1, updated_at = $1
                 WHERE state = 'queued' AND id = (
                    SELECT id FROM jobs WHERE state = 'queued' AND kind = $2 AND due_at <= $1 ORDER BY due_at, id LIMIT 1)
                 RETURNING id, key, lesson_id, attempts",
            )
            .bind(millis(Timestamp::now()))
            .bind(kind)
            .fetch_optional(self.inner.db.pool())
            .await?;
            let Some((id, key, lesson, attempt)) = row else {
                continue;
            };
            let cancel = self.inner.stop.child_token();
            self.inner
                .running
                .lock()
                .expect("never poisoned")
                .insert(id, cancel.clone());
            let handler = self.inner.handlers.lock().expect("never poisoned")[kind]
                .1
                .clone();
            let (db, written_progress) = (self.inner.db.clone(), Arc::default());
            return Ok(Some((
                handler,
                RunningJob {
                    id,
                    key,
                    lesson,
                    attempt,
                    cancel,
                    db,
                    written_progress,
                },
            )));
        }
        Ok(None)
    }

    #[tracing::instrument(skip_all, fields(job.id = %job.id))]
    async fn run(&self, handler: Handler, job: RunningJob) {
        let (id, attempt) = (job.id, job.attempt);
        // Run in a separate task: a panicking handler must not stop the queue.
        let outcome = tokio::spawn(handler(job))
            .await
            .unwrap_or_else(|panic| Err(Failure::Retry(panic.to_string())));
        self.inner
            .running
            .lock()
            .expect("never poisoned")
            .remove(&id);
        if let Err(error) = self.finish(id, attempt, outcome).await {
            tracing::error!(%error, "the end of a job could not be written; it will run again at the next start");
        }
    }

    async fn finish(
        &self,
        id: JobId,
        attempt: i64,
        outcome: Result<(), Failure>,
    ) -> Result<(), DbError> {
        let stopping = self.inner.stop.is_cancelled();
        let (state, error, backoff, attempts) = match outcome {
            Ok(()) => (JobState::Done, None, Duration::ZERO, attempt),
            Err(_) if stopping => (JobState::Queued, None, Duration::ZERO, attempt - 1),
            Err(Failure::Retry(why)) if attempt < MAX_ATTEMPTS => {
                tracing::warn!(why, attempt, "a job failed and will be tried again");
                (JobState::Queued, Some(why), retry_backoff(attempt), attempt)
            }
            Err(Failure::Retry(why) | Failure::Permanent(why)) => {
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
        .bind(now + backoff.as_millis() as i64)
        .bind(attempts)
        .bind(now)
        .execute(self.inner.db.pool())
        .await?;
        Ok(())
    }
}

/// 2, 4, 8 … 256 seconds.
pub(super) fn retry_backoff(attempt: i64) -> Duration {
    Duration::from_secs(1 << attempt.clamp(1, 8))
}
