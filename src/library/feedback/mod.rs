//! What people say of a resource and do with it: stars, comments, uses.

use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::db::{Db, MAX_ROWS, millis, time};
use crate::error::{Error, Result};
use crate::extract::{Json, Path, now};
use crate::identity::Actor;
use crate::ids::{CommentId, PersonId, ResourceId};
use crate::library::Library;
use crate::library::access::Reader;
use crate::library::index_source;
use crate::library::resources::description::paragraph;
use crate::library::resources::detail;
use crate::library::resources::summary::{self, Owner};

/// A comment is a remark, not an essay.
const COMMENT_CHARS: usize = 2000;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .routes(routes!(rate))
        .routes(routes!(comments, comment))
        .routes(routes!(take_back))
}

crate::string_enum! {
    /// How somebody made use of a resource.
    Way { Download = "download", Lesson = "lesson" }
}

/// Counts a use by somebody other than the owner, once for each person and way.
pub async fn used(db: &Db, id: ResourceId, person: PersonId, way: Way) -> Result<()> {
    let mut tx = db.begin().await?;
    let added = sqlx::query(
        "INSERT INTO resource_uses (resource_id, person_id, way, first_at)
         SELECT id, $2, $3, $4 FROM resources WHERE id = $1 AND owner_id <> $2 ON CONFLICT DO NOTHING",
    )
    .bind(id)
    .bind(person)
    .bind(way)
    .bind(millis(now()))
    .execute(&mut *tx)
    .await?;
    if added.rows_affected() > 0 {
        sqlx::query("UPDATE resources SET uses = uses + 1 WHERE id = $1")
            .bind(id)
            .execute(&mut *tx)
            .await?;
        index_source::mark(&mut tx, id).await?;
    }
    tx.commit().await?;
    Ok(())
}

#[derive(Deserialize, ToSchema)]
struct Stars {
    /// 1 to 5; 0 takes the rating back.
    stars: i64,
}

#[derive(Serialize, ToSchema)]
struct Rated {
    rating: Option<f64>,
    ratings: i64,
    my_rating: Option<i64>,
}

/// Gives a resource of somebody else stars.
#[utoipa::path(put, path = "/api/resources/{id}/rating", tag = "library", params(("id" = ResourceId, Path)), request_body = Stars, responses((status = 200, body = Rated), (status = 409, body = crate::error::Body)))]
async fn rate(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<ResourceId>,
    Json(form): Json<Stars>,
) -> Result<Json<Rated>> {
    if !(0..=5).contains(&form.stars) {
        return Err(Error::field(
            "stars",
            "评分为 1 到 5 颗星。",
            "A rating has 1 to 5 stars.",
        ));
    }
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let card = summary::card(&library.db, &reader, id)
        .await?
        .ok_or_else(detail::missing)?;
    let person = PersonId(actor.id());
    if card.owner.id == person {
        return Err(Error::conflict(
            "own_resource",
            "不能给自己的资源评分。",
            "One does not rate one's own resource.",
        ));
    }
    let mut tx = library.db.begin().await?;
    sqlx::query("DELETE FROM resource_ratings WHERE resource_id = $1 AND person_id = $2")
        .bind(id)
        .bind(person)
        .execute(&mut *tx)
        .await?;
    if form.stars > 0 {
        sqlx::query("INSERT INTO resource_ratings (resource_id, person_id, stars, updated_at) VALUES ($1, $2, $3, $4)")
            .bind(id)
            .bind(person)
            .bind(form.stars)
            .bind(millis(now()))
            .execute(&mut *tx)
            .await?;
    }
    let (sum, count): (i64, i64) = sqlx::query_as(
        "SELECT CAST(COALESCE(SUM(stars), 0) AS BIGINT), COUNT(*) FROM resource_ratings WHERE resource_id = $1",
    )
    .bind(id)
    .fetch_one(&mut *tx)
    .await?;
    sqlx::query("UPDATE resources SET rating_sum = $2, ratings = $3 WHERE id = $1")
        .bind(id)
        .bind(sum)
        .bind(count)
        .execute(&mut *tx)
        .await?;
    index_source::mark(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(Rated {
        rating: (count > 0).then(|| sum as f64 / count as f64),
        ratings: count,
        my_rating: Some(form.stars).filter(|stars| *stars > 0),
    }))
}

#[derive(Serialize, ToSchema)]
struct Comment {
    id: CommentId,
    by: Owner,
    /// The page that it is about.
    page: Option<i64>,
    text: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Whether the reader may remove it.
    can_remove: bool,
}

#[derive(Serialize, ToSchema)]
struct Comments {
    items: Vec<Comment>,
}

