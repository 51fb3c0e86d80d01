//! How a lesson moves on: planned → live → ended, and how its recording stands. Nothing else writes these columns.

use jiff::Timestamp;

use crate::db::{Db, DbError, millis, time};
use crate::search;

use super::{LessonId, Phase, RecordingState};

/// planned → live. False when the lesson was not planned any more: somebody else began or ended it.
pub async fn mark_live(db: &Db, lesson: LessonId, at: Timestamp) -> Result<bool, DbError> {
    let changed = sqlx::query("UPDATE lessons SET phase = 'live', began_at = $2 WHERE id = $1 AND phase = 'planned'")
        .bind(lesson)
        .bind(millis(at))
        .execute(db.pool())
        .await?;
    Ok(changed.rows_affected() == 1)
}

/// live → ended. False when the lesson was not live.
pub async fn mark_ended(db: &Db, lesson: LessonId, at: Timestamp) -> Result<bool, DbError> {
    let changed = sqlx::query("UPDATE lessons SET phase = 'ended', ended_at = $2 WHERE id = $1 AND phase = 'live'")
        .bind(lesson)
        .bind(millis(at))
        .execute(db.pool())
        .await?;
    Ok(changed.rows_affected() == 1)
}

/// Lessons that were live when the server died are over; their recordings are finished by `recording`.
pub async fn end_interrupted(db: &Db, at: Timestamp) -> Result<Vec<LessonId>, DbError> {
    let ended: Vec<(LessonId,)> =
        sqlx::query_as("UPDATE lessons SET phase = 'ended', ended_at = $1 WHERE phase = 'live' RETURNING id")
            .bind(millis(at))
            .fetch_all(db.pool())
            .await?;
    Ok(ended.into_iter().map(|(id,)| id).collect())
}

/// What a lesson's task has to know before it begins.
#[derive(Clone, Debug)]
pub struct Brief {
    pub title: String,
    pub phase: Phase,
    /// When it really began.
    pub began_at: Option<Timestamp>,
}

/// The lesson in brief; `None` when there is no such lesson.
pub async fn brief(db: &Db, lesson: LessonId) -> Result<Option<Brief>, DbError> {
    let row: Option<(String, Phase, Option<i64>)> =
        sqlx::query_as("SELECT title, phase, began_at FROM lessons WHERE id = $1")
            .bind(lesson)
            .fetch_optional(db.pool())
            .await?;
    Ok(row.map(|(title, phase, began_at)| Brief { title, phase, began_at: began_at.map(time) }))
}

/// Notes how the lesson's recording stands.
pub async fn set_recording(db: &Db, lesson: LessonId, state: RecordingState) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    sqlx::query("UPDATE lessons SET recording = $2 WHERE id = $1").bind(lesson).bind(state).execute(&mut *tx).await?;
    search::mark(&mut tx, search::Kind::Recording, lesson.0).await?;
    tx.commit().await
}
