//! Decks of a lesson. A deck is added before or during the lesson and keeps the version that it had
//! then. Participants see its pages, live and in the replay, even if they may not see the resource.
//!
//! Rejected alternative: serving pages through the resource. An owner who replaces, hides or
//! removes the resource would break the replay.

mod edit;
mod pages;

use std::collections::HashMap;

use utoipa_axum::router::OpenApiRouter;

use crate::db::{Db, DbError};
use crate::ids::{DeckId, LessonId, ResourceId};
use crate::library::Library;
use crate::library::analysis::derived::PageSize;
use crate::storage::Key;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .merge(pages::routes())
        .merge(edit::routes())
}

/// Deck of a lesson, without its pages.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Deck {
    pub id: DeckId,
    pub resource_id: ResourceId,
    pub title: String,
    pub pages: i64,
}

/// Returns a deck of the lesson.
pub async fn deck(db: &Db, lesson: LessonId, id: DeckId) -> Result<Option<Deck>, DbError> {
    sqlx::query_as(
        "SELECT d.id, d.resource_id, d.title, b.pages FROM lesson_decks d JOIN blobs b ON b.hash = d.hash
         WHERE d.lesson_id = $1 AND d.id = $2",
    )
    .bind(lesson)
    .bind(id)
    .fetch_optional(db.pool())
    .await
}

/// Returns the text of a page of the lesson's deck.
pub async fn page_text(
    db: &Db,
    lesson: LessonId,
    id: DeckId,
    page: i64,
) -> Result<Option<String>, DbError> {
    let found: Option<(String,)> = sqlx::query_as(
        "SELECT p.body FROM lesson_decks d JOIN blob_pages p ON p.hash = d.hash
         WHERE d.lesson_id = $1 AND d.id = $2 AND p.number = $3",
    )
    .bind(lesson)
    .bind(id)
    .bind(page)
    .fetch_optional(db.pool())
    .await?;
    Ok(found.map(|(text,)| text))
}

/// Returns the storage keys of the large page images of a lesson, for the pages that could be
/// rendered.
pub async fn page_images(
    db: &Db,
    lesson: LessonId,
) -> Result<HashMap<(DeckId, i64), Key>, DbError> {
    let rows: Vec<(DeckId, i64, String)> = sqlx::query_as(
        "SELECT d.id, p.number, d.hash FROM lesson_decks d JOIN blob_pages p ON p.hash = d.hash
         WHERE d.lesson_id = $1 AND p.drawn = 1",
    )
    .bind(lesson)
    .fetch_all(db.pool())
    .await?;
    let key = |n, hash: &str| Key::derived(hash, &PageSize::Large.file_name(n));
    Ok(rows
        .into_iter()
        .map(|(deck, n, hash)| ((deck, n), key(n, &hash)))
        .collect())
}
