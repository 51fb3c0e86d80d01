//! For machines that watch over the server: alive, ready, metrics.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::error::Result;
use crate::extract::Json;
use crate::metrics;

use super::Services;

pub fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new()
        .routes(routes!(alive))
        .routes(routes!(ready))
        .routes(routes!(measurements))
}

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = String)))]
async fn alive() -> &'static str {
    "ok"
}

/// What the server needs to give lessons, each `ok` or what is wrong.
#[derive(Serialize, ToSchema)]
struct Ready {
    database: &'static str,
    storage: &'static str,
    media: &'static str,
}

/// The server can give lessons: database and object store answer, and every media thread runs.
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = 200, body = Ready), (status = 503, body = Ready)))]
async fn ready(State(services): State<Services>) -> Response {
    let (database, storage) = tokio::join!(services.db.probe(), services.storage.probe());
    if let Err(error) = &database {
        tracing::warn!(%error, "not ready: the database does not answer");
    }
    if let Err(error) = &storage {
        tracing::warn!(%error, "not ready: the object store does not answer");
    }
    let word = |ok| if ok { "ok" } else { "unavailable" };
    let parts = [
        database.is_ok(),
        storage.is_ok(),
        services.plane.is_running(),
    ];
    let status = if parts == [true; 3] {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let [database, storage, media] = parts.map(word);
    (
        status,
        Json(Ready {
            database,
            storage,
            media,
        }),
    )
        .into_response()
}

/// Everything measured, in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, body = String, content_type = "text/plain")))]
async fn measurements(State(services): State<Services>) -> Result<Response> {
    let measured = metrics::render(&services.metrics, &services.plane.stats());
    let content_type = (
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    );
    Ok(([content_type], measured).into_response())
}
