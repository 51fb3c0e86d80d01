//! `POST /api/uploads/known`: deduplication before an upload.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::error::{Error, Result};
use crate::extract::Json;
use crate::identity::Actor;
use crate::library::Library;
use crate::library::access::Reader;
use crate::library::resources::summary::{self, ResourceSummary};

/// Hashes of one request; clients query a large folder in batches.
const MAX_HASHES: usize = 200;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new().routes(routes!(list_known_content))
}

#[derive(Deserialize, ToSchema)]
struct ContentQuery {
    /// SHA-256 of files, in hexadecimal digits.
    sha256s: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct KnownContentList {
    items: Vec<KnownContent>,
}

/// Stored content with a resource that has it.
#[derive(Serialize, ToSchema)]
struct KnownContent {
    sha256: String,
    resource: ResourceSummary,
}

/// Returns those of the contents that are stored and that the requester may see.
#[utoipa::path(post, path = "/api/uploads/known", tag = "library", request_body = ContentQuery, responses((status = 200, body = KnownContentList)))]
async fn list_known_content(
    State(library): State<Library>,
    actor: Actor,
    Json(query): Json<ContentQuery>,
) -> Result<Json<KnownContentList>> {
    if query.sha256s.len() > MAX_HASHES {
        return Err(Error::field(
            "sha256s",
            "一次最多查询 200 个文件。",
            "At most 200 files at a time.",
        ));
    }
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let found = summary::by_content(&library.db, &reader, &query.sha256s).await?;
    Ok(Json(KnownContentList {
        items: found
            .into_iter()
            .map(|(sha256, resource)| KnownContent { sha256, resource })
            .collect(),
    }))
}
