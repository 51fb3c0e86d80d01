//! Terms and periods: `/api/terms`, `/api/periods`.

use axum::extract::State;
use axum::http::StatusCode;
use jiff::Span;
use jiff::civil::{Date, Time};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::db::{Db, DbError, MAX_ROWS, is_foreign_key_violation, millis};
use crate::error::{Error, Result};
use crate::extract::{Json, Path, line, now};
use crate::ids::{PeriodId, TermId};

use super::Timetable;
use super::series;

pub fn routes() -> OpenApiRouter<Timetable> {
    OpenApiRouter::new()
        .routes(routes!(list_terms, create_term))
        .routes(routes!(update_term, delete_term))
        .routes(routes!(list_periods, create_period))
        .routes(routes!(update_period, delete_period))
}

/// A school term; dates as YYYY-MM-DD, both included.
#[derive(Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct Term {
    pub id: TermId,
    name: String,
    starts_on: String,
    ends_on: String,
}

#[derive(Serialize, ToSchema)]
struct Terms {
    items: Vec<Term>,
}

/// Lists every term, newest first.
#[utoipa::path(get, path = "/api/terms", tag = "timetable", responses((status = 200, body = Terms)))]
async fn list_terms(State(timetable): State<Timetable>) -> Result<Json<Terms>> {
    let query = format!(
        "SELECT id, name, starts_on, ends_on FROM terms ORDER BY starts_on DESC, id LIMIT {MAX_ROWS}"
    );
    Ok(Json(Terms {
        items: sqlx::query_as(sqlx::AssertSqlSafe(query))
            .fetch_all(timetable.db.pool())
            .await?,
    }))
}

#[derive(Deserialize, ToSchema)]
pub struct TermForm {
    pub name: String,
    pub starts_on: String,
    pub ends_on: String,
}

impl TermForm {
    fn check(self) -> Result<(String, Date, Date)> {
        let date = |field, text: &str| {
            text.parse::<Date>()
                .map_err(|_| Error::field(field, "日期应为 YYYY-MM-DD。", "A date is YYYY-MM-DD."))
        };
        let (starts, ends) = (
            date("starts_on", &self.starts_on)?,
            date("ends_on", &self.ends_on)?,
        );
        let latest = starts.checked_add(Span::new().years(1)).unwrap_or(starts);
        if ends < starts || ends > latest {
            return Err(Error::field(
                "ends_on",
                "结束日期应晚于开始日期，且学期不超过一年。",
                "A term ends after it starts and lasts a year at most.",
            ));
        }
        Ok((line("name", &self.name, 1..=40)?, starts, ends))
    }
}

/// Creates a term.
#[utoipa::path(post, path = "/api/terms", tag = "timetable", request_body = TermForm, responses((status = 201, body = Term), (status = 422, body = crate::error::Body)))]
async fn create_term(
    State(timetable): State<Timetable>,
    Json(form): Json<TermForm>,
) -> Result<(StatusCode, Json<Term>)> {
    Ok((
        StatusCode::CREATED,
        Json(insert_term(&timetable.db, form).await?),
    ))
}

