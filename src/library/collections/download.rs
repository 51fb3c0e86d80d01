//! `GET /api/collections/{id}/zip`.

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::error::Result;
use crate::extract::Path;
use crate::identity::Actor;
use crate::ids::CollectionId;
use crate::library::Library;
use crate::library::access::Reader;
use crate::library::feedback::uses::{UseKind, record_use};
use crate::library::files;
use crate::library::files::zip::{ZipEntry, stream_zip};
use crate::library::resources::file_name::sanitize_file_name;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new().routes(routes!(download_collection))
}

/// Streams a collection's visible resources as one zip.
#[utoipa::path(get, path = "/api/collections/{id}/zip", tag = "library", params(("id" = CollectionId, Path)), responses((status = 200), (status = 404, body = crate::error::Body)))]
async fn download_collection(
    State(library): State<Library>,
    actor: Option<Actor>,
    Path(id): Path<CollectionId>,
) -> Result<Response<Body>> {
    let reader = Reader::of(&library.db, actor.as_ref()).await?;
    let collection = super::find(&library.db, &reader, id).await?;
    let resources = super::resources_of(&library.db, &reader, id).await?;
    if let Some(person) = reader.person {
        for resource in &resources {
            record_use(&library.db, resource.id, person, UseKind::Download).await?;
        }
    }
    let mut entries = Vec::new();
    for resource in &resources {
        let file =
            files::downloadable(&library, &reader, resource.id, Some(resource.version)).await?;
        entries.push(ZipEntry {
            key: file.key,
            name: file.name,
            size_bytes: file.size_bytes,
        });
    }
    stream_zip(
        &library.storage,
        &format!("{}.zip", sanitize_file_name(&collection.title)),
        entries,
    )
}
