//! Planned lesson, created by a person, a series or the demo data.

use jiff::{SignedDuration, Timestamp};
use sqlx::{Any, Transaction};

use crate::db::{Db, millis};
use crate::error::{Error, Result};
use crate::extract::{line, now};
use crate::ids::{LessonId, SeriesId};

use super::roster::Roster;
use super::{Phase, RecordingState};

/// Longest planned lesson; a lesson lasts one or two periods, so a longer one is a typing error.
const MAX_DURATION: SignedDuration = SignedDuration::from_hours(8);

/// Lesson to be created.
#[derive(Clone, Debug)]
pub struct NewLesson {
    pub title: String,
    pub subject: String,
    pub grade: String,
    pub series: Option<SeriesId>,
    /// Name of its period.
    pub period: Option<String>,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub roster: Roster,
}

impl NewLesson {
    /// Trims and validates the fields.
    pub fn check(self) -> Result<Self> {
        if self.ends_at <= self.starts_at
            || self.ends_at.duration_since(self.starts_at) > MAX_DURATION
        {
            return Err(Error::field(
                "ends_at",
                "下课时间必须晚于上课时间，且一节课不超过 8 小时。",
                "A lesson ends after it starts, and lasts 8 hours at most.",
            ));
        }
        Ok(Self {
            title: line("title", &self.title, 1..=100)?,
            subject: line("subject", &self.subject, 1..=20)?,
            grade: line("grade", &self.grade, 1..=20)?,
            ..self
        })
    }
}

/// Validates and creates a lesson.
pub async fn add_lesson(db: &Db, lesson: NewLesson) -> Result<LessonId> {
    let lesson = lesson.check()?;
    let mut tx = db.begin().await?;
    lesson.roster.check(&mut tx).await?;
    let id = insert(&mut tx, &lesson).await?;
    tx.commit().await?;
    Ok(id)
}

/// Inserts the rows of a validated lesson.
pub async fn insert(tx: &mut Transaction<'static, Any>, lesson: &NewLesson) -> Result<LessonId> {
    let id = LessonId::fresh();
    sqlx::query(
        "INSERT INTO lessons (id, series_id, title, subject, grade, period, starts_at, ends_at, phase, recording, lead_id,
            lead_classroom_id, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(id)
    .bind(lesson.series)
    .bind(&lesson.title)
    .bind(&lesson.subject)
    .bind(&lesson.grade)
    .bind(lesson.period.as_deref())
    .bind(millis(lesson.starts_at))
    .bind(millis(lesson.ends_at))
    .bind(Phase::Planned)
    .bind(RecordingState::None)
    .bind(lesson.roster.lead)
    .bind(lesson.roster.lead_room)
    .bind(millis(now()))
    .execute(&mut **tx)
    .await?;
    lesson.roster.write(tx, "lesson", &id.to_string()).await?;
    Ok(id)
}
