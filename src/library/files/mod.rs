//! `/api/resources/{id}/…`: the file as a download, and what was made of it to be shown in the page.

pub mod zip;

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Response, header};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::download::{self, Object, attachment, storage_error};
use crate::error::{Error, Result};
use crate::extract::{Path, Query};
use crate::identity::Actor;
use crate::ids::ResourceId;
use crate::library::Library;
use crate::library::access::Reader;
use crate::library::analysis;
use crate::library::analysis::facts::{Facts, Plays, Understood};
use crate::library::resources::description::stem;
use crate::library::resources::detail::{OfVersion, Seen, seen};
use crate::storage::Key;

/// A version never changes; who had it may keep it.
pub const FOREVER: &str = "private, max-age=31536000, immutable";
/// Without a version in its address, the newest is asked for each time.
const ASK_AGAIN: &str = "private, no-cache";
/// A web page that somebody uploaded, in an origin of its own: it runs nothing, fetches nothing, sends nothing, and only we may frame it.
const INERT: HeaderValue = HeaderValue::from_static(
    "sandbox; default-src 'none'; img-src data:; media-src data:; font-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'",
);

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .routes(routes!(original))
        .routes(routes!(page))
        .routes(routes!(image))
        .routes(routes!(sheets))
        .routes(routes!(media))
        .routes(routes!(web_page))
}

fn cache(asked: &OfVersion) -> &'static str {
    if asked.version.is_some() {
        FOREVER
    } else {
        ASK_AGAIN
    }
}

/// A version that its reader may see, with what was asked of it.
struct Shown {
    library: Library,
    seen: Seen,
    cache: &'static str,
    headers: HeaderMap,
}

/// The variable of the address that all of these have.
#[derive(Deserialize)]
struct Of {
    id: ResourceId,
}

impl FromRequestParts<Library> for Shown {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, library: &Library) -> Result<Self> {
        let Path(Of { id }) = Path::from_request_parts(parts, library).await?;
        let Query(asked) = Query::<OfVersion>::from_request_parts(parts, library).await?;
        let reader = Reader::of(&library.db, parts.extensions.get::<Actor>()).await?;
        let seen = seen(&library.db, &reader, id, asked.version).await?;
        Ok(Self {
            library: library.clone(),
            seen,
            cache: cache(&asked),
            headers: parts.headers.clone(),
        })
    }
}

impl Shown {
    /// The content itself.
    async fn content(&self) -> Result<Response<Body>> {
        let Seen {
            hash,
            mime,
            size_bytes,
            ..
        } = &self.seen;
        let (key, size_bytes) = (Key::blob(hash), *size_bytes as u64);
        let object = Object {
            key: &key,
            size_bytes,
            mime,
            cache: self.cache,
            etag: Some(hash),
        };
        download::serve_object(&self.library.storage, object, &self.headers).await
    }

    /// Something that was made of the content.
    async fn made(&self, name: &str, mime: &str) -> Result<Response<Body>> {
        picture(
            &self.library,
            &Key::derived(&self.seen.hash, name),
            mime,
            self.cache,
            &self.headers,
        )
        .await
    }

    fn facts(&self) -> Facts {
        Facts::of(&self.seen.facts)
    }
}

/// What a reader gets to save.
pub struct HandedOut {
    pub key: Key,
    pub name: String,
    pub mime: String,
    pub size_bytes: u64,
    tag: Option<String>,
}

/// The original. Of a picture, others than its owner and reviewers get the copy without EXIF: a photo says where a teacher or a child lives.
pub async fn handed_out(
    library: &Library,
    reader: &Reader,
    id: ResourceId,
    version: Option<i64>,
) -> Result<HandedOut> {
    let seen = seen(&library.db, reader, id, version).await?;
    let shared = Facts::of(&seen.facts)
        .picture
        .and_then(|picture| picture.mime);
    match shared {
        Some(mime) if seen.insider == 0 => {
            let key = Key::derived(&seen.hash, analysis::IMAGE);
            let size_bytes = library
                .storage
                .size_bytes(&key)
                .await
                .map_err(storage_error)?;
            let name = if mime == seen.mime {
                seen.file_name
            } else {
                renamed(&seen.file_name, &mime)
            };
            Ok(HandedOut {
                key,
                name,
                mime,
                size_bytes,
                tag: None,
            })
        }
        None if seen.insider == 0 && seen.mime.starts_with("image/") => {
            Err(no_copy(seen.understood))
        }
        _ => Ok(HandedOut {
            key: Key::blob(&seen.hash),
            name: seen.file_name,
            mime: seen.mime,
            size_bytes: seen.size_bytes as u64,
            tag: Some(seen.hash),
        }),
    }
}

/// A copy of another type is not called what the original is.
fn renamed(name: &str, mime: &str) -> String {
    let extension = mime.rsplit('/').next().unwrap_or_default();
    format!(
        "{}.{}",
        stem(name),
        if extension == "jpeg" {
            "jpg"
        } else {
            extension
        }
    )
}

