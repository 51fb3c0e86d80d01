//! Every URL in one place ([`access::TABLE`]), and what surrounds all of them.

pub mod access;
mod health;
mod jobs;
mod layers;
#[cfg(test)]
mod tests;

use axum::extract::DefaultBodyLimit;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use axum::{Router, middleware};
use bytes::Bytes;
use tower::ServiceBuilder;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::{assets, identity, library, live, recording, schools, search, timetable};

#[derive(OpenApi)]
#[openapi(info(
    title = "Tongke 同课",
    description = "Live lessons across schools. Pages sign in with the cookie `tongke_session`; WHIP and WHEP programs with a bearer token."
))]
struct Api;

/// Every route with its description.
fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Api::openapi())
        .merge(health::routes())
        .merge(identity::routes())
        .merge(schools::routes())
        .merge(timetable::routes())
        .merge(recording::routes())
        .merge(library::routes())
        .merge(search::routes())
        .merge(jobs::routes())
        .merge(live::routes())
}

/// The whole HTTP service.
pub fn router(app: App) -> Router {
    let (router, api) = routes().split_for_parts();
    let api = Bytes::from(api.to_json().expect("the description is plain data"));
    // Media is compressed already; gzip would only cost time.
    let compressible = DefaultPredicate::new()
        .and(NotForContentType::const_new("video/"))
        .and(NotForContentType::const_new("audio/"))
        .and(NotForContentType::const_new("application/octet-stream"));
    let around = ServiceBuilder::new()
        // Outside of `observe`, which writes an error's body anew in the reader's language.
        .layer(
            CompressionLayer::new()
                .quality(CompressionLevel::Fastest)
                .compress_when(compressible),
        )
        .layer(middleware::from_fn_with_state(app.clone(), layers::observe))
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(middleware::from_fn_with_state(app.clone(), layers::bound))
        .layer(middleware::from_fn_with_state(app.clone(), layers::enforce))
        .layer(DefaultBodyLimit::max(app.config.limits.body_bytes));
    router
        .route(
            "/api/openapi.json",
            get(async move || ([(CONTENT_TYPE, "application/json")], api.clone())),
        )
        .fallback(assets::serve)
        .layer(around)
        .with_state(app)
}
