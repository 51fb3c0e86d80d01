//! `GET /api/resources/{id}/file`: download of the original, or of the copy without EXIF.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, header};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::cache_policy;
use crate::download::{Object, attachment, serve_object, storage_error};
use crate::error::{Error, Result};
use crate::extract::{Path, Query};
use crate::identity::Actor;
use crate::ids::ResourceId;
use crate::library::Library;
use crate::library::access::{Reader, visible_version};
use crate::library::analysis::derived;
use crate::library::analysis::facts::{AnalysisState, Facts};
use crate::library::feedback::uses::{UseKind, record_use};
use crate::library::resources::file_name::file_stem;
use crate::library::resources::text::VersionQuery;
use crate::storage::Key;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new().routes(routes!(download_original))
}

/// Object that a download sends, with its file name.
pub struct Downloadable {
    pub key: Key,
    pub name: String,
    pub mime: String,
    pub size_bytes: u64,
    tag: Option<String>,
}

/// Selects the original or, for images requested by others than owner and reviewers, the copy
/// without EXIF: GPS tags of a photo show the home of a teacher or child.
pub async fn downloadable(
    library: &Library,
    reader: &Reader,
    id: ResourceId,
    version: Option<i64>,
) -> Result<Downloadable> {
    let version = visible_version(&library.db, reader, id, version).await?;
    let copy_mime = Facts::parse(&version.facts)
        .picture
        .and_then(|image| image.mime);
    match copy_mime {
        Some(mime) if version.sees_latest == 0 => {
            let key = Key::derived(&version.hash, derived::IMAGE);
            let size_bytes = library
                .storage
                .size_bytes(&key)
                .await
                .map_err(storage_error)?;
            let name = if mime == version.mime {
                version.file_name
            } else {
                with_extension_of(&version.file_name, &mime)
            };
            Ok(Downloadable {
                key,
                name,
                mime,
                size_bytes,
                tag: None,
            })
        }
        None if version.sees_latest == 0 && version.mime.starts_with("image/") => {
            Err(no_copy(version.state))
        }
        _ => Ok(Downloadable {
            key: Key::blob(&version.hash),
            name: version.file_name,
            mime: version.mime,
            size_bytes: version.size_bytes as u64,
            tag: Some(version.hash),
        }),
    }
}

/// Replaces the extension by the one of the media type.
fn with_extension_of(name: &str, mime: &str) -> String {
    let extension = mime.rsplit('/').next().unwrap_or_default();
    format!(
        "{}.{}",
        file_stem(name),
        if extension == "jpeg" {
            "jpg"
        } else {
            extension
        }
    )
}

/// Error for an image without a copy free of EXIF: not analysed yet, or unreadable.
fn no_copy(state: AnalysisState) -> Error {
    match state {
        AnalysisState::Waiting => Error::conflict(
            "being_prepared",
            "这张图片正在整理，几秒后就可以下载。",
            "The picture is being prepared and can be downloaded in a few seconds.",
        ),
        AnalysisState::Ready | AnalysisState::Failed => Error::conflict(
            "no_copy",
            "这张图片无法去除拍摄信息（如拍摄地点），只有上传者可以下载。请上传者转换成 JPEG 后上传新版本。",
            "What the picture says about where it was taken cannot be removed, so only its owner can download it. \
             The owner can upload it anew as JPEG.",
        ),
    }
}

/// Downloads the file under its own name.
#[utoipa::path(get, path = "/api/resources/{id}/file", tag = "library", params(("id" = ResourceId, Path), VersionQuery), responses((status = 200), (status = 206), (status = 404, body = crate::error::Body), (status = 409, body = crate::error::Body)))]
async fn download_original(
    State(library): State<Library>,
    actor: Option<Actor>,
    Path(id): Path<ResourceId>,
    Query(query): Query<VersionQuery>,
    headers: HeaderMap,
) -> Result<Response<Body>> {
    let reader = Reader::of(&library.db, actor.as_ref()).await?;
    let file = downloadable(&library, &reader, id, query.version).await?;
    if let Some(Actor::Person(person)) = &actor
        && !headers.contains_key(header::RANGE)
    {
        record_use(&library.db, id, person.id, UseKind::Download).await?;
    }
    let object = Object {
        key: &file.key,
        size_bytes: file.size_bytes,
        mime: &file.mime,
        cache: cache_policy(&query),
        etag: file.tag.as_deref(),
    };
    let mut response = serve_object(&library.storage, object, &headers).await?;
    response
        .headers_mut()
        .insert(header::CONTENT_DISPOSITION, attachment(&file.name));
    Ok(response)
}
