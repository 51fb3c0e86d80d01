//! Creating and deleting links.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use sqlx::{Any, Transaction};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::db::{DbError, millis};
use crate::error::{Error, Result};
use crate::extract::{Json, Path, now};
use crate::identity::Actor;
use crate::ids::{LessonId, PersonId, ResourceId};
use crate::library::Library;
use crate::library::access::{Reader, require_lesson_teacher, require_linkable, visible_resource};
use crate::library::feedback::uses::{UseKind, record_use};

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new().routes(routes!(create_link, delete_link))
}

/// Other end of a link: exactly one of the two.
#[derive(Deserialize, ToSchema)]
struct LinkForm {
    resource_id: Option<ResourceId>,
    lesson_id: Option<LessonId>,
}

enum LinkTarget {
    Resource(ResourceId),
    Lesson(LessonId),
}

impl LinkForm {
    fn target(&self) -> Result<LinkTarget> {
        match (self.resource_id, self.lesson_id) {
            (Some(id), None) => Ok(LinkTarget::Resource(id)),
            (None, Some(id)) => Ok(LinkTarget::Lesson(id)),
            _ => Err(Error::field(
                "resource_id",
                "请指定一个资源或一节课。",
                "Name a resource or a lesson.",
            )),
        }
    }
}

/// Links a resource to a resource (owner of either) or to a lesson (lead teacher or assistant).
#[utoipa::path(post, path = "/api/resources/{id}/links", tag = "library", params(("id" = ResourceId, Path)), request_body = LinkForm, responses((status = 204), (status = 403, body = crate::error::Body), (status = 404, body = crate::error::Body)))]
async fn create_link(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<ResourceId>,
    Json(form): Json<LinkForm>,
) -> Result<StatusCode> {
    let person = PersonId(actor.id());
    let at = millis(now());
    match form.target()? {
        LinkTarget::Resource(other) => {
            require_linkable(&library.db, &actor, id, other).await?;
            let mut tx = library.db.begin().await?;
            for (from, to) in [(id, other), (other, id)] {
                sqlx::query(
                    "INSERT INTO resource_pairs (resource_id, other_id, person_id, created_at) VALUES ($1, $2, $3, $4)
                     ON CONFLICT DO NOTHING",
                )
                .bind(from)
                .bind(to)
                .bind(person)
                .bind(at)
                .execute(&mut *tx)
                .await?;
            }
            tx.commit().await?;
        }
        LinkTarget::Lesson(lesson) => {
            let reader = Reader::of(&library.db, Some(&actor)).await?;
            visible_resource(&library.db, &reader, id).await?;
            require_lesson_teacher(&library.db, &actor, lesson).await?;
            let mut tx = library.db.begin().await?;
            link_lesson(&mut tx, id, lesson, person).await?;
            tx.commit().await?;
            record_use(&library.db, id, person, UseKind::Lesson).await?;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a link.
#[utoipa::path(delete, path = "/api/resources/{id}/links", tag = "library", params(("id" = ResourceId, Path)), request_body = LinkForm, responses((status = 204), (status = 403, body = crate::error::Body)))]
async fn delete_link(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<ResourceId>,
    Json(form): Json<LinkForm>,
) -> Result<StatusCode> {
    match form.target()? {
        LinkTarget::Resource(other) => {
            require_linkable(&library.db, &actor, id, other).await?;
            sqlx::query(
                "DELETE FROM resource_pairs WHERE (resource_id = $1 AND other_id = $2) OR (resource_id = $2 AND other_id = $1)",
            )
            .bind(id)
            .bind(other)
            .execute(library.db.pool())
            .await?;
        }
        LinkTarget::Lesson(lesson) => {
            require_lesson_teacher(&library.db, &actor, lesson).await?;
            let mut tx = library.db.begin().await?;
            unlink_lesson(&mut tx, id, lesson).await?;
            tx.commit().await?;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Links a resource to a lesson.
pub async fn link_lesson(
    tx: &mut Transaction<'static, Any>,
    id: ResourceId,
    lesson: LessonId,
    person: PersonId,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO resource_lessons (resource_id, lesson_id, person_id, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT DO NOTHING",
    )
    .bind(id)
    .bind(lesson)
    .bind(person)
    .bind(millis(now()))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Deletes the link of a resource and a lesson.
pub async fn unlink_lesson(
    tx: &mut Transaction<'static, Any>,
    id: ResourceId,
    lesson: LessonId,
) -> Result<(), DbError> {
    sqlx::query("DELETE FROM resource_lessons WHERE resource_id = $1 AND lesson_id = $2")
        .bind(id)
        .bind(lesson)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
