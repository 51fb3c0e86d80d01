//! Series, which create weekly lessons through a term: `/api/series`.

mod plan;

use axum::extract::State;
use axum::http::StatusCode;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use sqlx::{Any, Transaction};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::db::{Db, MAX_ROWS, millis};
use crate::error::{Error, Result};
use crate::extract::{Json, Path, line, now, nullable};
use crate::ids::{ClassroomId, PeriodId, PersonId, SeriesId, TermId};

use super::Timetable;
use super::roster::Roster;
use plan::{delete_planned, period_hours, term_dates};

pub use plan::replan_series_of;

pub fn routes() -> OpenApiRouter<Timetable> {
    OpenApiRouter::new()
        .routes(routes!(list_series, create_series))
        .routes(routes!(update_series, delete_series))
}

/// Weekly lesson of a term at one weekday and period.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Series {
    id: SeriesId,
    name: String,
    subject: String,
    grade: String,
    term_id: TermId,
    /// 1 Monday … 7 Sunday.
    weekday: i8,
    period_id: PeriodId,
    lead_id: PersonId,
    assistant_ids: Vec<PersonId>,
    lead_classroom_id: Option<ClassroomId>,
    classroom_ids: Vec<ClassroomId>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: SeriesId,
    name: String,
    subject: String,
    grade: String,
    term_id: TermId,
    weekday: i64,
    period_id: PeriodId,
    lead_id: PersonId,
    lead_classroom_id: Option<ClassroomId>,
}

const SELECT: &str = "SELECT id, name, subject, grade, term_id, weekday, period_id, lead_id, lead_classroom_id FROM series";

#[derive(Serialize, ToSchema)]
struct SeriesList {
    items: Vec<Series>,
}

/// Lists every series.
#[utoipa::path(get, path = "/api/series", tag = "timetable", responses((status = 200, body = SeriesList)))]
async fn list_series(State(timetable): State<Timetable>) -> Result<Json<SeriesList>> {
    let mut tx = timetable.db.begin().await?;
    let items = query_series(
        &mut tx,
        &format!("{SELECT} ORDER BY weekday, name, id LIMIT {MAX_ROWS}"),
        None,
    )
    .await?;
    tx.commit().await?;
    Ok(Json(SeriesList { items }))
}

/// Runs a query for series; `id` is bound to `$1` where the query has it.
async fn query_series(
    tx: &mut Transaction<'static, Any>,
    query: &str,
    id: Option<&str>,
) -> Result<Vec<Series>> {
    let mut rows = sqlx::query_as(sqlx::AssertSqlSafe(query.to_owned()));
    if let Some(id) = id {
        rows = rows.bind(id.to_owned());
    }
    let rows: Vec<Row> = rows.fetch_all(&mut **tx).await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        found.push(with_roster(tx, row).await?);
    }
    Ok(found)
}

async fn with_roster(tx: &mut Transaction<'static, Any>, row: Row) -> Result<Series> {
    let roster = Roster::read(
        tx,
        "series",
        &row.id.to_string(),
        row.lead_id,
        row.lead_classroom_id,
    )
    .await?;
    Ok(Series {
        id: row.id,
        name: row.name,
        subject: row.subject,
        grade: row.grade,
        term_id: row.term_id,
        weekday: row.weekday as i8,
        period_id: row.period_id,
        lead_id: row.lead_id,
        assistant_ids: roster.assistants,
        lead_classroom_id: row.lead_classroom_id,
        classroom_ids: roster.listening,
    })
}

#[derive(Deserialize, ToSchema)]
pub struct CreateSeries {
    pub name: String,
    pub subject: String,
    pub grade: String,
    pub term_id: TermId,
    /// 1 Monday … 7 Sunday.
    pub weekday: i8,
    pub period_id: PeriodId,
    pub lead_id: PersonId,
    #[serde(default)]
    pub assistant_ids: Vec<PersonId>,
    pub lead_classroom_id: Option<ClassroomId>,
    #[serde(default)]
    pub classroom_ids: Vec<ClassroomId>,
}

/// Creates a series and its lessons.
#[utoipa::path(post, path = "/api/series", tag = "timetable", request_body = CreateSeries, responses((status = 201, body = Series), (status = 422, body = crate::error::Body)))]
async fn create_series(
    State(timetable): State<Timetable>,
    Json(form): Json<CreateSeries>,
) -> Result<(StatusCode, Json<Series>)> {
    Ok((
        StatusCode::CREATED,
        Json(insert_series(&timetable.db, form, &timetable.config.time_zone()).await?),
    ))
}

