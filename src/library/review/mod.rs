//! Before publication: where a school wants it, what its people share is seen by others only after a reviewer approved it. What was
//! approved before stays visible meanwhile.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sqlx::{Any, Transaction};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::db::is_foreign_key_violation;
use crate::error::{Error, Result};
use crate::extract::{Json, Path};
use crate::identity::Actor;
use crate::ids::{PersonId, ResourceId, SchoolId};
use crate::library::Library;
use crate::library::Visibility;
use crate::library::access::Reader;
use crate::library::content::ingest;
use crate::library::index_source;
use crate::library::resources::description::paragraph;
use crate::library::resources::detail;
use crate::library::resources::summary;

/// A school has a handful of subject leaders.
const MOST_REVIEWERS: usize = 100;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .routes(routes!(decide))
        .routes(routes!(setting, set))
}

/// What an owner asks for.
#[derive(Clone, Copy, Debug)]
pub enum Asked {
    Visibility(Visibility),
    /// The same again, after a reviewer returned it.
    Again,
}

/// Sets who may see a resource, or asks its school's reviewers when it is to be seen by more people than now.
pub async fn ask(
    tx: &mut Transaction<'static, Any>,
    actor: &Actor,
    id: ResourceId,
    asked: Asked,
) -> Result<()> {
    let (present, wanted, latest, published, school, reviews): (
        Visibility,
        Visibility,
        i64,
        i64,
        Option<SchoolId>,
        i64,
    ) = sqlx::query_as(
        "SELECT visibility, asked_visibility, latest, published, school_id,
                (SELECT COUNT(*) FROM library_schools l WHERE l.school_id = resources.school_id AND l.reviews = 1)
             FROM resources WHERE id = $1",
    )
    .bind(id)
    .fetch_one(&mut **tx)
    .await?;
    let wanted = match asked {
        Asked::Visibility(visibility) => visibility,
        Asked::Again => wanted,
    };
    let is_new = published < latest || wanted as u8 > present as u8;
    let waits = reviews > 0
        && is_new
        && wanted != Visibility::Private
        && !reviews_for(tx, actor, school).await?;
    // What is to be seen by fewer people is so at once.
    let holds = if waits && wanted as u8 > present as u8 {
        present
    } else {
        wanted
    };
    sqlx::query(
        "UPDATE resources SET asked_visibility = $2, visibility = $3, published = CASE WHEN $4 = 1 THEN published ELSE latest END,
            review = CASE WHEN $4 = 1 THEN 'pending' WHEN review IN ('pending', 'returned') THEN 'none' ELSE review END
         WHERE id = $1",
    )
    .bind(id)
    .bind(wanted)
    .bind(holds)
    .bind(i64::from(waits))
    .execute(&mut **tx)
    .await?;
    if (holds as u8) < present as u8 {
        index_source::hide(tx, id).await?;
    }
    Ok(())
}

/// Whether the actor decides for that school what is published.
async fn reviews_for(
    tx: &mut Transaction<'static, Any>,
    actor: &Actor,
    school: Option<SchoolId>,
) -> Result<bool> {
    if actor.is_administrator() {
        return Ok(true);
    }
    let (found,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM library_reviewers WHERE school_id = $1 AND person_id = $2",
    )
    .bind(school)
    .bind(PersonId(actor.id()))
    .fetch_one(&mut **tx)
    .await?;
    Ok(found > 0)
}

crate::string_enum! {
    /// What is done with a review.
    Step {
        /// The reviewer publishes what was asked for.
        Approve = "approve",
        /// The reviewer wants something changed.
        Return = "return",
        /// The owner asks again.
        Submit = "submit",
    }
}

#[derive(Deserialize, ToSchema)]
struct Decision {
    action: Step,
    #[serde(default)]
    note: String,
}

