//! `/api/resources/{id}/rating`: one rating of 1 to 5 stars per person.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::db::millis;
use crate::error::{Error, Result};
use crate::extract::{Json, Path, now};
use crate::identity::Actor;
use crate::ids::{PersonId, ResourceId};
use crate::library::access::{Reader, visible_resource};
use crate::library::{Library, index_source};

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new().routes(routes!(rate_resource))
}

#[derive(Deserialize, ToSchema)]
struct RatingForm {
    /// 1 to 5; 0 removes the rating.
    stars: i64,
}

#[derive(Serialize, ToSchema)]
struct RatingState {
    rating: Option<f64>,
    ratings: i64,
    my_rating: Option<i64>,
}

/// Rates a resource of another owner.
#[utoipa::path(put, path = "/api/resources/{id}/rating", tag = "library", params(("id" = ResourceId, Path)), request_body = RatingForm, responses((status = 200, body = RatingState), (status = 409, body = crate::error::Body)))]
async fn rate_resource(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<ResourceId>,
    Json(form): Json<RatingForm>,
) -> Result<Json<RatingState>> {
    if !(0..=5).contains(&form.stars) {
        return Err(Error::field(
            "stars",
            "评分为 1 到 5 颗星。",
            "A rating has 1 to 5 stars.",
        ));
    }
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let resource = visible_resource(&library.db, &reader, id).await?;
    let person = PersonId(actor.id());
    if resource.owner.id == person {
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
    index_source::enqueue(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(RatingState {
        rating: (count > 0).then(|| sum as f64 / count as f64),
        ratings: count,
        my_rating: Some(form.stars).filter(|stars| *stars > 0),
    }))
}
