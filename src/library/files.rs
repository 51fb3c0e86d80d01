//! `/api/resources/{id}/…`: the file as a download, and what was made of it to be shown in the page.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Response, header};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::describe::stem;
use super::facts::{Facts, Plays, Understood};
use super::reach::Reader;
use super::resources::{OfVersion, Seen, seen};
use super::{ResourceId, understand};
use crate::app::App;
use crate::download::{self, Object, attachment, away};
use crate::error::{Error, Result};
use crate::extract::{Path, Query};
use crate::identity::Actor;
use crate::storage::Key;

/// A version never changes; who had it may keep it.
pub const FOREVER: &str = "private, max-age=31536000, immutable";
/// Without a version in its address, the newest is asked for each time.
const ASK_AGAIN: &str = "private, no-cache";
/// A web page that somebody uploaded, in an origin of its own: it runs nothing, fetches nothing, sends nothing, and only we may frame it.
const INERT: HeaderValue = HeaderValue::from_static(
    "sandbox; default-src 'none'; img-src data:; media-src data:; font-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'",
);

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(original))
        .routes(routes!(page))
        .routes(routes!(image))
        .routes(routes!(sheets))
        .routes(routes!(media))
        .routes(routes!(web_page))
}

fn cache(asked: &OfVersion) -> &'static str {
    if asked.version.is_some() { FOREVER } else { ASK_AGAIN }
}

