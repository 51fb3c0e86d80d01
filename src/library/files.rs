//! `/api/resources/{id}/…`: the original as a download, and what was made of it to be shown in the page.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, header};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::facts::{Facts, Plays};
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

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(original)).routes(routes!(page)).routes(routes!(image)).routes(routes!(media))
}

fn cache(asked: &OfVersion) -> &'static str {
    if asked.version.is_some() { FOREVER } else { ASK_AGAIN }
}

async fn find(app: &App, actor: Option<&Actor>, id: ResourceId, asked: &OfVersion) -> Result<Seen> {
    let reader = Reader::of(&app.db, actor).await?;
    seen(&app.db, &reader, id, asked.version).await
}

/// The original, to be saved under its own name.
#[utoipa::path(get, path = "/api/resources/{id}/file", tag = "library", params(("id" = ResourceId, Path), OfVersion), responses((status = 200), (status = 206), (status = 404, body = crate::error::Body)))]
async fn original(
    State(app): State<App>,
    actor: Option<Actor>,
    Path(id): Path<ResourceId>,
    Query(asked): Query<OfVersion>,
    headers: HeaderMap,
) -> Result<Response<Body>> {
    let seen = find(&app, actor.as_ref(), id, &asked).await?;
    if let Some(Actor::Person(person)) = &actor
        && !headers.contains_key(header::RANGE)
    {
        super::talk::used(&app.db, id, person.id, super::talk::Way::Download).await?;
    }
    let key = Key::blob(&seen.hash);
    let object = Object {
        key: &key,
        size_bytes: seen.size_bytes as u64,
        mime: &seen.mime,
        cache: cache(&asked),
        tag: Some(&seen.hash),
    };
    let mut response = download::object(&app.storage, object, &headers).await?;
    response.headers_mut().insert(header::CONTENT_DISPOSITION, attachment(&seen.file_name));
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
