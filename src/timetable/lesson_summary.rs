//! Summary of a lesson for lists and pages, with the requester's role in it.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::db::{Db, DbError, MAX_ROWS, placeholders, time};
use crate::identity::{Actor, Role};
use crate::ids::{ClassroomId, LessonId, PersonId, SeriesId};

use super::{LessonRole, Phase, RecordingState};

/// Bound parameters per statement: SQLite allows 32 766, PostgreSQL 65 535. Longer lists are
/// queried in chunks of this many lessons.
const CHUNK: usize = 500;

/// Summary of a lesson.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LessonSummary {
    pub id: LessonId,
    pub title: String,
    pub subject: String,
    pub grade: String,
    pub series: Option<SeriesRef>,
    /// Name of its period.
    pub period: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
    pub phase: Phase,
    pub lead: LeadRef,
    pub assistants: Vec<PersonRef>,
    pub classrooms: Vec<RoomRef>,
    /// Role of the requester in this lesson.
    pub my_role: LessonRole,
    pub recording: RecordingState,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SeriesRef {
    pub id: SeriesId,
    pub name: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LeadRef {
    pub id: PersonId,
    pub name: String,
    /// Name of the school.
    pub school: Option<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PersonRef {
    pub id: PersonId,
    pub name: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RoomRef {
    pub id: ClassroomId,
    pub name: String,
    /// Name of the school.
    pub school: String,
    pub end: ClassroomRole,
}

crate::string_enum! {
    /// Role of a classroom in a lesson.
    ClassroomRole { Lead = "lead", Listening = "listening" }
}

/// Filter of [`lesson_summaries`].
#[derive(Clone, Copy, Debug)]
pub enum LessonFilter<'a> {
    /// Lessons that overlap this time span.
    Between(Timestamp, Timestamp),
    /// One result page of the lessons with a recording, newest first.
    Recorded {
        offset: i64,
        limit: i64,
    },
    /// The lessons of this list that have a recording, newest first.
    RecordedAmong(&'a [LessonId]),
    One(LessonId),
}

/// Returns a lesson; `None` if it does not exist or `actor` may not see it.
pub async fn lesson_summary(
    db: &Db,
    lesson: LessonId,
    actor: &Actor,
) -> Result<Option<LessonSummary>, DbError> {
    Ok(lesson_summaries(db, LessonFilter::One(lesson), actor)
        .await?
        .pop())
}

/// Returns a recorded lesson without an access check; the caller filters. `None` without a playable
/// recording.
pub async fn recorded_lesson(db: &Db, lesson: LessonId) -> Result<Option<LessonSummary>, DbError> {
    let query =
        format!("{SELECT} WHERE l.id = $1 AND l.recording IN ('recording', 'finishing', 'ready')");
    let row: Option<Row> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(lesson)
        .fetch_optional(db.pool())
        .await?;
    let mut summaries: Vec<LessonSummary> = row.into_iter().map(Row::into_summary).collect();
    if !summaries.is_empty() {
        add_assistants(db, &mut summaries).await?;
        add_listening(db, &mut summaries).await?;
    }
    Ok(summaries.pop())
}

/// Returns the next recorded lessons after `after`, ordered by id.
pub async fn recorded_ids_after(
    db: &Db,
    after: Option<LessonId>,
    limit: u32,
) -> Result<Vec<LessonId>, DbError> {
    let query = format!(
        "SELECT id FROM lessons WHERE recording <> 'none' AND id > $1 ORDER BY id LIMIT {limit}"
    );
    let after = after.map_or(String::new(), |id| id.to_string());
    let ids: Vec<(LessonId,)> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(after)
        .fetch_all(db.pool())
        .await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

/// Returns the lessons that `actor` may see: their own; all for administrators and observers.
pub async fn lesson_summaries(
    db: &Db,
    filter: LessonFilter<'_>,
    actor: &Actor,
) -> Result<Vec<LessonSummary>, DbError> {
    let mut summaries: Vec<LessonSummary> = rows(db, filter, actor)
        .await?
        .into_iter()
        .map(Row::into_summary)
        .collect();
    for slice in summaries.chunks_mut(CHUNK) {
        add_assistants(db, slice).await?;
        add_listening(db, slice).await?;
    }
    for summary in &mut summaries {
        summary.my_role = summary.role_of(actor);
    }
    Ok(summaries)
}

/// Counts the lessons with a recording that `actor` may see.
pub async fn count_recorded(db: &Db, actor: &Actor) -> Result<i64, DbError> {
    let query = format!(
        "SELECT COUNT(*) FROM lessons l WHERE {} AND {RECORDED}",
        visible_to(actor)
    );
    let query = sqlx::query_as(sqlx::AssertSqlSafe(query)).bind(actor.id().to_string());
    let (count,): (i64,) = query.fetch_one(db.pool()).await?;
    Ok(count)
}

#[derive(sqlx::FromRow)]
struct Row {
    id: LessonId,
    title: String,
    subject: String,
    grade: String,
    series_id: Option<SeriesId>,
    series_name: Option<String>,
    period: Option<String>,
    starts_at: i64,
    ends_at: i64,
    phase: Phase,
    recording: RecordingState,
    lead_id: PersonId,
    lead_name: String,
    lead_school: Option<String>,
    room_id: Option<ClassroomId>,
    room_name: Option<String>,
    room_school: Option<String>,
}

const SELECT: &str = "SELECT l.id, l.title, l.subject, l.grade, l.series_id, s.name AS series_name, l.period,
        l.starts_at, l.ends_at, l.phase, l.recording, l.lead_id, p.name AS lead_name, po.name AS lead_school,
        c.id AS room_id, c.name AS room_name, co.name AS room_school
    FROM lessons l
    JOIN people p ON p.id = l.lead_id
    LEFT JOIN schools po ON po.id = p.school_id
    LEFT JOIN series s ON s.id = l.series_id
    LEFT JOIN classrooms c ON c.id = l.lead_classroom_id
    LEFT JOIN schools co ON co.id = c.school_id";

const RECORDED: &str = "l.recording <> 'none'";

/// SQL condition for the lessons that `actor` may see; `$1` is the actor's id.
fn visible_to(actor: &Actor) -> &'static str {
    match actor {
        Actor::Person(person) if person.role != Role::Teacher => "CAST($1 AS TEXT) IS NOT NULL",
        Actor::Person(_) => {
            "(l.lead_id = $1 OR EXISTS (SELECT 1 FROM lesson_assistants a WHERE a.lesson_id = l.id AND a.person_id = $1))"
        }
        Actor::Classroom(_) => {
            "(l.lead_classroom_id = $1 OR EXISTS (SELECT 1 FROM lesson_classrooms r WHERE r.lesson_id = l.id AND r.classroom_id = $1))"
        }
    }
}

async fn rows(db: &Db, filter: LessonFilter<'_>, actor: &Actor) -> Result<Vec<Row>, DbError> {
    let visible = visible_to(actor);
    let newest_first = "ORDER BY l.starts_at DESC, l.id DESC";
    let condition = match filter {
        LessonFilter::Between(..) => {
            format!(
                "l.starts_at < $3 AND l.ends_at > $2 ORDER BY l.starts_at, l.id LIMIT {MAX_ROWS}"
            )
        }
        LessonFilter::Recorded { .. } => format!("{RECORDED} {newest_first} LIMIT $2 OFFSET $3"),
        LessonFilter::RecordedAmong([]) => return Ok(Vec::new()),
        LessonFilter::RecordedAmong(ids) => {
            format!(
                "{RECORDED} AND l.id IN ({}) {newest_first}",
                placeholders(2, ids.len())
            )
        }
        LessonFilter::One(_) => "l.id = $2".to_owned(),
    };
    let query = format!("{SELECT} WHERE {visible} AND {condition}");
    let query = sqlx::query_as(sqlx::AssertSqlSafe(query)).bind(actor.id().to_string());
    let query = match filter {
        LessonFilter::Between(from, to) => query
            .bind(crate::db::millis(from))
            .bind(crate::db::millis(to)),
        LessonFilter::Recorded { offset, limit } => query.bind(limit).bind(offset),
        LessonFilter::RecordedAmong(ids) => ids.iter().fold(query, |query, id| query.bind(*id)),
        LessonFilter::One(id) => query.bind(id),
    };
    query.fetch_all(db.pool()).await
}

impl Row {
    fn into_summary(self) -> LessonSummary {
        let room = self.room_id.zip(self.room_name).zip(self.room_school);
        LessonSummary {
            id: self.id,
            title: self.title,
            subject: self.subject,
            grade: self.grade,
            series: self
                .series_id
                .zip(self.series_name)
                .map(|(id, name)| SeriesRef { id, name }),
            period: self.period,
            starts_at: time(self.starts_at),
            ends_at: time(self.ends_at),
            phase: self.phase,
            lead: LeadRef {
                id: self.lead_id,
                name: self.lead_name,
                school: self.lead_school,
            },
            assistants: Vec::new(),
            classrooms: room
                .map(|((id, name), school)| RoomRef {
                    id,
                    name,
                    school,
                    end: ClassroomRole::Lead,
                })
                .into_iter()
                .collect(),
            my_role: LessonRole::None,
            recording: self.recording.as_reported(self.phase),
        }
    }
}

async fn add_assistants(db: &Db, summaries: &mut [LessonSummary]) -> Result<(), DbError> {
    let query = format!(
        "SELECT a.lesson_id, p.id, p.name FROM lesson_assistants a JOIN people p ON p.id = a.person_id
         WHERE a.lesson_id IN ({}) ORDER BY a.place",
        placeholders(1, summaries.len())
    );
    let mut query = sqlx::query_as(sqlx::AssertSqlSafe(query));
    for summary in summaries.iter() {
        query = query.bind(summary.id);
    }
    let found: Vec<(LessonId, PersonId, String)> = query.fetch_all(db.pool()).await?;
    for (lesson, id, name) in found {
        let summary = summaries
            .iter_mut()
            .find(|summary| summary.id == lesson)
            .expect("only these lessons were asked for");
        summary.assistants.push(PersonRef { id, name });
    }
    Ok(())
}

async fn add_listening(db: &Db, summaries: &mut [LessonSummary]) -> Result<(), DbError> {
    let query = format!(
        "SELECT r.lesson_id, c.id, c.name, o.name FROM lesson_classrooms r
         JOIN classrooms c ON c.id = r.classroom_id JOIN schools o ON o.id = c.school_id
         WHERE r.lesson_id IN ({}) ORDER BY r.place",
        placeholders(1, summaries.len())
    );
    let mut query = sqlx::query_as(sqlx::AssertSqlSafe(query));
    for summary in summaries.iter() {
        query = query.bind(summary.id);
    }
    let found: Vec<(LessonId, ClassroomId, String, String)> = query.fetch_all(db.pool()).await?;
    for (lesson, id, name, school) in found {
        let summary = summaries
            .iter_mut()
            .find(|summary| summary.id == lesson)
            .expect("only these lessons were asked for");
        summary.classrooms.push(RoomRef {
            id,
            name,
            school,
            end: ClassroomRole::Listening,
        });
    }
    Ok(())
}

impl LessonSummary {
    /// Returns the same role as [`super::role_in`], computed from the summary.
    fn role_of(&self, actor: &Actor) -> LessonRole {
        match actor {
            Actor::Person(person) if self.lead.id == person.id => LessonRole::Lead,
            Actor::Person(person) if self.assistants.iter().any(|a| a.id == person.id) => {
                LessonRole::Assistant
            }
            Actor::Person(person) if person.role != Role::Teacher => LessonRole::Observer,
            Actor::Person(_) => LessonRole::None,
            Actor::Classroom(room) => match self
                .classrooms
                .iter()
                .find(|r| r.id == room.id)
                .map(|r| r.end)
            {
                Some(ClassroomRole::Lead) => LessonRole::LeadRoom,
                Some(ClassroomRole::Listening) => LessonRole::Listening,
                None => LessonRole::None,
            },
        }
    }
}
