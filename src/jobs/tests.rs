//! Job queue tests, on SQLite and PostgreSQL.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::run::{MAX_ATTEMPTS, retry_backoff};
use super::*;
use crate::testing::databases;

fn job(kind: &'static str, key: &str) -> NewJob {
    NewJob {
        kind,
        key: key.into(),
        owner: None,
    }
}

/// Waits until the job is in this state.
async fn reaches(jobs: &Jobs, id: JobId, state: JobState) -> Job {
    for _ in 0..500 {
        let job = jobs.get(id).await.expect("asked").expect("there is one");
        if job.state == state {
            return job;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:?} never became {state}", jobs.get(id).await);
}

#[tokio::test]
async fn a_job_submitted_twice_runs_once() {
    for (db, _folder) in databases().await {
        let jobs = Jobs::new(db, 2, 1);
        let runs = Arc::new(AtomicUsize::new(0));
        let counter = runs.clone();
        jobs.register(Lane::Media, "work", move |job| {
            counter.fetch_add(1, Ordering::SeqCst);
            async move {
                job.progress(0.5).await;
                Ok(())
            }
        });
        let id = jobs.submit(job("work", "mp4")).await.expect("durable");
        assert_eq!(jobs.submit(job("work", "mp4")).await.expect("durable"), id);
        assert_eq!(
            jobs.get(id).await.expect("asked").expect("there").state,
            JobState::Queued,
            "the queue is not started yet"
        );
        jobs.start().await.expect("starts");
        let done = reaches(&jobs, id, JobState::Done).await;
        assert_eq!((done.progress, done.error), (1.0, None));
        assert_eq!(
            jobs.submit(job("work", "mp4")).await.expect("durable"),
            id,
            "a finished job is not queued again"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        assert_eq!(
            jobs.by_key("mp4").await.expect("asked").expect("there").id,
            id
        );
    }
}

#[tokio::test]
async fn temporary_failures_are_retried_and_permanent_ones_keep_their_reason() {
    for (db, _folder) in databases().await {
        let jobs = Jobs::new(db, 2, 1);
        jobs.register(Lane::Media, "broken", |_| async {
            Err(Failure::Permanent("the file is not a video".into()))
        });
        jobs.register(Lane::Media, "outage", |job| async move {
            if job.attempt == 1 {
                Err(Failure::Retry("the store is away".into()))
            } else {
                Ok(())
            }
        });
        jobs.register(Lane::Media, "panic", |job| async move {
            assert!(job.attempt > 1, "a bug");
            Ok(())
        });
        jobs.start().await.expect("starts");
        let broken = jobs.submit(job("broken", "broken")).await.expect("durable");
        let outage = jobs.submit(job("outage", "outage")).await.expect("durable");
        let panic = jobs.submit(job("panic", "panic")).await.expect("durable");
        let gave_up = reaches(&jobs, broken, JobState::Failed).await;
        assert_eq!(gave_up.error.as_deref(), Some("the file is not a video"));
        reaches(&jobs, outage, JobState::Done).await;
        reaches(&jobs, panic, JobState::Done).await;
        // Submitting a failed job again queues it again.
        assert_eq!(
            jobs.submit(job("broken", "broken")).await.expect("durable"),
            broken
        );
        reaches(&jobs, broken, JobState::Failed).await;
    }
}

#[tokio::test]
async fn a_cancelled_job_is_signalled_and_stays_cancelled() {
    for (db, _folder) in databases().await {
        let jobs = Jobs::new(db, 1, 1);
        let (begun, mut begins) = mpsc::unbounded_channel();
        jobs.register(Lane::Media, "work", move |job| {
            begun.send(()).expect("the test listens");
            async move {
                job.cancel.cancelled().await;
                Err(Failure::Retry("cancelled".into()))
            }
        });
        jobs.start().await.expect("starts");
        let running = jobs.submit(job("work", "one")).await.expect("durable");
        begins.recv().await.expect("begun");
        let queued = jobs.submit(job("work", "two")).await.expect("durable");
        for id in [queued, running] {
            jobs.cancel(id).await.expect("told");
            assert_eq!(
                jobs.get(id).await.expect("asked").expect("there").state,
                JobState::Cancelled
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        for id in [queued, running] {
            assert_eq!(
                jobs.get(id).await.expect("asked").expect("there").state,
                JobState::Cancelled
            );
        }
    }
}

#[tokio::test]
async fn jobs_interrupted_by_a_crash_or_a_stop_run_again() {
    for (db, _folder) in databases().await {
        let crashed = Jobs::new(db.clone(), 1, 1);
        let (begun, mut begins) = mpsc::unbounded_channel();
        let sender = begun.clone();
        crashed.register(Lane::Media, "work", move |job| {
            sender.send(job.attempt).expect("the test listens");
            async move {
                job.cancel.cancelled().await;
                Err(Failure::Retry("stopped".into()))
            }
        });
        crashed.start().await.expect("starts");
        let id = crashed.submit(job("work", "one")).await.expect("durable");
        assert_eq!(begins.recv().await, Some(1));
        crashed.stop(Duration::from_secs(5)).await;
        assert_eq!(
            crashed.get(id).await.expect("asked").expect("there").state,
            JobState::Queued
        );
        // A crash leaves the row in this state.
        sqlx::query("UPDATE jobs SET state = 'running'")
            .execute(db.pool())
            .await
            .expect("set");
        let next = Jobs::new(db, 1, 1);
        next.register(Lane::Media, "work", |_| async { Ok(()) });
        next.start().await.expect("starts");
        reaches(&next, id, JobState::Done).await;
    }
}

#[test]
fn retry_backoff_grows_up_to_its_limit() {
    assert_eq!(retry_backoff(1), Duration::from_secs(2));
    assert!((1..MAX_ATTEMPTS).all(|n| retry_backoff(n) <= retry_backoff(n + 1)));
    assert_eq!(retry_backoff(100), Duration::from_secs(256));
}

#[tokio::test]
async fn a_deck_does_not_wait_for_the_mp4_of_a_lesson() {
    for (db, _folder) in databases().await {
        let jobs = Jobs::new(db, 1, 1);
        jobs.register(Lane::Media, "mp4", |job| async move {
            job.cancel.cancelled().await;
            Ok(())
        });
        jobs.register(Lane::Documents, "deck", |_| async { Ok(()) });
        let mp4 = jobs.submit(job("mp4", "mp4")).await.expect("durable");
        jobs.start().await.expect("starts");
        reaches(&jobs, mp4, JobState::Running).await;
        let deck = jobs.submit(job("deck", "deck")).await.expect("durable");
        reaches(&jobs, deck, JobState::Done).await;
        jobs.stop(Duration::from_secs(5)).await;
    }
}
