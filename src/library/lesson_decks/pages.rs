//! Decks of a lesson with their pages, for its participants.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Deck;
use crate::db::{Db, DbError};
use crate::error::Result;
use crate::extract::{Json, Path};
use crate::identity::Actor;
use crate::ids::{DeckId, LessonId, ResourceId};
use crate::library::Library;
use crate::library::access::{no_such_resource, require_participant};
use crate::library::analysis::derived::PageSize;
use crate::library::files::{self, CACHE_FOREVER};
use crate::storage::Key;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .routes(routes!(list_lesson_decks))
        .routes(routes!(get_deck_page_image))
}

#[derive(Serialize, ToSchema)]
struct DeckList {
    items: Vec<LessonDeck>,
}

/// Deck with its pages.
#[derive(Serialize, ToSchema)]
struct LessonDeck {
    id: DeckId,
    resource_id: ResourceId,
    title: String,
    pages: Vec<DeckPage>,
}

#[derive(Serialize, ToSchema)]
struct DeckPage {
    n: i64,
    /// Pixels of the large image; 0 if the page could not be rendered.
    width: i64,
    height: i64,
    text: String,
    /// Immutable WebP image; `None` if the page could not be rendered.
    large_url: Option<String>,
    small_url: Option<String>,
}

/// Lists the decks of a lesson with their pages, in the order in which they were added.
#[utoipa::path(get, path = "/api/lessons/{id}/decks", tag = "library", params(("id" = LessonId, Path)), responses((status = 200, body = DeckList), (status = 404, body = crate::error::Body)))]
async fn list_lesson_decks(
    State(library): State<Library>,
    actor: Actor,
    Path(lesson): Path<LessonId>,
) -> Result<Json<DeckList>> {
    require_participant(&library.db, &actor, lesson).await?;
    let decks: Vec<Deck> = sqlx::query_as(
        "SELECT d.id, d.resource_id, d.title, b.pages FROM lesson_decks d JOIN blobs b ON b.hash = d.hash
         WHERE d.lesson_id = $1 ORDER BY d.id",
    )
    .bind(lesson)
    .fetch_all(library.db.pool())
    .await?;
    let mut items = Vec::with_capacity(decks.len());
    for deck in decks {
        let pages = pages_of(&library.db, lesson, deck.id).await?;
        items.push(LessonDeck {
            id: deck.id,
            resource_id: deck.resource_id,
            title: deck.title,
            pages,
        });
    }
    Ok(Json(DeckList { items }))
}

async fn pages_of(db: &Db, lesson: LessonId, deck: DeckId) -> Result<Vec<DeckPage>, DbError> {
    let rows: Vec<(i64, i64, i64, i64, String)> = sqlx::query_as(
        "SELECT p.number, p.width, p.height, p.drawn, p.body FROM lesson_decks d JOIN blob_pages p ON p.hash = d.hash
         WHERE d.id = $1 ORDER BY p.number",
    )
    .bind(deck)
    .fetch_all(db.pool())
    .await?;
    let url = |n: i64, size: &str| format!("/api/lessons/{lesson}/decks/{deck}/pages/{n}/{size}");
    let page = |(n, width, height, drawn, text): (i64, i64, i64, i64, String)| DeckPage {
        n,
        width,
        height,
        text,
        large_url: (drawn != 0).then(|| url(n, "large")),
        small_url: (drawn != 0).then(|| url(n, "small")),
    };
    Ok(rows.into_iter().map(page).collect())
}

/// Returns the image of a page; `size` is `large` or `small`.
#[utoipa::path(get, path = "/api/lessons/{id}/decks/{deck}/pages/{n}/{size}", tag = "library", params(("id" = LessonId, Path), ("deck" = DeckId, Path), ("n" = i64, Path), ("size" = String, Path)), responses((status = 200), (status = 404, body = crate::error::Body)))]
async fn get_deck_page_image(
    State(library): State<Library>,
    actor: Actor,
    Path((lesson, id, n, size)): Path<(LessonId, DeckId, i64, String)>,
    headers: HeaderMap,
) -> Result<Response<Body>> {
    require_participant(&library.db, &actor, lesson).await?;
    let found: Option<(String,)> =
        sqlx::query_as("SELECT hash FROM lesson_decks WHERE lesson_id = $1 AND id = $2")
            .bind(lesson)
            .bind(id)
            .fetch_optional(library.db.pool())
            .await?;
    let (hash,) = found.ok_or_else(no_such_resource)?;
    let size = PageSize::parse(&size).ok_or_else(files::no_such_part)?;
    files::respond_with_object(
        &library,
        &Key::derived(&hash, &size.file_name(n)),
        "image/webp",
        CACHE_FOREVER,
        &headers,
    )
    .await
}
