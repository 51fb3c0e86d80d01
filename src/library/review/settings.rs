//! `/api/schools/{id}/library`: review setting and reviewers of a school.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::db::is_foreign_key_violation;
use crate::error::{Error, Result};
use crate::extract::{Json, Path};
use crate::ids::{PersonId, SchoolId};
use crate::library::{Library, index_source};

/// A school has a handful of subject leaders.
const MAX_REVIEWERS: usize = 100;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new().routes(routes!(get_settings, set_settings))
}

/// Library settings of a school.
#[derive(Serialize, Deserialize, ToSchema)]
struct LibrarySettings {
    /// Resources of this school's members are published only after a reviewer approves them.
    reviews: bool,
    reviewer_ids: Vec<PersonId>,
}

/// Returns a school's library settings.
#[utoipa::path(get, path = "/api/schools/{id}/library", tag = "library", params(("id" = SchoolId, Path)), responses((status = 200, body = LibrarySettings)))]
async fn get_settings(
    State(library): State<Library>,
    Path(id): Path<SchoolId>,
) -> Result<Json<LibrarySettings>> {
    let reviews: Option<(i64,)> =
        sqlx::query_as("SELECT reviews FROM library_schools WHERE school_id = $1")
            .bind(id)
            .fetch_optional(library.db.pool())
            .await?;
    let reviewers: Vec<(PersonId,)> = sqlx::query_as(
        "SELECT person_id FROM library_reviewers WHERE school_id = $1 ORDER BY person_id",
    )
    .bind(id)
    .fetch_all(library.db.pool())
    .await?;
    Ok(Json(LibrarySettings {
        reviews: reviews.is_some_and(|(reviews,)| reviews != 0),
        reviewer_ids: reviewers.into_iter().map(|(id,)| id).collect(),
    }))
}

/// Replaces a school's library settings.
#[utoipa::path(put, path = "/api/schools/{id}/library", tag = "library", params(("id" = SchoolId, Path)), request_body = LibrarySettings, responses((status = 204), (status = 422, body = crate::error::Body)))]
async fn set_settings(
    State(library): State<Library>,
    Path(id): Path<SchoolId>,
    Json(form): Json<LibrarySettings>,
) -> Result<StatusCode> {
    if form.reviewer_ids.len() > MAX_REVIEWERS {
        return Err(Error::field(
            "reviewer_ids",
            "审核人最多 100 位。",
            "At most 100 reviewers.",
        ));
    }
    let reject_unknown = |error| match is_foreign_key_violation(&error) {
        true => Error::field(
            "reviewer_ids",
            "没有找到这所学校或这位审核人。",
            "There is no such school or reviewer.",
        ),
        false => error.into(),
    };
    let mut tx = library.db.begin().await?;
    sqlx::query(
        "INSERT INTO library_schools (school_id, reviews) VALUES ($1, $2)
         ON CONFLICT (school_id) DO UPDATE SET reviews = excluded.reviews",
    )
    .bind(id)
    .bind(i64::from(form.reviews))
    .execute(&mut *tx)
    .await
    .map_err(reject_unknown)?;
    sqlx::query("DELETE FROM library_reviewers WHERE school_id = $1")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    for reviewer in form.reviewer_ids {
        sqlx::query("INSERT INTO library_reviewers (school_id, person_id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(id)
            .bind(reviewer)
            .execute(&mut *tx)
            .await
            .map_err(reject_unknown)?;
    }
    index_source::enqueue_pending_reviews(&mut tx, id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
