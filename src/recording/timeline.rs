//! A lesson's timeline as it was recorded.

use std::collections::HashSet;

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::bus::TimelineKind;
use crate::db::{Db, DbError};
use crate::timetable::LessonId;

/// One thing that happened.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TimelineEvent {
    /// Since the lesson began.
    pub at_ms: i64,
    pub kind: TimelineKind,
    /// What it says depends on the kind.
    #[schema(value_type = Object)]
    pub body: serde_json::Value,
}

/// All of a lesson, in order.
pub async fn read(db: &Db, lesson: LessonId) -> Result<Vec<TimelineEvent>, DbError> {
    let rows: Vec<(i64, TimelineKind, String)> =
        sqlx::query_as("SELECT at_ms, kind, body FROM timeline_events WHERE lesson_id = $1 ORDER BY at_ms, number")
            .bind(lesson)
            .fetch_all(db.pool())
            .await?;
    let event = |(at_ms, kind, body): (i64, TimelineKind, String)| TimelineEvent {
        at_ms,
        kind,
        body: serde_json::from_str(&body).unwrap_or_default(),
    };
    Ok(rows.into_iter().map(event).collect())
}

/// Who is on stage from when on.
pub fn stage(events: &[TimelineEvent]) -> Vec<(i64, HashSet<Uuid>)> {
    let changes = events.iter().filter_map(|event| {
        let on_stage = event.body.get("on_stage")?.as_array()?;
        Some((event.at_ms, on_stage.iter().filter_map(|id| id.as_str()?.parse().ok()).collect()))
    });
    changes.collect()
}
