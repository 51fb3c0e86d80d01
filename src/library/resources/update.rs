//! What is said of resources, changed one by one and in batches.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::error::{Error, Language, Result};
use crate::extract::{Json, Path};
use crate::identity::Actor;
use crate::ids::ResourceId;
use crate::library::Library;
use crate::library::Visibility;
use crate::library::access::Reader;
use crate::library::content::ingest;
use crate::library::resources::description::Description;
use crate::library::resources::detail::{Resource, editable, whole};
use crate::library::resources::summary::{self, ResourceCard};
use crate::library::review::{self, Asked};

/// Resources that one batch changes.
const MOST_IN_BATCH: usize = 500;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .routes(routes!(change))
        .routes(routes!(batch))
}

/// What to set; absent fields stay.
#[derive(Clone, Default, Deserialize, ToSchema)]
struct Change {
    #[serde(flatten)]
    description: Description,
    visibility: Option<Visibility>,
    /// Fields whose suggestion is right as it stands.
    #[serde(default)]
    confirm: Vec<String>,
}

/// Changes what is said of a resource, and who may see it.
#[utoipa::path(patch, path = "/api/resources/{id}", tag = "library", params(("id" = ResourceId, Path)), request_body = Change, responses((status = 200, body = Resource), (status = 403, body = crate::error::Body), (status = 404, body = crate::error::Body)))]
async fn change(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<ResourceId>,
    headers: HeaderMap,
    Json(form): Json<Change>,
) -> Result<Json<Resource>> {
    editable(&library, &actor, id).await?;
    let form = Change {
        description: form.description.check()?,
        ..form
    };
    apply(&library, &actor, &[id], &form).await?;
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let language = Language::of(headers.get(header::ACCEPT_LANGUAGE));
    Ok(Json(whole(&library.db, &reader, id, language).await?))
}

#[derive(Deserialize, ToSchema)]
struct Batch {
    ids: Vec<ResourceId>,
    /// The same change for all of them.
    set: Change,
}

#[derive(Serialize, ToSchema)]
struct Changed {
    items: Vec<ResourceCard>,
}

/// The same change to many resources, all of them or none.
#[utoipa::path(post, path = "/api/resources/batch", tag = "library", request_body = Batch, responses((status = 200, body = Changed), (status = 403, body = crate::error::Body), (status = 404, body = crate::error::Body)))]
async fn batch(
    State(library): State<Library>,
    actor: Actor,
    Json(form): Json<Batch>,
) -> Result<Json<Changed>> {
    if form.ids.len() > MOST_IN_BATCH {
        return Err(Error::field(
            "ids",
            "一次最多修改 500 个资源。",
            "At most 500 resources at a time.",
        ));
    }
    for id in &form.ids {
        editable(&library, &actor, *id).await?;
    }
    let set = Change {
        description: form.set.description.check()?,
        ..form.set
    };
    apply(&library, &actor, &form.ids, &set).await?;
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    Ok(Json(Changed {
        items: summary::by_ids(&library.db, &reader, &form.ids).await?,
    }))
}

async fn apply(library: &Library, actor: &Actor, ids: &[ResourceId], form: &Change) -> Result<()> {
    let mut tx = library.db.begin().await?;
    let said = &form.description;
    let keywords = said.keywords.as_deref().map(ingest::json).transpose()?;
    for id in ids {
        // First, because it locks the row: what is suggested at this moment comes before or after.
        ingest::changed(&mut tx, *id).await?;
        let (suggested, settled): (String, String) =
            sqlx::query_as("SELECT suggested, settled FROM resources WHERE id = $1")
                .bind(id)
                .fetch_one(&mut *tx)
                .await?;
        let mut suggested: Vec<String> = serde_json::from_str(&suggested).unwrap_or_default();
        let mut settled: BTreeSet<String> = serde_json::from_str(&settled).unwrap_or_default();
        settled.extend(said.fields().into_iter().map(str::to_owned));
        settled.extend(
            form.confirm
                .iter()
                .filter(|field| suggested.contains(field))
                .cloned(),
        );
        suggested.retain(|field| !settled.contains(field));
        sqlx::query(
            "UPDATE resources SET title = COALESCE($2, title), description = COALESCE($3, description), kind = COALESCE($4, kind),
                stage = COALESCE($5, stage), grade = COALESCE($6, grade), subject = COALESCE($7, subject),
                edition = COALESCE($8, edition), volume = COALESCE($9, volume), unit = COALESCE($10, unit),
                period = COALESCE($11, period), keywords = COALESCE($12, keywords), licence = COALESCE($13, licence),
                source = COALESCE($14, source), suggested = $15, settled = $16 WHERE id = $1",
        )
        .bind(id)
        .bind(said.title.clone())
        .bind(said.description.clone())
        .bind(said.kind)
        .bind(said.stage.clone())
        .bind(said.grade.clone())
        .bind(said.subject.clone())
        .bind(said.edition.clone())
        .bind(said.volume.clone())
        .bind(said.unit.clone())
        .bind(said.period.clone())
        .bind(keywords.clone())
        .bind(said.licence.clone())
        .bind(said.source.clone())
        .bind(ingest::json(&suggested)?)
        .bind(ingest::json(&Vec::from_iter(settled))?)
        .execute(&mut *tx)
        .await?;
        if let Some(visibility) = form.visibility {
            review::ask(&mut tx, actor, *id, Asked::Visibility(visibility)).await?;
        }
    }
    tx.commit().await?;
    Ok(())
}