/// There is no copy of a picture that may leave: not yet, or because it could not be read.
fn no_copy(understood: Understood) -> Error {
    match understood {
        Understood::Waiting => Error::conflict(
            "being_prepared",
            "这张图片正在整理，几秒后就可以下载。",
            "The picture is being prepared and can be downloaded in a few seconds.",
        ),
        Understood::Ready | Understood::Failed => Error::conflict(
            "no_copy",
            "这张图片无法去除拍摄信息（如拍摄地点），只有上传者可以下载。请上传者转换成 JPEG 后上传新版本。",
            "What the picture says about where it was taken cannot be removed, so only its owner can download it. \
             The owner can upload it anew as JPEG.",
        ),
    }
}

/// The file, to be saved under its own name.
#[utoipa::path(get, path = "/api/resources/{id}/file", tag = "library", params(("id" = ResourceId, Path), OfVersion), responses((status = 200), (status = 206), (status = 404, body = crate::error::Body), (status = 409, body = crate::error::Body)))]
async fn original(
    State(library): State<Library>,
    actor: Option<Actor>,
    Path(id): Path<ResourceId>,
    Query(asked): Query<OfVersion>,
    headers: HeaderMap,
) -> Result<Response<Body>> {
    let reader = Reader::of(&library.db, actor.as_ref()).await?;
    let file = handed_out(&library, &reader, id, asked.version).await?;
    if let Some(Actor::Person(person)) = &actor
        && !headers.contains_key(header::RANGE)
    {
        crate::library::feedback::used(
            &library.db,
            id,
            person.id,
            crate::library::feedback::Way::Download,
        )
        .await?;
    }
    let object = Object {
        key: &file.key,
        size_bytes: file.size_bytes,
        mime: &file.mime,
        cache: cache(&asked),
        etag: file.tag.as_deref(),
    };
    let mut response = download::serve_object(&library.storage, object, &headers).await?;
    response
        .headers_mut()
        .insert(header::CONTENT_DISPOSITION, attachment(&file.name));
    Ok(response)
}

/// A page's picture; `size` is `large` or `small`.
#[utoipa::path(get, path = "/api/resources/{id}/pages/{n}/{size}", tag = "library", params(("id" = ResourceId, Path), ("n" = i64, Path), ("size" = String, Path), OfVersion), responses((status = 200), (status = 404, body = crate::error::Body)))]
async fn page(
    shown: Shown,
    Path((_id, n, size)): Path<(ResourceId, i64, String)>,
) -> Result<Response<Body>> {
    let size = analysis::PageSize::of(&size).ok_or_else(no_part)?;
    shown.made(&size.name(n), "image/webp").await
}

/// A picture without its EXIF.
#[utoipa::path(get, path = "/api/resources/{id}/image", tag = "library", params(("id" = ResourceId, Path), OfVersion), responses((status = 200), (status = 404, body = crate::error::Body)))]
async fn image(shown: Shown) -> Result<Response<Body>> {
    let mime = shown
        .facts()
        .picture
        .and_then(|picture| picture.mime)
        .ok_or_else(no_part)?;
    shown.made(analysis::IMAGE, &mime).await
}

/// The cells of a spreadsheet: a list of sheets, each `{name, rows: {row: {column: text}}, cut}`, rows and columns from 0.
#[utoipa::path(get, path = "/api/resources/{id}/sheets", tag = "library", params(("id" = ResourceId, Path), OfVersion), responses((status = 200), (status = 404, body = crate::error::Body)))]
async fn sheets(shown: Shown) -> Result<Response<Body>> {
    match shown.facts().sheets {
        0 => Err(no_part()),
        _ => shown.made(analysis::SHEETS, "application/json").await,
    }
}

/// What `<video>` or `<audio>` plays (`play`), or its picture (`poster`).
#[utoipa::path(get, path = "/api/resources/{id}/media/{what}", tag = "library", params(("id" = ResourceId, Path), ("what" = String, Path), OfVersion), responses((status = 200), (status = 206), (status = 404, body = crate::error::Body)))]
async fn media(
    shown: Shown,
    Path((_id, what)): Path<(ResourceId, String)>,
) -> Result<Response<Body>> {
    let media = shown.facts().media.ok_or_else(no_part)?;
    match (what.as_str(), media.plays) {
        ("poster", _) if media.has_poster => shown.made(analysis::POSTER, "image/jpeg").await,
        ("play", Some(Plays::Rendition)) => shown.made(analysis::RENDITION, "video/mp4").await,
        ("play", Some(Plays::Original)) => shown.content().await,
        _ => Err(no_part()),
    }
}

/// A web page to look at, as its author wrote it but inert.
#[utoipa::path(get, path = "/api/resources/{id}/html", tag = "library", params(("id" = ResourceId, Path), OfVersion), responses((status = 200), (status = 404, body = crate::error::Body)))]
async fn web_page(shown: Shown) -> Result<Response<Body>> {
    if shown.seen.mime != "text/html" {
        return Err(no_part());
    }
    let mut response = shown.content().await?;
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, INERT);
    Ok(response)
}

/// What was made of a content, as it is stored.
pub async fn picture(
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
    download::serve_object(&library.storage, object, headers).await
}

pub fn no_part() -> Error {
    Error::not_found("这个资源没有这一部分。", "The resource has no such part.")
}
