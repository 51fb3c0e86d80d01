//! `POST /api/resources`: a resource from stored content.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::description::{Description, multiline};
use super::file_name::sanitize_file_name;
use super::summary;
use crate::error::{Error, Result};
use crate::extract::Json;
use crate::identity::Actor;
use crate::ids::{CollectionId, PersonId, ResourceId};
use crate::library::access::{Reader, require_editable, require_editable_collection};
use crate::library::content::ingest::{Content, IncomingFile, IngestOptions};
use crate::library::content::sniff;
use crate::library::{Library, Visibility};

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new().routes(routes!(create_resource))
}

/// New resource, or new version, from content that the library already stores.
#[derive(Deserialize, ToSchema)]
struct NewResource {
    sha256: String,
    file_name: String,
    /// Resource that gets a new version.
    resource_id: Option<ResourceId>,
    #[serde(default)]
    changes: String,
    collection_id: Option<CollectionId>,
    visibility: Option<Visibility>,
    #[serde(default)]
    description: Description,
}

#[derive(Serialize, ToSchema)]
struct CreatedResource {
    id: ResourceId,
    version: i64,
}

/// Creates a resource from content that the requester can see, without an upload.
#[utoipa::path(post, path = "/api/resources", tag = "library", request_body = NewResource, responses((status = 201, body = CreatedResource), (status = 404, body = crate::error::Body)))]
async fn create_resource(
    State(library): State<Library>,
    actor: Actor,
    Json(form): Json<NewResource>,
) -> Result<(StatusCode, Json<CreatedResource>)> {
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let hash = form.sha256.to_ascii_lowercase();
    let known = summary::by_content(&library.db, &reader, std::slice::from_ref(&hash)).await?;
    let (_, summary) = known.into_iter().next().ok_or_else(|| {
        Error::not_found(
            "资源库中没有这个文件，请上传。",
            "The library does not have this file. Please upload it.",
        )
    })?;
    if let Some(resource) = form.resource_id {
        require_editable(&library.db, &actor, resource).await?;
    }
    if let Some(collection) = form.collection_id {
        require_editable_collection(&library.db, &actor, collection).await?;
    }
    let options = IngestOptions {
        resource: form.resource_id,
        changes: multiline("changes", &form.changes, 1000)?,
        folder: String::new(),
        collection: form.collection_id,
        visibility: form.visibility,
        description: form.description.validate()?,
    };
    // The content has a row already, so the sniffed type is not stored.
    let sniffed = sniff::sniff(&[]);
    let content = Content {
        hash,
        size_bytes: summary.file.size_bytes as u64,
        sniffed,
    };
    let _paused = library.content.pause_garbage_collection().await;
    let file = IncomingFile {
        person: PersonId(actor.id()),
        file_name: sanitize_file_name(&form.file_name),
        content,
        options,
        upload: None,
    };
    let (id, version) = library.content.ingest(file).await?;
    Ok((StatusCode::CREATED, Json(CreatedResource { id, version })))
}