/// Creates a term.
pub async fn insert_term(db: &Db, form: TermForm) -> Result<Term> {
    let (name, starts, ends) = form.check()?;
    let term = Term {
        id: TermId::fresh(),
        name,
        starts_on: starts.to_string(),
        ends_on: ends.to_string(),
    };
    sqlx::query(
        "INSERT INTO terms (id, name, starts_on, ends_on, created_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(term.id)
    .bind(&term.name)
    .bind(&term.starts_on)
    .bind(&term.ends_on)
    .bind(millis(now()))
    .execute(db.pool())
    .await?;
    Ok(term)
}

#[derive(Deserialize, ToSchema)]
struct UpdateTerm {
    name: Option<String>,
    starts_on: Option<String>,
    ends_on: Option<String>,
}

/// Updates a term and recreates the lessons of its series that have not begun.
#[utoipa::path(patch, path = "/api/terms/{id}", tag = "timetable", request_body = UpdateTerm, params(("id" = TermId, Path)), responses((status = 200, body = Term), (status = 404, body = crate::error::Body)))]
async fn update_term(
    State(timetable): State<Timetable>,
    Path(id): Path<TermId>,
    Json(form): Json<UpdateTerm>,
) -> Result<Json<Term>> {
    let mut tx = timetable.db.begin().await?;
    let present: Option<Term> =
        sqlx::query_as("SELECT id, name, starts_on, ends_on FROM terms WHERE id = $1")
            .bind(id)
            .fetch_optional(&mut *tx)
            .await?;
    let present = present.ok_or_else(no_term)?;
    let form = TermForm {
        name: form.name.unwrap_or(present.name),
        starts_on: form.starts_on.unwrap_or(present.starts_on),
        ends_on: form.ends_on.unwrap_or(present.ends_on),
    };
    let (name, starts, ends) = form.check()?;
    let term = Term {
        id,
        name,
        starts_on: starts.to_string(),
        ends_on: ends.to_string(),
    };
    sqlx::query("UPDATE terms SET name = $2, starts_on = $3, ends_on = $4 WHERE id = $1")
        .bind(id)
        .bind(&term.name)
        .bind(&term.starts_on)
        .bind(&term.ends_on)
        .execute(&mut *tx)
        .await?;
    series::replan_series_of(
        &mut tx,
        "term_id",
        &id.to_string(),
        &timetable.config.time_zone(),
    )
    .await?;
    tx.commit().await?;
    Ok(Json(term))
}

fn no_term() -> Error {
    Error::not_found("没有找到这个学期。", "There is no such term.")
}

/// Deletes a term without series.
#[utoipa::path(delete, path = "/api/terms/{id}", tag = "timetable", params(("id" = TermId, Path)), responses((status = 204), (status = 404, body = crate::error::Body), (status = 409, body = crate::error::Body)))]
async fn delete_term(
    State(timetable): State<Timetable>,
    Path(id): Path<TermId>,
) -> Result<StatusCode> {
    remove(
        &timetable.db,
        "DELETE FROM terms WHERE id = $1",
        &id.to_string(),
        no_term,
    )
    .await
}

async fn remove(
    db: &Db,
    query: &'static str,
    id: &str,
    missing: fn() -> Error,
) -> Result<StatusCode> {
    let done: Result<_, DbError> = sqlx::query(query).bind(id).execute(db.pool()).await;
    match done {
        Ok(done) if done.rows_affected() == 0 => Err(missing()),
        Ok(_) => Ok(StatusCode::NO_CONTENT),
        Err(error) if is_foreign_key_violation(&error) => Err(Error::conflict(
            "in_use",
            "还有课程系列在使用它，请先删除这些系列。",
            "Series still use it. Remove them first.",
        )),
        Err(error) => Err(error.into()),
    }
}

/// A period of the day; times as HH:MM.
#[derive(Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct Period {
    pub id: PeriodId,
    name: String,
    starts: String,
    ends: String,
}

#[derive(Serialize, ToSchema)]
struct Periods {
    items: Vec<Period>,
}

/// Lists every period in the order of the day.
#[utoipa::path(get, path = "/api/periods", tag = "timetable", responses((status = 200, body = Periods)))]
async fn list_periods(State(timetable): State<Timetable>) -> Result<Json<Periods>> {
    let query =
        format!("SELECT id, name, starts, ends FROM periods ORDER BY starts, id LIMIT {MAX_ROWS}");
    Ok(Json(Periods {
        items: sqlx::query_as(sqlx::AssertSqlSafe(query))
            .fetch_all(timetable.db.pool())
            .await?,
    }))
}

#[derive(Deserialize, ToSchema)]
pub struct PeriodForm {
    pub name: String,
    pub starts: String,
    pub ends: String,
}

