//! `/api/uploads`: tus 1.0.0 for the bytes, JSON for lists.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::tus::{self, ExpectedChecksum};
use super::{Upload, Uploads, create, known, quota};
use crate::db::{millis, time};
use crate::error::{Error, Result};
use crate::extract::{Json, Path, now};
use crate::identity::Actor;
use crate::ids::{PersonId, ResourceId, UploadId};
use crate::library::Library;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .routes(routes!(get_capabilities, list_uploads))
        .routes(routes!(get_upload, append_to_upload, cancel_upload))
        .merge(create::routes())
        .merge(known::routes())
}

/// Returns the supported tus version, extensions and maximum size.
#[utoipa::path(options, path = "/api/uploads", tag = "library", responses((status = 204)))]
async fn get_capabilities(State(library): State<Library>) -> Response {
    let headers = [
        (tus::VERSION, tus::PROTOCOL),
        (tus::EXTENSION, tus::EXTENSIONS),
        (
            tus::MAX_SIZE,
            HeaderValue::from(library.config.library.max_file_bytes),
        ),
        (tus::CHECKSUM_ALGORITHM, tus::ALGORITHMS),
    ];
    add_tus_headers((StatusCode::NO_CONTENT, headers).into_response())
}

/// Appends a chunk at an offset (tus). The response has the offset up to which all bytes are on
/// disk.
#[utoipa::path(patch, path = "/api/uploads/{id}", tag = "library", params(("id" = UploadId, Path)), responses((status = 204), (status = 409, body = crate::error::Body), (status = 410, body = crate::error::Body), (status = 423, body = crate::error::Body)))]
async fn append_to_upload(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<UploadId>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    with_tus_headers(append_chunk(library, actor, id, headers, body).await)
}

async fn append_chunk(
    library: Library,
    actor: Actor,
    id: UploadId,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    tus::check_version(&headers)?;
    if !tus::carries_chunk(&headers) {
        return Err(Error::UnsupportedMedia(crate::error::Text::new(
            "上传数据的类型应为 application/offset+octet-stream。",
            "A piece of an upload is application/offset+octet-stream.",
        )));
    }
    let offset = tus::number(&headers, &tus::OFFSET)?;
    let checksum = ExpectedChecksum::parse(&headers)?;
    own_upload(&library, &actor, id).await?;
    let upload = library.uploads.append(id, offset, body, checksum).await?;
    Ok(upload_response(&upload, StatusCode::NO_CONTENT))
}

impl Uploads {
    /// Appends a chunk; the last one finishes the upload. Runs in its own task, so that bytes
    /// received before a disconnect are kept.
    pub(super) async fn append(
        &self,
        id: UploadId,
        offset: u64,
        body: Body,
        checksum: Option<ExpectedChecksum>,
    ) -> Result<Upload> {
        let uploads = self.clone();
        let task = self.inner.tasks.spawn(async move {
            let lock = uploads.lock(id).await?;
            let upload = uploads.find(id).await?.ok_or_else(no_such_upload)?;
            if offset != upload.checkpoint.received {
                return Err(wrong_offset());
            }
            let mut upload = match upload.is_complete() {
                true => upload,
                false => uploads.receive(&lock, upload, body, checksum).await?,
            };
            if upload.is_complete() {
                upload.outcome = Some(uploads.finish(upload.clone()).await?);
            }
            Ok(upload)
        });
        task.await.map_err(Error::internal)?
    }
}

/// State of an upload.
#[derive(Serialize, ToSchema)]
pub struct UploadState {
    pub id: UploadId,
    pub file_name: String,
    pub size_bytes: u64,
    /// Bytes that are on disk.
    pub offset: u64,
    pub folder: String,
    /// Resource that the finished upload became.
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
            folder: upload.options.folder.clone(),
            resource_id: upload.outcome.map(|(id, _)| id),
            version: upload.outcome.map(|(_, version)| version),
            expires_at: time(upload.expires_at),
        }
    }
}

/// Returns the state of an upload; HEAD returns the offset only (tus). Finishes a complete upload
/// whose finishing failed before.
#[utoipa::path(get, path = "/api/uploads/{id}", tag = "library", params(("id" = UploadId, Path)), responses((status = 200, body = UploadState), (status = 404, body = crate::error::Body), (status = 410, body = crate::error::Body)))]
async fn get_upload(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<UploadId>,
) -> Response {
    with_tus_headers(current_state(library, actor, id).await)
}

