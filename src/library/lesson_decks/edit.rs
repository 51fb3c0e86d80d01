//! Adding decks to a lesson and removing them.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sqlx::{Any, Transaction};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::deck;
use crate::db::millis;
use crate::error::{Error, Result};
use crate::extract::{Json, Path, now};
use crate::identity::Actor;
use crate::ids::{DeckId, LessonId, PersonId, ResourceId};
use crate::library::access::{Reader, no_such_lesson, require_lesson_teacher, visible_resource};
use crate::library::analysis::facts::AnalysisState;
use crate::library::feedback::uses::{UseKind, record_use};
use crate::library::resources::summary::ResourceSummary;
use crate::library::{Library, links};
use crate::timetable::{self, Phase};

/// A lesson uses a handful of decks, even one that lasts a whole morning.
const MAX_DECKS: i64 = 30;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .routes(routes!(add_lesson_deck))
        .routes(routes!(remove_lesson_deck))
}

/// Resource to add to a lesson.
#[derive(Deserialize, ToSchema)]
struct NewDeck {
    resource_id: ResourceId,
}

#[derive(Serialize, ToSchema)]
struct AddedDeck {
    id: DeckId,
}

/// Adds a resource's pages to a lesson that the requester leads or assists, in the version that
/// they see now.
#[utoipa::path(post, path = "/api/lessons/{id}/decks", tag = "library", params(("id" = LessonId, Path)), request_body = NewDeck, responses((status = 201, body = AddedDeck), (status = 403, body = crate::error::Body), (status = 404, body = crate::error::Body), (status = 409, body = crate::error::Body)))]
async fn add_lesson_deck(
    State(library): State<Library>,
    actor: Actor,
    Path(lesson): Path<LessonId>,
    Json(form): Json<NewDeck>,
) -> Result<(StatusCode, Json<AddedDeck>)> {
    require_lesson_teacher(&library.db, &actor, lesson).await?;
    let phase = phase(&library, lesson).await?;
    if phase == Phase::Ended {
        return Err(Error::conflict(
            "lesson_ended",
            "这节课已经下课，不能再加入课件。",
            "This lesson is over; nothing can be added to it.",
        ));
    }
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let resource = visible_resource(&library.db, &reader, form.resource_id).await?;
    require_pages(&resource)?;
    let mut tx = library.db.begin().await?;
    if phase == Phase::Planned {
        remove_other_versions(&mut tx, lesson, &resource).await?;
    }
    let id = insert_deck(&mut tx, lesson, &resource).await?;
    links::link_lesson(&mut tx, resource.id, lesson, PersonId(actor.id())).await?;
    tx.commit().await?;
    record_use(
        &library.db,
        resource.id,
        PersonId(actor.id()),
        UseKind::Lesson,
    )
    .await?;
    Ok((StatusCode::CREATED, Json(AddedDeck { id })))
}

fn require_pages(resource: &ResourceSummary) -> Result<()> {
    match resource.preview.state {
        AnalysisState::Ready if resource.preview.pages > 0 => Ok(()),
        AnalysisState::Waiting => Err(Error::conflict(
            "not_ready",
            "课件正在转换成页面，请稍等片刻再加入。",
            "Its pages are still being made. Try again in a moment.",
        )),
        AnalysisState::Ready | AnalysisState::Failed => Err(Error::conflict(
            "no_pages",
            "这个资源没有可以在课堂上翻页的内容。",
            "This resource has no pages that could be shown in a lesson.",
        )),
    }
}

/// Removes other versions of the deck. Before the lesson starts, a newer version replaces the older
/// one.
async fn remove_other_versions(
    tx: &mut Transaction<'static, Any>,
    lesson: LessonId,
    resource: &ResourceSummary,
) -> Result<()> {
    sqlx::query(
        "DELETE FROM lesson_decks WHERE lesson_id = $1 AND resource_id = $2 AND hash <> $3",
    )
    .bind(lesson)
    .bind(resource.id)
    .bind(&resource.file.sha256)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Inserts the deck; adding the same version twice returns the same deck.
async fn insert_deck(
    tx: &mut Transaction<'static, Any>,
    lesson: LessonId,
    resource: &ResourceSummary,
) -> Result<DeckId> {
    sqlx::query(
        "INSERT INTO lesson_decks (id, lesson_id, resource_id, hash, title, created_at) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT DO NOTHING",
    )
    .bind(DeckId::fresh())
    .bind(lesson)
    .bind(resource.id)
    .bind(&resource.file.sha256)
    .bind(&resource.title)
    .bind(millis(now()))
    .execute(&mut **tx)
    .await?;
    let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM lesson_decks WHERE lesson_id = $1")
        .bind(lesson)
        .fetch_one(&mut **tx)
        .await?;
    if count > MAX_DECKS {
        return Err(Error::conflict(
            "too_many_decks",
            "这节课的课件已经太多，请先移除不用的课件。",
            "This lesson has too many decks. Take out what is not needed first.",
        ));
    }
    let (id,): (DeckId,) = sqlx::query_as(
        "SELECT id FROM lesson_decks WHERE lesson_id = $1 AND resource_id = $2 AND hash = $3",
    )
    .bind(lesson)
    .bind(resource.id)
    .bind(&resource.file.sha256)
    .fetch_one(&mut **tx)
    .await?;
    Ok(id)
}

/// Removes a deck from a lesson that has not started; afterwards the recording may refer to it.
#[utoipa::path(delete, path = "/api/lessons/{id}/decks/{deck}", tag = "library", params(("id" = LessonId, Path), ("deck" = DeckId, Path)), responses((status = 204), (status = 403, body = crate::error::Body), (status = 409, body = crate::error::Body)))]
async fn remove_lesson_deck(
    State(library): State<Library>,
    actor: Actor,
    Path((lesson, id)): Path<(LessonId, DeckId)>,
) -> Result<StatusCode> {
    require_lesson_teacher(&library.db, &actor, lesson).await?;
    if phase(&library, lesson).await? != Phase::Planned {
        return Err(Error::conflict(
            "already_started",
            "已经上课，课件会保留在录像中，不能移除。",
            "The lesson has begun: its recording keeps the deck.",
        ));
    }
    let Some(deck) = deck(&library.db, lesson, id).await? else {
        return Ok(StatusCode::NO_CONTENT);
    };
    let mut tx = library.db.begin().await?;
    sqlx::query("DELETE FROM lesson_decks WHERE id = $1")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    links::unlink_lesson(&mut tx, deck.resource_id, lesson).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn phase(library: &Library, lesson: LessonId) -> Result<Phase> {
    let status = timetable::lesson_status(&library.db, lesson).await?;
    status.map(|status| status.phase).ok_or_else(no_such_lesson)
}
