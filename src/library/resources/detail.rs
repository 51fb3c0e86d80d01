//! `/api/resources/{id}`: one resource with its versions.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::summary::ResourceSummary;
use crate::db::{Db, millis, time};
use crate::error::{Language, Result};
use crate::extract::{Json, Path, now};
use crate::identity::Actor;
use crate::ids::ResourceId;
use crate::library::access::{
    CAN_REVIEW, CAN_SEE, Reader, SEES_LATEST, require_editable, visible_resource,
};
use crate::library::analysis::facts::{self, Facts};
use crate::library::{Library, index_source};

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new().routes(routes!(get_resource, delete_resource))
}

/// Resource with its versions and analysis results.
#[derive(Serialize, ToSchema)]
pub struct ResourceDetail {
    #[serde(flatten)]
    summary: ResourceSummary,
    description: String,
    /// Note of the last review; empty for readers who can neither edit nor review.
    review_note: String,
    versions: Vec<Version>,
    /// Number of the published version; 0 if there is none.
    published: i64,
    /// Explanation of the failure code, in the requested language.
    problem_text: Option<String>,
    /// Title and author from the file's metadata.
    file_title: Option<String>,
    file_author: Option<String>,
    facts: Facts,
    my_rating: Option<i64>,
    can_review: bool,
}

#[derive(Serialize, ToSchema)]
struct Version {
    number: i64,
    file_name: String,
    size_bytes: i64,
    #[serde(rename = "type")]
    kind: String,
    sha256: String,
    changes: String,
    by: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    url: String,
}

#[derive(sqlx::FromRow)]
struct DetailRow {
    description: String,
    review_note: String,
    published: i64,
    latest: i64,
    sees_latest: i64,
    can_review: i64,
    my_rating: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct VersionRow {
    number: i64,
    file_name: String,
    size_bytes: i64,
    file_type: String,
    hash: String,
    changes: String,
    person_name: String,
    created_at: i64,
}

/// Returns one resource.
#[utoipa::path(get, path = "/api/resources/{id}", tag = "library", params(("id" = ResourceId, Path)), responses((status = 200, body = ResourceDetail), (status = 404, body = crate::error::Body)))]
async fn get_resource(
    State(library): State<Library>,
    actor: Option<Actor>,
    Path(id): Path<ResourceId>,
    headers: HeaderMap,
) -> Result<Json<ResourceDetail>> {
    let reader = Reader::of(&library.db, actor.as_ref()).await?;
    let language = Language::of(headers.get(header::ACCEPT_LANGUAGE));
    Ok(Json(
        resource_detail(&library.db, &reader, id, language).await?,
    ))
}

/// Loads one resource as the reader sees it.
pub async fn resource_detail(
    db: &Db,
    reader: &Reader,
    id: ResourceId,
    language: Language,
) -> Result<ResourceDetail> {
    let summary = visible_resource(db, reader, id).await?;
    let query = format!(
        "SELECT r.description, r.review_note, r.published, r.latest, CASE WHEN {SEES_LATEST} THEN 1 ELSE 0 END AS sees_latest,
            CASE WHEN {CAN_REVIEW} THEN 1 ELSE 0 END AS can_review,
            (SELECT stars FROM resource_ratings g WHERE g.resource_id = r.id AND g.person_id = $1) AS my_rating
         FROM resources r WHERE {CAN_SEE} AND r.id = $6"
    );
    let row: DetailRow = reader
        .bind(sqlx::query_as(sqlx::AssertSqlSafe(query)))
        .bind(id)
        .fetch_one(db.pool())
        .await?;
    let newest_visible = if row.sees_latest != 0 {
        row.latest
    } else {
        row.published
    };
    let versions: Vec<VersionRow> = sqlx::query_as(
        "SELECT v.number, v.file_name, b.size_bytes, b.type AS file_type, v.hash, v.changes, p.name AS person_name, v.created_at
         FROM resource_versions v JOIN blobs b ON b.hash = v.hash JOIN people p ON p.id = v.person_id
         WHERE v.resource_id = $1 AND v.number <= $2 ORDER BY v.number DESC",
    )
    .bind(id)
    .bind(newest_visible)
    .fetch_all(db.pool())
    .await?;
    let (file_title, file_author, facts): (Option<String>, Option<String>, String) =
        sqlx::query_as("SELECT title, author, facts FROM blobs WHERE hash = $1")
            .bind(&summary.file.sha256)
            .fetch_one(db.pool())
            .await?;
    let problem_text = summary.preview.problem.as_deref().map(|code| {
        facts::problem_text(code, &summary.file.kind)
            .in_language(language)
            .to_owned()
    });
    Ok(ResourceDetail {
        description: row.description,
        review_note: if summary.can_edit || row.can_review != 0 {
            row.review_note
        } else {
            String::new()
        },
        versions: versions.into_iter().map(|row| row.version(id)).collect(),
        published: row.published,
        problem_text,
        file_title,
        file_author,
        facts: Facts::parse(&facts),
        my_rating: row.my_rating,
        can_review: row.can_review != 0,
        summary,
    })
}

impl VersionRow {
    fn version(self, id: ResourceId) -> Version {
        Version {
            url: format!("/api/resources/{id}/file?version={}", self.number),
            number: self.number,
            file_name: self.file_name,
            size_bytes: self.size_bytes,
            kind: self.file_type,
            sha256: self.hash,
            changes: self.changes,
            by: self.person_name,
            created_at: time(self.created_at),
        }
    }
}

/// Removes a resource. Its row is deleted by the garbage collector after the retention period.
#[utoipa::path(delete, path = "/api/resources/{id}", tag = "library", params(("id" = ResourceId, Path)), responses((status = 204), (status = 403, body = crate::error::Body), (status = 404, body = crate::error::Body)))]
async fn delete_resource(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<ResourceId>,
) -> Result<StatusCode> {
    require_editable(&library.db, &actor, id).await?;
    let mut tx = library.db.begin().await?;
    sqlx::query("UPDATE resources SET removed_at = $2 WHERE id = $1")
        .bind(id)
        .bind(millis(now()))
        .execute(&mut *tx)
        .await?;
    index_source::enqueue_hidden(&mut tx, id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
