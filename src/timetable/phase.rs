//! Transitions of a lesson (planned → live → ended) and of its recording state. Only this module
//! writes these columns.

use jiff::Timestamp;

use crate::db::{Db, DbError, millis, time};
use crate::ids::LessonId;
use crate::index_queue::{self, Kind};

use super::{Phase, RecordingState};

/// Changes planned → live. Returns false if the lesson was not planned.
pub async fn mark_live(db: &Db, lesson: LessonId, at: Timestamp) -> Result<bool, DbError> {
    let changed = sqlx::query(
        "UPDATE lessons SET phase = 'live', began_at = $2, attended_at = $2 WHERE id = $1 AND phase = 'planned'",
    )
    .bind(lesson)
    .bind(millis(at))
    .execute(db.pool())
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Records the time at which participants were last present in a live lesson.
pub async fn mark_attended(db: &Db, lesson: LessonId, at: Timestamp) -> Result<(), DbError> {
    let query = sqlx::query("UPDATE lessons SET attended_at = $2 WHERE id = $1 AND phase = 'live'");
    query
        .bind(lesson)
        .bind(millis(at))
        .execute(db.pool())
        .await
        .map(drop)
}

/// Changes live → ended. Returns false if the lesson was not live.
pub async fn mark_ended(db: &Db, lesson: LessonId, at: Timestamp) -> Result<bool, DbError> {
    let changed = sqlx::query(
        "UPDATE lessons SET phase = 'ended', ended_at = $2 WHERE id = $1 AND phase = 'live'",
    )
    .bind(lesson)
    .bind(millis(at))
    .execute(db.pool())
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Lesson that was live when the server crashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterruptedLesson {
    pub id: LessonId,
    pub title: String,
    pub began_at: Timestamp,
    /// Last time at which a participant was known to be present.
    pub attended_at: Timestamp,
}

/// Returns the lessons that were live when the server crashed and attended after `left_before`;
/// these resume. Ends the others as of their last attendance.
pub async fn resume_interrupted(
    db: &Db,
    left_before: Timestamp,
) -> Result<Vec<InterruptedLesson>, DbError> {
    let ended = sqlx::query(
        "UPDATE lessons SET phase = 'ended', ended_at = attended_at WHERE phase = 'live' AND attended_at < $1",
    )
    .bind(millis(left_before))
    .execute(db.pool())
    .await?;
    if ended.rows_affected() > 0 {
        tracing::warn!(
            lessons = ended.rows_affected(),
            "lessons that were on when the server stopped are long over"
        );
    }
    let rows: Vec<(LessonId, String, i64, i64)> = sqlx::query_as(
        "SELECT id, title, began_at, attended_at FROM lessons WHERE phase = 'live' ORDER BY id",
    )
    .fetch_all(db.pool())
    .await?;
    let interrupted = |(id, title, began_at, attended_at)| InterruptedLesson {
        id,
        title,
        began_at: time(began_at),
        attended_at: time(attended_at),
    };
    Ok(rows.into_iter().map(interrupted).collect())
}

/// State of a lesson that its task needs at start.
#[derive(Clone, Debug)]
pub struct LessonStatus {
    pub title: String,
    pub phase: Phase,
    /// Actual start, in contrast to the planned one.
    pub began_at: Option<Timestamp>,
}

/// Returns the status of a lesson; `None` if it does not exist.
pub async fn lesson_status(db: &Db, lesson: LessonId) -> Result<Option<LessonStatus>, DbError> {
    let row: Option<(String, Phase, Option<i64>)> =
        sqlx::query_as("SELECT title, phase, began_at FROM lessons WHERE id = $1")
            .bind(lesson)
            .fetch_optional(db.pool())
            .await?;
    Ok(row.map(|(title, phase, began_at)| LessonStatus {
        title,
        phase,
        began_at: began_at.map(time),
    }))
}

/// Stores the state of a lesson's recording and queues it for indexing.
pub async fn set_recording(
    db: &Db,
    lesson: LessonId,
    state: RecordingState,
) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    sqlx::query("UPDATE lessons SET recording = $2 WHERE id = $1")
        .bind(lesson)
        .bind(state)
        .execute(&mut *tx)
        .await?;
    index_queue::enqueue(&mut tx, Kind::Recording, lesson.0).await?;
    tx.commit().await
}