async fn current_state(library: Library, actor: Actor, id: UploadId) -> Result<Response> {
    own_upload(&library, &actor, id).await?;
    let uploads = &library.uploads;
    // Evicts a request that holds the upload, so that its bytes are included in the offset.
    drop(uploads.lock(id).await?);
    let mut upload = own_upload(&library, &actor, id).await?;
    if upload.is_complete() && upload.outcome.is_none() {
        upload.outcome = uploads.lock_and_finish(id).await?;
    }
    let state = Json(UploadState::from(&upload)).into_response();
    let mut response = upload_response(&upload, StatusCode::OK);
    *response.body_mut() = state.into_body();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

/// Cancels an upload (tus termination).
#[utoipa::path(delete, path = "/api/uploads/{id}", tag = "library", params(("id" = UploadId, Path)), responses((status = 204), (status = 404, body = crate::error::Body)))]
async fn cancel_upload(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<UploadId>,
) -> Response {
    with_tus_headers(terminate(library, actor, id).await)
}

async fn terminate(library: Library, actor: Actor, id: UploadId) -> Result<Response> {
    own_upload(&library, &actor, id).await?;
    let uploads = &library.uploads;
    let _lock = uploads.lock(id).await?;
    uploads.remove(id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Serialize, ToSchema)]
struct UploadList {
    items: Vec<UploadState>,
    used_bytes: u64,
    quota_bytes: u64,
    max_file_bytes: u64,
}

/// Lists the requester's unfinished uploads and quota.
#[utoipa::path(get, path = "/api/uploads", tag = "library", responses((status = 200, body = UploadList)))]
async fn list_uploads(State(library): State<Library>, actor: Actor) -> Result<Json<UploadList>> {
    let person = PersonId(actor.id());
    let unfinished = library.uploads.unfinished(person).await?;
    let now = millis(now());
    Ok(Json(UploadList {
        items: unfinished
            .iter()
            .filter(|upload| upload.expires_at > now)
            .map(UploadState::from)
            .collect(),
        used_bytes: quota::used_by_person(&library.db, person).await?,
        quota_bytes: library.config.library.person_quota_bytes,
        max_file_bytes: library.config.library.max_file_bytes,
    }))
}

/// Returns an upload of the actor that has not expired.
async fn own_upload(library: &Library, actor: &Actor, id: UploadId) -> Result<Upload> {
    let upload = library.uploads.find(id).await?.ok_or_else(no_such_upload)?;
    if upload.person != PersonId(actor.id()) {
        return Err(no_such_upload());
    }
    if upload.expires_at <= millis(now()) && !upload.is_complete() {
        return Err(tus::protocol_error(
            StatusCode::GONE,
            "upload_expired",
            "这次上传已过期，请重新上传。",
            "This upload has expired. Please start anew.",
        ));
    }
    Ok(upload)
}

fn no_such_upload() -> Error {
    Error::not_found("没有找到这次上传。", "There is no such upload.")
}

fn wrong_offset() -> Error {
    Error::conflict(
        "wrong_offset",
        "上传的位置与服务器上的不一致，请重新继续上传。",
        "The offset is not where the upload stands. Ask for the offset and go on from there.",
    )
}

/// Returns a response with the offset, size, expiry and resource of an upload.
pub(super) fn upload_response(upload: &Upload, status: StatusCode) -> Response {
    let mut response = status.into_response();
    let headers = response.headers_mut();
    headers.insert(tus::OFFSET, HeaderValue::from(upload.checkpoint.received));
    headers.insert(tus::LENGTH, HeaderValue::from(upload.size_bytes));
    headers.insert(tus::EXPIRES, tus::http_date(time(upload.expires_at)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some((resource, _)) = upload.outcome {
        headers.insert(
            tus::RESOURCE,
            HeaderValue::try_from(resource.to_string()).expect("an id is ASCII"),
        );
    }
    response
}

/// Adds the tus headers to a success or an error.
pub(super) fn with_tus_headers(outcome: Result<Response>) -> Response {
    add_tus_headers(outcome.unwrap_or_else(IntoResponse::into_response))
}

fn add_tus_headers(mut response: Response) -> Response {
    response.headers_mut().insert(tus::RESUMABLE, tus::PROTOCOL);
    if response.status() == StatusCode::PRECONDITION_FAILED {
        response.headers_mut().insert(tus::VERSION, tus::PROTOCOL);
    }
    response
}