impl PeriodForm {
    fn check(self) -> Result<(String, String, String)> {
        let time = |field, text: &str| match (text.len(), text.parse::<Time>()) {
            (5, Ok(time)) => Ok(time),
            _ => Err(Error::field(field, "时间应为 HH:MM。", "A time is HH:MM.")),
        };
        let (starts, ends) = (time("starts", &self.starts)?, time("ends", &self.ends)?);
        if ends <= starts {
            return Err(Error::field(
                "ends",
                "下课时间必须晚于上课时间。",
                "A period ends after it starts.",
            ));
        }
        let text = |time: Time| time.strftime("%H:%M").to_string();
        Ok((line("name", &self.name, 1..=20)?, text(starts), text(ends)))
    }
}

/// Creates a period.
#[utoipa::path(post, path = "/api/periods", tag = "timetable", request_body = PeriodForm, responses((status = 201, body = Period), (status = 422, body = crate::error::Body)))]
async fn create_period(
    State(timetable): State<Timetable>,
    Json(form): Json<PeriodForm>,
) -> Result<(StatusCode, Json<Period>)> {
    Ok((
        StatusCode::CREATED,
        Json(insert_period(&timetable.db, form).await?),
    ))
}

/// Creates a period.
pub async fn insert_period(db: &Db, form: PeriodForm) -> Result<Period> {
    let (name, starts, ends) = form.check()?;
    let period = Period {
        id: PeriodId::fresh(),
        name,
        starts,
        ends,
    };
    sqlx::query(
        "INSERT INTO periods (id, name, starts, ends, created_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(period.id)
    .bind(&period.name)
    .bind(&period.starts)
    .bind(&period.ends)
    .bind(millis(now()))
    .execute(db.pool())
    .await?;
    Ok(period)
}

#[derive(Deserialize, ToSchema)]
struct UpdatePeriod {
    name: Option<String>,
    starts: Option<String>,
    ends: Option<String>,
}

/// Updates a period and recreates its lessons that have not begun.
#[utoipa::path(patch, path = "/api/periods/{id}", tag = "timetable", request_body = UpdatePeriod, params(("id" = PeriodId, Path)), responses((status = 200, body = Period), (status = 404, body = crate::error::Body)))]
async fn update_period(
    State(timetable): State<Timetable>,
    Path(id): Path<PeriodId>,
    Json(form): Json<UpdatePeriod>,
) -> Result<Json<Period>> {
    let mut tx = timetable.db.begin().await?;
    let present: Option<Period> =
        sqlx::query_as("SELECT id, name, starts, ends FROM periods WHERE id = $1")
            .bind(id)
            .fetch_optional(&mut *tx)
            .await?;
    let present = present.ok_or_else(no_period)?;
    let form = PeriodForm {
        name: form.name.unwrap_or(present.name),
        starts: form.starts.unwrap_or(present.starts),
        ends: form.ends.unwrap_or(present.ends),
    };
    let (name, starts, ends) = form.check()?;
    let period = Period {
        id,
        name,
        starts,
        ends,
    };
    sqlx::query("UPDATE periods SET name = $2, starts = $3, ends = $4 WHERE id = $1")
        .bind(id)
        .bind(&period.name)
        .bind(&period.starts)
        .bind(&period.ends)
        .execute(&mut *tx)
        .await?;
    series::replan_series_of(
        &mut tx,
        "period_id",
        &id.to_string(),
        &timetable.config.time_zone(),
    )
    .await?;
    tx.commit().await?;
    Ok(Json(period))
}

fn no_period() -> Error {
    Error::not_found("没有找到这个节次。", "There is no such period.")
}

/// Deletes a period that no series uses.
#[utoipa::path(delete, path = "/api/periods/{id}", tag = "timetable", params(("id" = PeriodId, Path)), responses((status = 204), (status = 404, body = crate::error::Body), (status = 409, body = crate::error::Body)))]
async fn delete_period(
    State(timetable): State<Timetable>,
    Path(id): Path<PeriodId>,
) -> Result<StatusCode> {
    remove(
        &timetable.db,
        "DELETE FROM periods WHERE id = $1",
        &id.to_string(),
        no_period,
    )
    .await
}
