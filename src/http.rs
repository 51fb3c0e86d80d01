//! Router of the whole server: routes of every feature, the access table ([`access::TABLE`]) and the
//! layers around them.

pub mod access;
mod audit;
mod description;
mod health;
mod jobs;
mod layers;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use axum::{Router, middleware};
use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusHandle;
use tongke_plane::Plane;
use tower::ServiceBuilder;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::audit_log::RefusalLimit;
use crate::config::Config;
use crate::db::Db;
use crate::identity::Identity;
use crate::jobs::Jobs;
use crate::lease::Lease;
use crate::library::Library;
use crate::live::Live;
use crate::recording::Recordings;
use crate::schools::Schools;
use crate::search::Search;
use crate::storage::Storage;
use crate::timetable::Timetable;
use crate::{assets, identity, library, live, recording, schools, search, timetable};

/// State of every feature, and of the routes that belong to none. Clones share it.
#[derive(Clone)]
pub struct Services {
    pub config: Arc<Config>,
    pub db: Db,
    pub lease: Lease,
    pub refusals: RefusalLimit,
    pub storage: Storage,
    pub jobs: Jobs,
    pub metrics: PrometheusHandle,
    pub plane: Plane,
    pub identity: Identity,
    pub schools: Schools,
    pub timetable: Timetable,
    pub live: Live,
    pub recordings: Recordings,
    pub library: Library,
    pub search: Search,
}

/// Every route with its description. A feature's handlers get the state of that feature only.
fn routes(services: &Services) -> OpenApiRouter {
    OpenApiRouter::with_openapi(description::Api::openapi())
        .merge(health::routes().with_state(services.clone()))
        .merge(jobs::routes().with_state(services.clone()))
        .merge(audit::routes().with_state(services.clone()))
        .merge(identity::routes().with_state(services.identity.clone()))
        .merge(schools::routes().with_state(services.schools.clone()))
        .merge(timetable::routes().with_state(services.timetable.clone()))
        .merge(recording::routes().with_state(services.recordings.clone()))
        .merge(library::routes().with_state(services.library.clone()))
        .merge(search::routes().with_state(services.search.clone()))
        .merge(live::routes().with_state(services.live.clone()))
}

/// Builds the HTTP service.
pub fn router(services: Services) -> Router {
    let (router, api) = routes(&services).split_for_parts();
    let api = Bytes::from(description::to_json(&api).to_string());
    // Media is compressed already.
    let compressible = DefaultPredicate::new()
        .and(NotForContentType::const_new("video/"))
        .and(NotForContentType::const_new("audio/"))
        .and(NotForContentType::const_new("application/octet-stream"));
    let around = ServiceBuilder::new()
        // Outside of `observe`, which replaces an error's body by its translation.
        .layer(
            CompressionLayer::new()
                .quality(CompressionLevel::Fastest)
                .compress_when(compressible),
        )
        .layer(middleware::from_fn_with_state(
            services.clone(),
            layers::observe,
        ))
        .layer(CatchPanicLayer::custom(layers::respond_to_panic))
        .layer(middleware::from_fn_with_state(
            services.clone(),
            layers::limit_time,
        ))
        .layer(middleware::from_fn_with_state(
            services.clone(),
            audit::audit,
        ))
        .layer(middleware::from_fn_with_state(
            services.clone(),
            layers::authorize,
        ))
        .layer(DefaultBodyLimit::max(services.config.limits.body_bytes));
    router
        .route(
            "/api/openapi.json",
            get(async move || ([(CONTENT_TYPE, "application/json")], api.clone())),
        )
        .fallback(assets::serve_asset)
        .layer(around)
}
