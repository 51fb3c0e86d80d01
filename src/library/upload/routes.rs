//! `/api/uploads`: tus 1.0.0 for the bytes, JSON for lists and duplicates.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::partial_file::Checkpoint;
use super::tus::{self, Expected};
use super::{Upload, Uploads, Wish, quota, used_by_person};
use crate::db::{millis, time};
use crate::error::{Error, Result};
use crate::extract::{Json, Path, line, now};
use crate::identity::Actor;
use crate::ids::{PersonId, ResourceId, UploadId};
use crate::library::Library;
use crate::library::access::Reader;
use crate::library::collections;
use crate::library::resources::description::{Description, file_name, paragraph};
use crate::library::resources::detail;
use crate::library::resources::summary::{self, ResourceCard};

/// Contents asked for at a time: a folder that is dragged in is asked for in slices.
const MOST_KNOWN: usize = 200;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .routes(routes!(discover, create, list))
        .routes(routes!(known))
        .routes(routes!(one, append, cancel))
}

/// What this server speaks of tus.
#[utoipa::path(options, path = "/api/uploads", tag = "library", responses((status = 204)))]
async fn discover(State(library): State<Library>) -> Response {
    let headers = [
        (tus::VERSION, tus::PROTOCOL),
        (tus::EXTENSION, tus::EXTENSIONS),
        (
            tus::MAX_SIZE,
            HeaderValue::from(library.config.library.max_file_bytes),
        ),
        (tus::CHECKSUM_ALGORITHM, tus::ALGORITHMS),
    ];
    spoken((StatusCode::NO_CONTENT, headers).into_response())
}

/// Announces a file (tus creation; with `application/offset+octet-stream` its first bytes come along). `Upload-Metadata` knows `filename`,
/// `relativePath`, `resource` (a new version of it), `changes`, `collection`, `visibility`, and the fields of a description.
#[utoipa::path(post, path = "/api/uploads", tag = "library", responses((status = 201), (status = 413, body = crate::error::Body), (status = 507, body = crate::error::Body)))]
async fn create(
    State(library): State<Library>,
    actor: Actor,
    headers: HeaderMap,
    body: Body,
) -> Response {
    told(announce(library, actor, headers, body).await)
}

async fn announce(
    library: Library,
    actor: Actor,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    tus::check_version(&headers)?;
    let size_bytes = tus::number(&headers, &tus::LENGTH)?;
    let (name, wish) = wish(&library, &actor, &headers).await?;
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
        file_name: name,
        size_bytes,
        checkpoint: Checkpoint::start(),
        wish,
        resource: None,
        created_at: millis(now()),
        expires_at: millis(uploads.expiry()),
    };
    uploads.create(&upload).await?;
    let location = format!("/api/uploads/{}", upload.id);
    let upload = match tus::carries_piece(&headers) {
        true => {
            uploads
                .take(upload.id, 0, body, Expected::read(&headers)?)
                .await?
        }
        false => upload,
    };
    let mut response = standing(&upload, StatusCode::CREATED);
    response.headers_mut().insert(
        header::LOCATION,
        HeaderValue::try_from(location).map_err(Error::internal)?,
    );
    Ok(response)
}

/// What the metadata asks for, checked before a byte is sent.
async fn wish(library: &Library, actor: &Actor, headers: &HeaderMap) -> Result<(String, Wish)> {
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
    let unknown = |field: &'static str| {
        Error::field(
            field,
            "这一项的内容不符合要求。",
            "This field cannot be taken.",
        )
    };
    let wish = Wish {
        resource: text("resource")
            .map(str::parse)
            .transpose()
            .map_err(|_| unknown("resource"))?,
        changes: paragraph("changes", text("changes").unwrap_or_default(), 1000)?,
        folder: line("relativePath", folder, 0..=400)?,
        collection: text("collection")
            .map(str::parse)
            .transpose()
            .map_err(|_| unknown("collection"))?,
        visibility: text("visibility")
            .map(str::parse)
            .transpose()
            .map_err(|_| unknown("visibility"))?,
        description: Description::of_metadata(&metadata)?,
    };
    if let Some(resource) = wish.resource {
        detail::editable(library, actor, resource).await?;
    }
    if let Some(collection) = wish.collection {
        collections::editable(library, actor, collection).await?;
    }
    Ok((file_name(name), wish))
}

