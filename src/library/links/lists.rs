//! Links of a resource, and resources of a lesson.

use std::cmp::Reverse;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::graph::{Bond, LINKED, TAUGHT, lessons_of, linked_resources, resources_in};
use crate::db::{Db, DbError};
use crate::error::Result;
use crate::extract::{Json, Path};
use crate::identity::Actor;
use crate::ids::{LessonId, ResourceId};
use crate::library::Library;
use crate::library::access::{Reader, require_participant, visible_resource};
use crate::library::resources::summary::{self, ResourceSummary};
use crate::timetable::{LessonSummary, lesson_summary};

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .routes(routes!(list_resource_links))
        .routes(routes!(list_lesson_resources))
}

/// Links of a resource that the requester may see.
#[derive(Serialize, ToSchema)]
struct ResourceLinks {
    resources: Vec<ResourceSummary>,
    /// Latest lesson first, with recordings.
    lessons: Vec<LinkedLesson>,
}

#[derive(Serialize, ToSchema)]
struct LinkedLesson {
    #[serde(flatten)]
    summary: LessonSummary,
    bond: Bond,
}

/// Lists the resources and lessons that a resource is linked to.
#[utoipa::path(get, path = "/api/resources/{id}/links", tag = "library", params(("id" = ResourceId, Path)), responses((status = 200, body = ResourceLinks), (status = 404, body = crate::error::Body)))]
async fn list_resource_links(
    State(library): State<Library>,
    actor: Option<Actor>,
    Path(id): Path<ResourceId>,
) -> Result<Json<ResourceLinks>> {
    let reader = Reader::of(&library.db, actor.as_ref()).await?;
    visible_resource(&library.db, &reader, id).await?;
    let resources = summary::by_ids(
        &library.db,
        &reader,
        &linked_resources(&library.db, &[id]).await?,
    )
    .await?;
    let mut lessons = Vec::new();
    if let Some(actor) = &actor {
        let others: Vec<ResourceId> = resources.iter().map(|resource| resource.id).collect();
        for (lesson, bond) in lessons_of(&library.db, id, &others).await? {
            let summary = lesson_summary(&library.db, lesson, actor).await?;
            lessons.extend(summary.map(|summary| LinkedLesson { summary, bond }));
        }
    }
    lessons.sort_by_key(|lesson| (Reverse(lesson.summary.starts_at), lesson.summary.id));
    Ok(Json(ResourceLinks { resources, lessons }))
}

#[derive(Serialize, ToSchema)]
struct LessonResources {
    items: Vec<LessonResource>,
}

#[derive(Serialize, ToSchema)]
struct LessonResource {
    #[serde(flatten)]
    summary: ResourceSummary,
    bond: Bond,
}

/// Lists the resources of a lesson, and those linked to them, that the requester may see.
#[utoipa::path(get, path = "/api/lessons/{id}/resources", tag = "library", params(("id" = LessonId, Path)), responses((status = 200, body = LessonResources), (status = 404, body = crate::error::Body)))]
async fn list_lesson_resources(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<LessonId>,
) -> Result<Json<LessonResources>> {
    require_participant(&library.db, &actor, id).await?;
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let mut items: Vec<LessonResource> = Vec::new();
    for (table, bond) in [(TAUGHT, Bond::Taught), (LINKED, Bond::Linked)] {
        append_new(
            &library.db,
            &reader,
            &mut items,
            resources_in(&library.db, table, id).await?,
            bond,
        )
        .await?;
    }
    let direct: Vec<ResourceId> = items.iter().map(|item| item.summary.id).collect();
    append_new(
        &library.db,
        &reader,
        &mut items,
        linked_resources(&library.db, &direct).await?,
        Bond::Beside,
    )
    .await?;
    Ok(Json(LessonResources { items }))
}

/// Appends the resources that are not listed yet and that the reader may see.
async fn append_new(
    db: &Db,
    reader: &Reader,
    items: &mut Vec<LessonResource>,
    mut ids: Vec<ResourceId>,
    bond: Bond,
) -> Result<(), DbError> {
    ids.retain(|id| items.iter().all(|item| item.summary.id != *id));
    let summaries = summary::by_ids(db, reader, &ids).await?;
    items.extend(
        summaries
            .into_iter()
            .map(|summary| LessonResource { summary, bond }),
    );
    Ok(())
}
