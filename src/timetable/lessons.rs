//! Lessons, as people plan them: `/api/today`, `/api/lessons`.

use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use sqlx::{Any, Transaction};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::db::{millis, time};
use crate::error::{Error, Result, Text};
use crate::extract::{Json, Path, Query, now, nullable};
use crate::identity::{Actor, Role};
use crate::ids::{ClassroomId, LessonId, PersonId};

use super::Timetable;
use super::cast::Cast;
use super::planned::{NewLesson, add_lesson};
use super::{LessonCard, Phase, Which, calendar, card, cards};

pub fn routes() -> OpenApiRouter<Timetable> {
    OpenApiRouter::new()
        .routes(routes!(today))
        .routes(routes!(add))
        .routes(routes!(one, change, remove))
}

#[derive(Deserialize, IntoParams)]
struct Day {
    /// YYYY-MM-DD; absent: today.
    #[param(value_type = Option<String>, format = Date)]
    date: Option<Date>,
}

#[derive(Serialize, ToSchema)]
struct Today {
    #[schema(value_type = String, format = Date)]
    date: Date,
    #[schema(value_type = String, format = DateTime)]
    now: Timestamp,
    lessons: Vec<LessonCard>,
}

/// My lessons of a day; administrators and observers see everybody's.
#[utoipa::path(get, path = "/api/today", tag = "lessons", params(Day), responses((status = 200, body = Today), (status = 401, body = crate::error::Body)))]
async fn today(
    State(timetable): State<Timetable>,
    actor: Actor,
    Query(day): Query<Day>,
) -> Result<Json<Today>> {
    let (zone, now) = (timetable.config.time_zone(), now());
    let date = day.date.unwrap_or_else(|| calendar::today(&zone, now));
    let out_of_range = || Error::field("date", "日期超出范围。", "The date is out of range.");
    let (from, to) = calendar::day_bounds(&zone, date).ok_or_else(out_of_range)?;
    Ok(Json(Today {
        date,
        now,
        lessons: cards(&timetable.db, Which::Between(from, to), &actor).await?,
    }))
}

/// One lesson, for those who take part in it.
#[utoipa::path(get, path = "/api/lessons/{id}", tag = "lessons", params(("id" = LessonId, Path)), responses((status = 200, body = LessonCard), (status = 404, body = crate::error::Body)))]
async fn one(
    State(timetable): State<Timetable>,
    actor: Actor,
    Path(id): Path<LessonId>,
) -> Result<Json<LessonCard>> {
    card(&timetable.db, id, &actor)
        .await?
        .map(Json)
        .ok_or_else(no_lesson)
}

fn no_lesson() -> Error {
    Error::not_found("没有找到这节课。", "There is no such lesson.")
}

#[derive(Deserialize, ToSchema)]
struct AddLesson {
    title: String,
    subject: String,
    grade: String,
    #[schema(value_type = String, format = DateTime)]
    starts_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    ends_at: Timestamp,
    lead_id: PersonId,
    #[serde(default)]
    assistant_ids: Vec<PersonId>,
    lead_classroom_id: Option<ClassroomId>,
    #[serde(default)]
    classroom_ids: Vec<ClassroomId>,
}

/// Plans a lesson: administrators any, teachers their own.
#[utoipa::path(post, path = "/api/lessons", tag = "lessons", request_body = AddLesson, responses((status = 201, body = LessonCard), (status = 403, body = crate::error::Body), (status = 422, body = crate::error::Body)))]
async fn add(
    State(timetable): State<Timetable>,
    actor: Actor,
    Json(form): Json<AddLesson>,
) -> Result<(StatusCode, Json<LessonCard>)> {
    may_plan(&actor, form.lead_id)?;
    let cast = Cast {
        lead: form.lead_id,
        assistants: form.assistant_ids,
        lead_room: form.lead_classroom_id,
        listening: form.classroom_ids,
    };
    let lesson = NewLesson {
        title: form.title,
        subject: form.subject,
        grade: form.grade,
        series: None,
        period: None,
        starts_at: form.starts_at,
        ends_at: form.ends_at,
        cast,
    };
    let id = add_lesson(&timetable.db, lesson).await?;
    let card = card(&timetable.db, id, &actor)
        .await?
        .ok_or_else(no_lesson)?;
    Ok((StatusCode::CREATED, Json(card)))
}

/// A teacher plans what they lead themselves.
fn may_plan(actor: &Actor, lead: PersonId) -> Result<()> {
    match actor {
        Actor::Person(person) if person.role == Role::Administrator => Ok(()),
        Actor::Person(person) if person.role == Role::Teacher && person.id == lead => Ok(()),
        _ => Err(Error::Forbidden(Text::new(
            "教师只能安排自己主讲的课。",
            "Teachers plan the lessons that they lead themselves.",
        ))),
    }
}

