//! Every URL in one place, and what surrounds all of them.

use axum::Router;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// The whole HTTP service.
pub fn router(app: App) -> Router {
    let (router, _api) = OpenApiRouter::new()
        // Each feature adds its routes here: `.merge(crate::live::routes())`.
        .split_for_parts();
    router.with_state(app)
}
