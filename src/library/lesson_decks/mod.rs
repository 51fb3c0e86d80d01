//! Decks in a lesson: what is taught with, page by page. A deck is put in before the lesson or in the middle of it, and stays as the version
//! that it was then. Whoever has a part in the lesson sees its pages, live and in the replay, whoever else may see the resource.
//!
//! Serving pages by the resource itself was turned down: a deck that its owner replaces, hides or removes would take them from the replay.

use std::collections::HashMap;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use serde::{Deserialize, Serialize};
use sqlx::{Any, Transaction};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::db::{Db, DbError, millis};
use crate::error::{Error, Result};
use crate::extract::{Json, Path, now};
use crate::identity::Actor;
use crate::ids::{DeckId, LessonId, PersonId, ResourceId};
use crate::library::Library;
use crate::library::access::Reader;
use crate::library::analysis::PageSize;
use crate::library::analysis::facts::Understood;
use crate::library::feedback::{Way, used};
use crate::library::files::{self, FOREVER};
use crate::library::links;
use crate::library::resources::detail;
use crate::library::resources::summary::{self, ResourceCard};
use crate::storage::Key;
use crate::timetable::{self, LessonRole, Phase, role_in};

/// Decks of one lesson; a lesson of a whole morning uses a handful.
const MOST: i64 = 30;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .routes(routes!(list, put))
        .routes(routes!(take_out))
        .routes(routes!(page))
}

/// A deck of a lesson.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Deck {
    pub id: DeckId,
    pub resource_id: ResourceId,
    pub title: String,
    pub pages: i64,
}

/// A lesson's deck, if it has that one.
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

/// The text of a page of a lesson's deck; `None` when there is no such page.
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

/// Where the large pictures of a lesson's pages are stored, as far as they could be drawn.
pub async fn page_pictures(
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
    let key = |n, hash: &str| Key::derived(hash, &PageSize::Large.name(n));
    Ok(rows
        .into_iter()
        .map(|(deck, n, hash)| ((deck, n), key(n, &hash)))
        .collect())
}

#[derive(Serialize, ToSchema)]
struct Decks {
    items: Vec<LessonDeck>,
}

/// A deck as the pages of a lesson load it.
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
    /// In pixels of the large picture; 0 where it could not be drawn.
    width: i64,
    height: i64,
    text: String,
    /// WebP that never changes. None: the page could not be drawn.
    large_url: Option<String>,
    small_url: Option<String>,
}

/// The decks of a lesson with their pages, in the order they were put in.
#[utoipa::path(get, path = "/api/lessons/{id}/decks", tag = "library", params(("id" = LessonId, Path)), responses((status = 200, body = Decks), (status = 404, body = crate::error::Body)))]
async fn list(
    State(library): State<Library>,
    actor: Actor,
    Path(lesson): Path<LessonId>,
) -> Result<Json<Decks>> {
    takes_part(&library, &actor, lesson).await?;
    let decks: Vec<Deck> = sqlx::query_as(
        "SELECT d.id, d.resource_id, d.title, b.pages FROM lesson_decks d JOIN blobs b ON b.hash = d.hash
         WHERE d.lesson_id = $1 ORDER BY d.id",
    )
    .bind(lesson)
    .fetch_all(library.db.pool())
    .await?;
    let mut items = Vec::with_capacity(decks.len());
    for deck in decks {
        let pages = pages(&library.db, lesson, deck.id).await?;
        items.push(LessonDeck {
            id: deck.id,
            resource_id: deck.resource_id,
            title: deck.title,
            pages,
        });
    }
    Ok(Json(Decks { items }))
}

