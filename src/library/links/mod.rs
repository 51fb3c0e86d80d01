//! Lesson plan ↔ deck ↔ lesson ↔ recording, from either side. A recording is its lesson's, so a link to the lesson leads to it.
//!
//! Links lead one step further than they were made: a plan that belongs to a deck is seen beside the lessons that the deck is taught in,
//! and they beside the plan. Each reader is led only over what they may see.

use std::cmp::Reverse;
use std::collections::HashMap;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sqlx::{Any, Transaction};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::db::{Db, DbError, millis, placeholders};
use crate::error::{Error, Result};
use crate::extract::{Json, Path, now};
use crate::identity::Actor;
use crate::ids::{LessonId, PersonId, ResourceId};
use crate::library::Library;
use crate::library::access::Reader;
use crate::library::feedback::{Way, used};
use crate::library::resources::detail;
use crate::library::resources::summary::{self, ResourceCard, SLICE};
use crate::timetable::{LessonRole, LessonSummary, lesson_summary, role_in};

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .routes(routes!(links, link, unlink))
        .routes(routes!(of_lesson))
}

crate::string_enum! {
    /// How a resource and a lesson belong together; the closest of several ways.
    Bond {
        /// Its pages were put into the lesson.
        Taught = "taught",
        /// Somebody said so.
        Linked = "linked",
        /// It belongs to a resource that the lesson is taught with or linked to.
        Beside = "beside",
    }
}

/// What a resource belongs together with, as far as the reader may see it.
#[derive(Serialize, ToSchema)]
struct Links {
    resources: Vec<ResourceCard>,
    /// With their recordings, where there is one; the latest lesson first.
    lessons: Vec<LinkedLesson>,
}

#[derive(Serialize, ToSchema)]
struct LinkedLesson {
    #[serde(flatten)]
    card: LessonSummary,
    bond: Bond,
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
            _ => Err(Error::field(
                "resource_id",
                "请指定一个资源或一节课。",
                "Name a resource or a lesson.",
            )),
        }
    }
}

/// What belongs together with a resource.
#[utoipa::path(get, path = "/api/resources/{id}/links", tag = "library", params(("id" = ResourceId, Path)), responses((status = 200, body = Links), (status = 404, body = crate::error::Body)))]
async fn links(
    State(library): State<Library>,
    actor: Option<Actor>,
    Path(id): Path<ResourceId>,
) -> Result<Json<Links>> {
    let reader = Reader::of(&library.db, actor.as_ref()).await?;
    summary::card(&library.db, &reader, id)
        .await?
        .ok_or_else(detail::missing)?;
    let resources =
        summary::by_ids(&library.db, &reader, &beside(&library.db, &[id]).await?).await?;
    let mut lessons = Vec::new();
    if let Some(actor) = &actor {
        let others: Vec<ResourceId> = resources.iter().map(|card| card.id).collect();
        for (lesson, bond) in lessons_of(&library.db, id, &others).await? {
            lessons.extend(
                lesson_summary(&library.db, lesson, actor)
                    .await?
                    .map(|card| LinkedLesson { card, bond }),
            );
        }
    }
    lessons.sort_by_key(|lesson| (Reverse(lesson.card.starts_at), lesson.card.id));
    Ok(Json(Links { resources, lessons }))
}

/// Resources that somebody put beside one of these, in the order in which that was done.
async fn beside(db: &Db, ids: &[ResourceId]) -> Result<Vec<ResourceId>, DbError> {
    let mut found = Vec::new();
    for slice in ids.chunks(SLICE) {
        let query = format!(
            "SELECT other_id FROM resource_pairs WHERE resource_id IN ({}) ORDER BY created_at, other_id",
            placeholders(1, slice.len())
        );
        let mut query = sqlx::query_as::<_, (ResourceId,)>(sqlx::AssertSqlSafe(query));
        for id in slice {
            query = query.bind(id);
        }
        found.extend(
            query
                .fetch_all(db.pool())
                .await?
                .into_iter()
                .map(|(id,)| id),
        );
    }
    Ok(found)
}

/// The lessons of a resource, and of those beside it, each once and by its closest bond.
async fn lessons_of(
    db: &Db,
    id: ResourceId,
    others: &[ResourceId],
) -> Result<impl Iterator<Item = (LessonId, Bond)>, DbError> {
    let mut bonds: HashMap<LessonId, Bond> = HashMap::new();
    for id in others {
        for table in [TAUGHT, LINKED] {
            bonds.extend(
                lessons_in(db, table, *id)
                    .await?
                    .into_iter()
                    .map(|lesson| (lesson, Bond::Beside)),
            );
        }
    }
    for (table, bond) in [(LINKED, Bond::Linked), (TAUGHT, Bond::Taught)] {
        bonds.extend(
            lessons_in(db, table, id)
                .await?
                .into_iter()
                .map(|lesson| (lesson, bond)),
        );
    }
    Ok(bonds.into_iter())
}

/// Where resources and lessons meet.
const TAUGHT: &str = "lesson_decks";
const LINKED: &str = "resource_lessons";
/// A good deck is taught with for years; its page shows the last lessons.
const MOST_LESSONS: u32 = 100;