#[derive(Deserialize, ToSchema)]
struct ChangeLesson {
    title: Option<String>,
    subject: Option<String>,
    grade: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    starts_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    ends_at: Option<Timestamp>,
    lead_id: Option<PersonId>,
    assistant_ids: Option<Vec<PersonId>>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<ClassroomId>)]
    lead_classroom_id: Option<Option<ClassroomId>>,
    classroom_ids: Option<Vec<ClassroomId>>,
}

/// Changes a lesson that has not begun: administrators any, teachers their own.
#[utoipa::path(patch, path = "/api/lessons/{id}", tag = "lessons", request_body = ChangeLesson, params(("id" = LessonId, Path)), responses((status = 200, body = LessonCard), (status = 404, body = crate::error::Body), (status = 409, body = crate::error::Body)))]
async fn change(
    State(timetable): State<Timetable>,
    actor: Actor,
    Path(id): Path<LessonId>,
    Json(form): Json<ChangeLesson>,
) -> Result<Json<LessonCard>> {
    let mut tx = timetable.db.begin().await?;
    let present = planned(&mut tx, id, &actor).await?;
    let lesson = form.applied_to(present).check()?;
    may_plan(&actor, lesson.cast.lead)?;
    lesson.cast.check(&mut tx).await?;
    sqlx::query(
        "UPDATE lessons SET title = $2, subject = $3, grade = $4, starts_at = $5, ends_at = $6, lead_id = $7, lead_classroom_id = $8
         WHERE id = $1",
    )
    .bind(id)
    .bind(&lesson.title)
    .bind(&lesson.subject)
    .bind(&lesson.grade)
    .bind(millis(lesson.starts_at))
    .bind(millis(lesson.ends_at))
    .bind(lesson.cast.lead)
    .bind(lesson.cast.lead_room)
    .execute(&mut *tx)
    .await?;
    lesson
        .cast
        .write(&mut tx, "lesson", &id.to_string())
        .await?;
    tx.commit().await?;
    card(&timetable.db, id, &actor)
        .await?
        .map(Json)
        .ok_or_else(no_lesson)
}

impl ChangeLesson {
    fn applied_to(self, present: NewLesson) -> NewLesson {
        let cast = Cast {
            lead: self.lead_id.unwrap_or(present.cast.lead),
            assistants: self.assistant_ids.unwrap_or(present.cast.assistants),
            lead_room: self.lead_classroom_id.unwrap_or(present.cast.lead_room),
            listening: self.classroom_ids.unwrap_or(present.cast.listening),
        };
        NewLesson {
            title: self.title.unwrap_or(present.title),
            subject: self.subject.unwrap_or(present.subject),
            grade: self.grade.unwrap_or(present.grade),
            starts_at: self.starts_at.unwrap_or(present.starts_at),
            ends_at: self.ends_at.unwrap_or(present.ends_at),
            cast,
            ..present
        }
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    title: String,
    subject: String,
    grade: String,
    starts_at: i64,
    ends_at: i64,
    phase: Phase,
    lead_id: PersonId,
    lead_classroom_id: Option<ClassroomId>,
}

/// The lesson as it is planned; refused when it is not there, not this person's, or not to be changed any more.
async fn planned(
    tx: &mut Transaction<'static, Any>,
    id: LessonId,
    actor: &Actor,
) -> Result<NewLesson> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT title, subject, grade, starts_at, ends_at, phase, lead_id, lead_classroom_id FROM lessons WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(&mut **tx)
    .await?;
    let row = row.ok_or_else(no_lesson)?;
    may_plan(actor, row.lead_id)?;
    if row.phase != Phase::Planned {
        return Err(Error::conflict(
            "lesson_not_planned",
            "这节课已经开始或结束，不能再修改。",
            "The lesson has begun or is over and cannot be changed.",
        ));
    }
    let cast = Cast::read(
        tx,
        "lesson",
        &id.to_string(),
        row.lead_id,
        row.lead_classroom_id,
    )
    .await?;
    Ok(NewLesson {
        title: row.title,
        subject: row.subject,
        grade: row.grade,
        series: None,
        period: None,
        starts_at: time(row.starts_at),
        ends_at: time(row.ends_at),
        cast,
    })
}

/// Removes a lesson that has not begun. One that took place is kept.
#[utoipa::path(delete, path = "/api/lessons/{id}", tag = "lessons", params(("id" = LessonId, Path)), responses((status = 204), (status = 404, body = crate::error::Body), (status = 409, body = crate::error::Body)))]
async fn remove(
    State(timetable): State<Timetable>,
    actor: Actor,
    Path(id): Path<LessonId>,
) -> Result<StatusCode> {
    let mut tx = timetable.db.begin().await?;
    planned(&mut tx, id, &actor).await?;
    sqlx::query("DELETE FROM lessons WHERE id = $1")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