async fn find(app: &App, actor: Option<&Actor>, id: ResourceId, asked: &OfVersion) -> Result<Seen> {
    let reader = Reader::of(&app.db, actor).await?;
    seen(&app.db, &reader, id, asked.version).await
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
pub async fn handed_out(app: &App, reader: &Reader, id: ResourceId, version: Option<i64>) -> Result<HandedOut> {
    let seen = seen(&app.db, reader, id, version).await?;
    let shared = Facts::of(&seen.facts).picture.and_then(|picture| picture.mime);
    match shared {
        Some(mime) if seen.insider == 0 => {
            let key = Key::derived(&seen.hash, understand::IMAGE);
            let size_bytes = app.storage.size_bytes(&key).await.map_err(away)?;
            let name = if mime == seen.mime { seen.file_name } else { renamed(&seen.file_name, &mime) };
            Ok(HandedOut { key, name, mime, size_bytes, tag: None })
        }
        None if seen.insider == 0 && seen.mime.starts_with("image/") => Err(no_copy(seen.understood)),
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
    format!("{}.{}", stem(name), if extension == "jpeg" { "jpg" } else { extension })
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
    State(app): State<App>,
    actor: Option<Actor>,
    Path(id): Path<ResourceId>,
    Query(asked): Query<OfVersion>,
    headers: HeaderMap,
) -> Result<Response<Body>> {
    let reader = Reader::of(&app.db, actor.as_ref()).await?;
    let file = handed_out(&app, &reader, id, asked.version).await?;
    if let Some(Actor::Person(person)) = &actor
        && !headers.contains_key(header::RANGE)
    {
        super::talk::used(&app.db, id, person.id, super::talk::Way::Download).await?;
    }
    let object = Object {
        key: &file.key,
        size_bytes: file.size_bytes,
        mime: &file.mime,
        cache: cache(&asked),
        tag: file.tag.as_deref(),
    };
    let mut response = download::object(&app.storage, object, &headers).await?;
    response.headers_mut().insert(header::CONTENT_DISPOSITION, attachment(&file.name));
    Ok(response)
}

/// A page's picture; `size` is `large` or `small`.
#[utoipa::path(get, path = "/api/resources/{id}/pages/{n}/{size}", tag = "library", params(("id" = ResourceId, Path), ("n" = i64, Path), ("size" = String, Path), OfVersion), responses((status = 200), (status = 404, body = crate::error::Body)))]
async fn page(
    State(app): State<App>,
    actor: Option<Actor>,
    Path((id, n, size)): Path<(ResourceId, i64, String)>,
    Query(asked): Query<OfVersion>,
    headers: HeaderMap,
) -> Result<Response<Body>> {
    let seen = find(&app, actor.as_ref(), id, &asked).await?;
    let size = understand::PageSize::of(&size).ok_or_else(no_part)?;
    derived(&app, &seen, &size.name(n), "image/webp", &asked, &headers).await
}

/// A picture without its EXIF.
#[utoipa::path(get, path = "/api/resources/{id}/image", tag = "library", params(("id" = ResourceId, Path), OfVersion), responses((status = 200), (status = 404, body = crate::error::Body)))]
async fn image(
    State(app): State<App>,
    actor: Option<Actor>,
    Path(id): Path<ResourceId>,
    Query(asked): Query<OfVersion>,
    headers: HeaderMap,
) -> Result<Response<Body>> {
    let seen = find(&app, actor.as_ref(), id, &asked).await?;
    let mime = Facts::of(&seen.facts).picture.and_then(|picture| picture.mime).ok_or_else(no_part)?;
    derived(&app, &seen, understand::IMAGE, &mime, &asked, &headers).await
}

/// The cells of a spreadsheet: a list of sheets, each `{name, rows: {row: {column: text}}, cut}`, rows and columns from 0.
#[utoipa::path(get, path = "/api/resources/{id}/sheets", tag = "library", params(("id" = ResourceId, Path), OfVersion), responses((status = 200), (status = 404, body = crate::error::Body)))]
async fn sheets(
    State(app): State<App>,
    actor: Option<Actor>,
    Path(id): Path<ResourceId>,
    Query(asked): Query<OfVersion>,
    headers: HeaderMap,
) -> Result<Response<Body>> {
    let seen = find(&app, actor.as_ref(), id, &asked).await?;
    match Facts::of(&seen.facts).sheets {
        0 => Err(no_part()),
        _ => derived(&app, &seen, understand::SHEETS, "application/json", &asked, &headers).await,
    }
}

/// What `<video>` or `<audio>` plays (`play`), or its picture (`poster`).
#[utoipa::path(get, path = "/api/resources/{id}/media/{what}", tag = "library", params(("id" = ResourceId, Path), ("what" = String, Path), OfVersion), responses((status = 200), (status = 206), (status = 404, body = crate::error::Body)))]
async fn media(
    State(app): State<App>,
    actor: Option<Actor>,
    Path((id, what)): Path<(ResourceId, String)>,
    Query(asked): Query<OfVersion>,
    headers: HeaderMap,
) -> Result<Response<Body>> {
    let seen = find(&app, actor.as_ref(), id, &asked).await?;
    let media = Facts::of(&seen.facts).media.ok_or_else(no_part)?;
    match (what.as_str(), media.plays) {
        ("poster", _) if media.has_poster => {
            derived(&app, &seen, understand::POSTER, "image/jpeg", &asked, &headers).await
        }
        ("play", Some(Plays::Rendition)) => {
            derived(&app, &seen, understand::RENDITION, "video/mp4", &asked, &headers).await
        }
        ("play", Some(Plays::Original)) => {
            let key = Key::blob(&seen.hash);
            let size_bytes = seen.size_bytes as u64;
            let object =
                Object { key: &key, size_bytes, mime: &seen.mime, cache: cache(&asked), tag: Some(&seen.hash) };
            download::object(&app.storage, object, &headers).await
        }
        _ => Err(no_part()),
    }
}

/// A web page to look at, as its author wrote it but inert.
#[utoipa::path(get, path = "/api/resources/{id}/html", tag = "library", params(("id" = ResourceId, Path), OfVersion), responses((status = 200), (status = 404, body = crate::error::Body)))]
async fn web_page(
    State(app): State<App>,
    actor: Option<Actor>,
    Path(id): Path<ResourceId>,
    Query(asked): Query<OfVersion>,
    headers: HeaderMap,
) -> Result<Response<Body>> {
    let seen = find(&app, actor.as_ref(), id, &asked).await?;
    if seen.mime != "text/html" {
        return Err(no_part());
    }
    let key = Key::blob(&seen.hash);
    let size_bytes = seen.size_bytes as u64;
    let object = Object { key: &key, size_bytes, mime: &seen.mime, cache: cache(&asked), tag: Some(&seen.hash) };
    let mut response = download::object(&app.storage, object, &headers).await?;
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, INERT);
    Ok(response)
}

async fn derived(
    app: &App,
    seen: &Seen,
    name: &str,
    mime: &str,
    asked: &OfVersion,
    headers: &HeaderMap,
) -> Result<Response<Body>> {
    picture(app, &Key::derived(&seen.hash, name), mime, cache(asked), headers).await
}

/// What was made of a content, as it is stored.
pub async fn picture(
    app: &App,
    key: &Key,
    mime: &str,
    cache: &'static str,
    headers: &HeaderMap,
) -> Result<Response<Body>> {
    let size_bytes = app.storage.size_bytes(key).await.map_err(away)?;
    let object = Object { key, size_bytes, mime, cache, tag: None };
    download::object(&app.storage, object, headers).await
}

pub fn no_part() -> Error {
    Error::not_found("这个资源没有这一部分。", "The resource has no such part.")
}
