//! Review before publication: if a school enables it, resources of its members become visible to
//! others only after a reviewer approves them. The previously approved version stays visible
//! meanwhile.

mod settings;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use sqlx::{Any, Transaction};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::error::{Error, Result};
use crate::extract::{Json, Path};
use crate::identity::Actor;
use crate::ids::{PersonId, ResourceId, SchoolId};
use crate::library::access::{Reader, is_reviewer, visible_resource};
use crate::library::resources::description::multiline;
use crate::library::resources::mark_changed;
use crate::library::{Library, Visibility, index_source};

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .routes(routes!(decide_review))
        .merge(settings::routes())
}

/// Request of an owner.
#[derive(Clone, Copy, Debug)]
pub enum ReviewRequest {
    Visibility(Visibility),
    /// Resubmission after a reviewer returned the resource.
    Resubmit,
}

/// Sets the visibility of a resource, or leaves it pending for the school's reviewers if the change
/// widens the audience.
pub async fn request(
    tx: &mut Transaction<'static, Any>,
    actor: &Actor,
    id: ResourceId,
    request: ReviewRequest,
) -> Result<()> {
    let (current, asked, latest, published, school, reviews): (
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
    let asked = match request {
        ReviewRequest::Visibility(visibility) => visibility,
        ReviewRequest::Resubmit => asked,
    };
    let widens = asked as u8 > current as u8;
    let is_pending = reviews > 0
        && (published < latest || widens)
        && asked != Visibility::Private
        && !is_reviewer(tx, actor, school).await?;
    // Narrowing visibility needs no review.
    let effective = if is_pending && widens { current } else { asked };
    sqlx::query(
        "UPDATE resources SET asked_visibility = $2, visibility = $3, published = CASE WHEN $4 = 1 THEN published ELSE latest END,
            review = CASE WHEN $4 = 1 THEN 'pending' WHEN review IN ('pending', 'returned') THEN 'none' ELSE review END
         WHERE id = $1",
    )
    .bind(id)
    .bind(asked)
    .bind(effective)
    .bind(i64::from(is_pending))
    .execute(&mut **tx)
    .await?;
    if (effective as u8) < current as u8 {
        index_source::enqueue_hidden(tx, id).await?;
    }
    Ok(())
}

crate::string_enum! {
    /// Action of a reviewer or, for `submit`, of the owner.
    ReviewAction {
        /// Publishes the newest version with the requested visibility.
        Approve = "approve",
        /// Requests changes from the owner.
        Return = "return",
        /// Resubmits a returned resource.
        Submit = "submit",
    }
}

#[derive(Deserialize, ToSchema)]
struct ReviewDecision {
    action: ReviewAction,
    #[serde(default)]
    note: String,
}

/// Approves or returns a pending resource (reviewers), or resubmits it (the owner).
#[utoipa::path(post, path = "/api/resources/{id}/review", tag = "library", params(("id" = ResourceId, Path)), request_body = ReviewDecision, responses((status = 204), (status = 403, body = crate::error::Body), (status = 409, body = crate::error::Body)))]
async fn decide_review(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<ResourceId>,
    Json(form): Json<ReviewDecision>,
) -> Result<StatusCode> {
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let resource = visible_resource(&library.db, &reader, id).await?;
    let note = multiline("note", &form.note, 1000)?;
    let mut tx = library.db.begin().await?;
    match form.action {
        ReviewAction::Submit if resource.can_edit => {
            request(&mut tx, &actor, id, ReviewRequest::Resubmit).await?;
        }
        ReviewAction::Submit => return Err(Error::forbidden()),
        ReviewAction::Approve | ReviewAction::Return => {
            if !is_reviewer(&mut tx, &actor, resource.school.map(|school| school.id)).await? {
                return Err(Error::forbidden());
            }
            let approved = i64::from(form.action == ReviewAction::Approve);
            let updated = sqlx::query(
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
            // Only the version that the reviewer saw, not one uploaded since.
            .bind(resource.version)
            .execute(&mut *tx)
            .await?;
            if updated.rows_affected() == 0 {
                return Err(nothing_to_review());
            }
            // Reviewers lose access unless the published visibility includes them.
            index_source::enqueue_hidden(&mut tx, id).await?;
        }
    }
    mark_changed(&mut tx, id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn nothing_to_review() -> Error {
    Error::conflict(
        "nothing_to_review",
        "这个资源当前没有待审核的内容，请刷新页面。",
        "Nothing of this resource waits for review now. Reload the page.",
    )
}
