//! Changes of descriptions and visibility, one resource or a batch.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::description::Description;
use super::description_columns;
use super::detail::{ResourceDetail, resource_detail};
use super::mark_changed;
use super::summary::{self, ResourceSummary};
use crate::error::{Error, Language, Result};
use crate::extract::{Json, Path};
use crate::identity::Actor;
use crate::ids::ResourceId;
use crate::library::access::{Reader, require_editable};
use crate::library::review::{self, ReviewRequest};
use crate::library::{Library, Visibility};

/// Resources that one batch changes.
const MAX_IN_BATCH: usize = 500;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .routes(routes!(update_resource))
        .routes(routes!(update_resources))
}

/// Fields to set; absent fields stay unchanged.
#[derive(Clone, Default, Deserialize, ToSchema)]
struct ResourceChange {
    #[serde(flatten)]
    description: Description,
    visibility: Option<Visibility>,
    /// Names of fields whose suggested value is correct.
    #[serde(default)]
    confirm: Vec<String>,
}

/// Changes the description or visibility of a resource.
#[utoipa::path(patch, path = "/api/resources/{id}", tag = "library", params(("id" = ResourceId, Path)), request_body = ResourceChange, responses((status = 200, body = ResourceDetail), (status = 403, body = crate::error::Body), (status = 404, body = crate::error::Body)))]
async fn update_resource(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<ResourceId>,
    headers: HeaderMap,
    Json(form): Json<ResourceChange>,
) -> Result<Json<ResourceDetail>> {
    require_editable(&library.db, &actor, id).await?;
    apply(&library, &actor, &[id], form).await?;
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let language = Language::of(headers.get(header::ACCEPT_LANGUAGE));
    Ok(Json(
        resource_detail(&library.db, &reader, id, language).await?,
    ))
}

#[derive(Deserialize, ToSchema)]
struct BatchChange {
    ids: Vec<ResourceId>,
    /// Change that applies to each of them.
    set: ResourceChange,
}

#[derive(Serialize, ToSchema)]
struct ChangedResources {
    items: Vec<ResourceSummary>,
}

/// Applies one change to many resources, all of them or none.
#[utoipa::path(post, path = "/api/resources/batch", tag = "library", request_body = BatchChange, responses((status = 200, body = ChangedResources), (status = 403, body = crate::error::Body), (status = 404, body = crate::error::Body)))]
async fn update_resources(
    State(library): State<Library>,
    actor: Actor,
    Json(form): Json<BatchChange>,
) -> Result<Json<ChangedResources>> {
    if form.ids.len() > MAX_IN_BATCH {
        return Err(Error::field(
            "ids",
            "一次最多修改 500 个资源。",
            "At most 500 resources at a time.",
        ));
    }
    for id in &form.ids {
        require_editable(&library.db, &actor, *id).await?;
    }
    apply(&library, &actor, &form.ids, form.set).await?;
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    Ok(Json(ChangedResources {
        items: summary::by_ids(&library.db, &reader, &form.ids).await?,
    }))
}

async fn apply(
    library: &Library,
    actor: &Actor,
    ids: &[ResourceId],
    form: ResourceChange,
) -> Result<()> {
    let description = form.description.validate()?;
    let mut tx = library.db.begin().await?;
    for id in ids {
        // Locks the row first, so that a concurrent analysis suggests before or after this change.
        mark_changed(&mut tx, *id).await?;
        let mut origins = description_columns::field_origins(&mut tx, *id).await?;
        origins
            .confirmed
            .extend(description.fields().into_iter().map(str::to_owned));
        let suggested = &origins.suggested;
        let confirmed = form
            .confirm
            .iter()
            .filter(|field| suggested.contains(field));
        origins.confirmed.extend(confirmed.cloned());
        origins.confirmed.sort_unstable();
        origins.confirmed.dedup();
        origins
            .suggested
            .retain(|field| !origins.confirmed.contains(field));
        description_columns::update(&mut tx, *id, &description, &origins).await?;
        if let Some(visibility) = form.visibility {
            review::request(&mut tx, actor, *id, ReviewRequest::Visibility(visibility)).await?;
        }
    }
    tx.commit().await?;
    Ok(())
}
