//! `POST /api/uploads`: creation of an upload, optionally with its first bytes.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::partial_file::Checkpoint;
use super::routes::{upload_response, with_tus_headers};
use super::tus::{self, ExpectedChecksum};
use super::{Upload, quota};
use crate::db::millis;
use crate::error::{Error, Result};
use crate::extract::{line, now};
use crate::identity::Actor;
use crate::ids::{PersonId, UploadId};
use crate::library::Library;
use crate::library::access::{require_editable, require_editable_collection};
use crate::library::content::ingest::IngestOptions;
use crate::library::resources::description::{Description, multiline};
use crate::library::resources::file_name::sanitize_file_name;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new().routes(routes!(create_upload))
}

/// Creates an upload (tus creation and creation-with-upload). Keys of `Upload-Metadata`:
/// `filename`, `relativePath`, `resource` (adds a version to it), `changes`, `collection`,
/// `visibility`, and the fields of a description.
#[utoipa::path(post, path = "/api/uploads", tag = "library", responses((status = 201), (status = 413, body = crate::error::Body), (status = 507, body = crate::error::Body)))]
async fn create_upload(
    State(library): State<Library>,
    actor: Actor,
    headers: HeaderMap,
    body: Body,
) -> Response {
    with_tus_headers(create_and_append(library, actor, headers, body).await)
}

async fn create_and_append(
    library: Library,
    actor: Actor,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    tus::check_version(&headers)?;
    let size_bytes = tus::number(&headers, &tus::LENGTH)?;
    let (file_name, options) = ingest_options(&library, &actor, &headers).await?;
    let uploads = &library.uploads;
    quota::check(
        &library.db,
        &library.config.library,
        &uploads.inner.folder,
        &actor,
        size_bytes,
    )
    .await?;
    let upload = Upload {
        id: UploadId::fresh(),
        person: PersonId(actor.id()),
        file_name,
        size_bytes,
        checkpoint: Checkpoint::start(),
        options,
        outcome: None,
        created_at: millis(now()),
        expires_at: millis(uploads.expiry()),
    };
    uploads.create(&upload).await?;
    let location = format!("/api/uploads/{}", upload.id);
    let upload = match tus::carries_chunk(&headers) {
        true => {
            uploads
                .append(upload.id, 0, body, ExpectedChecksum::parse(&headers)?)
                .await?
        }
        false => upload,
    };
    let mut response = upload_response(&upload, StatusCode::CREATED);
    response.headers_mut().insert(
        header::LOCATION,
        HeaderValue::try_from(location).map_err(Error::internal)?,
    );
    Ok(response)
}

/// Parses the metadata into file name and options. Invalid or forbidden targets are rejected before
/// any bytes are sent.
async fn ingest_options(
    library: &Library,
    actor: &Actor,
    headers: &HeaderMap,
) -> Result<(String, IngestOptions)> {
    let metadata = tus::metadata(headers)?;
    let text = |key: &str| {
        metadata
            .get(key)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    };
    let name = text("filename").or(text("name")).unwrap_or_default();
    let folder = text("relativePath")
        .and_then(|path| path.rsplit_once('/'))
        .map_or("", |(folder, _)| folder);
    let invalid = |field: &'static str| {
        Error::field(
            field,
            "这一项的内容不符合要求。",
            "This field cannot be taken.",
        )
    };
    let options = IngestOptions {
        resource: text("resource")
            .map(str::parse)
            .transpose()
            .map_err(|_| invalid("resource"))?,
        changes: multiline("changes", text("changes").unwrap_or_default(), 1000)?,
        folder: line("relativePath", folder, 0..=400)?,
        collection: text("collection")
            .map(str::parse)
            .transpose()
            .map_err(|_| invalid("collection"))?,
        visibility: text("visibility")
            .map(str::parse)
            .transpose()
            .map_err(|_| invalid("visibility"))?,
        description: Description::parse_metadata(&metadata)?,
    };
    if let Some(resource) = options.resource {
        require_editable(&library.db, actor, resource).await?;
    }
    if let Some(collection) = options.collection {
        require_editable_collection(&library.db, actor, collection).await?;
    }
    Ok((sanitize_file_name(name), options))
}
