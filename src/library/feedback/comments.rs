//! `/api/resources/{id}/comments`: comments on a resource or on one page of it.

use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::db::{MAX_ROWS, millis, time};
use crate::error::{Error, Result};
use crate::extract::{Json, Path, now};
use crate::identity::Actor;
use crate::ids::{CommentId, PersonId, ResourceId};
use crate::library::Library;
use crate::library::access::{Reader, visible_resource};
use crate::library::resources::description::multiline;
use crate::library::resources::summary::Owner;

/// A comment is a remark, not an essay.
const COMMENT_CHARS: usize = 2000;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .routes(routes!(list_comments, create_comment))
        .routes(routes!(delete_comment))
}

#[derive(Serialize, ToSchema)]
struct Comment {
    id: CommentId,
    by: Owner,
    /// Page of the file that the comment refers to.
    page: Option<i64>,
    text: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// The requester may delete it.
    can_remove: bool,
}

#[derive(Serialize, ToSchema)]
struct Comments {
    items: Vec<Comment>,
}

/// Lists the comments on a resource, oldest first.
#[utoipa::path(get, path = "/api/resources/{id}/comments", tag = "library", params(("id" = ResourceId, Path)), responses((status = 200, body = Comments), (status = 404, body = crate::error::Body)))]
async fn list_comments(
    State(library): State<Library>,
    actor: Option<Actor>,
    Path(id): Path<ResourceId>,
) -> Result<Json<Comments>> {
    let reader = Reader::of(&library.db, actor.as_ref()).await?;
    let resource = visible_resource(&library.db, &reader, id).await?;
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
            can_remove: resource.can_edit || reader.person == Some(person),
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
    /// Page of the file that the comment refers to.
    page: Option<i64>,
}

/// Adds a comment to a resource.
#[utoipa::path(post, path = "/api/resources/{id}/comments", tag = "library", params(("id" = ResourceId, Path)), request_body = NewComment, responses((status = 201, body = Comment), (status = 404, body = crate::error::Body)))]
async fn create_comment(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<ResourceId>,
    Json(form): Json<NewComment>,
) -> Result<(StatusCode, Json<Comment>)> {
    let text = multiline("text", &form.text, COMMENT_CHARS)?;
    if text.is_empty() {
        return Err(Error::field(
            "text",
            "请填写评论内容。",
            "Please write something.",
        ));
    }
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let resource = visible_resource(&library.db, &reader, id).await?;
    if form
        .page
        .is_some_and(|page| !(1..=resource.preview.pages).contains(&page))
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
    let comment = Comment {
        id: comment,
        by,
        page,
        text,
        created_at: at,
        can_remove: true,
    };
    Ok((StatusCode::CREATED, Json(comment)))
}

/// Deletes a comment. Allowed for its author, the resource's owner and administrators.
#[utoipa::path(delete, path = "/api/resources/{id}/comments/{comment}", tag = "library", params(("id" = ResourceId, Path), ("comment" = CommentId, Path)), responses((status = 204), (status = 403, body = crate::error::Body), (status = 404, body = crate::error::Body)))]
async fn delete_comment(
    State(library): State<Library>,
    actor: Actor,
    Path((id, comment)): Path<(ResourceId, CommentId)>,
) -> Result<StatusCode> {
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let resource = visible_resource(&library.db, &reader, id).await?;
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
    if !resource.can_edit && reader.person != Some(author) {
        return Err(Error::forbidden());
    }
    let deleted = sqlx::query("DELETE FROM resource_comments WHERE id = $1")
        .bind(comment)
        .execute(&mut *tx)
        .await?;
    sqlx::query("UPDATE resources SET comments = comments - $2 WHERE id = $1")
        .bind(id)
        .bind(deleted.rows_affected() as i64)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