async fn pages(db: &Db, lesson: LessonId, deck: DeckId) -> Result<Vec<DeckPage>, DbError> {
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

/// Which resource to teach with.
#[derive(Deserialize, ToSchema)]
struct Wanted {
    resource_id: ResourceId,
}

#[derive(Serialize, ToSchema)]
struct PutIn {
    id: DeckId,
}

/// "Teach with this": puts a resource's pages into a lesson that I lead or assist, as the version that I see now.
#[utoipa::path(post, path = "/api/lessons/{id}/decks", tag = "library", params(("id" = LessonId, Path)), request_body = Wanted, responses((status = 201, body = PutIn), (status = 403, body = crate::error::Body), (status = 404, body = crate::error::Body), (status = 409, body = crate::error::Body)))]
async fn put(
    State(library): State<Library>,
    actor: Actor,
    Path(lesson): Path<LessonId>,
    Json(form): Json<Wanted>,
) -> Result<(StatusCode, Json<PutIn>)> {
    links::may_teach(&library, &actor, lesson).await?;
    let phase = phase(&library, lesson).await?;
    if phase == Phase::Ended {
        return Err(Error::conflict(
            "lesson_ended",
            "这节课已经下课，不能再加入课件。",
            "This lesson is over; nothing can be added to it.",
        ));
    }
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let card = summary::card(&library.db, &reader, form.resource_id)
        .await?
        .ok_or_else(detail::missing)?;
    has_pages(&card)?;
    let mut tx = library.db.begin().await?;
    if phase == Phase::Planned {
        forget_older(&mut tx, lesson, &card).await?;
    }
    let id = write_down(&mut tx, lesson, &card).await?;
    links::tie(&mut tx, card.id, lesson, PersonId(actor.id())).await?;
    tx.commit().await?;
    used(&library.db, card.id, PersonId(actor.id()), Way::Lesson).await?;
    Ok((StatusCode::CREATED, Json(PutIn { id })))
}

fn has_pages(card: &ResourceCard) -> Result<()> {
    match card.preview.state {
        Understood::Ready if card.preview.pages > 0 => Ok(()),
        Understood::Waiting => Err(Error::conflict(
            "not_ready",
            "课件正在转换成页面，请稍等片刻再加入。",
            "Its pages are still being made. Try again in a moment.",
        )),
        Understood::Ready | Understood::Failed => Err(Error::conflict(
            "no_pages",
            "这个资源没有可以在课堂上翻页的内容。",
            "This resource has no pages that could be shown in a lesson.",
        )),
    }
}

/// A deck that was improved before its lesson takes the place of what it was; nobody has seen that one yet.
async fn forget_older(
    tx: &mut Transaction<'static, Any>,
    lesson: LessonId,
    card: &ResourceCard,
) -> Result<()> {
    sqlx::query(
        "DELETE FROM lesson_decks WHERE lesson_id = $1 AND resource_id = $2 AND hash <> $3",
    )
    .bind(lesson)
    .bind(card.id)
    .bind(&card.file.sha256)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The same version twice is one deck.
async fn write_down(
    tx: &mut Transaction<'static, Any>,
    lesson: LessonId,
    card: &ResourceCard,
) -> Result<DeckId> {
    sqlx::query(
        "INSERT INTO lesson_decks (id, lesson_id, resource_id, hash, title, created_at) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT DO NOTHING",
    )
    .bind(DeckId::fresh())
    .bind(lesson)
    .bind(card.id)
    .bind(&card.file.sha256)
    .bind(&card.title)
    .bind(millis(now()))
    .execute(&mut **tx)
    .await?;
    let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM lesson_decks WHERE lesson_id = $1")
        .bind(lesson)
        .fetch_one(&mut **tx)
        .await?;
    if count > MOST {
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
    .bind(card.id)
    .bind(&card.file.sha256)
    .fetch_one(&mut **tx)
    .await?;
    Ok(id)
}

/// Takes a deck out of a lesson that has not begun. Afterwards its recording may need it.
#[utoipa::path(delete, path = "/api/lessons/{id}/decks/{deck}", tag = "library", params(("id" = LessonId, Path), ("deck" = DeckId, Path)), responses((status = 204), (status = 403, body = crate::error::Body), (status = 409, body = crate::error::Body)))]
async fn take_out(
    State(library): State<Library>,
    actor: Actor,
    Path((lesson, id)): Path<(LessonId, DeckId)>,
) -> Result<StatusCode> {
    links::may_teach(&library, &actor, lesson).await?;
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
    links::untie(&mut tx, deck.resource_id, lesson).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A page's picture; `size` is `large` or `small`.
#[utoipa::path(get, path = "/api/lessons/{id}/decks/{deck}/pages/{n}/{size}", tag = "library", params(("id" = LessonId, Path), ("deck" = DeckId, Path), ("n" = i64, Path), ("size" = String, Path)), responses((status = 200), (status = 404, body = crate::error::Body)))]
async fn page(
    State(library): State<Library>,
    actor: Actor,
    Path((lesson, id, n, size)): Path<(LessonId, DeckId, i64, String)>,
    headers: HeaderMap,
) -> Result<Response<Body>> {
    takes_part(&library, &actor, lesson).await?;
    let found: Option<(String,)> =
        sqlx::query_as("SELECT hash FROM lesson_decks WHERE lesson_id = $1 AND id = $2")
            .bind(lesson)
            .bind(id)
            .fetch_optional(library.db.pool())
            .await?;
    let (hash,) = found.ok_or_else(detail::missing)?;
    let size = PageSize::of(&size).ok_or_else(files::no_part)?;
    files::picture(
        &library,
        &Key::derived(&hash, &size.name(n)),
        "image/webp",
        FOREVER,
        &headers,
    )
    .await
}

async fn takes_part(library: &Library, actor: &Actor, lesson: LessonId) -> Result<()> {
    match role_in(&library.db, lesson, actor).await? {
        LessonRole::None => Err(links::no_such_lesson()),
        _ => Ok(()),
    }
}

async fn phase(library: &Library, lesson: LessonId) -> Result<Phase> {
    let brief = timetable::lesson_status(&library.db, lesson).await?;
    brief
        .map(|brief| brief.phase)
        .ok_or_else(links::no_such_lesson)
}