/// A piece of a file, at its offset (tus). The answer tells the offset up to which everything is on the disk.
#[utoipa::path(patch, path = "/api/uploads/{id}", tag = "library", params(("id" = UploadId, Path)), responses((status = 204), (status = 409, body = crate::error::Body), (status = 410, body = crate::error::Body), (status = 423, body = crate::error::Body)))]
async fn append(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<UploadId>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    told(append_piece(library, actor, id, headers, body).await)
}

async fn append_piece(
    library: Library,
    actor: Actor,
    id: UploadId,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    tus::check_version(&headers)?;
    if !tus::carries_piece(&headers) {
        return Err(Error::UnsupportedMedia(crate::error::Text::new(
            "上传数据的类型应为 application/offset+octet-stream。",
            "A piece of an upload is application/offset+octet-stream.",
        )));
    }
    let offset = tus::number(&headers, &tus::OFFSET)?;
    let expected = Expected::read(&headers)?;
    mine(&library, &actor, id).await?;
    let upload = library.uploads.take(id, offset, body, expected).await?;
    Ok(standing(&upload, StatusCode::NO_CONTENT))
}

impl Uploads {
    /// Takes a piece, and finishes the upload with the last one. In a task of its own: what came before the browser left is kept.
    async fn take(
        &self,
        id: UploadId,
        offset: u64,
        body: Body,
        expected: Option<Expected>,
    ) -> Result<Upload> {
        let uploads = self.clone();
        let task = self.inner.tasks.spawn(async move {
            let turn = uploads.turn(id).await?;
            let upload = uploads.find(id).await?.ok_or_else(missing)?;
            if offset != upload.checkpoint.received {
                return Err(wrong_offset());
            }
            let mut upload = match upload.is_whole() {
                true => upload,
                false => uploads.receive(&turn, upload, body, expected).await?,
            };
            if upload.is_whole() {
                upload.resource = Some(uploads.finish(upload.clone()).await?);
            }
            Ok(upload)
        });
        task.await.map_err(Error::internal)?
    }
}

