//! Planning of lessons: `/api/today`, `/api/lessons`.

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
use super::new_lesson::{NewLesson, add_lesson};
use super::roster::Roster;
use super::{LessonFilter, LessonSummary, Phase, calendar, lesson_summaries, lesson_summary};

pub fn routes() -> OpenApiRouter<Timetable> {
    OpenApiRouter::new()
        .routes(routes!(list_today))
        .routes(routes!(create_lesson))
        .routes(routes!(get_lesson, update_lesson, delete_lesson))
}

#[derive(Deserialize, IntoParams)]
struct Day {
    /// YYYY-MM-DD; defaults to today.
    #[param(value_type = Option<String>, format = Date)]
    date: Option<Date>,
}

#[derive(Serialize, ToSchema)]
struct Today {
    #[schema(value_type = String, format = Date)]
    date: Date,
    #[schema(value_type = String, format = DateTime)]
    now: Timestamp,
    lessons: Vec<LessonSummary>,
}

/// Lists the requester's lessons of a day; for administrators and observers all lessons.
#[utoipa::path(get, path = "/api/today", tag = "lessons", params(Day), responses((status = 200, body = Today), (status = 401, body = crate::error::Body)))]
async fn list_today(
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
        lessons: lesson_summaries(&timetable.db, LessonFilter::Between(from, to), &actor).await?,
    }))
}

/// Returns one lesson to its participants.
#[utoipa::path(get, path = "/api/lessons/{id}", tag = "lessons", params(("id" = LessonId, Path)), responses((status = 200, body = LessonSummary), (status = 404, body = crate::error::Body)))]
async fn get_lesson(
    State(timetable): State<Timetable>,
    actor: Actor,
    Path(id): Path<LessonId>,
) -> Result<Json<LessonSummary>> {
    lesson_summary(&timetable.db, id, &actor)
        .await?
        .map(Json)
        .ok_or_else(no_lesson)
}

fn no_lesson() -> Error {
    Error::not_found("没有找到这节课。", "There is no such lesson.")
}

#[derive(Deserialize, ToSchema)]
struct CreateLesson {
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

/// Creates a lesson: administrators any, teachers their own.
#[utoipa::path(post, path = "/api/lessons", tag = "lessons", request_body = CreateLesson, responses((status = 201, body = LessonSummary), (status = 403, body = crate::error::Body), (status = 422, body = crate::error::Body)))]
async fn create_lesson(
    State(timetable): State<Timetable>,
    actor: Actor,
    Json(form): Json<CreateLesson>,
) -> Result<(StatusCode, Json<LessonSummary>)> {
    may_plan(&actor, form.lead_id)?;
    let roster = Roster {
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
        roster,
    };
    let id = add_lesson(&timetable.db, lesson).await?;
    let summary = lesson_summary(&timetable.db, id, &actor)
        .await?
        .ok_or_else(no_lesson)?;
    Ok((StatusCode::CREATED, Json(summary)))
}

/// Allows administrators any lesson, and teachers the lessons that they lead.
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
struct UpdateLesson {
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

/// Updates a lesson that has not begun: administrators any, teachers their own.
#[utoipa::path(patch, path = "/api/lessons/{id}", tag = "lessons", request_body = UpdateLesson, params(("id" = LessonId, Path)), responses((status = 200, body = LessonSummary), (status = 404, body = crate::error::Body), (status = 409, body = crate::error::Body)))]
async fn update_lesson(
    State(timetable): State<Timetable>,
    actor: Actor,
    Path(id): Path<LessonId>,
    Json(form): Json<UpdateLesson>,
) -> Result<Json<LessonSummary>> {
    let mut tx = timetable.db.begin().await?;
    let present = load_planned(&mut tx, id, &actor).await?;
    let lesson = form.apply_to(present).check()?;
    may_plan(&actor, lesson.roster.lead)?;
    lesson.roster.check(&mut tx).await?;
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
    .bind(lesson.roster.lead)
    .bind(lesson.roster.lead_room)
    .execute(&mut *tx)
    .await?;
    lesson
        .roster
        .write(&mut tx, "lesson", &id.to_string())
        .await?;
    tx.commit().await?;
    lesson_summary(&timetable.db, id, &actor)
        .await?
        .map(Json)
        .ok_or_else(no_lesson)
}

impl UpdateLesson {
    fn apply_to(self, present: NewLesson) -> NewLesson {
        let roster = Roster {
            lead: self.lead_id.unwrap_or(present.roster.lead),
            assistants: self.assistant_ids.unwrap_or(present.roster.assistants),
            lead_room: self.lead_classroom_id.unwrap_or(present.roster.lead_room),
            listening: self.classroom_ids.unwrap_or(present.roster.listening),
        };
        NewLesson {
            title: self.title.unwrap_or(present.title),
            subject: self.subject.unwrap_or(present.subject),
            grade: self.grade.unwrap_or(present.grade),
            starts_at: self.starts_at.unwrap_or(present.starts_at),
            ends_at: self.ends_at.unwrap_or(present.ends_at),
            roster,
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

/// Loads a planned lesson; fails if it does not exist, has begun or is led by another teacher.
async fn load_planned(
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
    let roster = Roster::read(
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
        roster,
    })
}

/// Deletes a lesson that has not begun. A lesson that took place is kept.
#[utoipa::path(delete, path = "/api/lessons/{id}", tag = "lessons", params(("id" = LessonId, Path)), responses((status = 204), (status = 404, body = crate::error::Body), (status = 409, body = crate::error::Body)))]
async fn delete_lesson(
    State(timetable): State<Timetable>,
    actor: Actor,
    Path(id): Path<LessonId>,
) -> Result<StatusCode> {
    let mut tx = timetable.db.begin().await?;
    load_planned(&mut tx, id, &actor).await?;
    sqlx::query("DELETE FROM lessons WHERE id = $1")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
