//! The lesson as every list and page shows it, with what the reader is in it.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::db::{Db, DbError, MAX_ROWS, placeholders, time};
use crate::identity::{Actor, Role};
use crate::ids::{ClassroomId, LessonId, PersonId, SeriesId};

use super::{LessonRole, Phase, RecordingState};

/// Values in one statement: SQLite takes 32 766, PostgreSQL 65 535; a list of cards comes in slices of this many lessons.
const SLICE: usize = 500;

/// A lesson as lists show it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LessonCard {
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
    /// What the reader is in this lesson.
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
    pub end: End,
}

crate::string_enum! {
    /// Which end of the lesson a classroom is.
    End { Lead = "lead", Listening = "listening" }
}

/// Which lessons are asked for.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// Those that touch the time between.
    Between(Timestamp, Timestamp),
    /// `most` of those with a recording, newest first, after `skip` of them.
    Recorded {
        skip: i64,
        most: i64,
    },
    /// Of some, those with a recording, newest first.
    RecordedAmong(&'a [LessonId]),
    One(LessonId),
}

/// One lesson as `actor` may see it; `None` if they may not, or there is none.
pub async fn card(db: &Db, lesson: LessonId, actor: &Actor) -> Result<Option<LessonCard>, DbError> {
    Ok(cards(db, Which::One(lesson), actor).await?.pop())
}

/// A recorded lesson whoever asks, for what shows it to those who took part; `None` when there is nothing to play.
pub async fn recorded(db: &Db, lesson: LessonId) -> Result<Option<LessonCard>, DbError> {
    let query =
        format!("{SELECT} WHERE l.id = $1 AND l.recording IN ('recording', 'finishing', 'ready')");
    let row: Option<Row> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(lesson)
        .fetch_optional(db.pool())
        .await?;
    let mut cards: Vec<LessonCard> = row.into_iter().map(Row::card).collect();
    if !cards.is_empty() {
        add_assistants(db, &mut cards).await?;
        add_listening(db, &mut cards).await?;
    }
    Ok(cards.pop())
}

/// The next recorded lessons after one, in order of their ids.
pub async fn recorded_after(
    db: &Db,
    after: Option<LessonId>,
    most: u32,
) -> Result<Vec<LessonId>, DbError> {
    let query = format!(
        "SELECT id FROM lessons WHERE recording <> 'none' AND id > $1 ORDER BY id LIMIT {most}"
    );
    let after = after.map_or(String::new(), |id| id.to_string());
    let ids: Vec<(LessonId,)> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(after)
        .fetch_all(db.pool())
        .await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

/// Lessons that `actor` may see: those they take part in; all of them for administrators and observers.
pub async fn cards(db: &Db, which: Which<'_>, actor: &Actor) -> Result<Vec<LessonCard>, DbError> {
    let mut cards: Vec<LessonCard> = rows(db, which, actor)
        .await?
        .into_iter()
        .map(Row::card)
        .collect();
    for slice in cards.chunks_mut(SLICE) {
        add_assistants(db, slice).await?;
        add_listening(db, slice).await?;
    }
    for card in &mut cards {
        card.my_role = card.role_of(actor);
    }
    Ok(cards)
}

/// How many lessons with a recording `actor` may see.
pub async fn count_recorded(db: &Db, actor: &Actor) -> Result<i64, DbError> {
    let query = format!(
        "SELECT COUNT(*) FROM lessons l WHERE {} AND {RECORDED}",
        mine(actor)
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

/// Which lessons are the reader's own; `$1` is the reader's id.
fn mine(actor: &Actor) -> &'static str {
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

async fn rows(db: &Db, which: Which<'_>, actor: &Actor) -> Result<Vec<Row>, DbError> {
    let mine = mine(actor);
    let newest_first = "ORDER BY l.starts_at DESC, l.id DESC";
    let condition = match which {
        Which::Between(..) => {
            format!(
                "l.starts_at < $3 AND l.ends_at > $2 ORDER BY l.starts_at, l.id LIMIT {MAX_ROWS}"
            )
        }
        Which::Recorded { .. } => format!("{RECORDED} {newest_first} LIMIT $2 OFFSET $3"),
        Which::RecordedAmong([]) => return Ok(Vec::new()),
        Which::RecordedAmong(ids) => {
            format!(
                "{RECORDED} AND l.id IN ({}) {newest_first}",
                placeholders(2, ids.len())
            )
        }
        Which::One(_) => "l.id = $2".to_owned(),
    };
    let query = format!("{SELECT} WHERE {mine} AND {condition}");
    let query = sqlx::query_as(sqlx::AssertSqlSafe(query)).bind(actor.id().to_string());
    let query = match which {
        Which::Between(from, to) => query
            .bind(crate::db::millis(from))
            .bind(crate::db::millis(to)),
        Which::Recorded { skip, most } => query.bind(most).bind(skip),
        Which::RecordedAmong(ids) => ids.iter().fold(query, |query, id| query.bind(*id)),
        Which::One(id) => query.bind(id),
    };
    query.fetch_all(db.pool()).await
}

impl Row {
    fn card(self) -> LessonCard {
        let room = self.room_id.zip(self.room_name).zip(self.room_school);
        LessonCard {
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
                    end: End::Lead,
                })
                .into_iter()
                .collect(),
            my_role: LessonRole::None,
            recording: self.recording.told(self.phase),
        }
    }
}

async fn add_assistants(db: &Db, cards: &mut [LessonCard]) -> Result<(), DbError> {
    let query = format!(
        "SELECT a.lesson_id, p.id, p.name FROM lesson_assistants a JOIN people p ON p.id = a.person_id
         WHERE a.lesson_id IN ({}) ORDER BY a.place",
        placeholders(1, cards.len())
    );
    let mut query = sqlx::query_as(sqlx::AssertSqlSafe(query));
    for card in cards.iter() {
        query = query.bind(card.id);
    }
    let found: Vec<(LessonId, PersonId, String)> = query.fetch_all(db.pool()).await?;
    for (lesson, id, name) in found {
        let card = cards
            .iter_mut()
            .find(|card| card.id == lesson)
            .expect("only these lessons were asked for");
        card.assistants.push(PersonRef { id, name });
    }
    Ok(())
}

async fn add_listening(db: &Db, cards: &mut [LessonCard]) -> Result<(), DbError> {
    let query = format!(
        "SELECT r.lesson_id, c.id, c.name, o.name FROM lesson_classrooms r
         JOIN classrooms c ON c.id = r.classroom_id JOIN schools o ON o.id = c.school_id
         WHERE r.lesson_id IN ({}) ORDER BY r.place",
        placeholders(1, cards.len())
    );
    let mut query = sqlx::query_as(sqlx::AssertSqlSafe(query));
    for card in cards.iter() {
        query = query.bind(card.id);
    }
    let found: Vec<(LessonId, ClassroomId, String, String)> = query.fetch_all(db.pool()).await?;
    for (lesson, id, name, school) in found {
        let card = cards
            .iter_mut()
            .find(|card| card.id == lesson)
            .expect("only these lessons were asked for");
        card.classrooms.push(RoomRef {
            id,
            name,
            school,
            end: End::Listening,
        });
    }
    Ok(())
}

impl LessonCard {
    /// The same answer as [`super::role_in`], from what the card holds.
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
                Some(End::Lead) => LessonRole::LeadRoom,
                Some(End::Listening) => LessonRole::Listening,
                None => LessonRole::None,
            },
        }
    }
}
