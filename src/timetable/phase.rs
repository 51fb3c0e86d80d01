//! How a lesson moves on: planned → live → ended, and how its recording stands. Nothing else writes these columns.

use jiff::Timestamp;

use crate::db::{Db, DbError, millis, time};
use crate::ids::LessonId;
use crate::index_queue::{self, Kind};

use super::{Phase, RecordingState};

/// planned → live. False when the lesson was not planned any more: somebody else began or ended it.
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

/// Somebody is in a lesson that is on.
pub async fn mark_attended(db: &Db, lesson: LessonId, at: Timestamp) -> Result<(), DbError> {
    let query = sqlx::query("UPDATE lessons SET attended_at = $2 WHERE id = $1 AND phase = 'live'");
    query
        .bind(lesson)
        .bind(millis(at))
        .execute(db.pool())
        .await
        .map(drop)
}

/// live → ended. False when the lesson was not live.
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

/// A lesson that was on when the server died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupted {
    pub id: LessonId,
    pub title: String,
    pub began_at: Timestamp,
    /// When somebody was last known to be in it.
    pub attended_at: Timestamp,
}

/// Lessons that were on when the server died and that somebody was in after `left_before`: they go on. The others were over when
/// their last page had gone.
pub async fn take_up_interrupted(
    db: &Db,
    left_before: Timestamp,
) -> Result<Vec<Interrupted>, DbError> {
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
    let interrupted = |(id, title, began_at, attended_at)| Interrupted {
        id,
        title,
        began_at: time(began_at),
        attended_at: time(attended_at),
    };
    Ok(rows.into_iter().map(interrupted).collect())
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
    Ok(row.map(|(title, phase, began_at)| Brief {
        title,
        phase,
        began_at: began_at.map(time),
    }))
}

/// Notes how the lesson's recording stands.
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