/// What is said of a resource, oldest first.
#[utoipa::path(get, path = "/api/resources/{id}/comments", tag = "library", params(("id" = ResourceId, Path)), responses((status = 200, body = Comments), (status = 404, body = crate::error::Body)))]
async fn comments(
    State(library): State<Library>,
    actor: Option<Actor>,
    Path(id): Path<ResourceId>,
) -> Result<Json<Comments>> {
    let reader = Reader::of(&library.db, actor.as_ref()).await?;
    let card = summary::card(&library.db, &reader, id)
        .await?
        .ok_or_else(detail::missing)?;
    let query = format!(
        "SELECT c.id, c.person_id, p.name, c.page, c.body, c.created_at FROM resource_comments c
         JOIN people p ON p.id = c.person_id WHERE c.resource_id = $1 ORDER BY c.created_at, c.id LIMIT {MAX_ROWS}"
    );
    let rows: Vec<(CommentId, PersonId, String, Option<i64>, String, i64)> =
        sqlx::query_as(sqlx::AssertSqlSafe(query))
            .bind(id)
            .fetch_all(library.db.pool())
            .await?;
    let items = rows
        .into_iter()
        .map(|(id, person, name, page, text, at)| Comment {
            id,
            can_remove: card.can_edit || reader.person == Some(person),
            by: Owner { id: person, name },
            page,
            text,
            created_at: time(at),
        });
    Ok(Json(Comments {
        items: items.collect(),
    }))
}

#[derive(Deserialize, ToSchema)]
struct NewComment {
    text: String,
    /// The page that it is about, if it is about one.
    page: Option<i64>,
}

/// Says something of a resource.
#[utoipa::path(post, path = "/api/resources/{id}/comments", tag = "library", params(("id" = ResourceId, Path)), request_body = NewComment, responses((status = 201, body = Comment), (status = 404, body = crate::error::Body)))]
async fn comment(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<ResourceId>,
    Json(form): Json<NewComment>,
) -> Result<(StatusCode, Json<Comment>)> {
    let text = paragraph("text", &form.text, COMMENT_CHARS)?;
    if text.is_empty() {
        return Err(Error::field(
            "text",
            "请填写评论内容。",
            "Please write something.",
        ));
    }
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let card = summary::card(&library.db, &reader, id)
        .await?
        .ok_or_else(detail::missing)?;
    if form
        .page
        .is_some_and(|page| !(1..=card.preview.pages).contains(&page))
    {
        return Err(Error::field(
            "page",
            "没有这一页。",
            "There is no such page.",
        ));
    }
    let (comment, person, at, page) = (CommentId::fresh(), PersonId(actor.id()), now(), form.page);
    let mut tx = library.db.begin().await?;
    sqlx::query(
        "INSERT INTO resource_comments (id, resource_id, person_id, page, body, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(comment)
    .bind(id)
    .bind(person)
    .bind(page)
    .bind(&text)
    .bind(millis(at))
    .execute(&mut *tx)
    .await?;
    sqlx::query("UPDATE resources SET comments = comments + 1 WHERE id = $1")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    let by = Owner {
        id: person,
        name: actor.name().to_owned(),
    };
    let told = Comment {
        id: comment,
        by,
        page,
        text,
        created_at: at,
        can_remove: true,
    };
    Ok((StatusCode::CREATED, Json(told)))
}

/// Removes a comment: its author, the resource's owner, and administrators.
#[utoipa::path(delete, path = "/api/resources/{id}/comments/{comment}", tag = "library", params(("id" = ResourceId, Path), ("comment" = CommentId, Path)), responses((status = 204), (status = 403, body = crate::error::Body), (status = 404, body = crate::error::Body)))]
async fn take_back(
    State(library): State<Library>,
    actor: Actor,
    Path((id, comment)): Path<(ResourceId, CommentId)>,
) -> Result<StatusCode> {
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let card = summary::card(&library.db, &reader, id)
        .await?
        .ok_or_else(detail::missing)?;
    let mut tx = library.db.begin().await?;
    let author: Option<(PersonId,)> = sqlx::query_as(
        "SELECT person_id FROM resource_comments WHERE id = $1 AND resource_id = $2",
    )
    .bind(comment)
    .bind(id)
    .fetch_optional(&mut *tx)
    .await?;
    let (author,) = author
        .ok_or_else(|| Error::not_found("没有找到这条评论。", "There is no such comment."))?;
    if !card.can_edit && reader.person != Some(author) {
        return Err(Error::forbidden());
    }
    let removed = sqlx::query("DELETE FROM resource_comments WHERE id = $1")
        .bind(comment)
        .execute(&mut *tx)
        .await?;
    sqlx::query("UPDATE resources SET comments = comments - $2 WHERE id = $1")
        .bind(id)
        .bind(removed.rows_affected() as i64)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