/// Approves or returns what waits (reviewers), or asks again (the owner).
#[utoipa::path(post, path = "/api/resources/{id}/review", tag = "library", params(("id" = ResourceId, Path)), request_body = Decision, responses((status = 204), (status = 403, body = crate::error::Body), (status = 409, body = crate::error::Body)))]
async fn decide(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<ResourceId>,
    Json(form): Json<Decision>,
) -> Result<StatusCode> {
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let card = summary::card(&library.db, &reader, id)
        .await?
        .ok_or_else(detail::missing)?;
    let note = paragraph("note", &form.note, 1000)?;
    let mut tx = library.db.begin().await?;
    match form.action {
        Step::Submit if card.can_edit => ask(&mut tx, &actor, id, Asked::Again).await?,
        Step::Submit => return Err(Error::forbidden()),
        Step::Approve | Step::Return => {
            if !reviews_for(&mut tx, &actor, card.school.map(|school| school.id)).await? {
                return Err(Error::forbidden());
            }
            let approved = i64::from(form.action == Step::Approve);
            let done = sqlx::query(
                "UPDATE resources SET review = CASE WHEN $2 = 1 THEN 'approved' ELSE 'returned' END,
                    visibility = CASE WHEN $2 = 1 THEN asked_visibility ELSE visibility END,
                    published = CASE WHEN $2 = 1 THEN latest ELSE published END,
                    review_note = $3, reviewer_id = $4
                 WHERE id = $1 AND review = 'pending' AND latest = $5",
            )
            .bind(id)
            .bind(approved)
            .bind(note)
            .bind(PersonId(actor.id()))
            // What the reviewer looked at, not what came a moment later.
            .bind(card.version)
            .execute(&mut *tx)
            .await?;
            if done.rows_affected() == 0 {
                return Err(nothing_waits());
            }
            // Reviewers find it no more unless it is published for them.
            index_source::hide(&mut tx, id).await?;
        }
    }
    ingest::changed(&mut tx, id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn nothing_waits() -> Error {
    Error::conflict(
        "nothing_to_review",
        "这个资源当前没有待审核的内容，请刷新页面。",
        "Nothing of this resource waits for review now. Reload the page.",
    )
}

/// What a school wants of its shelf.
#[derive(Serialize, Deserialize, ToSchema)]
struct SchoolLibrary {
    /// Others see what this school's people share only after a reviewer approved it.
    reviews: bool,
    reviewer_ids: Vec<PersonId>,
}

/// A school's library setting.
#[utoipa::path(get, path = "/api/schools/{id}/library", tag = "library", params(("id" = SchoolId, Path)), responses((status = 200, body = SchoolLibrary)))]
async fn setting(
    State(library): State<Library>,
    Path(id): Path<SchoolId>,
) -> Result<Json<SchoolLibrary>> {
    let reviews: Option<(i64,)> =
        sqlx::query_as("SELECT reviews FROM library_schools WHERE school_id = $1")
            .bind(id)
            .fetch_optional(library.db.pool())
            .await?;
    let reviewers: Vec<(PersonId,)> = sqlx::query_as(
        "SELECT person_id FROM library_reviewers WHERE school_id = $1 ORDER BY person_id",
    )
    .bind(id)
    .fetch_all(library.db.pool())
    .await?;
    Ok(Json(SchoolLibrary {
        reviews: reviews.is_some_and(|(reviews,)| reviews != 0),
        reviewer_ids: reviewers.into_iter().map(|(id,)| id).collect(),
    }))
}

/// Sets a school's library setting.
#[utoipa::path(put, path = "/api/schools/{id}/library", tag = "library", params(("id" = SchoolId, Path)), request_body = SchoolLibrary, responses((status = 204), (status = 422, body = crate::error::Body)))]
async fn set(
    State(library): State<Library>,
    Path(id): Path<SchoolId>,
    Json(form): Json<SchoolLibrary>,
) -> Result<StatusCode> {
    if form.reviewer_ids.len() > MOST_REVIEWERS {
        return Err(Error::field(
            "reviewer_ids",
            "审核人最多 100 位。",
            "At most 100 reviewers.",
        ));
    }
    let unknown = |error| match is_foreign_key_violation(&error) {
        true => Error::field(
            "reviewer_ids",
            "没有找到这所学校或这位审核人。",
            "There is no such school or reviewer.",
        ),
        false => error.into(),
    };
    let mut tx = library.db.begin().await?;
    sqlx::query(
        "INSERT INTO library_schools (school_id, reviews) VALUES ($1, $2)
         ON CONFLICT (school_id) DO UPDATE SET reviews = excluded.reviews",
    )
    .bind(id)
    .bind(i64::from(form.reviews))
    .execute(&mut *tx)
    .await
    .map_err(unknown)?;
    sqlx::query("DELETE FROM library_reviewers WHERE school_id = $1")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    for reviewer in form.reviewer_ids {
        sqlx::query("INSERT INTO library_reviewers (school_id, person_id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(id)
            .bind(reviewer)
            .execute(&mut *tx)
            .await
            .map_err(unknown)?;
    }
    index_source::reviewers_changed(&mut tx, id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
