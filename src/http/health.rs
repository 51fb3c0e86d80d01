//! Liveness, readiness and Prometheus metrics.

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
        .routes(routes!(get_liveness))
        .routes(routes!(get_readiness))
        .routes(routes!(get_metrics))
}

/// Liveness: the process responds.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = String)))]
async fn get_liveness() -> &'static str {
    "ok"
}

/// State of each dependency: `ok` or `unavailable`.
#[derive(Serialize, ToSchema)]
struct Ready {
    database: &'static str,
    storage: &'static str,
    media: &'static str,
}

/// Readiness: database and object store respond, and every media thread runs.
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = 200, body = Ready), (status = 503, body = Ready)))]
async fn get_readiness(State(services): State<Services>) -> Response {
    let (database, storage) = tokio::join!(services.db.probe(), services.storage.probe());
    if let Err(error) = &database {
        tracing::warn!(%error, "not ready: the database does not answer");
    }
    if let Err(error) = &storage {
        tracing::warn!(%error, "not ready: the object store does not answer");
    }
    let state = |ok| if ok { "ok" } else { "unavailable" };
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
    let [database, storage, media] = parts.map(state);
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

/// All metrics in the Prometheus text format.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, body = String, content_type = "text/plain")))]
async fn get_metrics(State(services): State<Services>) -> Result<Response> {
    let text = metrics::render(&services.metrics, &services.plane.stats());
    let content_type = (
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    );
    Ok(([content_type], text).into_response())
}
