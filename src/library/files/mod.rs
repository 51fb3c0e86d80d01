//! `/api/resources/{id}/…`: downloads of the original file, and derived files for display in the
//! client.

mod download;
pub mod zip;

pub use download::downloadable;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Response, header};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::download::{Object, serve_object, storage_error};
use crate::error::{Error, Result};
use crate::extract::{Path, Query};
use crate::identity::Actor;
use crate::ids::ResourceId;
use crate::library::Library;
use crate::library::access::{Reader, VisibleVersion, visible_version};
use crate::library::analysis::derived::{self, PageSize};
use crate::library::analysis::facts::{Facts, PlayableFile};
use crate::library::resources::text::VersionQuery;
use crate::storage::Key;

/// Cache policy of URLs with a version: a version never changes.
pub const CACHE_FOREVER: &str = "private, max-age=31536000, immutable";
/// Cache policy of URLs without a version, which refer to the newest one.
const REVALIDATE: &str = "private, no-cache";
/// Content-Security-Policy of uploaded HTML: an opaque origin without scripts, network access and
/// forms, framed only by this site.
const HTML_POLICY: HeaderValue = HeaderValue::from_static(
    "sandbox; default-src 'none'; img-src data:; media-src data:; font-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'",
);

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .merge(download::routes())
        .routes(routes!(get_page_image))
        .routes(routes!(get_image))
        .routes(routes!(get_sheets))
        .routes(routes!(get_media))
        .routes(routes!(get_html))
}

fn cache_policy(query: &VersionQuery) -> &'static str {
    if query.version.is_some() {
        CACHE_FOREVER
    } else {
        REVALIDATE
    }
}

/// Request for a part of a version that the requester may see.
struct VersionRequest {
    library: Library,
    version: VisibleVersion,
    cache: &'static str,
    headers: HeaderMap,
}

/// Path parameter that these routes share.
#[derive(Deserialize)]
struct ResourcePath {
    id: ResourceId,
}

impl FromRequestParts<Library> for VersionRequest {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, library: &Library) -> Result<Self> {
        let Path(ResourcePath { id }) = Path::from_request_parts(parts, library).await?;
        let Query(query) = Query::<VersionQuery>::from_request_parts(parts, library).await?;
        let reader = Reader::of(&library.db, parts.extensions.get::<Actor>()).await?;
        let version = visible_version(&library.db, &reader, id, query.version).await?;
        Ok(Self {
            library: library.clone(),
            version,
            cache: cache_policy(&query),
            headers: parts.headers.clone(),
        })
    }
}

impl VersionRequest {
    /// Responds with the original content.
    async fn respond_with_content(&self) -> Result<Response<Body>> {
        let VisibleVersion {
            hash,
            mime,
            size_bytes,
            ..
        } = &self.version;
        let (key, size_bytes) = (Key::blob(hash), *size_bytes as u64);
        let object = Object {
            key: &key,
            size_bytes,
            mime,
            cache: self.cache,
            etag: Some(hash),
        };
        serve_object(&self.library.storage, object, &self.headers).await
    }

    /// Responds with a derived file.
    async fn respond_with_derived(&self, name: &str, mime: &str) -> Result<Response<Body>> {
        respond_with_object(
            &self.library,
            &Key::derived(&self.version.hash, name),
            mime,
            self.cache,
            &self.headers,
        )
        .await
    }

    fn facts(&self) -> Facts {
        Facts::parse(&self.version.facts)
    }
}

/// Returns the image of a page; `size` is `large` or `small`.
#[utoipa::path(get, path = "/api/resources/{id}/pages/{n}/{size}", tag = "library", params(("id" = ResourceId, Path), ("n" = i64, Path), ("size" = String, Path), VersionQuery), responses((status = 200), (status = 404, body = crate::error::Body)))]
async fn get_page_image(
    request: VersionRequest,
    Path((_id, n, size)): Path<(ResourceId, i64, String)>,
) -> Result<Response<Body>> {
    let size = PageSize::parse(&size).ok_or_else(no_such_part)?;
    request
        .respond_with_derived(&size.file_name(n), "image/webp")
        .await
}

/// Returns an image without EXIF.
#[utoipa::path(get, path = "/api/resources/{id}/image", tag = "library", params(("id" = ResourceId, Path), VersionQuery), responses((status = 200), (status = 404, body = crate::error::Body)))]
async fn get_image(request: VersionRequest) -> Result<Response<Body>> {
    let mime = request
        .facts()
        .picture
        .and_then(|image| image.mime)
        .ok_or_else(no_such_part)?;
    request.respond_with_derived(derived::IMAGE, &mime).await
}

/// Returns the cells of a spreadsheet: a list of sheets, each `{name, rows: {row: {column: text}},
/// cut}`, rows and columns from 0.
#[utoipa::path(get, path = "/api/resources/{id}/sheets", tag = "library", params(("id" = ResourceId, Path), VersionQuery), responses((status = 200), (status = 404, body = crate::error::Body)))]
async fn get_sheets(request: VersionRequest) -> Result<Response<Body>> {
    match request.facts().sheets {
        0 => Err(no_such_part()),
        _ => {
            request
                .respond_with_derived(derived::SHEETS, "application/json")
                .await
        }
    }
}

/// Returns the source of `<video>` or `<audio>` (`play`), or the poster image (`poster`).
#[utoipa::path(get, path = "/api/resources/{id}/media/{what}", tag = "library", params(("id" = ResourceId, Path), ("what" = String, Path), VersionQuery), responses((status = 200), (status = 206), (status = 404, body = crate::error::Body)))]
async fn get_media(
    request: VersionRequest,
    Path((_id, part)): Path<(ResourceId, String)>,
) -> Result<Response<Body>> {
    let media = request.facts().media.ok_or_else(no_such_part)?;
    match (part.as_str(), media.plays) {
        ("poster", _) if media.has_poster => {
            request
                .respond_with_derived(derived::POSTER, "image/jpeg")
                .await
        }
        ("play", Some(PlayableFile::Rendition)) => {
            request
                .respond_with_derived(derived::RENDITION, "video/mp4")
                .await
        }
        ("play", Some(PlayableFile::Original)) => request.respond_with_content().await,
        _ => Err(no_such_part()),
    }
}

/// Returns an uploaded HTML page under a restrictive Content-Security-Policy.
#[utoipa::path(get, path = "/api/resources/{id}/html", tag = "library", params(("id" = ResourceId, Path), VersionQuery), responses((status = 200), (status = 404, body = crate::error::Body)))]
async fn get_html(request: VersionRequest) -> Result<Response<Body>> {
    if request.version.mime != "text/html" {
        return Err(no_such_part());
    }
    let mut response = request.respond_with_content().await?;
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, HTML_POLICY);
    Ok(response)
}

/// Responds with a stored object.
pub async fn respond_with_object(
    library: &Library,
    key: &Key,
    mime: &str,
    cache: &'static str,
    headers: &HeaderMap,
) -> Result<Response<Body>> {
    let size_bytes = library
        .storage
        .size_bytes(key)
        .await
        .map_err(storage_error)?;
    let object = Object {
        key,
        size_bytes,
        mime,
        cache,
        etag: None,
    };
    serve_object(&library.storage, object, headers).await
}

pub fn no_such_part() -> Error {
    Error::not_found("这个资源没有这一部分。", "The resource has no such part.")
}
