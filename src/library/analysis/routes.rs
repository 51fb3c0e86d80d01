//! `POST /api/resources/{id}/understand`: retry of an analysis.

use axum::extract::State;
use axum::http::StatusCode;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::facts::Facts;
use super::{rows, submit_analysis, submit_rendition};
use crate::error::Result;
use crate::extract::{Json, Path};
use crate::identity::Actor;
use crate::ids::{PersonId, ResourceId};
use crate::jobs::Job;
use crate::library::Library;
use crate::library::access::{Reader, no_such_resource, require_editable, visible_version};

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new().routes(routes!(retry_analysis))
}

/// Retries a failed or cancelled analysis, or the conversion of a file that browsers do not play.
#[utoipa::path(post, path = "/api/resources/{id}/understand", tag = "library", params(("id" = ResourceId, Path)), responses((status = 202, body = Job), (status = 403, body = crate::error::Body), (status = 409, body = crate::error::Body)))]
async fn retry_analysis(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<ResourceId>,
) -> Result<(StatusCode, Json<Job>)> {
    require_editable(&library.db, &actor, id).await?;
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let version = visible_version(&library.db, &reader, id, None).await?;
    let mut tx = library.db.begin().await?;
    let person = PersonId(actor.id());
    let needs_rendition = Facts::parse(&version.facts)
        .media
        .is_some_and(|media| media.plays.is_none());
    let job = if needs_rendition {
        submit_rendition(&library.jobs, &mut tx, &version.hash, Some(person)).await?
    } else {
        rows::reset(&mut tx, &version.hash).await?;
        submit_analysis(&library.jobs, &mut tx, &version.hash, person).await?
    };
    tx.commit().await?;
    library.jobs.wake();
    let job = library.jobs.get(job).await?.ok_or_else(no_such_resource)?;
    Ok((StatusCode::ACCEPTED, Json(job)))
}