/// How an upload stands.
#[derive(Serialize, ToSchema)]
pub struct UploadState {
    pub id: UploadId,
    pub file_name: String,
    pub size_bytes: u64,
    /// Bytes that are safe here.
    pub offset: u64,
    pub folder: String,
    /// What it became, once it is whole.
    pub resource_id: Option<ResourceId>,
    pub version: Option<i64>,
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

impl From<&Upload> for UploadState {
    fn from(upload: &Upload) -> Self {
        Self {
            id: upload.id,
            file_name: upload.file_name.clone(),
            size_bytes: upload.size_bytes,
            offset: upload.checkpoint.received,
            folder: upload.wish.folder.clone(),
            resource_id: upload.resource.map(|(id, _)| id),
            version: upload.resource.map(|(_, version)| version),
            expires_at: time(upload.expires_at),
        }
    }
}

/// How an upload stands; HEAD tells the offset alone (tus). A whole upload that a crash or an outage kept from its end is finished first.
#[utoipa::path(get, path = "/api/uploads/{id}", tag = "library", params(("id" = UploadId, Path)), responses((status = 200, body = UploadState), (status = 404, body = crate::error::Body), (status = 410, body = crate::error::Body)))]
async fn one(State(library): State<Library>, actor: Actor, Path(id): Path<UploadId>) -> Response {
    told(look(library, actor, id).await)
}

async fn look(library: Library, actor: Actor, id: UploadId) -> Result<Response> {
    mine(&library, &actor, id).await?;
    let uploads = &library.uploads;
    // A request that still has the upload lets go, so that what it holds is in the offset told.
    drop(uploads.turn(id).await?);
    let mut upload = mine(&library, &actor, id).await?;
    if upload.is_whole() && upload.resource.is_none() {
        upload.resource = uploads.finish_in_turn(id).await?;
    }
    let state = Json(UploadState::from(&upload)).into_response();
    let mut response = standing(&upload, StatusCode::OK);
    *response.body_mut() = state.into_body();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

/// Gives an upload up (tus termination).
#[utoipa::path(delete, path = "/api/uploads/{id}", tag = "library", params(("id" = UploadId, Path)), responses((status = 204), (status = 404, body = crate::error::Body)))]
async fn cancel(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<UploadId>,
) -> Response {
    told(give_up(library, actor, id).await)
}

async fn give_up(library: Library, actor: Actor, id: UploadId) -> Result<Response> {
    mine(&library, &actor, id).await?;
    let uploads = &library.uploads;
    let _turn = uploads.turn(id).await?;
    uploads.remove(id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Serialize, ToSchema)]
struct Unfinished {
    items: Vec<UploadState>,
    used_bytes: u64,
    quota_bytes: u64,
    max_file_bytes: u64,
}

/// My uploads that are not finished, and my space.
#[utoipa::path(get, path = "/api/uploads", tag = "library", responses((status = 200, body = Unfinished)))]
async fn list(State(library): State<Library>, actor: Actor) -> Result<Json<Unfinished>> {
    let person = PersonId(actor.id());
    let unfinished = library.uploads.unfinished(person).await?;
    let now = millis(now());
    Ok(Json(Unfinished {
        items: unfinished
            .iter()
            .filter(|upload| upload.expires_at > now)
            .map(UploadState::from)
            .collect(),
        used_bytes: used_by_person(&library.db, person).await?,
        quota_bytes: library.config.library.person_quota_bytes,
        max_file_bytes: library.config.library.max_file_bytes,
    }))
}

#[derive(Deserialize, ToSchema)]
struct Ask {
    /// SHA-256 of whole files, in hexadecimal digits.
    sha256s: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct Known {
    items: Vec<KnownContent>,
}

/// Content that is here already.
#[derive(Serialize, ToSchema)]
struct KnownContent {
    sha256: String,
    resource: ResourceCard,
}

/// Which of these contents are in the library already, as far as I may see them.
#[utoipa::path(post, path = "/api/uploads/known", tag = "library", request_body = Ask, responses((status = 200, body = Known)))]
async fn known(
    State(library): State<Library>,
    actor: Actor,
    Json(ask): Json<Ask>,
) -> Result<Json<Known>> {
    if ask.sha256s.len() > MOST_KNOWN {
        return Err(Error::field(
            "sha256s",
            "一次最多查询 200 个文件。",
            "At most 200 files at a time.",
        ));
    }
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let found = summary::with_content(&library.db, &reader, &ask.sha256s).await?;
    Ok(Json(Known {
        items: found
            .into_iter()
            .map(|(sha256, resource)| KnownContent { sha256, resource })
            .collect(),
    }))
}

/// The upload, if it is this person's and not too old.
async fn mine(library: &Library, actor: &Actor, id: UploadId) -> Result<Upload> {
    let upload = library.uploads.find(id).await?.ok_or_else(missing)?;
    if upload.person != PersonId(actor.id()) {
        return Err(missing());
    }
    if upload.expires_at <= millis(now()) && !upload.is_whole() {
        return Err(tus::refused(
            StatusCode::GONE,
            "upload_expired",
            "这次上传已过期，请重新上传。",
            "This upload has expired. Please start anew.",
        ));
    }
    Ok(upload)
}

fn missing() -> Error {
    Error::not_found("没有找到这次上传。", "There is no such upload.")
}

fn wrong_offset() -> Error {
    Error::conflict(
        "wrong_offset",
        "上传的位置与服务器上的不一致，请重新继续上传。",
        "The offset is not where the upload stands. Ask for the offset and go on from there.",
    )
}

/// An answer with the headers that tell where an upload stands.
fn standing(upload: &Upload, status: StatusCode) -> Response {
    let mut response = status.into_response();
    let headers = response.headers_mut();
    headers.insert(tus::OFFSET, HeaderValue::from(upload.checkpoint.received));
    headers.insert(tus::LENGTH, HeaderValue::from(upload.size_bytes));
    headers.insert(tus::EXPIRES, tus::http_date(time(upload.expires_at)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some((resource, _)) = upload.resource {
        headers.insert(
            tus::RESOURCE,
            HeaderValue::try_from(resource.to_string()).expect("an id is ASCII"),
        );
    }
    response
}

/// Errors speak tus as well.
fn told(outcome: Result<Response>) -> Response {
    spoken(outcome.unwrap_or_else(IntoResponse::into_response))
}

fn spoken(mut response: Response) -> Response {
    response.headers_mut().insert(tus::RESUMABLE, tus::PROTOCOL);
    if response.status() == StatusCode::PRECONDITION_FAILED {
        response.headers_mut().insert(tus::VERSION, tus::PROTOCOL);
    }
    response
}
