//! Lesson plan ↔ deck ↔ lesson ↔ recording, from either side. A recording is its lesson's, so a link to the lesson leads to it.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sqlx::{Any, Transaction};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::cards::{self, ResourceCard};
use super::reach::Reader;
use super::talk::{Way, used};
use super::{ResourceId, resources};
use crate::app::App;
use crate::db::{DbError, millis};
use crate::error::{Error, Result};
use crate::extract::{Json, Path, now};
use crate::identity::{Actor, PersonId};
use crate::timetable::{LessonCard, LessonId, LessonRole, card, role_in};

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(links, link, unlink)).routes(routes!(of_lesson))
}

/// What a resource belongs together with, as far as the reader may see it.
#[derive(Serialize, ToSchema)]
struct Links {
    resources: Vec<ResourceCard>,
    /// With their recordings, where there is one.
    lessons: Vec<LessonCard>,
}

/// The other end of a link: one of the two.
#[derive(Deserialize, ToSchema)]
struct Link {
    resource_id: Option<ResourceId>,
    lesson_id: Option<LessonId>,
}

enum End {
    Resource(ResourceId),
    Lesson(LessonId),
}

impl Link {
    fn end(&self) -> Result<End> {
        match (self.resource_id, self.lesson_id) {
            (Some(id), None) => Ok(End::Resource(id)),
            (None, Some(id)) => Ok(End::Lesson(id)),
            _ => Err(Error::field("resource_id", "请指定一个资源或一节课。", "Name a resource or a lesson.")),
        }
    }
}

/// What belongs together with a resource.
#[utoipa::path(get, path = "/api/resources/{id}/links", tag = "library", params(("id" = ResourceId, Path)), responses((status = 200, body = Links), (status = 404, body = crate::error::Body)))]
async fn links(State(app): State<App>, actor: Option<Actor>, Path(id): Path<ResourceId>) -> Result<Json<Links>> {
    let reader = Reader::of(&app.db, actor.as_ref()).await?;
    cards::card(&app.db, &reader, id).await?.ok_or_else(resources::missing)?;
    let others: Vec<(ResourceId,)> =
        sqlx::query_as("SELECT other_id FROM resource_pairs WHERE resource_id = $1 ORDER BY created_at, other_id")
            .bind(id)
            .fetch_all(app.db.pool())
            .await?;
    let others: Vec<ResourceId> = others.into_iter().map(|(id,)| id).collect();
    let mut lessons = Vec::new();
    if let Some(actor) = &actor {
        let linked: Vec<(LessonId,)> = sqlx::query_as(
            "SELECT lesson_id FROM resource_lessons WHERE resource_id = $1 ORDER BY created_at DESC, lesson_id LIMIT 100",
        )
        .bind(id)
        .fetch_all(app.db.pool())
        .await?;
        for (lesson,) in linked {
            lessons.extend(card(&app.db, lesson, actor).await?);
        }
    }
    Ok(Json(Links { resources: cards::by_ids(&app.db, &reader, &others).await?, lessons }))
}