/// Creates a series and its lessons.
pub async fn insert_series(db: &Db, form: CreateSeries, zone: &TimeZone) -> Result<Series> {
    let series = Series {
        id: SeriesId::fresh(),
        name: form.name,
        subject: form.subject,
        grade: form.grade,
        term_id: form.term_id,
        weekday: form.weekday,
        period_id: form.period_id,
        lead_id: form.lead_id,
        assistant_ids: form.assistant_ids,
        lead_classroom_id: form.lead_classroom_id,
        classroom_ids: form.classroom_ids,
    };
    let mut tx = db.begin().await?;
    let series = series.check(&mut tx).await?;
    sqlx::query(
        "INSERT INTO series (id, name, subject, grade, term_id, weekday, period_id, lead_id, lead_classroom_id, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(series.id)
    .bind(&series.name)
    .bind(&series.subject)
    .bind(&series.grade)
    .bind(series.term_id)
    .bind(i64::from(series.weekday))
    .bind(series.period_id)
    .bind(series.lead_id)
    .bind(series.lead_classroom_id)
    .bind(millis(now()))
    .execute(&mut *tx)
    .await?;
    series.save_roster_and_lessons(&mut tx, zone).await?;
    tx.commit().await?;
    Ok(series)
}

impl Series {
    fn roster(&self) -> Roster {
        Roster {
            lead: self.lead_id,
            assistants: self.assistant_ids.clone(),
            lead_room: self.lead_classroom_id,
            listening: self.classroom_ids.clone(),
        }
    }

    async fn check(self, tx: &mut Transaction<'static, Any>) -> Result<Self> {
        if !(1..=7).contains(&self.weekday) {
            return Err(Error::field(
                "weekday",
                "星期应为 1 到 7。",
                "A weekday is 1 to 7.",
            ));
        }
        if term_dates(tx, self.term_id).await?.is_none() {
            return Err(Error::field(
                "term_id",
                "没有找到这个学期。",
                "There is no such term.",
            ));
        }
        if period_hours(tx, self.period_id).await?.is_none() {
            return Err(Error::field(
                "period_id",
                "没有找到这个节次。",
                "There is no such period.",
            ));
        }
        self.roster().check(tx).await?;
        Ok(Self {
            name: line("name", &self.name, 1..=100)?,
            subject: line("subject", &self.subject, 1..=20)?,
            grade: line("grade", &self.grade, 1..=20)?,
            ..self
        })
    }
}

#[derive(Deserialize, ToSchema)]
struct UpdateSeries {
    name: Option<String>,
    subject: Option<String>,
    grade: Option<String>,
    term_id: Option<TermId>,
    weekday: Option<i8>,
    period_id: Option<PeriodId>,
    lead_id: Option<PersonId>,
    assistant_ids: Option<Vec<PersonId>>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<ClassroomId>)]
    lead_classroom_id: Option<Option<ClassroomId>>,
    classroom_ids: Option<Vec<ClassroomId>>,
}

/// Updates a series and recreates its lessons that have not begun.
#[utoipa::path(patch, path = "/api/series/{id}", tag = "timetable", request_body = UpdateSeries, params(("id" = SeriesId, Path)), responses((status = 200, body = Series), (status = 404, body = crate::error::Body)))]
async fn update_series(
    State(timetable): State<Timetable>,
    Path(id): Path<SeriesId>,
    Json(form): Json<UpdateSeries>,
) -> Result<Json<Series>> {
    let mut tx = timetable.db.begin().await?;
    let present = query_series(
        &mut tx,
        &format!("{SELECT} WHERE id = $1"),
        Some(&id.to_string()),
    )
    .await?
    .pop();
    let series = form
        .apply_to(present.ok_or_else(no_series)?)
        .check(&mut tx)
        .await?;
    sqlx::query(
        "UPDATE series SET name = $2, subject = $3, grade = $4, term_id = $5, weekday = $6, period_id = $7, lead_id = $8,
            lead_classroom_id = $9 WHERE id = $1",
    )
    .bind(id)
    .bind(&series.name)
    .bind(&series.subject)
    .bind(&series.grade)
    .bind(series.term_id)
    .bind(i64::from(series.weekday))
    .bind(series.period_id)
    .bind(series.lead_id)
    .bind(series.lead_classroom_id)
    .execute(&mut *tx)
    .await?;
    series
        .save_roster_and_lessons(&mut tx, &timetable.config.time_zone())
        .await?;
    tx.commit().await?;
    Ok(Json(series))
}

impl UpdateSeries {
    fn apply_to(self, present: Series) -> Series {
        Series {
            id: present.id,
            name: self.name.unwrap_or(present.name),
            subject: self.subject.unwrap_or(present.subject),
            grade: self.grade.unwrap_or(present.grade),
            term_id: self.term_id.unwrap_or(present.term_id),
            weekday: self.weekday.unwrap_or(present.weekday),
            period_id: self.period_id.unwrap_or(present.period_id),
            lead_id: self.lead_id.unwrap_or(present.lead_id),
            assistant_ids: self.assistant_ids.unwrap_or(present.assistant_ids),
            lead_classroom_id: self.lead_classroom_id.unwrap_or(present.lead_classroom_id),
            classroom_ids: self.classroom_ids.unwrap_or(present.classroom_ids),
        }
    }
}

fn no_series() -> Error {
    Error::not_found("没有找到这个课程系列。", "There is no such series.")
}

/// Deletes a series and its lessons that have not begun; lessons that took place are kept.
#[utoipa::path(delete, path = "/api/series/{id}", tag = "timetable", params(("id" = SeriesId, Path)), responses((status = 204), (status = 404, body = crate::error::Body)))]
async fn delete_series(
    State(timetable): State<Timetable>,
    Path(id): Path<SeriesId>,
) -> Result<StatusCode> {
    let mut tx = timetable.db.begin().await?;
    delete_planned(&mut tx, id).await?;
    let removed = sqlx::query("DELETE FROM series WHERE id = $1")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    if removed.rows_affected() == 0 {
        return Err(no_series());
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