async fn lessons_in(db: &Db, table: &str, id: ResourceId) -> Result<Vec<LessonId>, DbError> {
    let query = format!(
        "SELECT lesson_id FROM {table} WHERE resource_id = $1 ORDER BY created_at DESC, lesson_id LIMIT {MOST_LESSONS}"
    );
    let rows: Vec<(LessonId,)> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(id)
        .fetch_all(db.pool())
        .await?;
    Ok(rows.into_iter().map(|(lesson,)| lesson).collect())
}

/// Says that two belong together. A resource: its owner says so; a lesson: who leads or assists it does.
#[utoipa::path(post, path = "/api/resources/{id}/links", tag = "library", params(("id" = ResourceId, Path)), request_body = Link, responses((status = 204), (status = 403, body = crate::error::Body), (status = 404, body = crate::error::Body)))]
async fn link(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<ResourceId>,
    Json(form): Json<Link>,
) -> Result<StatusCode> {
    let person = PersonId(actor.id());
    let at = millis(now());
    match form.end()? {
        End::Resource(other) => {
            may_pair(&library, &actor, id, other).await?;
            let mut tx = library.db.begin().await?;
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
            let reader = Reader::of(&library.db, Some(&actor)).await?;
            summary::card(&library.db, &reader, id)
                .await?
                .ok_or_else(detail::missing)?;
            may_teach(&library, &actor, lesson).await?;
            let mut tx = library.db.begin().await?;
            tie(&mut tx, id, lesson, person).await?;
            tx.commit().await?;
            used(&library.db, id, person, Way::Lesson).await?;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a link back.
#[utoipa::path(delete, path = "/api/resources/{id}/links", tag = "library", params(("id" = ResourceId, Path)), request_body = Link, responses((status = 204), (status = 403, body = crate::error::Body)))]
async fn unlink(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<ResourceId>,
    Json(form): Json<Link>,
) -> Result<StatusCode> {
    match form.end()? {
        End::Resource(other) => {
            may_pair(&library, &actor, id, other).await?;
            sqlx::query(
                "DELETE FROM resource_pairs WHERE (resource_id = $1 AND other_id = $2) OR (resource_id = $2 AND other_id = $1)",
            )
            .bind(id)
            .bind(other)
            .execute(library.db.pool())
            .await?;
        }
        End::Lesson(lesson) => {
            may_teach(&library, &actor, lesson).await?;
            let mut tx = library.db.begin().await?;
            untie(&mut tx, id, lesson).await?;
            tx.commit().await?;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Both are seen, and one of them may be changed.
async fn may_pair(
    library: &Library,
    actor: &Actor,
    id: ResourceId,
    other: ResourceId,
) -> Result<()> {
    if id == other {
        return Err(Error::field(
            "resource_id",
            "不能关联资源自身。",
            "A resource is not linked to itself.",
        ));
    }
    let reader = Reader::of(&library.db, Some(actor)).await?;
    let both = summary::by_ids(&library.db, &reader, &[id, other]).await?;
    match both.as_slice() {
        [one, two] if one.can_edit || two.can_edit => Ok(()),
        [_, _] => Err(Error::forbidden()),
        _ => Err(detail::missing()),
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
pub async fn untie(
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

/// Who leads or assists a lesson says what it is taught with.
pub async fn may_teach(library: &Library, actor: &Actor, lesson: LessonId) -> Result<()> {
    match role_in(&library.db, lesson, actor).await? {
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
    items: Vec<LessonResource>,
}

#[derive(Serialize, ToSchema)]
struct LessonResource {
    #[serde(flatten)]
    card: ResourceCard,
    bond: Bond,
}

/// What a lesson is taught with, and what belongs to that, as far as I may see it.
#[utoipa::path(get, path = "/api/lessons/{id}/resources", tag = "library", params(("id" = LessonId, Path)), responses((status = 200, body = OfLesson), (status = 404, body = crate::error::Body)))]
async fn of_lesson(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<LessonId>,
) -> Result<Json<OfLesson>> {
    if role_in(&library.db, id, &actor).await? == LessonRole::None {
        return Err(no_such_lesson());
    }
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let mut items: Vec<LessonResource> = Vec::new();
    for (table, bond) in [(TAUGHT, Bond::Taught), (LINKED, Bond::Linked)] {
        add(
            &library.db,
            &reader,
            &mut items,
            resources_in(&library.db, table, id).await?,
            bond,
        )
        .await?;
    }
    let direct: Vec<ResourceId> = items.iter().map(|item| item.card.id).collect();
    add(
        &library.db,
        &reader,
        &mut items,
        beside(&library.db, &direct).await?,
        Bond::Beside,
    )
    .await?;
    Ok(Json(OfLesson { items }))
}

async fn resources_in(db: &Db, table: &str, lesson: LessonId) -> Result<Vec<ResourceId>, DbError> {
    let query = format!(
        "SELECT resource_id FROM {table} WHERE lesson_id = $1 ORDER BY created_at, resource_id"
    );
    let rows: Vec<(ResourceId,)> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(lesson)
        .fetch_all(db.pool())
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Those that are not there yet and that the reader may see.
async fn add(
    db: &Db,
    reader: &Reader,
    items: &mut Vec<LessonResource>,
    mut ids: Vec<ResourceId>,
    bond: Bond,
) -> Result<(), DbError> {
    ids.retain(|id| items.iter().all(|item| item.card.id != *id));
    let cards = summary::by_ids(db, reader, &ids).await?;
    items.extend(cards.into_iter().map(|card| LessonResource { card, bond }));
    Ok(())
}