/// Says that two belong together. A resource: its owner says so; a lesson: who leads or assists it does.
#[utoipa::path(post, path = "/api/resources/{id}/links", tag = "library", params(("id" = ResourceId, Path)), request_body = Link, responses((status = 204), (status = 403, body = crate::error::Body), (status = 404, body = crate::error::Body)))]
async fn link(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<ResourceId>,
    Json(form): Json<Link>,
) -> Result<StatusCode> {
    let person = PersonId(actor.id());
    let at = millis(now());
    match form.end()? {
        End::Resource(other) => {
            may_pair(&app, &actor, id, other).await?;
            let mut tx = app.db.begin().await?;
            for (one, two) in [(id, other), (other, id)] {
                sqlx::query(
                    "INSERT INTO resource_pairs (resource_id, other_id, person_id, created_at) VALUES ($1, $2, $3, $4)
                     ON CONFLICT DO NOTHING",
                )
                .bind(one)
                .bind(two)
                .bind(person)
                .bind(at)
                .execute(&mut *tx)
                .await?;
            }
            tx.commit().await?;
        }
        End::Lesson(lesson) => {
            let reader = Reader::of(&app.db, Some(&actor)).await?;
            cards::card(&app.db, &reader, id).await?.ok_or_else(resources::missing)?;
            may_teach(&app, &actor, lesson).await?;
            let mut tx = app.db.begin().await?;
            tie(&mut tx, id, lesson, person).await?;
            tx.commit().await?;
            used(&app.db, id, person, Way::Lesson).await?;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a link back.
#[utoipa::path(delete, path = "/api/resources/{id}/links", tag = "library", params(("id" = ResourceId, Path)), request_body = Link, responses((status = 204), (status = 403, body = crate::error::Body)))]
async fn unlink(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<ResourceId>,
    Json(form): Json<Link>,
) -> Result<StatusCode> {
    match form.end()? {
        End::Resource(other) => {
            may_pair(&app, &actor, id, other).await?;
            sqlx::query(
                "DELETE FROM resource_pairs WHERE (resource_id = $1 AND other_id = $2) OR (resource_id = $2 AND other_id = $1)",
            )
            .bind(id)
            .bind(other)
            .execute(app.db.pool())
            .await?;
        }
        End::Lesson(lesson) => {
            may_teach(&app, &actor, lesson).await?;
            let mut tx = app.db.begin().await?;
            untie(&mut tx, id, lesson).await?;
            tx.commit().await?;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Both are seen, and one of them may be changed.
async fn may_pair(app: &App, actor: &Actor, id: ResourceId, other: ResourceId) -> Result<()> {
    if id == other {
        return Err(Error::field("resource_id", "不能关联资源自身。", "A resource is not linked to itself."));
    }
    let reader = Reader::of(&app.db, Some(actor)).await?;
    let both = cards::by_ids(&app.db, &reader, &[id, other]).await?;
    match both.as_slice() {
        [one, two] if one.can_edit || two.can_edit => Ok(()),
        [_, _] => Err(Error::forbidden()),
        _ => Err(resources::missing()),
    }
}

/// A resource belongs to a lesson.
pub async fn tie(
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

/// It belongs to it no longer.
pub async fn untie(tx: &mut Transaction<'static, Any>, id: ResourceId, lesson: LessonId) -> Result<(), DbError> {
    sqlx::query("DELETE FROM resource_lessons WHERE resource_id = $1 AND lesson_id = $2")
        .bind(id)
        .bind(lesson)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Who leads or assists a lesson says what it is taught with.
pub async fn may_teach(app: &App, actor: &Actor, lesson: LessonId) -> Result<()> {
    match role_in(&app.db, lesson, actor).await? {
        LessonRole::Lead | LessonRole::Assistant => Ok(()),
        LessonRole::None => Err(no_such_lesson()),
        _ if actor.is_administrator() => Ok(()),
        _ => Err(Error::forbidden()),
    }
}

pub fn no_such_lesson() -> Error {
    Error::not_found("没有找到这节课。", "There is no such lesson.")
}

#[derive(Serialize, ToSchema)]
struct OfLesson {
    items: Vec<ResourceCard>,
}

/// What a lesson is taught with, as far as I may see it.
#[utoipa::path(get, path = "/api/lessons/{id}/resources", tag = "library", params(("id" = LessonId, Path)), responses((status = 200, body = OfLesson), (status = 404, body = crate::error::Body)))]
async fn of_lesson(State(app): State<App>, actor: Actor, Path(id): Path<LessonId>) -> Result<Json<OfLesson>> {
    if role_in(&app.db, id, &actor).await? == LessonRole::None {
        return Err(no_such_lesson());
    }
    let ids: Vec<(ResourceId,)> = sqlx::query_as(
        "SELECT resource_id FROM resource_lessons WHERE lesson_id = $1 ORDER BY created_at, resource_id",
    )
    .bind(id)
    .fetch_all(app.db.pool())
    .await?;
    let ids: Vec<ResourceId> = ids.into_iter().map(|(id,)| id).collect();
    let reader = Reader::of(&app.db, Some(&actor)).await?;
    Ok(Json(OfLesson { items: cards::by_ids(&app.db, &reader, &ids).await? }))
}
